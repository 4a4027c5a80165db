"""Run one query as its words say: watched while it runs, ended cleanly, summed up in a line."""

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

from spark_jobs.runtime.claims import claimed, replace_text
from spark_jobs.runtime.combinations import CONTINUOUS, ENDING
from spark_jobs.runtime.leases import Lease
from spark_jobs.runtime.memory_table import check_select
from spark_jobs.runtime.misfits import NothingGood
from spark_jobs.runtime.progress import (
    Epochs,
    Progress,
    Record,
    append_line,
    line_of,
    listening,
    plural,
)
from spark_jobs.runtime.streams import has_closed, write
from spark_jobs.runtime.words import Words

CLOSED = "the socket closed"
UNITS = {"kafka": "message", "socket": "line", "text": "line"}  # what a source gives, else rows


def run_query(
    spark: SparkSession, job: str, rows: DataFrame, words: Words, args: argparse.Namespace,
    options: str = "",
) -> None:  # fmt: skip
    """Run `rows` into the sink until they end or somebody ends them; print what was done.

    Shows --select, or the table of a memory sink, at the end, and with --select-every while the
    query runs. `options` are the job's own flags, which its checkpoint is tied to.
    """
    if args.select:
        check_select(spark, args.select, words.sink.name, rows.schema)
    unit = UNITS.get(words.source.kind, "row")
    progress = Progress(_writer(args.progress, unit))
    started = time.monotonic()
    about = {
        "job": job, "source": str(words.source), "sink": str(words.sink),
        "output mode": words.mode, "trigger": words.trigger.engine, "options": options,
    }  # fmt: skip
    with (
        _checkpoint(args.checkpoint, args.run_id, about) as (checkpoint, name),
        Lease(spark, args.run_seconds, args.stop_file) as lease,
        listening(spark, progress),
    ):
        epochs = Epochs(checkpoint) if words.trigger.kind == CONTINUOUS else None
        query = write(rows, words, args, checkpoint=checkpoint, query=name)
        lease.wait(query, _watcher(spark, words, args, progress, epochs))
        progress.wait()
        if epochs:
            progress.add_epochs(epochs)
        _show(spark, words, args)
    sums = progress.sums()
    told = about | {"trigger": str(words.trigger), "run": args.run_id, "ended": lease.reason,
                    "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "seconds": round(time.monotonic() - started, 1), "totals": sums}  # fmt: skip
    if args.manifest:
        replace_text(Path(args.manifest), json.dumps(told, indent=1))
    read = sums["good"] + sums["bad"] + sums["future"] if "good" in sums else 0
    shape = vars(args).get("shape", "")
    of_events = unit if shape == "rows" else "event"
    if why := progress.misfits.text(sums.get("bad", 0), read, of_events, shape):
        print(f"{job}: {why}", file=sys.stderr, flush=True)  # noqa: T201
    print(f"{job}: {sentence(sums, unit)}; {told['seconds']:.0f} s, until {lease.reason}")  # noqa: T201
    lease.leave()
    _check_good(words, sums)
    if lease.reason == CLOSED:
        raise ConnectionAbortedError(
            f"{words.source} has closed, and nothing more can come; serve it again (`./tidemark "
            f"serve-lines` does), then run this again"
        )


def _check_good(words: Words, sums: Record) -> None:
    """Raise NothingGood if a run that ends by itself has read events, and all are bad."""
    if words.trigger.kind in ENDING and sums.get("bad") and not sums["good"] + sums["future"]:
        raise NothingGood("every event that was read is bad, so no total is right")


def sentence(sums: Record, unit: str) -> str:
    """`read 600 messages in 2 batches; 598 good, 2 bad, 0 future; 3 late, 61 rows of state; 90 a second`"""
    read = plural(sums["rows"], unit, f"{unit}s")
    parts = [f"read {read} in {plural(sums['batches'], 'batch', 'batches')}"]
    counts = [f"{sums[name]:,} {name}" for name in ("good", "bad", "future") if name in sums]
    parts += [", ".join(counts)] if counts else []
    if sums["state_rows"] is not None:
        parts.append(f"{sums['late']:,} late, {sums['state_rows']:,} rows of state")
    if sums["rows_per_second"]:
        parts.append(f"{sums['rows_per_second']:,.0f} a second")
    return "; ".join(parts)


def _watcher(
    spark: SparkSession, words: Words, args: argparse.Namespace, progress: Progress,
    epochs: Epochs | None,
) -> Callable[[], str]:  # fmt: skip
    shown = time.monotonic()

    def look() -> str:
        nonlocal shown
        if epochs:
            progress.add_epochs(epochs)
        if args.select_every and time.monotonic() - shown >= args.select_every:
            shown = time.monotonic()
            _show(spark, words, args)
        return CLOSED if words.source.kind == "socket" and has_closed(words.source) else ""

    return look


def _show(spark: SparkSession, words: Words, args: argparse.Namespace) -> None:
    if words.sink.kind == "memory":
        question = args.select or f"SELECT * FROM {words.sink.name}"
        spark.sql(question).show(100, truncate=False)


def _writer(path: str | None, unit: str) -> Callable[[Record], None]:
    def write_record(record: Record) -> None:
        print(line_of(record, unit), file=sys.stderr, flush=True)  # noqa: T201
        if path:
            append_line(Path(path), record)

    return write_record


@contextmanager
def _checkpoint(folder: str | None, run: str, about: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """The checkpoint's folder and the query's id: what the user named, or one for this run alone."""
    if folder:
        kept = Path(folder).absolute()
        with claimed(kept, kept, run, about) as name:
            yield kept, name
        return
    passing = Path(tempfile.mkdtemp(prefix="tidemark-"))
    try:
        with claimed(passing, passing, run, about) as name:
            yield passing, name
    finally:
        shutil.rmtree(passing, ignore_errors=True)
