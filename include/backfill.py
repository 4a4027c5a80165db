"""A range of days in bulk: what is in the inbox, what it will cost, and whether it came whole."""

import json
import re
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from include.inbox import clear_landed, shown, take, waiting
from include.lake import inbox, is_behind, landed_days, landing, ready, summaries
from include.settings import Settings

DATASET = "access_log"
DAG = "backfill_access_logs"
# Rough, for two cores: two starts of Spark, what a million lines cost, and a file. `make bench-bulk`
# measures.
FIXED_SECONDS, SECONDS_A_MILLION, SECONDS_A_FILE = 50, 55, 0.09
BYTES_A_LINE = 110  # landed, summaries and reports together, beside the copy in `ready`
MOST_DAYS = 1000  # Airflow maps no more tasks (core.max_map_length is 1,024)


def run_folder(settings: Settings, run: str) -> Path:
    """Where a run keeps its inventory, and its summaries until they are published."""
    return settings.lake / "runs" / DAG / re.sub(r"[^A-Za-z0-9-]+", "_", run)


def inventory(settings: Settings, run: str, *, only_look: bool) -> dict[str, Any]:
    """Look at the inbox, take what is new unless `only_look`, and say what the run will cost.

    Gives `files` (name, sizes, lines, first and last time, format), `skipped` and `set_aside` (name
    -> why), `lines`, `seconds` and `bytes` estimated, and `first` and `last` day. Written to
    `inventory.json` in the run's folder. Raises AirflowFailException if the disk cannot hold it.
    """
    target, checkpoint = (
        ready(settings, DATASET),
        landing(settings, DATASET, "files") / "checkpoint",
    )
    if not only_look:
        clear_landed(target, checkpoint)
        _check_disk(
            settings, sum(p.lstat().st_size for p in inbox(settings, DATASET).glob("[!._]*"))
        )
    found = take(inbox(settings, DATASET), target, settings.log_format, only_look=only_look)
    print("\n".join(found.lines()) or "nothing new in the inbox")  # noqa: T201
    files = waiting(target) + (found.files if only_look else [])
    lines = sum(record["lines"] for record in files)
    packed = sum(record["packed"] for record in files)
    times = sorted(time for record in files for time in (record["first"], record["last"]) if time)
    told = {
        "files": files, "skipped": found.skipped, "set_aside": found.set_aside, "lines": lines,
        "first": times[0] if times else None, "last": times[-1] if times else None,
        "seconds": round(
            FIXED_SECONDS + SECONDS_A_MILLION * lines / 1e6 + SECONDS_A_FILE * len(files)
        ),
        "bytes": packed + BYTES_A_LINE * lines,
    }  # fmt: skip
    folder = run_folder(settings, run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inventory.json").write_text(json.dumps(told, indent=1))
    print(as_text(told))  # noqa: T201
    _check_disk(settings, told["bytes"] - packed)
    return told


def _check_disk(settings: Settings, needed: int) -> None:
    settings.lake.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.lake).free
    if needed > free:
        raise AirflowFailException(
            f"{settings.lake}: {needed:,} bytes are needed, {free:,} are free; free some space, or "
            f"take files out of the inbox, and run it again"
        )


def as_text(told: dict[str, Any]) -> str:
    """The inventory for a task's log."""
    rows = [
        f"{shown(r['name']):40} {r['format']:12} {r['packed']:>13,} {r['size']:>15,} {r['lines']:>12,}  "
        f"{r['first'] or '-'}  {r['last'] or '-'}  {r['sha256'][:12]}"
        for r in told["files"]
    ]  # fmt: skip
    head = f"{'file':40} {'format':12} {'bytes':>13} {'unpacked':>15} {'lines':>12}  first, last, sha256"
    minutes, size = told["seconds"] / 60, told["bytes"] / 1e6
    return "\n".join([
        *([head, *rows] if rows else []),
        f"{len(rows)} files, {told['lines']:,} lines, {told['first'] or '-'} to {told['last'] or '-'}; "
        f"about {minutes:,.1f} minutes and {size:,.1f} MB",
    ])  # fmt: skip


def days_to_do(settings: Settings, first: str | None, last: str | None) -> list[str]:
    """The days of a range, both ends in it; with an open end those that the files brought.

    Without any end only what their reports have not seen, or have from another source. Raises
    AirflowFailException for a range that is none.
    """
    folder = landing(settings, DATASET, "files")
    landed = landed_days(folder)
    if first and last:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
        if end < begin:
            raise AirflowFailException(f"the last day {last} lies before the first day {first}")
        days = [(begin + timedelta(days=n)).isoformat() for n in range((end - begin).days + 1)]
    else:
        days = sorted(d for d in landed if (first or d) <= d <= (last or d))
        if not first and not last:
            kept = summaries(settings, DATASET)
            days = [day for day in days if is_behind(kept, day, folder)]
    if len(days) > MOST_DAYS:
        raise AirflowFailException(
            f"{len(days):,} days are more than {MOST_DAYS:,}; give a shorter range"
        )
    return days


def validate(settings: Settings, run: str, days: list[str]) -> dict[str, Any]:
    """Compare what was landed with the inventory, and the new summaries with what is published.

    Every line of every file must be landed, on some day or none, and each day's summary must have
    what the files have for it. Gives `publish`, the days to publish, and `fewer`, those that would
    replace a published day with fewer lines, with `table`, a Markdown table of these. Raises
    AirflowFailException; then nothing has been replaced.
    """
    folder, wrong = run_folder(settings, run), []
    by_file: dict[str, dict[str, int]] = json.loads((folder / "by_file.json").read_text())
    totals: dict[str, int] = {}
    for rows in by_file.values():
        for day, lines in rows.items():
            totals[day] = totals.get(day, 0) + lines
    for record in json.loads((folder / "inventory.json").read_text())["files"]:
        landed = sum(by_file.get(record["ready"], {}).values())
        if landed != record["lines"]:
            wrong.append(
                f"{shown(record['name'])} has {record['lines']:,} lines, {landed:,} were landed"
            )
    publish, fewer, rows_of_table = [], [], []
    for day in days:
        new = json.loads((folder / "summary" / day / "summary.json").read_text())
        lines = new["lines"]["read"]
        if lines != totals.get(day, 0):
            wrong.append(
                f"{day}: {totals.get(day, 0):,} lines were landed, {lines:,} are summarised"
            )
        kept = summaries(settings, DATASET) / day / "summary.json"
        old = json.loads(kept.read_text()) if kept.is_file() else None
        before = old["lines"]["read"] - old["lines"]["repeated"] if old else 0
        after = lines - new["lines"]["repeated"]
        print(f"{day}: {lines:,} lines; published are {before:,}")  # noqa: T201
        if old and after < before:
            fewer.append(day)
            rows_of_table.append(f"| {day} | {old['source']} | {before:,} | {after:,} |")
        else:
            publish.append(day)
    if wrong:
        raise AirflowFailException(
            f"nothing was replaced: {'; '.join(wrong)}. Look into {folder}; move "
            f"{landing(settings, DATASET, 'files')} and {ready(settings, DATASET)}.jsonl away to land anew"
        )
    head = "| day | published from | its lines | lines now |\n|---|---|---|---|"
    return {"publish": publish, "fewer": fewer, "table": "\n".join([head, *rows_of_table])}
