"""Jobs start from an archive of classes, and without one as well."""

import pytest

from include.orchestration import class_archive
from include.settings import load_settings
from tests.conftest import run_command

NOTHING = ["--source", "text:.", "--sink", "parquet:./data", "--check"]


@pytest.fixture
def settings(jars, tmp_path):
    (tmp_path / "jars").symlink_to(jars)
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def test_a_job_takes_its_classes_from_the_archive(submit, settings, tmp_path):
    command = submit("land_access_log", *NOTHING)
    at = next(n for n, text in enumerate(command) if "extraJavaOptions" in text)
    assert "-XX:SharedArchiveFile=" in command[at]
    command[at] += f" -Xlog:class+load:file={tmp_path}/classes.log"
    done = run_command(command)
    assert done.returncode == 0, done.stdout
    loaded = (tmp_path / "classes.log").read_text().splitlines()
    shared = [line for line in loaded if "shared objects file (top)" in line]
    assert len(shared) > len(loaded) / 2, f"{len(shared)} of {len(loaded)}"


def test_an_archive_that_cannot_be_used_stops_nobody_and_says_nothing(submit, tmp_path):
    command = submit("land_access_log", *NOTHING)
    at = next(n for n, text in enumerate(command) if "extraJavaOptions" in text)
    (tmp_path / "broken.jsa").write_bytes(b"junk" * 1000)
    before, _, after = command[at].partition("-XX:SharedArchiveFile=")
    command[at] = f"{before}-XX:SharedArchiveFile={tmp_path}/broken.jsa {after.partition(' ')[2]}"
    done = run_command(command)
    assert done.returncode == 0
    assert "archive" not in done.stdout + done.stderr


def test_another_java_or_other_jars_have_another_archive(settings, monkeypatch, tmp_path):
    here = class_archive.resolve_archive_path(settings)
    (tmp_path / "java").mkdir()
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="17.0.99"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    assert class_archive.resolve_archive_path(settings) != here
    assert "SharedArchiveFile" not in class_archive.build_java_options(settings)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no java"))
    monkeypatch.setenv("PATH", "")
    assert (
        class_archive.build_java_options(settings, is_long_job=True) == class_archive.JAVA_OPTIONS
    )
