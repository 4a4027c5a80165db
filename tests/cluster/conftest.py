"""What Spark needs for S3 is on the class path of these tests' session."""

import pytest

from include.local_stack.jars import FOR_S3, ensure_jars
from include.local_stack.processes import StackError
from include.settings import load_settings


@pytest.fixture(scope="session")
def more_classes(java) -> str:
    """What Spark needs for S3, brought once; empty where 670 MB cannot be reached."""
    folder = load_settings().s3_jars
    try:
        ensure_jars(folder, FOR_S3)
    except StackError as error:
        if "missing" not in str(error):  # changed ones are no matter of the network
            raise
        print(error)
        return ""
    return f"{folder}/s3/*"
