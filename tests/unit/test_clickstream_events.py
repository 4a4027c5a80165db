"""Clickstream events: generated, encoded, read from a file and served line by line."""

import json
import re
import socket
import threading
import time

import pytest

from producers.clickstream.events import (
    encode_batches,
    encode_rows,
    generate_events,
    insert_bad_messages,
    parse_start,
    read_events,
)
from producers.line_server import serve_lines
from tests.conftest import eventually


def test_the_same_seed_makes_the_same_events_in_order_of_time():
    first = list(generate_events(200, 1))
    assert first == list(generate_events(200, 1))
    assert first != list(generate_events(200, 2))
    assert [event["ts"] for event in first] == sorted(event["ts"] for event in first)
    assert all(0 <= event["Clicks"] <= event["Impressions"] < 10 for event in first)
    assert sum(event["Clicks"] for event in first) > 50


def test_a_longer_run_starts_with_the_events_of_a_shorter_one():
    assert list(generate_events(200, 1))[:50] == list(generate_events(50, 1))


def test_single_events_carry_integer_counts():
    (message,) = encode_rows(generate_events(1, 1))
    assert json.loads(message) == {"Clicks": 0, "Impressions": 3, "ts": 1715172068}


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_carry_the_same_events_with_counts_as_strings(size):
    rows = [
        row
        for message in encode_batches(generate_events(50, 1), size)
        for row in json.loads(message)
    ]
    assert all(isinstance(row["Clicks"], str) and isinstance(row["ts"], int) for row in rows)
    counts = [
        row | {"Clicks": int(row["Clicks"]), "Impressions": int(row["Impressions"])} for row in rows
    ]
    assert counts == list(generate_events(50, 1))
    assert len(list(encode_batches(generate_events(50, 1), size))) == -(-50 // size)


def test_campaigns_and_event_ids_do_not_change_the_counts():
    plain, named = list(generate_events(100, 1)), list(generate_events(100, 1, campaigns=3))
    assert [
        {name: event[name] for name in ("Clicks", "Impressions", "ts")} for event in named
    ] == plain
    assert {event["campaign"] for event in named} == {"campaign-1", "campaign-2", "campaign-3"}
    assert len({event["event_id"] for event in named}) == 100


def test_bad_messages_are_inserted_between_unchanged_events():
    plain = list(encode_rows(generate_events(200, 1)))
    messages = list(insert_bad_messages(plain, 0.2, 1))
    assert messages == list(insert_bad_messages(plain, 0.2, 1))
    inserted = [message for message in messages if message not in plain]
    assert 20 < len(inserted) < 60
    assert len(set(inserted)) == 4
    assert [message for message in messages if message in plain] == plain


def test_a_file_of_events_is_read_unchanged(tmp_path):
    path = tmp_path / "events.json"
    path.write_bytes(b"\n".join(encode_rows(generate_events(20, 1, campaigns=2))))
    assert list(read_events(path)) == list(generate_events(20, 1, campaigns=2))


@pytest.mark.parametrize("line", [b"no json", b"[1]", b'{"Clicks": 1}', b"\xff", b"3", b""])
def test_a_line_that_is_not_an_event_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "events.json"
    path.write_bytes(next(encode_rows(generate_events(1, 1))) + b"\n" + line + b"\n")
    with pytest.raises(
        ValueError, match=re.escape(str(path)) + "(, line 2: expected| is not UTF-8 text)"
    ):
        list(read_events(path))


def test_a_missing_file_of_events_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        list(read_events(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02T00:00:00Z", 86400), ("1970-01-02T01:00:00+01:00", 86400)],
)
def test_the_start_time_is_parsed_and_needs_a_time_zone(text, seconds):
    assert parse_start(text) == seconds
    for wrong in ("", "soon", "2026-01-15T00:00:00"):
        with pytest.raises(ValueError, match="2024-05-08T12:41:08Z, or now"):
            parse_start(wrong)


def test_the_start_time_now_is_the_start_of_this_minute():
    before = int(time.time())
    start = parse_start("now")
    assert start % 60 == 0
    assert before - 60 < start <= int(time.time())


def test_the_line_server_sends_every_line_to_the_first_reader_and_closes(capfd):
    sent_counts = []
    server = threading.Thread(
        target=lambda: sent_counts.append(serve_lines([b"a\n", b"b"], "127.0.0.1", 0))
    )
    server.start()

    printed = []

    def read_port():
        printed.append(capfd.readouterr().err)
        return "".join(printed).strip().rpartition(":")[2]

    with socket.create_connection(
        ("127.0.0.1", int(eventually(read_port, 5, "the server's port")))
    ) as client:
        assert client.makefile("rb").read() == b"a\nb\n"
    server.join(5)
    assert sent_counts == [2]


def test_a_port_in_use_is_an_error():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(OSError, match="in use"),
    ):
        serve_lines([b"a"], "127.0.0.1", server.getsockname()[1])
