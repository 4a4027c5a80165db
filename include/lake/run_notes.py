"""The note of a DAG run, which Airflow shows in its list of runs.

A task cannot set the note: tasks use Airflow's task API, which has no call for it. So a task writes a
text into the lake, and `plugins/run_notes.py` makes it the note when the run ends.
"""

from pathlib import Path

from include.lake.files import replace_file
from include.settings import Settings

NOTE_PREFIX = "Tidemark: "  # a note without it was written by a person and stays
MAX_NOTE_CHARACTERS = 900  # Airflow accepts 1,000


def note_path(settings: Settings, dag_id: str, run_id: str) -> Path:
    return settings.lake / "runs" / dag_id / f"{run_id}.note"


def write_note(settings: Settings, dag_id: str, run_id: str, text: str) -> None:
    """Write the note of a run; it replaces an earlier one. A long text is cut."""
    path = note_path(settings, dag_id, run_id)
    if len(text) > MAX_NOTE_CHARACTERS:
        text = text[:MAX_NOTE_CHARACTERS] + " …"
    replace_file(path, NOTE_PREFIX + text)
