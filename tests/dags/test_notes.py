"""The notes of DAG runs, and the record of late reports."""

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


def build_run(**changed):
    return SimpleNamespace(**({"dag_id": "analyse_access_log", "run_id": "a:1+0.5", "note": None}
                              | changed))  # fmt: skip


def test_the_note_of_a_task_becomes_the_note_of_its_run(settings):
    write_note(settings, "analyse_access_log", "a:1+0.5", "reported 2026-01-15")
    run = build_run()
    on_dag_run_success(run, "success")
    assert run.note == "Tidemark: reported 2026-01-15"
    write_note(settings, "analyse_access_log", "a:1+0.5", "x" * 5000)
    on_dag_run_failed(run, "task_failure")
    assert 900 < len(run.note) < 1000


def test_a_note_by_a_person_is_kept_and_no_empty_note_is_written(settings):
    run = build_run(run_id="other")
    on_dag_run_success(run, "success")
    assert run.note is None
    write_note(settings, "analyse_access_log", "a:1+0.5", "reported 2026-01-15")
    run = build_run(note="I know of this")
    on_dag_run_failed(run, "task_failure")
    assert run.note == "I know of this"


@pytest.mark.parametrize(
    ("exception", "message"),
    [(ValueError("Cannot execute. Error code is: 2. Last output:\nWARN\nland_access_log: gone, do it"),
      "land_access_log failed: land_access_log: gone, do it"),
     (None, "land_access_log failed: it was killed from outside")],
)  # fmt: skip
def test_a_failed_task_puts_its_error_into_the_note(settings, exception, message):
    task = SimpleNamespace(task_id="land_access_log")
    note_failure({"dag_run": build_run(), "ti": task, "exception": exception})
    run = build_run()
    on_dag_run_failed(run, "task_failure")
    assert run.note.startswith(f"Tidemark: {message}")


def test_a_late_report_is_logged_and_recorded_except_for_backfills(settings, caplog):
    alert = build_deadline_alert(settings)
    run = {"dag_id": "analyse_access_log", "dag_run_id": "night", "state": "running",
           "run_type": "scheduled"}  # fmt: skip
    asyncio.run(record_late_report(**alert.callback.kwargs, context={"dag_run": run}))
    asyncio.run(record_late_report(120, context={"dag_run": run | {"run_type": "backfill"}}))
    (line,) = (settings.lake / "runs" / "late.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["dag"], record["run"], record["minutes"]) == ("analyse_access_log", "night", 120)
    assert "no report within 120 minutes" in caplog.text
    assert alert.callback.path == "include.orchestration.notifications.record_late_report"
