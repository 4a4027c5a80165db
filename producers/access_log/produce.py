"""Send the lines of a log to Kafka, row by row or in batches, each of them acknowledged."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from include.contracts import MAX_LINE_BYTES
from producers.access_log.replay import Line
from producers.kafka_client import ProducerError, Publisher, end_offsets
from producers.ledger import Ledger

# With Kafka's default limit of 1,048,576 bytes, a batch closes before the line that would pass it.
MAX_BATCH_BYTES = 900_000

TOLD_EVERY = 500  # lines: nobody sees a progress bar move faster


@dataclass(frozen=True)
class Produced:
    """What a run did: lines and messages acknowledged now, lines acknowledged before, seconds."""

    log_id: str
    lines: int
    messages: int
    before: int
    seconds: float


def produce(
    lines: Iterable[Line],
    log_id: str,
    *,
    servers: str,
    topic: str,
    ledgers: Path,
    lines_per_message: int = 1,
    rate: float | None = None,
    again: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> Produced:
    """Publish `lines` keyed `<log id>:<byte offset>`, going on where the log's ledger ends.

    `ledgers` is the folder of ledgers; `rate` is in lines a second; `again` sends from the
    beginning, whatever the ledger says: the summary then counts the lines as repeated.
    `progress` is told how many more lines were handed over. Raises ProducerError.
    """
    started = time.monotonic()
    ledger = Ledger(ledgers / topic / f"{log_id}.csv")
    ends = topic_ends(servers, topic)
    reached, before = ledger.acknowledged(ends)
    if not reached:
        ledger.forget()
    if again:
        reached = before = 0
    sent = messages = told = 0
    with ledger, Publisher(servers, topic, ledger.write, by_turns=True) as publisher:
        for batch in batches(paced(after(lines, reached), rate), lines_per_message):
            publisher.send(*message(log_id, batch))
            sent, messages = sent + len(batch), messages + 1
            if sent - told >= TOLD_EVERY:
                progress(sent - told)
                told = sent
        progress(sent - told)
    return Produced(log_id, sent, messages, before, time.monotonic() - started)


def topic_ends(servers: str, topic: str) -> dict[int, int]:
    """The topic's end offsets by partition. Raises ProducerError if there is no such topic."""
    ends = end_offsets(servers, topic)
    if ends is None:
        raise ProducerError(
            f"there is no topic {topic!r} at {servers}; make it with `./tidemark topics {topic}`"
        )
    return ends


def message(log_id: str, batch: list[Line]) -> tuple[bytes, bytes, tuple[int, int, int]]:
    """Key, value, and what the ledger keeps (start, bytes, lines) of a batch."""
    first, last = batch[0], batch[-1]
    about = (first.start, last.start + last.size - first.start, len(batch))
    value = first.text if len(batch) == 1 else b"\n".join(line.text for line in batch)
    # One newline at the end of a message ends its last line; an empty line needs its own.
    value += b"" if last.text else b"\n"
    return f"{log_id}:{first.start}".encode(), value, about


def batches(lines: Iterable[Line], count: int) -> Iterator[list[Line]]:
    """Lists of up to `count` neighbouring lines, and of no more than MAX_BATCH_BYTES.

    A line that was cut travels alone: the places of lines behind it could not be counted.
    """
    if count == 1:
        for line in lines:
            yield [line]
        return
    batch: list[Line] = []
    held = 0
    for line in lines:
        alone = len(line.text) > MAX_LINE_BYTES
        if batch and (alone or held + line.size > MAX_BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(line)
        held += line.size
        if alone or len(batch) == count:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def paced(lines: Iterable[Line], rate: float | None) -> Iterator[Line]:
    """The same lines, no more than `rate` a second."""
    if not rate:
        yield from lines
        return
    started = time.monotonic()
    for number, line in enumerate(lines):
        ahead = number / rate - (time.monotonic() - started)
        if ahead > 0.001:
            time.sleep(ahead)
        yield line


def after(lines: Iterable[Line], reached: int) -> Iterator[Line]:
    """Skip what ends at or before `reached`. A line that has grown past it was sent half: again."""
    rest = iter(lines)
    for line in rest:
        if line.start >= reached or line.start + len(line.text) > reached:
            return chain([line], rest)
    return iter(())
