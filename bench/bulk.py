"""Months of logs in bulk: what the tasks of `backfill_access_logs` cost, and the driver's memory.

Each case in a lake of its own: archives into the inbox, then the DAG's steps one after the other as
it runs them, Spark jobs as whole processes. Airflow's own time (a second or two a task) is not in it.

    python -m bench.bulk               (make bench-bulk: 90 days of 100,000 lines, and 2,160 files)
    python -m bench.bulk 3 1000 1      (3 days of 1,000 lines, an archive a day)
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
from bench.stack import fresh_lake, job_cost, timed
from include.backfill import days_to_do, inventory, run_folder, validate
from include.lake import inbox, landing, ready
from include.publishing import publish_days
from include.settings import Settings
from producers.access_log.generator import generate

FIRST = date(2026, 1, 1)
CASES = [(90, 100_000, 1), (90, 10_000, 24), (9, 10_000, 1)]  # days, lines a day, archives a day
DATASET = "access_log"
RUN = "bench"


def measure(cases: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """A row a case: sizes, seconds of each step, and the peak memory of the driver in MiB."""
    says, rows = Console(stderr=True), []
    for days, lines, archives in cases:
        with fresh_lake() as settings:
            packed = fill(settings, days, lines, archives)
            row = {"days": days, "lines": days * lines, "files": days * archives,
                   "mb": round(packed / 1e6, 1)} | steps(settings)  # fmt: skip
            says.print(row)
            rows.append(row)
    return rows


def fill(settings: Settings, days: int, lines: int, archives: int) -> int:
    """Put archives of generated traffic into the inbox; give their size in bytes."""
    begin = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    made = [line.text for line in generate(lines, 1, FIRST)]
    folder, packed = inbox(settings, DATASET), 0
    folder.mkdir(parents=True)
    stamp = begin.strftime("%d/%b/%Y").encode()
    for day in range(days):
        date_of = (begin + timedelta(days=day)).strftime("%d/%b/%Y").encode()
        for part in range(archives):
            of_part = made[part * lines // archives : (part + 1) * lines // archives]
            text = b"\n".join(of_part).replace(stamp, date_of) + b"\n"
            path = folder / f"access-{day}-{part}.gz"
            path.write_bytes(gzip.compress(text, 6))
            packed += path.stat().st_size
    time.sleep(2)  # a file that was just written is not taken yet
    return packed


def steps(settings: Settings) -> dict[str, float]:
    """Run the DAG's steps; seconds of each and the drivers' peak memory in MiB."""
    data = landing(settings, DATASET, "files") / "data"
    folder, found = run_folder(settings, RUN), {}
    found["inventory"], told = timed(lambda: inventory(settings, RUN, only_look=False))
    land = ["--source", f"text:{ready(settings, DATASET)}", "--sink", f"parquet:{data}"]
    cost = job_cost(settings, "land_access_log", *land, lines=told["lines"])
    found["land"], found["land_mib"] = cost.seconds, cost.mib
    days = days_to_do(settings, None, None)
    summarise = ["--source", f"parquet:{data}", "--source-kind", "files", "--days", ",".join(days),
                 "--sink", f"summary:{folder / 'summary'}", "--by-file", folder / "by_file.json"]  # fmt: skip
    cost = job_cost(settings, "summarise_access_log", *summarise, lines=told["lines"])
    found["summarise"], found["summarise_mib"] = cost.seconds, cost.mib
    found["validate"], checked = timed(lambda: validate(settings, RUN, days))
    assert len(checked["publish"]) == len(days), checked
    found["publish"], _ = timed(
        lambda: publish_days(settings, days, RUN, anyway=True, staged=folder / "summary")
    )
    lake = sum(path.stat().st_size for path in settings.lake.rglob("*") if path.is_file())
    sent = sum(p.stat().st_size for p in inbox(settings, DATASET).iterdir())
    found["bytes_a_line"] = (lake - 2 * sent) / told["lines"]
    return {name: round(value, 1) for name, value in found.items()}


def main() -> None:
    given = [int(text) for text in sys.argv[1:]]
    rows = measure([(given[0], given[1], given[2])] if given else CASES)
    if given:
        return
    path = Path("var/bench/bulk.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    if (speed := path.with_name("speed.json")).is_file():
        rows[0]["night"] = next(
            (row["seconds"] for row in json.loads(speed.read_text())["rows"]
             if row["what"] == "night from text" and row["lines"] == CASES[0][1]), None,
        )  # fmt: skip
    path.write_text(json.dumps(rows, indent=1))
    write_page("bulk", rows)


if __name__ == "__main__":
    main()
