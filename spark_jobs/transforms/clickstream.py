"""Click events from Kafka messages of both shapes, and their totals by minute."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

ROW_DDL = "Clicks INT, Impressions INT, ts TIMESTAMP"
# Counts travel as strings here. Asked for as integers, from_json gives nulls and says nothing.
BATCH_DDL = "ARRAY<STRUCT<Clicks: STRING, Impressions: STRING, ts: TIMESTAMP>>"
SHAPES = ("rows", "batches")


def parse_rows(messages: DataFrame) -> DataFrame:
    """One event a message: `value` -> Clicks INT, Impressions INT, ts TIMESTAMP, is_bad BOOLEAN."""
    event = F.from_json(F.col("value").cast("string"), ROW_DDL)
    return messages.select(event.alias("event")).select("event.*", _is_bad().alias("is_bad"))


def parse_batches(messages: DataFrame) -> DataFrame:
    """An array of events a message, exploded; the columns of `parse_rows`.

    A message that is no such array is one bad row; an empty array is no row.
    """
    found = F.from_json(F.col("value").cast("string"), BATCH_DDL)
    nothing = F.from_json(F.lit("[null]"), BATCH_DDL)
    return (
        messages.select(F.explode(F.coalesce(found, nothing)).alias("event"))
        .select(
            F.col("event.Clicks").try_cast("int").alias("Clicks"),
            F.col("event.Impressions").try_cast("int").alias("Impressions"),
            F.col("event.ts").alias("ts"),
        )
        .select("*", _is_bad().alias("is_bad"))
    )


def parse_clicks(messages: DataFrame, shape: str) -> DataFrame:
    """Messages of either shape, one of SHAPES, as events."""
    return parse_rows(messages) if shape == "rows" else parse_batches(messages)


def count_bad(events: DataFrame) -> DataFrame:
    """Count the events that can be read, and those that cannot, as observed metrics `events`."""
    return events.observe(
        "events",
        F.count_if(~F.col("is_bad")).alias("good"),
        F.count_if(F.col("is_bad")).alias("bad"),
    )


def total_by_minute(events: DataFrame) -> DataFrame:
    """`minute_bin` INT, `Total Impressions` BIGINT.

    The course's own: minute() is the minute of the hour, so two hours share a bin.
    """
    good = events.where(~F.col("is_bad"))
    return good.groupBy(F.minute("ts").alias("minute_bin")).agg(
        F.sum("Impressions").alias("Total Impressions")
    )


def total_by_window(events: DataFrame) -> DataFrame:
    """`minute_start` TIMESTAMP (UTC), `Total Impressions`: each minute of each hour by itself."""
    good = events.where(~F.col("is_bad"))
    return (
        good.groupBy(F.window("ts", "1 minute").alias("window"))
        .agg(F.sum("Impressions").alias("Total Impressions"))
        .select(F.col("window.start").alias("minute_start"), "Total Impressions")
    )


def _is_bad() -> Column:
    return F.col("Clicks").isNull() | F.col("Impressions").isNull() | F.col("ts").isNull()
