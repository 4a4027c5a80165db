"""Every log format, tested on the lines of its documentation and against another parser."""

import gzip
import json
import os
import time
from datetime import UTC, datetime

import pytest
from apachelogs import LogParser
from backports import zstd
from pyspark.sql import functions as F

from include.inbox.ledger import read_taken_files
from include.inbox.take import take_new_files
from include.lake.paths import w3c_fields_path
from include.log_formats import (
    ALB,
    APACHE,
    NICKNAMES,
    compile_log_format,
    compile_w3c,
    normalise_w3c_fields,
    w3c_id,
)
from spark_jobs.transforms.access_log import extract_fields, only_server_errors, parse_lines
from tests.builders import build_common_line, build_line

ARN = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067"
LB = "app/my-loadbalancer/50dc6c495c0c9188"


@pytest.fixture
def parse(spark):
    def parse_to_dicts(*lines, log_format="", w3c=None):
        """Parse lines, or (line, file) pairs; return one dict per line, in order, without nulls."""
        raw = [
            (n, *((line, None) if isinstance(line, str) else line)) for n, line in enumerate(lines)
        ]
        frame = spark.createDataFrame(raw, "n INT, line STRING, file STRING")
        rows = parse_lines(frame, log_format, w3c).orderBy("n")
        seconds = F.col("timestamp").cast("double").alias("at")
        return [
            {k: v for k, v in row.asDict().items() if v is not None and k not in ("n", "file")}
            for row in rows.select(
                seconds, *[c for c in rows.columns if c != "timestamp"]
            ).collect()
        ]

    return parse_to_dicts


def epoch(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
ALB_LINES = {
    "http": (
        f'http 2018-07-02T22:23:00.186641Z {LB} 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 '
        f'200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} '
        '"Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" '
        '"-" "10.0.0.1:80" "200" "-" "-"',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 200, "content_size": 366, "user_agent": "curl/7.46.0", "seconds_taken": 0.001,
         "vhost": "www.example.com:80", "at": epoch("2018-07-02T22:23:00.186641")},
    ),
    "https": (
        f'https 2018-07-02T22:23:00.186641Z {LB} 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 '
        '200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 '
        f'TLSv1.2 {ARN} "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" '
        '"arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 '
        '2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_123456',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 200, "content_size": 57, "user_agent": "curl/7.46.0", "seconds_taken": 0.171,
         "vhost": "www.example.com:443", "at": epoch("2018-07-02T22:23:00.186641"),
         "tls_version": "TLSv1.2"},
    ),
    "HTTP/2": (
        f'h2 2018-07-02T22:23:00.186641Z {LB} 10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200 200 5 '
        '257 "GET https://10.0.2.105:773/ HTTP/2.0" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        f'{ARN} "Root=1-58337327-72bd00b0343d75b906739c42" "-" "-" 1 2018-07-02T22:22:48.364000Z '
        '"redirect" "https://example.com:80/" "-" "10.0.0.66:9000" "200" "-" "-"',
        {"host": "10.0.1.252", "method": "GET", "endpoint": "/", "protocol": "HTTP/2.0",
         "status": 200, "content_size": 257, "user_agent": "curl/7.46.0", "seconds_taken": 0.002,
         "vhost": "10.0.2.105:773", "at": epoch("2018-07-02T22:23:00.186641"),
         "tls_version": "TLSv1.2"},
    ),
    "secured WebSocket": (
        f'wss 2018-07-02T22:23:00.186641Z {LB} 10.0.0.140:44244 10.0.0.171:8010 0.000 0.001 0.000 101 101 '
        '218 786 "GET https://10.0.0.30:443/ HTTP/1.1" "-" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        f'{ARN} "Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 1 2018-07-02T22:22:48.364000Z '
        '"forward" "-" "-" "10.0.0.171:8010" "101" "-" "-"',
        {"host": "10.0.0.140", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 101, "content_size": 786, "seconds_taken": 0.001, "vhost": "10.0.0.30:443",
         "at": epoch("2018-07-02T22:23:00.186641"),
         "tls_version": "TLSv1.2"},
    ),
    "Lambda that failed": (
        f'http 2018-11-30T22:23:00.186641Z {LB} 192.168.131.39:2817 - 0.000 0.001 0.000 502 - 34 366 '
        f'"GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} '
        '"Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 0 2018-11-30T22:22:48.364000Z "forward" '
        '"-" "LambdaInvalidResponse" "-" "-" "-" "-"',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 502, "content_size": 366, "user_agent": "curl/7.46.0", "seconds_taken": 0.001,
         "vhost": "www.example.com:80", "at": epoch("2018-11-30T22:23:00.186641")},
    ),
    "nothing reached, IPv6, a query": (
        f'https 2018-07-02T22:23:00.186641Z {LB} [2001:db8::7]:2817 - -1 -1 -1 503 - 0 0 '
        '"POST https://a.example:443/x/y?z=1&q=%22 HTTP/1.1" "a \\"b\\" c" - - - "-" "-" "-"',
        {"host": "2001:db8::7", "method": "POST", "endpoint": "/x/y", "query": "z=1&q=%22",
         "protocol": "HTTP/1.1", "status": 503, "content_size": 0, "user_agent": 'a \\"b\\" c',
         "vhost": "a.example:443", "at": epoch("2018-07-02T22:23:00.186641")},
    ),
    "no request at all": (
        f'http 2018-07-02T22:23:00.186641Z {LB} 10.0.0.9:1 - -1 -1 -1 400 - 0 272 '
        '"- http://www.example.com:80- " "-" - - - "-" "-" "-"',
        {"host": "10.0.0.9", "endpoint": "- http://www.example.com:80- ", "status": 400,
         "content_size": 272, "at": epoch("2018-07-02T22:23:00.186641")},
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
    "seconds_taken": 0.000929675, "at": epoch("2022-03-09T21:30:01.524102"),
    "mime_type": "text/html", "tls_version": "TLSv1.3",  # 772 is 0x0304: RFC 8446, 4.1.2
}  # fmt: skip
# nginx with `log_format … escape=json`; the keys are its variables.
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
    "at": epoch("2015-05-17T08:05:03"),
}  # fmt: skip


def drop_keys(entry, *names):
    return {key: value for key, value in entry.items() if key not in names}


JSON_LINES = {
    "Caddy": (CADDY, CADDY_ROW),
    "Caddy, time on the wall": (CADDY | {"ts": "2022/03/09 21:30:01.524"},
                                CADDY_ROW | {"at": epoch("2022-03-09T21:30:01.524")}),
    "Caddy behind a proxy": (CADDY | {"request": CADDY["request"] | {"client_ip": "192.0.2.7"}},
                             CADDY_ROW | {"host": "192.0.2.7"}),
    "nginx": (NGINX, NGINX_ROW),
    "nginx, ISO time": (drop_keys(NGINX, "time_local") | {"time_iso8601": "2015-05-17T10:05:03+02:00"},
                        NGINX_ROW),
    "nginx, msec": (drop_keys(NGINX, "time_local") | {"msec": "1431849903.250"},
                    NGINX_ROW | {"at": epoch("2015-05-17T08:05:03.25")}),
    "nginx, the request in parts": (
        drop_keys(NGINX, "request") | {"request_method": "PUT", "request_uri": "/a?b",
                                       "server_protocol": "HTTP/2.0"},
        NGINX_ROW | {"method": "PUT", "endpoint": "/a", "query": "b", "protocol": "HTTP/2.0"}),
    "nginx, the query apart": (
        drop_keys(NGINX, "request") | {"request_method": "GET", "uri": "/a b", "args": "c=d"},
        drop_keys(NGINX_ROW, "protocol") | {"endpoint": "/a b", "query": "c=d"}),
    "numbers as numbers": (NGINX | {"status": 404, "request_time": 0.012, "body_bytes_sent": 0},
                           NGINX_ROW),
}  # fmt: skip


def test_documented_alb_lines_give_the_documented_fields(parse):
    rows = parse(*[line for line, _ in ALB_LINES.values()])
    for name, row in zip(ALB_LINES, rows, strict=True):
        assert row == pytest.approx(ALB_LINES[name][1] | {"log_format": "alb"}), name


def test_json_lines_of_caddy_and_nginx_give_every_field(parse):
    rows = parse(*[json.dumps(entry, ensure_ascii=False) for entry, _ in JSON_LINES.values()])
    for name, row in zip(JSON_LINES, rows, strict=True):
        assert row == pytest.approx(JSON_LINES[name][1] | {"log_format": "json"}), name


BAD_JSON_LINES = {
    '{"a":1}{"a":2}': "no_match",
    json.dumps(NGINX) + json.dumps(NGINX): "no_match",
    json.dumps(NGINX)[:-1]: "no_match",
    json.dumps(drop_keys(NGINX, "status")): "no_match",
    json.dumps(drop_keys(NGINX, "remote_addr")): "no_match",
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


def test_an_incomplete_json_line_is_bad_and_keeps_its_text(parse):
    rows = parse(*BAD_JSON_LINES)
    assert [row["bad_reason"] for row in rows] == list(BAD_JSON_LINES.values())
    assert [row["raw"] for row in rows] == list(BAD_JSON_LINES)


# IIS 6.0 of learn.microsoft.com (milliseconds), and the W3C draft (seconds, quoted strings).
IIS_FIELDS = normalise_w3c_fields(
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version "
    "cs(User-Agent) cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes time-taken", ""
)  # fmt: skip
DRAFT_FIELDS = normalise_w3c_fields(
    "date time c-ip cs-method cs-uri sc-status bytes time-taken cs(User-Agent)", ""
)
W3C_FIELDS = {w3c_id(IIS_FIELDS): IIS_FIELDS, w3c_id(DRAFT_FIELDS): DRAFT_FIELDS}
W3C_LINES = {
    "IIS": (IIS_FIELDS,
        "2002-05-02 17:42:15 172.30.255.255 GET /images/picture.jpg a=1&b 80 CORP\\jane 172.22.255.255 "
        "HTTP/1.1 Mozilla/4.0+(compatible;MSIE+5.5;+Windows+2000+Server) http://www.example.com/a "
        "www.example.com 200 0 0 5120 1250",
        {"host": "172.22.255.255", "user": "CORP\\jane", "method": "GET", "query": "a=1&b",
         "endpoint": "/images/picture.jpg", "protocol": "HTTP/1.1", "status": 200,
         "content_size": 5120, "referrer": "http://www.example.com/a", "vhost": "www.example.com",
         "user_agent": "Mozilla/4.0 (compatible;MSIE 5.5; Windows 2000 Server)",
         "seconds_taken": 1.25, "at": epoch("2002-05-02T17:42:15")}),
    "IIS, nothing but dashes": (IIS_FIELDS,
        "2002-05-02 17:42:15 172.30.255.255 GET / - 80 - 172.22.255.255 - - - - 404 0 2 - 0",
        {"host": "172.22.255.255", "method": "GET", "endpoint": "/", "status": 404,
         "seconds_taken": 0.0, "at": epoch("2002-05-02T17:42:15")}),
    "the draft": (DRAFT_FIELDS,
        '1996-01-12 00:34:23.5 192.0.2.1 GET /foo/bar.html?a 200 7 0.25 "Mozilla ""x"" + y"',
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo/bar.html", "query": "a",
         "status": 200, "content_size": 7, "seconds_taken": 0.25,
         "user_agent": 'Mozilla ""x"" + y', "at": epoch("1996-01-12T00:34:23.5")}),
    "the draft, no seconds": (DRAFT_FIELDS,
        "1996-01-12 00:34 192.0.2.1 GET /foo 200 7 3 x",
        {"host": "192.0.2.1", "method": "GET", "endpoint": "/foo", "status": 200,
         "content_size": 7, "seconds_taken": 3.0, "user_agent": "x", "at": epoch("1996-01-12T00:34:00")}),
}  # fmt: skip


def build_w3c_file_name(fields):
    return f"file:/ready/0123-u_ex.{w3c_id(fields)}.log.gz"


def test_a_w3c_line_is_parsed_only_by_the_fields_of_its_file(parse):
    files = [(line, build_w3c_file_name(fields)) for fields, line, _ in W3C_LINES.values()]
    bad = [build_line(), "2002-02-30 17:42:15 x GET / - 80 - h - - - - 404 0 2 - 0"]
    *rows, combined_line, impossible_day, line_of_other_file = parse(
        *files,
        *[(line, build_w3c_file_name(IIS_FIELDS)) for line in bad],
        (build_line(), "file:/ready/a.log"),
        w3c=W3C_FIELDS,
    )
    for name, row in zip(W3C_LINES, rows, strict=True):
        assert row == pytest.approx(W3C_LINES[name][2] | {"log_format": "w3c"}), name
    assert (combined_line["bad_reason"], impossible_day["bad_reason"]) == ("no_match", "bad_time")
    assert line_of_other_file["log_format"] == "combined"


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
def test_a_custom_log_format_gives_the_same_fields_as_apachelogs(parse, name):
    log_format, line = LOG_FORMATS[name]
    (row,) = parse(line, log_format=log_format)
    apache_format = NICKNAMES.get(log_format, log_format).replace('\\"', '"')
    entry = LogParser(apache_format).parse(line)
    assert row.pop("log_format") == "log_format"

    def get_first_field(*names):
        values = [getattr(entry, name, None) for name in names]
        return next((value for value in values if value is not None), None)

    headers = getattr(entry, "headers_in", {})
    request = get_first_field("request_line") or (
        f"{entry.request_method} {entry.request_uri}{entry.request_query} {entry.request_protocol}"
    )
    target = row["endpoint"] + (f"?{row['query']}" if "query" in row else "")
    fraction = getattr(entry, "request_time_fields", {}).get("msec_frac", 0) / 1000
    assert f"{row['method']} {target} {row['protocol']}" == request
    assert row["host"] == get_first_field("remote_host", "remote_address")
    assert row.get("user") == get_first_field("remote_user")
    assert row["status"] == get_first_field("final_status", "status")
    assert row.get("content_size") == get_first_field("bytes_sent", "bytes_out")
    assert row["at"] == pytest.approx(entry.request_time.timestamp() + fraction)
    assert row.get("referrer") == headers.get("Referer")
    assert row.get("user_agent") == headers.get("User-Agent")
    for unit, attribute in ((1e6, "microseconds"), (1e3, "milliseconds")):
        if (duration := get_first_field(f"request_duration_{attribute}")) is not None:
            assert row["seconds_taken"] == pytest.approx(duration / unit)


def test_a_custom_log_format_is_tried_before_the_known_formats(parse):
    rows = parse(
        "192.0.2.7 200 [17/May/2015:10:05:03 +0000]", build_line(), build_common_line(), json.dumps(NGINX),
        ALB_LINES["http"][0], "junk", log_format="%h %>s %t",
    )  # fmt: skip
    assert [row.get("log_format") for row in rows] == [
        "log_format", "combined", "common", "json", "alb", None,
    ]  # fmt: skip


def test_the_inbox_and_spark_extract_the_same_fields(spark):
    combined = compile_log_format("combined")
    odd_characters = [
        "\u00a0",
        "\u0085",
        "\u2028",
        "\u0663",
        "\x0b",
        "\x1c",
        "\r",
        "\t",
        "\ufffd",
        "\U0001f30a",
    ]
    lines = [line for line, _ in ALB_LINES.values()] + [line for _, line, _ in W3C_LINES.values()]
    lines += [line for _, line in LOG_FORMATS.values()] + [build_common_line(), ""]
    lines += [build_line(**{name: f"a{c}b", "user_agent": f"{c}z{c}"})
              for c in odd_characters for name in ("host", "user", "request", "referrer")]  # fmt: skip
    lines += [
        f"{line}{c}"
        for c in odd_characters
        for line in (build_line(), build_common_line(), lines[0], lines[8])
    ]
    lines += [build_line(status=f"20{c}") for c in "\u0663\uff10"]
    formats = [APACHE, ALB, compile_w3c(IIS_FIELDS), compile_w3c(DRAFT_FIELDS), combined]
    frame = spark.createDataFrame(list(enumerate(lines)), "n INT, line STRING").orderBy("n")
    rows = frame.select(
        *[extract_fields(F.col("line"), log_format) for log_format in formats]
    ).collect()
    for line, row in zip(lines, rows, strict=True):
        for log_format, spark_fields in zip(formats, row, strict=True):
            inbox_fields = log_format.parse(line)
            assert spark_fields == (
                None if inbox_fields is None else list(inbox_fields.values())
            ), (line, log_format.pattern)


@pytest.mark.matrix
def test_hostile_lines_are_parsed_in_linear_time(parse):
    alb, w3c = ALB_LINES["http"][0].partition("GET")[0], W3C_LINES["IIS"][1][:45]
    lines = []
    for piece in ['\\"', '"', "a", "\\", '" ', " ", "{", "[", ":80 ", '{"a":']:
        text = piece * (400_000 // len(piece))
        lines += [build_line(user=text), build_line(user_agent=text), alb + text, "{" + text,
                  '{"request":"' + text, (w3c + text, build_w3c_file_name(IIS_FIELDS))]  # fmt: skip
    started = time.monotonic()
    assert len(parse(*lines, log_format="vhost_combined", w3c=W3C_FIELDS)) == len(lines)
    # This takes seconds. A pattern that is quadratic on one line takes an hour.
    assert time.monotonic() - started < 120


def test_files_of_any_format_are_landed_in_one_run(spark, tmp_path, job):
    inbox, ready, landing = (tmp_path / name for name in ("inbox", "ready", "landing"))
    inbox.mkdir()
    iis = (
        "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n"
        "#Fields: date time c-ip cs-method cs-uri-stem sc-status time-taken\n"
        "2015-05-17 10:05:03 192.0.2.7 GET /a 200 15\n#Date: 2015-05-17 10:06:00\n"
        "2015-05-17 10:06:00 192.0.2.7 GET /b 404 1500\n"
    )
    files = {
        "combined.log": build_line() + "\n",
        "both.log": build_common_line() + "\n" + build_line() + "\njunk\n",
        "vhosts.log": f"www.example.org:443 {build_line()}\n",
        "nginx.json": json.dumps(NGINX) + "\n",
        "caddy.log": json.dumps(CADDY) + "\n",
        "elb.log.gz": gzip.compress((ALB_LINES["https"][0] + "\n").encode()),
        "u_ex150517.log": iis,
        "u_ex150518.log.gz": gzip.compress(iis.replace("time-taken", "sc-bytes", 1).encode()),
        "u_ex150519.zst": zstd.compress(iis.replace("05-17", "05-19").encode()),
        "mine.log": "2015-05-17 10:05:03 +0000|192.0.2.7|200|GET /x HTTP/1.1\n",
        "notes.txt": "Dear diary,\n\nit rained.\nAgain.\nAnd again.\n",
    }
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (inbox / name).write_bytes(data)
        os.utime(inbox / name, (time.time() - 86400,) * 2)
    log_format = "%{%F %T %z}t|%h|%>s|%r"
    inbox_result = take_new_files(inbox, ready, log_format)
    assert inbox_result.taken.keys() == files.keys() - {"notes.txt"}
    assert inbox_result.quarantined["notes.txt"].partition("three lines:")[2].partition(";")[0] == (
        "\n  Dear diary,\n  it rained.\n  Again."
    )
    code, output = job(
        "land_access_log", "--source", f"text:{ready}", "--sink", f"parquet:{landing / 'data'}",
        "--manifest", tmp_path / "run.json", "--log-format", log_format,
        "--w3c-fields", w3c_fields_path(ready),
    )  # fmt: skip
    assert code == 0, output
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert (manifest["read"], manifest["bad"]) == (
        sum(r["lines"] for r in read_taken_files(ready)),
        1,
    )
    landed = spark.read.parquet(str(landing / "data"))
    by_format = {
        row.log_format: row["count"] for row in landed.groupBy("log_format").count().collect()
    }
    assert by_format == {
        "combined": 2, "common": 1, "vhost_combined": 1, "json": 2, "alb": 1, "w3c": 6,
        "log_format": 1, None: 1,
    }  # fmt: skip
    iis_rows = (
        landed.where("log_format = 'w3c' AND endpoint = '/b'").orderBy("seconds_taken").collect()
    )
    assert [row.seconds_taken for row in iis_rows] == [None, 1.5, 1.5]


def test_the_job_refuses_an_invalid_log_format(tmp_path, job):
    (tmp_path / "in").mkdir()
    flags = [
        "--source",
        f"text:{tmp_path / 'in'}",
        "--sink",
        f"parquet:{tmp_path / 'data'}",
        "--check",
    ]
    code, output = job("land_access_log", *flags, "--log-format", "%h %t")
    assert (code, output) == (
        2, "land_access_log: --log-format '%h %t': LogFormat: it has no status (%>s); let the server "
        "log it, too",
    )  # fmt: skip
    assert job("land_access_log", *flags, "--log-format", "", "--w3c-fields", "not/there") == (
        0,
        "",
    )
    (tmp_path / "w3c.json").write_text('{"w3c-00000000": "date time"}')
    code, output = job("land_access_log", *flags, "--w3c-fields", tmp_path / "w3c.json")
    assert code == 2
    assert "expected W3C fields by their id" in output


def test_server_errors_are_found_in_every_detected_format(spark):
    errors = [
        build_line(status="503"), f"a:80 {build_common_line(status='500')}",
        json.dumps(NGINX | {"status": "502"}),
        json.dumps(CADDY | {"status": 500}), ALB_LINES["Lambda that failed"][0],
    ]  # fmt: skip
    others = [build_line(), json.dumps(NGINX), json.dumps(CADDY), ALB_LINES["http"][0], "{junk", ""]
    text = "\n".join(line for pair in zip(errors, others[:5], strict=True) for line in pair)
    messages = [(b"log:0", text.encode()), (b"log:9", "\n".join(others).encode())]
    rows = spark.createDataFrame(messages, "key BINARY, value BINARY")
    (row,) = only_server_errors(rows).collect()
    assert row.value.splitlines() == errors
