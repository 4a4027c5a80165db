"""The commands of the local stack: what they say and do while its services run or are stopped."""

import os
import shutil
import socket
import sys
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

from include.errors import SetupError
from include.local_stack import airflow, broker, doctor
from include.local_stack.__main__ import app
from include.local_stack.doctor import GIB, check_machine
from include.settings import load_settings
from tests.conftest import eventually


def test_a_port_is_reachable_while_something_listens_on_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert broker.is_reachable(port)
    assert not broker.is_reachable(port)


def test_topics_that_cannot_be_created_are_an_error_with_the_reason_of_the_command(tmp_path):
    login = tmp_path / "no.properties"
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path)})
    with pytest.raises(
        SetupError, match=f"^topics: {login}: cannot read Kafka's client properties"
    ):
        broker.make_topics(settings, os.environ | {"TIDEMARK_KAFKA_PRODUCER_LOGIN": str(login)})


def test_the_status_of_a_stopped_stack_names_each_service_and_how_to_start_it(
    tmp_path, monkeypatch
):
    for name, value in (("HOME", tmp_path), ("KAFKA_PORT", 9093), ("AIRFLOW_PORT", 8081)):
        monkeypatch.setenv(f"TIDEMARK_{name}", str(value))
    (tmp_path / "lake" / "reports" / "access_log" / "2026-01-15").mkdir(parents=True)
    (tmp_path / "lake" / "reports" / "access_log" / "2026-W03").mkdir()
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    header, *services, logs, reports, remedy = result.output.splitlines()
    assert header.split() == ["Service", "State", "Address", "Log"]
    assert [line.split() for line in services] == [
        ["kafka", "not", "running", "127.0.0.1:9093", "kafka.log"],
        ["airflow", "not", "running", "http://127.0.0.1:8081", "airflow.log"],
    ]
    assert logs == f"logs: {tmp_path / 'log'}"
    assert reports == "reports: 1 days, the last 2026-01-15"
    assert remedy == "`make up` starts the services that are down"


@pytest.mark.parametrize(
    ("memory", "disk", "missing"),
    [(4 * GIB, 5 * GIB, []), (4 * GIB - 1, 5 * GIB, ["Memory"]), (4 * GIB, 5 * GIB - 1, ["Disk"])],
)
def test_the_doctor_asks_for_4_gib_of_memory_and_5_of_disk(
    tmp_path, monkeypatch, memory, disk, missing
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))
    findings = check_machine(load_settings({"TIDEMARK_HOME": str(tmp_path)}))
    with_remedy = [finding.name for finding in findings if finding.remedy]
    assert [name for name in with_remedy if name in ("Memory", "Disk")] == missing


def test_the_doctor_reports_missing_java_and_how_to_install_it(tmp_path, monkeypatch):
    def find_no_java():
        raise SetupError("Java 17 or 21 is required; install it")

    monkeypatch.setattr(doctor, "find_java_home", find_no_java)
    findings = {f.name: f for f in check_machine(load_settings({"TIDEMARK_HOME": str(tmp_path)}))}
    assert findings["Java"].state == "no supported version found"
    assert findings["Java"].remedy == "Java 17 or 21 is required; install it"


@pytest.fixture
def running_airflow(tmp_path):
    """The settings of a stack whose Airflow is a process with one child."""
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path)})
    child = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    service = airflow.service(settings)
    service.start([sys.executable, "-c", child], os.environ)
    eventually(lambda: len(service.process_tree()) == 2, 10, "its child")
    yield settings
    service.stop()


def test_airflow_is_not_started_again_while_it_is_complete(running_airflow):
    process = airflow.service(running_airflow).process()
    airflow.start(running_airflow)
    assert process.is_running()
    assert airflow.service(running_airflow).process() == process
