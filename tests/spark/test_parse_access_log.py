"""The parser, tested on lines as servers write them and against another parser."""

import random
import re
import time
from datetime import UTC, date, datetime
from itertools import chain, product

import pytest
from apachelogs import COMBINED, COMMON, InvalidEntryError, LogParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, BAD_REASONS, MAX_LINE_BYTES, MAX_RAW_CHARACTERS
from producers.access_log.log_file import Line
from producers.access_log.produce import build_message
from spark_jobs.transforms.access_log import (
    count_by_status,
    explode_kafka_lines,
    explode_lines,
    filter_unsuccessful,
    lines_with_arrival,
    only_server_errors,
    parse_lines,
    select_landed_lines,
    select_messages,
)
from spark_jobs.transforms.word_count import count_words, split_words
from tests.builders import build_common_line, build_line


@pytest.fixture
def parse(spark):
    def parse_to_dicts(*lines):
        """Parse lines; return one dict per line, in order, without nulls."""
        raw = [
            (n, line.encode() if isinstance(line, str) else line) for n, line in enumerate(lines)
        ]
        frame = spark.createDataFrame(raw, "n INT, bytes BINARY")
        texts = frame.select("n", F.col("bytes").cast("string").alias("line"))
        rows = parse_lines(texts).withColumn("seconds", F.unix_timestamp("timestamp")).orderBy("n")
        return [
            {k: v for k, v in row.asDict().items() if v is not None}
            for row in rows.drop("n").collect()
        ]

    return parse_to_dicts


def test_the_fast_path_for_plain_lines_gives_the_same_rows_as_the_pattern(spark):
    """Randomly changed lines, parsed both ways. A custom log format disables the fast path."""
    rng = random.Random(8)
    pieces = ['"', "\\", '\\"', " ", "  ", "-", '""', '" "', "[", "]", "\t", "?", "é", "\r", "a:80 ",
              " - ", "HTTP/1.1", "\x01", "\u2028", '" 200 5 "', "17/May/2015", "0000", "404"]  # fmt: skip
    lines = []
    for _ in range(4000):
        line = build_line(user=rng.choice(["-", "frank"]), size=rng.choice(["-", "0", "512"]))
        for _ in range(rng.randrange(3)):
            position = rng.randrange(len(line) + 1)
            line = line[:position] + rng.choice(pieces) + line[position + rng.randrange(3) :]
        lines.append((line,))
    texts = spark.createDataFrame(lines, "line STRING")
    fast, slow = (
        parse_lines(texts, log_format).collect() for log_format in ("", "%a never %u %t %>s")
    )
    assert fast == slow
    assert sum(row.bad_reason is None for row in fast) > 1500


def test_a_combined_line_gives_every_field(parse):
    (row,) = parse(
        build_line(
            user="frank", time="10/Oct/2000:13:55:36 -0700", request="GET /a.gif?x=1&y=2 HTTP/1.0",
            size="2326", referrer="http://example.com/start", user_agent="Mozilla/4.08 [en]",
        )
    )  # fmt: skip
    assert row.pop("timestamp") is not None
    assert row == {
        "host": "192.0.2.7", "user": "frank", "method": "GET", "endpoint": "/a.gif",
        "query": "x=1&y=2", "protocol": "HTTP/1.0", "status": 200, "content_size": 2326,
        "referrer": "http://example.com/start", "user_agent": "Mozilla/4.08 [en]",
        "log_format": "combined",
        "seconds": int(datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC).timestamp()),
    }  # fmt: skip


def test_common_and_combined_lines_can_be_mixed(parse):
    common, combined = parse(build_common_line(), build_line())
    assert (common["log_format"], combined["log_format"]) == ("common", "combined")
    assert "user_agent" not in common


def test_times_with_any_zone_offset_are_converted_to_utc(parse):
    utc_by_offset = {"+0000": "10:05:03", "-0400": "14:05:03", "+0530": "04:35:03", "-0330": "13:35:03",
                     "+1400": "20:05:03", "-1200": "22:05:03", "+0545": "04:20:03"}  # fmt: skip
    rows = parse(*[build_line(time=f"17/May/2015:10:05:03 {offset}") for offset in utc_by_offset])
    instants = [datetime.fromtimestamp(row["seconds"], UTC) for row in rows]
    assert [f"{instant:%H:%M:%S}" for instant in instants] == list(utc_by_offset.values())


ODD_GOOD_LINES = {
    "size is a dash": (build_line(size="-"), {"status": 200}),
    "status is a dash": (build_line(status="-", size="-"), {"method": "GET"}),
    "IPv6": (build_line(host="2001:db8::1"), {"host": "2001:db8::1"}),
    "IPv4 in IPv6": (build_line(host="::ffff:192.0.2.1"), {"host": "::ffff:192.0.2.1"}),
    "IPv6 with a zone": (build_line(host="fe80::1%eth0"), {"host": "fe80::1%eth0"}),
    "host name": (build_line(host="in24.inetnebr.com"), {"host": "in24.inetnebr.com"}),
    "virtual host": ("www.example.org:443 " + build_line(user="John F. Doe"),
                     {"vhost": "www.example.org:443", "host": "192.0.2.7", "user": "John F. Doe",
                      "log_format": "vhost_combined"}),
    "virtual host, common": ("a:80 " + build_common_line(host="2001:db8::1"),
                             {"vhost": "a:80", "host": "2001:db8::1", "log_format": "vhost_common"}),
    "virtual host of IPv6": ("[2001:db8::2]:8080 " + build_line(),
                             {"vhost": "[2001:db8::2]:8080", "host": "192.0.2.7"}),
    "host with a port": (build_line(host="192.0.2.7:51234", user="John Doe"),
                         {"host": "192.0.2.7:51234", "user": "John Doe", "log_format": "combined"}),
    "IPv6 and a user with spaces": (build_line(host="2001:db8::1:80", user="John Doe"),
                                    {"host": "2001:db8::1:80", "log_format": "combined"}),
    "user with spaces": (build_line(user="John F. Doe"), {"user": "John F. Doe"}),
    "user with a quote": (build_line(user='a\\"b'), {"user": 'a"b'}),
    "escaped quotes": (build_line(user_agent='x \\"y\\" z'), {"user_agent": 'x "y" z'}),
    "escaped backslash at the end": (build_line(user_agent="x\\\\"), {"user_agent": "x\\"}),
    "quotes not escaped": (
        build_line(request='GET /a"b" HTTP/1.1', referrer='http://x/"y"', user_agent='c"d'),
        {"endpoint": '/a"b"', "referrer": 'http://x/"y"', "user_agent": 'c"d'},
    ),
    "last quote missing": (build_line(user_agent="Mozilla").removesuffix('"'), {"user_agent": "Mozilla"}),
    "ends in the referrer": (
        build_line().partition(' "-"')[0] + ' "http://exa', {"referrer": "http://exa"}
    ),
    "empty request": (build_line(request="", status="408", size="0"), {"status": 408}),
    "dash for a request": (build_line(request="-", status="408"), {"status": 408}),
    "TLS handshake": (
        build_line(request="\\x16\\x03\\x01", status="400"), {"endpoint": "\\x16\\x03\\x01"}
    ),
    "RDP cookie": (
        build_line(request="\\x03\\x00Cookie: mstshash=x", status="400"),
        {"endpoint": "\\x03\\x00Cookie: mstshash=x"},
    ),
    "HTTP/0.9": (build_line(request="GET /"), {"method": "GET", "endpoint": "/"}),
    "HTTP/2": (build_line(request="GET / HTTP/2.0"), {"protocol": "HTTP/2.0"}),
    "HTTP/3": (build_line(request="GET / HTTP/3"), {"protocol": "HTTP/3"}),
    "full URL": (
        build_line(request="GET http://example.com/a?b HTTP/1.1"),
        {"endpoint": "http://example.com/a", "query": "b"},
    ),
    "CONNECT": (build_line(request="CONNECT a.example:443 HTTP/1.1"), {"endpoint": "a.example:443"}),
    "asterisk": (build_line(request="OPTIONS * HTTP/1.0"), {"method": "OPTIONS", "endpoint": "*"}),
    "spaces in the path": (build_line(request="GET /a b c HTTP/1.1"), {"endpoint": "/a b c"}),
    "lower-case method": (build_line(request="get / HTTP/1.1"), {"method": "get"}),
    "unknown method": (build_line(request="BREW /pot HTTP/1.1"), {"method": "BREW"}),
    "unknown status": (build_line(status="999"), {"status": 999}),
    "leap second": (build_line(time="31/Dec/2016:23:59:60 +0000"), {"seconds": 1483228800}),
    "leap day": (build_line(time="29/Feb/2024:00:00:00 +0000"), {"seconds": 1709164800}),
    "more fields behind": (build_line() + ' 0.123 "203.0.113.9, 198.51.100.1"', {"status": 200}),
    "carriage return at the end": (build_line(user_agent="x") + "\r", {"user_agent": "x"}),
    "carriage return inside": (build_line(user_agent="x\ry"), {"user_agent": "x\ry"}),
    "NUL": (build_line(request="GET /\0 HTTP/1.1"), {"endpoint": "/\0"}),
    "our own separator": (build_line(user_agent="a\x01b"), {"user_agent": "a\ufffdb"}),
    "not UTF-8": (build_line().encode().replace(b"/a", b"/\xff\xfe"), {"endpoint": "/\ufffd\ufffd"}),
    "emoji": (build_line(user_agent="🌊"), {"user_agent": "🌊"}),
    "overlong and double encoded": (build_line(request="GET /%c0%ae/%252e HTTP/1.1"),
                                    {"endpoint": "/%c0%ae/%252e"}),
    "question mark at the end": (build_line(request="GET /a? HTTP/1.1"), {"endpoint": "/a", "query": ""}),
    "size of 2**63-1": (build_line(size=str(2**63 - 1)), {"content_size": 2**63 - 1}),
}  # fmt: skip


def test_odd_but_readable_lines_are_good_and_missing_fields_are_null(parse):
    rows = parse(*[line for line, _ in ODD_GOOD_LINES.values()])
    wrong = {}
    for (name, (_, expected)), row in zip(ODD_GOOD_LINES.items(), rows, strict=True):
        if "bad_reason" in row or not expected.items() <= row.items():
            wrong[name] = row
    assert wrong == {}
    rows_by_name = dict(zip(ODD_GOOD_LINES, rows, strict=True))
    assert "content_size" not in rows_by_name["size is a dash"]
    assert "status" not in rows_by_name["status is a dash"]
    assert not {"method", "endpoint", "protocol"} & set(rows_by_name["empty request"])
    assert not {"method", "protocol"} & set(rows_by_name["TLS handshake"])
    assert "protocol" not in rows_by_name["HTTP/0.9"]
    assert "user_agent" not in rows_by_name["ends in the referrer"]


BAD_LINES = {
    "": "empty",
    " \t ": "empty",
    "\r": "empty",
    "GET / HTTP/1.1": "no_match",
    "a\x01b\x00c": "no_match",
    build_line().partition('" 200')[0]: "no_match",
    build_line(status="2000"): "no_match",
    build_line(time="yesterday"): "bad_time",
    build_line(time="30/Feb/2015:10:05:03 +0000"): "bad_time",
    build_line(time="17/Mai/2015:10:05:03 +0000"): "bad_time",
    build_line(time="17/May/2015:25:05:03 +0000"): "bad_time",
    build_line(time="17/May/2015:10:05:03"): "bad_time",
    build_line(time="17/May/0000:10:05:03 +0000"): "bad_time",
    build_line(time="17/May/9999:10:05:03 +0000"): "bad_time",
    build_line(size="9" * 25): "bad_size",
    "x" * (MAX_LINE_BYTES + 1): "too_long",
    build_line(user_agent="x" * MAX_LINE_BYTES): "too_long",
    "{'json': 1}": "no_match",
}


def test_a_bad_line_has_a_reason_and_keeps_its_text(parse):
    rows = parse(*BAD_LINES)
    assert [row["bad_reason"] for row in rows] == list(BAD_LINES.values())
    # far_future needs an arrival time.
    assert set(BAD_LINES.values()) == set(BAD_REASONS) - {"far_future"}
    for line, row in zip(BAD_LINES, rows, strict=True):
        assert row["raw"] == line[:MAX_RAW_CHARACTERS]
        assert set(row) <= {"bad_reason", "raw", "timestamp", "seconds"}


def test_a_bad_line_with_a_readable_time_belongs_to_that_day(spark):
    line = 'who knows [17/May/2015:23:30:00 +0000] "half a li'
    lines = spark.createDataFrame([(line,)], "line STRING")
    lines = lines.selectExpr("line", "null line_id", "null topic", "null partition", "null offset",
                             "null file")  # fmt: skip
    (row,) = select_landed_lines(lines, "Europe/Paris").collect()
    assert (str(row.event_date), row.bad_reason) == ("2015-05-18", "no_match")


def test_a_bad_line_that_is_not_utf8_is_escaped_like_apache_does(parse):
    (row,) = parse(b"junk \xff\xc3\xa4\xfe end")
    assert row["raw"] == "junk \\xff\\xc3\\xa4\\xfe end"


def test_a_request_cannot_forge_the_status_or_the_user_agent(parse):
    forged = 'GET /x\\" 200 99 \\"-\\" \\"ua HTTP/1.1'
    (row,) = parse(build_line(request=forged, status="404", user_agent="curl"))
    assert (row["status"], row["user_agent"]) == (404, "curl")
    assert row["endpoint"] == '/x" 200 99 "-" "ua'


@pytest.mark.matrix
def test_lines_of_a_megabyte_are_parsed_in_linear_time(parse):
    pieces = ['\\"', '"', "a", "\\\\", '" ', " ", "[", " [", "\\x00", "\r", "]", '] "', "- "]
    lines = []
    for piece in pieces:
        text = piece * (900_000 // len(piece))
        lines += [build_line(request=f"GET /{text} HTTP/1.1"), build_line(user_agent=text),
                  build_line(referrer=text), build_line(user=text), text, f"a b {text}x"]  # fmt: skip
    started = time.monotonic()
    rows = parse(*lines, build_line())
    assert len(rows) == len(lines) + 1
    assert rows[-1]["status"] == 200
    # 70 MB take a few seconds. A pattern that is quadratic on one line takes hours.
    assert time.monotonic() - started < 120


def test_messages_of_one_or_many_lines_give_the_same_line_ids(spark):
    text = b"a\nbb\xff\n\xc3\xa4\xc3\xa4cc\n\nd"
    ddl = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT"
    whole = [(b"log:100", text, "t", 0, 0)]
    single, start = [], 100
    for n, line in enumerate(text.split(b"\n")):
        single.append((f"log:{start}".encode(), line, "t", 0, n))
        start += len(line) + 1

    def read_ids(messages):
        rows = explode_kafka_lines(spark.createDataFrame(messages, ddl))
        return [
            tuple(r) for r in rows.select("line_id", F.hex("line")).orderBy("line_id").collect()
        ]

    assert read_ids(whole) == read_ids(single)
    assert [row[0] for row in read_ids(whole)] == [
        "log:100",
        "log:102",
        "log:106",
        "log:113",
        "log:114",
    ]


def test_every_line_of_a_message_is_restored_even_an_empty_one(spark):
    messages, expected = [], []
    for texts in chain.from_iterable(
        product([b"", b"a", b"\xff\r"], repeat=n) for n in (1, 2, 3, 4)
    ):
        start, lines = 0, []
        for text in texts:
            lines.append(Line(start, text, len(text) + 1))
            start += lines[-1].size
        log_id = f"log{len(messages)}"
        messages.append((*build_message(log_id, lines)[:2], "t", 0, len(messages)))
        expected += [(f"{log_id}:{line.start}", line.text) for line in lines]
    assert len(messages) == 3 + 9 + 27 + 81
    ddl = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT"
    rows = explode_kafka_lines(spark.createDataFrame(messages, ddl)).select(
        "line_id", F.col("line").cast("binary").alias("line")
    )
    assert sorted((row.line_id, bytes(row.line)) for row in rows.collect()) == sorted(expected)


def test_messages_of_any_producer_are_split_into_lines(spark):
    messages = [(None, b"no key", "t", 0, 0), (b"web1", b"constant key", "t", 0, 1),
                (b"a:b:7", b"x\n", "t", 1, 2), (None, None, "t", 1, 3), (b"k:9", b"", "t", 1, 4),
                (b"\xff:1", b"one\r\ntwo\r\n", "t", 1, 5)]  # fmt: skip
    ddl = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT"
    rows = (
        explode_kafka_lines(spark.createDataFrame(messages, ddl))
        .orderBy("offset", "line_id")
        .collect()
    )
    assert [(row.offset, row.line_id, row.line) for row in rows] == [
        (0, None, "no key"), (1, None, "constant key"), (2, "a:b:7", "x"), (3, None, ""),
        (4, "k:9", ""), (5, "\ufffd:1", "one\r"), (5, "\ufffd:6", "two\r"),
    ]  # fmt: skip


ARRIVED_AT = datetime(2015, 5, 17, 12, 0, 0, tzinfo=UTC)
MESSAGE_DDL = (
    "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"
)


def test_no_job_takes_a_heartbeat_for_a_line(spark):
    beat = (b"log:heartbeat", None, "t", 0, 1, ARRIVED_AT)
    # A heartbeat's key with a value, and another key without a value, are ordinary messages.
    others = [
        (b"log:heartbeat", b"a", "t", 0, 2, ARRIVED_AT),
        (b"log:7", None, "t", 0, 3, ARRIVED_AT),
    ]
    messages = spark.createDataFrame([beat, *others], MESSAGE_DDL)
    assert sorted(row.offset for row in explode_kafka_lines(messages).collect()) == [2, 3]
    assert only_server_errors(select_messages(messages, "kafka")).collect() == []
    word_counts = count_words(split_words(messages.select(F.col("value").cast("string"))))
    assert [row.word for row in word_counts.collect()] == ["a"]


def test_a_heartbeat_is_landed_with_only_its_time_and_position(spark):
    beat = (b"log:heartbeat", None, "t", 1, 5, ARRIVED_AT)
    rows = lines_with_arrival(spark.createDataFrame([beat], MESSAGE_DDL), "kafka")
    (row,) = select_landed_lines(rows, "Asia/Tokyo").collect()
    fields = {name: value for name, value in row.asDict().items() if value is not None}
    assert fields.pop("timestamp").astimezone(UTC) == ARRIVED_AT
    assert fields == {"log_format": "heartbeat", "topic": "t", "partition": 1, "offset": 5,
                      "event_date": date(2015, 5, 17)}  # fmt: skip


def test_a_line_dated_far_after_its_arrival_is_bad_and_undated(spark):
    times = [
        "18/May/2015:11:59:59 +0000",
        "18/May/2015:12:00:01 +0000",
        "01/Jan/2099:00:00:00 +0000",
    ]
    lines = [build_line(time=time) for time in times] + ["junk [01/Jan/2099:00:00:00 +0000]"]
    messages = [(f"log:{n}".encode(), line.encode(), "t", 0, n, ARRIVED_AT)
                for n, line in enumerate(lines)]  # fmt: skip
    rows = lines_with_arrival(spark.createDataFrame(messages, MESSAGE_DDL), "kafka")
    landed = select_landed_lines(rows, "UTC").orderBy("offset").collect()
    assert [row.bad_reason for row in landed] == [None, "far_future", "far_future", "no_match"]
    assert [str(row.event_date) for row in landed] == ["2015-05-18", "None", "None", "None"]
    assert [row.raw for row in landed] == [None, *lines[1:]], "nothing of it is lost"
    assert [row.host for row in landed] == ["192.0.2.7", None, None, None]
    with_later_limit = select_landed_lines(rows, "UTC", future_hours=48).orderBy("offset").collect()
    assert [row.bad_reason for row in with_later_limit] == [None, None, "far_future", "no_match"]
    without_arrival = rows.withColumn("arrived", F.lit(None).cast("timestamp"))
    assert (
        select_landed_lines(without_arrival, "UTC").where("bad_reason = 'far_future'").count() == 0
    )


def test_landed_rows_have_the_columns_and_types_of_the_contract(spark, tmp_path):
    (tmp_path / "a.log").write_text(build_line() + "\n")
    landed = select_landed_lines(explode_lines(spark.read.text(str(tmp_path)), "text"), "UTC")
    contract = spark.createDataFrame([], ACCESS_LOG_DDL).schema
    assert [(f.name, f.dataType) for f in landed.schema] == [(f.name, f.dataType) for f in contract]
    assert landed.first().file.endswith("a.log")


def test_a_day_begins_at_midnight_in_the_time_zone_of_the_report(spark, tmp_path):
    (tmp_path / "a.log").write_text(build_line(time="17/May/2015:23:30:00 +0000") + "\n")
    lines = explode_lines(spark.read.text(str(tmp_path)), "text")
    days = [str(select_landed_lines(lines, zone).first().event_date)
            for zone in ("UTC", "Europe/Paris", "America/New_York")]  # fmt: skip
    assert days == ["2015-05-17", "2015-05-18", "2015-05-17"]


def test_unsuccessful_requests_are_filtered_and_statuses_counted(spark):
    requests = spark.createDataFrame([(200,), (200,), (404,), (None,), (206,)], "status INT")
    assert sorted(str(r.status) for r in filter_unsuccessful(requests).collect()) == [
        "206", "404", "None",
    ]  # fmt: skip
    counts = {row.status: row["count"] for row in count_by_status(requests).collect()}
    assert counts == {200: 2, 404: 1, 206: 1, None: 1}


@pytest.mark.parametrize(
    ("name", "formats"), [("apache_combined", COMBINED), ("nasa_common", COMMON)]
)
def test_real_logs_give_the_same_fields_as_apachelogs(spark, shared, name, formats):
    path, parser = shared / "data" / f"{name}.log", LogParser(formats)
    lines = explode_lines(spark.read.option("lineSep", "\n").text(str(path)), "text").withColumn(
        "n", F.monotonically_increasing_id()
    )
    rows = parse_lines(lines).withColumn("at", F.unix_timestamp("timestamp")).orderBy("n").collect()
    texts = path.read_text().splitlines()
    assert len(rows) == len(texts)
    unread = 0
    for row, text in zip(rows, texts, strict=True):
        try:
            entry = parser.parse(text)
        except InvalidEntryError:
            unread += 1
            continue
        assert get_tidemark_fields(row) == get_apachelogs_fields(entry), text
    assert unread == {"apache_combined": 1, "nasa_common": 0}[name]


def get_tidemark_fields(row):
    target = row.endpoint if row.query is None else f"{row.endpoint}?{row.query}"
    request = " ".join(part for part in (row.method, target, row.protocol) if part)
    return (row.host, row.user, row["at"], request, row.status, row.content_size,
            decode_escaped_bytes(row.referrer), decode_escaped_bytes(row.user_agent))  # fmt: skip


def decode_escaped_bytes(text):
    r"""Decode Apache's `\xhh`, which apachelogs decodes and Tidemark leaves as it is written."""
    return text and re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


def get_apachelogs_fields(entry):
    headers = getattr(entry, "headers_in", {})
    return (
        entry.remote_host, entry.remote_user, int(entry.request_time.timestamp()),
        entry.request_line or "", entry.final_status, entry.bytes_sent,
        headers.get("Referer") or None, headers.get("User-Agent") or None,
    )  # fmt: skip


plain_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"\\[]'),
                      min_size=1, max_size=30).filter(lambda text: text != "-")  # fmt: skip
user_names = st.lists(plain_texts, min_size=1, max_size=4).map(" ".join)
user_agents = st.text(st.sampled_from('ab/?=;() .-"\\'), min_size=1, max_size=40).filter(
    lambda text: text not in ("-", "") and text.strip() == text
)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2098, 1, 1)).map(
    lambda d: d.replace(microsecond=0)
)


@st.composite
def entries(draw):
    """A request, and the line that Apache writes for it."""
    agent, user, moment = draw(user_agents), draw(user_names), draw(moments)
    offset = draw(st.integers(-14 * 4, 14 * 4)) * 15
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"
    escaped = agent.replace("\\", "\\\\").replace('"', '\\"')
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[moment.month * 3 - 3 :][:3]
    line = build_line(
        host=draw(plain_texts), user=user, request=f"GET /{draw(plain_texts)} HTTP/1.1",
        time=f"{moment:%d}/{month}/{moment.year}:{moment:%H:%M:%S} {zone}",
        status=str(draw(st.integers(100, 999))), size=str(draw(st.integers(0, 2**62))),
        user_agent=escaped,
    )  # fmt: skip
    return line, agent, user, int(moment.replace(tzinfo=UTC).timestamp()) - offset * 60


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(entries(), min_size=100, max_size=200))
def test_lines_that_apache_writes_are_read_back(spark, requests):
    frame = spark.createDataFrame(
        list(enumerate(line for line, *_ in requests)), "n INT, line STRING"
    )
    rows = parse_lines(frame).withColumn("at", F.unix_timestamp("timestamp")).orderBy("n").collect()
    for (line, agent, user, seconds), row in zip(requests, rows, strict=True):
        assert row.bad_reason is None, line
        assert (row.user_agent, row.user, row["at"]) == (agent, user, seconds), line


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=200), min_size=200, max_size=400))
def test_any_bytes_give_one_row_good_or_bad(spark, lines):
    frame = spark.createDataFrame([(line,) for line in lines], "bytes BINARY")
    rows = parse_lines(frame.select(F.col("bytes").cast("string").alias("line"))).collect()
    assert len(rows) == len(lines)
    for row in rows:
        assert (row.bad_reason is None) == (row.host is not None)
        assert row.bad_reason in {None, *BAD_REASONS}


def test_line_ids_are_right_for_any_number_of_lines_in_a_message(spark):
    """Offsets are computed in chunks of 25 lines: tests one less, as many, and one more."""
    messages, expected = [], []
    for count in (1, 24, 25, 26, 49, 50, 51, 76):
        texts = [b"x" * (n % 7) for n in range(count)]
        starts = [sum(len(text) + 1 for text in texts[:n]) + 9 for n in range(count)]
        messages.append((f"log{count}:9".encode(), b"\n".join(texts) + b"\n", "t", 0, count))
        expected += [
            (f"log{count}:{start}", text.decode())
            for start, text in zip(starts, texts, strict=True)
        ]
    ddl = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT"
    rows = (
        explode_kafka_lines(spark.createDataFrame(messages, ddl))
        .select("line_id", "line")
        .collect()
    )
    assert sorted(tuple(row) for row in rows) == sorted(expected)


def test_parsed_lines_have_each_column_of_the_contract_once(spark):
    lines = spark.createDataFrame([(build_line(), "f", 7)], "line STRING, file STRING, n INT")
    contract = [column.split()[0] for column in ACCESS_LOG_DDL.split(",")]
    own = ("event_date", "line_id", "topic", "partition", "offset", "file")
    expected = ["file", "n", *(name for name in contract if name not in own)]
    assert sorted(parse_lines(lines).columns) == sorted(expected)
