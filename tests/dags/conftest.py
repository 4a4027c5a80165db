"""One Airflow database and one parse of the folder, in a home of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT

DAG_FILES = sorted((PROJECT / "dags").glob("[a-z]*.py"))


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory):
    """An Airflow home with a migrated database; set before Airflow is imported."""
    assert "airflow" not in sys.modules, "Airflow was imported before its home was set"
    home = tmp_path_factory.mktemp("airflow")
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    }
    airflow = Path(sys.executable).with_name("airflow")
    subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True, timeout=180)
    return home


@pytest.fixture(scope="session")
def dag_bag(airflow_home):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return bag
