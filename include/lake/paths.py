"""Paths in the lake, and which days have changed since they were summarised."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.lake.landing_files import LandingFiles
from include.settings import Settings


def landing_path(settings: Settings, dataset: str, source_kind: str) -> Path:
    """Return the landing folder of a dataset and source kind (`kafka` or `files`)."""
    return settings.lake / "landing" / dataset / source_kind


def landing_endpoint(settings: Settings, dataset: str, source_kind: str) -> str:
    """Return the data of a landing as a flag of a job: `parquet:DIR`. `source_kind` may be a template."""
    return f"parquet:{LandingFiles(landing_path(settings, dataset, source_kind)).data}"


def data_location(settings: Settings, dataset: str, source_kind: str) -> dict[str, str]:
    """Return the flag that puts the data of a new landing into remote storage.

    Returns:
        {"data_location": address}; {} if landed data lie in the lake.
    """
    root = settings.data_location.rstrip("/")
    return {"data_location": f"{root}/{dataset}/{source_kind}/data"} if root else {}


def inbox_path(settings: Settings, dataset: str) -> Path:
    return settings.lake / "inbox" / dataset


def ready_path(settings: Settings, dataset: str) -> Path:
    """Return the folder that Spark reads: files of the inbox go there after their inspection."""
    return settings.lake / "ready" / dataset


def w3c_fields_path(ready_folder: Path) -> Path:
    """Return the file with the fields of W3C files: {"w3c-1a2b3c4d": "date time c-ip …"}."""
    return ready_folder.with_name(f"{ready_folder.name}.formats.json")


def summaries_path(settings: Settings, dataset: str) -> Path:
    return settings.lake / "summary" / dataset


def reports_path(settings: Settings, dataset: str) -> Path:
    return settings.lake / "reports" / dataset


def run_manifest_path(settings: Settings, dag_id: str, run_id: str) -> Path:
    return settings.lake / "runs" / dag_id / f"{run_id}.json"


def streams_path(settings: Settings) -> Path:
    """Return the folder for the outputs and checkpoints of `run_stream`."""
    return settings.lake / "streams"


def resolve_inside(root: Path, name: str) -> Path:
    """Return `name` as a path under `root`; ValueError if it leads out of `root`."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or path == root.resolve():
        raise ValueError(f"{name!r} is not inside {root}: give a name without .. or a leading /")
    return path


def resolve_run_day(
    settings: Settings, run_type: str, interval_start: datetime | None, requested_day: str | None
) -> str:
    """Return the day that a run is for.

    Args:
        settings: Their time zone gives the day.
        run_type: Airflow's run type, such as `scheduled`, `backfill` or `manual`.
        interval_start: Start of the run's data interval; its day is used unless the run is manual.
        requested_day: ISO date that the user of a manual run wants; None or empty: yesterday.

    Returns:
        An ISO date in the site's time zone.
    """
    if run_type != "manual" and interval_start is not None:
        return interval_start.astimezone(settings.zone).date().isoformat()
    if requested_day:
        return date.fromisoformat(requested_day).isoformat()
    return (datetime.now(settings.zone).date() - timedelta(days=1)).isoformat()


def list_outdated_days(
    landing_folder: Path, summary_folder: Path, before_day: str | None = None
) -> list[str]:
    """List days with lines that no summary has counted: late lines, or those of an unfinished run.

    A summary records the last batch of the landing that it has read. The landing's progress records
    the days of each batch. Two kinds of days are left out:

    - Days that were last reported from another source kind, until a user asks for them: a scheduled
      run does not undo a backfill.
    - Days that `maintain_lake` has removed: late lines alone are not the whole day.

    Args:
        landing_folder: The landing that holds the lines.
        summary_folder: The dataset's summaries, one folder a day.
        before_day: List only days before this ISO date: a scheduled run does not report the day
            that has just begun.

    Returns:
        ISO dates in order.
    """
    landing = LandingFiles(landing_folder)
    reparsed = landing.read_reparse_checksums()
    return sorted(
        day
        for day, batch in landing.read_days().items()
        if (before_day is None or day < before_day)
        and _is_outdated(
            summary_folder / day / "summary.json", landing_folder, batch, reparsed.get(day)
        )
    )


def is_summary_outdated(summary_folder: Path, day: str, landing_folder: Path) -> bool:
    """Whether the day's summary is missing, of another landing, or lacks lines of this one."""
    summary = summary_folder / day / "summary.json"
    if not is_summary_of_landing(summary, landing_folder):
        return True
    landing = LandingFiles(landing_folder)
    return _is_outdated(
        summary,
        landing_folder,
        landing.read_days().get(day, -1),
        landing.read_reparse_checksums().get(day),
    )


def is_reported(landing_folder: Path, reports_folder: Path) -> bool:
    """Whether the report exists and is not older than the landing's last progress."""
    page, progress = reports_folder / "index.html", LandingFiles(landing_folder).progress
    if not page.is_file():
        return False
    return not progress.is_file() or page.stat().st_mtime >= progress.stat().st_mtime


def is_summary_of_landing(summary_file: Path, landing_folder: Path) -> bool:
    """Whether this `summary.json` was made from this landing."""
    provenance = _read_provenance(summary_file)
    return provenance is not None and Path(provenance["landing"]).parent == landing_folder


def _is_outdated(
    summary_file: Path, landing_folder: Path, last_batch: int, reparse_checksum: str | None
) -> bool:
    provenance = _read_provenance(summary_file)
    if provenance is None:
        return True
    if Path(provenance["landing"]).parent != landing_folder:
        return False
    through = provenance["through_batch"]
    return (
        last_batch > (-1 if through is None else through)
        or provenance.get("reparsed") != reparse_checksum
    )


def _read_provenance(summary_file: Path) -> dict[str, Any] | None:
    try:
        provenance: dict[str, Any] = json.loads(summary_file.read_text())["provenance"]
        return provenance
    except (OSError, ValueError, KeyError):
        return None
