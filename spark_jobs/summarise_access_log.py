"""Summarise days of the access log: read landed rows, write one small summary per day.

Reads   landed access-log rows (land_access_log) and re-parsed rows (replay_bad_lines)
Writes  <sink>/<day>/panels.parquet, every row of every panel, and <sink>/<day>/summary.json,
        totals, top rows and provenance (with heartbeats and data loss); each file is replaced
        atomically
Run     ./tidemark run summarise_access_log --source parquet:var/lake/landing/access_log/kafka/data \\
            --source-kind kafka --sink summary:var/lake/summary/access_log \\
            --days 2026-01-15,2026-01-16
"""

import fnmatch
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import duckdb
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, SUMMARY_SCHEMA_VERSION
from include.errors import InvalidInput
from include.flag_values import parse_days, parse_folder
from include.lake.files import replace_file
from include.lake.landing_files import LandingFiles
from include.panels import DAY_TOTALS, list_panel_keys
from include.summary.count_panels import NUMBERS
from include.summary.counts import SILENCE_SECONDS, Counts
from include.summary.geoip import locate_hosts
from include.summary.incidents import find_bursts
from include.summary.visitors import VISIT_NUMBERS
from spark_jobs.landing.data_loss import read_data_loss
from spark_jobs.landing.folder import find_last_batch, read_landing
from spark_jobs.landing.reparsed import (
    apply_reparsed_rows,
    read_reparsed_rows,
)
from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import add_boolean_flag, build_parser, positive_int
from spark_jobs.streaming.locks import folder_lock
from spark_jobs.transforms import access_log_summary as summary

JOB = "summarise_access_log"
SAMPLES = 100  # samples of each bad reason; the page shows the first one, the CSV all of them
MAX_BOTS_LISTED, MAX_ATTACKS_LISTED, MAX_FILES_LISTED = 100, 100, 100


def main(argv: list[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--source", required=True, help="parquet:DIR, a landing's data folder")
    parser.add_argument(
        "--source-kind", required=True, choices=["kafka", "files"], help="how the lines were landed"
    )
    parser.add_argument("--sink", required=True, help="summary:DIR, gets one folder per day")
    parser.add_argument("--days", required=True, help="YYYY-MM-DD[,YYYY-MM-DD]: days to summarise")
    parser.add_argument("--time-zone", default="UTC", help="time zone of days and hours")
    parser.add_argument(
        "--top", type=positive_int, default=1000, help="rows per panel in summary.json"
    )
    parser.add_argument(
        "--newest", type=positive_int, default=100, help="unsuccessful requests to list, the newest"
    )
    parser.add_argument("--run-id", default="by-hand", help="name of this run in the summary")
    parser.add_argument(
        "--other-source",
        help="parquet:DIR, landed data of the other source kind; its lines are only counted",
    )
    parser.add_argument(
        "--by-file", metavar="FILE", help="write the row counts of each landed file there, as JSON"
    )
    parser.add_argument(
        "--site-name", default="", help="host name of the site, for lines without vhost"
    )
    parser.add_argument(
        "--maxmind",
        default="",
        metavar="FILE[,FILE]",
        help="MaxMind databases (.mmdb) for countries, cities and networks",
    )
    parser.add_argument(
        "--only-path", default="", metavar="GLOB", help="count only these paths: /blog/*"
    )
    parser.add_argument(
        "--only-host", default="", metavar="GLOB", help="count only these hosts: 192.0.2.*"
    )
    parser.add_argument("--only-status", default="", help="count only this status: 404, or 4xx")
    add_boolean_flag(parser, "--humans-only", "count only humans, not bots")
    args = parser.parse_args(argv)
    source = parse_folder("--source", args.source, "parquet")
    sink = parse_folder("--sink", args.sink, "summary")
    days, landing = parse_days("--days", args.days), LandingFiles(source.parent)
    _refuse_removed_days(landing, days)
    request_filter = Filter(args.only_path, args.only_host, args.only_status, args.humans_only)

    if args.maxmind:
        list(
            locate_hosts(args.maxmind, [])
        )  # check that the databases can be read, before the slow steps

    steps = StepTimer()
    spark = session.start_session(JOB)
    steps.record_step("start of Spark")
    # Take the last batch before reading: lines that land later then count as not summarised yet.
    last_batch = find_last_batch(source)
    current_reparse = landing.read_current_reparse()
    landed = apply_reparsed_rows(
        read_landing(spark, source, ACCESS_LOG_DDL),
        read_reparsed_rows(spark, landing),
    )
    with scratch_folder(sink, args.run_id) as scratch:
        write_lines(
            summary.filter_days(landed, days), scratch / "lines", args.time_zone, request_filter
        )
        other_counts = count_other_source(spark, args.other_source, days)
        if args.by_file:
            replace_file(
                Path(args.by_file), json.dumps(count_rows_by_file(summary.only_lines(landed)))
            )
        version = spark.version
        release_executors(spark)
        steps.record_step("lines")
        with translate_duckdb_errors():
            counts = Counts(
                scratch / "lines",
                scratch,
                is_filtered=request_filter.as_dict() is not None,
                humans_only=request_filter.humans_only,
                site_name=args.site_name,
                maxmind=args.maxmind,
            )
            steps.record_step("visitors")
            counts.count_panels()
            steps.record_step("panels")
            tables = counts.collect_tables(args.newest, SAMPLES, MAX_BOTS_LISTED)
            # Only producers to Kafka send heartbeats.
            heartbeats = counts.collect_heartbeats() if args.source_kind == "kafka" else {}
            steps.record_step("tables")
            data_loss, zone = read_data_loss(landing.data_loss), ZoneInfo(args.time_zone)
            for day in days:
                day_tables = {name: rows.get(day, []) for name, rows in tables.items()}
                day_tables["top"] = counts.write_panels(day, scratch / "panels.parquet", args.top)
                numbers = summarise_day(day_tables)
                header = {
                    "schema_version": SUMMARY_SCHEMA_VERSION,
                    "dataset": "access_log",
                    "day": day,
                    "time_zone": args.time_zone,
                    "source": args.source_kind,
                    "filter": request_filter.as_dict(),
                }
                provenance = {
                    "job": JOB,
                    "run": args.run_id,
                    "landing": str(source),
                    "through_batch": last_batch,
                    "spark_version": version,
                    "seconds": round(sum(steps.seconds.values()), 1),
                    "steps": steps.seconds,
                    "summarised_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "heartbeat": summarise_heartbeats(
                        heartbeats.get(day, []), day, zone, time.time()
                    ),
                    "data_loss": [loss for loss in data_loss if is_day_affected(day, loss, zone)],
                    "reparsed": current_reparse["days"].get(day),
                    "other_source": other_counts.get(day),
                    **lineage(day_tables["lines"]),
                }
                (sink / day).mkdir(parents=True, exist_ok=True)
                (scratch / "panels.parquet").replace(sink / day / "panels.parquet")
                document = header | numbers | {"provenance": provenance}
                replace_file(sink / day / "summary.json", json.dumps(document, ensure_ascii=False))
                message = f"{numbers['requests']:,} requests of {numbers['visitors']:,} visitors"
                print(f"{JOB}: {day}: {message}")  # noqa: T201


@contextmanager
def scratch_folder(sink: Path, run: str) -> Iterator[Path]:
    """Provide an empty scratch folder in the sink, locked by one run at a time.

    The folder is deleted afterwards. What a killed run left in it is deleted by the next run.

    Raises:
        RetryLater: Another run holds the lock; the message names it.
    """
    with folder_lock(sink / f".{JOB}", JOB, run):
        folder = sink / f".{JOB}" / "now"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def release_executors(spark: SparkSession) -> None:
    """Stop Spark on a cluster, to free its cores for other jobs: the remaining steps need no Spark.

    In cluster deploy mode Spark keeps running, because the driver would end with it.
    """
    conf = spark.sparkContext.getConf()
    is_cluster_mode = conf.get("spark.submit.deployMode", "client") != "client"
    if not is_cluster_mode and not str(spark.sparkContext.master).startswith("local"):
        spark.stop()


@contextmanager
def translate_duckdb_errors() -> Iterator[None]:
    """Raise OSError with a message for the user instead of DuckDB's errors."""
    try:
        yield
    except duckdb.Error as error:
        first_line = str(error).partition("\n")[0]
        raise OSError(
            f"the lines could not be counted: {first_line}. No summary was left incomplete. Free disk space "
            "in the lake or memory on this machine, then run it again"
        ) from None


class StepTimer:
    """Measures how many seconds each step takes, by the name of the step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def record_step(self, name: str) -> None:
        """Add the time since the previous call to the step `name`."""
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0) + now - self._last, 1)
        self._last = now


@dataclass(frozen=True)
class Filter:
    """Which requests a summary counts; by default all of them.

    Args:
        path: Shell pattern of paths, such as `/blog/*`.
        host: Shell pattern of hosts, such as `192.0.2.*`.
        status: A status, `404`, or a class, `4xx`.
        humans_only: Whether to leave out bots.

    Raises:
        InvalidInput: `status` is neither a status nor a class.
    """

    path: str = ""
    host: str = ""
    status: str = ""
    humans_only: bool = False

    def __post_init__(self) -> None:
        if self.status and not re.fullmatch(r"[1-5](?:xx|\d\d)", self.status):
            raise InvalidInput(
                f"--only-status {self.status!r}: expected a status (404) or a class (4xx)"
            )

    def as_dict(self) -> dict[str, Any] | None:
        """The filter as it is written to the summary; None if nothing is filtered."""
        return asdict(self) if self != Filter() else None

    def matches(self) -> Column:
        """Return a boolean column: whether the line has the path, host and status of the filter."""
        condition = F.lit(True)
        for name, glob in (("endpoint", self.path), ("host", self.host)):
            if glob:
                is_match = F.col(name).rlike(f"(?s){fnmatch.translate(glob)}")
                condition &= F.coalesce(is_match, F.lit(False))
        if self.status:
            pattern = self.status.replace("xx", "..")
            is_match = F.col("status").cast("string").rlike(f"^{pattern}$")
            condition &= F.coalesce(is_match, F.lit(False))
        return condition


def write_lines(landed: DataFrame, folder: Path, time_zone: str, request_filter: Filter) -> None:
    """Write the columns that are counted as Parquet files: the only pass over the landed rows.

    Args:
        landed: Landed rows of the days to summarise.
        folder: The folder to write; it must not exist.
        time_zone: Time zone of hours and minutes.
        request_filter: Which requests to count.
    """
    lines = summary.select_counted_columns(landed, time_zone, request_filter.matches())
    lines.write.parquet(str(folder))


def count_other_source(spark: SparkSession, source: str | None, days: list[str]) -> dict[str, Any]:
    """Count the lines of the other source kind, which are not added to the summary.

    Args:
        spark: The session.
        source: `parquet:DIR`, the other landing's data folder. None if there is none.
        days: ISO dates.

    Returns:
        ISO date -> `landing` (the data folder), `good` and `bad` (numbers of lines).
    """
    if source is None:
        return {}
    folder = parse_folder("--other-source", source, "parquet")
    rows = summary.only_lines(read_landing(spark, folder, ACCESS_LOG_DDL))
    if find_last_batch(folder) is None:
        return {}
    counts = (
        summary.filter_days(rows, days)
        .groupBy("event_date")
        .agg(
            F.count_if(F.col("bad_reason").isNull()).alias("good"),
            F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
        )
    )
    return {
        str(row.event_date): {"landing": str(folder), "good": row.good, "bad": row.bad}
        for row in counts.collect()
    }


def count_rows_by_file(landed: DataFrame) -> dict[str, dict[str, int]]:
    """Count rows by landed file and day.

    Returns:
        File name -> ISO date -> number of rows. The day of rows without a day is "None".
    """
    counts: dict[str, dict[str, int]] = {}
    for row in landed.groupBy("file", "event_date").count().collect():
        name = unquote(str(row.file).rpartition("/")[2])
        counts.setdefault(name, {})[str(row.event_date)] = row["count"]
    return counts


def _sum_column(rows: list[Row], column: str) -> int:
    return sum(row[column] for row in rows)


def summarise_day(tables: dict[str, list[Row]]) -> dict[str, Any]:
    """Build the numbers of one day's summary.

    Args:
        tables: Name of the table -> its rows for the day, see `Counts.collect_tables`; `top` are the top
            rows of all panels.

    Returns:
        The entries of `summary.json` except its header and provenance.
    """
    good, bad = _sum_column(tables["lines"], "good"), _sum_column(tables["lines"], "bad")
    panels: dict[str, list[Row]] = {name: [] for name in (DAY_TOTALS.key, *list_panel_keys())}
    for row in tables["top"]:
        panels[row.panel].append(row)
    day = panels.pop(DAY_TOTALS.key)
    requests, visitors, sent = (day[0].hits, day[0].visitors, day[0].bytes) if day else (0, 0, 0)
    by_status = {row.value: row.hits for row in sorted(panels["status"], key=lambda r: r.value)}
    hits_by_hour = {row.value: row.hits for row in panels["hours"]}
    distinct = tables["visitors"][0].asDict() if tables["visitors"] else {}
    visits = tables["visits"][0].asDict() if tables["visits"] else {}
    return {
        "lines": {
            "read": good + bad,
            "good": good,
            "bad": bad,
            "duplicates": _sum_column(tables["duplicates"], "lines"),
        },
        "requests": requests,
        "unsuccessful": requests - by_status.get("200", 0),
        "visitors": visitors,
        "bytes": sent,
        "humans": {
            "requests": day[0].humans_hits if day else 0,
            "visitors": day[0].humans_visitors if day else 0,
            "bytes": day[0].humans_bytes if day else 0,
        },
        "distinct": {name: distinct.get(name) for name in ("visitors", "humans")},
        "visits": {
            visitor_kind: {
                name: visits.get(f"{visitor_kind}_{name}") or 0 for name in VISIT_NUMBERS
            }
            for visitor_kind in ("all", "humans")
        },
        "first_request": _format_instant(distinct["first"]) if distinct else None,
        "last_request": _format_instant(distinct["last"]) if distinct else None,
        "by_status": by_status,
        "by_hour": {f"{hour:02}": hits_by_hour.get(f"{hour:02}", 0) for hour in range(24)},
        "panels": {name: _build_panel(rows) for name, rows in panels.items()},
        "bots": [row.asDict() for row in tables["bots"]],
        "incidents": {
            "bursts": [
                burst | {"from": _format_instant(burst["from"]), "to": _format_instant(burst["to"])}
                for burst in find_bursts(tables["minutes"])
            ],
            "attacks": sorted(
                (row.asDict() for row in tables["attacks"]),
                key=lambda row: (-row["hits"], row["host"], row["kind"]),
            )[:MAX_ATTACKS_LISTED],
        },
        "unsuccessful_requests": [_build_request(row.asDict()) for row in tables["unsuccessful"]],
        "bad_lines": [
            row.asDict() for row in sorted(tables.get("bad", []), key=lambda r: -r.lines)
        ],
    }


def lineage(rows: list[Row]) -> dict[str, Any]:
    """Return where a day's lines came from.

    Returns:
        `kafka` (the topic, and partition -> first offset and end offset (exclusive); None without Kafka),
        `files` (the first names) and `file_count`.
    """
    topic, partitions = None, {}
    for row in rows:
        if row.topic is not None:  # a landing has one topic
            topic, partitions[str(row.partition)] = row.topic, [row.first, row.last + 1]
    files = sorted({unquote(str(row.file).rpartition("/")[2]) for row in rows if row.file})
    return {
        "kafka": {"topic": topic, "partitions": partitions} if topic else None,
        "files": [{"name": name} for name in files[:MAX_FILES_LISTED]],
        "file_count": len(files),
    }


def summarise_heartbeats(
    rows: list[Row], day: str, zone: ZoneInfo, now: float
) -> dict[str, Any] | None:
    """Summarise the producer's heartbeats of a day.

    Args:
        rows: The day's row of heartbeat counts: `minutes`, `first`, `last` and `gaps`, times in seconds
            since 1970. Empty if there were no heartbeats.
        day: ISO date.
        zone: Time zone of the day.
        now: The current time in seconds since 1970. The part of the day after it is not a gap.

    Returns:
        `minutes` (minutes with a heartbeat), `of` (minutes of the day) and `gaps` (`from` and `to` in UTC).
        None if there were no heartbeats.
    """
    if not rows:
        return None
    begin, end = _get_day_bounds(day, zone)
    gaps = [
        (begin, rows[0].first),
        *[(gap["from"], gap["to"]) for gap in rows[0].gaps],
        (rows[0].last, min(end, int(now))),
    ]
    return {
        "minutes": rows[0].minutes,
        "of": (end - begin) // 60,
        "gaps": [
            {
                "from": _format_instant(datetime.fromtimestamp(start, UTC)),
                "to": _format_instant(datetime.fromtimestamp(stop, UTC)),
            }
            for start, stop in gaps
            if stop - start > SILENCE_SECONDS
        ],
    }


def is_day_affected(day: str, loss: dict[str, Any], zone: ZoneInfo) -> bool:
    """Whether lost messages may hold lines of `day`.

    Args:
        day: ISO date.
        loss: A record of data loss. The lost messages were sent after `since` and before `at`.
        zone: Time zone of the day.
    """
    begin, end = _get_day_bounds(day, zone)
    since = datetime.fromisoformat(loss["since"]).timestamp() if loss["since"] else 0
    return since < end and datetime.fromisoformat(loss["at"]).timestamp() >= begin


def _get_day_bounds(day: str, zone: ZoneInfo) -> tuple[int, int]:
    """Return the midnights at the start and end of the day, in seconds since 1970: 23 to 25 hours apart."""
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    return int(begin.timestamp()), int((begin + timedelta(days=1)).timestamp())


def _build_panel(rows: list[Row]) -> dict[str, Any]:
    """Return `total` (all rows of the panel) and `rows` (the top rows)."""
    return {"total": rows[0].rows if rows else 0, "rows": [_build_panel_row(row) for row in rows]}


def _build_panel_row(row: Row) -> dict[str, Any]:
    """Format a row for the summary; leaves out values that are null."""
    optional = {name: row[name] for name in ("parent", "method", "protocol", "referrer")}
    if row.timed:
        optional |= {
            "seconds_average": round(row.seconds_sum / row.timed, 6),
            "seconds_p95": row.seconds_p95,
            "seconds_max": row.seconds_max,
        }
    return {
        "value": row.value,
        **{name: value for name, value in optional.items() if value is not None},
        **{name: row[name] for name in NUMBERS[:6]},
    }


def _build_request(row: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": _format_instant(row.pop("micros")), **row}


def _format_instant(moment: datetime | int) -> str:
    """Format a datetime, or microseconds since 1970, as `2026-01-31T00:00:00Z`."""
    if isinstance(moment, int):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refuse_removed_days(landing: LandingFiles, days: list[str]) -> None:
    """Raise InvalidInput for days that were removed: lines that arrived late are not the whole day."""
    removed = sorted(landing.read_removed_days() & set(days))
    if removed:
        raise InvalidInput(
            f"{', '.join(removed)} was removed from {landing.folder} by maintain_lake: a summary would be "
            f"incomplete, and the old summary is kept. If you landed the lines again, delete the day from "
            f"{landing.removed}"
        )


if __name__ == "__main__":
    session.run_job(JOB, main)
