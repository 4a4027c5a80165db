"""Where things lie in the lake, and which days have changed since they were summarised."""

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.settings import Settings


def landing(settings: Settings, dataset: str, kind: str) -> Path:
    """The landing folder of a dataset's source kind (`kafka` or `files`)."""
    return settings.lake / "landing" / dataset / kind


def data_at(settings: Settings, dataset: str, kind: str) -> dict[str, str]:
    """The flag by which a new landing has its data in a store; none where they lie in the lake."""
    root = settings.landing_data.rstrip("/")
    return {"data_at": f"{root}/{dataset}/{kind}/data"} if root else {}


def inbox(settings: Settings, dataset: str) -> Path:
    return settings.lake / "inbox" / dataset


def ready(settings: Settings, dataset: str) -> Path:
    """Where the files of the inbox go when they were looked at: what Spark reads."""
    return settings.lake / "ready" / dataset


def formats_of(ready_folder: Path) -> Path:
    """Which fields the W3C files in `ready` have: {"w3c-1a2b3c4d": "date time c-ip …"}."""
    return ready_folder.with_name(f"{ready_folder.name}.formats.json")


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
    So does one that was removed: what comes late for it is not the day.
    `before` leaves out that day and those that follow: a night does not report the day it begins.
    """
    replayed = _replayed_days(landing_folder)
    return sorted(
        day
        for day, batch in landed_days(landing_folder).items()
        if (before is None or day < before)
        and _is_behind(
            summary_folder / day / "summary.json", landing_folder, batch, replayed.get(day)
        )
    )


def is_behind(summary_folder: Path, day: str, landing_folder: Path) -> bool:
    """Whether the day's summary is not there, of another landing, or has not seen all of this one."""
    summary = summary_folder / day / "summary.json"
    if not is_of(summary, landing_folder):
        return True
    batch = landed_days(landing_folder).get(day, -1)
    return _is_behind(summary, landing_folder, batch, _replayed_days(landing_folder).get(day))


def landed_days(landing_folder: Path) -> dict[str, int]:
    """ISO date -> the last batch that brought it lines, or -1 for lines that only a replay could read."""
    removed = removed_days(landing_folder)
    latest = {day: -1 for day in _replayed_days(landing_folder) if day not in removed}
    for record in _records(landing_folder / "progress.jsonl"):
        for day in record["days"]:
            if day != "None" and day not in removed:
                latest[day] = max(latest.get(day, -1), record["batch"])
    return latest


def removed_days(landing_folder: Path) -> set[str]:
    """Days that `maintain_lake` has removed from the landing."""
    return {record["day"] for record in _records(landing_folder / "removed.jsonl")}


def last_landed_batch(landing_folder: Path) -> int:
    """The last batch that is recorded; -1 if there is none."""
    return max((r["batch"] for r in _records(landing_folder / "progress.jsonl")), default=-1)


def landed_offsets(landing_folder: Path, topic: str) -> dict[int, int]:
    """Partition -> the offset after the last message that is landed, as the landing recorded it."""
    ends: dict[int, int] = {}
    for record in _records(landing_folder / "progress.jsonl"):
        for partition, end in ((record.get("to") or {}).get(topic) or {}).items():
            ends[int(partition)] = max(ends.get(int(partition), 0), end)
    return ends


def lines_a_message(landing_folder: Path) -> float:
    """How many lines a message had in the last batch that was landed from Kafka; 1 before any."""
    found = 1.0
    for record in _records(landing_folder / "progress.jsonl"):
        if record.get("messages"):
            found = record["read"] / record["messages"]
    return found


def is_reported(landing_folder: Path, reports_folder: Path) -> bool:
    """Whether the report is there and newer than what is landed."""
    page, progress = reports_folder / "index.html", landing_folder / "progress.jsonl"
    if not page.is_file():
        return False
    return not progress.is_file() or page.stat().st_mtime >= progress.stat().st_mtime


def is_of(summary: Path, landing_folder: Path) -> bool:
    """Whether this `summary.json` was made from that landing."""
    provenance = _provenance(summary)
    return provenance is not None and Path(provenance["landing"]).parent == landing_folder


def _is_behind(summary: Path, landing_folder: Path, batch: int, replayed: str | None) -> bool:
    provenance = _provenance(summary)
    if provenance is None:
        return True
    if Path(provenance["landing"]).parent != landing_folder:
        return False
    through = provenance["through_batch"]
    return batch > (-1 if through is None else through) or provenance.get("replayed") != replayed


def _provenance(summary: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(summary.read_text())["provenance"]
        return found
    except (OSError, ValueError, KeyError):
        return None


def _replayed_days(landing_folder: Path) -> dict[str, str]:
    """Day -> what a replay of bad lines brought it, as `spark_jobs.runtime.replayed` writes it."""
    kept = landing_folder / "replayed" / "current.json"
    days: dict[str, str] = json.loads(kept.read_text())["days"] if kept.is_file() else {}
    return days


def _records(progress: Path) -> Iterable[dict[str, Any]]:
    if not progress.is_file():
        return
    for line in progress.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # a line that a killed job left torn; the job counts that batch again
