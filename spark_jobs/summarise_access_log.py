"""Summarise days of the access log: landed Parquet -> one small summary a day.

Reads   landed access-log rows (land_access_log), and the bad ones that were replayed
Writes  <sink>/<day>/panels.parquet, every row of every panel, and <sink>/<day>/summary.json,
        totals, top rows and where they come from (also when the producer was alive, what was
        lost); the old one is replaced when the new is whole
Run     spark-submit --py-files var/spark_jobs.zip spark_jobs/summarise_access_log.py \\
            --source parquet:var/lake/landing/access_log/kafka/data --source-kind kafka \\
            --sink summary:var/lake/summary/access_log --days 2026-01-15,2026-01-16
"""

import base64
import fnmatch
import json
import math
import re
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, PANELS, SUMMARY_SCHEMA_VERSION
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import arguments, positive
from spark_jobs.runtime.claims import replace_text
from spark_jobs.runtime.landing import last_batch, read_landing, removed_days
from spark_jobs.runtime.losses import read_losses
from spark_jobs.runtime.replayed import current, read_replayed, with_replayed
from spark_jobs.runtime.words import Refused
from spark_jobs.transforms import access_log_summary as summary
from spark_jobs.transforms.access_log import filter_unsuccessful
from spark_jobs.transforms.places import ROW_DDL as PLACE_DDL
from spark_jobs.transforms.places import places_of
from spark_jobs.transforms.trouble import attacks_of, bursts, error_minutes, links_to_nothing
from spark_jobs.transforms.user_agents import ROW_DDL as USER_AGENT_DDL
from spark_jobs.transforms.user_agents import describe
from spark_jobs.transforms.visitors import VISITOR, rhythm_of, visitors_of, visits_of, with_label

JOB = "summarise_access_log"
# Requests of a part: few enough that their groups fit the memory of one core.
PART = 500_000
SMALL = 200_000  # requests, up to which Spark's stages are not compiled, nor planned as it goes
DAYS_AT_ONCE = 5  # whose top rows Python holds: 26,000 of each
SAMPLES = 100  # of each reason; the page shows the first, the CSV all
MACHINES_LISTED, ATTACKS_LISTED, FILES_LISTED = 100, 100, 100
MOST_TEXTS = (
    100_000  # different user agents of which is found out what they are; the rest is unknown
)
VISIT_NUMBERS = ("visits", "pages", "bounced", "seconds", "seconds_median")
UNSUCCESSFUL = ("event_date", "timestamp", "status", "method", "endpoint", "query", "host", "referrer",
                "user_agent", "bytes")  # fmt: skip


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

    steps = Steps()
    spark = session.start(JOB)
    steps.done("start of Spark")
    # What is listed now is read below; what lands later makes the day newer than this summary.
    through = last_batch(source)
    replayed = current(source.parent / "replayed")
    rows = read_landing(spark, source, ACCESS_LOG_DDL)
    # Nobody follows a file: heartbeats are Kafka's.
    alive = (
        _by_day(summary.heartbeats_of(summary.days_of(rows, days)))
        if args.source_kind == "kafka" else {}
    )  # fmt: skip
    lost, zone = read_losses(source.parent / "lost.jsonl"), ZoneInfo(args.time_zone)
    landed = with_replayed(
        summary.only_lines(rows), read_replayed(spark, source.parent / "replayed")
    )
    frames = Frames(
        summary.days_of(landed, days), args.time_zone, wanted, site_name=args.site_name,
        maxmind=args.maxmind,
    )  # fmt: skip
    steps.done("requests and visitors")
    files = write_panels(spark, frames.panels, days, sink / f".{JOB}")
    steps.done("panels")
    found = tables(landed, frames, days, args.newest)
    others = other_lines(spark, args.other, days)
    if args.by_file:
        replace_text(Path(args.by_file), json.dumps(rows_by_file(landed)))
    for some in (days[at : at + DAYS_AT_ONCE] for at in range(0, len(days), DAYS_AT_ONCE)):
        tops = top_rows(frames, some, args.top)
        steps.done("tables")
        provenance = {
            "job": JOB, "run": args.run_id, "landing": str(source), "through_batch": through,
            "spark_version": spark.version, "seconds": round(sum(steps.seconds.values()), 1),
            "steps": steps.seconds,
            "summarised_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        for day in some:
            about = {
                "schema_version": SUMMARY_SCHEMA_VERSION, "dataset": "access_log", "day": day,
                "time_zone": args.time_zone, "source": args.source_kind, "filter": wanted.told(),
            }  # fmt: skip
            of_day = {name: rows.get(day, []) for name, rows in found.items()}
            numbers = day_numbers(of_day | {"top": tops.get(day, [])})
            files[day].replace(_made(sink / day) / "panels.parquet")
            told = {
                "heartbeat": heartbeat(alive.get(day, []), day, zone, time.time()),
                "lost": [loss for loss in lost if may_lack(day, loss, zone)],
                "replayed": replayed["days"].get(day), "other_source": others.get(day),
                **came_from(found["lines"].get(day, [])),
            }  # fmt: skip
            whole = about | numbers | {"provenance": provenance | told}
            replace_text(sink / day / "summary.json", json.dumps(whole, ensure_ascii=False))
            counted = f"{numbers['requests']:,} requests of {numbers['visitors']:,} visitors"
            print(f"{JOB}: {day}: {counted}")  # noqa: T201
    shutil.rmtree(sink / f".{JOB}", ignore_errors=True)


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

    def applied(self, requests: DataFrame, visitors: DataFrame) -> DataFrame:
        """The requests that it lets through."""
        for name, glob in (("endpoint", self.path), ("host", self.host)):
            if glob:
                requests = requests.where(F.col(name).rlike(f"(?s){fnmatch.translate(glob)}"))
        if self.status:
            shape = self.status.replace("xx", "..")
            requests = requests.where(F.col("status").cast("string").rlike(f"^{shape}$"))
        if self.people_only:
            people = visitors.where("NOT is_machine").select(*VISITOR)
            requests = requests.join(people, list(VISITOR), "left_semi")
        return requests


class Frames:
    """What a summary is counted from, each made once: requests, visitors, visits and panels."""

    def __init__(
        self, landed: DataFrame, time_zone: str, wanted: Filter, *, site_name: str = "",
        maxmind: str = "",
    ) -> None:  # fmt: skip
        spark = landed.sparkSession
        self.lines = _by_day(summary.count_lines(landed))
        places = [row for rows in self.lines.values() for row in rows]
        good = _sum(places, "good")
        parts = max(2, math.ceil(good / PART))
        # To compile every stage, and to plan it again when the one before is done, takes longer
        # than a small day's rows do without.
        for name in ("codegen.wholeStage", "adaptive.enabled"):
            spark.conf.set(f"spark.sql.{name}", str(good > SMALL).lower())
        spark.conf.set("spark.sql.shuffle.partitions", str(parts))
        # What is kept is read a few times and gone: to pack it costs more than it saves.
        spark.conf.set("spark.sql.inMemoryColumnarStorage.compressed", "false")
        self.repeated: dict[str, int] = {}
        if any(row.identified for row in places) and summary.has_repeats(landed):
            landed = summary.without_repeats(landed.where("bad_reason IS NULL"))
            once = _by_day(summary.count_lines(landed))
            self.repeated = {
                day: _sum(rows, "good") - _sum(once[day], "good")
                for day, rows in self.lines.items() if _sum(rows, "good")
            }  # fmt: skip
        requests = summary.requests_of(landed, time_zone).persist(StorageLevel.MEMORY_AND_DISK)
        agents = describe(_most_frequent(requests, "user_agent"))
        visits = _kept(visits_of(requests))
        # Kept, for a label also asks what all visitors of its day did.
        visitors = _kept(visitors_of(requests))
        labels = with_label(visitors, rhythm_of(visits), _frame(spark, agents, USER_AGENT_DDL))
        if maxmind:
            hosts = places_of(maxmind, _most_frequent(requests, "host"))
            labels = labels.join(_frame(spark, hosts, PLACE_DDL), "host", "left")
        self.visitors = labels = _kept(labels)
        if wanted.told():
            requests = _kept(wanted.applied(requests, self.visitors))
            counted = visitors_of(requests)
            of_label = [name for name in labels.columns if name not in counted.columns]
            self.visitors = _kept(
                counted.join(labels.select(*VISITOR, *of_label), list(VISITOR), "left")
            )
            visits = visits_of(requests)
        self.requests = requests
        self.visits = _kept(visits.join(
            self.visitors.select(*VISITOR, "is_machine"), list(VISITOR)
        ))  # fmt: skip
        self.panels = _kept(self._panels(site_name))

    def _panels(self, site_name: str) -> DataFrame:
        panels = summary.count_panels(self.requests, self.visitors, self.visits, site_name)
        links = links_to_nothing(self.requests).select(
            "event_date",
            F.lit("not_found").alias("panel"),
            F.col("target").alias("value"),
            "referrer",
        )
        panels = panels.join(F.broadcast(links), ["event_date", "panel", "value"], "left")
        if not self.visitors.where("timed > 0").take(1):
            return panels.withColumn("seconds_p95", F.lit(None).cast("double"))
        slow = summary.slow_rows(self.requests)
        same = [panels[name].eqNullSafe(slow[name]) for name in ("event_date", *summary.KEY)]
        return panels.join(slow, reduce(lambda one, other: one & other, same), "left").select(
            *[panels[name] for name in panels.columns], slow["seconds_p95"]
        )


def _frame(spark: SparkSession, rows: Iterable[tuple[str | None, ...]], ddl: str) -> DataFrame:
    """Rows of texts as a frame. Through Arrow: a list would be read by a Python process."""
    names = [column.split()[0] for column in ddl.split(",")]
    columns = zip(names, zip(*rows, strict=True) or [[]] * len(names), strict=False)
    texts = {name: pa.array(values, pa.string()) for name, values in columns}
    empty = {name: pa.array([], pa.string()) for name in names}
    return spark.createDataFrame(pa.table(texts or empty))


def _kept(frame: DataFrame) -> DataFrame:
    """The rows, made now. What is made of them is planned without what they were made of."""
    return frame.localCheckpoint()


def _most_frequent(requests: DataFrame, column: str) -> list[str]:
    """The texts of a column, those of most requests first; MOST_TEXTS of them."""
    counted = requests.where(F.col(column).isNotNull()).groupBy(column).count()
    return [row[0] for row in counted.orderBy(F.desc("count"), column).limit(MOST_TEXTS).collect()]


def other_lines(spark: SparkSession, source: str | None, days: list[str]) -> dict[str, Any]:
    """By day: `landing`, `good` and `bad` lines of the other source kind, which are not added."""
    if source is None:
        return {}
    folder = _folder(source, "parquet")
    rows = summary.only_lines(read_landing(spark, folder, ACCESS_LOG_DDL))
    of_days = summary.days_of(rows, days)
    if last_batch(folder) is None:
        return {}
    return {
        day: {"landing": str(folder), "good": _sum(rows, "good"), "bad": _sum(rows, "bad")}
        for day, rows in _by_day(summary.count_lines(of_days)).items()
    }


def rows_by_file(landed: DataFrame) -> dict[str, dict[str, int]]:
    """Name of each file that was landed -> its rows by day, "None" for those without one."""
    found: dict[str, dict[str, int]] = {}
    for row in landed.groupBy("file", "event_date").count().collect():
        name = unquote(str(row.file).rpartition("/")[2])
        found.setdefault(name, {})[str(row.event_date)] = row["count"]
    return found


def tables(
    landed: DataFrame, frames: Frames, days: list[str], newest: int
) -> dict[str, dict[str, list[Row]]]:
    """What a summary is made of beside its panels' top rows: table -> day -> its rows."""
    of_days = summary.days_of(landed, days)
    unsuccessful = filter_unsuccessful(frames.requests).select(*UNSUCCESSFUL)
    found = {
        "visitors": count_people(frames.visitors),
        "visits": count_visits(frames.visits),
        "machines": top_machines(frames.visitors, MACHINES_LISTED),
        "attacks": attacks_of(frames.requests),
        "minutes": error_minutes(frames.requests),
        "unsuccessful": summary.newest(unsuccessful, newest),
    }
    if any(_sum(rows, "bad") for rows in frames.lines.values()):
        found["bad"] = summary.bad_samples(of_days, SAMPLES)
    # Side by side: while one is planned, another runs.
    with ThreadPoolExecutor(4) as pool:
        tables = dict(zip(found, pool.map(_by_day, found.values()), strict=True))
    again = {day: [Row(lines=count)] for day, count in frames.repeated.items()}
    return tables | {"lines": frames.lines, "again": again}


def top_rows(frames: Frames, days: list[str], top: int) -> dict[str, list[Row]]:
    """By day the `top` rows of each panel."""
    return _by_day(summary.top_rows(summary.days_of(frames.panels, days), top))


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
        "distinct": {
            name: base64.b64encode(distinct[name]).decode() if distinct.get(name) else None
            for name in ("visitors", "people")
        },
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
        "unsuccessful_requests": [
            row.asDict() | {"timestamp": _instant(row.timestamp)} for row in rows["unsuccessful"]
        ],
        "bad_lines": [row.asDict() for row in sorted(rows.get("bad", []), key=lambda r: -r.lines)],
    }


def count_people(visitors: DataFrame) -> DataFrame:
    """By day a sketch of the `visitors`, one of the `people` among them, `first` and `last` instant."""
    person = F.when(F.col("counts") & ~F.col("is_machine"), F.col("pair"))
    return visitors.groupBy("event_date").agg(
        F.hll_sketch_agg(F.when(F.col("counts"), F.col("pair")), 12).alias("visitors"),
        F.hll_sketch_agg(person, 12).alias("people"),
        F.min("first_seen").alias("first"),
        F.max("last_seen").alias("last"),
    )


def count_visits(visits: DataFrame) -> DataFrame:
    """By day VISIT_NUMBERS of all visits (`all_…`), and of people's (`people_…`); in seconds."""
    length = F.unix_seconds("end") - F.unix_seconds("begin")
    columns = []
    for who, counts in (("all", F.lit(True)), ("people", ~F.col("is_machine"))):
        columns += [
            F.count_if(counts).alias(f"{who}_visits"),
            F.sum(F.when(counts, F.col("pages"))).alias(f"{who}_pages"),
            F.count_if(counts & (F.col("pages") == 1)).alias(f"{who}_bounced"),
            F.sum(F.when(counts, length)).alias(f"{who}_seconds"),
            F.percentile_approx(F.when(counts, length), 0.5, 1000).alias(f"{who}_seconds_median"),
        ]
    return visits.groupBy("event_date").agg(*columns)


def top_machines(visitors: DataFrame, count: int) -> DataFrame:
    """The `count` machines of each day with most hits, and why each is taken for one."""
    of_day = Window.partitionBy("event_date").orderBy(F.desc("hits"), "host", "user_agent")
    return (
        visitors.where("is_machine")
        .select(
            "event_date", "host", F.coalesce("user_agent", F.lit("-")).alias("user_agent"),
            F.col("machine_class").alias("class"),
            F.col("machine_name").alias("name"), "hits", "bytes", "reasons",
            F.row_number().over(of_day).alias("rank"),
        )
        .where(F.col("rank") <= count)
        .orderBy("event_date", "rank")
        .drop("rank")
    )  # fmt: skip


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
        "panel", F.desc("hits"), "value", *summary.KEY
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
        **{name: row[name] for name in summary.NUMBERS[:6]},
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
