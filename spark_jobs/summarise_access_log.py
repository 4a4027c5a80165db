"""Summarise days of the access log: landed Parquet -> one small summary a day.

Reads   landed access-log rows (land_access_log), and the bad ones that were replayed
Writes  <sink>/<day>/panels.parquet, every row of every panel, and <sink>/<day>/summary.json,
        totals, top rows and where they come from (also when the producer was alive, what was
        lost); the old one is replaced when the new is whole
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
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import duckdb
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, PANELS, SUMMARY_SCHEMA_VERSION
from spark_jobs.counting.counts import SILENCE, Counts
from spark_jobs.counting.panels import NUMBERS
from spark_jobs.counting.places import places_of
from spark_jobs.counting.trouble import bursts
from spark_jobs.counting.visitors import VISIT_NUMBERS
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import arguments, positive
from spark_jobs.runtime.claims import held, replace_text
from spark_jobs.runtime.landing import last_batch, read_landing, removed_days
from spark_jobs.runtime.losses import read_losses
from spark_jobs.runtime.replayed import current, read_replayed, with_replayed
from spark_jobs.runtime.words import Refused
from spark_jobs.transforms import access_log_summary as summary

JOB = "summarise_access_log"
SAMPLES = 100  # of each reason; the page shows the first, the CSV all
MACHINES_LISTED, ATTACKS_LISTED, FILES_LISTED = 100, 100, 100


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
    parser.add_argument("--site-name", default="", help="the site's own, where lines have no vhost")
    parser.add_argument("--maxmind", default="", metavar="FILE[,FILE]",
                        help="MaxMind databases (.mmdb) for countries, cities and networks")  # fmt: skip
    parser.add_argument("--only-path", default="", metavar="GLOB", help="only these: /blog/*")
    parser.add_argument("--only-host", default="", metavar="GLOB", help="only these: 192.0.2.*")
    parser.add_argument("--only-status", default="", help="only these: 404, or 4xx")
    parser.add_argument("--people-only", choices=["True", "False"], default="False",
                        help="without machines")  # fmt: skip
    args = parser.parse_args(argv)
    source, sink = _folder(args.source, "parquet"), _folder(args.sink, "summary")
    days = _days(args.days)
    _refuse_removed(source.parent, days)
    wanted = Filter(args.only_path, args.only_host, args.only_status, args.people_only == "True")

    if args.maxmind:
        list(places_of(args.maxmind, []))  # refuses what it cannot read, before anything is done

    steps = Steps()
    spark = session.start(JOB)
    steps.done("start of Spark")
    # What is listed now is read below; what lands later makes the day newer than this summary.
    through = last_batch(source)
    replayed = current(source.parent / "replayed")
    landed = with_replayed(
        read_landing(spark, source, ACCESS_LOG_DDL),
        read_replayed(spark, source.parent / "replayed"),
    )
    with scratch_of(sink, args.run_id) as scratch:
        write_lines(summary.days_of(landed, days), scratch / "lines", args.time_zone, wanted)
        others = other_lines(spark, args.other, days)
        if args.by_file:
            replace_text(Path(args.by_file), json.dumps(rows_by_file(summary.only_lines(landed))))
        version = spark.version
        give_back(spark)
        steps.done("lines")
        with counting():
            counts = Counts(
                scratch / "lines", scratch, filtered=wanted.told() is not None,
                people_only=wanted.people_only, site_name=args.site_name, maxmind=args.maxmind,
            )  # fmt: skip
            steps.done("visitors")
            counts.count_panels()
            steps.done("panels")
            found = counts.tables(args.newest, SAMPLES, MACHINES_LISTED)
            # Nobody follows a file: heartbeats are Kafka's.
            alive = counts.heartbeats() if args.source_kind == "kafka" else {}
            steps.done("tables")
            lost, zone = read_losses(source.parent / "lost.jsonl"), ZoneInfo(args.time_zone)
            for day in days:
                of_day = {name: rows.get(day, []) for name, rows in found.items()}
                of_day["top"] = counts.write_panels(day, scratch / "panels.parquet", args.top)
                numbers = day_numbers(of_day)
                about = {
                    "schema_version": SUMMARY_SCHEMA_VERSION, "dataset": "access_log", "day": day,
                    "time_zone": args.time_zone, "source": args.source_kind, "filter": wanted.told(),
                }  # fmt: skip
                provenance = {
                    "job": JOB, "run": args.run_id, "landing": str(source), "through_batch": through,
                    "spark_version": version, "seconds": round(sum(steps.seconds.values()), 1),
                    "steps": steps.seconds,
                    "summarised_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "heartbeat": heartbeat(alive.get(day, []), day, zone, time.time()),
                    "lost": [loss for loss in lost if may_lack(day, loss, zone)],
                    "replayed": replayed["days"].get(day), "other_source": others.get(day),
                    **came_from(of_day["lines"]),
                }  # fmt: skip
                (scratch / "panels.parquet").replace(_made(sink / day) / "panels.parquet")
                whole = about | numbers | {"provenance": provenance}
                replace_text(sink / day / "summary.json", json.dumps(whole, ensure_ascii=False))
                counted = f"{numbers['requests']:,} requests of {numbers['visitors']:,} visitors"
                print(f"{JOB}: {day}: {counted}")  # noqa: T201


@contextmanager
def scratch_of(sink: Path, run: str) -> Iterator[Path]:
    """An empty folder in the sink, for one run at a time; it goes afterwards, and so does a killed run's.

    Raises NotNow with the name of the run that has it.
    """
    with held(sink / f".{JOB}", JOB, run):
        folder = sink / f".{JOB}" / "now"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def give_back(spark: SparkSession) -> None:
    """Let others have the cluster's cores: Spark's part is done. Not where the driver ends with it."""
    told = spark.sparkContext.getConf()
    ends_with_it = told.get("spark.submit.deployMode", "client") != "client"
    if not ends_with_it and not str(spark.sparkContext.master).startswith("local"):
        spark.stop()


@contextmanager
def counting() -> Iterator[None]:
    """What DuckDB could not do, in a sentence: raises OSError."""
    try:
        yield
    except duckdb.Error as failed:
        said = str(failed).partition("\n")[0]
        raise OSError(
            f"the lines could not be counted: {said}; no summary is half written. Give the lake's disk and "
            "this machine's memory some room, and run it again"
        ) from None


class Steps:
    """How many seconds each step took, by its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def done(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0) + now - self._last, 1)
        self._last = now


@dataclass(frozen=True)
class Filter:
    """Which requests a summary is of; all of them if nothing is given.

    Paths and hosts as in a shell, `/blog/*`; a status `404`, or a class `4xx`.
    """

    path: str = ""
    host: str = ""
    status: str = ""
    people_only: bool = False

    def __post_init__(self) -> None:
        if self.status and not re.fullmatch(r"[1-5](?:xx|\d\d)", self.status):
            raise Refused(
                f"--only-status {self.status!r}: expected a status (404) or a class (4xx)"
            )

    def told(self) -> dict[str, Any] | None:
        """The filter as the summary names it; None if there is none."""
        return asdict(self) if self != Filter() else None

    def lets_through(self) -> Column:
        """Whether a line is of the path, host and status that it names."""
        found = F.lit(True)
        for name, glob in (("endpoint", self.path), ("host", self.host)):
            if glob:
                fits = F.col(name).rlike(f"(?s){fnmatch.translate(glob)}")
                found &= F.coalesce(fits, F.lit(False))
        if self.status:
            shape = self.status.replace("xx", "..")
            fits = F.col("status").cast("string").rlike(f"^{shape}$")
            found &= F.coalesce(fits, F.lit(False))
        return found


def write_lines(landed: DataFrame, folder: Path, time_zone: str, wanted: Filter) -> None:
    """The pass over the landing: what is counted of each line, as Parquet files in the folder."""
    told = summary.lines_to_count(landed, time_zone, wanted.lets_through())
    told.write.parquet(str(folder))


def other_lines(spark: SparkSession, source: str | None, days: list[str]) -> dict[str, Any]:
    """By day: `landing`, `good` and `bad` lines of the other source kind, which are not added."""
    if source is None:
        return {}
    folder = _folder(source, "parquet")
    rows = summary.only_lines(read_landing(spark, folder, ACCESS_LOG_DDL))
    if last_batch(folder) is None:
        return {}
    counted = summary.days_of(rows, days).groupBy("event_date").agg(
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
    )  # fmt: skip
    return {
        str(row.event_date): {"landing": str(folder), "good": row.good, "bad": row.bad}
        for row in counted.collect()
    }


def rows_by_file(landed: DataFrame) -> dict[str, dict[str, int]]:
    """Name of each file that was landed -> its rows by day, "None" for those without one."""
    found: dict[str, dict[str, int]] = {}
    for row in landed.groupBy("file", "event_date").count().collect():
        name = unquote(str(row.file).rpartition("/")[2])
        found.setdefault(name, {})[str(row.event_date)] = row["count"]
    return found


def _sum(rows: list[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def day_numbers(rows: dict[str, list[Row]]) -> dict[str, Any]:
    """The numbers of one day, from its rows of each table."""
    good, bad = _sum(rows["lines"], "good"), _sum(rows["lines"], "bad")
    panels: dict[str, list[Row]] = {name: [] for name in ("day", *PANELS)}
    for row in rows["top"]:
        panels[row.panel].append(row)
    day = panels.pop("day")
    requests, visitors, sent = (day[0].hits, day[0].visitors, day[0].bytes) if day else (0, 0, 0)
    by_status = {row.value: row.hits for row in sorted(panels["status"], key=lambda r: r.value)}
    hits_by_hour = {row.value: row.hits for row in panels["hours"]}
    distinct = rows["visitors"][0].asDict() if rows["visitors"] else {}
    visits = rows["visits"][0].asDict() if rows["visits"] else {}
    return {
        "lines": {
            "read": good + bad,
            "good": good,
            "bad": bad,
            "repeated": _sum(rows["again"], "lines"),
        },
        "requests": requests,
        "unsuccessful": requests - by_status.get("200", 0),
        "visitors": visitors,
        "bytes": sent,
        "people": {
            "requests": day[0].people_hits if day else 0,
            "visitors": day[0].people_visitors if day else 0,
            "bytes": day[0].people_bytes if day else 0,
        },
        "distinct": {name: distinct.get(name) for name in ("visitors", "people")},
        "visits": {
            who: {name: visits.get(f"{who}_{name}") or 0 for name in VISIT_NUMBERS}
            for who in ("all", "people")
        },
        "first_request": _instant(distinct["first"]) if distinct else None,
        "last_request": _instant(distinct["last"]) if distinct else None,
        "by_status": by_status,
        "by_hour": {f"{hour:02}": hits_by_hour.get(f"{hour:02}", 0) for hour in range(24)},
        "panels": {name: _panel(found) for name, found in panels.items()},
        "machines": [row.asDict() for row in rows["machines"]],
        "trouble": {
            "bursts": [
                burst | {"from": _instant(burst["from"]), "to": _instant(burst["to"])}
                for burst in bursts(rows["minutes"])
            ],
            "attacks": sorted(
                (row.asDict() for row in rows["attacks"]),
                key=lambda row: (-row["hits"], row["host"], row["kind"]),
            )[:ATTACKS_LISTED],
        },
        "unsuccessful_requests": [_request(row.asDict()) for row in rows["unsuccessful"]],
        "bad_lines": [row.asDict() for row in sorted(rows.get("bad", []), key=lambda r: -r.lines)],
    }


def came_from(places: list[Row]) -> dict[str, Any]:
    """Which offsets of which topic, or which files, a day's lines came from."""
    topic, partitions = None, {}
    for row in places:
        if row.topic is not None:  # a landing has one
            topic, partitions[str(row.partition)] = row.topic, [row.first, row.last + 1]
    files = sorted({unquote(str(row.file).rpartition("/")[2]) for row in places if row.file})
    return {
        "kafka": {"topic": topic, "partitions": partitions} if topic else None,
        "files": [{"name": name} for name in files[:FILES_LISTED]],
        "file_count": len(files),
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
            for one, other in gaps if other - one > SILENCE
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


def _panel(rows: list[Row]) -> dict[str, Any]:
    """`total` rows in the panel, and the first of them."""
    return {"total": rows[0].rows if rows else 0, "rows": [_panel_row(row) for row in rows]}


def _panel_row(row: Row) -> dict[str, Any]:
    """A row as the summary has it: what it does not have is left out."""
    optional = {name: row[name] for name in ("parent", "method", "protocol", "referrer")}
    if row.timed:
        optional |= {
            "seconds_average": round(row.seconds_sum / row.timed, 6),
            "seconds_p95": row.seconds_p95, "seconds_max": row.seconds_max,
        }  # fmt: skip
    return {
        "value": row.value,
        **{name: value for name, value in optional.items() if value is not None},
        **{name: row[name] for name in NUMBERS[:6]},
    }


def _request(row: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": _instant(row.pop("micros")), **row}


def _instant(moment: datetime | int) -> str:
    """A datetime, or microseconds since 1970, as `2026-01-31T00:00:00Z`."""
    if isinstance(moment, int):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
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
