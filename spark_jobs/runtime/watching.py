"""Run a query for somebody who watches: tables on the console or in memory, a line at the end."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.listener import QueryProgressEvent

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


def watch(
    spark: SparkSession, rows: DataFrame, sink: Place, mode: str,
    trigger: dict[str, str | bool], seconds: int | None, checkpoint: str | None, select: str | None,
) -> Sums:  # fmt: skip
    """Run the query to its end, or for `seconds`; then show `select`, or the memory sink's table."""
    sums = Sums()
    spark.streams.addListener(sums)
    wait(write_rows(rows, sink, mode, trigger, checkpoint), seconds)
    sums.wait()
    if select or sink.kind == "memory":
        spark.sql(select or f"SELECT * FROM {sink.name}").show(100, truncate=False)
    return sums
