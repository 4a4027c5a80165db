"""Which days `make resummarise` redoes; the run itself is in tests/spark/test_resummarise_lake.py."""

import json

import pytest

from include.lake.paths import landing_path, summaries_path
from include.orchestration.resummarise import plan_days
from include.settings import load_settings


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def land(settings, kind, *days):
    folder = landing_path(settings, "access_log", kind)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"batch": 0, "days": list(days)}
    (folder / "progress.jsonl").write_text(json.dumps(record) + "\n")


def summarise(settings, day, **summary):
    file = summaries_path(settings, "access_log") / day / "summary.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(summary) if summary else "{")


def test_a_day_of_another_version_is_redone_from_the_source_kind_of_its_summary(settings):
    land(settings, "kafka", "2026-01-14", "2026-01-15", "2026-01-16", "2026-01-17")
    land(settings, "files", "2026-01-15", "2026-01-18")
    summarise(settings, "2026-01-14", schema_version=2, source="kafka")
    summarise(settings, "2026-01-15", schema_version=2, source="files")
    summarise(settings, "2026-01-16", schema_version=3, source="kafka")
    summarise(settings, "2026-01-17")  # damaged
    summarise(settings, "2026-01-18", schema_version=1)
    assert plan_days(settings) == (
        {"kafka": ["2026-01-14", "2026-01-17"], "files": ["2026-01-15", "2026-01-18"]},
        [],
    )


def test_a_day_whose_lines_are_gone_is_named(settings):
    land(settings, "kafka", "2026-01-14")
    summarise(settings, "2026-01-14", schema_version=2, source="kafka")
    summarise(settings, "2025-01-14", schema_version=2, source="kafka")
    assert plan_days(settings) == ({"kafka": ["2026-01-14"]}, ["2025-01-14"])


def test_a_lake_without_a_summary_has_nothing_to_redo(settings):
    assert plan_days(settings) == ({}, [])
