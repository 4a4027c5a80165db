"""The only module that talks to Kafka: publish with every acknowledgement checked, make topics."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, TopicAlreadyExistsError

LATEST = -1  # Kafka's own code for "the offset after the last message"
IN_FLIGHT = 5000  # messages sent and not yet acknowledged: bounds memory
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
        by_turns: bool = False,
    ) -> None:  # fmt: skip
        self._topic, self._acknowledged = topic, acknowledged
        self._waiting: list[tuple[Any, Any]] = []
        self._by_turns, self._sent = by_turns, 0
        self._partitions: list[int] = []
        self._producer = connected(
            servers,
            lambda: KafkaProducer(
                bootstrap_servers=servers.split(","),
                # Said out loud: a setting that conflicts would otherwise switch it off silently.
                enable_idempotence=True,
                acks="all",
                compression_type="lz4",
                linger_ms=20,
                batch_size=256 * 1024,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=5_000,
                max_block_ms=15_000,
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
                place = future.value if future.succeeded() else future.get(timeout=130)
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
    admin = _admin(servers)
    try:
        missing = set(topics) - set(admin.list_topics())
        for topic in sorted(missing):
            shape = {"num_partitions": partitions, "replication_factor": replication}
            with suppress(TopicAlreadyExistsError):  # somebody else made it in between
                admin.create_topics({topic: shape}, wait_for_metadata=True)
    finally:
        admin.close()


def end_offsets(servers: str, topic: str) -> dict[int, int] | None:
    """Partition -> the offset after its last message; None if there is no such topic."""
    admin = _admin(servers)
    try:
        if topic not in admin.list_topics():
            return None
        (described,) = admin.describe_topics([topic])
        asked = {
            TopicPartition(topic, partition["partition_index"]): LATEST
            for partition in described["partitions"]
        }
        return {at.partition: end.offset for at, end in admin.list_partition_offsets(asked).items()}
    finally:
        admin.close()


def connected(servers: str, connect: Callable[[], Any]) -> Any:
    """What `connect` gives; ProducerError with the remedy when no broker answers."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        return connect()
    except KafkaError as error:
        raise ProducerError(
            f"no Kafka broker answers at {servers} ({type(error).__name__}); start it with "
            f"`make up`, or give another with --servers or TIDEMARK_KAFKA_SERVERS"
        ) from error


def _admin(servers: str) -> Any:
    return connected(
        servers,
        lambda: KafkaAdminClient(bootstrap_servers=servers.split(","), bootstrap_timeout_ms=5_000),
    )
