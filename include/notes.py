"""What a run has to say to who looks at the list of runs: its note.

A task may not write it: tasks speak to Airflow's task API, which has none. So a task leaves a text
in the lake, and `plugins/run_notes.py` makes it the note when the run ends.
"""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.settings import Settings, load_settings

SIGN = "Tidemark: "  # a note without it is a person's, and stays
MOST = 900  # characters of a note, of Airflow's 1,000


def note_file(settings: Settings, dag_id: str, run_id: str) -> Path:
    return settings.lake / "runs" / dag_id / f"{run_id}.note"


def leave_note(settings: Settings, dag_id: str, run_id: str, text: str) -> None:
    """Say it on the page of runs; the last text of a run counts."""
    path = note_file(settings, dag_id, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SIGN + (text if len(text) <= MOST else text[:MOST] + " …"))


def note_failure(context: Any) -> None:
    """`on_failure_callback` of a task: which one failed, and its last words, which say what to do."""
    run, task = context["dag_run"], context["ti"].task_id
    lines = [line.strip() for line in str(context.get("exception") or "").splitlines()]
    # spark-submit's last line of output is the job's own sentence.
    why = next((line for line in reversed(lines) if line), "it was ended from outside")
    leave_note(
        load_settings(), run.dag_id, run.run_id,
        f"{task} failed: {why[-600:]} (its log has more; mend it and clear the task)",
    )  # fmt: skip


NOTES_FAILURE = {"on_failure_callback": note_failure}  # for a DAG's default_args


def late_alert(settings: Settings) -> DeadlineAlert:
    """Calls `report_is_late` when a run has not succeeded long after it was queued."""
    minutes = settings.report_deadline_minutes
    return DeadlineAlert(
        DeadlineReference.DAGRUN_QUEUED_AT, timedelta(minutes=minutes),
        AsyncCallback(report_is_late, {"minutes": minutes}),
    )  # fmt: skip


async def report_is_late(minutes: int, context: Any) -> str:
    """Called in the triggerer when a night has no report after `minutes`: log it, and keep it."""
    settings, run = load_settings(), context["dag_run"]
    if run.get("run_type") == "backfill":
        return ""  # waits its turn; nobody waits for it in the morning
    told = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "dag": run["dag_id"],
        "run": run["dag_run_id"], "state": run.get("state"), "minutes": minutes,
        "says": f"{run['dag_id']} has made no report within {minutes} minutes, its run "
        f"{run['dag_run_id']} is {run.get('state')}: look at its red or waiting task, whose log "
        f"ends with what to do",
    }  # fmt: skip
    path = settings.lake / "runs" / "late.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(told) + "\n")
    logging.getLogger(__name__).warning("LATE: %s; kept in %s", told["says"], path)
    return str(told["says"])
