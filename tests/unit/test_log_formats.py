"""LogFormat strings and W3C fields: what they write is read back, unusable ones are refused."""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.log_formats import (
    ALB,
    APACHE,
    NICKNAMES,
    build_instant,
    compile_log_format,
    compile_w3c,
    detect_format,
    normalise_w3c_fields,
)
from include.settings import PROJECT
from tests.builders import build_common_line, build_line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%h %>s", "it has no time; write %t"),
        ("%t %>s", "it has no host (%h or %a); let the server log it, too"),
        ("%h %t", "it has no status (%>s); let the server log it, too"),
        ("%h %t %>s %y", "the directive %y is unknown"),
        ("%h %t %>s %{days}T", "the directive %{days}T is unknown; write %{us}T or %D"),
        ("%h%u %t %>s", "nothing stands between %h and %u"),
        ("%h %{%H:%M}t %>s", "its time lacks year, month, day; write %t"),
        ("%h %{%I:%M %p}t %>s", "%I in %{%I:%M %p}t cannot be read; write the time as %t"),
        ("%h %400t %>s", "%400t is not written for each line; write %t"),
        ("100% %h %t %>s", "'% %h %t %>s' is no directive"),
        ("", "it has no host"),
    ],
)
def test_an_unusable_logformat_is_refused_with_the_remedy(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        compile_log_format(text)


def test_the_documented_nicknames_and_directives_compile():
    page = (PROJECT / "docs" / "formats.md").read_text()
    for text in NICKNAMES.values():
        assert compile_log_format(text).parse is not None
    for directive in re.findall(r"`(%[^` ]+)`", page.partition("## LogFormat")[2]):
        compile_log_format(f"%h %t %>s {directive}")


def test_a_logformat_line_of_httpd_conf_is_accepted_unchanged():
    bare, quoted = '%h %t "%r" %>s', r'LogFormat "%h %t \"%r\" %>s\n" mine'
    assert compile_log_format(bare) == compile_log_format(quoted)


word = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters='"\\|;\x85\xa0'),
    min_size=1,
)
free_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85")
)
times = st.datetimes(datetime(1971, 1, 1), datetime(2098, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
# Field -> its directive in a LogFormat, and a strategy for its values.
FIELDS = {
    "host": ("%h", word), "user": ("%u", word), "status": ("%>s", st.integers(100, 599).map(str)),
    "content_size": ("%b", st.integers(0, 10**15).map(str) | st.just("-")),
    "taken": ("%D", st.integers(0, 10**12).map(str)), "request": ('"%r"', free_text),
    "referrer": ('"%{Referer}i"', free_text), "user_agent": ('"%{user-agent}i"', free_text),
    "time": ("%t", times), "nothing": ('"%{X-Anything}o"', free_text), "pid": ("[%P]", st.just("12")),
}  # fmt: skip


def apache_escape(text):
    """Escape as Apache does, except for characters that are not printable."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


@st.composite
def formats_with_lines(draw):
    """A LogFormat, the values of a request, and the line that Apache writes for it."""
    names = draw(st.permutations(sorted(FIELDS)))
    separator = draw(st.sampled_from([" ", " | ", "\t", "; "]))
    values = {name: draw(FIELDS[name][1]) for name in names}
    rendered = {name: apache_escape(value) if isinstance(value, str) else f"[{value:%d/%b/%Y:%H:%M:%S} +0000]"
                for name, value in values.items()}  # fmt: skip
    texts = [
        re.sub(r"%[^\s\"\]]+", lambda _, n=name: rendered[n], FIELDS[name][0]) for name in names
    ]
    return separator.join(FIELDS[name][0] for name in names), values, separator.join(texts)


@settings(deadline=None)
@given(formats_with_lines())
def test_the_values_that_a_logformat_writes_are_read_back(case):
    text, values, line = case
    fields = compile_log_format(text).parse(line)
    assert fields is not None, (text, line)
    for name in (
        "host",
        "user",
        "status",
        "content_size",
        "taken",
        "request",
        "referrer",
        "user_agent",
    ):
        assert fields[name] == apache_escape(values[name]), (text, line)
    assert build_instant(fields) == values["time"]


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=300))
@example("%h %t %>s", "192.0.2.7 [30/Feb/2015:10:05:03 +0000] 200")
@example("%h %{sec}t %>s", "192.0.2.7 99999999999999999999 200")
def test_no_format_and_no_line_raises_an_unexpected_error(text, line):
    with suppress(ValueError):
        compile_log_format(text).parse(line)
    detect_format(line)


FORMATS = {
    "apache": APACHE, "alb": ALB,
    "w3c": compile_w3c("date time c-ip cs-username cs-method cs-uri-stem sc-status cs(user-agent)"),
    **{f"%{name}": compile_log_format(text) for name, text in NICKNAMES.items()},
    "free text without quotes": compile_log_format("%v:%p %h %u %t %r %>s %b %f %{Referer}i|%{X}i %D"),
    "time in pieces": compile_log_format('"%r" %u %{%F %T}t.%{msec_frac}t %{%z}t %h %s "%{X}i"'),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_the_time_to_parse_a_hostile_line_is_linear_in_its_length(name):
    prefix = {"w3c": "2015-05-17 10:05:03 h ", "alb": "http 2018-07-02T22:23:00.186641Z a 1.2.3.4:5 - "
              '0 0 0 200 200 34 366 "'}.get(name, 'a:80 h - - [17/May/2015:10:05:03 +0000] "')  # fmt: skip
    pieces = ['\\"', '"', "a", "\\", '" ', " ", "[", " [", "]", "- ", ":80 ", '" 200 5', "\t", '""',
              "[17/May/2015:10:05:03 +0000] ", "|", "1", "a:"]  # fmt: skip
    started = time.monotonic()
    for piece in pieces:
        repeated = piece * (300_000 // len(piece))
        for line in (
            repeated,
            prefix + repeated,
            f"{prefix}{repeated} x",
            build_line(user_agent=repeated),
            f"a b {repeated}x",
        ):
            FORMATS[name].parse(line)
    # All lines take a second or two; a quadratic pattern takes an hour for a single line.
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("directive", "software", "unit"),
    [
        ("date time c-ip sc-status time-taken sc-win32-status", "", "1000"),
        (
            "date time c-ip sc-status time-taken",
            " Microsoft Internet Information Services 10.0",
            "1000",
        ),
        ("date time c-ip sc-status time-taken", "Oracle-iPlanet", "1"),
    ],
)
def test_time_taken_is_in_milliseconds_for_iis_and_in_seconds_otherwise(directive, software, unit):
    fields = compile_w3c(normalise_w3c_fields(directive, software)).parse("2015-05-17 10:05:03 h 200 1234 0"[
        : None if "win32" in directive else -2
    ])  # fmt: skip
    assert (fields["taken"], fields["unit"]) == ("1234", unit)


def test_the_format_and_time_of_a_line_are_detected():
    moment = datetime(2015, 5, 17, 10, 5, 3, tzinfo=UTC)
    expected = {
        build_line(): "combined", build_common_line(): "common", f"a:80 {build_line()}": "vhost_combined",
        f"a:80 {build_common_line()}": "vhost_common",
        '{"time_iso8601":"2015-05-17T12:05:03+02:00","remote_addr":"h","status":200}': "json",
        '{"ts":1431857103,"request":{"remote_ip":"h"},"status":200}': "json",
        '{"ts":"1431857103000","request":{"remote_ip":"h"},"status":200}': "json",
        "h 200 [17/May/2015:10:05:03 +0000]": "log_format",
    }  # fmt: skip
    given_format = compile_log_format("%h %>s %t")
    for line, name in expected.items():
        assert detect_format(line, given_format) == (name, moment), line
    for line in ("", "junk", "{}", "{" * 100_000, '{"status":200}', "[1]"):
        assert detect_format(line, given_format) is None


@pytest.mark.parametrize(("text", "line", "vhost"), [
    ("%v:%p %h %t \"%r\" %>s", "www.example.org:8443 192.0.2.1 {} \"GET / HTTP/1.1\" 200",
     "www.example.org:8443"),
    ("%v %p %h %t \"%r\" %>s", "www.example.org 8443 192.0.2.1 {} \"GET / HTTP/1.1\" 200",
     "www.example.org"),
    ("%v:%h %p %t \"%r\" %>s", "www.example.org:192.0.2.1 8443 {} \"GET / HTTP/1.1\" 200",
     "www.example.org"),
    ("%p:%v %h %t \"%r\" %>s", "8443:www.example.org 192.0.2.1 {} \"GET / HTTP/1.1\" 200",
     "www.example.org"),
])  # fmt: skip
def test_a_port_belongs_to_the_virtual_host_only_directly_behind_it(text, line, vhost):
    fields = compile_log_format(text).parse(line.format("[17/May/2015:10:05:03 +0000]"))
    assert (fields["vhost"], fields["host"]) == (vhost, "192.0.2.1")
