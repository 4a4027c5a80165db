"""Click events from messages of both shapes and from files, and their totals by minute."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import CLICKSTREAM_DDL, MAX_RAW_CHARACTERS

# The course's own schemas, with the optional fields.
ROW_DDL = "Clicks INT, Impressions INT, ts TIMESTAMP, event_id STRING, campaign STRING"
# Counts travel as strings here. Asked for as integers, from_json gives nulls and says nothing.
BATCH_DDL = (
    "ARRAY<STRUCT<Clicks: STRING, Impressions: STRING, ts: TIMESTAMP, event_id: STRING, "
    "campaign: STRING>>"
)
# Of csv, json, orc and parquet files.
COLUMNS = "Clicks STRING, Impressions STRING, ts STRING, event_id STRING, campaign STRING"
NAMES = [column.split()[0] for column in COLUMNS.split(",")]
SHAPES = ("rows", "batches")
# from_json reads the first of two documents in a message and says nothing of the second.
TEXT = r'"(?:[^"\\]++|\\.)*+"'
ONE_OBJECT = rf'(?s)^\s*+\{{(?:[^{{}}"]++|{TEXT})*+\}}\s*+$'
ONE_ARRAY = rf'(?s)^\s*+\[(?:[^\[\]"]++|{TEXT})*+\]\s*+$'
TOLERANCE = "1 hour"


def parse_clicks(rows: DataFrame, kind: str, shape: str) -> DataFrame:
    """What a source of this kind gives -> one row an event.

    Gives Clicks INT, Impressions INT, ts TIMESTAMP (UTC), event_id, campaign, bad_reason (a key of
    `include.contracts.CLICK_BAD_REASONS`, null for a good one), raw (of a bad one), topic,
    partition, offset, file. `shape`, one of SHAPES, is of messages: kafka, text and socket.
    """
    if kind in ("kafka", "text", "socket"):
        take = parse_rows if shape == "rows" else parse_batches
        return take(_placed(rows, kind))
    if kind == "rate":
        return from_rate(rows)
    return from_columns(_placed(rows, kind))


def parse_rows(messages: DataFrame) -> DataFrame:
    """One event a message, its `value` a JSON object."""
    text = F.col("value").cast("string")
    event = F.when(text.rlike(ONE_OBJECT), F.from_json(text, ROW_DDL))
    return _checked(messages.select("*", event.alias("event"), text.alias("text")))


def parse_batches(messages: DataFrame) -> DataFrame:
    """An array of events a message, taken apart, its counts cast back to integers.

    A message that is no such array is one bad row; an empty array is no row.
    """
    text = F.col("value").cast("string")
    found = F.when(text.rlike(ONE_ARRAY), F.from_json(text, BATCH_DDL))
    nothing = F.from_json(F.lit("[null]"), BATCH_DDL)
    events = messages.select(
        "*",
        found.isNotNull().alias("is_array"),
        F.explode(F.coalesce(found, nothing)).alias("each"),
    )
    each = F.col("each")
    event = F.struct(
        each["Clicks"].try_cast("int").alias("Clicks"),
        each["Impressions"].try_cast("int").alias("Impressions"),
        each["ts"].alias("ts"), each["event_id"].alias("event_id"),
        each["campaign"].alias("campaign"),
    )  # fmt: skip
    raw = F.when(F.col("is_array"), F.to_json("each")).otherwise(text)
    return _checked(events.select("*", event.alias("event"), raw.alias("text")))


def from_columns(rows: DataFrame) -> DataFrame:
    """Rows of files with the columns of an event; counts as numbers or text, `ts` as an instant, as
    seconds since 1970, or as text in ISO format."""
    given = {name: F.col(name) if name in rows.columns else F.lit(None) for name in NAMES}
    text = {name: column.cast("string") for name, column in given.items()}
    is_instant = dict(rows.dtypes).get("ts") == "timestamp"
    event = F.struct(
        text["Clicks"].try_cast("int").alias("Clicks"),
        text["Impressions"].try_cast("int").alias("Impressions"),
        (given["ts"] if is_instant else _instant(text["ts"])).alias("ts"),
        text["event_id"].alias("event_id"), text["campaign"].alias("campaign"),
    )  # fmt: skip
    raw = F.to_json(F.struct(*[text[name].alias(name) for name in NAMES]))
    if "_corrupt_record" in rows.columns:
        raw = F.coalesce("_corrupt_record", raw)
    return _checked(rows.select("*", event.alias("event"), raw.alias("text")))


def from_rate(rows: DataFrame) -> DataFrame:
    """Events of Spark's clock: as many impressions as the last digit of `value` says."""
    event = F.struct(
        (F.col("value") % 3).cast("int").alias("Clicks"),
        (F.col("value") % 10).cast("int").alias("Impressions"),
        F.col("timestamp").alias("ts"), F.lit(None).cast("string").alias("event_id"),
        F.concat(F.lit("campaign-"), (F.col("value") % 3).cast("string")).alias("campaign"),
    )  # fmt: skip
    return _checked(
        rows.select(
            event.alias("event"), F.lit(None).cast("string").alias("text"),
            F.col("timestamp").alias("received"), *_nowhere(),
        )
    )  # fmt: skip


def landed_clicks(events: DataFrame, time_zone: str) -> DataFrame:
    """Events -> what is landed, the columns of `include.contracts.CLICKSTREAM_DDL`.

    `event_date` is the day of `ts` in `time_zone`; a bad event belongs to no day.
    """
    day = F.to_date(F.from_utc_timestamp("ts", F.lit(time_zone)))
    dated = events.withColumn("event_date", F.when(F.col("bad_reason").isNull(), day))
    return dated.select(*[column.split()[0] for column in CLICKSTREAM_DDL.split(",")])


def without_repeats(events: DataFrame) -> DataFrame:
    """Each `event_id` once; what has none is counted as sent, there is nothing to tell it by."""
    own = F.coalesce("event_id", F.monotonically_increasing_id().cast("string"))
    keyed = events.select("*", F.col("event_id").isNull().alias("no_id"), own.alias("own"))
    return keyed.dropDuplicates(["no_id", "own"]).drop("no_id", "own")


def count_good(events: DataFrame) -> DataFrame:
    """Count as observed metrics `events` the good ones, the bad, and those from the far future."""
    future = F.col("bad_reason").eqNullSafe("far_future")
    return events.observe(
        "events",
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull() & ~future).alias("bad"),
        F.count_if(future).alias("future"),
    )


def total_by_minute(events: DataFrame) -> DataFrame:
    """`minute_bin` INT, `Total Impressions` BIGINT.

    The course's own: minute() is the minute of the hour, so two hours share a bin.
    """
    good = events.where("bad_reason IS NULL")
    return good.groupBy(F.minute("ts").alias("minute_bin")).agg(
        F.sum("Impressions").alias("Total Impressions")
    )


def total_by_window(events: DataFrame, watermark: str) -> DataFrame:
    """`minute_start` TIMESTAMP (UTC), `Total Impressions`: each minute of each hour by itself.

    In a stream, an event that is older than the newest good one by more than `watermark` is late
    and dropped. One from the far future is set aside before it could make all others late.
    """
    good = events.where("bad_reason IS NULL").withWatermark("ts", watermark)
    return (
        good.groupBy(F.window("ts", "1 minute").alias("window"))
        .agg(F.sum("Impressions").alias("Total Impressions"))
        .select(F.col("window.start").alias("minute_start"), "Total Impressions")
    )


def _checked(rows: DataFrame) -> DataFrame:
    """`event`, `text`, `received` and the place -> the columns of `parse_clicks`."""
    event = F.col("event")
    counts = (event["Clicks"] >= 0) & (event["Impressions"] >= 0)
    is_event = F.coalesce(counts & (event["ts"] >= F.timestamp_seconds(F.lit(0))), F.lit(False))
    latest = F.coalesce("received", F.current_timestamp()) + F.expr(f"INTERVAL {TOLERANCE}")
    reason = F.when(~is_event, "no_event").when(event["ts"] > latest, "far_future")
    return rows.select("event.*", reason.alias("bad_reason"), *_PLACE, "text").select(
        *NAMES,
        "bad_reason",
        F.when(F.col("bad_reason").isNotNull(), F.substring("text", 1, MAX_RAW_CHARACTERS))
        .alias("raw"),
        *_PLACE,
    )  # fmt: skip


_PLACE = ("topic", "partition", "offset", "file")


def _placed(rows: DataFrame, kind: str) -> DataFrame:
    """Add where each row came from, and when it was received if that is known."""
    if kind == "kafka":
        return rows.select(
            "value", "topic", "partition", "offset", F.lit(None).cast("string").alias("file"),
            F.col("timestamp").alias("received"),
        )  # fmt: skip
    never = F.lit(None).cast("timestamp").alias("received")
    if kind == "socket":
        return rows.select("*", *_nowhere(), never)
    *place, _ = _nowhere()
    return rows.select("*", *place, F.col("_metadata.file_path").alias("file"), never)


def _nowhere() -> list[Column]:
    types = dict(zip(_PLACE, ("string", "int", "bigint", "string"), strict=True))
    return [F.lit(None).cast(kind).alias(name) for name, kind in types.items()]


def _instant(text: Column) -> Column:
    """Seconds since 1970, or a time in ISO format; null for anything else."""
    seconds = F.when(text.rlike(r"^\d{1,11}$"), text).try_cast("bigint")
    return F.coalesce(F.timestamp_seconds(seconds), text.try_cast("timestamp"))
