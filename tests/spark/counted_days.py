"""Days counted as the summary's job counts them, without its files."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from include.summary.counts import Counts
from spark_jobs import summarise_access_log as job
from spark_jobs.transforms import access_log_summary as summary


@contextmanager
def counted(
    landed: DataFrame, days: list[str], zone: str = "UTC", **only: Any
) -> Iterator[Counts]:  # fmt: skip
    """The counts of landed rows, the fields of the job's Filter as `only`."""
    wanted = job.Filter(**only)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job.write_lines(summary.filter_days(landed, days), folder / "lines", zone, wanted)
        yield Counts(
            folder / "lines", folder, is_filtered=wanted.as_dict() is not None, humans_only=wanted.humans_only
        )  # fmt: skip


def summaries_of(counts: Counts, days: list[str]) -> dict[str, dict[str, Any]]:
    """Day -> its summary."""
    counts.count_panels()
    tables = counts.collect_tables(newest=100, samples=100, bots=100)
    found = {}
    for day in days:
        rows = {name: of_days.get(day, []) for name, of_days in tables.items()}
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            rows["top"] = counts.write_panels(day, Path(file.name), 30_000)
        found[day] = job.summarise_day(rows)
    return found
