"""What Spark needs for S3 is on the class path of these tests' session."""

import pytest

from include.errors import SetupError
from include.orchestration.jars import S3_JARS, ensure_jars
from include.settings import load_settings


@pytest.fixture(scope="session")
def extra_class_path(java) -> str:
    """What Spark needs for S3, brought once; empty where 670 MB cannot be reached."""
    folder = load_settings().s3_jars
    try:
        ensure_jars(folder, S3_JARS)
    except SetupError as error:
        if "missing" not in str(error):  # changed ones are no matter of the network
            raise
        print(error)
        return ""
    return f"{folder}/s3/*"
