"""Jobs start with and without an archive of Java classes."""

import pytest

from include.orchestration import class_archive
from include.settings import load_settings
from tests.conftest import run_command

CHECK_ONLY_FLAGS = ["--source", "text:.", "--sink", "parquet:./data", "--check"]


@pytest.fixture
def settings(jars, tmp_path):
    (tmp_path / "jars").symlink_to(jars)
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def test_a_job_loads_its_classes_from_the_archive(submit, settings, tmp_path):
    command = submit("land_access_log", *CHECK_ONLY_FLAGS)
    option_index = next(n for n, text in enumerate(command) if "extraJavaOptions" in text)
    assert "-XX:SharedArchiveFile=" in command[option_index]
    command[option_index] += f" -Xlog:class+load:file={tmp_path}/classes.log"
    result = run_command(command)
    assert result.returncode == 0, result.stdout
    loaded = (tmp_path / "classes.log").read_text().splitlines()
    shared = [line for line in loaded if "shared objects file (top)" in line]
    assert len(shared) > len(loaded) / 2, f"{len(shared)} of {len(loaded)}"


def test_a_broken_archive_is_ignored_without_a_message(submit, tmp_path):
    command = submit("land_access_log", *CHECK_ONLY_FLAGS)
    option_index = next(n for n, text in enumerate(command) if "extraJavaOptions" in text)
    (tmp_path / "broken.jsa").write_bytes(b"junk" * 1000)
    before, _, after = command[option_index].partition("-XX:SharedArchiveFile=")
    command[option_index] = (
        f"{before}-XX:SharedArchiveFile={tmp_path}/broken.jsa {after.partition(' ')[2]}"
    )
    result = run_command(command)
    assert result.returncode == 0
    assert "archive" not in result.stdout + result.stderr


def test_each_java_version_has_its_own_archive(settings, monkeypatch, tmp_path):
    current_path = class_archive.resolve_archive_path(settings)
    (tmp_path / "java").mkdir()
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="17.0.99"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    assert class_archive.resolve_archive_path(settings) != current_path
    assert "SharedArchiveFile" not in class_archive.build_java_options(settings)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no java"))
    monkeypatch.setenv("PATH", "")
    assert (
        class_archive.build_java_options(settings, is_long_job=True) == class_archive.JAVA_OPTIONS
    )
