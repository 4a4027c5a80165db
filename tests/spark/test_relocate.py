"""A lake that was moved to another folder can be read there, and landing continues."""

import json

import pytest

from include.errors import SetupError
from include.lake.relocate import relocate_lake
from include.settings import load_settings
from tests.builders import build_line


@pytest.fixture
def land_and_summarise(job):
    """Land the ready files in the lake of `home` and summarise the day.

    Returns the number of lines read and the summary.
    """

    def run_jobs(home, run_id):
        lake = home / "lake"
        (lake / "ready" / "access_log").mkdir(parents=True, exist_ok=True)
        data = f"parquet:{lake}/landing/access_log/files/data"
        manifest = home / f"{run_id}.json"
        for name, flags in {
            "land_access_log": ["--source", f"text:{lake}/ready/access_log", "--sink", data,
                                "--run-id", run_id, "--manifest", manifest],
            "summarise_access_log": ["--source", data, "--source-kind", "files", "--days", "2015-05-17",
                                     "--sink", f"summary:{lake}/summary/access_log"],
        }.items():  # fmt: skip
            code, output = job(name, *flags)
            assert code == 0, output
        summary = json.loads((lake / "summary/access_log/2015-05-17/summary.json").read_text())
        return json.loads(manifest.read_text())["read"], summary

    return run_jobs


def write_ready_file(home, name, *lines):
    folder = home / "lake" / "ready" / "access_log"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_a_relocated_lake_lands_nothing_twice(tmp_path, land_and_summarise, job):
    old, new = tmp_path / "old", tmp_path / "new place"
    write_ready_file(old, "a.log", build_line(), build_line(host="192.0.2.8"), "junk")
    assert land_and_summarise(old, "first")[0] == 3
    old.rename(new)
    write_ready_file(new, "b.log", build_line(host="192.0.2.9"))
    settings = load_settings({"TIDEMARK_HOME": str(new)})
    data = f"parquet:{new}/lake/landing/access_log/files/data"
    code, output = job(
        "land_access_log", "--source", f"text:{new}/lake/ready/access_log", "--sink", data
    )
    assert code == 2, "before it is told, the landing is another query's"
    assert "belongs to another query" in output
    assert relocate_lake(old, settings) >= 4
    assert relocate_lake(old, settings) == 0
    read, summary = land_and_summarise(new, "second")
    assert read == 1, "what was landed is not landed again"
    assert (summary["requests"], summary["visitors"]) == (3, 3)
    assert summary["provenance"]["landing"].startswith(f"{new}/lake/")


@pytest.mark.matrix
def test_a_lake_can_move_to_a_folder_inside_the_old_one(tmp_path, land_and_summarise):
    old, new = tmp_path / "var", tmp_path / "var" / "deeper"
    write_ready_file(old, "a.log", build_line())
    land_and_summarise(old, "first")
    new.mkdir()
    (old / "lake").rename(new / "lake")
    settings = load_settings({"TIDEMARK_HOME": str(new)})
    assert relocate_lake(old, settings) >= 4
    assert relocate_lake(old, settings) == 0
    assert land_and_summarise(new, "second")[0] == 0


def test_relocating_refuses_a_missing_lake_two_lakes_and_a_relative_path(tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path / "new")})
    with pytest.raises(SetupError, match="there is no lake in"):
        relocate_lake(tmp_path / "old", settings)
    settings.lake.mkdir(parents=True)
    (tmp_path / "old" / "lake").mkdir(parents=True)
    with pytest.raises(SetupError, match="still holds a lake: move all of it"):
        relocate_lake(tmp_path / "old", settings)
    with pytest.raises(SetupError, match="not an absolute path"):
        relocate_lake(tmp_path.relative_to("/"), settings)
