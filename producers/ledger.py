"""The ledger of a log: a CSV file of acknowledged messages, so that a second run continues after them.

    start,bytes,lines,partition,offset
    0,48210,200,1,0

One line per message. `start` is the byte offset of its first line in the log, `bytes` the size of its
lines in the log (newlines included), `lines` their number; `partition` and `offset` locate it in Kafka.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

from producers.kafka_client import Acknowledgement

HEADER = "start,bytes,lines,partition,offset\n"


class UnusableLedger(Exception):
    """The file of a ledger cannot be read or written. The message names the file and the remedy."""


class Ledger:
    """The ledger of one log in one topic. Use it as a context manager to append messages.

    Raises:
        UnusableLedger: From each method, if the file cannot be read or written, as on a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None

    def __enter__(self) -> "Ledger":
        with self._name_file_in_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            complete_size = _complete_lines_size(self.path)
            # Remove an incomplete line of a killed run: the next line would be appended to it.
            if self.path.is_file() and self.path.stat().st_size > complete_size:
                with self.path.open("r+b") as file:
                    file.truncate(complete_size)
            self._file = self.path.open("a", buffering=64 * 1024)
            if not complete_size:
                self._file.write(HEADER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            with self._name_file_in_errors():
                self._file.close()

    def write(self, message: Acknowledgement) -> None:
        """Append a message. Its `context` is (start, bytes, lines)."""
        start, size, lines = message.context
        assert self._file is not None
        line = f"{start},{size},{lines},{message.partition},{message.offset}\n"
        try:  # called for each message: a context manager would take more time than the write
            self._file.write(line)
        except OSError as error:
            raise self._describe_error(error) from error

    def flush(self) -> None:
        """Write buffered lines to the file, so that a kill does not lose them."""
        if self._file:
            with self._name_file_in_errors():
                self._file.flush()

    def resume_position(self, end_offsets: dict[int, int] | None) -> tuple[int, int]:
        """Return how much of the log's start Kafka has without a gap.

        Args:
            end_offsets: End offset of each partition of the topic; None if there is no topic. A
                topic that ends before a message of the ledger was created again since then, so it
                has nothing of this log.

        Returns:
            Bytes and lines of the log from its start; (0, 0) if the topic has nothing of it.
        """
        if end_offsets is None:
            return 0, 0
        entries = self._read_entries()
        if any(offset >= end_offsets.get(partition, 0) for *_, partition, offset in entries):
            return 0, 0
        position = total_lines = 0
        for start, size, lines, *_ in sorted(entries):
            if start > position:
                break
            if start + size > position:
                position, total_lines = start + size, total_lines + lines
        return position, total_lines

    def reset(self) -> None:
        """Delete the ledger, because the topic was created again or has nothing of the log."""
        with self._name_file_in_errors():
            self.path.unlink(missing_ok=True)

    def _read_entries(self) -> list[tuple[int, ...]]:
        """Return the numbers of each complete line."""
        with self._name_file_in_errors():
            if not self.path.is_file():
                return []
            with self.path.open() as file:
                return [
                    tuple(int(number) for number in line.split(","))
                    for line in file
                    if line != HEADER and line.endswith("\n")
                ]

    @contextmanager
    def _name_file_in_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._describe_error(error) from error

    def _describe_error(self, error: OSError) -> UnusableLedger:
        return UnusableLedger(
            f"the ledger {self.path} cannot be used: {error.strerror or error}; correct this, then "
            "run it again: lines that are missing in the ledger are sent again"
        )


def _complete_lines_size(path: Path) -> int:
    """Return the size of the file up to its last newline, in bytes."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        tail = file.seek(max(0, size - 4096))
        return tail + file.read().rfind(b"\n") + 1
