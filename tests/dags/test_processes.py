"""Services of the local stack are found and stopped, also after a `kill -9`."""

import os
import sys

import psutil
import pytest

from include.local_stack.processes import Service
from tests.conftest import eventually

# A leader with a child and a grandchild, like Airflow's scheduler and its workers.
LEADER = """
import subprocess, sys, time
child = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child])
time.sleep(60)
"""


@pytest.fixture
def service(tmp_path):
    service = Service("leader", tmp_path)
    service.start([sys.executable, "-c", LEADER], os.environ)
    eventually(lambda: len(service.process_tree()) == 3, 10, "the leader's child and grandchild")
    yield service
    service.stop()


def wait_until_gone(processes):
    return eventually(
        lambda: (
            not any(
                process.is_running() and process.status() != psutil.STATUS_ZOMBIE
                for process in processes
            )
        ),
        10,
        "all to end",
    )


def test_stopping_a_service_ends_all_its_processes(service):
    processes = service.process_tree()
    assert service.is_complete()
    assert service.stop()
    assert wait_until_gone(processes)
    assert not service.stop(), "there is nothing to end any more"


def test_processes_left_by_a_killed_leader_are_found_and_ended(service):
    leader, *others = service.process_tree()
    leader.kill()
    eventually(lambda: service.process() is None, 10, "its end")
    assert not service.is_complete()
    assert {process.pid for process in service.process_tree()} == {
        process.pid for process in others
    }
    service.start(["sleep", "60"], os.environ)
    assert wait_until_gone(others), "the next start ends them"
    assert len(service.process_tree()) == 1


def test_a_service_is_incomplete_when_a_child_has_ended(service):
    leader, *others = service.process_tree()
    next(process for process in others if process.ppid() == leader.pid).kill()
    eventually(lambda: not service.is_complete(), 10, "the part's end to be seen")
    assert service.process() is not None
    assert len(service.process_tree()) == 2, "the grandchild is still its own"


def test_a_reused_process_id_is_left_alone(service):
    leader = service.process_tree()[0]
    state = service.state_file.read_text()
    service.state_file.write_text(state.replace(str(leader.create_time()), "12345.6"))
    assert service.process() is None
    assert service.process_tree() == []
    assert not service.stop()
    assert leader.is_running()
    service.state_file.write_text(state)
