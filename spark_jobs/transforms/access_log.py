"""Access-log lines, step by step: pure DataFrame -> DataFrame, the same in batch and in streaming.

Which format a line is in is found out line by line, except for W3C, whose files say it at their head
(`include.log_formats`, docs/formats.md).
Built-in functions only, so that every trigger can run it. Functions that could raise in ANSI mode
have their `try_` form here: one line must never stop a query.
"""

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import (
    ACCESS_LOG_DDL,
    FUTURE_HOURS,
    HEARTBEAT,
    MAX_LINE_BYTES,
    MAX_RAW_CHARACTERS,
)
from include.log_formats import (
    ALB,
    ALB_PREFIX,
    APACHE,
    END,
    EPOCH,
    FIELDS,
    ISO_GROUPS,
    ISO_TIME,
    JSON_HEADERS,
    JSON_NAMES,
    JSON_REQUIRED,
    MONTHS,
    REQUEST,
    SEPARATOR,
    TIME,
    TIME_FIELDS,
    TIME_GROUPS,
    TLS_NUMBERS,
    W3C_FILE,
    Format,
    compile_log_format,
    compile_w3c,
)
from spark_jobs.transforms.landed import is_landed, list_column_names, select_landed_rows

JSON_KEYS = sorted({key for keys in JSON_NAMES.values() for key in keys})
JSON_DDL = ", ".join(f"`{key}` STRING" for key in JSON_KEYS)
# Caddy's object `request`; of a header there is a list.
REQUEST_DDL = f"{JSON_DDL}, headers STRUCT<" + ", ".join(
    f"`{header}`: ARRAY<STRING>" for header in JSON_HEADERS.values()
) + ">, tls STRUCT<version: STRING>"  # fmt: skip
LINE_DDL = f"{JSON_DDL}, resp_headers STRUCT<`Content-Type`: ARRAY<STRING>>"

# Which rows are lines, in what `lines_with_arrival` gives and in what is landed; the others are heartbeats.
LINE_CONDITIONS = ("NOT is_heartbeat", f"NOT (log_format <=> '{HEARTBEAT}')")


# Where each of `lines` begins, counted in bytes from `first_byte`. To append to an array copies it, so
# what would copy a message's 500 numbers for each of its lines is done by 25 lines, then within those.
BYTE_OFFSETS_SQL = """flatten(zip_with(
    transform(sequence(0, (size(lines) - 1) DIV 25), part -> slice(lines, part * 25 + 1, 25)),
    aggregate(
        transform(sequence(0, (size(lines) - 1) DIV 25), part -> aggregate(
            slice(lines, part * 25 + 1, 25), 0L, (bytes, line) -> bytes + octet_length(line) + 1)),
        array(first_byte),
        (found, bytes) -> array_append(found, element_at(found, -1) + bytes)),
    (part, begin) -> IF(part IS NULL, array(), aggregate(
        slice(part, 1, size(part) - 1), array(begin),
        (found, line) -> array_append(found, element_at(found, -1) + octet_length(line) + 1)))))"""


def explode_kafka_lines(messages: DataFrame) -> DataFrame:
    """Kafka messages (key, value, topic, partition, offset) -> one row a line.

    Gives `line` (STRING, bytes as sent), `line_id`, `topic`, `partition`, `offset`, `file` (null).
    `line_id` is `<log id>:<byte offset of the line>`: the key is `<log id>:<byte offset of the
    first line>`, and the lines before are counted in bytes, so it does not depend on how many lines
    a message carries. It is null when the key has another form. A heartbeat is no line.
    """
    return split_messages(messages).where("NOT is_heartbeat").drop("is_heartbeat")


def split_messages(messages: DataFrame, *extra_columns: str) -> DataFrame:
    """As `explode_kafka_lines`, with `is_heartbeat` and the columns `others`; a heartbeat has no `line`."""
    value = F.coalesce("value", F.lit(b""))
    text = value.cast("string")
    # Splitting goes through Java strings, which would turn bytes that are not UTF-8 into others, of
    # another length. Such a message is split as Latin-1, where every byte is one character.
    key = F.col("key").cast("string")
    is_heartbeat = F.col("value").isNull() & F.endswith(key, F.lit(f":{HEARTBEAT}"))
    lines = (
        F.when(is_heartbeat, F.array(F.lit(None).cast("string")))
        .when(F.is_valid_utf8(text), F.split(_without_last_newline(text), "\n"))
        .otherwise(
            F.transform(
                F.split(_without_last_newline(F.decode(value, "ISO-8859-1")), "\n"),
                lambda line: F.encode(line, "ISO-8859-1").cast("string"),
            )
        )
    )
    place = ["topic", "partition", "offset", "is_heartbeat", *extra_columns]
    numbered = messages.withColumn("is_heartbeat", F.coalesce(is_heartbeat, F.lit(False))).select(
        lines.alias("lines"),
        F.when(key.rlike(r"^.+:\d{1,18}$"), F.regexp_extract(key, r"^(.+):", 1)).alias("log_id"),
        F.substring_index(key, ":", -1).try_cast("bigint").alias("first_byte"),
        *place,
    )
    starts = F.expr(BYTE_OFFSETS_SQL)
    return numbered.select(
        F.explode(F.arrays_zip(F.col("lines").alias("line"), starts.alias("start"))).alias("at"),
        "log_id",
        *place,
    ).select(
        F.col("at.line").alias("line"),
        F.concat("log_id", F.lit(":"), "at.start").alias("line_id"),
        *place,
        F.lit(None).cast("string").alias("file"),
    )


def explode_lines(rows: DataFrame, kind: str) -> DataFrame:
    """What a source of this kind gives -> one row a line, the columns of `explode_kafka_lines`.

    Files (text, or the column `value` of the other formats), sockets and rate have no `line_id`.
    """
    if kind == "kafka":
        return explode_kafka_lines(rows)
    value = synthetic_line() if kind == "rate" else F.col("value")
    is_file = kind not in ("rate", "socket")
    return rows.select(
        value.alias("line"),
        F.lit(None).cast("string").alias("line_id"),
        F.lit(None).cast("string").alias("topic"),
        F.lit(None).cast("int").alias("partition"),
        F.lit(None).cast("bigint").alias("offset"),
        (F.col("_metadata.file_path") if is_file else F.lit(None).cast("string")).alias("file"),
    ).where(~is_directive() if is_file else F.lit(True))


def is_directive() -> Column:
    """Whether a line speaks about its W3C file, `#Fields: …`: it is no line of the log."""
    # The cheap question first.
    begins = F.startswith("line", F.lit("#")) | F.startswith("line", F.lit("\ufeff#"))
    return begins & F.coalesce(F.col("file").rlike(W3C_FILE), F.lit(False))


def lines_with_arrival(rows: DataFrame, kind: str) -> DataFrame:
    """As `explode_lines`, with when each `arrived` and `is_heartbeat`: Kafka's heartbeats have no line.

    Kafka says when a message was sent, so a topic that is landed again gives the same rows; of a
    file it is the time of the batch. Rows that were landed before stay as they are.
    """
    if is_landed(rows, ACCESS_LOG_DDL):
        is_heartbeat = F.col("log_format").eqNullSafe(F.lit(HEARTBEAT))
        return select_landed_rows(rows, ACCESS_LOG_DDL).withColumn("is_heartbeat", is_heartbeat)
    if kind == "kafka":
        # A message without a time has -1 milliseconds.
        sent = F.when(F.unix_millis("timestamp") >= 0, F.col("timestamp"))
        return split_messages(rows.withColumn("arrived", sent), "arrived")
    lines = explode_lines(rows, kind).withColumn("arrived", F.current_timestamp())
    return lines.withColumn("is_heartbeat", F.lit(False))


def select_messages(rows: DataFrame, kind: str) -> DataFrame:
    """What a source of this kind gives -> `key` and `value`, as Kafka's; others have no key."""
    if kind == "kafka":
        return rows.select("key", "value")
    value = synthetic_line() if kind == "rate" else F.col("value")
    return rows.select(F.lit(None).cast("binary").alias("key"), value.alias("value"))


def synthetic_line() -> Column:
    """A line in combined format for a row of Spark's rate source; every tenth is an error."""
    statuses = F.array(*[F.lit(s) for s in (200, 200, 200, 200, 200, 200, 304, 404, 200, 500)])
    n, time = F.col("value"), F.date_format("timestamp", "dd/MMM/yyyy:HH:mm:ss Z")
    return F.format_string(
        '192.0.2.%d - - [%s] "GET /page/%d HTTP/1.1" %d %d "-" "rate"',
        n % 250 + 1, time, n % 20, F.element_at(statuses, (n % 10 + 1).cast("int")), n % 5000,
    )  # fmt: skip


def parse_lines(
    lines: DataFrame, log_format: str = "", w3c: Mapping[str, str] | None = None,
    future_hours: int = FUTURE_HOURS,
) -> DataFrame:  # fmt: skip
    """Task 1 of the course: every field of every line; a line that cannot be read says why.

    Takes `line` (STRING) beside any other columns, which stay, and for W3C `file`. `log_format` is an
    Apache LogFormat that is tried before all others; `w3c` says which fields the files have in whose
    name such an id stands, {"w3c-1a2b3c4d": "date time c-ip …"}. Adds host, user, timestamp, method,
    endpoint, query, protocol, status, content_size, referrer, user_agent, vhost, seconds_taken,
    log_format, bad_reason and raw, typed as in `include.contracts.ACCESS_LOG_DDL`. Where the lines
    have `arrived`, a time more than `future_hours` ahead of it is none.
    """
    return (
        lines.transform(with_fields, log_format, w3c or {})
        .transform(with_timestamp)
        .transform(with_bad_reason)
        .transform(with_far_future, future_hours)
        .transform(with_request)
        .transform(select_parsed)
    )


def with_fields(lines: DataFrame, log_format: str, w3c: Mapping[str, str]) -> DataFrame:
    """Add `text`, the line as valid UTF-8, and `field`, its FIELDS; null if no format fits."""
    valid = F.make_valid_utf8("line")
    # The look behind keeps a line of a million carriage returns from costing a million squared.
    cut = F.when(
        F.endswith(valid, F.lit("\r")), F.regexp_replace(valid, r"(?<!\r)\r++\z", "")
    ).otherwise(valid)
    text = F.when(F.octet_length("line") <= MAX_LINE_BYTES, cut).otherwise("")
    with_text = lines.withColumn("text", text).withColumn(
        "text",
        F.when(F.contains("text", F.lit(SEPARATOR)), F.replace("text", F.lit(SEPARATOR), F.lit("\ufffd")))
        .otherwise(F.col("text")),
    )  # fmt: skip
    if log_format:
        with_text = with_text.transform(_with_format_fields, compile_log_format(log_format))
    else:
        with_text = with_text.transform(_with_plain_field)
    with_text = with_text.transform(_with_format_fields, APACHE)  # of what was not found yet
    text = F.col("text")
    others = F.when(F.startswith(text, F.lit("{")), F.expr(_json_fields())).when(
        text.rlike(ALB_PREFIX), extract_fields(text, ALB)
    )
    found = with_text.withColumn("field", F.coalesce("field", others))
    if not w3c:
        return found
    by_file = reduce(
        lambda chain, each: chain.when(
            F.contains("file", F.lit(f".{each[0]}.")), extract_fields(text, compile_w3c(each[1]))
        ),
        w3c.items(), F.when(F.lit(False), F.array().cast("array<string>")),
    )  # fmt: skip
    return found.withColumn(
        "field", F.when(F.col("file").rlike(W3C_FILE), by_file).otherwise(F.col("field"))
    )


def with_timestamp(lines: DataFrame) -> DataFrame:
    """Add `timestamp`; a line that no format fits may still show when it was written."""
    shown = rf"\[{TIME}\]"
    pieces = f"""CASE
        WHEN field IS NOT NULL THEN slice(field, {FIELDS.index("day") + 1}, {len(TIME_FIELDS)})
        WHEN length(regexp_extract(text, r'{shown}', 0)) > 0
        THEN {_pieces(f"regexp_extract(text, r'{shown}', 0)", shown, TIME_GROUPS)}
        END"""
    return (
        lines.withColumns({"pieces": F.expr(pieces), "epoch": F.expr(_field("epoch"))})
        .withColumn("timestamp", F.expr(_instant()))
        .drop("pieces", "epoch")
    )


def with_bad_reason(lines: DataFrame) -> DataFrame:
    """Add `bad_reason`, a key of `include.contracts.BAD_REASONS`; null for a good line."""
    size = _field("content_size")
    looks_right = r"""text RLIKE r'(?s)^\S+ \S+ .*? \[[^\]]{0,100}\] "'"""
    reason = rf"""CASE
        WHEN octet_length(line) > {MAX_LINE_BYTES} THEN 'too_long'
        WHEN NOT text RLIKE r'\S' THEN 'empty'
        WHEN timestamp IS NULL AND (field IS NOT NULL OR {looks_right}) THEN 'bad_time'
        WHEN field IS NULL THEN 'no_match'
        WHEN {_present(size)} IS NOT NULL AND {_number(size, "bigint")} IS NULL THEN 'bad_size'
        END"""
    return lines.withColumn("bad_reason", F.expr(reason)).withColumn(
        "field", F.expr("IF(bad_reason IS NULL, field, NULL)")
    )


def with_far_future(lines: DataFrame, hours: int) -> DataFrame:
    """A time that lies ahead makes a line bad, and takes its day: no report for the year 2099."""
    if "arrived" not in lines.columns:
        return lines
    ahead = F.coalesce(
        F.col("timestamp") > F.col("arrived") + F.expr(f"INTERVAL {hours} HOURS"), F.lit(False)
    )
    return lines.select(
        *[name for name in lines.columns if name not in ("timestamp", "bad_reason", "field")],
        F.when(~ahead, F.col("timestamp")).alias("timestamp"),
        F.coalesce("bad_reason", F.when(ahead, "far_future")).alias("bad_reason"),
        F.when(~ahead, F.col("field")).alias("field"),
    )


def with_request(lines: DataFrame) -> DataFrame:
    """Add method, endpoint, query and protocol.

    HTTP/0.9 has no protocol. What is no request at all (a TLS handshake sent to a plain port, say)
    has no method, and its text as the endpoint.
    """
    request = _field("request")
    # A step each: what is named twice in one step, Spark may make twice.
    steps = {
        "request": f"""CASE {_field("format")} WHEN '{PLAIN}' THEN {request}
            WHEN 'w3c' THEN trim({request}) ELSE {_unescaped(request)} END""",
        "words": "split(request, ' ', 4)",  # a hostile one may have a million
        "last": "IF(size(words) = 3, get(words, 2), substring_index(request, ' ', -1))",
        "has_method": "size(words) > 1 AND words[0] RLIKE '^[A-Za-z][A-Za-z_-]{0,31}$'",
        "has_protocol": "has_method AND startswith(last, 'HTTP/')",
        "target": """CASE
            WHEN has_protocol AND size(words) = 3 THEN get(words, 1)
            WHEN has_method THEN substring(request, length(words[0]) + 2, length(request)
                - length(words[0]) - 1 - IF(has_protocol, length(last) + 1, 0))
            ELSE request END""",
        "path": "IF(contains(target, '?'), substring_index(target, '?', 1), target)",
    }
    for name, made in steps.items():
        lines = lines.withColumn(name, F.expr(made))
    return lines.withColumns({
        "method": F.expr("IF(has_method, words[0], NULL)"),
        "endpoint": F.expr(_present("path")),
        "query": F.expr(
            "IF(contains(target, '?'), substring(target, length(path) + 2, length(target)), "
            f"{_present(_field('query'))})"
        ),
        "protocol": F.expr("IF(has_protocol, last, NULL)"),
    }).drop(*steps)  # fmt: skip


def select_parsed(lines: DataFrame) -> DataFrame:
    """The parsed columns, in the order of the contract, after what the line came with."""
    added = {"line", "text", "field", "timestamp", "bad_reason", "method", "endpoint", "query",
             "protocol"}  # fmt: skip
    name, vhost, host = _field("format"), _present(_field("vhost")), _field("host")
    referrer, agent = (
        _without_plus(_unescaped(_present(_field(field)))) for field in ("referrer", "user_agent")
    )
    # Without the character set: `text/html; charset=utf-8`.
    mime_type = _present(f"lower(trim(substring_index({_field('mime_type')}, ';', 1)))")
    log_format = f"""CASE
        WHEN {name} = '{PLAIN}' THEN 'combined'
        WHEN {name} IN ('', '"') THEN concat(
            IF({vhost} IS NOT NULL, 'vhost_', ''), IF({name} = '', 'common', 'combined'))
        ELSE {name} END"""
    return lines.select(
        *[name for name in lines.columns if name not in added],
        F.expr(f"IF({host} != '', {host}, NULL) AS host"),
        F.expr(f"{_unescaped(_present(_field('user')))} AS user"),
        "timestamp", "method", "endpoint", "query", "protocol",
        F.expr(f"{_number(_field('status'), 'int')} AS status"),
        F.expr(f"{_number(_field('content_size'), 'bigint')} AS content_size"),
        F.expr(f"{referrer} AS referrer"),
        F.expr(f"{agent} AS user_agent"),
        F.expr(f"{vhost} AS vhost"),
        F.expr(f"{_seconds_taken()} AS seconds_taken"),
        F.expr(f"{log_format} AS log_format"),
        "bad_reason",
        F.when(F.col("bad_reason").isNotNull(), _readable(F.col("line"))).alias("raw"),
        F.expr(f"{_present(_field('cache_status'))} AS cache_status"),
        F.expr(f"{mime_type} AS mime_type"),
        F.expr(f"{_present(_field('tls_version'))} AS tls_version"),
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


def only_server_errors(messages: DataFrame, log_format: str = "") -> DataFrame:
    """Messages (key, value, …) -> key, value: of each message its lines with a status 5xx.

    `log_format`, an Apache LogFormat, is tried beside the formats that are recognised.

    Within the message, because the continuous trigger knows no explode. A message without such a
    line goes; of one with them the key stays, which is the place of its first line.
    """
    apache = rf'\S+ \S+ .*? \[{TIME}\] "{REQUEST}" 5\d\d (?:\d+|-)(?:\s|$)'
    alb = rf"{ALB_PREFIX.removeprefix('^')}(?:\S++ ){{7}}5\d\d "
    lines = F.split(F.col("value").cast("string"), "\n")
    own = compile_log_format(log_format) if log_format else None

    def is_error(line: Column) -> Column:
        known = F.when(
            F.startswith(line, F.lit("{")), F.get_json_object(line, "$.status").rlike(r"^5\d\d$")
        ).otherwise(F.rlike(line, F.lit(rf"(?s)^(?:{apache}|{alb})")))
        if own is None:
            return known
        status = F.get(extract_fields(line, own), FIELDS.index("status"))
        return F.coalesce(status.rlike(r"^5\d\d$"), known)

    errors = F.filter(lines, is_error)
    return (
        messages.select("key", errors.alias("errors"))
        .where(F.size("errors") > 0)
        .select("key", F.array_join("errors", "\n").alias("value"))
    )


def count_by_status(requests: DataFrame) -> DataFrame:
    """Task 3 of the course: one row a status, with its `count`."""
    return requests.groupBy("status").count()


def with_heartbeat(rows: DataFrame) -> DataFrame:
    """Parsed rows with `arrived` and `is_heartbeat` -> a heartbeat has its time, its name, no more."""
    alive = F.col("is_heartbeat")
    return rows.select(
        *[name for name in rows.columns if name not in ("timestamp", "log_format", "bad_reason")],
        F.when(alive, F.col("arrived")).otherwise(F.col("timestamp")).alias("timestamp"),
        F.when(alive, HEARTBEAT).otherwise(F.col("log_format")).alias("log_format"),
        F.when(~alive, F.col("bad_reason")).alias("bad_reason"),
    )


def select_landed_lines(
    lines: DataFrame, time_zone: str, log_format: str = "", w3c: Mapping[str, str] | None = None,
    future_hours: int = FUTURE_HOURS, extra_columns: tuple[str, ...] = (),
) -> DataFrame:  # fmt: skip
    """Lines -> what is landed: the columns of `include.contracts.ACCESS_LOG_DDL`, in its order.

    Columns to `keep` come before them. Of lines that were landed before, only the day is new.
    """
    if "line" not in lines.columns:
        parsed = lines
    else:
        parsed = parse_lines(lines, log_format, w3c, future_hours)
        if "is_heartbeat" in parsed.columns:
            parsed = with_heartbeat(parsed)
    parsed = parsed.transform(with_event_date, time_zone)
    return parsed.select(*extra_columns, *list_column_names(ACCESS_LOG_DDL))


def parse_requests(
    rows: DataFrame, kind: str, log_format: str = "", w3c: Mapping[str, str] | None = None
) -> DataFrame:  # fmt: skip
    """What a source of this kind gives, or landed rows -> the requests that can be read."""
    if is_landed(rows, ACCESS_LOG_DDL):
        found = select_landed_rows(rows, ACCESS_LOG_DDL).where(LINE_CONDITIONS[1])
    else:
        found = parse_lines(explode_lines(rows, kind), log_format, w3c)
    return found.where("bad_reason IS NULL")


def _with_format_fields(lines: DataFrame, line_format: Format) -> DataFrame:
    """Add `field`, the FIELDS of the lines that fit; keep it where it is there already."""
    found = F.split(F.regexp_replace("text", line_format.pattern, line_format.template), SEPARATOR)
    if "field" in lines.columns:
        found = F.when(F.col("field").isNull(), found).otherwise(F.col("field"))
    # Two steps, or Spark would make the array twice.
    return lines.withColumn("field", found).withColumn(
        "field", F.when(F.size("field") == len(FIELDS), F.col("field"))
    )


# Of a line as nearly all are, in combined format: what stands before the request, and behind it. Its
# `format` says that it has no escapes, so nobody looks for them again.
PLAIN = "plain"
PLAIN_HEAD = rf"(?s)^\S+ - \S+ \[{TIME}\] {END}"
PLAIN_TAIL = rf"(?s)^ (?:\d{{3}}|-) (?:\d+|-) {END}"


def _with_plain_field(lines: DataFrame) -> DataFrame:
    r"""Add `field` for lines in combined format with nothing unusual in them; null for the others.

    APACHE finds the same in them, and takes longer. Six quotes, none of them escaped, no user
    with a space, nothing behind the user agent.
    """
    known = {
        "host": "head[0]", "user": "head[2]",
        "day": "substring(head[3], 2, 2)", "month": "substring(head[3], 5, 3)",
        "year": "substring(head[3], 9, 4)", "hour": "substring(head[3], 14, 2)",
        "minute": "substring(head[3], 17, 2)", "second": "substring(head[3], 20, 2)",
        "sign": "substring(head[4], 1, 1)", "zone_hours": "substring(head[4], 2, 2)",
        "zone_minutes": "substring(head[4], 4, 2)",
        "request": "parts[1]", "status": "tail[1]", "content_size": "tail[2]",
        "referrer": "parts[3]", "user_agent": "parts[5]", "format": f"'{PLAIN}'",
    }  # fmt: skip
    is_plain = rf"""size(parts) = 7 AND get(parts, 4) = ' ' AND get(parts, 6) = ''
        AND NOT contains(text, r'\')
        AND get(parts, 2) RLIKE r'{PLAIN_TAIL}' AND get(parts, 0) RLIKE r'{PLAIN_HEAD}'"""
    field = ", ".join(known.get(name, "''") for name in FIELDS)
    steps = {
        "parts": "split(text, '\"', 8)",
        "is_plain": is_plain,
        "head": "IF(is_plain, split(parts[0], ' '), NULL)",
        "tail": "IF(is_plain, split(parts[2], ' '), NULL)",
    }
    for name, made in (steps | {"field": f"IF(is_plain, array({field}), NULL)"}).items():
        lines = lines.withColumn(name, F.expr(made))
    return lines.drop(*steps)


def extract_fields(text: Column, line_format: Format) -> Column:
    """The FIELDS of a line; null if it is not in this format."""
    found = F.split(F.regexp_replace(text, line_format.pattern, line_format.template), SEPARATOR)
    # In an array, so that Spark makes it once.
    return F.get(
        F.transform(F.array(found), lambda made: F.when(F.size(made) == len(FIELDS), made)), 0
    )


# As SQL from here on: a job builds these at its start, and each function that PySpark names for Spark
# is four messages to the JVM, half a millisecond each.


def _pieces(text: str, pattern: str, groups: Mapping[str, str]) -> str:
    """The TIME_FIELDS of a text that is a time."""
    template = SEPARATOR.join(groups[name] for name in TIME_FIELDS)
    return f"split(regexp_replace({text}, r'{pattern}', '{template}'), '{SEPARATOR}')"


def _let(value: str, name: str, body: str) -> str:
    """`body`, in which `name` is a value that is made once, however often it is named there."""
    return f"transform(array({value}), {name} -> {body})[0]"


def _json_fields() -> str:
    """The FIELDS of `text`, a JSON line; null if it is none, or lacks a time, a host or a status."""
    # `{"a":1}{"a":2}` would be read as its first half.
    whole = "IF(json_array_length(concat('[', text, ']')) = 1, text, NULL)"
    inner = "IF(startswith(outer_.request, '{'), outer_.request, NULL)"
    values = _let(f"named_struct({_json_values()})", "value", _fields_of_json())
    return _let(
        f"from_json({whole}, '{LINE_DDL}')", "outer_",
        _let(f"from_json({inner}, '{REQUEST_DDL}')", "inner_", values),
    )  # fmt: skip


def _json_values() -> str:
    """What JSON_NAMES names, of a line (`outer_`) and the object `request` in it (`inner_`)."""
    value = {
        name: [_present(f"{place}.`{key}`") for key in keys for place in ("outer_", "inner_")]
        for name, keys in JSON_NAMES.items()
    }
    for name, header in JSON_HEADERS.items():
        value[name].append(f"get(inner_.headers.`{header}`, 0)")
    tls = ", ".join(f"'{number}', '{version}'" for number, version in TLS_NUMBERS.items())
    value["tls_version"].append(f"try_element_at(map({tls}), inner_.tls.version)")
    value["mime_type"].append("get(outer_.resp_headers.`Content-Type`, 0)")
    value["request"] = [f"IF(inner_ IS NULL, {_present('outer_.request')}, NULL)", "NULL"]
    return ", ".join(f"'{name}', coalesce({', '.join(found)})" for name, found in value.items())


def _fields_of_json() -> str:
    """The FIELDS of a struct `value` of JSON_NAMES."""
    first, after = FIELDS.index(TIME_FIELDS[0]), FIELDS.index(TIME_FIELDS[-1]) + 1
    shapes = ((TIME, TIME_GROUPS), (ISO_TIME, ISO_GROUPS))
    pieces = " ".join(
        f"WHEN value.time RLIKE r'^{shape}$' THEN {_pieces('value.time', f'^{shape}$', groups)}"
        for shape, groups in shapes
    )
    known = {name: f"value.`{name}`" for name in JSON_NAMES} | {
        "request": "coalesce(value.request, concat_ws(' ', value.method, value.target, value.protocol))",
        "unit": "'1'", "epoch": f"IF(value.time RLIKE r'{EPOCH}', value.time, NULL)",
        "format": "'json'",
    }  # fmt: skip

    def texts(names: list[str]) -> str:
        of_names = (f"coalesce({known[name]}, '')" if name in known else "''" for name in names)
        return f"array({', '.join(of_names)})"

    unknown = f"array_repeat('', {len(TIME_FIELDS)})"
    fields = f"concat({texts(FIELDS[:first])}, CASE {pieces} ELSE {unknown} END, {texts(FIELDS[after:])})"
    needed = " AND ".join(f"value.`{name}` IS NOT NULL" for name in JSON_REQUIRED)
    return f"IF({needed}, {fields}, NULL)"


def _field(name: str) -> str:
    return f"field[{FIELDS.index(name)}]"


def _present(text: str) -> str:
    """Null for what stands for nothing."""
    return f"IF({text} NOT IN ('', '-'), {text}, NULL)"


def _number(text: str, type_: str) -> str:
    """A text as a number; null if it is none.

    What stands for nothing is asked for first: a text that is no number costs Spark's `try_cast` an
    exception with a stack trace, tens of microseconds.
    """
    return f"try_cast({_present(text)} AS {type_})"


def _unescaped(text: str) -> str:
    r"""Undo Apache's `\"` and `\\`. Its `\xhh` stays as it is: those bytes are not for reading.

    What other servers write has no such escapes, or none any more.
    """
    escapes = f"""{_field("format")} IN ('', '"', 'log_format')"""
    return rf"""IF({escapes} AND contains({text}, r'\'),
        regexp_replace({text}, r'\\(["\\])', '$1'), {text})"""


def _without_plus(text: str) -> str:
    """W3C's servers write a plus for a space, unless they quote the text."""
    return f"""IF({_field("format")} = 'w3c' AND NOT contains({text}, ' '),
        translate({text}, '+', ' '), {text})"""


def _seconds_taken() -> str:
    """The sum of `taken` in seconds; null if one of its parts is unknown (a dash, -1)."""
    taken, part = f"nullif({_field('taken')}, '')", _number("part", "decimal(20,9)")
    return rf"""aggregate(
        transform(split({taken}, r'\+'), part -> {part}), CAST(0 AS decimal(20,9)),
        (sum_, one) -> IF(one >= 0, try_cast(sum_ + one AS decimal(20,9)), NULL)
    ) / {_number(_field("unit"), "double")}"""


def _instant() -> str:
    """`pieces`, the TIME_FIELDS and the epoch, as an instant; null for a day that the calendar lacks."""
    piece = {name: f"pieces[{n}]" for n, name in enumerate(TIME_FIELDS)}
    numbers = ", ".join(
        f"'{key}', '{n:02}'" for n, month in enumerate(MONTHS, 1) for key in (month, f"{n:02}")
    )
    month = f"try_element_at(map({numbers}), {piece['month']})"
    date = f"try_cast(concat_ws('-', {piece['year']}, {month}, {piece['day']}) AS date)"
    hour, minute, second, zone_hours, zone_minutes = (
        f"try_cast({piece[name]} AS int)"
        for name in ("hour", "minute", "second", "zone_hours", "zone_minutes")
    )
    ahead = f"IF({piece['sign']} = '-', -1, 1) * ({zone_hours} * 3600 + {zone_minutes} * 60)"
    fraction = f"try_cast(rpad(substring({piece['fraction']}, 1, 6), 6, '0') AS int)"
    return f"""timestamp_micros(coalesce(
        (unix_date({date}) * 86400L + {hour} * 3600 + {minute} * 60 + {second} - {ahead}) * 1000000L
            + IF({piece["fraction"]} != '', {fraction}, 0),
        {_epoch_micros()}
    ))"""


def _epoch_micros() -> str:
    """`epoch` in microseconds, whatever it counts: told by its size."""
    epoch = _number("epoch", "decimal(38,9)")
    return f"""try_cast(CASE
        WHEN {epoch} < 100000000000 THEN {epoch} * 1000000
        WHEN {epoch} < 100000000000000 THEN {epoch} * 1000
        WHEN {epoch} < 100000000000000000 THEN {epoch}
        ELSE {epoch} / 1000 END AS bigint)"""


def _readable(line: Column) -> Column:
    r"""The line's text, cut; bytes that are not UTF-8 as Apache would have written them, `\xhh`."""
    characters = F.split(
        F.substring(F.decode(line.cast("binary"), "ISO-8859-1"), 1, MAX_RAW_CHARACTERS), ""
    )
    escaped = F.array_join(
        F.transform(
            characters,
            lambda c: F.when(F.ascii(c) < 128, c).otherwise(
                F.concat(F.lit("\\x"), F.lower(F.hex(F.ascii(c))))
            ),
        ),
        "",
    )
    short = F.substring(line, 1, MAX_RAW_CHARACTERS)
    return F.when(F.is_valid_utf8(line), short).otherwise(escaped)


def _without_last_newline(text: Column) -> Column:
    return F.when(
        F.endswith(text, F.lit("\n")), F.substring(text, F.lit(1), F.length(text) - 1)
    ).otherwise(text)
