"""Summarise the clickstream's last hours: landed events -> one small summary.

Reads   landed click events (land_clickstream)
Writes  <sink>/summary.json: impressions and clicks by minute, hour and campaign of the hours that end
        with the newest event, the last 60 minutes against the 60 before; replaced when it is whole
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
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import arguments, positive
from spark_jobs.runtime.claims import replace_text
from spark_jobs.runtime.landing import Landing, read_landing
from spark_jobs.runtime.words import Place, Refused
from spark_jobs.transforms.clickstream import without_repeats

JOB = "summarise_clickstream"
SAMPLES = 5
Counts = dict[str, int]


def main(argv: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--source", required=True, help="parquet:DIR, a landing's data folder")
    parser.add_argument("--sink", required=True, help="summary:DIR, gets summary.json")
    parser.add_argument("--hours", type=positive, default=24, help="up to the newest event")
    parser.add_argument("--time-zone", default="UTC", help="zone of the hours")
    parser.add_argument("--top", type=positive, default=100, help="campaigns in the summary")
    parser.add_argument("--run-id", default="by-hand", help="name of this run in the summary")
    args = parser.parse_args(argv)
    source, sink = _place(args.source, "parquet"), _place(args.sink, "summary")
    landing, started = Landing(source, CLICKSTREAM_DDL), time.monotonic()
    lines = {
        name: sum(batch[name] for batch in landing.batches()) for name in ("read", "good", "bad")
    }

    spark = session.start(JOB)
    landed = read_landing(spark, landing.data, CLICKSTREAM_DDL)
    found = numbers(landed, args.hours, args.top, ZoneInfo(args.time_zone))
    found["lines"] = lines | {"repeated": found.pop("repeated")}
    about = {
        "schema_version": CLICKSTREAM_SCHEMA_VERSION, "dataset": "clickstream", "source": "kafka",
        "time_zone": args.time_zone, "hours": args.hours,
    }  # fmt: skip
    provenance = {
        "job": JOB, "run": args.run_id, "landing": str(landing.data),
        "spark_version": spark.version, "seconds": round(time.monotonic() - started, 1),
        "summarised_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    text = json.dumps(about | found | {"provenance": provenance}, ensure_ascii=False)
    replace_text(Path(sink.name) / "summary.json", text)
    print(  # noqa: T201
        f"{JOB}: {found['impressions']:,} impressions and {found['clicks']:,} clicks, "
        f"{found['from'] or 'nothing'} to {found['to'] or 'nothing'}"
    )


def numbers(landed: DataFrame, hours: int, top: int, zone: ZoneInfo) -> dict[str, Any]:
    """Every number of the summary; `from` and `to` are instants, hours and minutes in `zone`."""
    bad = landed.where("event_date IS NULL").groupBy("bad_reason").agg(
        F.count(F.lit(1)).alias("lines"), F.slice(F.array_sort(F.collect_set("raw")), 1, SAMPLES)
        .alias("samples"),
    ).orderBy(F.desc("lines"))  # fmt: skip
    told: dict[str, Any] = {"bad_lines": [row.asDict() for row in bad.collect()]}
    newest_day = landed.agg(F.max("event_date")).first()
    days = hours // 24 + 1
    recent = landed.where("bad_reason IS NULL").where(
        F.col("event_date") >= F.date_sub(F.lit(newest_day[0] if newest_day else None), days)
    )
    newest = recent.agg(F.max(F.unix_seconds("ts"))).first()
    until = None if newest is None or newest[0] is None else newest[0] // 60 * 60 + 60
    begin = (until or 0) - hours * 3600
    window = recent.where((F.unix_seconds("ts") >= begin) & (F.unix_seconds("ts") < (until or 0)))
    events = without_repeats(window).withColumn("minute", F.expr("unix_seconds(ts) div 60 * 60"))
    sums = [F.sum("Impressions").alias("impressions"), F.sum("Clicks").alias("clicks"),
            F.count(F.lit(1)).alias("events")]  # fmt: skip
    by_minute = {row.minute: _counts(row) for row in events.groupBy("minute").agg(*sums).collect()}
    campaigns = events.groupBy("campaign").agg(*sums)
    of_campaigns = campaigns.orderBy(F.desc("impressions"), "campaign").limit(top).collect()
    ends = until or 0
    return told | {
        "from": _time(begin, zone) if until else None,
        "to": _time(ends, zone) if until else None,
        "repeated": window.count() - sum(counts["events"] for counts in by_minute.values()),
        **_sum(list(by_minute.values())),
        "last_hour": _sum([c for m, c in by_minute.items() if m >= ends - 3600]),
        "hour_before": _sum([c for m, c in by_minute.items() if ends - 7200 <= m < ends - 3600]),
        "by_minute": [
            {"minute": _time(m, zone)} | by_minute.get(m, _sum([]))
            for m in range(ends - 3600, ends, 60)
        ] if until else [],
        "by_hour": _by_hour(by_minute, begin, ends, zone) if until else [],
        "by_campaign": [{"campaign": row.campaign} | _counts(row) for row in of_campaigns],
        "campaigns": campaigns.count(),
    }  # fmt: skip


def _by_hour(by_minute: dict[int, Counts], begin: int, end: int, zone: ZoneInfo) -> list[Any]:
    """Clock hours of the zone, those without an event too; the first may be cut by `begin`."""
    hours: dict[datetime, list[Counts]] = {}
    moment = datetime.fromtimestamp(begin, UTC)
    while moment.timestamp() < end:
        hours.setdefault(_hour(moment.timestamp(), zone), [])
        moment += timedelta(minutes=1)
    for minute, counts in by_minute.items():
        hours[_hour(minute, zone)].append(counts)
    return [{"hour": hour.isoformat()} | _sum(found) for hour, found in hours.items()]


def _hour(seconds: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(seconds, zone).replace(minute=0, second=0, microsecond=0)


def _sum(found: list[Counts]) -> Counts:
    return {name: sum(each[name] for each in found) for name in ("impressions", "clicks", "events")}


def _counts(row: Row) -> Counts:
    return {"impressions": row.impressions, "clicks": row.clicks, "events": row.events}


def _time(seconds: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(seconds, zone).isoformat()


def _place(text: str, kind: str) -> Place:
    found, _, name = text.partition(":")
    if found != kind or not name:
        raise Refused(f"{text!r} is not understood; use {kind}:DIR")
    return Place(found, name)


if __name__ == "__main__":
    session.run(JOB, main)
