"""Rows of counted columns, as `select_counted_columns` returns them; no Spark session is needed."""

import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from include.summary.counts import Counts
from spark_jobs.summarise_access_log import summarise_day

DAY = "2015-05-17"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
TEXTS = ("hour", "host", "remote_user", "method", "endpoint", "query", "protocol", "referrer",
         "user_agent", "vhost", "log_format", "cache_status", "mime_type", "tls_version", "target",
         "topic", "file", "bad_reason", "sample")  # fmt: skip
SCHEMA = pa.schema([
    ("event_date", pa.date32()), ("micros", pa.int64()), ("visitor_id", pa.int64()), ("status", pa.int32()),
    ("bytes", pa.int64()), ("seconds_taken", pa.float64()), ("wanted", pa.bool_()),
    ("dedup_hash", pa.int64()), ("dedup_hash_2", pa.int32()),
    ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64()),
    ("is_heartbeat", pa.bool_()), *[(name, pa.string()) for name in TEXTS],
])  # fmt: skip


def line_row(seconds: float = 0, path: str = "/", **columns: Any) -> dict[str, Any]:
    """A good line `seconds` after 01:00 UTC of DAY: an answered GET of `path` by a browser.

    `visitor_id` follows from host and user agent, as in a landing.
    """
    at = datetime(2015, 5, 17, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    line = dict.fromkeys(SCHEMA.names) | {
        "event_date": at.date(), "micros": round(at.timestamp() * 1_000_000), "hour": f"{at:%H}",
        "host": "192.0.2.1", "method": "GET", "endpoint": path, "target": path, "status": 200,
        "protocol": "HTTP/1.1", "bytes": 100, "user_agent": FIREFOX, "log_format": "combined",
        "wanted": True, "is_heartbeat": False, "file": "file:///ready/made.log",
    } | columns  # fmt: skip
    return line | {"visitor_id": zlib.crc32(f"{line['host']} {line['user_agent']}".encode())}


def bad_line_row(reason: str = "no_match", **columns: Any) -> dict[str, Any]:
    missing = dict.fromkeys(("micros", "hour", "host", "method", "endpoint", "target", "status",
                             "protocol", "bytes", "user_agent", "log_format"))  # fmt: skip
    return (
        line_row(event_date=date.fromisoformat(DAY), bad_reason=reason, sample="?", **missing)
        | columns
    )


def count_lines(folder: Path, lines: Iterable[dict[str, Any]], **arguments: Any) -> Counts:
    """Count these lines; `arguments` are passed to `Counts`."""
    lines_folder = folder / "lines"
    lines_folder.mkdir()
    parquet.write_table(pa.Table.from_pylist(list(lines), SCHEMA), lines_folder / "made.parquet")
    counts = Counts(lines_folder, folder, **arguments)
    counts.count_panels()
    return counts


def summarise(
    folder: Path, lines: Iterable[dict[str, Any]], day: str = DAY, **arguments: Any
) -> dict[str, Any]:
    """Summarise a day of these lines."""
    counts = count_lines(folder, lines, **arguments)
    tables = counts.collect_tables(newest=100, samples=100, bots=100)
    rows = {name: rows_by_day.get(day, []) for name, rows_by_day in tables.items()}
    return summarise_day(rows | {"top": counts.write_panels(day, folder / "panels.parquet", 1000)})
