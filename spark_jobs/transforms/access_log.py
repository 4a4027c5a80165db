"""Access-log lines, step by step: pure DataFrame -> DataFrame, the same in batch and in streaming.

Which format a line is in is found out line by line, except for W3C, whose files say it at their head
(`include.log_formats`, docs/formats.md).
Built-in functions only, so that every trigger can run it. Functions that could raise in ANSI mode
have their `try_` form here: one line must never stop a query.
"""

from collections.abc import Callable, Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, HEARTBEAT, MAX_LINE_BYTES, MAX_RAW_CHARACTERS
from include.log_formats import (
    ALB,
    ALB_BEGINS,
    APACHE,
    END,
    EPOCH,
    FIELDS,
    ISO_GROUPS,
    ISO_TIME,
    JSON_HEADERS,
    JSON_NAMES,
    JSON_NEEDS,
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

JSON_KEYS = sorted({key for keys in JSON_NAMES.values() for key in keys})
JSON_DDL = ", ".join(f"`{key}` STRING" for key in JSON_KEYS)
# Caddy's object `request`; of a header there is a list.
REQUEST_DDL = f"{JSON_DDL}, headers STRUCT<" + ", ".join(
    f"`{header}`: ARRAY<STRING>" for header in JSON_HEADERS.values()
) + ">, tls STRUCT<version: STRING>"  # fmt: skip
LINE_DDL = f"{JSON_DDL}, resp_headers STRUCT<`Content-Type`: ARRAY<STRING>>"

# Which rows are lines, in what `arrivals_of` gives and in what is landed; the others are heartbeats.
LINES = ("NOT is_heartbeat", f"NOT (log_format <=> '{HEARTBEAT}')")


def kafka_lines(messages: DataFrame) -> DataFrame:
    """Kafka messages (key, value, topic, partition, offset) -> one row a line.

    Gives `line` (STRING, bytes as sent), `line_id`, `topic`, `partition`, `offset`, `file` (null).
    `line_id` is `<log id>:<byte offset of the line>`: the key is `<log id>:<byte offset of the
    first line>`, and the lines before are counted in bytes, so it does not depend on how many lines
    a message carries. It is null when the key has another form. A heartbeat is no line.
    """
    return _taken_apart(messages).where("NOT is_heartbeat").drop("is_heartbeat")


def _taken_apart(messages: DataFrame, *others: str) -> DataFrame:
    """As `kafka_lines`, with `is_heartbeat` and the columns `others`; a heartbeat has no `line`."""
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
    place = ["topic", "partition", "offset", "is_heartbeat", *others]
    split_messages = messages.withColumn(
        "is_heartbeat", F.coalesce(is_heartbeat, F.lit(False))
    ).select(
        lines.alias("lines"),
        F.when(key.rlike(r"^.+:\d{1,18}$"), F.regexp_extract(key, r"^(.+):", 1)).alias("log_id"),
        F.substring_index(key, ":", -1).try_cast("bigint").alias("first_byte"),
        *place,
    )
    starts = F.aggregate(
        F.slice("lines", 1, F.size("lines") - 1),
        F.array("first_byte"),
        lambda found, line: F.array_append(
            found, F.element_at(found, -1) + F.octet_length(line) + 1
        ),
    )
    return split_messages.select(
        F.explode(F.arrays_zip(F.col("lines").alias("line"), starts.alias("start"))).alias("at"),
        "log_id",
        *place,
    ).select(
        F.col("at.line").alias("line"),
        F.concat("log_id", F.lit(":"), "at.start").alias("line_id"),
        *place,
        F.lit(None).cast("string").alias("file"),
    )


def lines_of(rows: DataFrame, kind: str) -> DataFrame:
    """What a source of this kind gives -> one row a line, the columns of `kafka_lines`.

    Files (text, or the column `value` of the other formats), sockets and rate have no `line_id`.
    """
    if kind == "kafka":
        return kafka_lines(rows)
    value = made_up_line() if kind == "rate" else F.col("value")
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


def arrivals_of(rows: DataFrame, kind: str) -> DataFrame:
    """As `lines_of`, with when each `arrived` and `is_heartbeat`: Kafka's heartbeats have no line.

    Kafka says when a message was sent, so a topic that is landed again gives the same rows; of a
    file it is the time of the batch.
    """
    if kind == "kafka":
        # A message without a time has -1 milliseconds.
        sent = F.when(F.unix_millis("timestamp") >= 0, F.col("timestamp"))
        return _taken_apart(rows.withColumn("arrived", sent), "arrived")
    lines = lines_of(rows, kind).withColumn("arrived", F.current_timestamp())
    return lines.withColumn("is_heartbeat", F.lit(False))


def messages_of(rows: DataFrame, kind: str) -> DataFrame:
    """What a source of this kind gives -> `key` and `value`, as Kafka's; others have no key."""
    if kind == "kafka":
        return rows.select("key", "value")
    value = made_up_line() if kind == "rate" else F.col("value")
    return rows.select(F.lit(None).cast("binary").alias("key"), value.alias("value"))


def made_up_line() -> Column:
    """A line in combined format for a row of Spark's rate source; every tenth is an error."""
    statuses = F.array(*[F.lit(s) for s in (200, 200, 200, 200, 200, 200, 304, 404, 200, 500)])
    n, time = F.col("value"), F.date_format("timestamp", "dd/MMM/yyyy:HH:mm:ss Z")
    return F.format_string(
        '192.0.2.%d - - [%s] "GET /page/%d HTTP/1.1" %d %d "-" "rate"',
        n % 250 + 1, time, n % 20, F.element_at(statuses, (n % 10 + 1).cast("int")), n % 5000,
    )  # fmt: skip


def parse_lines(
    lines: DataFrame, log_format: str = "", w3c: Mapping[str, str] | None = None,
    future_hours: int = 24,
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
        with_text = with_text.transform(_with_field_of, compile_log_format(log_format))
    else:
        with_text = with_text.transform(_with_plain_field)
    with_text = with_text.transform(_with_field_of, APACHE)  # of what was not found yet
    text = F.col("text")
    others = F.when(F.startswith(text, F.lit("{")), _json_fields(text)).when(
        text.rlike(ALB_BEGINS), fields_of(text, ALB)
    )
    found = with_text.withColumn("field", F.coalesce("field", others))
    if not w3c:
        return found
    by_file = reduce(
        lambda chain, each: chain.when(
            F.contains("file", F.lit(f".{each[0]}.")), fields_of(text, compile_w3c(each[1]))
        ),
        w3c.items(), F.when(F.lit(False), F.array().cast("array<string>")),
    )  # fmt: skip
    return found.withColumn(
        "field", F.when(F.col("file").rlike(W3C_FILE), by_file).otherwise(F.col("field"))
    )


def with_timestamp(lines: DataFrame) -> DataFrame:
    """Add `timestamp`; a line that no format fits may still show when it was written."""
    shown = F.regexp_extract("text", rf"\[{TIME}\]", 0)
    pieces = F.when(
        F.col("field").isNotNull(), F.slice("field", FIELDS.index("day") + 1, len(TIME_FIELDS))
    ).when(F.length(shown) > 0, _pieces(shown, rf"\[{TIME}\]", TIME_GROUPS))
    return (
        lines.withColumn("pieces", pieces)
        .withColumn("epoch", _field("epoch"))
        .withColumn("timestamp", _instant())
        .drop("pieces", "epoch")
    )


def with_bad_reason(lines: DataFrame) -> DataFrame:
    """Add `bad_reason`, a key of `include.contracts.BAD_REASONS`; null for a good line."""
    size = _field("content_size")
    looks_right = F.col("text").rlike(r'(?s)^\S+ \S+ .*? \[[^\]]{0,100}\] "')
    return lines.withColumn(
        "bad_reason",
        F.when(F.octet_length("line") > MAX_LINE_BYTES, "too_long")
        .when(~F.col("text").rlike(r"\S"), "empty")
        .when(F.col("timestamp").isNull() & (F.col("field").isNotNull() | looks_right), "bad_time")
        .when(F.col("field").isNull(), "no_match")
        .when(_present(size).isNotNull() & _number(size, "bigint").isNull(), "bad_size"),
    ).withColumn("field", F.when(F.col("bad_reason").isNull(), F.col("field")))


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
    request, words, target = F.col("request"), F.col("words"), F.col("target")
    first, has_method = F.get(words, 0), F.col("has_method")
    last = F.when(F.size(words) == 3, F.get(words, 2)).otherwise(
        F.substring_index(request, " ", -1)
    )
    before = F.length(first) + 1
    after = F.when(F.col("has_protocol"), F.length("last") + 1).otherwise(0)
    between = F.substring(request, before + 1, F.length(request) - before - after)
    question = F.contains(target, F.lit("?"))
    # A step each: what is named twice in one step, Spark may make twice.
    return (
        lines.withColumn(
            "request",
            F.when(_field("format") == PLAIN, _field("request"))
            .when(_field("format") == "w3c", F.trim(_field("request")))
            .otherwise(_unescaped(_field("request"))),
        )
        .withColumn("words", F.split(request, " ", 4))  # a hostile one may have a million
        .withColumn("last", last)
        .withColumn(
            "has_method",
            (F.size(words) > 1) & first.rlike("^[A-Za-z][A-Za-z_-]{0,31}$"),
        )
        .withColumn("has_protocol", has_method & F.startswith("last", F.lit("HTTP/")))
        .withColumn(
            "target",
            F.when(F.col("has_protocol") & (F.size(words) == 3), F.get(words, 1))
            .when(has_method, between)
            .otherwise(request),
        )
        .withColumn("path", F.when(question, F.substring_index(target, "?", 1)).otherwise(target))
        .select(
            *lines.columns,
            F.when(has_method, first).alias("method"),
            _present(F.col("path")).alias("endpoint"),
            F.when(question, F.substring(target, F.length("path") + 2, F.length(target)))
            .otherwise(_present(_field("query"))).alias("query"),
            F.when(F.col("has_protocol"), F.col("last")).alias("protocol"),
        )
    )  # fmt: skip


def select_parsed(lines: DataFrame) -> DataFrame:
    """The parsed columns, in the order of the contract, after what the line came with."""
    added = {"line", "text", "field", "timestamp", "bad_reason", "method", "endpoint", "query",
             "protocol"}  # fmt: skip
    vhost, name = _present(_field("vhost")), _field("format")
    return lines.select(
        *[name for name in lines.columns if name not in added],
        F.when(_field("host") != "", _field("host")).alias("host"),
        _unescaped(_present(_field("user"))).alias("user"),
        "timestamp", "method", "endpoint", "query", "protocol",
        _number(_field("status"), "int").alias("status"),
        _number(_field("content_size"), "bigint").alias("content_size"),
        _without_plus(_unescaped(_present(_field("referrer")))).alias("referrer"),
        _without_plus(_unescaped(_present(_field("user_agent")))).alias("user_agent"),
        vhost.alias("vhost"),
        _seconds_taken().alias("seconds_taken"),
        F.when(name == PLAIN, "combined")
        .when(
            name.isin("", '"'),
            F.concat(
                F.when(vhost.isNotNull(), "vhost_").otherwise(""),
                F.when(name == "", "common").otherwise("combined"),
            ),
        ).otherwise(name).alias("log_format"),
        "bad_reason",
        F.when(F.col("bad_reason").isNotNull(), _readable(F.col("line"))).alias("raw"),
        _present(_field("cache_status")).alias("cache_status"),
        # Without the character set: `text/html; charset=utf-8`.
        _present(F.lower(F.trim(F.substring_index(_field("mime_type"), ";", 1)))).alias("mime_type"),
        _present(_field("tls_version")).alias("tls_version"),
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


def only_server_errors(messages: DataFrame) -> DataFrame:
    """Messages (key, value, …) -> key, value: of each message its lines with a status 5xx.

    Within the message, because the continuous trigger knows no explode. A message without such a
    line goes; of one with them the key stays, which is the place of its first line.
    """
    apache = rf'\S+ \S+ .*? \[{TIME}\] "{REQUEST}" 5\d\d (?:\d+|-)(?:\s|$)'
    alb = rf"{ALB_BEGINS.removeprefix('^')}(?:\S++ ){{7}}5\d\d "
    lines = F.split(F.col("value").cast("string"), "\n")
    errors = F.filter(
        lines,
        lambda line: F.when(
            F.startswith(line, F.lit("{")), F.get_json_object(line, "$.status").rlike(r"^5\d\d$")
        ).otherwise(F.rlike(line, F.lit(rf"(?s)^(?:{apache}|{alb})"))),
    )
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


def landed_lines(
    lines: DataFrame, time_zone: str, log_format: str = "", w3c: Mapping[str, str] | None = None,
    future_hours: int = 24, keep: tuple[str, ...] = (),
) -> DataFrame:  # fmt: skip
    """Lines -> what is landed: the columns of `include.contracts.ACCESS_LOG_DDL`, in its order.

    Columns to `keep` come before them.
    """
    parsed = parse_lines(lines, log_format, w3c, future_hours)
    if "is_heartbeat" in parsed.columns:
        parsed = with_heartbeat(parsed)
    parsed = parsed.transform(with_event_date, time_zone)
    return parsed.select(*keep, *[column.split()[0] for column in ACCESS_LOG_DDL.split(",")])


def _with_field_of(lines: DataFrame, one: Format) -> DataFrame:
    """Add `field`, the FIELDS of the lines that fit; keep it where it is there already."""
    found = F.split(F.regexp_replace("text", one.pattern, one.template), SEPARATOR)
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

    APACHE finds the same in them, five times as slowly. Six quotes, none of them escaped, no user
    with a space, nothing behind the user agent.
    """
    parts, head, tail = F.col("parts"), F.col("head"), F.col("tail")
    time, zone = F.get(head, 3), F.get(head, 4)
    known = {
        "host": F.get(head, 0), "user": F.get(head, 2),
        "day": F.substring(time, 2, 2), "month": F.substring(time, 5, 3),
        "year": F.substring(time, 9, 4), "hour": F.substring(time, 14, 2),
        "minute": F.substring(time, 17, 2), "second": F.substring(time, 20, 2),
        "sign": F.substring(zone, 1, 1), "zone_hours": F.substring(zone, 2, 2),
        "zone_minutes": F.substring(zone, 4, 2),
        "request": F.get(parts, 1), "status": F.get(tail, 1), "content_size": F.get(tail, 2),
        "referrer": F.get(parts, 3), "user_agent": F.get(parts, 5), "format": F.lit(PLAIN),
    }  # fmt: skip
    is_plain = (
        (F.size(parts) == 7) & (F.get(parts, 4) == " ") & (F.get(parts, 6) == "")
        & ~F.contains("text", F.lit("\\"))
        & F.get(parts, 2).rlike(PLAIN_TAIL) & F.get(parts, 0).rlike(PLAIN_HEAD)
    )  # fmt: skip
    field = F.array(*[known.get(name, F.lit("")) for name in FIELDS])
    return (
        lines.withColumn("parts", F.split("text", '"', 8))
        .withColumn("is_plain", is_plain)
        .withColumn("head", F.when(F.col("is_plain"), F.split(F.get(parts, 0), " ")))
        .withColumn("tail", F.when(F.col("is_plain"), F.split(F.get(parts, 2), " ")))
        .withColumn("field", F.when(F.col("is_plain"), field))
        .drop("parts", "is_plain", "head", "tail")
    )


def fields_of(text: Column, one: Format) -> Column:
    """The FIELDS of a line; null if it is not in this format."""
    return _let(
        F.split(F.regexp_replace(text, one.pattern, one.template), SEPARATOR),
        lambda found: F.when(F.size(found) == len(FIELDS), found),
    )


def _pieces(text: Column, pattern: str, groups: Mapping[str, str]) -> Column:
    """The TIME_FIELDS of a text that is a time."""
    template = SEPARATOR.join(groups[name] for name in TIME_FIELDS)
    return F.split(F.regexp_replace(text, pattern, template), SEPARATOR)


def _let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body` of a value that is made once, however often it is named there."""
    return F.get(F.transform(F.array(value), body), 0)


def _json_fields(text: Column) -> Column:
    """The FIELDS of a JSON line; null if it is none, or lacks a time, a host or a status."""
    # `{"a":1}{"a":2}` would be read as its first half.
    whole = F.when(F.json_array_length(F.concat(F.lit("["), text, F.lit("]"))) == 1, text)
    return _let(
        F.from_json(whole, LINE_DDL),
        lambda line: _let(
            F.from_json(
                F.when(F.startswith(line["request"], F.lit("{")), line["request"]), REQUEST_DDL
            ),
            lambda inner: _let(_json_values(line, inner), _fields_of_json),
        ),
    )


def _json_values(line: Column, inner: Column) -> Column:
    """What JSON_NAMES names, of a line and the object `request` in it."""
    value = {
        name: F.coalesce(*[_present(place[key]) for key in keys for place in (line, inner)])
        for name, keys in JSON_NAMES.items()
    }
    for name, header in JSON_HEADERS.items():
        value[name] = F.coalesce(value[name], F.get(inner["headers"][header], 0))
    tls = F.create_map(*[F.lit(text) for pair in TLS_NUMBERS.items() for text in pair])
    value["tls_version"] = F.coalesce(value["tls_version"], tls[inner["tls"]["version"]])
    value["mime_type"] = F.coalesce(
        value["mime_type"], F.get(line["resp_headers"]["Content-Type"], 0)
    )
    value["request"] = F.when(inner.isNull(), _present(line["request"]))
    return F.struct(*[value[name].alias(name) for name in value])


def _fields_of_json(value: Column) -> Column:
    time = value["time"]
    pieces = (
        F.when(time.rlike(f"^{TIME}$"), _pieces(time, f"^{TIME}$", TIME_GROUPS))
        .when(time.rlike(f"^{ISO_TIME}$"), _pieces(time, f"^{ISO_TIME}$", ISO_GROUPS))
        .otherwise(F.array(*[F.lit("")] * len(TIME_FIELDS)))
    )
    known = {name: value[name] for name in JSON_NAMES} | {
        "request": F.coalesce(
            value["request"],
            F.concat_ws(" ", value["method"], value["target"], value["protocol"]),
        ),
        "unit": F.lit("1"), "epoch": F.when(time.rlike(EPOCH), time), "format": F.lit("json"),
    }  # fmt: skip

    def texts(names: list[str]) -> Column:
        return F.array(*[F.coalesce(known[name], F.lit("")) for name in names])

    first, after = FIELDS.index(TIME_FIELDS[0]), FIELDS.index(TIME_FIELDS[-1]) + 1
    fields = F.concat(texts(FIELDS[:first]), pieces, texts(FIELDS[after:]))
    return F.when(
        reduce(lambda one, other: one & other, [value[name].isNotNull() for name in JSON_NEEDS]),
        fields,
    )


def _field(name: str) -> Column:
    return F.col("field")[FIELDS.index(name)]


def _present(text: Column) -> Column:
    """Null for what stands for nothing."""
    return F.when(~text.isin("", "-"), text)


def _number(text: Column, type_: str) -> Column:
    """A text as a number; null if it is none.

    What stands for nothing is asked for first: a text that is no number costs Spark's `try_cast` an
    exception with a stack trace, tens of microseconds.
    """
    return _present(text).try_cast(type_)


def _unescaped(text: Column) -> Column:
    r"""Undo Apache's `\"` and `\\`. Its `\xhh` stays as it is: those bytes are not for reading.

    What other servers write has no such escapes, or none any more.
    """
    return F.when(
        _field("format").isin("", '"', "log_format") & F.contains(text, F.lit("\\")),
        F.regexp_replace(text, r'\\(["\\])', "$1"),
    ).otherwise(text)


def _without_plus(text: Column) -> Column:
    """W3C's servers write a plus for a space, unless they quote the text."""
    return F.when(
        (_field("format") == "w3c") & ~F.contains(text, F.lit(" ")), F.translate(text, "+", " ")
    ).otherwise(text)


def _seconds_taken() -> Column:
    """The sum of `taken` in seconds; null if one of its parts is unknown (a dash, -1)."""
    taken = F.when(_field("taken") != "", _field("taken"))
    parts = F.transform(F.split(taken, r"\+"), lambda text: _number(text, "decimal(20,9)"))
    total = F.aggregate(
        parts, F.lit(0).cast("decimal(20,9)"),
        lambda sum_, part: F.when(part >= 0, (sum_ + part).try_cast("decimal(20,9)")),
    )  # fmt: skip
    return total.cast("double") / _number(_field("unit"), "double")


def _instant() -> Column:
    """`pieces`, the TIME_FIELDS and the epoch, as an instant; null for a day that the calendar lacks."""
    piece = {name: F.col("pieces")[n] for n, name in enumerate(TIME_FIELDS)}
    numbers = F.create_map(
        *[F.lit(text) for n, m in enumerate(MONTHS, 1) for key in (m, f"{n:02}")
          for text in (key, f"{n:02}")]
    )  # fmt: skip
    month = F.try_element_at(numbers, piece["month"])
    date = F.concat_ws("-", piece["year"], month, piece["day"]).try_cast("date")
    seconds = F.unix_date(date).cast("bigint") * 86400
    for sign, name, unit in (
        (1, "hour", 3600), (1, "minute", 60), (1, "second", 1),
        (-1, "zone_hours", 3600), (-1, "zone_minutes", 60),
    ):  # fmt: skip
        part = piece[name].try_cast("int") * unit
        seconds += part if sign > 0 else F.when(piece["sign"] == "-", part).otherwise(-part)
    fraction = F.rpad(F.substring(piece["fraction"], 1, 6), 6, "0")
    micros = seconds * 1_000_000 + F.when(
        piece["fraction"] != "", fraction.try_cast("int")
    ).otherwise(0)
    return F.timestamp_micros(F.coalesce(micros, _epoch_micros()))


def _epoch_micros() -> Column:
    """`epoch` in microseconds, whatever it counts: told by its size."""
    epoch = _number(F.col("epoch"), "decimal(38,9)")
    micros = (
        F.when(epoch < 10**11, epoch * 10**6)
        .when(epoch < 10**14, epoch * 10**3)
        .when(epoch < 10**17, epoch)
        .otherwise(epoch / 10**3)
    )
    return micros.try_cast("bigint")


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
