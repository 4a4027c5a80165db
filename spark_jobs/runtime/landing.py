"""A landing folder: data, checkpoint and progress as one unit, with one writer at a time.

    <folder>/data/            what is landed, written by exactly one query
    <folder>/checkpoint/      where that query stands
    <folder>/progress.jsonl   what each batch read and landed, a line a batch
    <folder>/query.json       which job and source the folder belongs to
    <folder>/lock             held by the job that writes

Spark does not check that these belong together: a new checkpoint on old data drops every new row
without a word, and two writers disturb each other.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.listener import QueryProgressEvent

from spark_jobs.runtime.listening import Listener
from spark_jobs.runtime.words import Place, Refused

WAIT_FOR_LOCK_SECONDS = 15


class Landing:
    """The landing folder around a `parquet:DIR` sink. DIR's last part must be `data`."""

    def __init__(self, sink: Place) -> None:
        self.data = Path(sink.name).absolute()
        if self.data.name != "data":
            raise Refused(
                f"sink {str(sink)!r}: the folder must be called `data`, because its checkpoint is "
                f"kept beside it; use {sink.kind}:{sink.name.rstrip('/')}/data"
            )
        self.folder = self.data.parent
        self.checkpoint = self.folder / "checkpoint"
        self.progress = self.folder / "progress.jsonl"

    @contextmanager
    def locked(self, job: str, source: Place, run: str) -> Iterator[None]:
        """Hold the folder for this job, or refuse with the name of who has it.

        The kernel frees the lock when the process ends, however it ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+") as lock:
            deadline = time.monotonic() + WAIT_FOR_LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        lock.seek(0)
                        holder = lock.read().strip() or "another process"
                        raise Refused(
                            f"{self.folder} is being written by {holder}; "
                            f"wait until it has ended, then run again"
                        ) from None
                    time.sleep(0.2)
            lock.truncate(0)
            lock.write(f"{job}, run {run}, process {os.getpid()}")
            lock.flush()
            self._check(job, source)
            yield

    def _check(self, job: str, source: Place) -> None:
        has_data = any((self.data / "_spark_metadata").glob("[0-9]*"))
        has_offsets = any((self.checkpoint / "offsets").glob("[0-9]*"))
        has_commits = any((self.checkpoint / "commits").glob("[0-9]*"))
        remedy = f"put back what is missing, or move all of {self.folder} away to land anew"
        if has_data and not has_offsets:
            raise Refused(
                f"{self.data} holds landed data, but its checkpoint {self.checkpoint} is gone: "
                f"Spark would drop what it lands next; {remedy}"
            )
        if has_commits and not has_data:
            raise Refused(
                f"{self.checkpoint} says that data were landed, but {self.data} lacks them: "
                f"they would be missing without a word; {remedy}"
            )
        query = {"job": job, "source": str(source)}
        kept = self.folder / "query.json"
        if has_offsets and kept.is_file() and (found := json.loads(kept.read_text())) != query:
            raise Refused(
                f"{self.checkpoint} belongs to another query: {found['job']} from "
                f"{found['source']}, not {job} from {source}; give this one a folder of its own"
            )
        replace_text(kept, json.dumps(query))

    def batches(self) -> list[dict[str, Any]]:
        """What is recorded of each batch, oldest first; a torn last line is not a record."""
        if not self.progress.is_file():
            return []
        found: dict[int, dict[str, Any]] = {}
        for line in self.progress.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found[record["batch"]] = record
        return [found[batch] for batch in sorted(found)]

    def append(self, record: dict[str, Any]) -> None:
        torn = self.progress.is_file() and self.progress.read_bytes()[-1:] not in (b"", b"\n")
        with self.progress.open("a") as progress:
            progress.write(("\n" if torn else "") + json.dumps(record) + "\n")
            progress.flush()
            os.fsync(progress.fileno())

    def recount(self, spark: SparkSession, run: str) -> None:
        """Record the committed batches that nobody has recorded.

        A driver killed after its batch was landed and before it was recorded leaves such a batch,
        and Spark skips the rows of one that it finds landed already. Their rows are counted where
        they lie, by the offsets or the files that the checkpoint gives for the batch.
        """
        committed = {int(p.name) for p in (self.checkpoint / "commits").glob("[0-9]*")}
        for batch in sorted(committed - {record["batch"] for record in self.batches()}):
            rows = self._rows_of(spark, batch)
            good, bad, undated, days = rows.agg(
                F.count_if(F.col("bad_reason").isNull()),
                F.count_if(F.col("bad_reason").isNotNull()),
                F.count_if(F.col("event_date").isNull()),
                F.collect_set(F.col("event_date").cast("string")),
            ).first() or (0, 0, 0, [])
            self.append(
                {"batch": batch, "run": run, "read": good + bad, "good": good, "bad": bad,
                 "undated": undated,
                 "days": sorted(days), "to": self._end_of(batch), "counted": "as landed"}
            )  # fmt: skip

    def _end_of(self, batch: int) -> Any:
        log = (self.checkpoint / "offsets" / str(batch)).read_text().splitlines()
        return json.loads(log[2]) if len(log) > 2 and log[2].startswith("{") else None

    def _rows_of(self, spark: SparkSession, batch: int) -> DataFrame:
        landed = spark.read.parquet(str(self.data))
        end = self._end_of(batch)
        before = self.checkpoint / "offsets" / str(batch - 1)
        start = (self._end_of(batch - 1) if before.is_file() else None) or {}
        if end is not None and "logOffset" not in end:
            condition = F.lit(False)
            for topic, ends in end.items():
                for partition, last in ends.items():
                    first = start.get(topic, {}).get(partition, 0)
                    condition |= (
                        (F.col("topic") == topic)
                        & (F.col("partition") == int(partition))
                        & (F.col("offset") >= first)
                        & (F.col("offset") < last)
                    )
            return landed.where(condition)
        files = []
        for log in (self.checkpoint / "sources" / "0").glob("[0-9]*"):
            for line in log.read_text().splitlines()[1:]:
                entry = json.loads(line)
                if entry["batchId"] == batch:
                    # The log writes file:///a, the column `_metadata.file_path` file:/a.
                    files += [entry["path"], entry["path"].replace(":///", ":/", 1)]
        return landed.where(F.col("file").isin(files))


class Recorder(Listener):
    """Writes what each batch read and landed as one line of the landing's progress file."""

    def __init__(self, landing: Landing, run: str) -> None:
        super().__init__()
        self._landing, self._run = landing, run

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        progress = event.progress
        observed = progress.observedMetrics
        # A batch that the sink finds landed already is skipped, and observed as nothing: `recount`
        # has it. So has what no batch ran for.
        if "lines" not in observed or not observed["lines"]["read"]:
            return
        landed = observed["landed"]
        source = progress.sources[0]
        self._landing.append({
            "batch": progress.batchId, "run": self._run, "at": progress.timestamp,
            "read": observed["lines"]["read"], "good": landed["good"], "bad": landed["bad"],
            "undated": landed["undated"],
            "days": sorted(str(day) for day in landed["days"]),
            "messages": source.numInputRows,
            "from": _offsets(source.startOffset), "to": _offsets(source.endOffset),
            "seconds": round(progress.batchDuration / 1000, 3),
        })  # fmt: skip


def count_read(lines: DataFrame) -> DataFrame:
    """Count the lines that come out of the source, before anything is done to them."""
    return lines.observe("lines", F.count(F.lit(1)).alias("read"))


def count_landed(rows: DataFrame) -> DataFrame:
    """Count the rows that go into the sink, good and bad, and note their days."""
    return rows.observe(
        "landed",
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
        F.count_if(F.col("event_date").isNull()).alias("undated"),
        F.collect_set("event_date").alias("days"),
    )


def manifest(landing: Landing, run: str, about: dict[str, Any]) -> dict[str, Any]:
    """What `run` landed, all its attempts together. Raises Refused if the counts do not agree."""
    batches = [record for record in landing.batches() if record["run"] == run]
    counted = ("read", "good", "bad", "undated")
    total = {name: sum(b.get(name, 0) for b in batches) for name in counted}
    if total["read"] != total["good"] + total["bad"]:
        raise Refused(
            f"{landing.folder}: {total['read']} lines were read, but {total['good']} good and "
            f"{total['bad']} bad ones landed; please report this with {landing.progress}"
        )
    days = sorted({day for b in batches for day in b["days"] if day != "None"})
    return {"run": run, **about, **total, "days": days, "batches": batches}


def replace_text(path: Path, text: str) -> None:
    """Write under another name and rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def _offsets(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
