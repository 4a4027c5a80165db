"""Send the lines of a log to Kafka, row by row or in batches, and record every acknowledgement."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from include.contracts import MAX_LINE_BYTES
from producers.access_log.log_file import Line
from producers.kafka_client import KafkaRequestFailed, Publisher, end_offsets
from producers.ledger import Ledger

# Below Kafka's default message limit of 1,048,576 bytes.
MAX_BATCH_BYTES = 900_000

PROGRESS_LINES = 500  # lines between updates: a progress bar need not move faster


@dataclass(frozen=True)
class ProduceResult:
    """The result of a run.

    Attributes:
        log_id: Id of the log.
        lines: Lines acknowledged in this run.
        messages: Messages acknowledged in this run.
        already_acknowledged: Lines skipped because an earlier run sent them.
        seconds: Duration of the run.
    """

    log_id: str
    lines: int
    messages: int
    already_acknowledged: int
    seconds: float


def produce_lines(
    lines: Iterable[Line],
    log_id: str,
    *,
    servers: str,
    topic: str,
    ledgers: Path,
    lines_per_message: int = 1,
    rate: float | None = None,
    resend: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> ProduceResult:
    """Publish the lines of a log, starting where its ledger ends.

    The key of a message is `<log id>:<byte offset of its first line>`.

    Args:
        lines: The lines of the whole log, in order.
        log_id: Id of the log; names its ledger and begins each key.
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        topic: An existing topic.
        ledgers: Folder of the ledgers; this log's is `<ledgers>/<topic>/<log id>.csv`.
        lines_per_message: Maximum number of lines in a message.
        rate: Maximum number of lines per second; None for no limit.
        resend: Send from the start of the log, also lines that were acknowledged. The summary
            counts them as duplicates.
        progress: Called with the number of lines sent since its last call.

    Raises:
        KafkaRequestFailed: No broker answers, the topic is missing, or a message was not
            acknowledged.
        UnusableLedger: The ledger cannot be read or written.
    """
    started = time.monotonic()
    ledger = Ledger(ledgers / topic / f"{log_id}.csv")
    ends = require_end_offsets(servers, topic)
    position, already_acknowledged = ledger.resume_position(ends)
    if not position:
        ledger.reset()
    if resend:
        position = already_acknowledged = 0
    sent = messages = reported = 0
    with ledger, Publisher(servers, topic, ledger.write, sticky_partitions=True) as publisher:
        for batch in batch_lines(
            limit_rate(skip_acknowledged(lines, position), rate), lines_per_message
        ):
            publisher.send(*build_message(log_id, batch))
            sent, messages = sent + len(batch), messages + 1
            if sent - reported >= PROGRESS_LINES:
                progress(sent - reported)
                reported = sent
        progress(sent - reported)
    return ProduceResult(log_id, sent, messages, already_acknowledged, time.monotonic() - started)


def require_end_offsets(servers: str, topic: str) -> dict[int, int]:
    """Return the topic's end offset of each partition. Raises KafkaRequestFailed without a topic."""
    ends = end_offsets(servers, topic)
    if ends is None:
        raise KafkaRequestFailed(
            f"there is no topic {topic!r} at {servers}; create it with `./tidemark topics {topic}`"
        )
    return ends


def build_message(log_id: str, batch: list[Line]) -> tuple[bytes, bytes, tuple[int, int, int]]:
    """Build the message of a batch.

    Returns:
        The key, the value, and the ledger entry: byte offset, bytes and number of lines.
    """
    first, last = batch[0], batch[-1]
    entry = (first.start, last.start + last.size - first.start, len(batch))
    value = first.text if len(batch) == 1 else b"\n".join(line.text for line in batch)
    # A newline at the end of a message only ends its last line, so an empty last line needs one.
    value += b"" if last.text else b"\n"
    return f"{log_id}:{first.start}".encode(), value, entry


def batch_lines(lines: Iterable[Line], max_lines: int) -> Iterator[list[Line]]:
    """Group consecutive lines into lists of at most `max_lines` lines and MAX_BATCH_BYTES bytes.

    A line longer than MAX_LINE_BYTES, which is cut, gets a message of its own: the byte offsets of
    lines after it in the same message could not be computed.
    """
    if max_lines == 1:
        for line in lines:
            yield [line]
        return
    batch: list[Line] = []
    batch_bytes = 0
    for line in lines:
        is_cut = len(line.text) > MAX_LINE_BYTES
        if batch and (is_cut or batch_bytes + line.size > MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(line)
        batch_bytes += line.size
        if is_cut or len(batch) == max_lines:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def limit_rate(lines: Iterable[Line], rate: float | None) -> Iterator[Line]:
    """Yield the same lines, at most `rate` per second; None for no limit."""
    if not rate:
        yield from lines
        return
    started = time.monotonic()
    for number, line in enumerate(lines):
        wait_seconds = number / rate - (time.monotonic() - started)
        if wait_seconds > 0.001:
            time.sleep(wait_seconds)
        yield line


def skip_acknowledged(lines: Iterable[Line], acknowledged_bytes: int) -> Iterator[Line]:
    """Skip the lines that end within the first `acknowledged_bytes` of the log.

    A line that has grown beyond this offset was sent incomplete and is returned again.
    """
    remaining = iter(lines)
    for line in remaining:
        if line.start >= acknowledged_bytes or line.start + len(line.text) > acknowledged_bytes:
            return chain([line], remaining)
    return iter(())
