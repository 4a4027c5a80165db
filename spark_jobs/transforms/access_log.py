"""Access-log lines: pure DataFrame -> DataFrame, the same in batch and in streaming.

Lines are read by `include.log_formats`, in a Python worker of Spark. The continuous and real-time triggers
run no Python: for them, `common_log` reads common and combined lines by the same rules.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, HEARTBEAT, list_column_names
from include.log_formats.line_batches import (
    LINEAGE_COLUMNS,
    READ_COLUMNS,
    ReadBatches,
    SelectServerErrors,
)
from include.log_formats.w3c import W3C_FILE
from spark_jobs.transforms.arrow_batches import map_in_arrow
from spark_jobs.transforms.common_log import parse_common_log
from spark_jobs.transforms.landed import is_landed, select_landed_rows

# Which landed rows are lines; the others are heartbeats.
IS_LINE = f"NOT (log_format <=> '{HEARTBEAT}')"
# How many lines a message holds; a heartbeat holds none. A newline at the end of a message ends its last
# line; it does not begin another one.
MESSAGE_LINE_COUNT = f"""CASE WHEN value IS NULL THEN IF(endswith(CAST(key AS STRING), ':{HEARTBEAT}'), 0, 1)
        ELSE octet_length(value) - octet_length(replace(CAST(value AS STRING), '\n', ''))
            + IF(endswith(CAST(value AS STRING), '\n'), 0, 1) END"""


def select_lines(rows: DataFrame, kind: str) -> DataFrame:
    """Select what `read_lines` takes of the rows of a source.

    Args:
        rows: The rows of the source: messages of Kafka, or the column `value`.
        kind: The kind of source.

    Returns:
        For Kafka `key` and `value` (BINARY), `topic`, `partition`, `offset` and `arrived` (TIMESTAMP, when
        the message was sent, so a topic that is landed again gives the same rows). For others `line`
        (BINARY), LINEAGE_COLUMNS and `arrived` (when the batch began), without the directives of W3C files.
        Rows that were landed before stay as they are.
    """
    if is_landed(rows, ACCESS_LOG_DDL):
        return select_landed_rows(rows, ACCESS_LOG_DDL)
    if kind == "kafka":
        # A message without a time has -1 milliseconds.
        sent = F.when(F.unix_millis("timestamp") >= 0, F.col("timestamp"))
        return rows.select("key", "value", "topic", "partition", "offset", sent.alias("arrived"))
    is_file = kind not in ("rate", "socket")
    value = synthetic_line() if kind == "rate" else F.col("value")
    lines = rows.select(
        value.alias("text"),
        F.lit(None).cast("string").alias("line_id"),
        F.lit(None).cast("string").alias("topic"),
        F.lit(None).cast("int").alias("partition"),
        F.lit(None).cast("bigint").alias("offset"),
        (F.col("_metadata.file_path") if is_file else F.lit(None).cast("string")).alias("file"),
        F.current_timestamp().alias("arrived"),
    )
    if is_file:
        lines = lines.where(~_is_directive())
    return lines.select(F.col("text").cast("binary").alias("line"), *LINEAGE_COLUMNS, "arrived")


def count_lines(lines: DataFrame, kind: str) -> str:
    """Return an SQL expression: how many lines a row of `select_lines` holds; a heartbeat holds none.

    Args:
        lines: What `select_lines` gives.
        kind: The kind of source.
    """
    if is_landed(lines, ACCESS_LOG_DDL):
        return f"IF({IS_LINE}, 1, 0)"
    return MESSAGE_LINE_COUNT if kind == "kafka" else "1"


def read_lines(lines: DataFrame, read_batches: ReadBatches) -> DataFrame:
    """Task 1 of the course: read every field of every line; a line that cannot be read says why.

    Args:
        lines: What `select_lines` gives. Further columns must be named in `read_batches`.
        read_batches: The reader, with its settings.

    Returns:
        The further columns, and those of ACCESS_LOG_DDL but `event_date`. Landed rows stay as they are.
    """
    if is_landed(lines, ACCESS_LOG_DDL):
        return lines
    columns = {
        name: f"`{name}` {lines.schema[name].dataType.simpleString()}"
        for name in read_batches.extra_columns
    } | dict(zip(list_column_names(ACCESS_LOG_DDL), ACCESS_LOG_DDL.split(","), strict=True))
    names = (*read_batches.extra_columns, *READ_COLUMNS)
    return map_in_arrow(lines, read_batches, ", ".join(columns[name] for name in names))


def select_landed_lines(
    lines: DataFrame, time_zone: str, read_batches: ReadBatches | None = None
) -> DataFrame:
    """Read lines, and select what is landed.

    Args:
        lines: What `select_lines` gives. Of rows that were landed before, only the day is new.
        time_zone: Time zone in which a day begins at midnight.
        read_batches: The reader, with its settings.

    Returns:
        The further columns of the reader, then the columns of ACCESS_LOG_DDL in its order.
    """
    read_batches = read_batches or ReadBatches()
    rows = read_lines(lines, read_batches).transform(with_event_date, time_zone)
    return rows.select(*read_batches.extra_columns, *list_column_names(ACCESS_LOG_DDL))


def select_requests(
    rows: DataFrame, kind: str, read_batches: ReadBatches | None = None
) -> DataFrame:
    """Select the requests that can be read.

    Args:
        rows: The rows of a source, or landed rows.
        kind: The kind of source.
        read_batches: The reader; None: only common and combined lines are read, without Python.

    Returns:
        The requests. With Python, a line whose time is far ahead of its arrival is left out, as in a landing.
    """
    if read_batches is None and not is_landed(rows, ACCESS_LOG_DDL):
        value = synthetic_line() if kind == "rate" else F.col("value").cast("string")
        if kind == "kafka":
            value = F.explode(F.split(value, "\n"))
        return parse_common_log(rows.select(value.alias("line")))
    requests = read_lines(select_lines(rows, kind), read_batches or ReadBatches())
    return requests.where(f"bad_reason IS NULL AND {IS_LINE}")


def select_messages(rows: DataFrame, kind: str) -> DataFrame:
    """Select `key` and `value` of the rows of a source, as Kafka has them; others have no key."""
    if kind == "kafka":
        return rows.select("key", "value")
    value = synthetic_line() if kind == "rate" else F.col("value")
    return rows.select(F.lit(None).cast("binary").alias("key"), value.cast("binary").alias("value"))


def synthetic_line() -> Column:
    """A line in combined format for a row of Spark's rate source; every tenth is an error."""
    statuses = F.array(*[F.lit(s) for s in (200, 200, 200, 200, 200, 200, 304, 404, 200, 500)])
    n, time = F.col("value"), F.date_format("timestamp", "dd/MMM/yyyy:HH:mm:ss Z")
    return F.format_string(
        '192.0.2.%d - - [%s] "GET /page/%d HTTP/1.1" %d %d "-" "rate"',
        n % 250 + 1, time, n % 20, F.element_at(statuses, (n % 10 + 1).cast("int")), n % 5000,
    )  # fmt: skip


def with_event_date(lines: DataFrame, time_zone: str) -> DataFrame:
    """Add `event_date`, the day of `timestamp` in `time_zone`; null for a line without a time.

    The session's own time zone must be UTC.
    """
    return lines.withColumn(
        "event_date", F.to_date(F.from_utc_timestamp("timestamp", F.lit(time_zone)))
    )


def filter_unsuccessful(requests: DataFrame) -> DataFrame:
    """Task 2 of the course: requests whose status is not 200 (an unknown status is not 200)."""
    return requests.where(~F.col("status").eqNullSafe(F.lit(200)))


def select_server_errors(messages: DataFrame, log_format: str = "") -> DataFrame:
    """Select the lines with a status 5xx of each message.

    Args:
        messages: `key` and `value` (BINARY), the value being one or more lines.
        log_format: An Apache LogFormat that is tried before the formats that are detected.

    Returns:
        `key`, which is that of the message, and `value` (BINARY): its lines with a status 5xx. A message
        without such a line is left out.
    """
    return map_in_arrow(messages, SelectServerErrors(log_format), "key BINARY, value BINARY")


def count_by_status(requests: DataFrame) -> DataFrame:
    """Task 3 of the course: one row a status, with its `count`."""
    return requests.groupBy("status").count()


def _is_directive() -> Column:
    """Whether `text` speaks about its W3C file, `#Fields: …`: it is no line of the log."""
    begins_so = F.startswith("text", F.lit("#")) | F.startswith("text", F.lit("\ufeff#"))
    return begins_so & F.coalesce(F.col("file").rlike(W3C_FILE), F.lit(False))
