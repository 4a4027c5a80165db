"""Files below `var/` are private to their owner, also those of an earlier version."""

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
def default_umask():
    previous = os.umask(0o022)
    yield
    os.umask(previous)


def get_mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_open_to_others_become_private_and_jars_stay_as_they_are(default_umask, tmp_path):
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
    assert get_mode(home) == get_mode(home / "lake" / "landing") == 0o700
    assert (get_mode(home / "log" / "airflow.log"), get_mode(home / "run.sh")) == (0o600, 0o700)
    assert get_mode(home / "jars" / "broker" / "kafka.jar") == 0o644
    assert get_mode(outside) == 0o755, "links are not followed"
    assert restrict_existing_files(home) == 0


def test_a_service_and_the_files_it_writes_are_private_whatever_the_umask(default_umask, tmp_path):
    home = tmp_path / "var"
    service = Service("writer", home)
    service.start(["sh", "-c", "mkdir made; echo secret > made/file; echo said"], os.environ)
    for process in filter(None, [service.process()]):
        process.wait(10)
    assert (home / "made" / "file").read_text() == "secret\n"
    assert list_files_open_to_others(home) == []


def test_the_airflow_password_is_generated_once_and_is_private(default_umask, tmp_path):
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
def test_a_command_creates_a_private_var_folder(default_umask, tmp_path, command):
    home = tmp_path / "var"
    if "producers.access_log" in command:
        home.mkdir(mode=0o700)
    env = os.environ | {"TIDEMARK_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    arguments = [argument.format(var=home) for argument in command]
    result = subprocess.run([sys.executable, *arguments], env=env, cwd=PROJECT, capture_output=True)
    assert home.is_dir(), result.stderr
    assert list_files_open_to_others(home) == []


def test_the_doctor_names_an_open_folder_and_the_remedy(default_umask, tmp_path):
    home = tmp_path / "var"
    home.mkdir()
    settings = load_settings({"TIDEMARK_HOME": str(home)})
    (finding_before,) = [finding for finding in check_machine(settings) if finding.name == "Folder"]
    assert "open to other users" in finding_before.state
    assert f"chmod 700 {home}" in finding_before.remedy
    restrict_existing_files(home)
    (finding_after,) = [finding for finding in check_machine(settings) if finding.name == "Folder"]
    assert finding_after.remedy == ""
