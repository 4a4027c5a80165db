"""What the local stack starts, it finds again and ends, also after a `kill -9`."""

import os
import sys

import psutil
import pytest

from include.local_stack.processes import Service
from tests.conftest import eventually

# A leader with a child that has a child, as Airflow's scheduler and its workers.
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


def gone(processes):
    return eventually(
        lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes),
        10, "all to end",
    )  # fmt: skip


def test_all_of_it_ends(service):
    family = service.process_tree()
    assert service.is_complete()
    assert service.stop()
    assert gone(family)
    assert not service.stop(), "there is nothing to end any more"


def test_what_a_killed_leader_left_behind_is_found_and_ended(service):
    leader, *left = service.process_tree()
    leader.kill()
    eventually(lambda: service.process() is None, 10, "its end")
    assert not service.is_complete()
    assert {p.pid for p in service.process_tree()} == {p.pid for p in left}
    service.start(["sleep", "60"], os.environ)
    assert gone(left), "the next start ends them"
    assert len(service.process_tree()) == 1


def test_it_is_not_whole_when_a_part_has_ended(service):
    leader, *left = service.process_tree()
    next(p for p in left if p.ppid() == leader.pid).kill()
    eventually(lambda: not service.is_complete(), 10, "the part's end to be seen")
    assert service.process() is not None
    assert len(service.process_tree()) == 2, "the grandchild is still its own"


def test_a_process_id_that_was_given_to_another_is_left_alone(service):
    leader = service.process_tree()[0]
    kept = service.state_file.read_text()
    service.state_file.write_text(kept.replace(str(leader.create_time()), "12345.6"))
    assert service.process() is None
    assert service.process_tree() == []
    assert not service.stop()
    assert leader.is_running()
    service.state_file.write_text(kept)
