"""Summaries and reports of days, as Spark jobs and publishing write them, built in Python."""

import base64
import json
from pathlib import Path

import pyarrow as pa
from datasketches import hll_sketch
from pyarrow import parquet

from include.contracts import SUMMARY_SCHEMA_VERSION
from include.panels import list_panel_keys

SCHEMA = pa.schema([
    *[(name, pa.string()) for name in ("panel", "parent", "value", "method", "protocol")],
    *[(name, pa.int64()) for name in ("hits", "visitors", "bytes", "humans_hits",
                                      "humans_visitors", "humans_bytes", "timed")],
    *[(name, pa.float64()) for name in ("seconds_sum", "seconds_p95", "seconds_max")],
    ("referrer", pa.string()),
])  # fmt: skip


def build_panel_row(panel="endpoints", value="/a", hits=3, **changed):
    """A row of panels.parquet; half of its hits are by humans."""
    return dict.fromkeys(SCHEMA.names) | {
        "panel": panel, "value": value, "hits": hits, "visitors": hits, "bytes": 100 * hits,
        "humans_hits": hits // 2, "humans_visitors": hits // 2, "humans_bytes": 50 * hits,
        "timed": 0,
    } | changed  # fmt: skip


def build_sketch(names):
    """A sketch of these visitors in base64, as in a summary; None without visitors."""
    sketch = hll_sketch(12)
    for name in names:
        sketch.update(name)
    return base64.b64encode(sketch.serialize_updatable()).decode() if names else None


def build_summary(
    day="2015-05-17", rows=(), visitor_names=("a", "b"), humans_names=("a",), **changed
):
    """The summary of a day with 10 requests and these panel rows; `changed` replaces its fields."""
    panels = {name: [row for row in rows if row["panel"] == name] for name in list_panel_keys()}
    visits = {"visits": 2, "pages": 4, "bounced": 1, "seconds": 60, "seconds_median": 30.0}
    return {
        "schema_version": SUMMARY_SCHEMA_VERSION, "dataset": "access_log", "day": day,
        "time_zone": "UTC", "source": "kafka", "filter": None,
        "lines": {"read": 12, "good": 11, "bad": 1, "duplicates": 1},
        "requests": 10, "unsuccessful": 2, "visitors": len(visitor_names), "bytes": 1000,
        "first_request": f"{day}T00:00:01Z", "last_request": f"{day}T23:59:59Z",
        "humans": {"requests": 5, "visitors": len(humans_names), "bytes": 500},
        "by_status": {"200": 8, "404": 2},
        "by_hour": {f"{hour:02}": 10 if hour == 12 else 0 for hour in range(24)},
        "distinct": {"visitors": build_sketch(visitor_names), "humans": build_sketch(humans_names)},
        "visits": {"all": visits, "humans": visits},
        "panels": {name: {"total": len(panel_rows), "rows": [to_report_row(row) for row in panel_rows]}
                   for name, panel_rows in panels.items()},
        "bots": [], "incidents": {"bursts": [], "attacks": []},
        "unsuccessful_requests": [], "bad_lines": [],
        "provenance": {"job": "j", "run": f"run of {day}", "landing": "/l", "through_batch": 1,
                       "spark_version": "4.2.0", "seconds": 1.0,
                       "summarised_at": "2026-01-01T00:00:00+00:00"},
    } | changed  # fmt: skip


def to_report_row(row):
    """Convert a row of panels.parquet into its form in summary.json and report.json."""
    excluded = ("panel", "timed", "seconds_sum")
    report_row = {
        name: value for name, value in row.items() if name not in excluded and value is not None
    }
    return report_row | (
        {"seconds_average": row["seconds_sum"] / row["timed"]} if row["timed"] else {}
    )


def build_bot(**changed):
    return {
        "host": "192.0.2.1", "user_agent": "Bot/1.0", "class": "search engine", "name": "Bot",
        "hits": 5, "bytes": 500, "reasons": ["it says so"],
    } | changed  # fmt: skip


def build_attack(**changed):
    return {"host": "192.0.2.9", "kind": "path traversal", "hits": 3, "answered": 1,
            "sample": "/../../etc/passwd"} | changed  # fmt: skip


def write_day(folder: Path, day="2015-05-17", rows=(), **changed) -> dict:
    """Write the day's summary.json and panels.parquet into `folder/<day>`; return the summary."""
    summary = build_summary(day, rows, **changed)
    folder_of_day = folder / day
    folder_of_day.mkdir(parents=True, exist_ok=True)
    (folder_of_day / "summary.json").write_text(json.dumps(summary))
    day_rows = [build_panel_row("day", day, summary["requests"])] if summary["requests"] else []
    table = pa.Table.from_pylist([*day_rows, *rows], SCHEMA)
    parquet.write_table(table, folder_of_day / "panels.parquet", write_page_checksum=True)
    return summary


def build_day_report(**changed):
    """The report.json of a day, from which its page is rendered."""
    rows = [
        build_panel_row("endpoints", "/a", 6, timed=2, seconds_sum=3.0, seconds_p95=2.0, seconds_max=2.5),
        build_panel_row("endpoints", "/b", 4), build_panel_row("hosts", "192.0.2.1", 10),
        build_panel_row("browsers", "Chrome 32", 7, parent="Chrome"),
        build_panel_row("requests", "/a?b=c", 6, method="GET", protocol="HTTP/1.1"),
        build_panel_row("not_found", "/gone", 2, method="GET", referrer="https://example.org/"),
    ]  # fmt: skip
    summary = build_summary(rows=rows, bots=[build_bot()])
    panels = summary.pop("panels")
    summary.pop("distinct")
    bursts = [{"from": "2015-05-17T10:00:00Z", "to": "2015-05-17T10:05:00Z", "requests": 30,
               "endpoint": "/a"}]  # fmt: skip
    return summary | {
        "panels": {name: panel["rows"] for name, panel in panels.items()},
        "panel_rows": {name: panel["total"] for name, panel in panels.items()},
        "checks": [{"name": "volume", "level": "ok", "value": 0.1, "message": "10 requests"}],
        "before": {"day": "2015-05-16", "requests": 8, "visitors": 2, "unsuccessful": 0,
                   "bytes": 2000, "client_errors": 1, "server_errors": 0},
        "usual": {"days": 2, "requests": 9.5, "visitors": 2, "unsuccessful": 1, "bytes": 900,
                  "client_errors": 0.5, "server_errors": 0},
        "moved": {"requests": [{"value": "/a", "hits": 5, "before": 9}], "referring_sites": []},
        "incidents": {
            "bursts": bursts, "attacks": [build_attack()],
            "new_not_found": [{"value": "/gone", "hits": 2, "referrer": None}],
            "slowest": [to_report_row(rows[0])],
        },
    } | changed  # fmt: skip
