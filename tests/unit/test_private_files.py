"""What lies below `var/` is its owner's only: what is made, and what an earlier version made."""

import os
import stat
import subprocess
import sys

import pytest

from include.lake.private_files import restrict_existing_files
from include.local_stack import airflow
from include.local_stack.doctor import check_machine
from include.local_stack.processes import Service
from include.settings import PROJECT, load_settings
from tests.conftest import list_files_open_to_others


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_an_earlier_version_left_open_is_closed_and_jars_stay(usual_umask, tmp_path):
    home, outside = tmp_path / "var", tmp_path / "outside"
    for folder in (home / "lake" / "landing", home / "jars" / "broker", home / "log", outside):
        folder.mkdir(parents=True)
    for file in (home / "lake" / "landing" / "part.parquet", home / "log" / "airflow.log",
                 home / "jars" / "broker" / "kafka.jar", outside / "elsewhere"):  # fmt: skip
        file.write_text("x")
    (home / "run.sh").write_text("x")
    (home / "run.sh").chmod(0o755)
    (home / "link").symlink_to(outside)
    assert list_files_open_to_others(home)
    assert restrict_existing_files(home) == 7
    assert list_files_open_to_others(home) == []
    assert mode(home) == mode(home / "lake" / "landing") == 0o700
    assert (mode(home / "log" / "airflow.log"), mode(home / "run.sh")) == (0o600, 0o700)
    assert mode(home / "jars" / "broker" / "kafka.jar") == 0o644
    assert mode(outside) == 0o755, "links are not followed"
    assert restrict_existing_files(home) == 0


def test_a_service_and_what_it_writes_are_closed_whatever_the_umask_is(usual_umask, tmp_path):
    home = tmp_path / "var"
    service = Service("writer", home)
    service.start(["sh", "-c", "mkdir made; echo secret > made/file; echo said"], os.environ)
    for process in filter(None, [service.process()]):
        process.wait(10)
    assert (home / "made" / "file").read_text() == "secret\n"
    assert list_files_open_to_others(home) == []


def test_the_web_pages_password_is_chosen_by_us_once_and_is_the_owners_only(usual_umask, tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path / "var")})
    settings.home.mkdir(mode=0o700)
    airflow.make_password(settings)
    user, password = airflow.Api(settings).login()
    assert user == "admin"
    assert len(password) > 16
    airflow.make_password(settings)
    assert airflow.Api(settings).login() == (user, password)
    assert list_files_open_to_others(settings.home) == []


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "producers.access_log", "generate", "--count", "3", "--to", "file:{var}/log.txt"],
        ["-m", "include.orchestration.package"],
        ["-m", "include.local_stack", "doctor"],
    ],
)
def test_a_command_makes_var_closed(usual_umask, tmp_path, command):
    home = tmp_path / "var"
    if "producers.access_log" in command:
        home.mkdir(mode=0o700)
    env = os.environ | {"TIDEMARK_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    words = [word.format(var=home) for word in command]
    done = subprocess.run([sys.executable, *words], env=env, cwd=PROJECT, capture_output=True)
    assert home.is_dir(), done.stderr
    assert list_files_open_to_others(home) == []


def test_doctor_says_that_the_folder_is_open_and_how_to_close_it(usual_umask, tmp_path):
    home = tmp_path / "var"
    home.mkdir()
    settings = load_settings({"TIDEMARK_HOME": str(home)})
    (open_one,) = [finding for finding in check_machine(settings) if finding.name == "Folder"]
    assert "open to other users" in open_one.state
    assert f"chmod 700 {home}" in open_one.remedy
    restrict_existing_files(home)
    (closed,) = [finding for finding in check_machine(settings) if finding.name == "Folder"]
    assert closed.remedy == ""
