"""Common and combined lines, as servers write them and as they arrive broken, and against another parser."""

import re
from datetime import UTC, datetime

import pytest
from apachelogs import COMBINED, COMMON, InvalidEntryError, LogParser

from include.contracts import BAD_REASONS, MAX_LINE_BYTES, MAX_RAW_CHARACTERS
from tests.builders import build_common_line, build_line
from tests.read_lines import read_lines


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_combined_line_gives_every_field():
    (row,) = read_lines(
        build_line(
            user="frank", time="10/Oct/2000:13:55:36 -0700", request="GET /a.gif?x=1&y=2 HTTP/1.0",
            size="2326", referrer="http://example.com/start", user_agent="Mozilla/4.08 [en]",
        )
    )  # fmt: skip
    assert row == {
        "host": "192.0.2.7", "user": "frank", "timestamp": utc("2000-10-10T20:55:36"), "method": "GET",
        "endpoint": "/a.gif", "query": "x=1&y=2", "protocol": "HTTP/1.0", "status": 200,
        "content_size": 2326, "referrer": "http://example.com/start", "user_agent": "Mozilla/4.08 [en]",
        "log_format": "combined",
    }  # fmt: skip


def test_common_and_combined_lines_can_be_mixed():
    common, combined = read_lines(build_common_line(), build_line())
    assert (common["log_format"], combined["log_format"]) == ("common", "combined")
    assert "user_agent" not in common


TIMES = {
    "17/May/2015:10:05:03 +0000": "2015-05-17T10:05:03",
    "17/May/2015:10:05:03 -0400": "2015-05-17T14:05:03",
    "17/May/2015:10:05:03 +0530": "2015-05-17T04:35:03",
    "17/May/2015:10:05:03 -0330": "2015-05-17T13:35:03",
    "17/May/2015:10:05:03 +1400": "2015-05-16T20:05:03",
    "17/May/2015:10:05:03 -1200": "2015-05-17T22:05:03",
    "17/May/2015:10:05:03 +0545": "2015-05-17T04:20:03",
    "17/May/2015:10:05:03 +00:00": "2015-05-17T10:05:03",
    "17/May/2015:10:05:03 -03:30": "2015-05-17T13:35:03",
    "17/May/2015:10:05:03.250 +0000": "2015-05-17T10:05:03.250",
    "17/May/2015:10:05:03,250 +0200": "2015-05-17T08:05:03.250",
    "17/May/2015:10:05:03.123456 +0000": "2015-05-17T10:05:03.123456",
    "31/Dec/2016:23:59:60 +0000": "2017-01-01T00:00:00",  # a leap second
    "29/Feb/2024:00:00:00 +0000": "2024-02-29T00:00:00",
    "29/Feb/2000:00:00:00 +0000": "2000-02-29T00:00:00",
    "01/Mar/1969:00:00:00 +0000": "1969-03-01T00:00:00",
}


def test_times_are_converted_to_utc():
    rows = read_lines(*[build_line(time=text) for text in TIMES])
    assert [row["timestamp"] for row in rows] == [utc(text) for text in TIMES.values()]


ODD_GOOD_LINES = {
    "size is a dash": (build_line(size="-"), {"status": 200}),
    "status is a dash": (build_line(status="-", size="-"), {"method": "GET"}),
    "IPv6": (build_line(host="2001:db8::1"), {"host": "2001:db8::1"}),
    "IPv4 in IPv6": (build_line(host="::ffff:192.0.2.1"), {"host": "::ffff:192.0.2.1"}),
    "IPv6 with a zone": (build_line(host="fe80::1%eth0"), {"host": "fe80::1%eth0"}),
    "IPv6 that looks like a port": (build_line(host="2001:db8::1:80"), {"host": "2001:db8::1:80"}),
    "host name": (build_line(host="in24.inetnebr.com"), {"host": "in24.inetnebr.com"}),
    "host with a port": (build_line(host="192.0.2.7:51234"), {"host": "192.0.2.7", "log_format": "combined"}),
    "host name with a port": (build_line(host="a.example:51234"), {"host": "a.example"}),
    "IPv6 with a port": (build_line(host="[2001:db8::1]:51234"), {"host": "2001:db8::1"}),
    "IPv6 in brackets": (build_line(host="[2001:db8::1]"), {"host": "2001:db8::1"}),
    "virtual host": ("www.example.org:443 " + build_line(user="frank"),
                     {"vhost": "www.example.org:443", "host": "192.0.2.7", "user": "frank",
                      "log_format": "vhost_combined"}),
    "virtual host, common": ("a:80 " + build_common_line(host="2001:db8::1"),
                             {"vhost": "a:80", "host": "2001:db8::1", "log_format": "vhost_common"}),
    "virtual host of IPv6": ("[2001:db8::2]:8080 " + build_line(),
                             {"vhost": "[2001:db8::2]:8080", "host": "192.0.2.7"}),
    "virtual host of IPv4": ("192.0.2.2:8080 " + build_line(),
                             {"vhost": "192.0.2.2:8080", "host": "192.0.2.7"}),
    "virtual host without a port": ("www.example.org " + build_line(host="2001:db8::1"),
                                    {"vhost": "www.example.org", "host": "2001:db8::1",
                                     "log_format": "vhost_combined"}),
    "virtual host without a port, common": ("www.example.org " + build_common_line(user="frank"),
                                            {"vhost": "www.example.org", "host": "192.0.2.7",
                                             "user": "frank", "log_format": "vhost_common"}),
    "virtual host before a host with a port": ("www.example.org " + build_line(host="192.0.2.7:51234"),
                                               {"vhost": "www.example.org", "host": "192.0.2.7"}),
    "virtual host before the address ::": ("a:80 " + build_line(host="::"), {"vhost": "a:80", "host": "::"}),
    "two spaces for the user": (build_line(user=""), {"host": "192.0.2.7", "user_agent": "Mozilla/5.0"}),
    "empty quotes for the user": (build_line(user='""'), {"host": "192.0.2.7", "user_agent": "Mozilla/5.0"}),
    "user in quotes": (build_line(user='"John F. Doe"'), {"user": "John F. Doe"}),
    "user in quotes, behind a virtual host": ("www.example.org:443 " + build_line(user='"John F. Doe"'),
                                              {"user": "John F. Doe", "log_format": "vhost_combined"}),
    "user with a quote": (build_line(user='a\\"b'), {"user": 'a"b'}),
    "user with a backslash": (build_line(user="CORP\\\\jane"), {"user": "CORP\\jane"}),
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
    "a word before the referrer": (
        build_line(size="512 0.005", referrer="https://example.com/"),
        {"content_size": 512, "referrer": "https://example.com/", "user_agent": "Mozilla/5.0"},
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
    "two question marks": (build_line(request="GET /a?b?c HTTP/1.1"), {"endpoint": "/a", "query": "b?c"}),
    "lower-case method": (build_line(request="get / HTTP/1.1"), {"method": "get"}),
    "unknown method": (build_line(request="BREW /pot HTTP/1.1"), {"method": "BREW"}),
    "unknown status": (build_line(status="999"), {"status": 999}),
    "more fields behind": (build_line() + ' 0.123 "203.0.113.9, 198.51.100.1"', {"status": 200}),
    "carriage return at the end": (build_line(user_agent="x") + "\r", {"user_agent": "x"}),
    "carriage return inside": (build_line(user_agent="x\ry"), {"user_agent": "x\ry"}),
    "byte order mark": ("\ufeff" + build_line(), {"host": "192.0.2.7"}),
    "NUL": (build_line(request="GET /\0 HTTP/1.1"), {"endpoint": "/\0"}),
    "control character": (build_line(user_agent="a\x01b"), {"user_agent": "a\x01b"}),
    "Unicode's white space": (build_line(user_agent="a\u2028b\x85\xa0"),
                              {"user_agent": "a\u2028b\x85\xa0"}),
    "not UTF-8": (build_line().encode().replace(b"/a", b"/\xff\xfe"), {"endpoint": "/\ufffd\ufffd"}),
    "emoji": (build_line(user_agent="🌊"), {"user_agent": "🌊"}),
    "overlong and double encoded": (build_line(request="GET /%c0%ae/%252e HTTP/1.1"),
                                    {"endpoint": "/%c0%ae/%252e"}),
    "question mark at the end": (build_line(request="GET /a? HTTP/1.1"), {"endpoint": "/a", "query": ""}),
    "size of 2**63-1": (build_line(size=str(2**63 - 1)), {"content_size": 2**63 - 1}),
}  # fmt: skip


@pytest.fixture(scope="module")
def odd_good_rows():
    rows = read_lines(*[line for line, _ in ODD_GOOD_LINES.values()])
    return dict(zip(ODD_GOOD_LINES, rows, strict=True))


def test_odd_but_readable_lines_are_good(odd_good_rows):
    wrong = {
        name: row
        for name, row in odd_good_rows.items()
        if "bad_reason" in row or not ODD_GOOD_LINES[name][1].items() <= row.items()
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("size is a dash", {"content_size"}),
        ("status is a dash", {"status", "content_size"}),
        ("host with a port", {"vhost", "user"}),
        ("two spaces for the user", {"user"}),
        ("empty quotes for the user", {"user"}),
        ("empty request", {"method", "endpoint", "query", "protocol"}),
        ("dash for a request", {"method", "endpoint", "query", "protocol"}),
        ("TLS handshake", {"method", "query", "protocol"}),
        ("HTTP/0.9", {"query", "protocol"}),
        ("ends in the referrer", {"user_agent"}),
    ],
)
def test_a_field_that_a_line_does_not_have_is_null(odd_good_rows, name, missing):
    assert not missing & odd_good_rows[name].keys()


@pytest.mark.parametrize("host", ["-", "", "@", "unix:", "unix:/run/app.sock"])
def test_a_client_behind_a_socket_has_no_host(host):
    (row,) = read_lines(build_line(host=host, user="frank"))
    assert "host" not in row
    assert (row["user"], row["status"], row["log_format"]) == ("frank", 200, "combined")


BAD_LINES = {
    "": "empty",
    " \t ": "empty",
    "\r": "empty",
    "\ufeff": "empty",
    "GET / HTTP/1.1": "no_match",
    "a\x01b\x00c": "no_match",
    build_line().partition('" 200')[0]: "no_match",
    build_line(status="2000"): "no_match",
    build_line(status="20\u0663"): "no_match",
    build_line(user="John F. Doe"): "no_match",
    "www.example.org:443 " + build_line(user="John F. Doe"): "no_match",
    build_common_line() + ' "https://example.com/"': "no_match",
    build_line(host="999.0.2.7"): "no_match",
    build_line(host="192.0.2.7:1234567"): "no_match",
    build_line(host="192.0.2.7,"): "no_match",
    build_line(host="2001:db8::1::2"): "no_match",
    build_line(host="a b"): "no_match",
    build_line(host="a/b"): "no_match",
    build_line(host=".".join(["a" * 60] * 5)): "no_match",
    build_line(host='"192.0.2.7"'): "no_match",
    build_line(time="yesterday"): "bad_time",
    build_line(time="30/Feb/2015:10:05:03 +0000"): "bad_time",
    build_line(time="29/Feb/1900:10:05:03 +0000"): "bad_time",
    build_line(time="31/Apr/2015:10:05:03 +0000"): "bad_time",
    build_line(time="17/Mai/2015:10:05:03 +0000"): "bad_time",
    build_line(time="17/May/2015:25:05:03 +0000"): "bad_time",
    build_line(time="17/May/2015:10:05:03"): "bad_time",
    build_line(time="17/May/0000:10:05:03 +0000"): "bad_time",
    build_line(time="17/May/9999:10:05:03 +0000"): "bad_time",
    build_line(size="9" * 25): "bad_size",
    build_line(size=str(2**63)): "bad_size",
    "x" * (MAX_LINE_BYTES + 1): "too_long",
    build_line(user_agent="x" * MAX_LINE_BYTES): "too_long",
    "{'json': 1}": "no_match",
}


def test_a_bad_line_has_a_reason_and_keeps_its_text():
    rows = read_lines(*BAD_LINES)
    reasons = dict(zip(BAD_LINES, (row["bad_reason"] for row in rows), strict=True))
    assert reasons == BAD_LINES
    # far_future needs an arrival time.
    assert set(BAD_LINES.values()) == set(BAD_REASONS) - {"far_future"}
    for line, row in zip(BAD_LINES, rows, strict=True):
        assert row["raw"] == line[:MAX_RAW_CHARACTERS]
        assert row.keys() <= {"bad_reason", "raw", "timestamp"}


def test_a_bad_line_gives_the_time_that_it_shows():
    rows = read_lines('who knows [17/May/2015:23:30:00 +0200] "half a li', "who knows [soon]")
    assert [row.get("timestamp") for row in rows] == [utc("2015-05-17T21:30:00"), None]


def test_a_bad_line_that_is_not_utf8_is_escaped_like_apache_does():
    (row,) = read_lines(b"junk \xff\xc3\xa4\xfe end")
    assert row["raw"] == "junk \\xff\\xc3\\xa4\\xfe end"


def test_a_line_dated_far_after_its_arrival_is_bad_and_undated():
    times = [
        "18/May/2015:12:00:00 +0000",
        "18/May/2015:12:00:01 +0000",
        "01/Jan/2099:00:00:00 +0000",
    ]
    lines = [build_line(time=text) for text in times] + ["junk [01/Jan/2099:00:00:00 +0000]"]
    arrived = utc("2015-05-17T12:00:00")
    rows = read_lines(*lines, arrived=arrived)
    assert [row.get("bad_reason") for row in rows] == [None, "far_future", "far_future", "no_match"]
    assert [row.get("raw") for row in rows] == [None, *lines[1:]], "nothing of it is lost"
    assert [row.keys() & {"host", "timestamp"} for row in rows[1:]] == [set()] * 3
    rows = read_lines(*lines, arrived=arrived, future_hours=48)
    assert [row.get("bad_reason") for row in rows] == [None, None, "far_future", "no_match"]
    assert all(row.get("bad_reason") != "far_future" for row in read_lines(*lines))


def test_a_request_cannot_forge_the_status_or_the_user_agent():
    forged = 'GET /x\\" 200 99 \\"-\\" \\"ua HTTP/1.1'
    (row,) = read_lines(build_line(request=forged, status="404", user_agent="curl"))
    assert (row["status"], row["user_agent"]) == (404, "curl")
    assert row["endpoint"] == '/x" 200 99 "-" "ua'


@pytest.mark.parametrize(
    ("name", "formats"), [("apache_combined", COMBINED), ("nasa_common", COMMON)]
)
def test_real_logs_give_the_same_fields_as_apachelogs(shared, name, formats):
    path, parser = shared / "data" / f"{name}.log", LogParser(formats)
    texts = path.read_text().splitlines()
    unread = 0
    for row, text in zip(read_lines(*texts), texts, strict=True):
        try:
            entry = parser.parse(text)
        except InvalidEntryError:
            unread += 1
            continue
        assert get_tidemark_fields(row) == get_apachelogs_fields(entry), text
    assert unread == {"apache_combined": 1, "nasa_common": 0}[name]


def get_tidemark_fields(row):
    target = row.get("endpoint", "") + (f"?{row['query']}" if "query" in row else "")
    request = " ".join(part for part in (row.get("method"), target, row.get("protocol")) if part)
    return (row.get("host"), row.get("user"), row["timestamp"], request, row.get("status"),
            row.get("content_size"), decode_escaped_bytes(row.get("referrer")),
            decode_escaped_bytes(row.get("user_agent")))  # fmt: skip


def decode_escaped_bytes(text):
    r"""Decode Apache's `\xhh`, which apachelogs decodes and Tidemark leaves as it is written."""
    return text and re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


def get_apachelogs_fields(entry):
    headers = getattr(entry, "headers_in", {})
    return (
        entry.remote_host, entry.remote_user, entry.request_time,
        entry.request_line or "", entry.final_status, entry.bytes_sent,
        headers.get("Referer") or None, headers.get("User-Agent") or None,
    )  # fmt: skip
