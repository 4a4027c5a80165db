"""Lines as `select_counted_columns` leaves them for counting, made in Python: no Spark session is needed."""

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


def a_line(seconds: float = 0, path: str = "/", **changed: Any) -> dict[str, Any]:
    """A good line `seconds` after one o'clock of DAY: a GET of `path`, from a browser, answered.

    Its visitor (`visitor_id`) follows from host and user agent, as in a landing.
    """
    at = datetime(2015, 5, 17, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    line = dict.fromkeys(SCHEMA.names) | {
        "event_date": at.date(), "micros": round(at.timestamp() * 1_000_000), "hour": f"{at:%H}",
        "host": "192.0.2.1", "method": "GET", "endpoint": path, "target": path, "status": 200,
        "protocol": "HTTP/1.1", "bytes": 100, "user_agent": FIREFOX, "log_format": "combined",
        "wanted": True, "is_heartbeat": False, "file": "file:///ready/made.log",
    } | changed  # fmt: skip
    return line | {"visitor_id": zlib.crc32(f"{line['host']} {line['user_agent']}".encode())}


def a_bad_line(reason: str = "no_match", **changed: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("micros", "hour", "host", "method", "endpoint", "target", "status",
                             "protocol", "bytes", "user_agent", "log_format"))  # fmt: skip
    return (
        a_line(event_date=date.fromisoformat(DAY), bad_reason=reason, sample="?", **nothing)
        | changed
    )


def count_lines(folder: Path, lines: Iterable[dict[str, Any]], **arguments: Any) -> Counts:
    """The counts of these lines; `arguments` are those of `Counts`."""
    rows = folder / "lines"
    rows.mkdir()
    parquet.write_table(pa.Table.from_pylist(list(lines), SCHEMA), rows / "made.parquet")
    counts = Counts(rows, folder, **arguments)
    counts.count_panels()
    return counts


def summarise(
    folder: Path, lines: Iterable[dict[str, Any]], day: str = DAY, **arguments: Any
) -> dict[str, Any]:
    """The numbers of a day of these lines."""
    counts = count_lines(folder, lines, **arguments)
    tables = counts.collect_tables(newest=100, samples=100, bots=100)
    rows = {name: of_days.get(day, []) for name, of_days in tables.items()}
    return summarise_day(rows | {"top": counts.write_panels(day, folder / "panels.parquet", 1000)})
