"""Run one query: print a line per batch, end it cleanly, and print its totals."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from include.lake.files import append_record, replace_file
from spark_jobs.streaming.combinations import CONTINUOUS, FINITE_TRIGGERS
from spark_jobs.streaming.graceful_shutdown import GracefulShutdown
from spark_jobs.streaming.locks import checkpoint_lock
from spark_jobs.streaming.options import StreamOptions
from spark_jobs.streaming.progress import (
    Epochs,
    ProgressListener,
    Record,
    attach_listener,
    format_count,
    format_record,
)
from spark_jobs.streaming.select_check import check_select
from spark_jobs.streaming.streams import has_closed, write_stream
from spark_jobs.streaming.type_mismatches import AllEventsBad

SOCKET_CLOSED = "the socket closed"
# Kind of source -> name of one row; the others have "row".
UNITS = {"kafka": "message", "socket": "line", "text": "line"}


def run_query(
    spark: SparkSession,
    job: str,
    rows: DataFrame,
    options: StreamOptions,
    args: argparse.Namespace,
    job_flags: str = "",
) -> None:
    """Write `rows` to the sink until they end or a stop is requested, and print the totals.

    The result of --select, or the table of a memory sink, is shown at the end, and with
    --select-every also while the query runs.

    Args:
        spark: The job's session.
        job: Name of the job.
        rows: The streaming DataFrame to write.
        options: Source, sink, output mode and trigger.
        args: The flags of `build_watch_parser`.
        job_flags: The values of the job's own flags. A checkpoint accepts only the same values.

    Raises:
        InvalidInput: --select is not accepted, or the checkpoint belongs to another query.
        RetryLater: Another process holds the checkpoint, or no broker answers.
        AllEventsBad: The query ended by itself, and every event was bad.
        ConnectionAbortedError: The server of a socket source closed the connection.
    """
    if args.select:
        check_select(spark, args.select, options.sink.name, rows.schema)
    unit = UNITS.get(options.source.kind, "row")
    progress = ProgressListener(_build_record_writer(args.progress, unit))
    started = time.monotonic()
    identity = {
        "job": job,
        "source": str(options.source),
        "sink": str(options.sink),
        "output mode": options.mode,
        "trigger": options.trigger.engine,
        "options": job_flags,
    }
    with (
        _open_checkpoint(args.checkpoint, args.run_id, identity) as (checkpoint, query_id),
        GracefulShutdown(spark, args.run_seconds, args.stop_file) as shutdown,
        attach_listener(spark, progress),
    ):
        epochs = Epochs(checkpoint) if options.trigger.kind == CONTINUOUS else None
        query = write_stream(rows, options, args, checkpoint=checkpoint, query_id=query_id)
        shutdown.wait(query, _build_poll_callback(spark, options, args, progress, epochs))
        progress.wait()
        if epochs:
            progress.add_epochs(epochs)
        _show_memory_table(spark, options, args)
    totals = progress.compute_totals()
    manifest = identity | {
        "trigger": str(options.trigger),
        "run": args.run_id,
        "ended": shutdown.reason,
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "totals": totals,
    }
    if args.manifest:
        replace_file(Path(args.manifest), json.dumps(manifest, indent=1))
    events = totals["good"] + totals["bad"] + totals["future"] if "good" in totals else 0
    shape = vars(args).get("shape", "")
    event_unit = unit if shape == "rows" else "event"
    bad = totals.get("bad", 0)
    if message := progress.mismatches.format_message(bad, events, event_unit, shape):
        print(f"{job}: {message}", file=sys.stderr, flush=True)  # noqa: T201
    summary = f"{format_totals(totals, unit)}; {manifest['seconds']:.0f} s"
    print(f"{job}: {summary}, until {shutdown.reason}")  # noqa: T201
    shutdown.exit_if_signalled()
    _check_any_good(options, totals)
    if shutdown.reason == SOCKET_CLOSED:
        raise ConnectionAbortedError(
            f"{options.source} has closed the connection, so no more lines can come; start the "
            f"server again (`./tidemark serve-lines`), then run this again"
        )


def _check_any_good(options: StreamOptions, totals: Record) -> None:
    """Raise AllEventsBad if a run that ends by itself has read events and all of them are bad."""
    if (
        options.trigger.kind in FINITE_TRIGGERS
        and totals.get("bad")
        and not totals["good"] + totals["future"]
    ):
        raise AllEventsBad("every event that was read is bad, so the totals are not valid")


def format_totals(totals: Record, unit: str) -> str:
    """Format the totals of a run, `unit` being the name of one row.

    For example: `read 600 messages in 2 batches; 598 good, 2 bad, 0 future; 3 late, 61 rows of
    state; 90 a second`.
    """
    read = format_count(totals["rows"], unit, f"{unit}s")
    parts = [f"read {read} in {format_count(totals['batches'], 'batch', 'batches')}"]
    counts = [f"{totals[name]:,} {name}" for name in ("good", "bad", "future") if name in totals]
    parts += [", ".join(counts)] if counts else []
    if totals["state_rows"] is not None:
        parts.append(f"{totals['late']:,} late, {totals['state_rows']:,} rows of state")
    if totals["rows_per_second"]:
        parts.append(f"{totals['rows_per_second']:,.0f} a second")
    return "; ".join(parts)


def _build_poll_callback(
    spark: SparkSession,
    options: StreamOptions,
    args: argparse.Namespace,
    progress: ProgressListener,
    epochs: Epochs | None,
) -> Callable[[], str]:
    """Return the `on_poll` of `GracefulShutdown.wait`; `epochs` is None unless the query is continuous."""
    shown_at = time.monotonic()

    def poll() -> str:
        nonlocal shown_at
        if epochs:
            progress.add_epochs(epochs)
        if args.select_every and time.monotonic() - shown_at >= args.select_every:
            shown_at = time.monotonic()
            _show_memory_table(spark, options, args)
        return (
            SOCKET_CLOSED if options.source.kind == "socket" and has_closed(options.source) else ""
        )

    return poll


def _show_memory_table(
    spark: SparkSession, options: StreamOptions, args: argparse.Namespace
) -> None:
    if options.sink.kind == "memory":
        select = args.select or f"SELECT * FROM {options.sink.name}"
        spark.sql(select).show(100, truncate=False)


def _build_record_writer(path: str | None, unit: str) -> Callable[[Record], None]:
    def write_record(record: Record) -> None:
        print(format_record(record, unit), file=sys.stderr, flush=True)  # noqa: T201
        if path:
            append_record(Path(path), record)

    return write_record


@contextmanager
def _open_checkpoint(
    folder: str | None, run_id: str, identity: dict[str, str]
) -> Iterator[tuple[Path, str]]:
    """Lock a checkpoint, and yield its folder and the query's id.

    Without `folder`, the checkpoint is a temporary folder that is removed on exit.
    """
    if folder:
        checkpoint = Path(folder).absolute()
        with checkpoint_lock(checkpoint, checkpoint, run_id, identity) as query_id:
            yield checkpoint, query_id
        return
    temporary = Path(tempfile.mkdtemp(prefix="tidemark-"))
    try:
        with checkpoint_lock(temporary, temporary, run_id, identity) as query_id:
            yield temporary, query_id
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
