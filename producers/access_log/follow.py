"""Follow a live log: send each line when it has ended, and a heartbeat a minute, also of silence."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import BinaryIO

from include.contracts import HEARTBEAT
from producers.access_log.produce import Produced, after, batches, message, topic_ends
from producers.access_log.replay import Line, id_of, lines_from
from producers.kafka_client import PATIENCE, Acknowledged, ProducerError, Publisher
from producers.ledger import Ledger

LOOK_SECONDS = 0.5
AGAIN_SECONDS = 10  # after brokers were away for as long as a producer is patient


def follow(
    path: Path,
    *,
    servers: str,
    topic: str,
    ledgers: Path,
    stop: Event,
    lines_per_message: int = 100,
    heartbeat_seconds: int = 60,
    rotated_seconds: float = 30,
    patience: float = PATIENCE,
    says: Callable[[str], None] = lambda text: None,
) -> Produced:
    """Send what is written to the log at `path` until `stop` is set; give what was sent.

    Begins where the log's ledger ends. When another file has taken the name, the old one is read
    until nothing came for `rotated_seconds` (servers write on for a while), then the new one. While
    it runs, a heartbeat is sent in each minute of the clock; before there is a line, too.

    Brokers that are away for longer than `patience` seconds are said to `says` and asked again; the
    file stays open meanwhile, whatever it is called by then, and is read on from what was
    acknowledged. Raises ProducerError when no broker or no topic is there at the beginning, or when
    it is stopped before all was acknowledged.
    """
    started = time.monotonic()
    topic_ends(servers, topic)  # or it ends here, not at the first line
    sent = messages = before = 0
    log: _Log | None = None
    ledger: Ledger | None = None
    name, beat = id_of(b""), -1

    def acknowledged(done: Acknowledged) -> None:
        if done.about is not None:
            of_log, about = done.about
            of_log.write(done._replace(about=about))

    def send_on(publisher: Publisher, kept: ExitStack) -> None:
        """Until `stop` is set. Raises ProducerError."""
        nonlocal sent, messages, before, log, ledger, name, beat
        while True:
            if log is None and (found := _Log.begun(path)):
                log, name = found, found.name
            if log is not None and ledger is None:
                ledger = Ledger(ledgers / topic / f"{name}.csv")
                reached, already = ledger.acknowledged(topic_ends(servers, topic))
                before += already if log.reached is None else 0
                log.go_to(reached)
                if not reached:
                    ledger.forget()
                kept.enter_context(ledger)
            if log is not None:
                for batch in batches(log.added(), lines_per_message):
                    key, value, about = message(name, batch)
                    publisher.send(key, value, (ledger, about))
                    sent, messages = sent + len(batch), messages + 1
                    beat = _beat(publisher, name, heartbeat_seconds, beat)
                    if stop.is_set():  # the ledger knows how far it came
                        break
            beat = _beat(publisher, name, heartbeat_seconds, beat)
            publisher.flush()
            if log is not None and ledger is not None:
                ledger.flush()
                if log.is_over(path, rotated_seconds):
                    log.close()
                    log = ledger = None
                    continue
            if stop.wait(LOOK_SECONDS):
                return

    try:
        while True:
            try:
                with (
                    ExitStack() as kept,
                    Publisher(servers, topic, acknowledged, patience=patience) as publisher,
                ):
                    send_on(publisher, kept)
                break
            except ProducerError as failed:
                if stop.is_set():
                    raise
                ledger = None
                says(f"{str(failed).partition(';')[0]}; trying again, from what was acknowledged")
                if stop.wait(AGAIN_SECONDS):
                    raise
    finally:
        if log is not None:
            log.close()
    return Produced(name, sent, messages, before, time.monotonic() - started)


def _beat(publisher: Publisher, name: str, seconds: int, last: int) -> int:
    """Send a heartbeat unless there was one in this minute of the clock; give the minute."""
    now = int(time.time()) // seconds
    if now != last:
        publisher.send(f"{name}:{HEARTBEAT}".encode(), None)
    return now


class _Log:
    """The file that is read: one file, whatever is called by its name later."""

    def __init__(self, file: BinaryIO, first: bytes) -> None:
        self._file, self.name = file, id_of(first)
        self.reached: int | None = None  # up to where Kafka has it, once that is known
        self._next, self._last = 0, time.monotonic()

    def go_to(self, reached: int) -> None:
        """Read on from there: Kafka has what is before."""
        self.reached = self._next = reached

    @classmethod
    def begun(cls, path: Path) -> "_Log | None":
        """The log at `path`, if it is there and its first line, by which it is known, has ended."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        for line in lines_from(file, ended=True):
            return cls(file, line.text)
        file.close()
        return None

    def added(self) -> Iterator[Line]:
        """The lines that have ended since the last call, and are not in the ledger."""
        self._file.seek(self._next)
        for line in after(self._read(), self.reached or 0):
            self._last = time.monotonic()
            yield line

    def _read(self) -> Iterator[Line]:
        for line in lines_from(self._file, self._next, ended=True):
            self._next = line.start + line.size
            yield line

    def is_over(self, path: Path, quiet_seconds: float) -> bool:
        """Whether it was cut to begin anew, or has lost its name and nothing comes any more."""
        mine = os.fstat(self._file.fileno())
        if mine.st_size < self._next:
            return True
        try:
            has_name = path.stat().st_ino == mine.st_ino
        except FileNotFoundError:
            has_name = True  # the new file is not there yet
        return not has_name and time.monotonic() - self._last > quiet_seconds

    def close(self) -> None:
        self._file.close()
