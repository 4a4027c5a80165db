"""Click events, always the same by their seed, and the two shapes in which they travel."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

# The second of the course's first example, 8 May 2024 12:41:08 UTC.
COURSE_START = 1715172068


class Event(NamedTuple):
    """One interval of an advertisement: counts, and `ts` in seconds since 1970 (UTC)."""

    Clicks: int
    Impressions: int
    ts: int


def events(count: int, seed: int, start: int = COURSE_START) -> Iterator[Event]:
    """`count` events in order of time, 0 to 6 seconds apart; no more clicks than impressions."""
    random = Random(f"clickstream {seed}")
    second = start
    for _ in range(count):
        impressions = random.randrange(10)
        clicks = sum(random.random() < 0.2 for _ in range(impressions))
        yield Event(clicks, impressions, second)
        second += random.randrange(7)


def row_messages(found: Iterable[Event]) -> Iterator[bytes]:
    """Row by row: one event a message, counts as integers."""
    for event in found:
        yield json.dumps(event._asdict()).encode()


def batch_messages(found: Iterable[Event], size: int) -> Iterator[bytes]:
    """Batch by batch: a JSON array of up to `size` events a message, counts as strings."""
    rest = iter(found)
    while batch := list(islice(rest, size)):
        rows = [
            {"Clicks": str(event.Clicks), "Impressions": str(event.Impressions), "ts": event.ts}
            for event in batch
        ]
        yield json.dumps(rows).encode()
