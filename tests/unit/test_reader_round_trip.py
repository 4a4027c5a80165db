"""What servers write is read back: every format, any text."""

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.log_formats.reader import SCHEMA, LineReader
from include.log_formats.w3c import build_w3c_id, normalise_w3c_fields
from tests.unit.log_writers import (
    IIS_FIELDS,
    LOG_FORMATS,
    W3C_WRITERS,
    WRITERS,
    Request,
    Written,
    fill_log_format,
)

# Pieces that a pattern could take for the end of a field.
PIECES = ['"', "\\", '\\"', "\\\\", '" 200 5 "', '" "', " HTTP/1.1", "] ", "[", "\\x41", "%22", "+", "?",
          "\t", "\r", "\n", "\0", "\x7f", "\x85", "\u2028", "\xa0", "é", "🌊", "\ufeff", "- ", "a:80 ",
          "{", "|", "#", "17/May/2015:10:05:03 +0000", '""', ";"]  # fmt: skip
any_text = st.text(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
# `-` stands for nothing.
values = any_text.filter(lambda text: text not in ("", "-"))
optional = st.none() | values
label = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?", fullmatch=True)
host_names = st.builds(
    lambda labels, last: ".".join([*labels, last]),
    st.lists(label, max_size=4),
    st.from_regex(r"[A-Za-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True),
)
zones = st.just("") | st.from_regex(r"%[0-9A-Za-z_.~-]{1,8}", fullmatch=True)


def list_ipv6_forms(address: ipaddress.IPv6Address) -> list[str]:
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return [
        str(address), address.exploded, str(address).upper(), f"{address.exploded[:29]}:{last}",
        f"::ffff:{last}",
    ]  # fmt: skip


ipv6 = st.builds(
    lambda address, form, zone: list_ipv6_forms(address)[form] + zone,
    st.ip_addresses(v=6), st.integers(0, 4), zones,
)  # fmt: skip
hosts = st.ip_addresses(v=4).map(str) | ipv6 | host_names
times = st.datetimes(datetime(1975, 1, 1), datetime(2099, 12, 30)).flatmap(
    lambda moment: st.integers(-12 * 60, 14 * 60).map(
        lambda minutes: moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    )
)


def build_request(**values: object) -> Request:
    request = Request(**values)
    if request.protocol is None:  # HTTP/0.9: what looks like a protocol would be one
        query = request.query and request.query.replace("HTTP/", "")
        return replace(request, path=request.path.replace("HTTP/", ""), query=query)
    return request


requests = st.builds(
    build_request, host=hosts, port=st.integers(0, 65535).map(str), user=optional, time=times,
    method=st.sampled_from(["GET", "POST", "get", "M-SEARCH", "VERSION_CONTROL"]),
    path=any_text.map(lambda text: "/" + text.replace("?", "")), query=st.none() | any_text,
    protocol=st.sampled_from([*["HTTP/1.1", "HTTP/2.0", "HTTP/3"] * 3, None]),
    status=st.integers(100, 999), size=st.none() | st.integers(0, 2**63 - 1), referrer=optional,
    user_agent=optional, vhost=host_names, millis=st.integers(0, 10**7),
)  # fmt: skip
COLUMNS = dict.fromkeys(SCHEMA)


def list_differences(written: list[Written], rows: pl.DataFrame) -> list[tuple]:
    """The first lines that do not give what was written: column -> what it gives, what it must give."""
    differences = []
    for one, row in zip(written, rows.iter_rows(named=True), strict=True):
        expected = COLUMNS | one.expected
        if row != expected:
            wrong = {
                name: (row[name], expected[name]) for name in COLUMNS if row[name] != expected[name]
            }
            differences.append((one.text, wrong))
    return differences[:3]


def read(
    reader: LineReader, written: list[Written], files: list[str] | None = None
) -> pl.DataFrame:
    lines = pl.Series([one.text.encode() for one in written], dtype=pl.Binary)
    return reader.read(lines, files=files and pl.Series(files))


properties = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
READER = LineReader()


@properties
@given(st.lists(requests, min_size=1, max_size=20))
def test_a_line_in_a_detected_format_gives_what_the_server_wrote(batch):
    written = [write(request) for request in batch for write in WRITERS.values()]
    assert list_differences(written, read(READER, written)) == []


@properties
@given(st.lists(requests, min_size=1, max_size=20))
def test_a_line_of_a_w3c_file_gives_what_the_server_wrote(batch):
    fields = {write: normalise_w3c_fields(text, "") for text, write in W3C_WRITERS.items()}
    names = {write: build_w3c_id(text) for write, text in fields.items()}
    reader = LineReader(w3c_fields={names[write]: text for write, text in fields.items()})
    written = [
        (write(request), f"/x/u_ex.{names[write]}.log.gz") for request in batch for write in fields
    ]
    lines, files = zip(*written, strict=True)
    assert list_differences(lines, read(reader, lines, list(files))) == []


@properties
@given(st.lists(requests, min_size=1, max_size=20))
def test_a_line_of_a_log_format_gives_what_apache_wrote(batch):
    for log_format in LOG_FORMATS.values():
        written = [fill_log_format(log_format, request) for request in batch]
        assert list_differences(written, read(LineReader(log_format), written)) == []


def read_iis_line(**changed: object) -> dict:
    fields = normalise_w3c_fields(IIS_FIELDS, "")
    reader = LineReader(w3c_fields={build_w3c_id(fields): fields})
    line = "2015-05-17 10:05:03 10.0.0.1 GET /a {query} 443 - 192.0.2.7 HTTP/1.1 {user_agent} - a 200 0 0 5 6"
    text = line.format(**{"query": "-", "user_agent": "-"} | changed)
    return reader.read(
        pl.Series([text.encode()]), files=pl.Series([f"a.{build_w3c_id(fields)}.log"])
    ).to_dicts()[0]


def test_a_w3c_query_that_begins_with_a_question_mark_keeps_it():
    assert read_iis_line(query="?b=c")["query"] == "?b=c"


def test_an_empty_quoted_w3c_value_stands_for_nothing():
    assert read_iis_line(user_agent='""')["user_agent"] is None


def test_a_user_may_begin_with_a_bracket():
    request = Request(
        host="192.0.2.7", port="1", user="[x", time=datetime(2015, 5, 17, tzinfo=UTC), method="GET",
        path="/", query=None, protocol="HTTP/1.1", status=200, size=1, referrer=None, user_agent=None,
        vhost="a.example", millis=0,
    )  # fmt: skip
    log_format = '%h %l %u %t "%r" %>s %b'
    written = fill_log_format(log_format, request)
    assert list_differences([written], read(LineReader(log_format), [written])) == []
    assert read(READER, [written])["user"].to_list() == ["[x"]
