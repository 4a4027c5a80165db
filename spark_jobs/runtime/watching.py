"""Run a query for somebody who watches: tables on the console or in memory, a line at the end."""

import argparse
import math
import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.listener import QueryProgressEvent

from spark_jobs.runtime.arguments import positive, stream_arguments
from spark_jobs.runtime.listening import Listener
from spark_jobs.runtime.streams import wait, write_rows
from spark_jobs.runtime.words import Place


class Sums(Listener):
    """Adds up batches, rows and what the query observes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = self.rows = 0
        self.observed: dict[str, int] = {}

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        if not event.progress.numInputRows:
            return
        self.batches += 1
        self.rows += event.progress.numInputRows
        for metrics in event.progress.observedMetrics.values():
            for name, value in metrics.asDict().items():
                self.observed[name] = self.observed.get(name, 0) + value


def watch_arguments(
    doc: str | None, sources: tuple[str, ...], sinks: tuple[str, ...], mode: str, trigger: str
) -> argparse.ArgumentParser:
    """The flags of a stream, and what a person who watches may ask."""
    parser = stream_arguments(doc, sources, sinks, mode, trigger)
    parser.add_argument("--checkpoint", help="folder to go on from; default: begin anew")
    parser.add_argument("--select", help="SQL to show at the end, on a memory sink's table")
    parser.add_argument("--select-every", type=positive, help="show it every so many seconds, too")
    return parser


def watch(
    spark: SparkSession, rows: DataFrame, sink: Place, trigger: dict[str, str | bool],
    args: argparse.Namespace,
) -> Sums:  # fmt: skip
    """Run the query to its end, or for --run-seconds; then show --select, or the memory's table.

    With --select-every it is shown while the query runs, too.
    """
    seconds, select_every = args.run_seconds, args.select_every
    question = args.select or (f"SELECT * FROM {sink.name}" if sink.kind == "memory" else None)
    sums = Sums()
    spark.streams.addListener(sums)
    query = write_rows(rows, sink, args.output_mode, trigger, args.checkpoint)
    ends = time.monotonic() + (seconds or math.inf)
    while question and select_every and ends - time.monotonic() > select_every:
        if query.awaitTermination(select_every):
            break
        spark.sql(question).show(100, truncate=False)
    wait(query, None if seconds is None else max(1, math.ceil(ends - time.monotonic())))
    sums.wait()
    if question:
        spark.sql(question).show(100, truncate=False)
    return sums
