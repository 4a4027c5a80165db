"""Notify people of a failed or late run: the note of the run, and the deadline alert of a report."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.lake.files import append_record
from include.lake.run_notes import write_note
from include.settings import Settings, load_settings


def note_failure(context: Any) -> None:
    """Write the failed task and its error message to the run's note (a task's `on_failure_callback`)."""
    run, task = context["dag_run"], context["ti"].task_id
    lines = [line.strip() for line in str(context.get("exception") or "").splitlines()]
    # The last line of spark-submit's output is the job's own error message.
    message = next((line for line in reversed(lines) if line), "it was killed from outside")
    write_note(
        load_settings(),
        run.dag_id,
        run.run_id,
        f"{task} failed: {message[-600:]} (details are in its log; fix the cause and clear the task)",
    )


FAILURE_CALLBACK = {"on_failure_callback": note_failure}  # for a DAG's default_args


def build_deadline_alert(settings: Settings) -> DeadlineAlert:
    """Return an alert that calls `record_late_report` if a run has not succeeded in time.

    The time is `report_deadline_minutes` of the settings and begins when the run is queued.
    """
    minutes = settings.report_deadline_minutes
    return DeadlineAlert(
        DeadlineReference.DAGRUN_QUEUED_AT,
        timedelta(minutes=minutes),
        AsyncCallback(record_late_report, {"minutes": minutes}),
    )


async def record_late_report(minutes: int, context: Any) -> str:
    """Log a late report and append it to `runs/late.jsonl`. Runs in the triggerer.

    Returns:
        The message; "" for a backfill run, which may wait for its turn.
    """
    settings, run = load_settings(), context["dag_run"]
    if run.get("run_type") == "backfill":
        return ""  # backfill runs are queued; nobody expects their reports at a certain time
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dag": run["dag_id"],
        "run": run["dag_run_id"],
        "state": run.get("state"),
        "minutes": minutes,
        "message": f"{run['dag_id']} has published no report within {minutes} minutes; its run "
        f"{run['dag_run_id']} is {run.get('state')}. Open its failed or waiting task: the end of the "
        f"task's log says what to do",
    }
    path = settings.lake / "runs" / "late.jsonl"
    append_record(path, record)
    logging.getLogger(__name__).warning("LATE: %s; recorded in %s", record["message"], path)
    return str(record["message"])
