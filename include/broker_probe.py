"""Check that Kafka answers, without a Kafka client. Standard library only: Spark jobs use it, too."""

import socket
import struct

from include.flag_values import parse_address

TIMEOUT_SECONDS = 5
CORRELATION_ID = 1
# Size, API key 18 (ApiVersions), version 0, correlation id, no client id. Every client may send this
# request before it logs in (https://kafka.apache.org/protocol#The_Messages_ApiVersions).
API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, CORRELATION_ID, -1)


def find_broker_failures(servers: str, *, has_login: bool = False) -> list[str]:
    """Ask each server until a Kafka broker answers.

    Args:
        servers: HOST:PORT[,HOST:PORT].
        has_login: The brokers require a login. A broker that requires TLS does not answer an unencrypted
            request, so that an open port is enough.

    Returns:
        [] if a broker answers. Otherwise each server with the reason.
    """
    failures = []
    for server in servers.split(","):
        try:
            with socket.create_connection(
                parse_address(server), timeout=TIMEOUT_SECONDS
            ) as connection:
                if has_login or _is_broker(connection):
                    return []
            failures.append(f"{server} (accepts connections but is no Kafka broker)")
        except (OSError, ValueError) as error:
            failures.append(f"{server} ({error})")
    return failures


def _is_broker(connection: socket.socket) -> bool:
    try:
        connection.sendall(API_VERSIONS_REQUEST)
        answer = connection.recv(8, socket.MSG_WAITALL)
    except OSError:  # the connection was closed, or nothing came in time
        return False
    return len(answer) == 8 and struct.unpack(">ii", answer)[1] == CORRELATION_ID
