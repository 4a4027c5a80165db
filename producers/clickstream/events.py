"""Generate click events from a seed, and encode them in the two message formats."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from include.flag_values import parse_time

# The time of the course's first example, 8 May 2024 12:41:08 UTC.
COURSE_START = 1715172068
# Bad messages: not JSON, fields missing, a wrong type, a time in the future.
BAD_MESSAGES = (
    b"no event",
    b'{"Clicks": 1}',
    b'{"Clicks": "many", "Impressions": 3, "ts": 1715172068}',
    b'{"Clicks": 0, "Impressions": 1, "ts": 32503680000}',  # the year 3000
)

Event = dict[str, Any]  # Clicks, Impressions, ts in seconds since 1970 (UTC); event_id, campaign


def generate_events(
    count: int, seed: int, start: int = COURSE_START, campaigns: int = 0
) -> Iterator[Event]:
    """Generate events ordered by time, 0 to 6 seconds apart, with at most as many clicks as impressions.

    Args:
        count: Number of events.
        seed: The same seed gives the same events.
        start: Time of the first event, in seconds since 1970 (UTC).
        campaigns: Number of campaigns. Above 0, each event has a `campaign` and an `event_id`; its
            counts and times are the same as without.
    """
    random, campaign_random = Random(f"clickstream {seed}"), Random(f"campaigns {seed}")
    second = start
    for number in range(count):
        impressions = random.randrange(10)
        clicks = sum(random.random() < 0.2 for _ in range(impressions))
        event: Event = {"Clicks": clicks, "Impressions": impressions, "ts": second}
        if campaigns:
            campaign = f"campaign-{campaign_random.randrange(campaigns) + 1}"
            event |= {"event_id": f"{seed}-{start}-{number}", "campaign": campaign}
        yield event
        second += random.randrange(7)


def parse_start(text: str) -> int:
    """Parse a start time into seconds since 1970 (UTC).

    Args:
        text: A time in ISO 8601 format with its time zone, or `now` for the start of this minute.

    Raises:
        ValueError: It is neither; the message shows the text and an example.
    """
    if text == "now":
        return int(datetime.now().timestamp()) // 60 * 60
    moment = parse_time(text)
    if moment is None:
        raise ValueError(
            f"start {text!r}: expected a time with its time zone, such as 2024-05-08T12:41:08Z, or now"
        )
    return int(moment.timestamp())


def read_events(path: Path) -> Iterator[Event]:
    """Read the events of a file, one JSON object per line. Raises ValueError that names the line."""
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
                        f"ts, found {line.strip()[:80]!r}; correct or remove the line"
                    )
                yield event
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; expected one JSON object per line") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def encode_rows(events: Iterable[Event]) -> Iterator[bytes]:
    """Encode one event per message, with the counts as integers."""
    for event in events:
        yield json.dumps(event).encode()


def encode_batches(events: Iterable[Event], size: int) -> Iterator[bytes]:
    """Encode a JSON array of up to `size` events per message, with the counts as strings."""
    remaining = iter(events)
    while batch := list(islice(remaining, size)):
        rows = [
            event | {"Clicks": str(event["Clicks"]), "Impressions": str(event["Impressions"])}
            for event in batch
        ]
        yield json.dumps(rows).encode()


def insert_bad_messages(messages: Iterable[bytes], bad_share: float, seed: int) -> Iterator[bytes]:
    """Insert bad messages after about `bad_share` (0 to 1) of the messages. Same seed, same result."""
    random = Random(f"faults {seed}")
    for message in messages:
        yield message
        if random.random() < bad_share:
            yield random.choice(BAD_MESSAGES)
