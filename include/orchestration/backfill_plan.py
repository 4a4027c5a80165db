"""Plan and check a bulk backfill: inventory of the inbox, cost estimate, days, validation."""

import json
import re
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from include.datasets import ACCESS_LOG
from include.inbox.inspect import escape_unprintable
from include.inbox.ledger import read_unlanded_records
from include.inbox.take import remove_landed_files, take_new_files
from include.lake.files import replace_file
from include.lake.landing_files import LandingFiles
from include.lake.paths import (
    inbox_path,
    is_summary_outdated,
    landing_path,
    ready_path,
    summaries_path,
)
from include.settings import Settings

DAG_ID = "backfill_access_logs"
# Rough estimates for two cores, from `make bench-bulk`: two Spark starts, a million lines, one file.
FIXED_SECONDS, SECONDS_PER_MILLION_LINES, SECONDS_PER_FILE = 50, 55, 0.09
BYTES_PER_LINE = 110  # landed rows, summaries and reports together, without the copy in `ready`
MAX_DAYS = 1000  # Airflow does not map more tasks (core.max_map_length is 1,024)


def run_folder(settings: Settings, run_id: str) -> Path:
    """Return the folder with a run's inventory, and its summaries until they are published."""
    return settings.lake / "runs" / DAG_ID / re.sub(r"[^A-Za-z0-9-]+", "_", run_id)


def take_inventory(settings: Settings, run_id: str, *, dry_run: bool) -> dict[str, Any]:
    """List the new files of the inbox with the cost of processing them, and take them for landing.

    Writes the result to `inventory.json` in the run's folder.

    Args:
        dry_run: Only list the files; do not take them.

    Returns:
        files: One record per file: name, sizes, lines, first and last time, format.
        skipped: File name -> reason.
        set_aside: Name of a quarantined file -> reason.
        lines: Number of lines in all files.
        first, last: First and last time in the files, or None.
        seconds, bytes: Estimated run time and disk space.

    Raises:
        AirflowFailException: The disk has too little free space.
    """
    target = ready_path(settings, ACCESS_LOG.name)
    if not dry_run:
        landing = LandingFiles(landing_path(settings, ACCESS_LOG.name, "files"))
        remove_landed_files(target, landing)
        _check_disk_space(
            settings,
            sum(p.lstat().st_size for p in inbox_path(settings, ACCESS_LOG.name).glob("[!._]*")),
        )
    intake = take_new_files(
        inbox_path(settings, ACCESS_LOG.name), target, settings.log_format, dry_run=dry_run
    )
    print("\n".join(intake.format_lines()) or "no new files in the inbox")  # noqa: T201
    files = read_unlanded_records(target) + (intake.records if dry_run else [])
    lines = sum(record["lines"] for record in files)
    packed = sum(record["packed"] for record in files)
    times = sorted(time for record in files for time in (record["first"], record["last"]) if time)
    inventory = {
        "files": files,
        "skipped": intake.skipped,
        "set_aside": intake.quarantined,
        "lines": lines,
        "first": times[0] if times else None,
        "last": times[-1] if times else None,
        "seconds": round(
            FIXED_SECONDS + SECONDS_PER_MILLION_LINES * lines / 1e6 + SECONDS_PER_FILE * len(files)
        ),
        "bytes": packed + BYTES_PER_LINE * lines,
    }
    folder = run_folder(settings, run_id)
    replace_file(folder / "inventory.json", json.dumps(inventory, indent=1))
    print(format_inventory(inventory))  # noqa: T201
    _check_disk_space(settings, inventory["bytes"] - packed)
    return inventory


def _check_disk_space(settings: Settings, needed_bytes: int) -> None:
    settings.lake.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.lake).free
    if needed_bytes > free:
        raise AirflowFailException(
            f"{settings.lake}: {needed_bytes:,} bytes are needed, but only {free:,} are free; free disk "
            f"space or take files out of the inbox, then run it again"
        )


def format_inventory(inventory: dict[str, Any]) -> str:
    """Format the inventory as a table for a task's log."""
    rows = [
        f"{escape_unprintable(r['name']):40} {r['format']:12} {r['packed']:>13,} {r['size']:>15,} "
        f"{r['lines']:>12,}  "
        f"{r['first'] or '-'}  {r['last'] or '-'}  {r['sha256'][:12]}"
        for r in inventory["files"]
    ]
    header = f"{'file':40} {'format':12} {'bytes':>13} {'unpacked':>15} {'lines':>12}  first, last, sha256"
    minutes, size = inventory["seconds"] / 60, inventory["bytes"] / 1e6
    return "\n".join(
        [
            *([header, *rows] if rows else []),
            f"{len(rows)} files, {inventory['lines']:,} lines, {inventory['first'] or '-'} to "
            f"{inventory['last'] or '-'}; "
            f"about {minutes:,.1f} minutes and {size:,.1f} MB",
        ]
    )


def list_backfill_days(
    settings: Settings, first_day: str | None, last_day: str | None
) -> list[str]:
    """List the days to backfill.

    Args:
        first_day, last_day: ISO dates, both inclusive. With both, every day of the range is listed.
            With one, only the days for which files were landed. With neither, of those days only the ones
            whose summary is outdated or comes from another source kind.

    Raises:
        AirflowFailException: The last day lies before the first, or the range is too long.
    """
    folder = landing_path(settings, ACCESS_LOG.name, "files")
    landed = LandingFiles(folder).read_days()
    if first_day and last_day:
        begin, end = date.fromisoformat(first_day), date.fromisoformat(last_day)
        if end < begin:
            raise AirflowFailException(
                f"the last day {last_day} lies before the first day {first_day}; give the earlier day first"
            )
        days = [(begin + timedelta(days=n)).isoformat() for n in range((end - begin).days + 1)]
    else:
        days = sorted(d for d in landed if (first_day or d) <= d <= (last_day or d))
        if not first_day and not last_day:
            summaries = summaries_path(settings, ACCESS_LOG.name)
            days = [day for day in days if is_summary_outdated(summaries, day, folder)]
    if len(days) > MAX_DAYS:
        raise AirflowFailException(
            f"the range has {len(days):,} days, at most {MAX_DAYS:,} are possible; give a shorter range"
        )
    return days


def validate_backfill(settings: Settings, run_id: str, days: list[str]) -> dict[str, Any]:
    """Compare the landed lines with the inventory, and the new summaries with the published ones.

    Every line of every file must be landed, with or without a day. Each day's summary must contain
    all lines that the files have for that day.

    Returns:
        publish: The days to publish.
        fewer: The days that would replace a published day with fewer lines.
        table: A Markdown table of the days in `fewer`.

    Raises:
        AirflowFailException: The counts differ. Nothing has been replaced.
    """
    folder, differences = run_folder(settings, run_id), []
    by_file: dict[str, dict[str, int]] = json.loads((folder / "by_file.json").read_text())
    totals: dict[str, int] = {}
    for rows in by_file.values():
        for day, lines in rows.items():
            totals[day] = totals.get(day, 0) + lines
    for record in json.loads((folder / "inventory.json").read_text())["files"]:
        landed = sum(by_file.get(record["ready"], {}).values())
        if landed != record["lines"]:
            differences.append(
                f"{escape_unprintable(record['name'])} has {record['lines']:,} lines, but {landed:,} were "
                "landed"
            )
    publish, fewer, table_rows = [], [], []
    for day in days:
        new = json.loads((folder / "summary" / day / "summary.json").read_text())
        lines = new["lines"]["read"]
        if lines != totals.get(day, 0):
            differences.append(
                f"{day}: {totals.get(day, 0):,} lines were landed, but {lines:,} were summarised"
            )
        published = summaries_path(settings, ACCESS_LOG.name) / day / "summary.json"
        old = json.loads(published.read_text()) if published.is_file() else None
        before = old["lines"]["read"] - old["lines"]["duplicates"] if old else 0
        after = lines - new["lines"]["duplicates"]
        print(f"{day}: {lines:,} lines summarised, {before:,} lines published")  # noqa: T201
        if old and after < before:
            fewer.append(day)
            table_rows.append(f"| {day} | {old['source']} | {before:,} | {after:,} |")
        else:
            publish.append(day)
    if differences:
        raise AirflowFailException(
            f"line counts differ, nothing was replaced: {'; '.join(differences)}. The run's files are in "
            f"{folder}. To land the files again, move {landing_path(settings, ACCESS_LOG.name, 'files')} and "
            f"{ready_path(settings, ACCESS_LOG.name)}.jsonl away"
        )
    header = (
        "| day | published from | published lines | lines after the backfill |\n|---|---|---|---|"
    )
    return {"publish": publish, "fewer": fewer, "table": "\n".join([header, *table_rows])}
