"""Counts days and builds their summaries as `summarise_access_log` does, without its files."""

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
def count_days(
    landed: DataFrame, days: list[str], zone: str = "UTC", **filter_fields: Any
) -> Iterator[Counts]:  # fmt: skip
    """Yield the counts of landed rows; `filter_fields` are fields of the job's `Filter`."""
    request_filter = job.Filter(**filter_fields)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job.write_lines(summary.filter_days(landed, days), folder / "lines", zone, request_filter)
        yield Counts(
            folder / "lines",
            folder,
            is_filtered=request_filter.as_dict() is not None,
            humans_only=request_filter.humans_only,
        )


def build_summaries(counts: Counts, days: list[str]) -> dict[str, dict[str, Any]]:
    """Return the summary of each day, by day."""
    counts.count_panels()
    tables = counts.collect_tables(newest=100, samples=100, bots=100)
    summaries = {}
    for day in days:
        rows = {name: rows_by_day.get(day, []) for name, rows_by_day in tables.items()}
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            rows["top"] = counts.write_panels(day, Path(file.name), 30_000)
        summaries[day] = job.summarise_day(rows)
    return summaries
