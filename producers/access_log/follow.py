"""Follow a live log: send each complete line, and a heartbeat every minute even without lines."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import BinaryIO

from include.contracts import HEARTBEAT
from producers.access_log.log_file import Line, hash_first_line, stream_lines
from producers.access_log.produce import (
    ProduceResult,
    batch_lines,
    build_message,
    require_end_offsets,
    skip_acknowledged,
)
from producers.kafka_client import (
    DELIVERY_TIMEOUT_SECONDS,
    Acknowledgement,
    KafkaRequestFailed,
    Publisher,
)
from producers.ledger import Ledger

POLL_SECONDS = 0.5
RETRY_SECONDS = 10  # pause after the brokers did not answer within the delivery timeout


def follow_log(
    path: Path,
    *,
    servers: str,
    topic: str,
    ledgers: Path,
    stop: Event,
    lines_per_message: int = 100,
    heartbeat_seconds: int = 60,
    quiet_seconds: float = 30,
    delivery_timeout_seconds: float = DELIVERY_TIMEOUT_SECONDS,
    notify: Callable[[str], None] = lambda text: None,
) -> ProduceResult:
    """Send the lines that are written to a log until `stop` is set.

    Sending starts where the log's ledger ends. If the log is rotated (another file takes its name),
    the old file is read until it has had no new line for `quiet_seconds`, because servers write to
    it for a while; then the new file is read. If the log is truncated, it is read from its start.

    If the brokers do not answer, `notify` gets a message, and sending is tried again after
    RETRY_SECONDS from the last acknowledged line. The file stays open meanwhile, even if it is
    renamed.

    Args:
        path: The live log, plain text. It need not exist yet.
        servers: Kafka bootstrap servers, `host:port` separated by commas.
        topic: An existing topic.
        ledgers: Folder of the ledgers; this log's is `<ledgers>/<topic>/<log id>.csv`.
        stop: Set it to stop.
        lines_per_message: Maximum number of lines in a message.
        heartbeat_seconds: One heartbeat is sent in each interval of the clock of this length, also
            before the first line.
        quiet_seconds: How long a rotated file may be silent before it is closed.
        delivery_timeout_seconds: How long Kafka may take to acknowledge a message.
        notify: Gets each message for the user.

    Returns:
        The lines and messages sent. `log_id` is that of the last file.

    Raises:
        KafkaRequestFailed: No broker answers or the topic is missing at the start, or `stop` was
            set before all messages were acknowledged.
        UnusableLedger: The ledger cannot be read or written.
    """
    started = time.monotonic()
    require_end_offsets(servers, topic)  # fail now, not at the first line
    sent = messages = already_acknowledged = 0
    log: _LiveLog | None = None
    ledger: Ledger | None = None
    log_id, last_interval = hash_first_line(b""), -1

    def record_acknowledgement(acknowledgement: Acknowledgement) -> None:
        if acknowledgement.context is not None:
            message_ledger, entry = acknowledgement.context
            message_ledger.write(acknowledgement._replace(context=entry))

    def send_until_stopped(publisher: Publisher, exit_stack: ExitStack) -> None:
        """Send new lines and heartbeats until `stop` is set. Raises KafkaRequestFailed."""
        nonlocal sent, messages, already_acknowledged, log, ledger, log_id, last_interval
        while True:
            if log is None and (opened := _LiveLog.open_if_ready(path)):
                log, log_id = opened, opened.log_id
            if log is not None and ledger is None:
                ledger = Ledger(ledgers / topic / f"{log_id}.csv")
                position, lines_before = ledger.resume_position(require_end_offsets(servers, topic))
                already_acknowledged += lines_before if log.acknowledged_bytes is None else 0
                log.seek(position)
                if not position:
                    ledger.reset()
                exit_stack.enter_context(ledger)
            if log is not None:
                for batch in batch_lines(log.read_new_lines(), lines_per_message):
                    key, value, entry = build_message(log_id, batch)
                    publisher.send(key, value, (ledger, entry))
                    sent, messages = sent + len(batch), messages + 1
                    last_interval = _send_heartbeat(
                        publisher, log_id, heartbeat_seconds, last_interval
                    )
                    if stop.is_set():  # the ledger has the position for the next run
                        break
            last_interval = _send_heartbeat(publisher, log_id, heartbeat_seconds, last_interval)
            publisher.flush()
            if log is not None and ledger is not None:
                ledger.flush()
                if log.is_finished(path, quiet_seconds):
                    log.close()
                    log = ledger = None
                    continue
            if stop.wait(POLL_SECONDS):
                return

    try:
        while True:
            try:
                with (
                    ExitStack() as exit_stack,
                    Publisher(
                        servers,
                        topic,
                        record_acknowledgement,
                        delivery_timeout_seconds=delivery_timeout_seconds,
                    ) as publisher,
                ):
                    send_until_stopped(publisher, exit_stack)
                break
            except KafkaRequestFailed as error:
                if stop.is_set():
                    raise
                ledger = None
                notify(
                    f"{str(error).partition(';')[0]}; trying again in {RETRY_SECONDS} s from the last "
                    "acknowledged line"
                )
                if stop.wait(RETRY_SECONDS):
                    raise
    finally:
        if log is not None:
            log.close()
    return ProduceResult(log_id, sent, messages, already_acknowledged, time.monotonic() - started)


def _send_heartbeat(
    publisher: Publisher, log_id: str, interval_seconds: int, last_interval: int
) -> int:
    """Send a heartbeat unless one was sent in the current interval of the clock.

    Returns:
        The number of the current interval, for the next call's `last_interval`.
    """
    interval = int(time.time()) // interval_seconds
    if interval != last_interval:
        publisher.send(f"{log_id}:{HEARTBEAT}".encode(), None)
    return interval


class _LiveLog:
    """One open log file. It stays the same file when another file takes its name."""

    def __init__(self, file: BinaryIO, first_line: bytes) -> None:
        self._file, self.log_id = file, hash_first_line(first_line)
        # Bytes from the start that Kafka has acknowledged; None until the ledger was read.
        self.acknowledged_bytes: int | None = None
        self._position, self._last_line_at = 0, time.monotonic()

    def seek(self, position: int) -> None:
        """Continue reading at `position`; Kafka has acknowledged everything before it."""
        self.acknowledged_bytes = self._position = position

    @classmethod
    def open_if_ready(cls, path: Path) -> "_LiveLog | None":
        """Open the log if it exists and its first line, which gives its id, is complete."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        for line in stream_lines(file, complete_only=True):
            return cls(file, line.text)
        file.close()
        return None

    def read_new_lines(self) -> Iterator[Line]:
        """Yield the lines completed since the last call that Kafka has not acknowledged."""
        self._file.seek(self._position)
        for line in skip_acknowledged(self._read_complete_lines(), self.acknowledged_bytes or 0):
            self._last_line_at = time.monotonic()
            yield line

    def _read_complete_lines(self) -> Iterator[Line]:
        for line in stream_lines(self._file, self._position, complete_only=True):
            self._position = line.start + line.size
            yield line

    def is_finished(self, path: Path, quiet_seconds: float) -> bool:
        """Whether the file was truncated, or was renamed and has been silent for `quiet_seconds`."""
        file_state = os.fstat(self._file.fileno())
        if file_state.st_size < self._position:
            return True
        try:
            has_name = path.stat().st_ino == file_state.st_ino
        except FileNotFoundError:
            has_name = True  # the new file does not exist yet
        return not has_name and time.monotonic() - self._last_line_at > quiet_seconds

    def close(self) -> None:
        self._file.close()
