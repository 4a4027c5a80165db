"""From landed access-log rows to the numbers of a day: pure DataFrame -> DataFrame."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from include.contracts import HEARTBEAT
from spark_jobs.transforms import sources
from spark_jobs.transforms.user_agents import MACHINES
from spark_jobs.transforms.visitors import VISITOR, is_static

SILENCE = 180  # seconds between two heartbeats, from which on the producer was silent
# What makes two good rows with one line_id the same line. The id alone could be shared by two logs
# that begin with the same line.
CONTENT = ["host", "user", "timestamp", "method", "endpoint", "query", "protocol", "status",
           "content_size", "referrer", "user_agent"]  # fmt: skip


# A row of a panel, beside its numbers. Of a key no part is in two panels.
KEY = ("panel", "parent", "value", "method", "protocol")
NUMBERS = (
    "hits", "visitors", "bytes", "people_hits", "people_visitors", "people_bytes", "timed",
    "seconds_sum", "seconds_max",
)  # fmt: skip
# Panels whose rows take time, where the log says how much.
TIMED = ("hours", "status", "methods", "requests", "static_requests", "not_found", "endpoints",
         "virtual_hosts")  # fmt: skip


def days_of(landed: DataFrame, days: list[str]) -> DataFrame:
    return landed.where(F.col("event_date").isin([F.lit(day).cast("date") for day in days]))


def only_lines(landed: DataFrame) -> DataFrame:
    """Landed rows without the heartbeats of producers."""
    return landed.where(~F.col("log_format").eqNullSafe(HEARTBEAT))


def heartbeats_of(landed: DataFrame) -> DataFrame:
    """By day: `minutes` with a heartbeat, the `first`, the `last`, and `gaps` (`from`, `to`).

    All in seconds since 1970; a gap is longer than SILENCE.
    """
    seconds = F.unix_seconds("timestamp")
    steps = F.zip_with(
        F.slice("times", 1, F.size("times") - 1), F.slice("times", 2, F.size("times") - 1),
        lambda one, next: F.struct(one.alias("from"), next.alias("to")),
    )  # fmt: skip
    return (
        landed.where(F.col("log_format") == HEARTBEAT)
        .groupBy("event_date")
        .agg(
            F.count_distinct(F.floor(seconds / 60)).alias("minutes"),
            F.sort_array(F.collect_set(seconds)).alias("times"),
        )
        .select(
            "event_date", "minutes",
            F.element_at("times", 1).alias("first"), F.element_at("times", -1).alias("last"),
            F.filter(steps, lambda step: step["to"] - step["from"] > SILENCE).alias("gaps"),
        )
    )  # fmt: skip


def has_repeats(landed: DataFrame) -> bool:
    """Whether a line came again. Rows without a line_id (from files) are none: files are read once."""
    line = F.xxhash64("event_date", "line_id", *CONTENT)
    found = (
        landed.where("bad_reason IS NULL AND line_id IS NOT NULL")
        .agg(F.count(F.lit(1)).alias("lines"), F.count_distinct(line).alias("different"))
        .first()
    )
    return bool(found and found.lines != found.different)


def without_repeats(landed: DataFrame) -> DataFrame:
    """Each line once: of those with the same line_id and content one is kept."""
    identified = landed.where(F.col("line_id").isNotNull())
    once = identified.withColumn("content", F.xxhash64(*CONTENT)).dropDuplicates(
        ["event_date", "line_id", "content"]
    )
    return once.drop("content").unionByName(landed.where(F.col("line_id").isNull()))


def requests_of(landed: DataFrame, time_zone: str) -> DataFrame:
    """Good lines, put together by visitor, with the columns of the landing that a summary needs.

    Adds `hour` ("00" to "23" in `time_zone`), `pair` (a hash of address and user agent), `bytes`,
    and `target`, path and query as one text with `%41` as "A" (as GoAccess shows requests).
    """
    pair = F.xxhash64("host", F.coalesce("user_agent", F.lit("")))
    hour = F.hour(F.from_utc_timestamp("timestamp", F.lit(time_zone))).cast("string")
    target = F.concat("endpoint", F.coalesce(F.concat(F.lit("?"), "query"), F.lit("")))
    return (
        landed.where(F.col("bad_reason").isNull())
        .select(
            "event_date", "timestamp", pair.alias("pair"), "host", "user", "method", "endpoint",
            "query", "protocol", "status", F.coalesce("content_size", F.lit(0)).alias("bytes"),
            "referrer", "user_agent", "vhost", "seconds_taken", "log_format", "cache_status",
            "mime_type", "tls_version",
        )
        .repartition(*VISITOR)
        .withColumn("hour", F.lpad(hour, 2, "0"))
        .withColumn("target", F.trim(sources.decoded(target)))
    )  # fmt: skip


def count_lines(landed: DataFrame) -> DataFrame:
    """By day and where they came from: lines `good` and `bad` as landed, repeats included.

    The place is a `topic`, a `partition`, and its `first` and `last` offset; or a `file`.
    `identified` lines have a line_id.
    """
    return landed.groupBy("event_date", "topic", "partition", "file").agg(
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
        F.min("offset").alias("first"), F.max("offset").alias("last"),
        F.count("line_id").alias("identified"),
    )  # fmt: skip


def count_panels(
    requests: DataFrame, visitors: DataFrame, visits: DataFrame, site_name: str = "",
) -> DataFrame:  # fmt: skip
    """`event_date`, KEY and NUMBERS: every row of every panel.

    Takes `requests_of`, `visitors_of` with their labels (and `country`, `city`, `network` if there
    is a file of them), and `visits_of` with `is_machine`. A visitor counts in a row with a request
    there that met something else than a client error (goaccess(1), --4xx-to-unique-count). Rows are
    exploded once and grouped with the visitor, then without, however many panels; what depends on
    the visitor alone is counted in visitors.
    """
    requests = requests.join(visitors.select(*VISITOR, "is_machine"), list(VISITOR))
    counts = ~F.coalesce(F.col("status").between(400, 499), F.lit(False))
    numbers = ["hits", "bytes", "counts", "timed", "seconds_sum", "seconds_max"]
    sums = [
        F.count(F.lit(1)).alias("hits"), F.sum("bytes").alias("bytes"),
        F.max(counts).alias("counts"), F.count("seconds_taken").alias("timed"),
        F.sum("seconds_taken").alias("seconds_sum"), F.max("seconds_taken").alias("seconds_max"),
    ]  # fmt: skip
    visitor = [*VISITOR, "is_machine"]
    each: list[Column | str] = [
        *visitor, F.lit(1).cast("bigint").alias("hits"), "bytes", counts.alias("counts"),
        F.col("seconds_taken").isNotNull().cast("bigint").alias("timed"),
        F.col("seconds_taken").alias("seconds_sum"), F.col("seconds_taken").alias("seconds_max"),
    ]  # fmt: skip
    parts = [_exploded(requests, each, _request_rows())]
    # Of these a visitor has few: they are looked at once each, not once a request.
    for columns, rows in (
        (["status", "method"], _answer_rows()),
        (["referrer", "vhost", "log_format"], _referrer_rows()),
        (["hour", "vhost", "user", "cache_status", "mime_type", "tls_version"], _other_rows()),
    ):
        few = requests.groupBy(*visitor, *columns).agg(*sums)
        if "referrer" in columns:
            few = sources.with_source(few, site_name)
        parts.append(_exploded(few, [*visitor, *numbers], rows))
    parts.append(_exploded(visitors, [*visitor, *numbers], _visitor_rows(visitors)))
    none = F.lit(None).cast("double")
    pages = [_row("entry_pages", F.col("entry")), _row("exit_pages", F.col("exit"))]
    of_visits: list[Column | str] = [
        *visitor, F.lit(1).cast("bigint").alias("hits"), F.lit(0).cast("bigint").alias("bytes"),
        F.lit(True).alias("counts"), F.lit(0).cast("bigint").alias("timed"),
        none.alias("seconds_sum"), none.alias("seconds_max"),
    ]  # fmt: skip
    parts.append(_exploded(visits, of_visits, pages))
    together = reduce(lambda one, other: one.unionByName(other), parts)
    by_visitor = together.groupBy(*visitor, *KEY).agg(
        *[F.sum(name).alias(name) for name in ("hits", "bytes", "timed", "seconds_sum")],
        *[F.max(name).alias(name) for name in ("counts", "seconds_max")],
    )
    person, one_visitor = ~F.col("is_machine"), F.lit(1)
    return (
        by_visitor.groupBy("event_date", *KEY)
        .agg(
            F.sum("hits").alias("hits"),
            F.count_if("counts").alias("visitors"),
            F.sum("bytes").alias("bytes"),
            F.sum(F.when(person, F.col("hits")).otherwise(0)).alias("people_hits"),
            F.count(F.when(person & F.col("counts"), one_visitor)).alias("people_visitors"),
            F.sum(F.when(person, F.col("bytes")).otherwise(0)).alias("people_bytes"),
            F.sum("timed").alias("timed"), F.sum("seconds_sum").alias("seconds_sum"),
            F.max("seconds_max").alias("seconds_max"),
        )
        .select("event_date", *KEY, *NUMBERS)
    )  # fmt: skip


def slow_rows(requests: DataFrame) -> DataFrame:
    """`event_date`, KEY and `seconds_p95` of the panels in TIMED: the time that 95 in 100 kept.

    Exact within 1 % of the rank (Spark's percentile_approx, accuracy 100 to 1,000 rows exact).
    """
    timed = requests.where(F.col("seconds_taken").isNotNull())
    rows = [*_request_rows(), *_answer_rows(), *_other_rows()]
    return (
        _exploded(timed, ["event_date", "seconds_taken"], rows)
        .where(F.col("panel").isin(*TIMED))
        .groupBy("event_date", *KEY)
        .agg(F.percentile_approx("seconds_taken", 0.95, 1000).alias("seconds_p95"))
    )


def _request_rows() -> list[Column]:
    """The rows of what was asked for."""
    kind = (
        F.when(F.col("status").eqNullSafe(404), "not_found")
        .when(is_static(F.col("target")), "static_requests")
        .otherwise("requests")
    )
    how = {"method": F.col("method"), "protocol": F.col("protocol")}
    return [
        _row(kind, F.coalesce("target", F.lit("-")), **how),
        _row("endpoints", F.coalesce("endpoint", F.lit("-"))),
    ]


def _answer_rows() -> list[Column]:
    status = F.coalesce(F.col("status").cast("string"), F.lit("-"))
    return [
        _row("status", status, F.concat(F.left(status, F.lit(1)), F.lit("xx"))),
        _row("methods", F.coalesce("method", F.lit("-"))),
    ]


def _referrer_rows() -> list[Column]:
    """The rows of where a visitor came from, of the columns of `sources.with_source`."""
    columns = {
        "referrers": "source", "referring_sites": "source_site", "referral_kinds": "source_kind",
        "search_phrases": "source_phrase",
    }  # fmt: skip
    return [_row(panel, F.col(name)) for panel, name in columns.items()]


def _other_rows() -> list[Column]:
    return [
        _row(panel, F.col(name))
        for panel, name in {
            "hours": "hour", "virtual_hosts": "vhost", "remote_users": "user",
            "cache_status": "cache_status", "mime_types": "mime_type",
            "tls_versions": "tls_version",
        }.items()
    ]  # fmt: skip


def _visitor_rows(visitors: DataFrame) -> list[Column]:
    """The rows that a visitor is in, a struct of KEY or null each."""
    col = F.col
    # The whole day, and who has no user agent in a log that has them, are rows as well.
    unnamed = F.when(col("has_agents"), "-")
    rows = [
        _row("day", col("event_date").cast("string")),
        _row("hosts", col("host")),
        _row("user_agents", F.coalesce("user_agent", unnamed)),
        _row("machines", col("machine_name"), col("machine_class")),
    ]
    for panel, name in (("browsers", "browser"), ("operating_systems", "system")):
        known = F.when(col(name) == MACHINES, "Crawlers and programs").otherwise(col(name))
        rows.append(
            _row(
                panel, F.coalesce(f"{name}_version", F.when(unnamed.isNotNull(), "Unknown")),
                F.coalesce(known, F.when(unnamed.isNotNull(), "Unknown")),
            )
        )  # fmt: skip
    for panel, name in (("countries", "country"), ("cities", "city"), ("networks", "network")):
        if name in visitors.columns:
            rows.append(_row(panel, col(name), col("country") if name == "city" else None))
    return rows


def _exploded(frame: DataFrame, keep: Sequence[Column | str], rows: Sequence[Column]) -> DataFrame:
    """The columns to `keep` and KEY, for each of the rows that has a value."""
    # Filtered only then: array_compact would have Spark interpret all of it.
    exploded = frame.select(*keep, F.explode(F.array(*rows)).alias("row"))
    others = [name for name in exploded.columns if name != "row"]
    return exploded.where(F.col("row.value").isNotNull()).select(
        *others, *[f"row.{name}" for name in KEY]
    )


def _row(
    panel: str | Column, value: Column, parent: Column | None = None, *,
    method: Column | None = None, protocol: Column | None = None,
) -> Column:  # fmt: skip
    none = F.lit(None).cast("string")
    parts = {
        "panel": F.lit(panel) if isinstance(panel, str) else panel, "parent": parent, "value": value,
        "method": method, "protocol": protocol,
    }  # fmt: skip
    return F.struct(*[(none if part is None else part).alias(name) for name, part in parts.items()])


def top_rows(panels: DataFrame, top: int) -> DataFrame:
    """The `top` rows of each day's panels by hits, and `rows`, how many each panel has."""
    panel = Window.partitionBy("event_date", "panel")
    return (
        panels.withColumn("rows", F.count(F.lit(1)).over(panel))
        .withColumn("rank", F.row_number().over(panel.orderBy(F.desc("hits"), "value", *KEY)))
        .where(F.col("rank") <= top)
        .orderBy("event_date", "panel", "rank")
    )


def newest(rows: DataFrame, count: int) -> DataFrame:
    """The newest `count` requests of each day, newest first; always in the same order."""
    others = [name for name in rows.columns if name not in ("timestamp", "event_date")]
    day = Window.partitionBy("event_date").orderBy(F.desc("timestamp"), *others)
    ranked = rows.withColumn("rank", F.row_number().over(day)).where(F.col("rank") <= count)
    return ranked.orderBy("event_date", "rank").drop("rank")


def bad_samples(landed: DataFrame, count: int) -> DataFrame:
    """By day and reason: `lines` and up to `count` different texts, cut to 300 characters."""
    text = F.substring("raw", 1, 300)
    return (
        landed.where(F.col("bad_reason").isNotNull())
        .groupBy("event_date", "bad_reason")
        .agg(
            F.count(F.lit(1)).alias("lines"),
            F.slice(F.sort_array(F.collect_set(text)), 1, count).alias("samples"),
        )
    )
