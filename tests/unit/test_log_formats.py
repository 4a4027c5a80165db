"""LogFormat strings and W3C fields: what they write is read back, unusable ones are refused."""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.contracts import BAD_REASONS
from include.log_formats.log_format import NICKNAMES, compile_log_format
from include.log_formats.w3c import build_w3c_id, compile_w3c, normalise_w3c_fields
from include.settings import PROJECT
from tests.builders import build_line
from tests.read_lines import read_lines


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
        compile_log_format(text)
    directives = re.findall(r"`(%[^` ]+)`", page.partition("## LogFormat")[2])
    assert len(directives) > 40
    for directive in directives:
        compile_log_format(f"%h %t %>s {directive}")


def test_a_logformat_line_of_httpd_conf_is_accepted_unchanged():
    bare, quoted = '%h %t "%r" %>s', r'LogFormat "%h %t \"%r\" %>s\n" mine'
    assert compile_log_format(bare) == compile_log_format(quoted)


host_names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\.example", fullmatch=True)
word = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters='"\x7f'), min_size=1
)
free_text = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"))
times = st.datetimes(datetime(1971, 1, 1), datetime(2098, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
# Field -> its directive in a LogFormat, and a strategy for its values.
FIELDS = {
    "host": ("%h", st.ip_addresses().map(str) | host_names), "user": ("%u", word),
    "status": ("%>s", st.integers(100, 599).map(str)),
    "content_size": ("%b", st.integers(0, 10**15).map(str) | st.just("-")),
    "taken": ("%D", st.integers(0, 10**12).map(str)),
    "request": ('"%r"', free_text.map(lambda text: f"GET /{text} HTTP/1.1")),
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
    (row,) = read_lines(line, log_format=text)
    target = values["request"].removeprefix("GET ").removesuffix(" HTTP/1.1")
    endpoint, question_mark, query = target.partition("?")
    expected = {
        "host": values["host"], "timestamp": values["time"], "status": int(values["status"]),
        "seconds_taken": int(values["taken"]) / 1e6, "method": "GET", "endpoint": endpoint,
        "protocol": "HTTP/1.1", "log_format": "log_format",
    }  # fmt: skip
    optional = {name: values[name] for name in ("user", "referrer", "user_agent")}
    expected |= {name: value for name, value in optional.items() if value not in ("", "-")}
    expected |= {"query": query} if question_mark else {}
    expected |= (
        {"content_size": int(values["content_size"])} if values["content_size"] != "-" else {}
    )
    assert row == expected, (text, line)


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=300))
@example("%h %t %>s", "192.0.2.7 [30/Feb/2015:10:05:03 +0000] 200")
@example("%h %{sec}t %>s", "192.0.2.7 99999999999999999999 200")
@example("%h %{msec}t %>s", "192.0.2.7 9999999999999999999 200")
def test_no_logformat_and_no_line_raises_an_unexpected_error(text, line):
    with suppress(ValueError):
        compile_log_format(text)
        (row,) = read_lines(line, log_format=text)
        assert row.get("bad_reason") in {None, *BAD_REASONS}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (("%{sec}t", "1431857103"), "2015-05-17T10:05:03"),
        (("%{msec}t", "1431857103250"), "2015-05-17T10:05:03.25"),
        (("%{usec}t", "1431857103250001"), "2015-05-17T10:05:03.250001"),
        (("%{sec}t.%{usec_frac}t", "1431857103.250001"), "2015-05-17T10:05:03.250001"),
        (("%{%s}t", "1431857103"), "2015-05-17T10:05:03"),
        (("%{begin:%F %T}t", "2015-05-17 10:05:03"), "2015-05-17T10:05:03"),
        (("%{end:%d/%b/%Y:%T %z}t", "17/May/2015:12:05:03 +0200"), "2015-05-17T10:05:03"),
        (("%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t", "17/May/2015:12:05:03.250 +0200"),
         "2015-05-17T10:05:03.25"),
        (("%{%a, %d %b %Y %T %Z}t", "Sun, 17 May 2015 10:05:03 GMT"), "2015-05-17T10:05:03"),
        (("%{%A %e %B %Y %R}t", "Thursday  7 May 2015 10:05"), "2015-05-07T10:05:00"),
        (("%{%Y%m%d%H%M%S}t", "20150517100503"), "2015-05-17T10:05:03"),
    ],
)  # fmt: skip
def test_every_documented_way_to_write_the_time_is_read(times, expected):
    directives, written = times
    (row,) = read_lines(f"192.0.2.7 {written} 200", log_format=f"%h {directives} %>s")
    assert row.get("timestamp") == datetime.fromisoformat(expected).replace(tzinfo=UTC)


LOG_FORMATS = {
    **{f"%{name}": text for name, text in NICKNAMES.items()},
    "free text without quotes": "%v:%p %h %u %t %r %>s %b %f %{Referer}i|%{X}i %D",
    "time in pieces": '"%r" %u %{%F %T}t.%{msec_frac}t %{%z}t %h %s "%{X}i"',
}


@pytest.mark.parametrize("name", LOG_FORMATS)
def test_the_time_to_read_a_hostile_line_by_a_logformat_is_linear_in_its_length(name):
    prefix = 'a:80 h - - [17/May/2015:10:05:03 +0000] "'
    pieces = ['\\"', '"', "a", "\\", '" ', " ", "[", " [", "]", "- ", ":80 ", '" 200 5', "\t", '""',
              "[17/May/2015:10:05:03 +0000] ", "|", "1", "a:"]  # fmt: skip
    lines = []
    for piece in pieces:
        repeated = piece * (100_000 // len(piece))
        lines += [repeated, prefix + repeated, f"{prefix}{repeated} x", build_line(user_agent=repeated),
                  f"a b {repeated}x"]  # fmt: skip
    started = time.monotonic()
    assert len(read_lines(*lines, log_format=LOG_FORMATS[name])) == len(lines)
    # All lines take a second or two; a quadratic pattern takes minutes for a single line.
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("directive", "software", "seconds"),
    [
        ("date time c-ip sc-status time-taken sc-win32-status", "", 1.234),
        (
            "date time c-ip sc-status time-taken",
            " Microsoft Internet Information Services 10.0",
            1.234,
        ),
        ("date time c-ip sc-status time-taken", "Oracle-iPlanet", 1234),
    ],
)
def test_time_taken_is_in_milliseconds_for_iis_and_in_seconds_otherwise(
    directive, software, seconds
):
    fields = normalise_w3c_fields(directive, software)
    line = "2015-05-17 10:05:03 192.0.2.7 200 1234" + " 0" * ("win32" in directive)
    w3c_id = build_w3c_id(fields)
    (row,) = read_lines(line, files=[f"a.{w3c_id}.log"], w3c_fields={w3c_id: fields})
    assert row["seconds_taken"] == seconds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("date time c-ip cs-method", "its #Fields names no sc-status; let the server log it, too"),
        ("time cs-method", "its #Fields names no date and no c-ip and no sc-status; let the server log them"),
        ("", "its #Fields names no date and no time and no c-ip and no sc-status"),
    ],
)  # fmt: skip
def test_w3c_fields_without_what_a_line_needs_are_refused(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        compile_w3c(fields)


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
    (row,) = read_lines(line.format("[17/May/2015:10:05:03 +0000]"), log_format=text)
    assert (row["vhost"], row["host"]) == (vhost, "192.0.2.1")
