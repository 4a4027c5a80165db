"""The days that `make resummarise` redoes; tests/spark/test_resummarise_lake.py tests a run."""

import json

import pytest

from include.lake.paths import landing_path, summaries_path
from include.orchestration.resummarise import plan_days
from include.panels import list_panel_keys
from include.settings import load_settings

PANELS = {key: {"total": 0, "rows": []} for key in list_panel_keys()}


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def write_progress(settings, kind, *days):
    folder = landing_path(settings, "access_log", kind)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"batch": 0, "days": list(days)}
    (folder / "progress.jsonl").write_text(json.dumps(record) + "\n")


def write_summary(settings, day, **summary):
    file = summaries_path(settings, "access_log") / day / "summary.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(summary) if summary else "{")


def test_an_outdated_day_is_redone_from_the_source_of_its_summary(settings):
    write_progress(settings, "kafka", "2026-01-14", "2026-01-15", "2026-01-16", "2026-01-17")
    write_progress(settings, "files", "2026-01-15", "2026-01-18")
    write_summary(settings, "2026-01-14", schema_version=2, source="kafka")
    write_summary(settings, "2026-01-15", schema_version=2, source="files")
    write_summary(settings, "2026-01-16", schema_version=3, source="kafka", panels=PANELS)
    write_summary(settings, "2026-01-17")  # damaged
    write_summary(settings, "2026-01-18", schema_version=1)
    assert plan_days(settings) == (
        {"kafka": ["2026-01-14", "2026-01-17"], "files": ["2026-01-15", "2026-01-18"]},
        [],
    )


def test_a_day_without_a_panel_that_was_added_since_is_redone(settings):
    write_progress(settings, "kafka", "2026-01-14")
    older = {key: panel for key, panel in PANELS.items() if key != "browsers"}
    write_summary(settings, "2026-01-14", schema_version=3, source="kafka", panels=older)
    assert plan_days(settings) == ({"kafka": ["2026-01-14"]}, [])


def test_an_outdated_day_without_landed_lines_is_named(settings):
    write_progress(settings, "kafka", "2026-01-14")
    write_summary(settings, "2026-01-14", schema_version=2, source="kafka")
    write_summary(settings, "2025-01-14", schema_version=2, source="kafka")
    assert plan_days(settings) == ({"kafka": ["2026-01-14"]}, ["2025-01-14"])


def test_a_lake_without_a_summary_has_nothing_to_redo(settings):
    assert plan_days(settings) == ({}, [])
