"""Click events, always the same by their seed, and the two shapes in which they travel."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

# The second of the course's first example, 8 May 2024 12:41:08 UTC.
COURSE_START = 1715172068
# A message that is no event, one for each way in which it can go wrong.
FAULTS = (
    b"no event",
    b'{"Clicks": 1}',
    b'{"Clicks": "many", "Impressions": 3, "ts": 1715172068}',
    b'{"Clicks": 0, "Impressions": 1, "ts": 32503680000}',  # the year 3000
)

Event = dict[str, Any]  # Clicks, Impressions, ts in seconds since 1970 (UTC); event_id, campaign


def events(count: int, seed: int, start: int = COURSE_START, campaigns: int = 0) -> Iterator[Event]:
    """`count` events in order of time, 0 to 6 seconds apart; no more clicks than impressions.

    With `campaigns`, each belongs to one of so many and has an `event_id`; its counts are the same.
    """
    random, chooses = Random(f"clickstream {seed}"), Random(f"campaigns {seed}")
    second = start
    for number in range(count):
        impressions = random.randrange(10)
        clicks = sum(random.random() < 0.2 for _ in range(impressions))
        event: Event = {"Clicks": clicks, "Impressions": impressions, "ts": second}
        if campaigns:
            campaign = f"campaign-{chooses.randrange(campaigns) + 1}"
            event |= {"event_id": f"{seed}-{start}-{number}", "campaign": campaign}
        yield event
        second += random.randrange(7)


def first_second(text: str) -> int:
    """Seconds since 1970 of a time in ISO format with its zone, or of this minute for `now`."""
    if text == "now":
        return int(datetime.now().timestamp()) // 60 * 60
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"start {text!r}: expected a time with its zone, such as 2024-05-08T12:41:08Z, or now"
        )
    return int(moment.timestamp())


def replayed(path: Path) -> Iterator[Event]:
    """The events of a file, a JSON object a line. Raises ValueError that names the line."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    event = json.loads(line)
                    missing = {"Clicks", "Impressions", "ts"} - event.keys()
                except (ValueError, AttributeError):
                    missing = {"Clicks", "Impressions", "ts"}
                if missing:
                    raise ValueError(
                        f"{path}, line {number}: expected a JSON object with Clicks, Impressions and "
                        f"ts, found {line.strip()[:80]!r}; correct the line or take it out"
                    )
                yield event
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8; expected a JSON object a line") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def row_messages(found: Iterable[Event]) -> Iterator[bytes]:
    """Row by row: one event a message, counts as integers."""
    for event in found:
        yield json.dumps(event).encode()


def batch_messages(found: Iterable[Event], size: int) -> Iterator[bytes]:
    """Batch by batch: a JSON array of up to `size` events a message, counts as strings."""
    rest = iter(found)
    while batch := list(islice(rest, size)):
        rows = [
            event | {"Clicks": str(event["Clicks"]), "Impressions": str(event["Impressions"])}
            for event in batch
        ]
        yield json.dumps(rows).encode()


def with_faults(messages: Iterable[bytes], share: float, seed: int) -> Iterator[bytes]:
    """The messages, and among them about `share` as many that are no event; the same by `seed`."""
    random = Random(f"faults {seed}")
    for message in messages:
        yield message
        if random.random() < share:
            yield random.choice(FAULTS)
