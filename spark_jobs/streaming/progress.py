"""Progress of a query: one record per batch while it runs, and totals at its end."""

import json
import math
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

from spark_jobs.streaming.type_mismatches import TypeMismatches

Record = dict[str, Any]


class ProgressListener(StreamingQueryListener):
    """Pass a record of each batch to `write_record`, and add the batches up.

    A batch without rows has no record.
    """

    def __init__(self, write_record: Callable[[Record], None]) -> None:
        self._write_record, self._ended = write_record, threading.Event()
        self.batches = self.rows = self.late = 0
        self.state_rows: int | None = None
        self.watermark: str | None = None
        self.seconds = 0.0
        self.observed_metrics: dict[str, int] = {}
        self.mismatches = TypeMismatches()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        pass

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        pass

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        self._ended.set()

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        record = build_record(event)
        if record["state_rows"] is not None:
            self.state_rows = record["state_rows"]
        self.watermark = record["watermark"] or self.watermark
        self.late += record["late"]
        if not record["rows"]:
            return
        self.batches += 1
        self.rows += record["rows"]
        self.seconds += record["seconds"]
        for name, value in read_observed_metrics(event).items():
            self.observed_metrics[name] = self.observed_metrics.get(name, 0) + value
            record[name] = value
        record |= self.add_mismatches(event)
        self._write_record(record)

    def add_mismatches(self, event: QueryProgressEvent) -> Record:
        """Return `bad_because`, the batch's most frequent reason for a bad message; {} if all fit."""
        reason = self.mismatches.add(event.progress.observedMetrics.get("misfits"))
        return {"bad_because": reason} if reason else {}

    def add_epochs(self, epochs: "Epochs") -> None:
        """Add the new epochs of a continuous query, which Spark does not report to listeners."""
        for record in epochs.list_new_epochs():
            self.batches += 1
            self.rows += record["rows"] or 0
            self._write_record(record)

    def wait(self, timeout_seconds: float = 20) -> None:
        """Wait for the last event, which arrives a little after the query has ended."""
        self._ended.wait(timeout_seconds)

    def compute_totals(self) -> Record:
        return {
            "rows": self.rows,
            "batches": self.batches,
            **self.observed_metrics,
            "late": self.late,
            "state_rows": self.state_rows,
            "watermark": self.watermark,
            "rows_per_second": round(self.rows / self.seconds, 1) if self.seconds else None,
        }


class Epochs:
    """The epochs of a continuous query, read from its checkpoint: Spark 4.2 does not report them."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._last = max(self._list_committed(), default=-1)
        self._end_offsets = self._read_offsets(self._last)

    def list_new_epochs(self) -> list[Record]:
        """Return a record of each epoch with rows that was committed since the last call."""
        records = []
        for epoch in sorted(number for number in self._list_committed() if number > self._last):
            ends = self._read_offsets(epoch)
            rows = sum(ends.values()) - sum(self._end_offsets.get(part, 0) for part in ends)
            self._last, self._end_offsets = epoch, ends
            if rows:
                records.append({"batch": epoch, "rows": rows})
        return records

    def _list_committed(self) -> list[int]:
        return [int(path.name) for path in (self._checkpoint / "commits").glob("[0-9]*")]

    def _read_offsets(self, epoch: int) -> dict[str, int]:
        """Return how many rows each partition had when the epoch ended; {} if they cannot be read."""
        try:
            log = (self._checkpoint / "offsets" / str(epoch)).read_text().splitlines()
            offsets = json.loads(log[2])
        except (OSError, ValueError, IndexError):
            return {}
        if isinstance(offsets, list):  # socket: lines by partition
            return {str(partition): lines for partition, lines in enumerate(offsets)}
        rows: dict[str, int] = {}
        for name, end in offsets.items():
            if "value" in end:  # rate, by partition: the last number; each partition has every n-th
                rows[name] = (end["value"] - int(name)) // len(offsets) + 1
            else:  # Kafka, by topic: {partition: offset}
                rows |= {f"{name}:{partition}": offset for partition, offset in end.items()}
        return rows


def build_record(event: QueryProgressEvent) -> Record:
    """Return the record of one batch.

    Returns:
        batch: Number of the batch.
        at: Start of the batch, UTC.
        rows: Rows that were read.
        rows_per_second_in, rows_per_second: Rows per second that arrived, and that were processed.
        seconds: Duration of the batch.
        milliseconds_of: Spark's own durations: planning, logs, the work itself (addBatch).
        behind: Messages of the source that wait; None unless the source is Kafka.
        state_rows: Rows in the query's state; None without state.
        late: Rows that the watermark dropped. Spark counts them after it has added up the rows of
            one group and task.
        watermark: The watermark; None without one.
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
        "rows_per_second_in": _round_finite(progress.inputRowsPerSecond),
        "rows_per_second": _round_finite(progress.processedRowsPerSecond),
        "seconds": round(progress.batchDuration / 1000, 3),
        "milliseconds_of": dict(progress.durationMs),
        "behind": sum(behind) if behind else None,
        "state_rows": sum(operator.numRowsTotal for operator in state) if state else None,
        "late": sum(operator.numRowsDroppedByWatermark for operator in state),
        "watermark": progress.eventTime.get("watermark"),
    }


def read_observed_metrics(event: QueryProgressEvent) -> dict[str, int]:
    """Return the counts that the query makes with DataFrame.observe, without those of `misfits`."""
    observations = event.progress.observedMetrics.items()
    return {
        name: value
        for observation, metrics in observations
        if observation != "misfits"
        for name, value in metrics.asDict().items()
    }


@contextmanager
def attach_listener(spark: SparkSession, listener: ProgressListener) -> Iterator[None]:
    """Register `listener` for the session's queries. On exit it does not wait for events."""
    spark.streams.addListener(listener)
    try:
        yield
    finally:
        spark.streams.removeListener(listener)


def format_record(record: Record, unit: str) -> str:
    """Format a record as `batch 3: 120 messages, 2 bad, 0.8 s, 5 waiting in Kafka`.

    `unit` is the name of one row, such as `message`.
    """
    parts = [format_count(record["rows"], unit, f"{unit}s")]
    parts += [f"{record[name]:,} {name}" for name in ("bad", "future", "late") if record.get(name)]
    parts += [f"because {record['bad_because']}"] if "bad_because" in record else []
    if "seconds" in record:
        parts.append(f"{record['seconds']:.1f} s")
    if record.get("behind"):
        parts.append(f"{record['behind']:,} waiting in Kafka")
    return f"batch {record['batch']}: {', '.join(parts)}"


def _round_finite(number: float | None) -> float | None:
    return round(number, 1) if number is not None and math.isfinite(number) else None


def format_count(number: int, singular: str, plural: str) -> str:
    """Format a number with its noun: `1 batch`, `1,234 batches`."""
    return f"{number:,} {singular if number == 1 else plural}"
