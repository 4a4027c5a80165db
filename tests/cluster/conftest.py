"""The Spark session of these tests has the S3 jars on its class path."""

import pytest

from include.errors import SetupError
from include.orchestration.jars import S3_JARS, ensure_jars
from include.settings import load_settings


@pytest.fixture(scope="session")
def extra_class_path(java) -> str:
    """Class path of the S3 jars, downloaded once; empty if the 670 MB cannot be downloaded."""
    folder = load_settings().s3_jars
    try:
        ensure_jars(folder, S3_JARS)
    except SetupError as error:
        if "missing" not in str(error):  # for example a wrong checksum: not a network problem
            raise
        print(error)
        return ""
    return f"{folder}/s3/*"
