"""Every log format on the lines of its own documentation, and against another parser."""

import json
from datetime import UTC, datetime

import pytest
from apachelogs import LogParser
from pyspark.sql import functions as F

from include.log_formats import NICKNAMES, w3c_fields, w3c_id
from spark_jobs.transforms.access_log import parse_lines
from tests.builders import a_common_line, a_line

ARN = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067"
ALB = "app/my-loadbalancer/50dc6c495c0c9188"


@pytest.fixture
def parse(spark):
    def parsed(*lines, log_format="", w3c=None, file=None):
        """Rows of the lines, in order, each as a dict without its nulls."""
        raw = [(n, line, file) for n, line in enumerate(lines)]
        frame = spark.createDataFrame(raw, "n INT, line STRING, file STRING")
        rows = parse_lines(frame, log_format, w3c).orderBy("n")
        seconds = F.col("timestamp").cast("double").alias("at")
        return [
            {k: v for k, v in row.asDict().items() if v is not None and k not in ("n", "file")}
            for row in rows.select(
                seconds, *[c for c in rows.columns if c != "timestamp"]
            ).collect()
        ]

    return parsed


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
ALB_LINES = {
    "http": (
        f'http 2018-07-02T22:23:00.186641Z {ALB} 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 '
        f'200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} '
        '"Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" '
        '"-" "10.0.0.1:80" "200" "-" "-"',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 200, "content_size": 366, "user_agent": "curl/7.46.0", "seconds_taken": 0.001,
         "vhost": "www.example.com:80", "at": at("2018-07-02T22:23:00.186641")},
    ),
    "https": (
        f'https 2018-07-02T22:23:00.186641Z {ALB} 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 '
        '200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 '
        f'TLSv1.2 {ARN} "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" '
        '"arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 '
        '2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_123456',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 200, "content_size": 57, "user_agent": "curl/7.46.0", "seconds_taken": 0.171,
         "vhost": "www.example.com:443", "at": at("2018-07-02T22:23:00.186641")},
    ),
    "HTTP/2": (
        f'h2 2018-07-02T22:23:00.186641Z {ALB} 10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200 200 5 '
        '257 "GET https://10.0.2.105:773/ HTTP/2.0" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        f'{ARN} "Root=1-58337327-72bd00b0343d75b906739c42" "-" "-" 1 2018-07-02T22:22:48.364000Z '
        '"redirect" "https://example.com:80/" "-" "10.0.0.66:9000" "200" "-" "-"',
        {"host": "10.0.1.252", "method": "GET", "endpoint": "/", "protocol": "HTTP/2.0",
         "status": 200, "content_size": 257, "user_agent": "curl/7.46.0", "seconds_taken": 0.002,
         "vhost": "10.0.2.105:773", "at": at("2018-07-02T22:23:00.186641")},
    ),
    "secured WebSocket": (
        f'wss 2018-07-02T22:23:00.186641Z {ALB} 10.0.0.140:44244 10.0.0.171:8010 0.000 0.001 0.000 101 101 '
        '218 786 "GET https://10.0.0.30:443/ HTTP/1.1" "-" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        f'{ARN} "Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 1 2018-07-02T22:22:48.364000Z '
        '"forward" "-" "-" "10.0.0.171:8010" "101" "-" "-"',
        {"host": "10.0.0.140", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 101, "content_size": 786, "seconds_taken": 0.001, "vhost": "10.0.0.30:443",
         "at": at("2018-07-02T22:23:00.186641")},
    ),
    "Lambda that failed": (
        f'http 2018-11-30T22:23:00.186641Z {ALB} 192.168.131.39:2817 - 0.000 0.001 0.000 502 - 34 366 '
        f'"GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} '
        '"Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 0 2018-11-30T22:22:48.364000Z "forward" '
        '"-" "LambdaInvalidResponse" "-" "-" "-" "-"',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 502, "content_size": 366, "user_agent": "curl/7.46.0", "seconds_taken": 0.001,
         "vhost": "www.example.com:80", "at": at("2018-11-30T22:23:00.186641")},
    ),
    "nothing reached, IPv6, a query": (
        f'https 2018-07-02T22:23:00.186641Z {ALB} [2001:db8::7]:2817 - -1 -1 -1 503 - 0 0 '
        '"POST https://a.example:443/x/y?z=1&q=%22 HTTP/1.1" "a \\"b\\" c" - - - "-" "-" "-"',
        {"host": "2001:db8::7", "method": "POST", "endpoint": "/x/y", "query": "z=1&q=%22",
         "protocol": "HTTP/1.1", "status": 503, "content_size": 0, "user_agent": 'a \\"b\\" c',
         "vhost": "a.example:443", "at": at("2018-07-02T22:23:00.186641")},
    ),
    "no request at all": (
        f'http 2018-07-02T22:23:00.186641Z {ALB} 10.0.0.9:1 - -1 -1 -1 400 - 0 272 '
        '"- http://www.example.com:80- " "-" - - - "-" "-" "-"',
        {"host": "10.0.0.9", "endpoint": "- http://www.example.com:80- ", "status": 400,
         "content_size": 272, "at": at("2018-07-02T22:23:00.186641")},
    ),
}  # fmt: skip
# caddyserver.com/docs/logging, on one line as Caddy writes it.
CADDY = {
    "level": "info", "ts": 1646861401.5241024, "logger": "http.log.access", "msg": "handled request",
    "request": {
        "remote_ip": "127.0.0.1", "remote_port": "41342", "client_ip": "127.0.0.1",
        "proto": "HTTP/2.0", "method": "GET", "host": "localhost", "uri": "/",
        "headers": {"User-Agent": ["curl/7.82.0"], "Accept": ["*/*"]},
        "tls": {"resumed": False, "version": 772, "proto": "h2", "server_name": "example.com"},
    },
    "bytes_read": 0, "user_id": "", "duration": 0.000929675, "size": 10900, "status": 200,
    "resp_headers": {"Server": ["Caddy"], "Content-Type": ["text/html; charset=utf-8"]},
}  # fmt: skip
CADDY_ROW = {
    "host": "127.0.0.1", "method": "GET", "endpoint": "/", "protocol": "HTTP/2.0", "status": 200,
    "content_size": 10900, "user_agent": "curl/7.82.0", "vhost": "localhost",
    "seconds_taken": 0.000929675, "at": at("2022-03-09T21:30:01.524102"),
}  # fmt: skip
# What nginx writes with `log_format … escape=json`, by the names of its variables.
NGINX = {
    "time_local": "17/May/2015:10:05:03 +0200", "remote_addr": "2001:db8::9", "remote_user": "",
    "request": 'GET /a"b\\c?x=1 HTTP/1.1', "status": "404", "body_bytes_sent": "0",
    "request_time": "0.012", "http_referer": "https://example.org/\u00e4", "http_user_agent": "x\ty",
    "host": "example.org",
}  # fmt: skip
NGINX_ROW = {
    "host": "2001:db8::9", "method": "GET", "endpoint": '/a"b\\c', "query": "x=1",
    "protocol": "HTTP/1.1", "status": 404, "content_size": 0, "seconds_taken": 0.012,
    "referrer": "https://example.org/\u00e4", "user_agent": "x\ty", "vhost": "example.org",
    "at": at("2015-05-17T08:05:03"),
}  # fmt: skip


def without(entry, *names):
    return {key: value for key, value in entry.items() if key not in names}


JSON_LINES = {
    "Caddy": (CADDY, CADDY_ROW),
    "Caddy, time on the wall": (CADDY | {"ts": "2022/03/09 21:30:01.524"},
                                CADDY_ROW | {"at": at("2022-03-09T21:30:01.524")}),
    "Caddy behind a proxy": (CADDY | {"request": CADDY["request"] | {"client_ip": "192.0.2.7"}},
                             CADDY_ROW | {"host": "192.0.2.7"}),
    "nginx": (NGINX, NGINX_ROW),
    "nginx, ISO time": (without(NGINX, "time_local") | {"time_iso8601": "2015-05-17T10:05:03+02:00"},
                        NGINX_ROW),
    "nginx, msec": (without(NGINX, "time_local") | {"msec": "1431849903.250"},
                    NGINX_ROW | {"at": at("2015-05-17T08:05:03.25")}),
    "nginx, the request in parts": (
        without(NGINX, "request") | {"request_method": "PUT", "request_uri": "/a?b",
                                     "server_protocol": "HTTP/2.0"},
        NGINX_ROW | {"method": "PUT", "endpoint": "/a", "query": "b", "protocol": "HTTP/2.0"}),
    "nginx, the query apart": (
        without(NGINX, "request") | {"request_method": "GET", "uri": "/a b", "args": "c=d"},
        without(NGINX_ROW, "protocol") | {"endpoint": "/a b", "query": "c=d"}),
    "numbers as numbers": (NGINX | {"status": 404, "request_time": 0.012, "body_bytes_sent": 0},
                           NGINX_ROW),
}  # fmt: skip


@pytest.mark.parametrize("name", ALB_LINES)
def test_an_alb_line_gives_what_its_documentation_says(parse, name):
    line, expected = ALB_LINES[name]
    assert parse(line) == [pytest.approx(expected | {"log_format": "alb"})]


def test_a_json_line_gives_what_its_server_means(parse):
    rows = parse(*[json.dumps(entry, ensure_ascii=False) for entry, _ in JSON_LINES.values()])
    for name, row in zip(JSON_LINES, rows, strict=True):
        assert row == pytest.approx(JSON_LINES[name][1] | {"log_format": "json"}), name


BAD_JSON = {
    '{"a":1}{"a":2}': "no_match",
    json.dumps(NGINX) + json.dumps(NGINX): "no_match",
    json.dumps(NGINX)[:-1]: "no_match",
    json.dumps(without(NGINX, "status")): "no_match",
    json.dumps(without(NGINX, "remote_addr")): "no_match",
    json.dumps(NGINX | {"time_local": ""}): "no_match",
    json.dumps(NGINX | {"time_local": "30/Feb/2015:10:05:03 +0200"}): "bad_time",
    json.dumps(NGINX | {"time_local": "soon"}): "bad_time",
    json.dumps(NGINX | {"body_bytes_sent": "9" * 25}): "bad_size",
    json.dumps(CADDY | {"ts": 9e300}): "bad_time",
    "{}": "no_match",
    "{": "no_match",
    "[1]": "no_match",
    '{"request":' * 2000: "no_match",
}


def test_a_json_line_that_lacks_something_is_bad_and_stops_nothing(parse):
    rows = parse(*BAD_JSON)
    assert [row["bad_reason"] for row in rows] == list(BAD_JSON.values())
    assert [row["raw"] for row in rows] == list(BAD_JSON)


# learn.microsoft.com, IIS 6.0 (milliseconds), and the draft's own (seconds, quoted strings).
IIS = w3c_fields(
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version "
    "cs(User-Agent) cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes time-taken", ""
)  # fmt: skip
DRAFT = w3c_fields("date time c-ip cs-method cs-uri sc-status bytes time-taken cs(User-Agent)", "")
W3C = {w3c_id(IIS): IIS, w3c_id(DRAFT): DRAFT}
W3C_LINES = {
    "IIS": (IIS,
        "2002-05-02 17:42:15 172.30.255.255 GET /images/picture.jpg a=1&b 80 CORP\\jane 172.22.255.255 "
        "HTTP/1.1 Mozilla/4.0+(compatible;MSIE+5.5;+Windows+2000+Server) http://www.example.com/a "
        "www.example.com 200 0 0 5120 1250",
        {"host": "172.22.255.255", "user": "CORP\\jane", "method": "GET", "query": "a=1&b",
         "endpoint": "/images/picture.jpg", "protocol": "HTTP/1.1", "status": 200,
         "content_size": 5120, "referrer": "http://www.example.com/a", "vhost": "www.example.com",
         "user_agent": "Mozilla/4.0 (compatible;MSIE 5.5; Windows 2000 Server)",
         "seconds_taken": 1.25, "at": at("2002-05-02T17:42:15")}),
    "IIS, nothing but dashes": (IIS,
        "2002-05-02 17:42:15 172.30.255.255 GET / - 80 - 172.22.255.255 - - - - 404 0 2 - 0",
        {"host": "172.22.255.255", "method": "GET", "endpoint": "/", "status": 404,
         "seconds_taken": 0.0, "at": at("2002-05-02T17:42:15")}),
    "the draft": (DRAFT,
        '1996-01-12 00:34:23.5 192.0.2.1 GET /foo/bar.html?a 200 7 0.25 "Mozilla ""x"" + y"',
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo/bar.html", "query": "a",
         "status": 200, "content_size": 7, "seconds_taken": 0.25,
         "user_agent": 'Mozilla ""x"" + y', "at": at("1996-01-12T00:34:23.5")}),
    "the draft, no seconds": (DRAFT,
        "1996-01-12 00:34 192.0.2.1 GET /foo 200 7 3 x",
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo", "status": 200,
         "content_size": 7, "seconds_taken": 3.0, "user_agent": "x", "at": at("1996-01-12T00:34:00")}),
}  # fmt: skip


@pytest.mark.parametrize("name", W3C_LINES)
def test_a_w3c_line_is_read_by_the_fields_of_its_file(parse, name):
    fields, line, expected = W3C_LINES[name]
    file = f"file:/ready/0123-u_ex.{w3c_id(fields)}.log.gz"
    assert parse(line, w3c=W3C, file=file) == [pytest.approx(expected | {"log_format": "w3c"})]


def test_a_line_of_a_w3c_file_is_read_in_no_other_way(parse):
    file = f"file:/ready/0123-u_ex.{w3c_id(IIS)}.log"
    rows = parse(a_line(), "2002-02-30 17:42:15 x GET / - 80 - h - - - - 404 0 2 - 0", w3c=W3C,
                 file=file)  # fmt: skip
    assert [row["bad_reason"] for row in rows] == ["no_match", "bad_time"]
    (row,) = parse(a_line(), w3c=W3C, file="file:/ready/0123-a.log")
    assert row["log_format"] == "combined"


LOG_FORMATS = {
    "common": ("common", a_common_line(user="frank")),
    "combined": ("combined", a_line(user_agent='x \\"y\\" z', referrer="http://a/?b=c")),
    # Debian's other_vhosts_access.log
    "vhost_combined": ("vhost_combined", "www.example.org:443 " + a_line(host="2001:db8::1")),
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
def test_a_logformat_reads_as_another_parser_reads_it(parse, name):
    text, line = LOG_FORMATS[name]
    (row,) = parse(line, log_format=text)
    bare = NICKNAMES.get(text, text).replace('\\"', '"')
    entry = LogParser(bare).parse(line)
    assert row.pop("log_format") == "log_format"

    def first(*names):
        found = [getattr(entry, name, None) for name in names]
        return next((value for value in found if value is not None), None)

    headers = getattr(entry, "headers_in", {})
    request = first("request_line") or (
        f"{entry.request_method} {entry.request_uri}{entry.request_query} {entry.request_protocol}"
    )
    target = row["endpoint"] + (f"?{row['query']}" if "query" in row else "")
    fraction = getattr(entry, "request_time_fields", {}).get("msec_frac", 0) / 1000
    assert f"{row['method']} {target} {row['protocol']}" == request
    assert row["host"] == first("remote_host", "remote_address")
    assert row.get("user") == first("remote_user")
    assert row["status"] == first("final_status", "status")
    assert row.get("content_size") == first("bytes_sent", "bytes_out")
    assert row["at"] == pytest.approx(entry.request_time.timestamp() + fraction)
    assert row.get("referrer") == headers.get("Referer")
    assert row.get("user_agent") == headers.get("User-Agent")
    for unit, attribute in ((1e6, "microseconds"), (1e3, "milliseconds")):
        if (taken := first(f"request_duration_{attribute}")) is not None:
            assert row["seconds_taken"] == pytest.approx(taken / unit)


def test_a_logformat_is_tried_first_and_other_lines_are_read_as_ever(parse):
    rows = parse(
        "192.0.2.7 200 [17/May/2015:10:05:03 +0000]", a_line(), a_common_line(), json.dumps(NGINX),
        ALB_LINES["http"][0], "junk", log_format="%h %>s %t",
    )  # fmt: skip
    assert [row.get("log_format") for row in rows] == [
        "log_format", "combined", "common", "json", "alb", None,
    ]  # fmt: skip
