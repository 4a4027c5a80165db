"""The reader without Python gives what the reader with Python gives, or nothing."""

import random
import re
import time
from collections import Counter
from datetime import UTC
from itertools import combinations_with_replacement

import polars as pl
import pytest
from pyspark.sql import functions as F

from include.contracts import MAX_LINE_BYTES
from include.log_formats.reader import LineReader
from spark_jobs.transforms.access_log import select_server_errors
from spark_jobs.transforms.common_log import parse_common_log, select_common_server_errors
from tests.builders import build_common_line, build_line
from tests.conftest import matrix_cases
from tests.mutations import mutate

COLUMNS = ["host", "user", "timestamp", "method", "endpoint", "query", "protocol", "status", "content_size",
           "referrer", "user_agent"]  # fmt: skip
LINES = [
    build_line(), build_line(user="frank", request="GET /a?b=c HTTP/1.0", referrer="http://a/?q=x y"),
    build_line(host="2001:db8::1%eth0", size="-"), build_line(host="[::1]:443", user="a@b.example"),
    build_line(user_agent='x \\"y\\" \\\\'), build_line(request="\\x16\\x03\\x01", status="400"),
    build_line(request="-", status="408"), build_line(request="GET /"), build_line(user='"John F. Doe"'),
    build_common_line(host="a.example:80"), build_common_line(host="-", time="29/Feb/2024:23:59:59 -0930"),
    build_line() + ' 0.123 "203.0.113.9, 198.51.100.1"', build_line(referrer="", user_agent=""),
    build_line(user_agent="Mozilla").removesuffix('"'), build_line(user_agent="x") + "\r",
    build_line(status="-"),
]  # fmt: skip


def build_mutated_lines(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return LINES + [mutate(rng.choice(LINES), rng) for _ in range(count - len(LINES))]


def read_with_python(lines: list[str]) -> list[dict]:
    return LineReader().read(pl.Series([line.encode() for line in lines])).to_dicts()


def read_with_spark(spark, lines: list[str]) -> dict[int, dict]:
    """Number of a line -> its columns, for the lines that are read."""
    frame = spark.createDataFrame(list(enumerate(lines)), "n INT, line STRING")
    rows = parse_common_log(frame).withColumn("timestamp", F.unix_micros("timestamp")).collect()
    assert len({row.n for row in rows}) == len(rows)
    return {row.n: row.asDict() for row in rows}


def select_columns(row: dict) -> dict:
    micros = (
        int(row["timestamp"].astimezone(UTC).timestamp()) * 1_000_000 + row["timestamp"].microsecond
    )
    return {name: row[name] for name in COLUMNS} | {"timestamp": micros}


APACHE_TIME = r"\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}(:[0-9]{2}){3} [+-](0[0-9]|1[0-7])[0-9]{2}\]"
STATUS_AND_SIZE = "([0-9]{3}|-) ([0-9]+|-)"


def name_exception(line: str, row: dict) -> str:
    """Why the reader without Python leaves a good line out, as its docstring says; empty if it must not."""
    if row["log_format"] not in ("common", "combined"):
        return "a virtual host, or another format"
    if not re.search(APACHE_TIME, line):
        return "a time with milliseconds, or in another form"
    if re.search(":60 [+-]", line):
        return "a leap second"
    # Behind a quote the line seems to go on with a status, or with a referrer that ends.
    if re.search(rf'" {STATUS_AND_SIZE}(?!\S).*" {STATUS_AND_SIZE}', line) or line.count('"') > 6:
        return "quotes that are not escaped"
    return ""


def test_mutated_lines_are_read_as_the_reader_reads_them_or_left_out(spark):
    lines = build_mutated_lines(7, 12_000)
    read, expected = read_with_spark(spark, lines), read_with_python(lines)
    different, invented, left_out = [], [], Counter()
    for n, (line, row) in enumerate(zip(lines, expected, strict=True)):
        if row["bad_reason"] or row["log_format"] not in ("common", "combined"):
            invented += [(line, row["bad_reason"], read[n])] if n in read else []
        elif n not in read:
            left_out[name_exception(line, row) or f"? {line}"] += 1
        else:
            wanted = select_columns(row)
            wrong = {
                name: (read[n][name], value)
                for name, value in wanted.items()
                if read[n][name] != value
            }
            different += [(line, wrong)] if wrong else []
    assert different[:10] == []
    assert invented[:10] == []
    assert [name for name in left_out if name.startswith("?")][:10] == []
    assert len(read) > 2500
    assert sum(left_out.values()) < len(read) / 20


def test_only_the_lines_that_the_docstring_names_are_left_out(spark):
    left_out = {
        "a virtual host": f"www.example.org:443 {build_line()}",
        "milliseconds": build_line(time="17/May/2015:10:05:03.123 +0000"),
        "a leap second": build_line(time="31/Dec/2016:23:59:60 +0000"),
        "a status behind a quote": build_line(request='GET /" 200 5 x HTTP/1.1'),
    }
    assert read_with_spark(spark, list(left_out.values())) == {}
    assert all(row["bad_reason"] is None for row in read_with_python(list(left_out.values())))
    assert len(read_with_spark(spark, LINES)) == len(LINES)


def test_a_line_with_a_carriage_return_at_its_end_is_read_without_it(spark):
    lines = [build_line(user_agent="x") + "\r", build_common_line() + "\r"]
    read = read_with_spark(spark, lines)
    assert {n: row["user_agent"] for n, row in read.items()} == {0: "x", 1: None}


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"], ids=ascii)
def test_a_host_with_a_character_that_java_takes_for_a_line_end_is_none(spark, character):
    hosts = [
        f"192.0.2.7{character}",
        f"{character}192.0.2.7",
        f"a.example:80{character}",
        character,
    ]
    assert read_with_spark(spark, [build_line(host=host) for host in hosts]) == {}


@pytest.mark.parametrize("year", ["-2015", "0015", "2115", "9999"])
def test_a_year_that_the_reader_does_not_accept_is_left_out(spark, year):
    line = build_line(time=f"17/May/{year}:10:05:03 +0000")
    assert read_with_python([line])[0]["bad_reason"] == "bad_time"
    assert read_with_spark(spark, [line]) == {}


def test_escaped_quotes_around_a_user_are_a_part_of_the_name(spark):
    assert read_with_spark(spark, [build_line(user='\\"y\\"')])[0]["user"] == '"y"'


@pytest.mark.parametrize(
    "line",
    [
        build_line(referrer="http://a/").partition('/" "')[0],
        build_line(size="512 0.123", referrer="http://a"),
    ],
    ids=["cut off in the referrer", "a word between the size and the referrer"],
)
def test_a_line_that_the_docstring_does_not_name_is_read(spark, line):
    assert read_with_python([line])[0]["referrer"] == "http://a"
    assert {n: row["referrer"] for n, row in read_with_spark(spark, [line]).items()} == {
        0: "http://a"
    }


# --- Server errors --------------------------------------------------------------------------------


def select_errors(spark, select, messages: list[tuple[bytes | None, bytes | None]]) -> dict:
    rows = select(spark.createDataFrame(messages, "key BINARY, value BINARY"))
    return {
        bytes(row.key): bytes(row.value)
        for row in rows.select("key", F.col("value").cast("binary")).collect()
    }


def test_the_server_errors_of_a_message_are_those_that_the_reader_finds(spark):
    rng = random.Random(9)
    errors = [
        line.replace('" 200 ', '" 503 ').replace('" 400 ', '" 500 ')
        for line in build_mutated_lines(10, 4000)
    ]
    # What the reader without Python leaves out by its docstring is not compared.
    read = read_with_python(errors)
    common = [
        line for line, row in zip(errors, read, strict=True)
        if row["bad_reason"] or not name_exception(line, row)
    ]  # fmt: skip
    messages = []
    while common:
        count = rng.randrange(1, 6)
        value = "\n".join(common[:count]) + rng.choice(["", "\n"])
        messages.append((f"log:{len(messages)}".encode(), value.encode()))
        del common[:count]
    messages += [(b"log:heartbeat", None), (b"empty", b""), (b"good", build_line().encode())]
    with_python = select_errors(spark, select_server_errors, messages)
    without = select_errors(spark, select_common_server_errors, messages)
    assert len(with_python) > 300
    different = [
        (value, with_python.get(key), without.get(key)) for key, value in messages
        if with_python.get(key) != without.get(key)
    ]  # fmt: skip
    assert different[:5] == []


@pytest.mark.parametrize(
    "line",
    [
        build_line(status="503", time="30/Feb/2015:10:05:03 +0000"), build_line(status="503", size="9" * 25),
        build_line(status="503", time="yesterday"), build_line(status="503", host="300.1.1.1"),
    ],
    ids=["no such day", "size", "no time", "no host"],
)  # fmt: skip
def test_a_bad_line_is_no_server_error(spark, line):
    assert read_with_python([line])[0]["bad_reason"] is not None
    messages = [(b"k", line.encode())]
    assert select_errors(spark, select_server_errors, messages) == {}
    assert select_errors(spark, select_common_server_errors, messages) == {}


def test_a_server_error_that_is_not_utf8_keeps_its_bytes(spark):
    messages = [(b"k", build_line(status="503").encode().replace(b"/a", b"/\xff\xfe"))]
    assert select_errors(spark, select_server_errors, messages) == dict(messages)
    assert select_errors(spark, select_common_server_errors, messages) == dict(messages)


# --- Time -----------------------------------------------------------------------------------------

SMALL, LARGE = 56_250, 900_000
CLF = '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /'
BEGINNINGS = ["", "192.0.2.7 - ", '192.0.2.7 - "', CLF, f'{CLF} HTTP/1.1" 200 5 "',
              f'{CLF} HTTP/1.1" 200 5 "-" "', f'{CLF} HTTP/1.1" 200 5 ']  # fmt: skip
PAIRS = ["".join(pair) for pair in combinations_with_replacement(
    ['"', "\\", '\\"', " ", "[", '] "', "1", "\t", '" 200 5', '" "', ":80 ", "a.", "::", " HTTP/1.1", "-"], 2
)]  # fmt: skip


def measure(spark, pairs: list[str], size: int, runs: int) -> float:
    """Seconds to read a line of each pair behind each beginning."""
    cases = [(beginning, pair, size // len(pair)) for beginning in BEGINNINGS for pair in pairs]
    frame = spark.createDataFrame(cases, "beginning STRING, pair STRING, times INT")
    lines = frame.selectExpr("concat(beginning, repeat(pair, times), ' x') AS line").cache()
    assert lines.count() == len(cases)
    assert lines.selectExpr("max(octet_length(line))").first()[0] < MAX_LINE_BYTES
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        parse_common_log(lines).write.format("noop").mode("overwrite").save()
        seconds.append(time.perf_counter() - started)
    lines.unpersist()
    return min(seconds)


@pytest.mark.parametrize(
    "pairs",
    [
        random.Random(1).sample(PAIRS, 2),
        *matrix_cases(*[PAIRS[at : at + 4] for at in range(0, len(PAIRS), 4)]),
    ],
    ids=repr,
)
def test_the_time_to_read_a_hostile_line_is_linear_in_its_length(spark, pairs):
    # LARGE is SMALL doubled four times. 16 is linear, 256 square.
    for runs in (1, 3):
        large = measure(spark, pairs, LARGE, runs)
        if large < 2.3**4 * measure(spark, pairs, SMALL, runs + 1):
            return
    pytest.fail(f"{large:.1f} s")
