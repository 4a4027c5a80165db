"""Measure a bulk backfill of months: seconds of each task of `backfill_access_logs`, driver memory.

Each case has its own lake. Archives are put into the inbox; then the steps of the DAG run one after
the other, Spark jobs as whole processes. Airflow's own time (1 to 2 s per task) is not included.

    python -m bench.bulk               (make bench-bulk: 90 days of 100,000 lines, and 2,160 files)
    python -m bench.bulk 3 1000 1      (3 days of 1,000 lines, one archive per day)
"""

import gzip
import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.pages import write_page
from bench.stack import fresh_lake, measure_job, measure_seconds
from include.lake.paths import inbox_path, landing_path, ready_path
from include.orchestration.backfill_plan import (
    list_backfill_days,
    run_folder,
    take_inventory,
    validate_backfill,
)
from include.reporting.publishing import publish_days
from include.settings import Settings
from producers.access_log.generator import generate_lines

FIRST_DAY = date(2026, 1, 1)
# Days, lines per day, archives per day.
CASES = [(90, 100_000, 1), (90, 10_000, 24), (9, 10_000, 1)]
DATASET = "access_log"
RUN_ID = "bench"


def measure(cases: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """Measure each case (days, lines per day, archives per day).

    Returns:
        A row per case: sizes, seconds of each step, and the peak memory of the drivers in MiB.
    """
    console, rows = Console(stderr=True), []
    for days, lines, archives in cases:
        with fresh_lake() as settings:
            archive_bytes = fill_inbox(settings, days, lines, archives)
            row = {
                "days": days,
                "lines": days * lines,
                "files": days * archives,
                "mb": round(archive_bytes / 1e6, 1),
            } | run_steps(settings)
            console.print(row)
            rows.append(row)
    return rows


def fill_inbox(settings: Settings, days: int, lines: int, archives: int) -> int:
    """Put archives of generated traffic into the inbox and return their size in bytes."""
    first_day = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    day_lines = [line.text for line in generate_lines(lines, 1, FIRST_DAY)]
    folder, archive_bytes = inbox_path(settings, DATASET), 0
    folder.mkdir(parents=True)
    first_date = first_day.strftime("%d/%b/%Y").encode()
    for day in range(days):
        log_date = (first_day + timedelta(days=day)).strftime("%d/%b/%Y").encode()
        for part in range(archives):
            part_lines = day_lines[part * lines // archives : (part + 1) * lines // archives]
            text = b"\n".join(part_lines).replace(first_date, log_date) + b"\n"
            path = folder / f"access-{day}-{part}.gz"
            path.write_bytes(gzip.compress(text, 6))
            archive_bytes += path.stat().st_size
    time.sleep(2)  # the inbox does not take a file that was just written
    return archive_bytes


def run_steps(settings: Settings) -> dict[str, float]:
    """Run the DAG's steps and return the seconds of each and the drivers' peak memory in MiB."""
    data = landing_path(settings, DATASET, "files") / "data"
    folder, results = run_folder(settings, RUN_ID), {}
    results["inventory"], inventory = measure_seconds(
        lambda: take_inventory(settings, RUN_ID, dry_run=False)
    )
    land_flags = ["--source", f"text:{ready_path(settings, DATASET)}", "--sink", f"parquet:{data}"]
    cost = measure_job(settings, "land_access_log", *land_flags, lines=inventory["lines"])
    results["land"], results["land_mib"] = cost.seconds, cost.peak_mib
    days = list_backfill_days(settings, None, None)
    summarise_flags = [
        "--source",
        f"parquet:{data}",
        "--source-kind",
        "files",
        "--days",
        ",".join(days),
        "--sink",
        f"summary:{folder / 'summary'}",
        "--by-file",
        folder / "by_file.json",
    ]
    cost = measure_job(settings, "summarise_access_log", *summarise_flags, lines=inventory["lines"])
    results["summarise"], results["summarise_mib"] = cost.seconds, cost.peak_mib
    results["validate"], validation = measure_seconds(
        lambda: validate_backfill(settings, RUN_ID, days)
    )
    assert len(validation["publish"]) == len(days), validation
    results["publish"], _ = measure_seconds(
        lambda: publish_days(
            settings, days, RUN_ID, publish_anyway=True, staged_folder=folder / "summary"
        )
    )
    lake_bytes = sum(path.stat().st_size for path in settings.lake.rglob("*") if path.is_file())
    inbox_bytes = sum(path.stat().st_size for path in inbox_path(settings, DATASET).iterdir())
    results["bytes_a_line"] = (lake_bytes - 2 * inbox_bytes) / inventory["lines"]
    return {name: round(value, 1) for name, value in results.items()}


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:]]
    rows = measure([(numbers[0], numbers[1], numbers[2])] if numbers else CASES)
    if numbers:
        return
    path = Path("var/bench/bulk.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    if (speed_file := path.with_name("speed.json")).is_file():
        rows[0]["night"] = next(
            (
                row["seconds"]
                for row in json.loads(speed_file.read_text())["rows"]
                if row["what"] == "night from text" and row["lines"] == CASES[0][1]
            ),
            None,
        )
    path.write_text(json.dumps(rows, indent=1))
    write_page("bulk", rows)


if __name__ == "__main__":
    main()
