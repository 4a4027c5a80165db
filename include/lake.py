"""Where things lie in the lake, and which days have changed since they were summarised."""

import json
import math
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.settings import Settings


def landing(settings: Settings, dataset: str, kind: str) -> Path:
    """The landing folder of a dataset's source kind (`kafka` or `files`)."""
    return settings.lake / "landing" / dataset / kind


def inbox(settings: Settings, dataset: str) -> Path:
    return settings.lake / "inbox" / dataset


def ready(settings: Settings, dataset: str) -> Path:
    """Where the files of the inbox go when they were looked at: what Spark reads."""
    return settings.lake / "ready" / dataset


def summaries(settings: Settings, dataset: str) -> Path:
    return settings.lake / "summary" / dataset


def reports(settings: Settings, dataset: str) -> Path:
    return settings.lake / "reports" / dataset


def run_manifest(settings: Settings, dag_id: str, run_id: str) -> Path:
    return settings.lake / "runs" / dag_id / f"{run_id}.json"


def streams(settings: Settings) -> Path:
    """Where run_stream keeps what its runs write, and their checkpoints."""
    return settings.lake / "streams"


def inside(root: Path, name: str) -> Path:
    """`name` as a path under `root`; ValueError if it would lead out of it."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or path == root.resolve():
        raise ValueError(f"{name!r} does not lie in {root}; give a name without .. and /")
    return path


def day_of_run(
    settings: Settings, run_type: str, interval_start: datetime | None, wanted: str | None
) -> str:
    """The day that a run is for: that of its interval; by hand the wanted one, or the last whole."""
    if run_type != "manual" and interval_start is not None:
        return interval_start.astimezone(settings.zone).date().isoformat()
    if wanted:
        return date.fromisoformat(wanted).isoformat()
    return (datetime.now(settings.zone).date() - timedelta(days=1)).isoformat()


def changed_days(
    landing_folder: Path, summary_folder: Path, before: str | None = None
) -> list[str]:
    """Days with lines that no summary has seen: late ones, or of a run that did not finish.

    A summary says through which batch of the landing it has read; the landing's progress says
    which days each batch brought. Days are ISO dates, in order. A day that was last reported from
    another source kind stays as it is until somebody asks for it: nights do not undo a backfill.
    `before` leaves out that day and those that follow: a night does not report the day it begins.
    """
    latest: dict[str, int] = {}
    for record in _records(landing_folder / "progress.jsonl"):
        for day in record["days"]:
            if day != "None" and (before is None or day < before):
                latest[day] = max(latest.get(day, -1), record["batch"])
    return sorted(
        day
        for day, batch in latest.items()
        if batch > _summarised_through(summary_folder / day / "summary.json", landing_folder)
    )


def landed_offsets(landing_folder: Path, topic: str) -> dict[int, int]:
    """Partition -> the offset after the last message that is landed, as the landing recorded it."""
    ends: dict[int, int] = {}
    for record in _records(landing_folder / "progress.jsonl"):
        for partition, end in ((record.get("to") or {}).get(topic) or {}).items():
            ends[int(partition)] = max(ends.get(int(partition), 0), end)
    return ends


def is_reported(landing_folder: Path, reports_folder: Path) -> bool:
    """Whether the report is there and newer than what is landed."""
    page, progress = reports_folder / "index.html", landing_folder / "progress.jsonl"
    if not page.is_file():
        return False
    return not progress.is_file() or page.stat().st_mtime >= progress.stat().st_mtime


def _summarised_through(summary: Path, landing_folder: Path) -> float:
    try:
        provenance = json.loads(summary.read_text())["provenance"]
    except (OSError, ValueError, KeyError):
        return -1
    if Path(provenance["landing"]).parent != landing_folder:
        return math.inf
    through = provenance["through_batch"]
    return -1 if through is None else int(through)


def _records(progress: Path) -> Iterable[dict[str, Any]]:
    if not progress.is_file():
        return
    for line in progress.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # a line that a killed job left torn; the job counts that batch again
