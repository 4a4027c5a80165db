"""Set the note of a run, when it ends, to the text that its tasks wrote (include/lake/run_notes.py).

Runs in the scheduler, which saves the run right after it.
"""

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from include.lake.run_notes import NOTE_PREFIX, note_path
from include.settings import load_settings


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    _set_note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    _set_note(dag_run)


def _set_note(dag_run: Any) -> None:
    file = note_path(load_settings(), dag_run.dag_id, dag_run.run_id)
    # A note without the prefix was written by a person and is not changed.
    if file.is_file() and (not dag_run.note or dag_run.note.startswith(NOTE_PREFIX)):
        dag_run.note = file.read_text()


class RunNotes(AirflowPlugin):
    name = "run_notes"
    listeners = [sys.modules[__name__]]  # noqa: RUF012
