"""Names, schemas and limits that producers, Spark jobs, DAGs and reports share.

This module imports the standard library only: it is part of the zip that `spark-submit` ships to the
driver.
"""

# A line longer than this is landed as bad (`too_long`). Kafka's default for one message is
# 1,048,576 bytes with its headers, so a line of this size still fits in a message of its own.
MAX_LINE_BYTES = 1_000_000

# Spreadsheets take a CSV cell that begins with one of these as a formula (OWASP, CSV injection).
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")

# A line whose time is more hours than this after its arrival is bad (`far_future`).
FUTURE_HOURS = 24

# `raw` of a bad line is cut to this length.
MAX_RAW_CHARACTERS = 100_000

# A producer that follows a log sends one message a minute with the key `<log id>:heartbeat` and no
# value. Its time shows that the producer was running. It lands with this `log_format` and without a
# line.
HEARTBEAT = "heartbeat"

# Columns of the landed access log. `timestamp` is an instant (UTC). `event_date` is its day in the
# report's time zone and the partition column. `raw` is null for a good line.
ACCESS_LOG_DDL = """
    line_id STRING, host STRING, user STRING, timestamp TIMESTAMP, method STRING, endpoint STRING,
    query STRING, protocol STRING, status INT, content_size BIGINT, referrer STRING,
    user_agent STRING, vhost STRING, seconds_taken DOUBLE, log_format STRING, bad_reason STRING,
    raw STRING, topic STRING, partition INT, offset BIGINT, file STRING, cache_status STRING,
    mime_type STRING, tls_version STRING, event_date DATE
"""


def list_column_names(ddl: str) -> list[str]:
    """Return the names of the columns of a DDL whose types have no commas."""
    return [column.split()[0] for column in ddl.split(",")]


# `bad_reason` as landed -> text in the report.
BAD_REASONS = {
    "empty": "empty line",
    "too_long": f"longer than {MAX_LINE_BYTES:,} bytes",
    "no_match": "matches no known format",
    "bad_time": "no readable time",
    "bad_size": "size that no server can send",
    "far_future": "time far ahead of the line's arrival",
}

# Columns of the landed clickstream. `ts` is an instant (UTC). A bad event has no `event_date`.
CLICKSTREAM_DDL = """
    Clicks INT, Impressions INT, ts TIMESTAMP, event_id STRING, campaign STRING, bad_reason STRING,
    raw STRING, topic STRING, partition INT, offset BIGINT, file STRING, event_date DATE
"""

CLICKSTREAM_BAD_REASONS = {
    "no_event": "a count or the time is missing or has the wrong type",
    "far_future": "time more than an hour ahead of the event's arrival",
}

# Versions of the access log's summary.json and report.json. The clickstream has a version of its own.
SUMMARY_SCHEMA_VERSION = 3
REPORT_SCHEMA_VERSION = 3
CLICKSTREAM_SCHEMA_VERSION = 2
MAX_RANGE_DAYS = 3660  # days that one report may cover: ten years
