"""One Airflow database and one parse of the DAG folder per run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT


@pytest.fixture(scope="session")
def airflow_home():
    """The temporary Airflow home of this run, with a migrated database."""
    airflow = Path(sys.executable).with_name("airflow")
    subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True, timeout=180)
    return Path(os.environ["AIRFLOW_HOME"])


@pytest.fixture(scope="session")
def dag_bag(airflow_home):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return bag
