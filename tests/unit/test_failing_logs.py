"""Logs that were read wrong once: a line is read right, or it is bad; no field is silently wrong."""

import gzip
import json
import os
import shutil
import time
from datetime import UTC, datetime

import pytest

from include.contracts import BAD_REASONS
from include.inbox.take import take_new_files
from include.lake.paths import w3c_fields_path
from tests.read_lines import read_lines

U = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
# What a line says, unless it is noted below: the README of the folder.
USUAL = {
    "host": "192.0.2.7", "user": None, "method": "GET", "endpoint": "/a", "query": "x=1", "status": 200,
    "content_size": 512, "referrer": "https://example.com/", "user_agent": U,
    "timestamp": datetime(2026, 11, 20, 10, tzinfo=UTC),
}  # fmt: skip
# File -> for each of its lines, what differs.
READ_RIGHT = {
    "aspnetcore-w3clogger.log": [{"content_size": None, "protocol": "HTTP/1.1",
                                  "vhost": "www.example.com", "seconds_taken": 0.0599171}],
    "caddy-before-2.5.log": [{}, {}],
    "cloudfront-agent-with-plus.log": [
        {"user_agent": "Mastodon/4.5.2+glitch (http.rb/5.3.1; +https://example.com/)",
         "protocol": "HTTP/1.1"},
    ],
    "cloudfront.gz": [{"protocol": "HTTP/1.1", "vhost": "www.example.com", "tls_version": "TLSv1.3",
                       "cache_status": "Hit", "seconds_taken": 0.001}],
    "echo-json.log": [{"referrer": None, "vhost": "www.example.com", "seconds_taken": 0.000044647}],
    "gitlab-production-json.log": [{"user": "frank", "query": None, "content_size": None, "referrer": None,
                                    "seconds_taken": 0.05}],
    "gitlab-workhorse-json.log": [{"seconds_taken": 0.022}, {"host": "192.0.2.8", "seconds_taken": 0.022}],
    "gunicorn-unix-socket.log": [{"host": None}] * 3,
    "host-with-port.log": [{}, {}],
    "ingress-nginx-json.log": [{"protocol": "HTTP/1.1", "vhost": "www.example.com",
                                "seconds_taken": 0.012}],
    "jetty-double-space.log": [{}],
    "nginx-json-default-escape.log": [{"user_agent": "a \\x22b\\x22 c"},
                                      {"user_agent": "ok", "protocol": "HTTP/1.1"}],
    "nginx-json-request-is-uri.log": [{"protocol": "HTTP/1.1"}],
    "request-time-before-referrer.log": [{}],
    "traefik-json.log": [{"protocol": "HTTP/1.1", "vhost": "www.example.com", "seconds_taken": 0.433331475}],
    "vhost-without-port-common.log": [{"user": "frank", "vhost": "www.example.com", "referrer": None,
                                       "user_agent": None}],
    "vhost-without-port-nginx-proxy.log": [{"vhost": "www.example.com"},
                                           {"host": "192.0.2.8", "vhost": "shop.example.com"}],
    "w3c-head-only.log": [],
}  # fmt: skip
# Files whose lines are all bad, so that the inbox quarantines them. Move one up when it can be read.
BAD = {
    "docker-compose-one-space.log": 1, "docker-json-file.log": 1, "gunicorn-through-logging.log": 1,
    "host-quoted.log": 1, "ingress-nginx-old-default.log": 1, "json-remote-addr-is-xff-list.log": 1,
    "kubernetes-cri.log": 1, "openlitespeed-quoted-line.log": 1, "syslog-iso-time.log": 2,
    "syslog-one-digit-day.log": 1, "syslog-two-digit-day.log": 1, "utf16le.log": 3,
    "xff-list-in-ident.log": 1, "xff-list-unquoted-then-remote.log": 1, "xff-list-unquoted.log": 2,
}  # fmt: skip


@pytest.fixture
def take(shared, tmp_path):
    """Put a log into the inbox; return the rows of what is taken, or None if it is quarantined."""

    def take_file(name):
        inbox, ready = tmp_path / "inbox", tmp_path / "ready"
        inbox.mkdir()
        shutil.copyfile(shared / "failing_logs" / name, inbox / name)
        os.utime(inbox / name, (time.time() - 86400,) * 2)
        if take_new_files(inbox, ready).quarantined:
            return None
        (file,) = ready.glob("[!._]*")
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        fields = w3c_fields_path(ready)
        is_w3c = fields.exists()
        # Spark drops the directives of a W3C file.
        lines = [line for line in content.splitlines() if not (is_w3c and line.startswith(b"#"))]
        w3c_fields = json.loads(fields.read_text()) if is_w3c else None
        return read_lines(*lines, files=[file.name] * len(lines), w3c_fields=w3c_fields)

    return take_file


def test_every_log_of_the_folder_is_tested(shared):
    names = {file.name for file in (shared / "failing_logs").iterdir()} - {"README.md"}
    assert names == READ_RIGHT.keys() | BAD.keys()
    assert not READ_RIGHT.keys() & BAD.keys()


@pytest.mark.parametrize("name", READ_RIGHT)
def test_a_log_that_was_read_wrong_is_read_right(take, name):
    rows, expected = take(name), [USUAL | changes for changes in READ_RIGHT[name]]
    named = [
        {field: row.get(field) for field in fields}
        for row, fields in zip(rows, expected, strict=True)
    ]
    assert named == expected
    assert all("bad_reason" not in row for row in rows)


@pytest.mark.parametrize("name", BAD)
def test_a_log_that_cannot_be_read_is_quarantined_and_its_lines_are_bad(shared, take, name):
    assert take(name) is None
    lines = (shared / "failing_logs" / name).read_bytes().removesuffix(b"\n").split(b"\n")
    rows = read_lines(*lines)
    assert len(rows) == BAD[name]
    for row in rows:
        assert row["bad_reason"] in BAD_REASONS
        assert row.keys() <= {"bad_reason", "raw", "timestamp"}
