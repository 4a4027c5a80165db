"""Every format but common and combined: the lines of its documentation, and against another parser."""

import json
import time

import pytest
from apachelogs import LogParser

from include.log_formats.log_format import NICKNAMES
from include.log_formats.w3c import build_w3c_id, normalise_w3c_fields
from tests.builders import build_common_line, build_line
from tests.documented_lines import ALB_LINES, CADDY, CADDY_ROW, NGINX, NGINX_ROW, utc
from tests.read_lines import read_lines


def drop_keys(entry, *names):
    return {key: value for key, value in entry.items() if key not in names}


@pytest.mark.parametrize("name", ALB_LINES)
def test_documented_alb_lines_give_the_documented_fields(name):
    line, expected = ALB_LINES[name]
    assert read_lines(line) == [expected | {"log_format": "alb"}]


@pytest.mark.parametrize(
    "line",
    [
        ALB_LINES["http"][0].replace("192.168.131.39:2817", "-"),
        ALB_LINES["http"][0].replace("192.168.131.39:2817", "192.168.131.399:2817"),
        ALB_LINES["http"][0].partition(' "curl')[0],
        ALB_LINES["http"][0].replace(" 0.000 0.001", " 0.000"),
        ALB_LINES["http"][0].replace(" 200 200 ", " 2000 200 "),
    ],
)
def test_a_broken_alb_line_is_bad(line):
    (row,) = read_lines(line)
    assert (row["bad_reason"], row["raw"]) == ("no_match", line)


JSON_LINES = {
    "Caddy": (CADDY, CADDY_ROW),
    "Caddy, time on the wall": (CADDY | {"ts": "2022/03/09 21:30:01.524"},
                                CADDY_ROW | {"timestamp": utc("2022-03-09T21:30:01.524")}),
    "Caddy behind a proxy": (CADDY | {"request": CADDY["request"] | {"client_ip": "192.0.2.7"}},
                             CADDY_ROW | {"host": "192.0.2.7"}),
    "Caddy with a user": (CADDY | {"user_id": "frank"}, CADDY_ROW | {"user": "frank"}),
    "nginx": (NGINX, NGINX_ROW),
    "nginx, ISO time": (drop_keys(NGINX, "time_local") | {"time_iso8601": "2015-05-17T10:05:03+02:00"},
                        NGINX_ROW),
    "nginx, msec": (drop_keys(NGINX, "time_local") | {"msec": "1431849903.250"},
                    NGINX_ROW | {"timestamp": utc("2015-05-17T08:05:03.25")}),
    "nginx, the request in parts": (
        drop_keys(NGINX, "request") | {"request_method": "PUT", "request_uri": "/a?b",
                                       "server_protocol": "HTTP/2.0"},
        NGINX_ROW | {"method": "PUT", "endpoint": "/a", "query": "b", "protocol": "HTTP/2.0"}),
    "nginx, the query apart": (
        drop_keys(NGINX, "request") | {"request_method": "GET", "uri": "/a b", "args": "c=d"},
        drop_keys(NGINX_ROW, "protocol") | {"endpoint": "/a b", "query": "c=d"}),
    "nginx, no request was read": (
        NGINX | {"request": "", "status": "400"},
        drop_keys(NGINX_ROW, "method", "endpoint", "query", "protocol") | {"status": 400}),
    "nginx, the request in full and in parts": (
        NGINX | {"request_method": "GET", "request_uri": '/a"b\\c?x=1'}, NGINX_ROW),
    "nginx, further fields": (
        NGINX | {"upstream_cache_status": "HIT", "sent_http_content_type": "text/html",
                 "ssl_protocol": "TLSv1.3"},
        NGINX_ROW | {"cache_status": "HIT", "mime_type": "text/html", "tls_version": "TLSv1.3"}),
    "numbers as numbers": (NGINX | {"status": 404, "request_time": 0.012, "body_bytes_sent": 0},
                           NGINX_ROW),
    "a name before a number": (NGINX | {"user_id": 4, "username": "frank"}, NGINX_ROW | {"user": "frank"}),
    "a number for a user": (NGINX | {"user_id": 4}, NGINX_ROW | {"user": "4"}),
    "host with a port": (NGINX | {"remote_addr": "[2001:db8::9]:443"}, NGINX_ROW),
    "socket": (NGINX | {"remote_addr": "unix:"}, drop_keys(NGINX_ROW, "host")),
    "time in milliseconds": (drop_keys(NGINX, "time_local") | {"timestamp": 1431849903250},
                             NGINX_ROW | {"timestamp": utc("2015-05-17T08:05:03.25")}),
    "time in nanoseconds": (drop_keys(NGINX, "time_local") | {"timestamp": 1431849903250000000},
                            NGINX_ROW | {"timestamp": utc("2015-05-17T08:05:03.25")}),
    "what nobody knows": (NGINX | {"request_id": None, "tags": ["a", {"b": [1]}], "more": {"status": 500}},
                          NGINX_ROW),
}  # fmt: skip


@pytest.mark.parametrize("name", JSON_LINES)
def test_json_lines_of_caddy_and_nginx_give_every_field(name):
    entry, expected = JSON_LINES[name]
    assert read_lines(json.dumps(entry, ensure_ascii=False)) == [expected | {"log_format": "json"}]


BAD_JSON_LINES = {
    "two objects": ('{"a":1}{"a":2}', "no_match"),
    "a line twice": (json.dumps(NGINX) * 2, "no_match"),
    "cut off": (json.dumps(NGINX)[:-1], "no_match"),
    "no status": (json.dumps(drop_keys(NGINX, "status")), "no_match"),
    "no client": (json.dumps(drop_keys(NGINX, "remote_addr")), "no_match"),
    "no path": (json.dumps(drop_keys(NGINX, "request")), "no_match"),
    "no time": (json.dumps(NGINX | {"time_local": ""}), "no_match"),
    "two clients": (json.dumps(NGINX | {"remote_addr": "192.0.2.7, 198.51.100.2"}), "no_match"),
    "status of four digits": (json.dumps(NGINX | {"status": "2000"}), "no_match"),
    "number of four digits for a status": (json.dumps(NGINX | {"status": 2000}), "no_match"),
    "word for a status": (json.dumps(NGINX | {"status": "OK"}), "no_match"),
    "negative status": (json.dumps(NGINX | {"status": -1}), "no_match"),
    "impossible day": (json.dumps(NGINX | {"time_local": "30/Feb/2015:10:05:03 +0200"}), "bad_time"),
    "word for a time": (json.dumps(NGINX | {"time_local": "soon"}), "bad_time"),
    "end of time": (json.dumps(CADDY | {"ts": 9e300}), "bad_time"),
    "huge size": (json.dumps(NGINX | {"body_bytes_sent": "9" * 25}), "bad_size"),
    "huge number for a size": (json.dumps(NGINX | {"body_bytes_sent": 9 * 10**24}), "bad_size"),
    "empty object": ("{}", "no_match"),
    "brace": ("{", "no_match"),
    "list": ("[1]", "no_match"),
    "deep": ('{"request":' * 2000, "no_match"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_JSON_LINES)
def test_a_bad_json_line_has_a_reason_and_keeps_its_text(name):
    line, reason = BAD_JSON_LINES[name]
    (row,) = read_lines(line)
    assert (row.get("bad_reason"), row.get("raw")) == (reason, line)
    assert row.keys() <= {"bad_reason", "raw", "timestamp"}


@pytest.mark.parametrize("name", BAD_JSON_LINES)
def test_a_bad_json_line_does_not_touch_the_lines_beside_it(name):
    good_line = json.dumps(NGINX)
    (good,) = read_lines(good_line)
    assert read_lines(good_line, BAD_JSON_LINES[name][0], good_line)[::2] == [good, good]


@pytest.mark.parametrize("value", [-1, True, "nan", "inf", "-1", "1_0", "1e400", None, [], {}])
def test_a_time_taken_that_is_none_is_null(value):
    (row,) = read_lines(json.dumps(NGINX | {"request_time": value}))
    assert row["status"] == 404
    assert "seconds_taken" not in row


@pytest.mark.parametrize("value", [-5, "-5", "+5", 5.5])
def test_a_size_that_is_none_is_never_summed(value):
    (row,) = read_lines(json.dumps(NGINX | {"body_bytes_sent": value}))
    assert "content_size" not in row


def test_a_path_with_a_space_under_the_name_request_keeps_its_method():
    entry = drop_keys(NGINX, "request") | {"request": "/a b?x=1", "verb": "GET"}
    (row,) = read_lines(json.dumps(entry))
    assert (row.get("method"), row.get("endpoint"), row.get("query")) == ("GET", "/a b", "x=1")


# IIS 6.0 of learn.microsoft.com (milliseconds), and the W3C draft (seconds, quoted strings).
IIS_FIELDS = normalise_w3c_fields(
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version "
    "cs(User-Agent) cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes time-taken", ""
)  # fmt: skip
DRAFT_FIELDS = normalise_w3c_fields(
    "date time c-ip cs-method cs-uri sc-status bytes time-taken cs(User-Agent)", ""
)
W3C_FIELDS = {build_w3c_id(fields): fields for fields in (IIS_FIELDS, DRAFT_FIELDS)}
W3C_LINES = {
    "IIS": (IIS_FIELDS,
        "2002-05-02 17:42:15 172.30.255.255 GET /images/picture.jpg a=1&b 80 CORP\\jane 172.22.255.255 "
        "HTTP/1.1 Mozilla/4.0+(compatible;MSIE+5.5;+Windows+2000+Server) http://www.example.com/a "
        "www.example.com 200 0 0 5120 1250",
        {"host": "172.22.255.255", "user": "CORP\\jane", "method": "GET", "query": "a=1&b",
         "endpoint": "/images/picture.jpg", "protocol": "HTTP/1.1", "status": 200,
         "content_size": 5120, "referrer": "http://www.example.com/a", "vhost": "www.example.com",
         "user_agent": "Mozilla/4.0 (compatible;MSIE 5.5; Windows 2000 Server)",
         "seconds_taken": 1.25, "timestamp": utc("2002-05-02T17:42:15")}),
    "IIS, nothing but dashes": (IIS_FIELDS,
        "2002-05-02 17:42:15 172.30.255.255 GET / - 80 - 172.22.255.255 - - - - 404 0 2 - 0",
        {"host": "172.22.255.255", "method": "GET", "endpoint": "/", "status": 404,
         "seconds_taken": 0.0, "timestamp": utc("2002-05-02T17:42:15")}),
    "the draft": (DRAFT_FIELDS,
        '1996-01-12 00:34:23.5 192.0.2.1 GET /foo/bar.html?a 200 7 0.25 "Mozilla ""x"" + y"',
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo/bar.html", "query": "a",
         "status": 200, "content_size": 7, "seconds_taken": 0.25,
         "user_agent": 'Mozilla "x" + y', "timestamp": utc("1996-01-12T00:34:23.5")}),
    "the draft, no seconds": (DRAFT_FIELDS,
        "1996-01-12 00:34 192.0.2.1 GET /foo 200 7 3 x",
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo", "status": 200,
         "content_size": 7, "seconds_taken": 3.0, "user_agent": "x",
         "timestamp": utc("1996-01-12T00:34:00")}),
    "the draft, quotes with nothing between": (DRAFT_FIELDS,
        '1996-01-12 00:34:00 192.0.2.1 GET /foo 200 - "-" ""',
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo", "status": 200,
         "timestamp": utc("1996-01-12T00:34:00")}),
    "the draft, tabs between": (DRAFT_FIELDS,
        "1996-01-12\t00:34:00\t192.0.2.1\tGET\t/foo\t200\t7\t3\tx\r",
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo", "status": 200,
         "content_size": 7, "seconds_taken": 3.0, "user_agent": "x",
         "timestamp": utc("1996-01-12T00:34:00")}),
}  # fmt: skip


def build_w3c_file_name(fields):
    return f"file:/ready/0123-u_ex.{build_w3c_id(fields)}.log.gz"


@pytest.mark.parametrize("name", W3C_LINES)
def test_documented_w3c_lines_give_the_documented_fields(name):
    fields, line, expected = W3C_LINES[name]
    rows = read_lines(line, files=[build_w3c_file_name(fields)], w3c_fields=W3C_FIELDS)
    assert rows == [expected | {"log_format": "w3c"}]


def test_a_w3c_line_is_read_only_by_the_fields_of_its_file():
    iis, draft = (build_w3c_file_name(fields) for fields in (IIS_FIELDS, DRAFT_FIELDS))
    iis_line, draft_line = W3C_LINES["IIS"][1], W3C_LINES["the draft"][1]
    cases = [
        (iis_line, iis, "w3c"), (draft_line, draft, "w3c"), (build_line(), "file:/ready/a.log", "combined"),
        (build_line(), None, "combined"), (build_line(), iis, "no_match"),
        (json.dumps(NGINX), iis, "no_match"), (draft_line, iis, "no_match"),
        (iis_line, "file:/ready/a.log", "no_match"),
        (iis_line, "file:/ready/0123-a.w3c-00000000.log", "no_match"),
        (iis_line.replace("2002-05-02", "2002-02-30"), iis, "bad_time"),
        (iis_line.replace("172.22.255.255", "172.22.255.256"), iis, "no_match"),
    ]  # fmt: skip
    lines, files, expected = zip(*cases, strict=True)
    rows = read_lines(*lines, files=files, w3c_fields=W3C_FIELDS)
    assert [row.get("bad_reason", row.get("log_format")) for row in rows] == list(expected)


@pytest.mark.parametrize("size", ["-7", "+7", "7.5", "x"])
def test_a_w3c_size_that_is_none_is_never_summed(size):
    line = f"1996-01-12 00:34:00 192.0.2.1 GET /foo 200 {size} 3 x"
    files = [build_w3c_file_name(DRAFT_FIELDS)]
    (row,) = read_lines(line, files=files, w3c_fields=W3C_FIELDS)
    assert "content_size" not in row


@pytest.mark.parametrize("taken", ["-1", "1e999", "nan", "x", "1_0"])
def test_a_w3c_time_taken_that_is_none_is_never_summed(taken):
    line = f"1996-01-12 00:34:00 192.0.2.1 GET /foo 200 7 {taken} x"
    files = [build_w3c_file_name(DRAFT_FIELDS)]
    (row,) = read_lines(line, files=files, w3c_fields=W3C_FIELDS)
    assert (row["status"], row.get("seconds_taken")) == (200, None)


LOG_FORMATS = {
    "common": ("common", build_common_line(user="frank")),
    "combined": ("combined", build_line(user_agent='x \\"y\\" z', referrer="http://a/?b=c")),
    # Debian's other_vhosts_access.log
    "vhost_combined": ("vhost_combined", "www.example.org:443 " + build_line(host="2001:db8::1")),
    "all in other places": (
        r'%>s %b %D %{User-Agent}i|%{Referer}i|%H %m %U%q %t %h "%u"',
        "404 - 1500 Mozilla/5.0 (X11; Linux)|http://a/?b=c|HTTP/1.1 GET /a?b=c "
        '[17/May/2015:10:05:03 +0200] 192.0.2.7 "jane doe"',
    ),
    "strftime": (
        '%a %{%Y-%m-%d %H:%M:%S %z}t "%r" %s %B "%{Referer}i" "%{User-agent}i" %{ms}T %{X-Id}o %I %O',
        '192.0.2.7 2015-05-17 10:05:03 -0330 "GET /a HTTP/1.1" 200 0 "-" "x" 12 abc 300 400',
    ),
    "parts of a second": (
        r'%h %l %u [%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t] \"%r\" %>s %b',
        '192.0.2.7 - - [17/May/2015 10:05:03.250 +0000] "GET /a HTTP/1.1" 200 5',
    ),
    "by condition": (
        '%h %l %u %t "%r" %>s %b "%!200,304,302{Referer}i" %400,501{User-agent}i',
        '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" -',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOG_FORMATS)
def test_a_custom_log_format_gives_the_same_fields_as_apachelogs(name):
    log_format, line = LOG_FORMATS[name]
    (row,) = read_lines(line, log_format=log_format)
    apache_format = NICKNAMES.get(log_format, log_format).replace('\\"', '"')
    entry = LogParser(apache_format).parse(line)
    assert row["log_format"] == "log_format"

    def get_first_field(*names):
        values = [getattr(entry, name, None) for name in names]
        return next((value for value in values if value is not None), None)

    headers = getattr(entry, "headers_in", {})
    request = get_first_field("request_line") or (
        f"{entry.request_method} {entry.request_uri}{entry.request_query} {entry.request_protocol}"
    )
    target = row["endpoint"] + (f"?{row['query']}" if "query" in row else "")
    assert f"{row['method']} {target} {row['protocol']}" == request
    assert row["host"] == get_first_field("remote_host", "remote_address")
    assert row.get("user") == get_first_field("remote_user")
    assert row["status"] == get_first_field("final_status", "status")
    assert row.get("content_size") == get_first_field("bytes_sent", "bytes_out")
    assert row["timestamp"] == entry.request_time
    assert row.get("referrer") == headers.get("Referer")
    assert row.get("user_agent") == headers.get("User-Agent")
    for unit, attribute in ((1e6, "microseconds"), (1e3, "milliseconds")):
        if (duration := get_first_field(f"request_duration_{attribute}")) is not None:
            assert row["seconds_taken"] == duration / unit


def test_a_custom_log_format_is_tried_before_the_known_formats():
    lines = ["192.0.2.7 200 [17/May/2015:10:05:03 +0000]", build_line(), build_common_line(),
             json.dumps(NGINX), ALB_LINES["http"][0], "junk"]  # fmt: skip
    rows = read_lines(*lines, log_format="%h %>s %t")
    assert [row.get("log_format") for row in rows] == [
        "log_format", "combined", "common", "json", "alb", None,
    ]  # fmt: skip
    rows = read_lines(*lines, log_format='%h %l %u %t "%r" %>s %b%{X}i')
    assert [row.get("log_format") for row in rows] == [
        None, "log_format", "log_format", "json", "alb", None,
    ]  # fmt: skip


def test_the_host_of_a_custom_log_format_must_be_one():
    hosts = ["192.0.2.7", "192.0.2.7:51234", "a.example", "-", "192.0.2.700", "a,b"]
    rows = read_lines(
        *[f"{host} 200 [17/May/2015:10:05:03 +0000]" for host in hosts], log_format="%h %>s %t"
    )
    assert [row.get("bad_reason", row.get("host")) for row in rows] == [
        "192.0.2.7", "192.0.2.7", "a.example", None, "no_match", "no_match",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [50_000, pytest.param(400_000, marks=pytest.mark.matrix)])
def test_the_time_to_read_a_hostile_line_of_any_format_is_linear(size):
    alb, w3c = ALB_LINES["http"][0].partition("GET")[0], W3C_LINES["IIS"][1][:45]
    lines, files = [], []
    for piece in ['\\"', '"', "a", "\\", '" ', " ", "{", "[", ":80 ", '{"a":', "1", '""']:
        text = piece * (size // len(piece))
        begun = [alb, "{", '{"request":"', w3c, 'a:80 h - - [17/May/2015:10:05:03 +0000] "GET ']
        lines += [begin + text for begin in begun]
        files += [build_w3c_file_name(IIS_FIELDS) if begin == w3c else None for begin in begun]
    started = time.monotonic()
    rows = read_lines(*lines, files=files, log_format="vhost_combined", w3c_fields=W3C_FIELDS)
    assert len(rows) == len(lines)
    # This takes seconds. A pattern that is quadratic takes minutes for a single line.
    assert time.monotonic() - started < size / 2000
