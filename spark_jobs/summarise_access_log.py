"""Summarise days of the access log: landed Parquet -> one small summary a day.

Reads   landed access-log rows (land_access_log), and the bad ones that were replayed
Writes  <sink>/<day>/panels.parquet, every row of every panel, and <sink>/<day>/summary.json,
        totals, top rows and where they come from (also when the producer was alive, what was
        lost); the old one is replaced when the new is whole
Run     spark-submit --py-files var/spark_jobs.zip spark_jobs/summarise_access_log.py \\
            --source parquet:var/lake/landing/access_log/kafka/data --source-kind kafka \\
            --sink summary:var/lake/summary/access_log --days 2026-01-15,2026-01-16
"""

import json
import shutil
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, SUMMARY_SCHEMA_VERSION
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import arguments, positive
from spark_jobs.runtime.claims import replace_text
from spark_jobs.runtime.landing import last_batch, read_landing, removed_days
from spark_jobs.runtime.losses import read_losses
from spark_jobs.runtime.replayed import current, read_replayed, with_replayed
from spark_jobs.runtime.words import Refused
from spark_jobs.transforms import access_log_summary as summary
from spark_jobs.transforms.access_log import filter_unsuccessful

JOB = "summarise_access_log"
SAMPLES = 100  # of each reason; the page shows the first, the CSV all


def main(argv: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--source", required=True, help="parquet:DIR, a landing's data folder")
    parser.add_argument("--source-kind", required=True, choices=["kafka", "files"])
    parser.add_argument("--sink", required=True, help="summary:DIR, gets a folder for each day")
    parser.add_argument("--days", required=True, help="YYYY-MM-DD[,YYYY-MM-DD]")
    parser.add_argument("--time-zone", default="UTC", help="zone of the day's midnight and hours")
    parser.add_argument("--top", type=positive, default=1000, help="rows of a panel in the summary")
    parser.add_argument("--newest", type=positive, default=100, help="unsuccessful requests listed")
    parser.add_argument("--run-id", default="by-hand", help="name of this run in the summary")
    parser.add_argument("--other", help="parquet:DIR, the other source kind's data: only counted")
    parser.add_argument(
        "--by-file", metavar="FILE", help="also the rows of each landed file, as JSON"
    )
    args = parser.parse_args(argv)
    source, sink = _folder(args.source, "parquet"), _folder(args.sink, "summary")
    days, started = _days(args.days), time.monotonic()
    _refuse_removed(source.parent, days)

    spark = session.start(JOB)
    # What is listed now is read below; what lands later makes the day newer than this summary.
    through = last_batch(source)
    replayed = current(source.parent / "replayed")
    rows = read_landing(spark, source, ACCESS_LOG_DDL)
    alive = _by_day(summary.heartbeats_of(summary.days_of(rows, days)))
    lost, zone = read_losses(source.parent / "lost.jsonl"), ZoneInfo(args.time_zone)
    landed = with_replayed(
        summary.only_lines(rows), read_replayed(spark, source.parent / "replayed")
    )
    requests = summary.requests_of(summary.days_of(landed, days), args.time_zone)
    requests.persist(StorageLevel.MEMORY_AND_DISK)
    panels = summary.count_panels(requests).persist(StorageLevel.MEMORY_AND_DISK)
    found = tables(landed, requests, panels, days, args.top, args.newest)
    others = other_lines(spark, args.other, days)
    if args.by_file:
        replace_text(Path(args.by_file), json.dumps(rows_by_file(landed)))
    files = write_panels(spark, panels, days, sink / f".{JOB}")
    provenance = {
        "job": JOB, "run": args.run_id, "landing": str(source), "through_batch": through,
        "spark_version": spark.version, "seconds": round(time.monotonic() - started, 1),
        "summarised_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    for day in days:
        about = {
            "schema_version": SUMMARY_SCHEMA_VERSION, "dataset": "access_log", "day": day,
            "time_zone": args.time_zone, "source": args.source_kind,
        }  # fmt: skip
        numbers = day_numbers({name: rows.get(day, []) for name, rows in found.items()})
        files[day].replace(_made(sink / day) / "panels.parquet")
        told = {
            "heartbeat": heartbeat(alive.get(day, []), day, zone, time.time()),
            "lost": [loss for loss in lost if may_lack(day, loss, zone)],
            "replayed": replayed["days"].get(day), "other_source": others.get(day),
        }  # fmt: skip
        text = json.dumps(about | numbers | {"provenance": provenance | told}, ensure_ascii=False)
        replace_text(sink / day / "summary.json", text)
        print(f"{JOB}: {day}: {numbers['requests']:,} requests of {numbers['visitors']:,} visitors")  # noqa: T201
    shutil.rmtree(sink / f".{JOB}", ignore_errors=True)


def other_lines(spark: SparkSession, source: str | None, days: list[str]) -> dict[str, Any]:
    """By day: `landing`, `good` and `bad` lines of the other source kind, which are not added."""
    if source is None:
        return {}
    folder = _folder(source, "parquet")
    rows = summary.only_lines(read_landing(spark, folder, ACCESS_LOG_DDL))
    of_days = summary.days_of(rows, days)
    return {
        str(row.event_date): {"landing": str(folder), "good": row.good, "bad": row.bad}
        for row in summary.count_lines(of_days).collect()
    }


def rows_by_file(landed: DataFrame) -> dict[str, dict[str, int]]:
    """Name of each file that was landed -> its rows by day, "None" for those without one."""
    found: dict[str, dict[str, int]] = {}
    for row in landed.groupBy("file", "event_date").count().collect():
        name = unquote(str(row.file).rpartition("/")[2])
        found.setdefault(name, {})[str(row.event_date)] = row["count"]
    return found


def tables(
    landed: DataFrame, requests: DataFrame, panels: DataFrame, days: list[str], top: int,
    newest: int,
) -> dict[str, dict[str, list[Row]]]:  # fmt: skip
    """Everything that a summary is made of: table -> day -> its rows."""
    of_days = summary.days_of(landed, days)
    unsuccessful = filter_unsuccessful(requests).drop("visitor", "hour")
    found = {
        "lines": summary.count_lines(of_days),
        "span": summary.time_span(requests),
        "top": summary.top_rows(panels, top),
        "unsuccessful": summary.newest(unsuccessful, newest),
        "bad": summary.bad_samples(of_days, SAMPLES),
    }
    return {name: _by_day(rows) for name, rows in found.items()}


def day_numbers(rows: dict[str, list[Row]]) -> dict[str, Any]:
    """The numbers of one day, from its rows of each table."""
    good, bad = (rows["lines"][0].good, rows["lines"][0].bad) if rows["lines"] else (0, 0)
    panels: dict[str, list[Row]] = {name: [] for name in ("day", *summary.PANELS)}
    for row in rows["top"]:
        panels[row.panel].append(row)
    day = panels.pop("day")
    requests, visitors, sent = (day[0].hits, day[0].visitors, day[0].bytes) if day else (0, 0, 0)
    by_status = {row.value: row.hits for row in sorted(panels["status"], key=lambda r: r.value)}
    hits_by_hour = {row.value: row.hits for row in panels["hours"]}
    span = rows["span"][0] if rows["span"] else None
    return {
        "lines": {"read": good + bad, "good": good, "bad": bad, "repeated": good - requests},
        "requests": requests,
        "unsuccessful": requests - by_status.get("200", 0),
        "visitors": visitors,
        "bytes": sent,
        "first_request": _instant(span.first) if span else None,
        "last_request": _instant(span.last) if span else None,
        "by_status": by_status,
        "by_hour": {f"{hour:02}": hits_by_hour.get(f"{hour:02}", 0) for hour in range(24)},
        "panels": {name: _panel(found) for name, found in panels.items()},
        "unsuccessful_requests": [
            row.asDict() | {"timestamp": _instant(row.timestamp)} for row in rows["unsuccessful"]
        ],
        "bad_lines": [row.asDict() for row in sorted(rows["bad"], key=lambda r: -r.lines)],
    }


def heartbeat(rows: list[Row], day: str, zone: ZoneInfo, now: float) -> dict[str, Any] | None:
    """When the producer was alive on a day: `minutes` with a heartbeat `of` the day's, and `gaps`.

    None if no heartbeat came. What of the day lies after `now` is no gap.
    """
    if not rows:
        return None
    begin, end = _bounds(day, zone)
    gaps = [
        (begin, rows[0].first), *[(gap["from"], gap["to"]) for gap in rows[0].gaps],
        (rows[0].last, min(end, int(now))),
    ]  # fmt: skip
    return {
        "minutes": rows[0].minutes,
        "of": (end - begin) // 60,
        "gaps": [
            {"from": _instant(datetime.fromtimestamp(one, UTC)),
             "to": _instant(datetime.fromtimestamp(other, UTC))}
            for one, other in gaps if other - one > summary.SILENCE
        ],
    }  # fmt: skip


def may_lack(day: str, loss: dict[str, Any], zone: ZoneInfo) -> bool:
    """Whether lines of `day` may be among what was lost: it was sent after `since`, and before `at`."""
    begin, end = _bounds(day, zone)
    since = datetime.fromisoformat(loss["since"]).timestamp() if loss["since"] else 0
    return since < end and datetime.fromisoformat(loss["at"]).timestamp() >= begin


def _bounds(day: str, zone: ZoneInfo) -> tuple[int, int]:
    """The day's midnights in seconds since 1970: 23, 24 or 25 hours apart."""
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    return int(begin.timestamp()), int((begin + timedelta(days=1)).timestamp())


def write_panels(
    spark: SparkSession, panels: DataFrame, days: list[str], folder: Path
) -> dict[str, Path]:
    """Write one Parquet file for each day, sorted by panel and hits; give where it lies."""
    shutil.rmtree(folder, ignore_errors=True)
    files = {}
    ordered = panels.repartition("event_date").sortWithinPartitions(
        "panel", F.desc("hits"), "value"
    )
    ordered.write.partitionBy("event_date").parquet(str(folder / "days"))
    none = spark.createDataFrame([], panels.drop("event_date").schema).coalesce(1)
    for day in days:
        part = folder / "days" / f"event_date={day}"
        if not part.is_dir():  # a day without a request has a file all the same: an empty one
            none.write.parquet(str(part))
        (files[day],) = part.glob("part-*.parquet")
    return files


def _by_day(rows: DataFrame) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows.collect():
        values = row.asDict()
        day = str(values.pop("event_date"))
        found.setdefault(day, []).append(Row(**values))
    return found


def _panel(rows: list[Row]) -> dict[str, Any]:
    """`total` rows in the panel, and the first of them."""
    names = ("value", "hits", "visitors", "bytes")
    return {
        "total": rows[0].rows if rows else 0,
        "rows": [{name: row[name] for name in names} for row in rows],
    }


def _instant(moment: datetime) -> str:
    # The session's zone is UTC, but collect() gives naive times of the driver's own zone.
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(text: str, kind: str) -> Path:
    found, colon, name = text.partition(":")
    if found != kind or not colon or not name:
        raise Refused(f"{text!r} is not understood; use {kind}:DIR")
    return Path(name).absolute()


def _refuse_removed(landing: Path, days: list[str]) -> None:
    """What came late for a day that was removed must not pass for the day."""
    removed = sorted({record["day"] for record in removed_days(landing)} & set(days))
    if removed:
        raise Refused(
            f"{', '.join(removed)} was removed from {landing} by maintain_lake: there is nothing whole "
            f"to summarise, and the old summary stays; if the lines were landed anew, take the day out "
            f"of {landing / 'removed.jsonl'}"
        )


def _days(text: str) -> list[str]:
    days = []
    for day in text.split(","):
        try:
            days.append(date.fromisoformat(day.strip()).isoformat())
        except ValueError:
            raise Refused(f"--days {day!r}: expected days such as 2026-01-31") from None
    return sorted(set(days))


if __name__ == "__main__":
    session.run(JOB, main)
