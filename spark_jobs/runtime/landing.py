"""A landing folder: data, checkpoint and progress as one unit, with one writer at a time.

    <folder>/data/            what is landed, written by exactly one query; or, where that lies, in
    <folder>/data_at          the address of a store
    <folder>/checkpoint/      where that query stands
    <folder>/progress.jsonl   what each batch read and landed, a line a batch
    <folder>/removed.jsonl    days that maintain_landing has removed, a line a time
    <folder>/lost.jsonl       messages that Kafka no longer had, and somebody accepted that
    <folder>/query.json       which job and source the folder belongs to
    <folder>/lock             held by the job that writes

Spark does not check that these belong together: a new checkpoint on old data drops every new row
without a word, and two writers disturb each other.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.listener import QueryProgressEvent

from spark_jobs.runtime import session
from spark_jobs.runtime.brokers import check_connector, check_servers, client_properties
from spark_jobs.runtime.claims import claimed, held, replace_text
from spark_jobs.runtime.leases import Lease
from spark_jobs.runtime.losses import (
    Loss,
    Offsets,
    ask_broker,
    check_offsets,
    keep_losses,
    read_losses,
)
from spark_jobs.runtime.progress import (
    Progress,
    append_line,
    line_of,
    listening,
    plural,
    record_of,
)
from spark_jobs.runtime.stored import Data, Stored, check_owner, data_of, settle
from spark_jobs.runtime.streams import FORMAT_OPTIONS, read, write
from spark_jobs.runtime.words import NotNow, Place, Refused, Words

# Where each landed row came from; `recount` finds a batch's rows by it.
PLACE = ("topic", "partition", "offset", "file")


class Landing:
    """The landing folder around a `parquet:DIR` sink. DIR's last part must be `data`.

    `ddl` are the columns of what lands there; `is_line` tells, as SQL, the rows that count.
    """

    def __init__(self, sink: Place, ddl: str, is_line: str = "true") -> None:
        self._format, self._ddl, self._is_line = sink.kind, ddl, is_line
        named = Path(sink.name).absolute()
        if named.name != "data":
            raise Refused(
                f"sink {str(sink)!r}: the folder must be called `data`, because its checkpoint is "
                f"kept beside it; use {sink.kind}:{sink.name.rstrip('/')}/data"
            )
        self.folder = named.parent
        self.checkpoint = self.folder / "checkpoint"
        self.progress = self.folder / "progress.jsonl"
        self.removed = self.folder / "removed.jsonl"
        self.lost = self.folder / "lost.jsonl"

    @property
    def data(self) -> Data:
        """Where the data lie."""
        return data_of(self.folder)

    @contextmanager
    def locked(self, job: str, source: Place, run: str, data_at: str = "") -> Iterator[str]:
        """Hold the folder for this job; refused if it is held, another's, or not whole.

        A new one gets its data at the address `data_at`, if that is given.
        """
        about = {"job": job, "source": str(source), "format": self._format}
        with claimed(self.folder, self.checkpoint, run, about) as query:
            if said := settle(self.folder, data_at):
                print(f"{job}: {said}", file=sys.stderr)  # noqa: T201
            check_owner(self.folder, take=False)
            self._check_whole()
            check_owner(self.folder, take=True)
            yield query

    @contextmanager
    def maintained(self, job: str, run: str) -> Iterator[None]:
        """Hold the folder to change how its data lie; the query and its checkpoint stay.

        Raises NotNow when a batch is landed that nobody has counted: its days are not known.
        """
        with held(self.folder, job, run):
            check_owner(self.folder, take=False)
            self._check_whole()
            landed, counted = last_batch(self.data), {b["batch"] for b in self.batches()}
            if landed is not None and not self._committed() | {landed} <= counted:
                raise NotNow(
                    f"{self.data}: a batch was landed that nobody has counted, as after a kill; run "
                    "the job that lands there, then this again"
                )
            yield

    def _committed(self) -> set[int]:
        return {int(p.name) for p in (self.checkpoint / "commits").glob("[0-9]*")}

    def _check_whole(self) -> None:
        has_data = any((self.data / "_spark_metadata").glob("[0-9]*"))
        has_offsets = any((self.checkpoint / "offsets").glob("[0-9]*"))
        has_commits = any((self.checkpoint / "commits").glob("[0-9]*"))
        remedy = f"put back what is missing, or move all of {self.folder} away to land anew"
        if isinstance(self.data, Stored):
            remedy += f", and what is left at {self.data.parent}"
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

    def batches(self) -> list[dict[str, Any]]:
        """What is recorded of each batch, oldest first; a torn last line is not a record."""
        found = {record["batch"]: record for record in _records(self.progress)}
        return [found[batch] for batch in sorted(found)]

    def reached(self, topic: str) -> Offsets:
        """Partition -> the offset up to which the topic is landed; empty before the first plan."""
        done = self._committed()
        # What the sink has is not read again, also where a kill kept the checkpoint from saying so.
        sunk = last_batch(self.data)
        last = max(done if sunk is None else [*done, sunk], default=-1)
        if last >= 0:
            found = self._end_of(last)
        else:
            begun = self.checkpoint / "sources" / "0" / "0"
            text = begun.read_text(errors="replace") if begun.is_file() else ""
            found = json.loads(text[text.index("{") :]) if "{" in text else {}
        return dict((found or {}).get(topic, {}))

    def recount(self, spark: SparkSession, run: str) -> None:
        """Record the committed batches that nobody has recorded.

        A driver killed after its batch was landed and before it was recorded leaves such a batch,
        and Spark skips the rows of one that it finds landed already. Their rows are counted where
        they lie, by the offsets or the files that the checkpoint gives for the batch.
        """
        for batch in sorted(self._committed() - {record["batch"] for record in self.batches()}):
            rows = self._rows_of(spark, batch)
            counts = (rows.agg(*_counts(self._is_line)).first() or Row()).asDict()
            append_line(self.progress,
                {"batch": batch, "run": run, "read": counts["good"] + counts["bad"], **counts,
                 "days": sorted(map(str, counts["days"])), "to": self._end_of(batch),
                 "counted": "as landed"}
            )  # fmt: skip

    def _end_of(self, batch: int) -> Any:
        log = (self.checkpoint / "offsets" / str(batch)).read_text().splitlines()
        return json.loads(log[2]) if len(log) > 2 and log[2].startswith("{") else None

    def _rows_of(self, spark: SparkSession, batch: int) -> DataFrame:
        reader = spark.read.format(self._format).options(**FORMAT_OPTIONS[self._format])
        landed = reader.schema(self._ddl).load(str(self.data))
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


class Recorder(Progress):
    """Writes what each batch read and landed as one line of the landing's progress file."""

    def __init__(self, landing: Landing, run: str, topic_ids: dict[str, str], unit: str) -> None:
        super().__init__(lambda record: append_line(landing.progress, record))
        self._unit = unit
        self._run, self._topic_ids = run, topic_ids

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        observed = event.progress.observedMetrics
        # A batch that the sink finds landed already is skipped, and observed as nothing: `recount`
        # has it. So has what no batch ran for.
        if "lines" not in observed or "landed" not in observed:
            return
        if not (observed["lines"]["read"] or observed["landed"]["heartbeats"]):
            return
        landed, source, record = observed["landed"], event.progress.sources[0], record_of(event)
        record["messages"] = record.pop("rows")
        shown = record | {"rows": observed["lines"]["read"], "bad": landed["bad"]}
        shown |= self.misfit_of(event)
        print(line_of(shown, self._unit), file=sys.stderr, flush=True)  # noqa: T201
        self._write(record | {
            "run": self._run, "read": observed["lines"]["read"], **landed.asDict(),
            "days": sorted(str(day) for day in landed["days"]),
            "from": _offsets(source.startOffset), "to": _offsets(source.endOffset),
            "topic_ids": self._topic_ids,
        })  # fmt: skip


def land(
    job: str, words: Words, args: argparse.Namespace, ddl: str,
    rows_of: Callable[[DataFrame], DataFrame], columns: str,
    take_apart: Callable[[DataFrame], DataFrame] = lambda rows: rows,
    is_line: tuple[str, str] = ("true", "true"), unit: str = "line", shape: str = "",
) -> None:  # fmt: skip
    """Land what the source has, by the job's own `rows_of`, and write what the run did.

    `take_apart` makes one row a line or event of what the source gives, read with `columns`; these
    are counted. `rows_of` makes the rows of `ddl`, good and bad, of them. `is_line` tells, as SQL,
    the rows that count, of the first and of the second; others are heartbeats. `unit` is what one
    is called, `shape` what a message was taken for. Raises Refused.
    """
    landing, started = Landing(words.sink, ddl, is_line[1]), time.monotonic()
    if args.check:
        return
    with landing.locked(job, words.source, args.run_id, args.data_at) as query:
        spark = session.start(job)
        kept = replace(words, sink=Place(words.sink.kind, str(landing.data)))
        topic_ids, losses = _look_for_losses(spark, landing, words.source, args)
        lines = take_apart(
            read(spark, words.source, args, columns, skip_lost=bool(losses), landed=ddl)
        )
        rows = count_landed(rows_of(count_read(lines, is_line[0])), is_line[1])
        recorder = Recorder(landing, args.run_id, topic_ids, unit)
        with (
            Lease(spark, args.run_seconds, args.stop_file) as lease,
            listening(spark, recorder),
        ):
            lease.wait(write(
                rows, kept, args, checkpoint=landing.checkpoint, query=query,
                partition_by="event_date",
            ))  # fmt: skip
            recorder.wait()
        landing.recount(spark, args.run_id)
        landed = manifest(landing, args.run_id, {
            "job": job, "source": str(words.source), "sink": str(kept.sink),
            "trigger": str(words.trigger), "ended": lease.reason,
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "spark_version": spark.version,
            "lost": [loss for loss in read_losses(landing.lost) if loss["run"] == args.run_id],
        })  # fmt: skip
        if args.manifest:
            replace_text(Path(args.manifest), json.dumps(landed, indent=1))
    if why := recorder.misfits.text(landed["bad"], landed["read"], unit, shape):
        print(f"{job}: {why}", file=sys.stderr, flush=True)  # noqa: T201
    print(  # noqa: T201
        f"{job}: read {landed['read']:,} {unit}s = {landed['good']:,} good + {landed['bad']:,} bad, "
        f"in {plural(len(landed['batches']), 'batch', 'batches')}; "
        f"days: {', '.join(landed['days']) or 'none'}; until {lease.reason}"
        + "".join(f"; lost: {loss}" for loss in losses)
    )
    lease.leave()


def _look_for_losses(
    spark: SparkSession, landing: Landing, source: Place, args: argparse.Namespace
) -> tuple[dict[str, str], list[Loss]]:
    """The ids of the topics, and what is lost of them and accepted, kept. Raises Refused, NotNow."""
    ids: dict[str, str] = {}
    losses: list[Loss] = []
    if source.kind != "kafka":
        return ids, losses
    check_connector(spark)
    check_servers(args)
    batches = landing.batches()[::-1]
    for name in source.name.split(","):
        topic = ask_broker(spark, client_properties(args), name)
        before = next(
            (b["topic_ids"][name] for b in batches if name in b.get("topic_ids", {})), None
        )
        losses += check_offsets(
            topic, name, landing.reached(name), before, landing.folder, args.accept_loss == "True"
        )
        ids |= {name: topic.id} if topic else {}
    since = next((b["at"] for b in batches if b.get("at")), None)
    keep_losses(losses, landing.lost, args.run_id, since)
    return ids, losses


def count_read(lines: DataFrame, is_line: str = "true") -> DataFrame:
    """Count the lines that come out of the source, before anything is done to them."""
    return lines.observe("lines", F.count_if(F.expr(is_line)).alias("read"))


def count_landed(rows: DataFrame, is_line: str = "true") -> DataFrame:
    """Count the rows that go into the sink, good and bad, and note the days of lines."""
    return rows.observe("landed", *_counts(is_line))


def _counts(is_line: str) -> list[Column]:
    line, bad = F.expr(is_line), F.col("bad_reason")
    return [
        F.count_if(line & bad.isNull()).alias("good"),
        F.count_if(line & bad.isNotNull()).alias("bad"),
        F.count_if(line & F.col("event_date").isNull()).alias("undated"),
        F.count_if(line & (bad == "far_future")).alias("future"),
        F.count_if(~line).alias("heartbeats"),
        F.collect_set(F.when(line, F.col("event_date"))).alias("days"),
    ]


def read_landing(spark: SparkSession, folder: Data, ddl: str) -> DataFrame:
    """What is landed as Parquet in the data `folder`, the columns of `ddl`; at first nothing.

    What an older version has landed lacks columns that came later: there they are null.
    """
    if last_batch(folder) is None:
        return spark.createDataFrame([], ddl)
    return spark.read.schema(ddl).parquet(str(_where(folder)))


def removed_days(folder: Path) -> list[dict[str, Any]]:
    """What maintain_landing has removed from the landing `folder`, oldest first: `day`, `run`, …"""
    return list(_records(folder / "removed.jsonl"))


def last_batch(folder: Data) -> int | None:
    """The last batch that the landing's `_spark_metadata` lists."""
    log = (_where(folder) / "_spark_metadata").glob("[0-9]*")
    return max((int(entry.name.removesuffix(".compact")) for entry in log), default=None)


def _where(folder: Data) -> Data:
    """The data of the landing whose data folder this is: in its store, if it has one."""
    found = folder if isinstance(folder, Stored) else data_of(folder.parent)
    return found if isinstance(found, Stored) else folder


def manifest(landing: Landing, run: str, about: dict[str, Any]) -> dict[str, Any]:
    """What `run` landed, all its attempts together. Raises Refused if the counts do not agree."""
    batches = [record for record in landing.batches() if record["run"] == run]
    counted = ("read", "good", "bad", "undated", "future", "heartbeats")
    total = {name: sum(b.get(name, 0) for b in batches) for name in counted}
    if total["read"] != total["good"] + total["bad"]:
        raise Refused(
            f"{landing.folder}: {total['read']} lines were read, but {total['good']} good and "
            f"{total['bad']} bad ones landed; please report this with {landing.progress}"
        )
    days = sorted({day for b in batches for day in b["days"] if day != "None"})
    return {"run": run, **about, **total, "days": days, "batches": batches}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines; a torn line is none."""
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _offsets(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
