"""The only module that talks to Kafka: publish with every acknowledgement checked, make topics."""

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

from include.kafka_login import read_login, user_of
from include.settings import load_settings

LATEST = -1  # Kafka's own code for "the offset after the last message"
IN_FLIGHT = 5000  # messages sent and not yet acknowledged: bounds memory
PATIENCE = 120.0  # seconds that a message is tried for
# Bytes that a partition gets in a row: few, full batches (as KIP-480 for messages without a key).
AT_A_TIME = 256 * 1024


class ProducerError(Exception):
    """Something a person can mend; the message says what and how."""


class Acknowledged(NamedTuple):
    """A message that the broker has: where it lies, and what the caller gave with it."""

    about: Any
    partition: int
    offset: int


class Publisher:
    """Sends messages to one topic and gives `acknowledged` each one that the broker confirmed.

    Idempotent, all replicas, lz4. Leaving the `with` block waits for every acknowledgement and
    raises ProducerError if one failed: a producer that ends without an error has lost nothing.
    A key decides the partition, as everywhere; `by_turns` each partition gets AT_A_TIME bytes in a
    row, for keys that occur once: kafka-python hashes a key in Python, a fifth of what a send takes.
    """

    def __init__(
        self, servers: str, topic: str, acknowledged: Callable[[Acknowledged], None], *,
        by_turns: bool = False, patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        self._topic, self._acknowledged = topic, acknowledged
        self._waiting: list[tuple[Any, Any]] = []
        self._by_turns, self._sent, self._patience = by_turns, 0, patience
        self._partitions: list[int] = []
        self._producer = connected(
            servers,
            lambda login: KafkaProducer(
                bootstrap_servers=servers.split(","),
                **login,
                # Said out loud: a setting that conflicts would otherwise switch it off silently.
                enable_idempotence=True,
                acks="all",
                compression_type="lz4",
                linger_ms=20,
                batch_size=256 * 1024,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=5_000,
                max_block_ms=15_000,
                delivery_timeout_ms=int(patience * 1000),
                request_timeout_ms=int(min(30, patience / 2) * 1000),
            ),
        )

    def send(self, key: bytes | None, value: bytes | None, about: Any = None) -> None:
        """Hand a message over. `about` comes back with its acknowledgement."""
        try:
            future = self._producer.send(
                self._topic, value, key, partition=self._turn(value) if self._by_turns else None
            )
            self._waiting.append((about, future))
        except KafkaError as error:
            raise ProducerError(self._says(error)) from error
        if len(self._waiting) >= IN_FLIGHT:
            self._collect(len(self._waiting) // 2)

    def flush(self) -> None:
        """Wait until every message sent so far is acknowledged."""
        try:
            self._producer.flush()
        except KafkaError as error:
            raise ProducerError(self._says(error)) from error
        self._collect(len(self._waiting))

    def _turn(self, value: bytes | None) -> int:
        """The partition whose turn it is."""
        if not self._partitions:
            self._partitions = sorted(self._producer.partitions_for(self._topic))
        self._sent += len(value or b"")
        return self._partitions[self._sent // AT_A_TIME % len(self._partitions)]

    def _collect(self, count: int) -> None:
        done, self._waiting = self._waiting[:count], self._waiting[count:]
        for about, future in done:
            try:
                place = (
                    future.value if future.succeeded() else future.get(timeout=self._patience + 10)
                )
            except KafkaError as error:
                raise ProducerError(self._says(error)) from error
            self._acknowledged(Acknowledged(about, place.partition, place.offset))

    def _says(self, error: Exception) -> str:
        return (
            f"topic {self._topic!r}: a message was not acknowledged ({error!r}); "
            f"see whether the broker runs and has the topic (`make status`), then run this again: "
            f"it goes on where it stopped"
        )

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is None:
            try:
                self.flush()
            finally:
                self._producer.close(timeout=5)
            return
        # Interrupted or failed: what the broker has by now, it has; say so before leaving.
        with suppress(KafkaError):
            self._producer.close(timeout=5)
        for about, future in self._waiting:
            if future.succeeded():
                place = future.value
                self._acknowledged(Acknowledged(about, place.partition, place.offset))


def ensure_topics(servers: str, topics: Iterable[str], partitions: int, replication: int) -> None:
    """Make the topics that are not there yet. Those that are stay as they are."""
    with _asking(servers, "the topics could not be made") as admin:
        for topic in sorted(set(topics) - set(admin.list_topics())):
            shape = {"num_partitions": partitions, "replication_factor": replication}
            with suppress(TopicAlreadyExistsError):  # somebody else made it in between
                admin.create_topics({topic: shape}, wait_for_metadata=True)


def end_offsets(servers: str, topic: str) -> dict[int, int] | None:
    """Partition -> the offset after its last message; None if there is no such topic."""
    with _asking(servers, f"the brokers do not say where topic {topic} ends") as admin:
        if topic not in admin.list_topics():
            return None
        (described,) = admin.describe_topics([topic])
        asked = {
            TopicPartition(topic, partition["partition_index"]): LATEST
            for partition in described["partitions"]
        }
        return {at.partition: end.offset for at, end in admin.list_partition_offsets(asked).items()}


def connected(servers: str, connect: Callable[[dict[str, Any]], Any]) -> Any:
    """What `connect` gives for the login that the settings name.

    Raises ProducerError with the remedy when no broker answers. kafka-python does not say why one
    hung up, so that a wrong password, or none, cannot be told from a broker that is away.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    path = load_settings().kafka_producer_login
    try:
        return connect(login_options(Path(path)) if path else {})
    except KafkaError as error:
        remedy = (
            f"or correct the login (TIDEMARK_KAFKA_PRODUCER_LOGIN={path}): a broker hangs up on a "
            f"wrong user, password or certificate"
            if path
            else "one that asks for a login gets it by TIDEMARK_KAFKA_PRODUCER_LOGIN"
        )
        raise ProducerError(
            f"no Kafka broker answers at {servers} ({type(error).__name__}); start it with `make up`, "
            f"or give another with --servers or TIDEMARK_KAFKA_SERVERS; {remedy}"
        ) from error


def make_user(servers: str, login: Path) -> str:
    """Let the user of a login file in, by its password (SCRAM-SHA-512), or change it; give its name."""
    name, password = user_of(_read(login))
    if not name or not password:
        raise ProducerError(f"{login}: sasl.jaas.config has no username and password")
    failed = f"the brokers do not make user {name}"
    with _asking(servers, failed) as admin:
        made = UserScramCredentialUpsertion(name, "SCRAM-SHA-512", password)
        (refused,) = admin.alter_user_scram_credentials([made]).values()
    if refused:
        raise ProducerError(f"{failed}: {refused}")
    return name


def allow(servers: str, user: str, operations: Iterable[str], topics: Iterable[str]) -> None:
    """Let `user` do `operations` (READ, WRITE, DESCRIBE: Kafka's words) with `topics`."""
    wanted = [
        ACL(f"User:{user}", "*", ACLOperation[operation], ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType.TOPIC, topic))
        for operation in operations for topic in topics
    ]  # fmt: skip
    failed = f"the brokers do not keep the rights of {user}"
    with _asking(servers, failed) as admin:
        refused = admin.create_acls(wanted)["failed"]
    if refused:
        raise ProducerError(f"{failed}: {refused}")


def login_options(path: Path) -> dict[str, Any]:
    """What kafka-python is told of a login file. Raises ProducerError."""
    login = _read(path, by_python=True)
    user, password = user_of(login)
    told = {"security_protocol": login["security.protocol"],
            "sasl_mechanism": login.get("sasl.mechanism"),
            "sasl_plain_username": user or None, "sasl_plain_password": password or None}  # fmt: skip
    if "SSL" not in login["security.protocol"]:
        return told
    try:
        return told | {"ssl_context": _tls(login)}
    except ssl.SSLError as why:
        raise ProducerError(f"{path}: its certificates or key cannot be used: {why}") from None


def _tls(login: dict[str, str]) -> ssl.SSLContext:
    # Without certificates to trust: those of the machine.
    context = ssl.create_default_context(cadata=login.get("ssl.truststore.certificates"))
    if login.get("ssl.endpoint.identification.algorithm") == "":
        context.check_hostname = False
    if key := login.get("ssl.keystore.key"):
        with NamedTemporaryFile("w") as both:  # readable by its owner alone
            both.write(key + login["ssl.keystore.certificate.chain"])
            both.flush()
            # An empty one: without any, OpenSSL would ask for it on the terminal.
            context.load_cert_chain(both.name, password=login.get("ssl.key.password", ""))
    return context


def _read(login: Path, *, by_python: bool = False) -> dict[str, str]:
    try:
        return read_login(login, by_python=by_python)
    except ValueError as why:
        raise ProducerError(str(why)) from None


@contextmanager
def _asking(servers: str, failed: str) -> Iterator[KafkaAdminClient]:
    """An admin client, closed afterwards. Raises ProducerError, which begins with what `failed`."""
    admin = connected(
        servers,
        lambda login: KafkaAdminClient(
            bootstrap_servers=servers.split(","), bootstrap_timeout_ms=5_000, **login
        ),
    )
    try:
        yield admin
    except KafkaError as error:
        raise ProducerError(f"{failed}: {error!r}") from error
    finally:
        admin.close()
