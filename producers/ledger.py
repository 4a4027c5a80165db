"""What Kafka has acknowledged of one log, a line a message, so that a second run goes on from there.

    start,bytes,lines,partition,offset
    0,48210,200,1,0

`start` is the byte offset of the message's first line in the log, `bytes` what the message covers
of it (newlines included), `partition` and `offset` where Kafka keeps it.
"""

from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

from producers.kafka_client import Acknowledged

HEADER = "start,bytes,lines,partition,offset\n"


class Ledger:
    """Reads what was acknowledged before; as a context, appends what is acknowledged now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None

    def __enter__(self) -> "Ledger":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = _whole_lines(self.path)
        # A line that a killed run left torn is cut off, or the next one would continue it.
        if self.path.is_file() and self.path.stat().st_size > whole:
            with self.path.open("r+b") as file:
                file.truncate(whole)
        self._file = self.path.open("a", buffering=64 * 1024)
        if not whole:
            self._file.write(HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._file:
            self._file.close()

    def write(self, message: Acknowledged) -> None:
        """`message.about` is (start, bytes, lines)."""
        start, size, lines = message.about
        assert self._file is not None
        self._file.write(f"{start},{size},{lines},{message.partition},{message.offset}\n")

    def flush(self) -> None:
        """Let a kill forget nothing of what was written."""
        if self._file:
            self._file.flush()

    def acknowledged(self, ends: dict[int, int] | None) -> tuple[int, int]:
        """(bytes, lines) of the log's beginning that Kafka has without a gap.

        `ends` are the topic's end offsets: a topic that ends before a message of the ledger was
        made anew since, and has nothing of this log; so has one that is not there (None).
        """
        if not self.path.is_file() or ends is None:
            return 0, 0
        entries = []
        with self.path.open() as file:
            for line in file:
                if line != HEADER and line.endswith("\n"):
                    entries.append(tuple(int(number) for number in line.split(",")))
        if any(offset >= ends.get(partition, 0) for *_, partition, offset in entries):
            return 0, 0
        reached = total = 0
        for start, size, lines, *_ in sorted(entries):
            if start > reached:
                break
            if start + size > reached:
                reached, total = start + size, total + lines
        return reached, total

    def forget(self) -> None:
        """Begin anew, as for a topic that was made anew."""
        self.path.unlink(missing_ok=True)


def _whole_lines(path: Path) -> int:
    """Bytes of the file up to its last newline."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        tail = file.seek(max(0, size - 4096))
        return tail + file.read().rfind(b"\n") + 1
