"""Click events from messages of both shapes and from files, and their totals by minute."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import CLICKSTREAM_DDL, MAX_RAW_CHARACTERS, list_column_names
from spark_jobs.transforms.landed import is_landed, select_landed_rows

# The course's own schemas, with the optional fields.
ROW_DDL = "Clicks INT, Impressions INT, ts TIMESTAMP, event_id STRING, campaign STRING"
# Counts travel as strings here. Asked for as integers, from_json gives nulls and says nothing.
BATCH_DDL = (
    "ARRAY<STRUCT<Clicks: STRING, Impressions: STRING, ts: TIMESTAMP, event_id: STRING, "
    "campaign: STRING>>"
)
# Of csv, json, orc and parquet files.
FILE_DDL = "Clicks STRING, Impressions STRING, ts STRING, event_id STRING, campaign STRING"
COLUMN_NAMES = list_column_names(FILE_DDL)
SHAPES = ("rows", "batches")
# Part of a message -> what it should be; `misfit` says by these names what it is.
EXPECTED_TYPES = {
    "the message": "a JSON object",
    "Clicks": "INT",
    "Impressions": "INT",
    "ts": "TIMESTAMP",
}
JSON_KINDS = {
    "OBJECT": "an object",
    "ARRAY": "an array",
    "STRING": "a string",
    "BIGINT": "too large a number",
    "DECIMAL": "a number with a fraction",
    "DOUBLE": "a number with a fraction",
    "BOOLEAN": "true or false",
    "VOID": "null",
}
MISFIT = f"STRUCT<{', '.join(f'`{name}`: STRING' for name in EXPECTED_TYPES)}>"
SAMPLE_CHARACTERS = 201  # characters; one more than is shown
# from_json reads the first of two documents in a message and says nothing of the second.
TEXT = r'"(?:[^"\\]++|\\.)*+"'
ONE_OBJECT = rf'(?s)^\s*+\{{(?:[^{{}}"]++|{TEXT})*+\}}\s*+$'
ONE_ARRAY = rf'(?s)^\s*+\[(?:[^\[\]"]++|{TEXT})*+\]\s*+$'
FUTURE_TOLERANCE = "1 hour"


def parse_clicks(rows: DataFrame, kind: str, shape: str) -> DataFrame:
    """What a source of this kind gives -> one row an event.

    Gives Clicks INT, Impressions INT, ts TIMESTAMP (UTC), event_id, campaign, bad_reason (a key of
    `include.contracts.CLICK_BAD_REASONS`, null for a good one), raw (of a bad one), topic,
    partition, offset, file, and misfit: of a bad one, by the names of EXPECTED, what does not fit.
    `shape`, one of SHAPES, is of messages: kafka, text and socket. Landed rows stay as they are.
    """
    if is_landed(rows, CLICKSTREAM_DDL):
        return select_landed_rows(rows, CLICKSTREAM_DDL).drop("event_date").select("*", _fits())
    if kind in ("kafka", "text", "socket"):
        take = parse_rows if shape == "rows" else parse_batches
        return take(_with_lineage(rows, kind))
    if kind == "rate":
        return parse_rate_rows(rows)
    return parse_columns(_with_lineage(rows, kind))


def parse_rows(messages: DataFrame) -> DataFrame:
    """Parse messages whose `value` is one event, a JSON object."""
    text = F.col("value").cast("string")
    is_object = text.rlike(ONE_OBJECT)
    event = F.when(is_object, F.from_json(text, ROW_DDL))
    events = messages.select("*", event.alias("event"), text.alias("text"))
    json = F.try_parse_json("text")
    kinds = {
        name: _json_kind(F.try_variant_get(json, f"$.{name}", "variant"), "missing")
        for name in COLUMN_NAMES[:3]
    }
    return _checked(events, kinds, F.when(~F.col("text").rlike(ONE_OBJECT), _message_kind(json)))


def parse_batches(messages: DataFrame) -> DataFrame:
    """Explode messages with an array of events, or with one event; counts are cast to integers.

    A message that is neither is one bad row; an empty array is no row.
    """
    text = F.col("value").cast("string")
    # Spark reads an object as an array of it.
    array = F.when(text.rlike(ONE_ARRAY) | text.rlike(ONE_OBJECT), F.from_json(text, BATCH_DDL))
    nothing = F.from_json(F.lit("[null]"), BATCH_DDL)
    events = messages.select(
        "*",
        array.isNotNull().alias("is_array"),
        F.explode(F.coalesce(array, nothing)).alias("each"),
    )
    each = F.col("each")
    event = F.struct(
        each["Clicks"].try_cast("int").alias("Clicks"),
        each["Impressions"].try_cast("int").alias("Impressions"),
        each["ts"].alias("ts"),
        each["event_id"].alias("event_id"),
        each["campaign"].alias("campaign"),
    )
    raw = F.when(F.col("is_array"), F.to_json("each")).otherwise(text)
    is_array = F.col("is_array")
    shown = events.select("*", event.alias("event"), raw.alias("text"))
    kinds = _text_kinds({name: F.col("each")[name] for name in COLUMN_NAMES[:3]})
    return _checked(shown, kinds, F.when(~is_array, _message_kind(F.try_parse_json("text"))))


def parse_columns(rows: DataFrame) -> DataFrame:
    """Rows of files with the columns of an event; counts as numbers or text, `ts` as an instant, as
    seconds since 1970, or as text in ISO format."""
    given = {name: F.col(name) if name in rows.columns else F.lit(None) for name in COLUMN_NAMES}
    text = {name: column.cast("string") for name, column in given.items()}
    is_instant = dict(rows.dtypes).get("ts") == "timestamp"
    event = F.struct(
        text["Clicks"].try_cast("int").alias("Clicks"),
        text["Impressions"].try_cast("int").alias("Impressions"),
        (given["ts"] if is_instant else _instant(text["ts"])).alias("ts"),
        text["event_id"].alias("event_id"),
        text["campaign"].alias("campaign"),
    )
    raw = F.to_json(F.struct(*[text[name].alias(name) for name in COLUMN_NAMES]))
    if "_corrupt_record" in rows.columns:
        raw = F.coalesce("_corrupt_record", raw)
    return _checked(rows.select("*", event.alias("event"), raw.alias("text")), _text_kinds(text))


def parse_rate_rows(rows: DataFrame) -> DataFrame:
    """Events of Spark's clock: as many impressions as the last digit of `value` says."""
    event = F.struct(
        (F.col("value") % 3).cast("int").alias("Clicks"),
        (F.col("value") % 10).cast("int").alias("Impressions"),
        F.col("timestamp").alias("ts"),
        F.lit(None).cast("string").alias("event_id"),
        F.concat(F.lit("campaign-"), (F.col("value") % 3).cast("string")).alias("campaign"),
    )
    return _checked(
        rows.select(
            event.alias("event"),
            F.lit(None).cast("string").alias("text"),
            F.col("timestamp").alias("received"),
            *_null_lineage(),
        ),
        {},
    )


def select_landed_clicks(events: DataFrame, time_zone: str) -> DataFrame:
    """Events -> what is landed, the columns of `include.contracts.CLICKSTREAM_DDL`.

    `event_date` is the day of `ts` in `time_zone`; a bad event belongs to no day.
    """
    day = F.to_date(F.from_utc_timestamp("ts", F.lit(time_zone)))
    dated = events.withColumn("event_date", F.when(F.col("bad_reason").isNull(), day))
    return dated.select(*list_column_names(CLICKSTREAM_DDL))


def drop_duplicates(events: DataFrame) -> DataFrame:
    """Each `event_id` once; what has none is counted as sent, there is nothing to tell it by."""
    own = F.coalesce("event_id", F.monotonically_increasing_id().cast("string"))
    keyed = events.select("*", F.col("event_id").isNull().alias("no_id"), own.alias("own"))
    return keyed.dropDuplicates(["no_id", "own"]).drop("no_id", "own")


def count_good_and_bad(events: DataFrame) -> DataFrame:
    """Count as observed metrics `events` the good ones, the bad, and those from the far future."""
    future = F.col("bad_reason").eqNullSafe("far_future")
    return events.observe(
        "events",
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull() & ~future).alias("bad"),
        F.count_if(future).alias("future"),
    )


def count_misfits(events: DataFrame) -> DataFrame:
    """Observe as `misfits`, by the names of EXPECTED: how many do not fit, what they are; a sample."""
    metrics = []
    for part in EXPECTED_TYPES:
        kind = F.col("misfit")[part]
        metrics += [F.count(kind).alias(part), F.collect_set(kind).alias(f"{part}_kinds")]
    raw = F.when(F.col("misfit").isNotNull(), F.substring("raw", 1, SAMPLE_CHARACTERS))
    return events.observe("misfits", *metrics, F.min(raw).alias("sample"))


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
    and dropped. An event from the far future is excluded first: it would make all others late.
    """
    good = events.where("bad_reason IS NULL").withWatermark("ts", watermark)
    return (
        good.groupBy(F.window("ts", "1 minute").alias("window"))
        .agg(F.sum("Impressions").alias("Total Impressions"))
        .select(F.col("window.start").alias("minute_start"), "Total Impressions")
    )


def _checked(
    rows: DataFrame, kinds: dict[str, Column], message_kind: Column | None = None
) -> DataFrame:
    """`event`, `text`, `received` and the place -> the columns of `parse_clicks`.

    `kinds` says of a field of the event that is null what was there, `message_kind` of a whole
    message that is no event.
    """
    event = F.col("event")
    counts = (event["Clicks"] >= 0) & (event["Impressions"] >= 0)
    is_event = F.coalesce(counts & (event["ts"] >= F.timestamp_seconds(F.lit(0))), F.lit(False))
    latest = F.coalesce("received", F.current_timestamp()) + F.expr(f"INTERVAL {FUTURE_TOLERANCE}")
    reason = F.when(~is_event, "no_event").when(event["ts"] > latest, "far_future")
    message_kind = F.lit(None).cast("string") if message_kind is None else message_kind
    fields = {
        name: F.when(event[name].isNull(), kind).when(
            event[name] < F.timestamp_seconds(F.lit(0)) if name == "ts" else event[name] < 0,
            "before 1970" if name == "ts" else "negative",
        )
        for name, kind in kinds.items()
    }
    parts = {"the message": message_kind} | {
        name: F.when(message_kind.isNull(), kind) for name, kind in fields.items()
    }
    empty = F.lit(None).cast("string")
    struct = F.struct(*[parts.get(name, empty).alias(name) for name in EXPECTED_TYPES])
    misfit = F.when(~is_event, struct)
    return rows.select(
        "event.*", reason.alias("bad_reason"), *_LINEAGE, "text", misfit.alias("misfit")
    ).select(
        *COLUMN_NAMES,
        "bad_reason",
        F.when(F.col("bad_reason").isNotNull(), F.substring("text", 1, MAX_RAW_CHARACTERS)).alias(
            "raw"
        ),
        *_LINEAGE,
        "misfit",
    )


def _fits() -> Column:
    return F.lit(None).cast(MISFIT).alias("misfit")


def _json_kind(value: Column, nothing: str) -> Column:
    """What a JSON value is, as the misfit says it; `nothing` if there is none."""
    type_ = F.regexp_extract(F.schema_of_variant(value), "^[A-Z]+", 0)
    kinds = F.create_map(*[F.lit(text) for pair in JSON_KINDS.items() for text in pair])
    return F.when(value.isNull(), nothing).otherwise(
        F.coalesce(F.try_element_at(kinds, type_), type_)
    )


def _message_kind(json: Column) -> Column:
    """What a message is that is no event."""
    kind = _json_kind(json, "no JSON")
    more = "an object with objects in it, or more than one"
    return F.when(F.trim("text") == "", "empty").when(kind == "an object", more).otherwise(kind)


def _text_kinds(texts: dict[str, Column]) -> dict[str, Column]:
    """What a field is that is null, where fields are texts."""
    return {
        name: F.when(
            texts[name].isNull(), "missing, or no time" if name == "ts" else "missing"
        ).otherwise("no time" if name == "ts" else "no whole number")
        for name in COLUMN_NAMES[:3]
    }


_LINEAGE = ("topic", "partition", "offset", "file")


def _with_lineage(rows: DataFrame, kind: str) -> DataFrame:
    """Add where each row came from, and when it was received if that is known.

    Columns of the same names that the rows have are not kept.
    """
    if kind == "kafka":
        return rows.select(
            "value",
            "topic",
            "partition",
            "offset",
            F.lit(None).cast("string").alias("file"),
            F.col("timestamp").alias("received"),
        )
    never = F.lit(None).cast("timestamp").alias("received")
    if kind == "socket":
        return rows.select("*", *_null_lineage(), never)
    *topic_partition_offset, _ = _null_lineage()
    own = [name for name in rows.columns if name not in (*_LINEAGE, "received")]
    return rows.select(
        *own, *topic_partition_offset, F.col("_metadata.file_path").alias("file"), never
    )


def _null_lineage() -> list[Column]:
    types = dict(zip(_LINEAGE, ("string", "int", "bigint", "string"), strict=True))
    return [F.lit(None).cast(kind).alias(name) for name, kind in types.items()]


def _instant(text: Column) -> Column:
    """Seconds since 1970, or a time in ISO format; null for anything else."""
    seconds = F.when(text.rlike(r"^\d{1,11}$"), text).try_cast("bigint")
    return F.coalesce(F.timestamp_seconds(seconds), text.try_cast("timestamp"))
