"""Send the clickstream to a topic and wait for every acknowledgement."""

import json
import time
from collections.abc import Iterable, Iterator

from producers.clickstream.events import Event, encode_batches, encode_rows, insert_bad_messages
from producers.kafka_client import Acknowledgement, Publisher


def encode_events(
    events: Iterable[Event], mode: str, batch_size: int, bad_share: float, seed: int
) -> Iterator[bytes]:
    """Encode events as messages.

    Args:
        events: The events in order.
        mode: `rows` (one event per message) or `batches` (an array per message).
        batch_size: Events per message in mode `batches`.
        bad_share: Bad messages to insert, as a share (0 to 1) of the messages.
        seed: Decides where bad messages are inserted.
    """
    messages = encode_rows(events) if mode == "rows" else encode_batches(events, batch_size)
    return insert_bad_messages(messages, bad_share, seed) if bad_share else messages


def publish_messages(
    messages: Iterable[bytes], servers: str, topic: str, rate: float | None = None
) -> int:
    """Publish messages and return how many were acknowledged.

    The key of a message is its event's `event_id`, if it is a single event and has one. An event
    without an id cannot be recognised as a duplicate, so a repeated run counts twice.

    Args:
        messages: The message values.
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        topic: An existing topic.
        rate: Maximum number of messages per second; None for no limit.

    Raises:
        KafkaRequestFailed: No broker answers, or a message was not acknowledged.
    """
    acknowledged = 0

    def count_acknowledgement(acknowledgement: Acknowledgement) -> None:
        nonlocal acknowledged
        acknowledged += 1

    started = time.monotonic()
    with Publisher(servers, topic, count_acknowledgement) as publisher:
        for number, message in enumerate(messages):
            if rate and (wait_seconds := number / rate - (time.monotonic() - started)) > 0:
                time.sleep(wait_seconds)
            publisher.send(_read_event_id(message), message)
    return acknowledged


def _read_event_id(message: bytes) -> bytes | None:
    if b'"event_id"' not in message or not message.startswith(b"{"):
        return None
    event_id = json.loads(message).get("event_id")
    return str(event_id).encode() if event_id else None
