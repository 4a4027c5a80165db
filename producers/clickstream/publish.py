"""Send messages to a topic, each acknowledged."""

import time
from collections.abc import Iterable

from producers.kafka_client import Acknowledged, Publisher


def publish(messages: Iterable[bytes], servers: str, topic: str, rate: float | None = None) -> int:
    """Publish `messages`, `rate` a second, without a key; give how many were acknowledged.

    Raises ProducerError. An event without an id cannot be told from its repeat, so a run that is
    repeated counts twice.
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
            publisher.send(None, message)
    return acknowledged
