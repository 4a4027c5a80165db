"""What a run leaves for who looks at the list of runs, and what is kept when a report is late."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from include.lake.run_notes import write_note
from include.orchestration.notifications import (
    build_deadline_alert,
    note_failure,
    record_late_report,
)
from include.settings import load_settings
from plugins.run_notes import on_dag_run_failed, on_dag_run_success


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    return load_settings()


def a_run(**changed):
    return SimpleNamespace(**({"dag_id": "analyse_access_log", "run_id": "a:1+0.5", "note": None}
                              | changed))  # fmt: skip


def test_what_a_task_left_becomes_the_note_when_the_run_ends(settings):
    write_note(settings, "analyse_access_log", "a:1+0.5", "reported 2026-01-15")
    run = a_run()
    on_dag_run_success(run, "success")
    assert run.note == "Tidemark: reported 2026-01-15"
    write_note(settings, "analyse_access_log", "a:1+0.5", "x" * 5000)
    on_dag_run_failed(run, "task_failure")
    assert 900 < len(run.note) < 1000


def test_a_persons_note_stays_and_a_run_that_said_nothing_has_none(settings):
    run = a_run(run_id="other")
    on_dag_run_success(run, "success")
    assert run.note is None
    write_note(settings, "analyse_access_log", "a:1+0.5", "reported 2026-01-15")
    run = a_run(note="I know of this")
    on_dag_run_failed(run, "task_failure")
    assert run.note == "I know of this"


@pytest.mark.parametrize(
    ("exception", "says"),
    [(ValueError("Cannot execute. Error code is: 2. Last output:\nWARN\nland_access_log: gone, do it"),
      "land_access_log failed: land_access_log: gone, do it"),
     (None, "land_access_log failed: it was killed from outside")],
)  # fmt: skip
def test_a_task_that_fails_leaves_its_last_words(settings, exception, says):
    task = SimpleNamespace(task_id="land_access_log")
    note_failure({"dag_run": a_run(), "ti": task, "exception": exception})
    run = a_run()
    on_dag_run_failed(run, "task_failure")
    assert run.note.startswith(f"Tidemark: {says}")


def test_a_late_report_is_told_of_and_kept_but_not_of_a_backfill(settings, caplog):
    alert = build_deadline_alert(settings)
    run = {"dag_id": "analyse_access_log", "dag_run_id": "night", "state": "running",
           "run_type": "scheduled"}  # fmt: skip
    asyncio.run(record_late_report(**alert.callback.kwargs, context={"dag_run": run}))
    asyncio.run(record_late_report(120, context={"dag_run": run | {"run_type": "backfill"}}))
    (line,) = (settings.lake / "runs" / "late.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told["dag"], told["run"], told["minutes"]) == ("analyse_access_log", "night", 120)
    assert "no report within 120 minutes" in caplog.text
    assert alert.callback.path == "include.orchestration.notifications.record_late_report"
