"""Whether a Kafka broker answers at the servers that a job was told of."""

import socket
import struct
import threading
from argparse import Namespace
from contextlib import contextmanager

import pytest

from include.broker_probe import CORRELATION_ID
from include.errors import RetryLater
from spark_jobs.streaming.topics import check_servers

BROKER = struct.pack(">ii", 100, CORRELATION_ID)


@contextmanager
def answering(answer):
    """A server that reads one request, gives `answer` and hangs up; its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def check(*servers, login=""):
    check_servers(Namespace(servers=",".join(servers), kafka_login=login))


def test_a_broker_that_answers_is_enough():
    with answering(BROKER) as broker:
        check("127.0.0.1:1", broker)


@pytest.mark.parametrize(
    "answer",
    [b"", BROKER[:7], b"HTTP/1.1 400 Bad Request\r\n", struct.pack(">ii", 100, CORRELATION_ID + 1)],
)
def test_what_answers_otherwise_is_no_broker(answer):
    with (
        answering(answer) as server,
        pytest.raises(
            RetryLater, match=rf"{server} \(accepts connections but is no Kafka broker\)"
        ),
    ):
        check(server)


def test_with_a_login_a_server_that_is_there_is_enough():
    """One that wants TLS answers no question before it."""
    with answering(b"") as server:
        check(server, login="client.properties")


@pytest.mark.parametrize("servers", ["127.0.0.1:1", "localhost", "", None])
def test_where_nothing_answers_every_server_is_named_with_why(servers):
    with pytest.raises(
        RetryLater, match=rf"no Kafka broker answers at {servers or ''} \(.+\); start it"
    ):
        check_servers(Namespace(servers=servers, kafka_login=""))
