import json
from datetime import datetime, timedelta

import pytest

from include.lake.landing_files import LandingFiles
from include.lake.paths import (
    is_reported,
    list_outdated_days,
    resolve_inside,
    resolve_run_day,
)
from include.settings import load_settings


def progress(folder, *batches):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"batch": batch, "days": days}) for batch, days in batches]
    (folder / "progress.jsonl").write_text("\n".join(lines) + "\n")


def summarised(folder, day, landing, through):
    (folder / day).mkdir(parents=True)
    provenance = {"landing": str(landing / "data"), "through_batch": through}
    (folder / day / "summary.json").write_text(json.dumps({"provenance": provenance}))


def test_a_day_has_changed_when_a_batch_brought_lines_that_its_summary_has_not_seen(tmp_path):
    landing, summary = tmp_path / "kafka", tmp_path / "summary"
    progress(landing, (0, ["2026-01-01", "2026-01-02"]), (1, ["2026-01-02", "None"]))
    assert list_outdated_days(landing, summary) == ["2026-01-01", "2026-01-02"]
    summarised(summary, "2026-01-01", landing, 0)
    summarised(summary, "2026-01-02", landing, 0)
    assert list_outdated_days(landing, summary) == ["2026-01-02"]


def test_a_day_last_reported_from_another_source_is_left_as_it_is(tmp_path):
    landing, summary = tmp_path / "kafka", tmp_path / "summary"
    progress(landing, (0, ["2026-01-01"]))
    summarised(summary, "2026-01-01", tmp_path / "files", 0)
    assert list_outdated_days(landing, summary) == []


def test_a_night_leaves_the_day_that_begins_to_the_next_one(tmp_path):
    landing = tmp_path / "kafka"
    progress(landing, (0, ["2026-01-13", "2026-01-15", "2026-01-16"]))
    assert list_outdated_days(landing, tmp_path / "s", before_day="2026-01-15") == ["2026-01-13"]


@pytest.mark.parametrize(
    ("run_type", "at", "wanted", "day"),
    [("scheduled", "2026-03-28T23:00:00+00:00", None, "2026-03-29"),
     ("backfill", "2026-03-29T22:00:00+00:00", "2026-01-01", "2026-03-30"),
     ("manual", "2026-03-29T22:00:00+00:00", "2026-01-01", "2026-01-01")],
)  # fmt: skip
def test_the_day_of_a_run_is_the_sites(run_type, at, wanted, day):
    settings = load_settings({"TIDEMARK_TIME_ZONE": "Europe/Paris"})
    assert resolve_run_day(settings, run_type, datetime.fromisoformat(at), wanted) == day
    yesterday = datetime.now(settings.zone).date() - timedelta(days=1)
    assert resolve_run_day(settings, "manual", None, None) == yesterday.isoformat()


def test_nothing_landed_nothing_changed(tmp_path):
    assert list_outdated_days(tmp_path / "no", tmp_path / "summary") == []


def test_a_torn_line_of_the_progress_is_passed_over(tmp_path):
    progress(tmp_path / "kafka", (0, ["2026-01-01"]))
    with (tmp_path / "kafka" / "progress.jsonl").open("a") as file:
        file.write('{"batch": 1, "da')
    assert list_outdated_days(tmp_path / "kafka", tmp_path / "s") == ["2026-01-01"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".", "a/../../b"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="is not inside"):
        resolve_inside(tmp_path, name)
    assert resolve_inside(tmp_path, "access.log") == tmp_path / "access.log"


def test_what_is_landed_of_a_topic_is_known_by_its_offsets(tmp_path):
    landing = tmp_path / "kafka"
    landing.mkdir()
    records = [
        {"batch": 0, "to": {"clicks": {"0": 5, "1": 7}}}, {"batch": 1, "to": {"clicks": {"0": 9}}},
        {"batch": 2, "to": None},
    ]  # fmt: skip
    text = "\n".join(json.dumps(record) for record in records)
    (landing / "progress.jsonl").write_text(text + '\n{"batch": 3, "to"')
    assert LandingFiles(landing).read_end_offsets("clicks") == {0: 9, 1: 7}
    assert LandingFiles(landing).read_end_offsets("other") == {}
    assert LandingFiles(tmp_path).read_end_offsets("clicks") == {}


def test_a_report_is_old_when_something_was_landed_after_it(tmp_path):
    import os

    landing, reports = tmp_path / "kafka", tmp_path / "reports"
    landing.mkdir()
    reports.mkdir()
    assert not is_reported(landing, reports)
    (reports / "index.html").touch()
    assert is_reported(landing, reports)
    (landing / "progress.jsonl").touch()
    os.utime(reports / "index.html", (1, 1))
    assert not is_reported(landing, reports)
