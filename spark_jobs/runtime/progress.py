"""What a query does while it runs: a line a batch, and the sums at its end."""

import json
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from spark_jobs.runtime.misfits import Misfits

Record = dict[str, Any]


class Progress(StreamingQueryListener):
    """Hands a record of each batch to `write`, and adds the batches up.

    A batch without rows is no news, and has no record.
    """

    def __init__(self, write: Callable[[Record], None]) -> None:
        self._write, self._ended = write, threading.Event()
        self.batches = self.rows = self.late = 0
        self.state_rows: int | None = None
        self.watermark: str | None = None
        self.seconds = 0.0
        self.observed: dict[str, int] = {}
        self.misfits = Misfits()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        pass

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        pass

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        self._ended.set()

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        record = record_of(event)
        if record["state_rows"] is not None:
            self.state_rows = record["state_rows"]
        self.watermark = record["watermark"] or self.watermark
        self.late += record["late"]
        if not record["rows"]:
            return
        self.batches += 1
        self.rows += record["rows"]
        self.seconds += record["seconds"]
        for name, value in observed(event).items():
            self.observed[name] = self.observed.get(name, 0) + value
            record[name] = value
        record |= self.misfit_of(event)
        self._write(record)

    def misfit_of(self, event: QueryProgressEvent) -> Record:
        """`bad_because`: the most frequent reason of the batch why a message does not fit."""
        why = self.misfits.add(event.progress.observedMetrics.get("misfits"))
        return {"bad_because": why} if why else {}

    def add_epochs(self, epochs: "Epochs") -> None:
        """Count what the continuous trigger has kept, of which Spark tells listeners nothing."""
        for record in epochs.fresh():
            self.batches += 1
            self.rows += record["rows"] or 0
            self._write(record)

    def wait(self, seconds: float = 20) -> None:
        """Events arrive a little after the query has ended; wait for the last one."""
        self._ended.wait(seconds)

    def sums(self) -> Record:
        return {
            "rows": self.rows, "batches": self.batches, **self.observed, "late": self.late,
            "state_rows": self.state_rows, "watermark": self.watermark,
            "rows_per_second": round(self.rows / self.seconds, 1) if self.seconds else None,
        }  # fmt: skip


class Epochs:
    """The epochs of a continuous query, from its checkpoint: Spark 4.2 reports none of them."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._last = max(self._committed(), default=-1)
        self._ends = self._offsets(self._last)

    def fresh(self) -> list[Record]:
        """A record of each epoch with rows that was committed since the last call."""
        found = []
        for epoch in sorted(each for each in self._committed() if each > self._last):
            ends = self._offsets(epoch)
            rows = sum(ends.values()) - sum(self._ends.get(place, 0) for place in ends)
            self._last, self._ends = epoch, ends
            if rows:
                found.append({"batch": epoch, "rows": rows})
        return found

    def _committed(self) -> list[int]:
        return [int(path.name) for path in (self._checkpoint / "commits").glob("[0-9]*")]

    def _offsets(self, epoch: int) -> dict[str, int]:
        """Partition -> rows before it, from what the source writes down."""
        try:
            log = (self._checkpoint / "offsets" / str(epoch)).read_text().splitlines()
            offsets = json.loads(log[2])
        except (OSError, ValueError, IndexError):
            return {}
        if isinstance(offsets, list):  # of a socket: lines by partition
            return {str(partition): lines for partition, lines in enumerate(offsets)}
        flat: dict[str, int] = {}
        for place, end in offsets.items():
            if "value" in end:  # of rate: the last number, of which each partition has every n-th
                flat[place] = (end["value"] - int(place)) // len(offsets) + 1
            else:  # of Kafka: {topic: {partition: offset}}
                flat |= {f"{place}:{partition}": n for partition, n in end.items()}
        return flat


def record_of(event: QueryProgressEvent) -> Record:
    """One batch: rows, rows a second that came and that were processed, seconds, and more.

    `milliseconds_of` is Spark's own account of the batch: planning, logs, the work (addBatch).
    `behind` is how many messages of the source wait (Kafka only); `late` how many rows the
    watermark dropped, counted as Spark does: after rows of one group and task were added up.
    """
    progress, state = event.progress, event.progress.stateOperators
    behind = [
        int(source.metrics["maxOffsetsBehindLatest"])
        for source in progress.sources
        if "maxOffsetsBehindLatest" in (source.metrics or {})
    ]
    return {
        "batch": progress.batchId,
        "at": progress.timestamp,
        "rows": progress.numInputRows,
        "rows_per_second_in": _finite(progress.inputRowsPerSecond),
        "rows_per_second": _finite(progress.processedRowsPerSecond),
        "seconds": round(progress.batchDuration / 1000, 3),
        "milliseconds_of": dict(progress.durationMs),
        "behind": sum(behind) if behind else None,
        "state_rows": sum(each.numRowsTotal for each in state) if state else None,
        "late": sum(each.numRowsDroppedByWatermark for each in state),
        "watermark": progress.eventTime.get("watermark"),
    }


def observed(event: QueryProgressEvent) -> dict[str, int]:
    """What the query counts of its rows, by DataFrame.observe."""
    metrics = event.progress.observedMetrics.items()
    return {
        name: value
        for of, each in metrics
        if of != "misfits"
        for name, value in each.asDict().items()
    }


@contextmanager
def listening(spark: SparkSession, progress: Progress) -> Iterator[None]:
    """Let `progress` hear of the session's queries; leaving waits for no event."""
    spark.streams.addListener(progress)
    try:
        yield
    finally:
        spark.streams.removeListener(progress)


def line_of(record: Record, unit: str) -> str:
    """`batch 3: 120 messages, 2 bad, 0.8 s, 5 waiting in Kafka`; `unit` is one row's name."""
    parts = [plural(record["rows"], unit, f"{unit}s")]
    parts += [f"{record[name]:,} {name}" for name in ("bad", "future", "late") if record.get(name)]
    parts += [f"because {record['bad_because']}"] if "bad_because" in record else []
    if "seconds" in record:
        parts.append(f"{record['seconds']:.1f} s")
    if record.get("behind"):
        parts.append(f"{record['behind']:,} waiting in Kafka")
    return f"batch {record['batch']}: {', '.join(parts)}"


def append_line(path: Path, record: Record) -> None:
    """Add a record as one line, on disk when this returns; a torn last line stays by itself.

    What is no regular file, such as /dev/stdout or a pipe, is only written to.
    """
    text = json.dumps(record, default=str) + "\n"
    if path.exists() and not path.is_file():
        with path.open("w") as stream:
            stream.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        torn = file.read(1) not in (b"", b"\n")
        file.write((("\n" if torn else "") + text).encode())
        file.flush()
        os.fsync(file.fileno())


def _finite(number: float | None) -> float | None:
    return round(number, 1) if number is not None and math.isfinite(number) else None


def plural(number: int, one: str, many: str) -> str:
    """`1 batch`, `1,234 batches`"""
    return f"{number:,} {one if number == 1 else many}"
