"""What a summary needs to know of each landed line, looked at once. Pure DataFrame -> DataFrame.

Spark looks at the lines, wherever they lie; `include/summary` counts what is written here.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import HEARTBEAT

# What makes two good rows with one line_id the same line. The id alone could be shared by two logs
# that begin with the same line.
DEDUP_COLUMNS = ["host", "user", "timestamp", "method", "endpoint", "query", "protocol", "status",
           "content_size", "referrer", "user_agent"]  # fmt: skip
SAMPLE_CHARACTERS = 300  # characters that are shown of a bad line


def filter_days(landed: DataFrame, days: list[str]) -> DataFrame:
    return landed.where(F.col("event_date").isin([F.lit(day).cast("date") for day in days]))


def is_heartbeat() -> Column:
    """Whether a landed row is no line, but says that a producer was alive."""
    return F.col("log_format").eqNullSafe(HEARTBEAT)


def only_lines(landed: DataFrame) -> DataFrame:
    """Landed rows without the heartbeats of producers."""
    return landed.where(~is_heartbeat())


def select_counted_columns(
    landed: DataFrame, time_zone: str, wanted: Column | None = None
) -> DataFrame:
    """Landed rows -> what is counted of each: its fields, and what they say.

    `micros` since 1970 (UTC) and `hour` ("00" to "23" in `time_zone`); `visitor_id`, a hash of address and
    user agent; `target`, path and query as one text with `%41` as "A" (as GoAccess shows requests);
    `wanted`, whether a filter lets it through. For lines with a line_id `dedup_hash` and `dedup_hash_2`, two
    hashes of the line, are equal for duplicates. A bad line has a `sample`.

    No more than that: what Spark does only a million times its compilers have hardly begun with.
    """
    is_bad = F.col("bad_reason").isNotNull()
    hour = F.hour(F.from_utc_timestamp("timestamp", F.lit(time_zone))).cast("string")
    target = F.concat("endpoint", F.coalesce(F.concat(F.lit("?"), "query"), F.lit("")))
    line = ["line_id", *DEDUP_COLUMNS]
    identified = F.col("line_id").isNotNull()
    return landed.withColumn("target", F.trim(decode_percent(target))).select(
        "event_date", F.unix_micros("timestamp").alias("micros"), F.lpad(hour, 2, "0").alias("hour"),
        F.xxhash64("host", F.coalesce("user_agent", F.lit(""))).alias("visitor_id"),
        "host", F.col("user").alias("remote_user"), "method", "endpoint", "query", "protocol", "status",
        F.coalesce("content_size", F.lit(0)).alias("bytes"), "referrer", "user_agent", "vhost",
        "seconds_taken", "log_format", "cache_status", "mime_type", "tls_version",
        "target",
        (F.lit(True) if wanted is None else wanted).alias("wanted"),
        F.when(identified, F.xxhash64(*line)).alias("dedup_hash"),
        F.when(identified, F.hash(*line)).alias("dedup_hash_2"),
        "topic", F.col("partition").alias("kafka_partition"), F.col("offset").alias("kafka_offset"), "file",
        is_heartbeat().alias("is_heartbeat"), "bad_reason",
        F.when(is_bad, F.substring("raw", 1, SAMPLE_CHARACTERS)).alias("sample"),
    )  # fmt: skip


def decode_percent(text: Column) -> Column:
    """`%41` as "A", once; what is no such code stays, and so does a plus."""
    escaped = F.regexp_replace(
        F.replace(text, F.lit("+"), F.lit("%2B")), "%(?![0-9A-Fa-f]{2})", "%25"
    )
    return F.when(F.contains(text, F.lit("%")), F.try_url_decode(escaped)).otherwise(text)
