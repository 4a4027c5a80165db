"""Send the clickstream to a topic, each message acknowledged."""

import json
import time
from collections.abc import Iterable, Iterator

from producers.clickstream.events import Event, batch_messages, row_messages, with_faults
from producers.kafka_client import Acknowledged, Publisher


def messages_of(
    found: Iterable[Event], mode: str, batch_size: int, faults: float, seed: int
) -> Iterator[bytes]:
    """The events as messages: mode `rows` or `batches`, with a share of faulty ones."""
    made = row_messages(found) if mode == "rows" else batch_messages(found, batch_size)
    return with_faults(made, faults, seed) if faults else made


def publish(messages: Iterable[bytes], servers: str, topic: str, rate: float | None = None) -> int:
    """Publish `messages`, `rate` a second; give how many were acknowledged.

    The key is the `event_id` of a single event that has one. Raises ProducerError. An event without
    an id cannot be told from its repeat, so a run that is repeated counts twice.
    """
    acknowledged = 0

    def count(message: Acknowledged) -> None:
        nonlocal acknowledged
        acknowledged += 1

    started = time.monotonic()
    with Publisher(servers, topic, count) as publisher:
        for number, message in enumerate(messages):
            if rate and (ahead := number / rate - (time.monotonic() - started)) > 0:
                time.sleep(ahead)
            publisher.send(_key(message), message)
    return acknowledged


def _key(message: bytes) -> bytes | None:
    if b'"event_id"' not in message or not message.startswith(b"{"):
        return None
    name = json.loads(message).get("event_id")
    return str(name).encode() if name else None
