"""What of the lake is old enough to go, and the removal of summaries and reports."""

import json
import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.lake import (
    changed_days,
    is_reported,
    landed_days,
    landing,
    last_landed_batch,
    removed_days,
    reports,
    run_manifest,
    summaries,
)
from include.reporting.report import write_index
from include.settings import Settings

DAG = "maintain_lake"
LANDINGS = (("access_log", "kafka"), ("access_log", "files"), ("clickstream", "kafka"))
BY_DAY = "access_log"  # the dataset whose summaries and reports are folders of days
GOING = ".removed-"


def plan(settings: Settings, today: date) -> dict[str, Any]:
    """What is older than it is to be kept, and what of that must stay, with the reason.

    Raises ValueError for settings by which a summary would go before the lines it is made of: the next
    night would make it again.
    """
    keep = {
        "landing": settings.keep_landing_days, "summary": settings.keep_summary_days,
        "report": settings.keep_report_days,
    }  # fmt: skip
    if keep["summary"] and not 0 < keep["landing"] <= keep["summary"]:
        raise ValueError(
            f"TIDEMARK_KEEP_SUMMARY_DAYS={keep['summary']}, TIDEMARK_KEEP_LANDING_DAYS="
            f"{keep['landing']}: the next night would make a summary again whose lines are still there; "
            f"keep landed lines from 1 to {keep['summary']} days"
        )
    landings = {
        f"{dataset}_{kind}": _plan_landing(settings, dataset, kind, today)
        for dataset, kind in LANDINGS
    }
    # A summary stays as long as lines of its day do, in whichever landing.
    lines_stay = {
        day for dataset, kind in LANDINGS if dataset == BY_DAY
        for day in _landed_days(landing(settings, dataset, kind))
        if day not in landings[f"{dataset}_{kind}"]["remove_days"]
    }  # fmt: skip
    old = {kind: _first_kept(today, days) for kind, days in keep.items()}
    summarised = [d for d in _days(summaries(settings, BY_DAY)) if d < old["summary"]]
    return {
        "keep": keep,
        "landings": landings,
        "summaries": [day for day in summarised if day not in lines_stay],
        "reports": [day for day in _days(reports(settings, BY_DAY)) if day < old["report"]],
    }


def _plan_landing(settings: Settings, dataset: str, kind: str, today: date) -> dict[str, Any]:
    folder = landing(settings, dataset, kind)
    first = _first_kept(today, settings.keep_landing_days)
    old = [day for day in _landed_days(folder) if day < first]
    if dataset == BY_DAY:
        unseen = set(changed_days(folder, summaries(settings, dataset)))
    else:
        unseen = (
            set()
            if is_reported(folder, reports(settings, dataset))
            else set(old) - removed_days(folder)
        )
    return {
        "remove_days": [day for day in old if day not in unseen],
        "undated_before": first,
        "through_batch": last_landed_batch(folder),
        "stay": {day: "has lines that no summary has seen" for day in old if day in unseen},
    }


def is_shown(settings: Settings, keep: dict[str, int], run: str) -> bool:
    """Whether a dry run other than `run` has shown what goes with just these days to keep."""
    for path in run_manifest(settings, DAG, run).parent.glob("[!.]*.json"):
        record = json.loads(path.read_text())
        if record["dry_run"] and record["keep"] == keep and record["run"] != run:
            return True
    return False


def remove_days(folder: Path, days: Iterable[str], *, dry_run: bool) -> dict[str, dict[str, int]]:
    """Remove the folders of `days`, each whole in one rename; give their files and bytes."""
    found = {}
    for day in days:
        files = [path for path in (folder / day).rglob("*") if path.is_file()]
        found[day] = {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
        if not dry_run:
            (folder / day).rename(folder / f"{GOING}{day}")
    if not dry_run:
        for gone in folder.glob(f"{GOING}*"):  # those of a run that was killed, too
            shutil.rmtree(gone)
    return found


def finish(settings: Settings, run: str, planned: dict[str, Any]) -> dict[str, Any]:
    """Remove old summaries and reports; give and write the record of all that the run did."""
    dry_run, target = planned["dry_run"], run_manifest(settings, DAG, run)
    folders = {"summaries": summaries(settings, BY_DAY), "reports": reports(settings, BY_DAY)}
    earlier = json.loads(target.read_text()) if target.is_file() else {}
    record: dict[str, Any] = {
        "run": run, "dry_run": dry_run, "keep": planned["keep"],
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"), "landings": {},
    }  # fmt: skip
    for name, found in planned["landings"].items():
        told = json.loads(landing_manifest(settings, run, name).read_text())
        record["landings"][name] = told | {"stay": found["stay"] | told.get("stay", {})}
    target.parent.mkdir(parents=True, exist_ok=True)
    for name, folder in folders.items():
        # Written before anything goes, so that a run that was killed has its proof too.
        days = [day for day in planned[name] if (folder / day).is_dir()]
        record[name] = earlier.get(name, {}) | remove_days(folder, days, dry_run=True)
    part = target.with_name(f".{target.name}")
    part.write_text(json.dumps(record, indent=1))
    part.replace(target)
    for name, folder in folders.items():
        days = [day for day in planned[name] if (folder / day).is_dir()]
        remove_days(folder, days, dry_run=dry_run)
    if planned["reports"] and not dry_run:
        write_index(folders["reports"])
    return record


def landing_manifest(settings: Settings, run: str, name: str) -> Path:
    """Where the job writes what `run` did to the landing `name`."""
    return settings.lake / "runs" / DAG / run / f"{name}.json"


def sentences(record: dict[str, Any]) -> list[str]:
    """What a run did, or would do, beside what the jobs have printed of the landings."""
    would = "would be removed" if record["dry_run"] else "removed"
    lines = [
        f"{name} {day}: stays, {why}"
        for name, told in record["landings"].items() for day, why in told["stay"].items()
    ]  # fmt: skip
    lines += [
        f"{name} {day}: {would}, {told['files']} files, {told['bytes']:,} bytes"
        for name in ("summaries", "reports") for day, told in record[name].items()
    ]  # fmt: skip
    return lines


def _first_kept(today: date, days: int) -> str:
    """The first day that is kept; nothing is before "" (for ever)."""
    return (today - timedelta(days)).isoformat() if days else ""


def _days(folder: Path) -> list[str]:
    names = [path.name for path in folder.glob("[0-9]*-[0-9]*-[0-9]*") if path.is_dir()]
    return sorted(names)


def _landed_days(folder: Path) -> list[str]:
    places = [*folder.glob("data/event_date=[0-9]*"), *folder.glob("replayed/**/event_date=[0-9]*")]
    days = {place.name.partition("=")[2] for place in places}
    if (folder / "data_at").is_file():
        # In a store they are known by the record alone; those that were removed may have files yet,
        # of a run that was killed or of late lines, which the job looks for.
        days |= landed_days(folder).keys() | removed_days(folder)
    return sorted(days)
