"""Makes what a run's tasks have left (include/notes.py) the run's note, when it ends.

Runs in the scheduler, which saves the run right after.
"""

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from include.notes import SIGN, note_file
from include.settings import load_settings


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    _set_note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    _set_note(dag_run)


def _set_note(dag_run: Any) -> None:
    left = note_file(load_settings(), dag_run.dag_id, dag_run.run_id)
    if left.is_file() and (not dag_run.note or dag_run.note.startswith(SIGN)):
        dag_run.note = left.read_text()


class RunNotes(AirflowPlugin):
    name = "run_notes"
    listeners = [sys.modules[__name__]]  # noqa: RUF012
