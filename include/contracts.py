"""What producers, Spark jobs, DAGs and reports agree on: names, schemas, limits.

Standard library only: this file rides in the zip that `spark-submit` ships to the driver.
"""

# A line longer than this is landed as bad (`too_long`). Kafka's default for one message is
# 1,048,576 bytes with its headers, so a line of this size still travels alone.
MAX_LINE_BYTES = 1_000_000

# A cell of a CSV that begins so is a formula for spreadsheets (OWASP, CSV injection).
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")

# Of a bad line, no more than this is kept in `raw`.
MAX_RAW_CHARACTERS = 100_000

# While a producer follows a log, it sends a message a minute with the key `<log id>:heartbeat` and
# no value: its time says that the producer was alive. It is landed with this `log_format`, and no line.
HEARTBEAT = "heartbeat"

# One row of the landed access log. `timestamp` is an instant (UTC); `event_date` its day in the
# report's time zone, and the partition column. `raw` is null for a good line.
ACCESS_LOG_DDL = """
    line_id STRING, host STRING, user STRING, timestamp TIMESTAMP, method STRING, endpoint STRING,
    query STRING, protocol STRING, status INT, content_size BIGINT, referrer STRING,
    user_agent STRING, vhost STRING, seconds_taken DOUBLE, log_format STRING, bad_reason STRING,
    raw STRING, topic STRING, partition INT, offset BIGINT, file STRING, cache_status STRING,
    mime_type STRING, tls_version STRING, event_date DATE
"""

# Why a line is bad, as landed, and as the report says it.
BAD_REASONS = {
    "empty": "nothing in the line",
    "too_long": f"longer than {MAX_LINE_BYTES:,} bytes",
    "no_match": "in no known format",
    "bad_time": "no readable time",
    "bad_size": "a size that no server could have sent",
    "far_future": "its time lies far ahead of its arrival",
}

# One row of the landed clickstream. `ts` is an instant (UTC); a bad event has no `event_date`.
CLICKSTREAM_DDL = """
    Clicks INT, Impressions INT, ts TIMESTAMP, event_id STRING, campaign STRING, bad_reason STRING,
    raw STRING, topic STRING, partition INT, offset BIGINT, file STRING, event_date DATE
"""

CLICK_BAD_REASONS = {
    "no_event": "a count or the time is missing, or of another type",
    "far_future": "its time is more than an hour ahead of its arrival",
}

# The panels of a summary and a report; one for which the log has nothing has no rows.
PANELS = (
    "hours", "status", "methods", "requests", "static_requests", "not_found", "endpoints", "hosts",
    "referrers", "referring_sites", "referral_kinds", "search_phrases", "user_agents", "browsers",
    "operating_systems", "machines", "virtual_hosts", "remote_users", "cache_status", "mime_types",
    "tls_versions", "countries", "cities", "networks", "entry_pages", "exit_pages",
)  # fmt: skip

# The access log's summary.json and report.json; those of the clickstream change on their own.
SUMMARY_SCHEMA_VERSION = 2
REPORT_SCHEMA_VERSION = 2
CLICKSTREAM_SCHEMA_VERSION = 1
LONGEST_RANGE = 3660  # days that one report is of: ten years
