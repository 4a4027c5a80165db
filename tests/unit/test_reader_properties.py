"""Promises of the reader for any line: no error, no influence of other lines, no invention."""

import json
import random
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from include.contracts import BAD_REASONS, MAX_LINE_BYTES
from include.log_formats.reader import SCHEMA, LineReader
from include.log_formats.w3c import build_w3c_id, normalise_w3c_fields
from tests.builders import build_common_line, build_line
from tests.conftest import matrix_cases
from tests.mutations import PIECES, mutate
from tests.unit.log_writers import (
    CLOUDFRONT_FIELDS,
    DRAFT_FIELDS,
    IIS_FIELDS,
    LOG_FORMATS,
    W3C_WRITERS,
    WRITERS,
    Request,
    fill_log_format,
)

properties = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
REQUEST = Request(
    host="192.0.2.7", port="51234", user="frank", time=datetime(2015, 5, 17, 10, 5, 3, 250_000, UTC),
    method="GET", path='/a "b" \\é', query="c=d", protocol="HTTP/1.1", status=200, size=512,
    referrer="http://example.com/", user_agent='Mozilla/5.0 ("x")', vhost="www.example.org", millis=1234,
)  # fmt: skip
W3C_FIELDS = {
    build_w3c_id(fields): fields
    for fields in (
        normalise_w3c_fields(text, "") for text in (IIS_FIELDS, DRAFT_FIELDS, CLOUDFRONT_FIELDS)
    )
}
W3C_FILES = {
    write: f"u_ex.{name}.log" for name, write in zip(W3C_FIELDS, W3C_WRITERS.values(), strict=True)
}
ODD_LINES = [
    b"", b" \t ", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"{", b"{}", b"[]", b"{}{}", b"#Fields: date",
    b"\xef\xbb\xbf" + build_line().encode(), b"\xef\xbb\xbf\xef\xbb\xbf" + build_line().encode(),
    build_line(host="-").encode(), build_line(host="unix:").encode(), build_line(size="9" * 25).encode(),
    build_line(time="30/Feb/2015:10:05:03 +0000").encode(),
    build_line(user_agent="\ufeff\u2028\x85").encode(),
    build_line().encode().replace(b"/a", b"/\xff\xfe"), build_line(user_agent="x" * MAX_LINE_BYTES).encode(),
    b"who knows [17/May/2015:23:30:00 +0000] \xc3", build_line(time="01/Jan/2090:00:00:00 +0000").encode(),
]  # fmt: skip
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)


def build_mixed_lines(seed: int, count: int) -> pl.DataFrame:
    """Lines of all formats, some damaged, with the names of their files and times of arrival."""
    rng = random.Random(seed)
    formats = [(write(REQUEST).text, None) for write in WRITERS.values()]
    formats += [(write(REQUEST).text, file) for write, file in W3C_FILES.items()]
    formats += [(fill_log_format(LOG_FORMATS[name], REQUEST).text, None) for name in LOG_FORMATS]
    lines, files = [], []
    for _ in range(count):
        line, file = rng.choice(formats)
        data = (mutate(line, rng) if rng.random() < 0.6 else line).encode()
        if rng.random() < 0.1:
            at = rng.randrange(len(data) + 1)
            data = data[:at] + rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0"]) + data[at:]
        if rng.random() < 0.02:
            data = rng.choice(ODD_LINES)
        if rng.random() < 0.05:
            file = rng.choice([*W3C_FILES.values(), "other.log", "u_ex.w3c-00000000.log", None])
        lines.append(data if rng.random() < 0.99 else None)
        files.append(file)
    return pl.DataFrame(
        {"line": lines, "file": files, "arrived": [rng.choice([ARRIVED, None]) for _ in lines]},
        schema={"line": pl.Binary, "file": pl.String, "arrived": pl.Datetime("us", "UTC")},
    )


def read(reader: LineReader, rows: pl.DataFrame) -> pl.DataFrame:
    return reader.read(rows["line"], files=rows["file"], arrived=rows["arrived"])


@pytest.mark.parametrize(
    "log_format",
    ["", "like JSON", *matrix_cases(*[name for name in LOG_FORMATS if name != "like JSON"])],
)
def test_what_a_line_gives_depends_on_the_line_alone(log_format):
    reader = LineReader(LOG_FORMATS.get(log_format, ""), W3C_FIELDS)
    lines = build_mixed_lines(seed=3, count=8000)
    rows = read(reader, lines)
    assert rows["log_format"].n_unique() >= 6
    assert rows["bad_reason"].n_unique() >= 5
    order = list(range(len(lines)))
    for seed, size, count in ((4, 1, 100), (5, 7, 700), (6, 1000, len(lines))):
        random.Random(seed).shuffle(order)
        chosen = order[:count]
        parts = [read(reader, lines[chosen[at : at + size]]) for at in range(0, count, size)]
        assert_frame_equal(pl.concat(parts), rows[chosen])


def test_an_empty_batch_gives_an_empty_frame_of_the_schema():
    rows = LineReader(LOG_FORMATS["tabs"], W3C_FIELDS).read(pl.Series([], dtype=pl.Binary))
    assert dict(rows.schema) == SCHEMA
    assert rows.is_empty()


def find_broken_promises(rows: pl.DataFrame, count: int) -> dict[str, list[dict]]:
    """Promise -> rows that break it; the first few."""
    assert dict(rows.schema) == SCHEMA
    assert len(rows) == count
    is_bad = pl.col("bad_reason").is_not_null()
    others = [name for name in SCHEMA if name not in ("timestamp", "raw", "bad_reason")]
    promises = {
        "a reason is known": ~is_bad | pl.col("bad_reason").is_in(list(BAD_REASONS)),
        "a good line has a time": is_bad | pl.col("timestamp").is_not_null(),
        "a good line has a format": is_bad | pl.col("log_format").is_not_null(),
        "a good line has no raw text": is_bad == pl.col("raw").is_not_null(),
        "a bad line has no fields": ~is_bad
        | pl.all_horizontal(pl.col(name).is_null() for name in others),
        "a host is not empty": pl.col("host").is_null() | ~pl.col("host").is_in(["", "-", "@"]),
        "a status has three digits": pl.col("status").is_null()
        | pl.col("status").is_between(0, 999),
        "a size is not negative": pl.col("content_size").is_null() | (pl.col("content_size") >= 0),
        "a duration is a number": pl.col("seconds_taken").is_null()
        | (pl.col("seconds_taken").is_finite() & (pl.col("seconds_taken") >= 0)),
    }
    broken = {name: rows.filter(~promise).head(3).to_dicts() for name, promise in promises.items()}
    return {name: found for name, found in broken.items() if found}


PIECES_OF_BYTES = [
    *(piece.encode() for piece in PIECES), b"\xff", b"\xc3", b"\xed\xa0\x80", b"\n", build_line().encode(),
    build_common_line().encode(), b'{"ts":1646861401.52,"remote_ip":"192.0.2.7","status":200,"uri":"/a"}',
    b'https 2018-07-02T22:23:00.186641Z app/50 192.0.2.7:28 - -1 0.1 -1 200 - 34 366 "GET http://a:80/b ',
]  # fmt: skip
any_bytes = st.binary(max_size=80) | st.lists(st.sampled_from(PIECES_OF_BYTES), max_size=8).map(
    b"".join
)


@pytest.mark.parametrize(
    "log_format", ["", "like JSON", *matrix_cases("tabs", "pipes without quotes")]
)
@properties
@given(st.lists(any_bytes, min_size=1, max_size=60))
def test_any_bytes_give_one_row_good_or_bad(log_format, lines):
    reader = LineReader(LOG_FORMATS.get(log_format, ""), W3C_FIELDS)
    for file in (None, *W3C_FILES.values()):
        rows = reader.read(
            pl.Series(lines, dtype=pl.Binary), files=pl.Series([file] * len(lines), dtype=pl.String)
        )
        assert find_broken_promises(rows, len(lines)) == {}


def test_mixed_and_damaged_lines_break_no_promise():
    for name in ("", *LOG_FORMATS):
        lines = build_mixed_lines(seed=5, count=4000)
        rows = read(LineReader(LOG_FORMATS.get(name, ""), W3C_FIELDS), lines)
        assert find_broken_promises(rows, len(lines)) == {}


def test_a_good_line_without_a_host_is_one_of_a_socket():
    lines = build_mixed_lines(seed=6, count=20_000).filter(pl.col("file").is_null())
    rows = read(LineReader(), lines)
    without_host = lines.filter(rows["bad_reason"].is_null() & rows["host"].is_null())["line"]
    assert len(without_host) > 10
    is_socket = r"^\x{feff}?(?:[A-Za-z0-9.]+:[0-9]+ +)?(?:-|@|unix:[^ ]*|) "
    assert without_host.cast(pl.String).str.contains(is_socket).all()


GOOD_JSON = {"ts": 1646861401.5, "remote_ip": "192.0.2.7", "status": 200, "uri": "/a"}
ODD_JSON_VALUES = [
    "null", "true", "false", "0", "-1", "-0", "1e400", "-1e400", "1e-400", str(10**30), "9" * 400, "9" * 5000,
    "0.1e1", "1e5", "NaN", "Infinity", '"NaN"', '"inf"', '"-inf"', '"1_0"', '" 1"', '"-5"', '"1e400"',
    '"\\u0661"',
    '""', '"-"', '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\ufeff"', '"\u2028\x85"',
    "[]",
    "[[]]", "[null]", '["a","b"]', "{}", '{"a":1}', "[" * 10_000 + "]" * 10_000,
    '{"a":' * 5000 + "1" + "}" * 5000,
    '"' + "x" * 2000 + '"', '"\\x22"', '"\\\\x22"', "01", "1.", ".5", "+1", "'a'", "",
]  # fmt: skip
JSON_KEYS = ["ts", "time", "remote_ip", "client_ip", "status", "uri", "request", "method", "size", "duration",
             "duration_ms", "request_time", "latency", "referer", "user_agent", "host", "proto", "args",
             "user_id", "ssl_protocol", "@timestamp", "msec"]  # fmt: skip


def write_json(values: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"


def test_odd_values_in_json_lines_break_no_promise():
    good = {name: json.dumps(value) for name, value in GOOD_JSON.items()}
    lines = [
        write_json(good | {key: value}) for key in JSON_KEYS for value in ODD_JSON_VALUES
    ] + [
        write_json(good | {"request": f'{{"{key}":{value}}}'})
        for key in ("remote_ip", "method", "uri", "headers", "tls") for value in ODD_JSON_VALUES
    ]  # fmt: skip
    rows = LineReader().read(pl.Series([line.encode() for line in lines]))
    assert rows["bad_reason"].null_count() > len(lines) / 4
    broken = find_broken_promises(rows, len(lines))
    assert broken == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1}{"a":2}', write_json({}), "{" * 100_000, '{"a":' * 100_000, '{"ts":1e400}', '{"ts":1',
        '{"\\ud800":1}',
        json.dumps(GOOD_JSON) * 2, json.dumps(GOOD_JSON) + " x", json.dumps(GOOD_JSON) + "\0",
        json.dumps(GOOD_JSON | {"uri": "\ud800"}), json.dumps(GOOD_JSON).replace("200", "2" * 5000),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_no_json_object_is_a_bad_line(text):
    rows = LineReader().read(pl.Series([text.encode(), json.dumps(GOOD_JSON).encode()]))
    assert rows["bad_reason"].to_list() == ["no_match", None]


def test_of_a_key_that_stands_twice_in_a_json_line_the_last_value_counts():
    line = json.dumps(GOOD_JSON).removesuffix("}") + ',"status":404}'
    assert LineReader().read(pl.Series([line.encode()]))["status"].to_list() == [404]


@pytest.mark.parametrize("time", ["00", "1", "200", "-", "2015"])
def test_a_small_number_in_brackets_is_no_time_of_a_common_line(time):
    (row,) = LineReader().read(pl.Series([build_line(time=time).encode()])).to_dicts()
    assert row["bad_reason"] in ("bad_time", "no_match"), row["timestamp"]
