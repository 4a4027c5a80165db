"""The lake: outdated days, the day of a run, and paths that stay inside their folder."""

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


def write_progress(folder, *batches):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"batch": batch, "days": days}) for batch, days in batches]
    (folder / "progress.jsonl").write_text("\n".join(lines) + "\n")


def write_summary(folder, day, landing, through_batch):
    (folder / day).mkdir(parents=True)
    provenance = {"landing": str(landing / "data"), "through_batch": through_batch}
    (folder / day / "summary.json").write_text(json.dumps({"provenance": provenance}))


def test_a_day_is_outdated_when_a_later_batch_landed_lines_of_it(tmp_path):
    landing, summary = tmp_path / "kafka", tmp_path / "summary"
    write_progress(landing, (0, ["2026-01-01", "2026-01-02"]), (1, ["2026-01-02", "None"]))
    assert list_outdated_days(landing, summary) == ["2026-01-01", "2026-01-02"]
    write_summary(summary, "2026-01-01", landing, 0)
    write_summary(summary, "2026-01-02", landing, 0)
    assert list_outdated_days(landing, summary) == ["2026-01-02"]


def test_a_day_summarised_from_another_source_is_not_outdated(tmp_path):
    landing, summary = tmp_path / "kafka", tmp_path / "summary"
    write_progress(landing, (0, ["2026-01-01"]))
    write_summary(summary, "2026-01-01", tmp_path / "files", 0)
    assert list_outdated_days(landing, summary) == []


def test_only_days_before_the_given_day_are_outdated(tmp_path):
    landing = tmp_path / "kafka"
    write_progress(landing, (0, ["2026-01-13", "2026-01-15", "2026-01-16"]))
    assert list_outdated_days(landing, tmp_path / "s", before_day="2026-01-15") == ["2026-01-13"]


@pytest.mark.parametrize(
    ("run_type", "interval_start", "requested_day", "day"),
    [("scheduled", "2026-03-28T23:00:00+00:00", None, "2026-03-29"),
     ("backfill", "2026-03-29T22:00:00+00:00", "2026-01-01", "2026-03-30"),
     ("manual", "2026-03-29T22:00:00+00:00", "2026-01-01", "2026-01-01")],
)  # fmt: skip
def test_the_day_of_a_run_follows_the_site_time_zone(run_type, interval_start, requested_day, day):
    settings = load_settings({"TIDEMARK_TIME_ZONE": "Europe/Paris"})
    assert (
        resolve_run_day(settings, run_type, datetime.fromisoformat(interval_start), requested_day)
        == day
    )
    yesterday = datetime.now(settings.zone).date() - timedelta(days=1)
    assert resolve_run_day(settings, "manual", None, None) == yesterday.isoformat()


def test_without_landed_lines_no_day_is_outdated(tmp_path):
    assert list_outdated_days(tmp_path / "no", tmp_path / "summary") == []


def test_a_torn_progress_record_is_ignored(tmp_path):
    write_progress(tmp_path / "kafka", (0, ["2026-01-01"]))
    with (tmp_path / "kafka" / "progress.jsonl").open("a") as file:
        file.write('{"batch": 1, "da')
    assert list_outdated_days(tmp_path / "kafka", tmp_path / "s") == ["2026-01-01"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".", "a/../../b"])
def test_a_path_outside_its_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="is not inside"):
        resolve_inside(tmp_path, name)
    assert resolve_inside(tmp_path, "access.log") == tmp_path / "access.log"


def test_the_end_offsets_of_a_topic_are_read_from_the_progress_records(tmp_path):
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


def test_a_report_is_outdated_when_lines_were_landed_after_it(tmp_path):
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
