"""Summarise the last hours of the clickstream: read landed events, write one small summary.

Reads   landed click events (land_clickstream)
Writes  <sink>/summary.json, replaced atomically: impressions and clicks by minute, hour and campaign
        for the hours up to the newest event; the last 60 minutes compared with the 60 before
Run     ./tidemark run summarise_clickstream --source parquet:var/lake/landing/clickstream/kafka/data \\
            --sink summary:var/lake/summary/clickstream
"""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from include.contracts import CLICKSTREAM_DDL, CLICKSTREAM_SCHEMA_VERSION
from include.flag_values import parse_folder_endpoint
from include.lake.files import replace_file
from spark_jobs.landing.folder import Landing, read_landing
from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import build_parser, positive_int
from spark_jobs.transforms.clickstream import drop_duplicates

JOB = "summarise_clickstream"
SAMPLES = 5
Counts = dict[str, int]


def main(argv: list[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--source", required=True, help="parquet:DIR, a landing's data folder")
    parser.add_argument(
        "--sink", required=True, help="summary:DIR, the folder to write summary.json to"
    )
    parser.add_argument(
        "--hours", type=positive_int, default=24, help="hours up to the newest event"
    )
    parser.add_argument("--time-zone", default="UTC", help="time zone of the hours")
    parser.add_argument("--top", type=positive_int, default=100, help="campaigns in the summary")
    parser.add_argument("--run-id", default="by-hand", help="name of this run in the summary")
    args = parser.parse_args(argv)
    source = parse_folder_endpoint("--source", args.source, "parquet")
    sink = parse_folder_endpoint("--sink", args.sink, "summary")
    landing, started = Landing(source, CLICKSTREAM_DDL), time.monotonic()
    lines = {
        name: sum(batch[name] for batch in landing.files.read_batches())
        for name in ("read", "good", "bad")
    }

    spark = session.start_session(JOB)
    landed = read_landing(spark, landing.data, CLICKSTREAM_DDL)
    numbers = summarise_events(landed, args.hours, args.top, ZoneInfo(args.time_zone))
    numbers["lines"] = lines | {"duplicates": numbers.pop("duplicates")}
    header = {
        "schema_version": CLICKSTREAM_SCHEMA_VERSION,
        "dataset": "clickstream",
        "source": "kafka",
        "time_zone": args.time_zone,
        "hours": args.hours,
    }
    provenance = {
        "job": JOB,
        "run": args.run_id,
        "landing": str(landing.data),
        "spark_version": spark.version,
        "seconds": round(time.monotonic() - started, 1),
        "summarised_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(header | numbers | {"provenance": provenance}, ensure_ascii=False)
    replace_file(Path(sink.name) / "summary.json", text)
    print(  # noqa: T201
        f"{JOB}: {numbers['impressions']:,} impressions and {numbers['clicks']:,} clicks, "
        + (f"{numbers['from']} to {numbers['to']}" if numbers["from"] else "no events")
    )


def summarise_events(landed: DataFrame, hours: int, top: int, zone: ZoneInfo) -> dict[str, Any]:
    """Compute the numbers of the summary.

    Args:
        landed: Landed click events, good and bad, with the columns of CLICKSTREAM_DDL.
        hours: How many hours to summarise, up to the end of the newest event's minute.
        top: How many campaigns to list, those with the most impressions.
        zone: Time zone of the times in the result.

    Returns:
        The entries of `summary.json` except its header and provenance. Times are ISO 8601 with the offset of
        `zone`; `from` and `to` are None if there are no events.
    """
    bad = (
        landed.where("event_date IS NULL")
        .groupBy("bad_reason")
        .agg(
            F.count(F.lit(1)).alias("lines"),
            F.slice(F.array_sort(F.collect_set("raw")), 1, SAMPLES).alias("samples"),
        )
        .orderBy(F.desc("lines"))
    )
    bad_lines = [row.asDict() for row in bad.collect()]
    newest_day = landed.agg(F.max("event_date")).first()
    days = hours // 24 + 1
    recent = landed.where("bad_reason IS NULL").where(
        F.col("event_date") >= F.date_sub(F.lit(newest_day[0] if newest_day else None), days)
    )
    newest = recent.agg(F.max(F.unix_seconds("ts"))).first()
    newest_second = newest[0] if newest else None
    has_events = newest_second is not None
    end = newest_second // 60 * 60 + 60 if newest_second is not None else 0
    begin = end - hours * 3600
    window = recent.where((F.unix_seconds("ts") >= begin) & (F.unix_seconds("ts") < end))
    events = drop_duplicates(window).withColumn("minute", F.expr("unix_seconds(ts) div 60 * 60"))
    sums = [
        F.sum("Impressions").alias("impressions"),
        F.sum("Clicks").alias("clicks"),
        F.count(F.lit(1)).alias("events"),
    ]
    by_minute = {
        row.minute: _extract_counts(row) for row in events.groupBy("minute").agg(*sums).collect()
    }
    campaigns = events.groupBy("campaign").agg(*sums)
    top_campaigns = campaigns.orderBy(F.desc("impressions"), "campaign").limit(top).collect()
    return {
        "bad_lines": bad_lines,
        "from": _format_time(begin, zone) if has_events else None,
        "to": _format_time(end, zone) if has_events else None,
        "duplicates": window.count() - sum(counts["events"] for counts in by_minute.values()),
        **_sum_counts(list(by_minute.values())),
        "last_hour": _sum_counts([c for m, c in by_minute.items() if m >= end - 3600]),
        "hour_before": _sum_counts(
            [c for m, c in by_minute.items() if end - 7200 <= m < end - 3600]
        ),
        "by_minute": [
            {"minute": _format_time(m, zone)} | by_minute.get(m, _sum_counts([]))
            for m in range(end - 3600, end, 60)
        ]
        if has_events
        else [],
        "by_hour": _sum_by_hour(by_minute, begin, end, zone) if has_events else [],
        "by_campaign": [{"campaign": row.campaign} | _extract_counts(row) for row in top_campaigns],
        "campaigns": campaigns.count(),
    }


def _sum_by_hour(by_minute: dict[int, Counts], begin: int, end: int, zone: ZoneInfo) -> list[Any]:
    """Sum by clock hour of the zone, including hours without events; the first hour may be partial."""
    hours: dict[datetime, list[Counts]] = {}
    moment = datetime.fromtimestamp(begin, UTC)
    while moment.timestamp() < end:
        hours.setdefault(_floor_to_hour(moment.timestamp(), zone), [])
        moment += timedelta(minutes=1)
    for minute, minute_counts in by_minute.items():
        hours[_floor_to_hour(minute, zone)].append(minute_counts)
    return [{"hour": hour.isoformat()} | _sum_counts(counts) for hour, counts in hours.items()]


def _floor_to_hour(seconds: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(seconds, zone).replace(minute=0, second=0, microsecond=0)


def _sum_counts(counts: list[Counts]) -> Counts:
    return {
        name: sum(each[name] for each in counts) for name in ("impressions", "clicks", "events")
    }


def _extract_counts(row: Row) -> Counts:
    return {"impressions": row.impressions, "clicks": row.clicks, "events": row.events}


def _format_time(seconds: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(seconds, zone).isoformat()


if __name__ == "__main__":
    session.run_job(JOB, main)
