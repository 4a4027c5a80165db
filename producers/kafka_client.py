"""The only module that talks to Kafka: publish messages, create topics and users, grant rights."""

import logging
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError, TopicAlreadyExistsError

from include.kafka_login import parse_credentials, read_login
from include.settings import load_settings

LATEST = -1  # Kafka's code for the offset after the last message
MAX_IN_FLIGHT = 5000  # messages sent but not yet acknowledged: bounds memory
DELIVERY_TIMEOUT_SECONDS = 120.0  # a message that is not acknowledged by then has failed
# Bytes sent to one partition before the next: few, full batches (as KIP-480 for keyless messages).
STICKY_BATCH_BYTES = 256 * 1024


class KafkaRequestFailed(Exception):
    """A request to Kafka failed. The message names the cause and the remedy."""


class Acknowledgement(NamedTuple):
    """A message that the broker has acknowledged.

    Attributes:
        context: What the caller passed to `Publisher.send` with the message.
        partition: Partition of the message.
        offset: Offset of the message in its partition.
    """

    context: Any
    partition: int
    offset: int


class Publisher:
    """Sends messages to one topic: idempotent, acknowledged by all replicas, compressed with lz4.

    Leaving the `with` block waits for every acknowledgement and raises KafkaRequestFailed if one
    failed: a producer that ends without an error has lost nothing.

    Args:
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        topic: An existing topic.
        on_delivery: Called with each acknowledgement.
        sticky_partitions: By default the key decides the partition. Set this for keys that occur
            only once: each partition then gets STICKY_BATCH_BYTES in turn. kafka-python hashes keys
            in Python, which takes a fifth of the time of a send.
        delivery_timeout_seconds: How long Kafka may take to acknowledge a message.

    Raises:
        KafkaRequestFailed: No broker answers.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        on_delivery: Callable[[Acknowledgement], None],
        *,
        sticky_partitions: bool = False,
        delivery_timeout_seconds: float = DELIVERY_TIMEOUT_SECONDS,
    ) -> None:
        self._topic, self._on_delivery = topic, on_delivery
        self._pending: list[tuple[Any, Any]] = []
        self._sticky_partitions, self._sent_bytes, self._delivery_timeout_seconds = (
            sticky_partitions,
            0,
            delivery_timeout_seconds,
        )
        self._partitions: list[int] = []
        self._producer = connect_client(
            servers,
            lambda login: KafkaProducer(
                bootstrap_servers=servers.split(","),
                **login,
                # Set explicitly: otherwise a conflicting setting would switch it off silently.
                enable_idempotence=True,
                acks="all",
                compression_type="lz4",
                linger_ms=20,
                batch_size=256 * 1024,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=5_000,
                max_block_ms=15_000,
                delivery_timeout_ms=int(delivery_timeout_seconds * 1000),
                request_timeout_ms=int(min(30, delivery_timeout_seconds / 2) * 1000),
            ),
        )

    def send(self, key: bytes | None, value: bytes | None, context: Any = None) -> None:
        """Send a message without waiting for its acknowledgement, which will carry `context`.

        Raises KafkaRequestFailed, also for an earlier message.
        """
        try:
            future = self._producer.send(
                self._topic,
                value,
                key,
                partition=self._next_partition(value) if self._sticky_partitions else None,
            )
            self._pending.append((context, future))
        except KafkaError as error:
            raise KafkaRequestFailed(self._describe_error(error)) from error
        if len(self._pending) >= MAX_IN_FLIGHT:
            self._await_acknowledgements(len(self._pending) // 2)

    def flush(self) -> None:
        """Wait until every message sent so far is acknowledged. Raises KafkaRequestFailed."""
        try:
            self._producer.flush()
        except KafkaError as error:
            raise KafkaRequestFailed(self._describe_error(error)) from error
        self._await_acknowledgements(len(self._pending))

    def _next_partition(self, value: bytes | None) -> int:
        """Return the current partition, which changes every STICKY_BATCH_BYTES."""
        if not self._partitions:
            self._partitions = sorted(self._producer.partitions_for(self._topic))
        self._sent_bytes += len(value or b"")
        return self._partitions[self._sent_bytes // STICKY_BATCH_BYTES % len(self._partitions)]

    def _await_acknowledgements(self, count: int) -> None:
        done, self._pending = self._pending[:count], self._pending[count:]
        for context, future in done:
            try:
                metadata = (
                    future.value
                    if future.succeeded()
                    else future.get(timeout=self._delivery_timeout_seconds + 10)
                )
            except KafkaError as error:
                raise KafkaRequestFailed(self._describe_error(error)) from error
            self._on_delivery(Acknowledgement(context, metadata.partition, metadata.offset))

    def _describe_error(self, error: Exception) -> str:
        return (
            f"topic {self._topic!r}: a message was not acknowledged ({error!r}); "
            f"check that the broker runs (`make status`) and has the topic, then run this command "
            f"again: it continues where it stopped"
        )

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self.flush()
            finally:
                self._producer.close(timeout=5)
            return
        # Interrupted or failed: report the messages that the broker has acknowledged by now.
        with suppress(KafkaError):
            self._producer.close(timeout=5)
        for context, future in self._pending:
            if future.succeeded():
                metadata = future.value
                self._on_delivery(Acknowledgement(context, metadata.partition, metadata.offset))


def ensure_topics(servers: str, topics: Iterable[str], partitions: int, replication: int) -> None:
    """Create the topics that do not exist. Existing topics are not changed.

    Args:
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        topics: Topic names.
        partitions: Number of partitions of a new topic.
        replication: Replication factor of a new topic.

    Raises:
        KafkaRequestFailed: No broker answers, or a topic cannot be created.
    """
    with _open_admin_client(servers, "the topics could not be created") as admin:
        for topic in sorted(set(topics) - set(admin.list_topics())):
            shape = {"num_partitions": partitions, "replication_factor": replication}
            with suppress(TopicAlreadyExistsError):  # another client created it in the meantime
                admin.create_topics({topic: shape}, wait_for_metadata=True)


def end_offsets(servers: str, topic: str) -> dict[int, int] | None:
    """Return the offset after the last message of each partition, or None if there is no such topic.

    Raises:
        KafkaRequestFailed: No broker answers, or the brokers refuse the request.
    """
    with _open_admin_client(
        servers, f"the brokers do not return the end offsets of topic {topic}"
    ) as admin:
        if topic not in admin.list_topics():
            return None
        (description,) = admin.describe_topics([topic])
        request = {
            TopicPartition(topic, partition["partition_index"]): LATEST
            for partition in description["partitions"]
        }
        offsets = admin.list_partition_offsets(request)
        return {partition.partition: end.offset for partition, end in offsets.items()}


def connect_client(servers: str, create_client: Callable[[dict[str, Any]], Any]) -> Any:
    """Create a kafka-python client with the login of TIDEMARK_KAFKA_PRODUCER_LOGIN.

    kafka-python does not report why a broker closed the connection, so a wrong or missing password
    looks the same as a broker that is down.

    Args:
        servers: Kafka bootstrap servers, named in the error message.
        create_client: Creates the client from kafka-python's options of the login; called with an
            empty dict if the settings name no login.

    Raises:
        KafkaRequestFailed: No broker answers, or the login file cannot be used.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    path = load_settings().kafka_producer_login
    try:
        return create_client(read_login_options(Path(path)) if path else {})
    except KafkaError as error:
        remedy = (
            f"or correct the login (TIDEMARK_KAFKA_PRODUCER_LOGIN={path}): a broker closes the "
            f"connection on a wrong user, password or certificate"
            if path
            else "if the broker requires a login, set TIDEMARK_KAFKA_PRODUCER_LOGIN"
        )
        raise KafkaRequestFailed(
            f"no Kafka broker answers at {servers} ({type(error).__name__}); start it with `make up`, "
            f"or name another with --servers or TIDEMARK_KAFKA_SERVERS; {remedy}"
        ) from error


def make_user(servers: str, login: Path) -> str:
    """Create the user of a login file with its password (SCRAM-SHA-512), or change the password.

    Args:
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        login: A file of Kafka client properties; `sasl.jaas.config` has the user name and password.

    Returns:
        The user's name.

    Raises:
        KafkaRequestFailed: The file has no user name or password, or the brokers refuse the user.
    """
    name, password = parse_credentials(_read_login(login))
    if not name or not password:
        raise KafkaRequestFailed(
            f'{login}: sasl.jaas.config must contain username="…" and password="…"'
        )
    failure_message = f"the brokers did not create user {name}"
    with _open_admin_client(servers, failure_message) as admin:
        upsertion = UserScramCredentialUpsertion(name, "SCRAM-SHA-512", password)
        (error,) = admin.alter_user_scram_credentials([upsertion]).values()
    if error:
        raise KafkaRequestFailed(f"{failure_message}: {error}")
    return name


def grant_rights(servers: str, user: str, operations: Iterable[str], topics: Iterable[str]) -> None:
    """Allow a user operations on topics.

    Args:
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        user: The user's name.
        operations: Kafka's names of operations, such as READ, WRITE or DESCRIBE.
        topics: Topic names.

    Raises:
        KafkaRequestFailed: No broker answers, or the brokers refuse.
    """
    acls = [
        ACL(
            f"User:{user}",
            "*",
            ACLOperation[operation],
            ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType.TOPIC, topic),
        )
        for operation in operations
        for topic in topics
    ]
    failure_message = f"the brokers did not grant the rights of user {user}"
    with _open_admin_client(servers, failure_message) as admin:
        refused = admin.create_acls(acls)["failed"]
    if refused:
        raise KafkaRequestFailed(f"{failure_message}: {refused}")


def read_login_options(path: Path) -> dict[str, Any]:
    """Read a login file into kafka-python's options. Raises KafkaRequestFailed."""
    login = _read_login(path, is_for_python=True)
    user, password = parse_credentials(login)
    options = {
        "security_protocol": login["security.protocol"],
        "sasl_mechanism": login.get("sasl.mechanism"),
        "sasl_plain_username": user or None,
        "sasl_plain_password": password or None,
    }
    if "SSL" not in login["security.protocol"]:
        return options
    try:
        return options | {"ssl_context": _create_tls_context(login)}
    except ssl.SSLError as error:
        raise KafkaRequestFailed(
            f"{path}: its certificates or key cannot be used: {error}"
        ) from None


def _create_tls_context(login: dict[str, str]) -> ssl.SSLContext:
    # Without trusted certificates in the login file, those of the machine are used.
    context = ssl.create_default_context(cadata=login.get("ssl.truststore.certificates"))
    if login.get("ssl.endpoint.identification.algorithm") == "":
        context.check_hostname = False
    if key := login.get("ssl.keystore.key"):
        with NamedTemporaryFile("w") as key_file:  # only its owner may read it
            key_file.write(key + login["ssl.keystore.certificate.chain"])
            key_file.flush()
            # Empty by default: without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(key_file.name, password=login.get("ssl.key.password", ""))
    return context


def _read_login(login: Path, *, is_for_python: bool = False) -> dict[str, str]:
    try:
        return read_login(login, is_for_python=is_for_python)
    except ValueError as error:
        raise KafkaRequestFailed(str(error)) from None


@contextmanager
def _open_admin_client(servers: str, failure_message: str) -> Iterator[KafkaAdminClient]:
    """Open an admin client and close it afterwards. Errors become KafkaRequestFailed.

    Args:
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        failure_message: Start of the message if a request fails.
    """
    admin = connect_client(
        servers,
        lambda login: KafkaAdminClient(
            bootstrap_servers=servers.split(","), bootstrap_timeout_ms=5_000, **login
        ),
    )
    try:
        yield admin
    except KafkaError as error:
        raise KafkaRequestFailed(f"{failure_message}: {error!r}") from error
    finally:
        admin.close()
