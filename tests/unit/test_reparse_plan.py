"""The plan that a person approves before bad lines are re-parsed."""

import json

import pytest

from include.lake.paths import landing_path, summaries_path
from include.orchestration.reparse_plan import build_reparse_plan
from include.settings import load_settings

REASONS = [
    {"bad_reason": "no_match", "description": "matches no known format", "bad": 1200,
     "readable": 1000, "now": ["192.0.2.7|1"]},
    {"bad_reason": "new_reason", "description": "", "bad": 1, "readable": 0, "now": []},
]  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def write_result(settings, lines_before, days):
    file = settings.lake / "runs" / "replay_bad_lines" / "run.json"
    file.parent.mkdir(parents=True)
    result = {"bad": 1201, "readable": 1000, "lines_before": lines_before, "days": days}
    file.write_text(json.dumps(result | {"reasons": REASONS}))


def test_the_plan_lists_reasons_days_and_samples(settings):
    write_result(settings, 0, ["2026-01-14", "2026-01-15", "2026-01-16"])
    for day, kind in (("2026-01-15", "kafka"), ("2026-01-16", "files")):
        summary = summaries_path(settings, "access_log") / day / "summary.json"
        summary.parent.mkdir(parents=True)
        data = landing_path(settings, "access_log", kind) / "data"
        summary.write_text(json.dumps({"provenance": {"landing": str(data)}}))
    plan = build_reparse_plan(settings, "kafka", "run")
    assert plan["days"] == ["2026-01-14", "2026-01-15"]
    lines = plan["text"].splitlines()
    assert lines[0].startswith("1,000 of 1,201 bad lines can be parsed now (0 were")
    assert "| matches no known format | 1,200 | 1,000 |" in lines
    assert "| new_reason | 1 | 0 |" in lines
    assert "Days that will be summarised again: 2026-01-14, 2026-01-15." in lines
    assert "Published from the other source, not changed: 2026-01-16." in lines
    assert "    192.0.2.7|1" in lines
    assert "would be bad again" not in plan["text"]
    assert lines[-1].endswith("runs/replay_bad_lines/run.csv")


def test_the_plan_warns_of_lines_that_would_be_bad_again(settings):
    write_result(settings, 1003, [])
    plan = build_reparse_plan(settings, "kafka", "run")
    assert plan["days"] == []
    assert "Days that will be summarised again: none." in plan["text"]
    assert "**3 lines that were parsed in an earlier run would be bad again.**" in plan["text"]
