"""Plan which days of the lake are old enough to remove, and remove their summaries and reports.

The job `maintain_landing` removes the landed days of the plan.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.datasets import DATASETS, Dataset
from include.lake.files import replace_file
from include.lake.landing_files import LandingFiles
from include.lake.paths import (
    is_reported,
    landing_path,
    list_outdated_days,
    reports_path,
    run_manifest_path,
    summaries_path,
)
from include.settings import Settings

DAG_ID = "maintain_lake"
REMOVED_PREFIX = ".removed-"


def plan_removal(settings: Settings, today: date) -> dict[str, Any]:
    """List the days that are older than the settings keep, and those that stay nevertheless.

    Args:
        settings: `keep_landing_days`, `keep_summary_days` and `keep_report_days`; 0 keeps forever.
        today: The day that ages are counted from.

    Returns:
        `keep` (the days to keep of `landing`, `summary` and `report`), `landings` (a plan for each
        landing, with the reason for each day in its `stay`), `summaries` and `reports` (what to remove,
        as `DATASET/DAY`).

    Raises:
        ValueError: Summaries would be removed before the landed lines they are made from: the next
            scheduled run would create them again.
    """
    keep = {
        "landing": settings.keep_landing_days,
        "summary": settings.keep_summary_days,
        "report": settings.keep_report_days,
    }
    if keep["summary"] and not 0 < keep["landing"] <= keep["summary"]:
        raise ValueError(
            f"TIDEMARK_KEEP_SUMMARY_DAYS={keep['summary']}, TIDEMARK_KEEP_LANDING_DAYS="
            f"{keep['landing']}: the next scheduled run would create a removed summary again while its "
            f"landed lines exist; keep landed lines from 1 to {keep['summary']} days"
        )
    landings = {
        f"{dataset.name}_{kind}": _plan_landing(settings, dataset, kind, today)
        for dataset, kind in list_landings()
    }
    # A summary stays as long as any landing holds lines of its day.
    days_with_lines = {
        f"{dataset.name}/{day}"
        for dataset, kind in list_landings()
        for day in _list_landed_days(landing_path(settings, dataset.name, kind))
        if day not in landings[f"{dataset.name}_{kind}"]["remove_days"]
    }
    daily = [dataset.name for dataset in DATASETS if dataset.has_daily_reports]
    summaries, reports = (
        [
            f"{name}/{day}"
            for name in daily
            for day in _list_days(get_path(settings, name))
            if day < _compute_first_kept_day(today, keep_days)
        ]
        for get_path, keep_days in (
            (summaries_path, keep["summary"]),
            (reports_path, keep["report"]),
        )
    )
    return {
        "keep": keep,
        "landings": landings,
        "summaries": [name for name in summaries if name not in days_with_lines],
        "reports": reports,
    }


def list_landings() -> list[tuple[Dataset, str]]:
    """Return each dataset with each of its source kinds."""
    return [(dataset, kind) for dataset in DATASETS for kind in dataset.source_kinds]


def _plan_landing(
    settings: Settings, dataset: Dataset, source_kind: str, today: date
) -> dict[str, Any]:
    folder = landing_path(settings, dataset.name, source_kind)
    cutoff = _compute_first_kept_day(today, settings.keep_landing_days)
    old_days = [day for day in _list_landed_days(folder) if day < cutoff]
    if dataset.has_daily_reports:
        uncounted = set(list_outdated_days(folder, summaries_path(settings, dataset.name)))
    else:  # a dataset without a report has nothing to wait for
        uncounted = (
            set()
            if not dataset.reporting_dags
            or is_reported(folder, reports_path(settings, dataset.name))
            else set(old_days) - LandingFiles(folder).read_removed_days()
        )
    return {
        "remove_days": [day for day in old_days if day not in uncounted],
        "undated_before": cutoff,
        "through_batch": LandingFiles(folder).read_last_batch(),
        "stay": {
            day: "has lines that no summary has counted" for day in old_days if day in uncounted
        },
    }


def has_dry_run(settings: Settings, keep_days: dict[str, int], run_id: str) -> bool:
    """Whether a dry run other than `run_id` has used exactly these days to keep."""
    for path in run_manifest_path(settings, DAG_ID, run_id).parent.glob("[!.]*.json"):
        record = json.loads(path.read_text())
        if record["dry_run"] and record["keep"] == keep_days and record["run"] != run_id:
            return True
    return False


def remove_days(folder: Path, days: Iterable[str], *, dry_run: bool) -> dict[str, dict[str, int]]:
    """Remove the folders `days` below `folder`; one rename takes each away as a whole.

    Args:
        folder: The summaries or the reports of all datasets.
        days: Names such as `access_log/2026-01-31`.
        dry_run: Remove nothing.

    Returns:
        Name -> `files` and `bytes` of its folder.
    """
    sizes = {}
    for day in days:
        files = [path for path in (folder / day).rglob("*") if path.is_file()]
        sizes[day] = {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
        if not dry_run:
            target = (folder / day).with_name(f"{REMOVED_PREFIX}{Path(day).name}")
            (folder / day).rename(target)
    if not dry_run:
        for removed in folder.glob(f"*/{REMOVED_PREFIX}*"):  # also those that a killed run has left
            shutil.rmtree(removed)
    return sizes


def apply_removal_plan(
    settings: Settings, run_id: str, plan: dict[str, Any], rewrite_index: Callable[[Path], Any]
) -> dict[str, Any]:
    """Remove the summaries and reports of a plan, and write the record of the whole run.

    Args:
        settings: Where the lake lies.
        run_id: The DAG run. The jobs have written their manifests of the landings under it.
        plan: The result of `plan_removal`, with `dry_run`; if that is true, nothing is removed.
        rewrite_index: Called with the folder of a dataset's reports after some were removed.

    Returns:
        The record, as written to the run's manifest: per landing what its job did, per summary and
        report its files and bytes.
    """
    dry_run, record_file = plan["dry_run"], run_manifest_path(settings, DAG_ID, run_id)
    folders = {
        "summaries": settings.lake / "summary",
        "reports": settings.lake / "reports",
    }
    earlier = json.loads(record_file.read_text()) if record_file.is_file() else {}
    record: dict[str, Any] = {
        "run": run_id,
        "dry_run": dry_run,
        "keep": plan["keep"],
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "landings": {},
    }
    for name, landing_plan in plan["landings"].items():
        manifest = json.loads(landing_manifest_path(settings, run_id, name).read_text())
        record["landings"][name] = manifest | {
            "stay": landing_plan["stay"] | manifest.get("stay", {})
        }
    for name, folder in folders.items():
        # The record is written before anything is removed, so that a killed run has one, too.
        days = [day for day in plan[name] if (folder / day).is_dir()]
        record[name] = earlier.get(name, {}) | remove_days(folder, days, dry_run=True)
    replace_file(record_file, json.dumps(record, indent=1))
    for name, folder in folders.items():
        days = [day for day in plan[name] if (folder / day).is_dir()]
        remove_days(folder, days, dry_run=dry_run)
    if not dry_run:
        for dataset_folder in sorted(
            {(folders["reports"] / day).parent for day in plan["reports"]}
        ):
            rewrite_index(dataset_folder)
    return record


def landing_manifest_path(settings: Settings, run_id: str, landing_name: str) -> Path:
    """Return the file in which the job records what the run did to a landing."""
    return settings.lake / "runs" / DAG_ID / run_id / f"{landing_name}.json"


def format_record(record: dict[str, Any]) -> list[str]:
    """Return log lines of what a run did or would do, except what the jobs print of the landings."""
    outcome = "would be removed" if record["dry_run"] else "removed"
    lines = [
        f"{name} {day}: stays, {reason}"
        for name, landing in record["landings"].items()
        for day, reason in landing["stay"].items()
    ]
    lines += [
        f"{name} {day}: {outcome}, {size['files']} files, {size['bytes']:,} bytes"
        for name in ("summaries", "reports")
        for day, size in record[name].items()
    ]
    return lines


def _compute_first_kept_day(today: date, keep_days: int) -> str:
    """Return the first ISO date that is kept; "", which no date precedes, keeps all."""
    return (today - timedelta(keep_days)).isoformat() if keep_days else ""


def _list_days(folder: Path) -> list[str]:
    names = [path.name for path in folder.glob("[0-9]*-[0-9]*-[0-9]*") if path.is_dir()]
    return sorted(names)


def _list_landed_days(folder: Path) -> list[str]:
    files = LandingFiles(folder)
    partitions = [
        *files.data.glob("event_date=[0-9]*"),
        *files.reparsed.glob("**/event_date=[0-9]*"),
    ]
    days = {partition.name.partition("=")[2] for partition in partitions}
    if files.data_location.is_file():
        # In remote storage only the landing's records name the days. Removed days are included: a
        # killed run or late lines may have left files there, which the job looks for.
        days |= files.read_days().keys() | files.read_removed_days()
    return sorted(days)
