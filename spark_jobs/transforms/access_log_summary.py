"""From landed access-log rows to the numbers of a day: pure DataFrame -> DataFrame."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from include.contracts import HEARTBEAT

# Panel -> the column whose values are its rows, and what stands for nothing (None: left out).
PANELS = {
    "status": ("status", "-"),
    "hours": ("hour", None),
    "methods": ("method", "-"),
    "endpoints": ("endpoint", "-"),
    "hosts": ("host", None),
    "referrers": ("referrer", None),
    "user_agents": ("user_agent", "-"),
}
SILENCE = 180  # seconds between two heartbeats, from which on the producer was silent
# What makes two good rows with one line_id the same line. The id alone could be shared by two logs
# that begin with the same line.
CONTENT = ["host", "user", "timestamp", "method", "endpoint", "query", "protocol", "status",
           "content_size", "referrer", "user_agent"]  # fmt: skip


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


def without_repeats(good: DataFrame) -> DataFrame:
    """Each line once. Rows without a line_id (from files) have no repeats: files are read once."""
    identified = good.where(F.col("line_id").isNotNull())
    once = identified.withColumn("content", F.xxhash64(*CONTENT)).dropDuplicates(
        ["event_date", "line_id", "content"]
    )
    return once.drop("content").unionByName(good.where(F.col("line_id").isNull()))


def requests_of(landed: DataFrame, time_zone: str) -> DataFrame:
    """Good lines, each once, with `hour` ("00" to "23" in `time_zone`), `visitor` and `bytes`.

    A visitor is an address, a user agent and a day; as in GoAccess, who meets nothing but client
    errors (4xx) is none (goaccess(1), `--4xx-to-unique-count`): there `visitor` is null.
    """
    # Two hashes of different kind stand for address and user agent: 96 bits, 12 bytes a row.
    pair = [F.col("host"), F.coalesce("user_agent", F.lit(""))]
    local = F.from_utc_timestamp("timestamp", F.lit(time_zone))
    return without_repeats(landed.where(F.col("bad_reason").isNull())).select(
        "event_date", "timestamp", "query",
        F.date_format(local, "HH").alias("hour"),
        F.when(
            ~F.coalesce(F.col("status").between(400, 499), F.lit(False)),
            F.struct(F.xxhash64(*pair).alias("a"), F.hash(*pair).alias("b")),
        ).alias("visitor"),
        F.coalesce("content_size", F.lit(0)).alias("bytes"),
        "status", "method", "endpoint", "host", "referrer", "user_agent",
    )  # fmt: skip


def count_lines(landed: DataFrame) -> DataFrame:
    """By day: lines `good` and `bad` as landed, repeats included."""
    return landed.groupBy("event_date").agg(
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
    )


def time_span(requests: DataFrame) -> DataFrame:
    """By day: instants of the `first` and `last` request."""
    return requests.groupBy("event_date").agg(
        F.min("timestamp").alias("first"), F.max("timestamp").alias("last")
    )


def count_panels(requests: DataFrame) -> DataFrame:
    """`event_date`, `panel`, `value`, `hits`, `visitors`, `bytes`: every row of every panel.

    The panel `day` has one row, whose value is the day. Rows are exploded once and grouped with
    the visitor, then without: one pass, however many panels.
    """
    rows = [_row("day", F.col("event_date").cast("string"))]
    for panel, (column, nothing) in PANELS.items():
        value = F.col(column).cast("string")
        rows.append(_row(panel, value if nothing is None else F.coalesce(value, F.lit(nothing))))
    return (
        requests.select("event_date", "visitor", "bytes", F.explode(F.array(*rows)).alias("row"))
        .where(F.col("row.value").isNotNull())
        .groupBy("event_date", "row.panel", "row.value", "visitor")
        .agg(F.count(F.lit(1)).alias("hits"), F.sum("bytes").alias("bytes"))
        .groupBy("event_date", "panel", "value")
        .agg(
            F.sum("hits").alias("hits"),
            F.count("visitor").alias("visitors"),
            F.sum("bytes").alias("bytes"),
        )
    )


def top_rows(panels: DataFrame, top: int) -> DataFrame:
    """The `top` rows of each day's panels by hits, and `rows`, how many each panel has."""
    panel = Window.partitionBy("event_date", "panel")
    return (
        panels.withColumn("rows", F.count(F.lit(1)).over(panel))
        .withColumn("rank", F.row_number().over(panel.orderBy(F.desc("hits"), "value")))
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


def _row(panel: str, value: Column) -> Column:
    return F.struct(F.lit(panel).alias("panel"), value.alias("value"))
