"""The broker probe of a job: does a Kafka broker answer at the given servers?"""

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
def fake_server(reply):
    """Run a server that sends `reply` to one request and closes; yield its HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def check(*servers, login=""):
    check_servers(Namespace(servers=",".join(servers), kafka_login=login))


def test_one_answering_broker_among_the_servers_is_enough():
    with fake_server(BROKER) as broker:
        check("127.0.0.1:1", broker)


@pytest.mark.parametrize(
    "reply",
    [b"", BROKER[:7], b"HTTP/1.1 400 Bad Request\r\n", struct.pack(">ii", 100, CORRELATION_ID + 1)],
)
def test_a_server_that_does_not_speak_kafka_is_refused(reply):
    with (
        fake_server(reply) as server,
        pytest.raises(
            RetryLater, match=rf"{server} \(accepts connections but is no Kafka broker\)"
        ),
    ):
        check(server)


def test_with_a_login_an_accepted_connection_is_enough():
    """A server that requires TLS does not answer a plain request."""
    with fake_server(b"") as server:
        check(server, login="client.properties")


@pytest.mark.parametrize("servers", ["127.0.0.1:1", "localhost", "", None])
def test_the_error_names_the_servers_that_do_not_answer(servers):
    with pytest.raises(
        RetryLater, match=rf"no Kafka broker answers at {servers or ''} \(.+\); start it"
    ):
        check_servers(Namespace(servers=servers, kafka_login=""))
