import json
import socket
import threading

import pytest

from producers.clickstream.events import batch_messages, events, row_messages
from producers.lines import serve
from tests.conftest import eventually


def test_the_same_seed_makes_the_same_events_in_order_of_time():
    first = list(events(200, 1))
    assert first == list(events(200, 1))
    assert first != list(events(200, 2))
    assert [event.ts for event in first] == sorted(event.ts for event in first)
    assert all(0 <= event.Clicks <= event.Impressions < 10 for event in first)
    assert sum(event.Clicks for event in first) > 50


def test_a_longer_run_begins_with_the_shorter_one():
    assert list(events(200, 1))[:50] == list(events(50, 1))


def test_row_by_row_counts_are_integers():
    (message,) = row_messages(events(1, 1))
    assert json.loads(message) == {"Clicks": 0, "Impressions": 3, "ts": 1715172068}


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batch_by_batch_carries_the_same_events_with_counts_as_strings(size):
    rows = [row for message in batch_messages(events(50, 1), size) for row in json.loads(message)]
    assert all(isinstance(row["Clicks"], str) and isinstance(row["ts"], int) for row in rows)
    assert [(int(r["Clicks"]), int(r["Impressions"]), r["ts"]) for r in rows] == list(events(50, 1))
    assert len(list(batch_messages(events(50, 1), size))) == -(-50 // size)


def test_the_line_server_sends_every_line_to_the_first_reader_and_closes(capfd):
    done = []
    server = threading.Thread(target=lambda: done.append(serve([b"a\n", b"b"], "127.0.0.1", 0)))
    server.start()

    said = []

    def port():
        said.append(capfd.readouterr().err)
        return "".join(said).strip().rpartition(":")[2]

    with socket.create_connection(
        ("127.0.0.1", int(eventually(port, 5, "the server's port")))
    ) as s:
        assert s.makefile("rb").read() == b"a\nb\n"
    server.join(5)
    assert done == [2]


def test_a_port_that_is_taken_is_an_error_and_not_a_wait():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        serve([b"a"], "127.0.0.1", taken.getsockname()[1])
