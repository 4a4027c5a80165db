"""A landing folder: data, checkpoint and progress as one unit, with one writer at a time.

`include.lake.landing_files` lists the files. Spark does not check that these belong together. With a new
checkpoint on old data, Spark silently drops every new row. Two writers interfere with each other.
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

from include.errors import InvalidInput, RetryLater
from include.flag_values import Endpoint
from include.lake.files import append_record, replace_file
from include.lake.landing_files import LandingFiles
from spark_jobs.landing.data_loss import DataLoss, check_offsets, read_data_loss, record_data_loss
from spark_jobs.landing.storage import (
    DataPath,
    RemotePath,
    check_owner,
    locate_data,
    resolve_location,
)
from spark_jobs.streaming import session
from spark_jobs.streaming.graceful_shutdown import GracefulShutdown
from spark_jobs.streaming.locks import checkpoint_lock, folder_lock
from spark_jobs.streaming.options import StreamOptions
from spark_jobs.streaming.progress import (
    ProgressListener,
    attach_listener,
    build_record,
    format_count,
    format_record,
)
from spark_jobs.streaming.streams import FORMAT_OPTIONS, read_stream, write_stream
from spark_jobs.streaming.topics import (
    Offsets,
    build_client_config,
    check_connector,
    check_servers,
    describe_topic,
)


class Landing:
    """The landing folder around a file sink such as `parquet:DIR`.

    Args:
        sink: The sink. The last part of its path must be `data`.
        ddl: The columns of the landed rows.
        line_condition: SQL condition for the rows that are lines; the others are heartbeats.

    Raises:
        InvalidInput: The folder is not called `data`.
    """

    def __init__(self, sink: Endpoint, ddl: str, line_condition: str = "true") -> None:
        self._format, self._ddl, self._line_condition = sink.kind, ddl, line_condition
        data = Path(sink.name).absolute()
        if data.name != "data":
            raise InvalidInput(
                f"sink {str(sink)!r}: the folder must be called `data`, because the checkpoint is stored "
                f"next to it; use {sink.kind}:{sink.name.rstrip('/')}/data"
            )
        self.folder = data.parent
        self.files = LandingFiles(self.folder)

    @property
    def data(self) -> DataPath:
        """The folder of the data, local or remote."""
        return locate_data(self.folder)

    @contextmanager
    def query_lock(
        self, job: str, source: Endpoint, run: str, data_location: str = ""
    ) -> Iterator[str]:
        """Lock the folder for the query that lands there.

        Args:
            job: The job that lands.
            source: The source that it lands.
            run: The run, named to others who want the lock.
            data_location: URI of the data for a new landing. Empty: `data/` in the folder.

        Yields:
            The query's id, which stays the same from run to run.

        Raises:
            RetryLater: Another process holds the lock.
            InvalidInput: The folder belongs to another job, source or format, its data belong to another
                landing, or data and checkpoint do not belong together.
        """
        identity = {"job": job, "source": str(source), "format": self._format}
        with checkpoint_lock(self.folder, self.files.checkpoint, run, identity) as query_id:
            if message := resolve_location(self.folder, data_location):
                print(f"{job}: {message}", file=sys.stderr)  # noqa: T201
            check_owner(self.folder, take_ownership=False)
            self._check_consistency()
            check_owner(self.folder, take_ownership=True)
            yield query_id

    @contextmanager
    def maintenance_lock(self, job: str, run: str) -> Iterator[None]:
        """Lock the folder to rewrite its data files; query and checkpoint stay as they are.

        Raises:
            RetryLater: Another process holds the lock, or a landed batch is not recorded yet, so that its
                days are not known.
            InvalidInput: The data belong to another landing, or do not match the checkpoint.
        """
        with folder_lock(self.folder, job, run):
            check_owner(self.folder, take_ownership=False)
            self._check_consistency()
            landed, counted = (
                find_last_batch(self.data),
                {b["batch"] for b in self.files.read_batches()},
            )
            if landed is not None and not self.files.list_committed_batches() | {landed} <= counted:
                raise RetryLater(
                    f"{self.data}: a landed batch is not recorded yet, as after a killed run. Run the "
                    "landing job, which records it, then run this again"
                )
            yield

    def _check_consistency(self) -> None:
        has_data = any((self.data / "_spark_metadata").glob("[0-9]*"))
        has_offsets = any((self.files.checkpoint / "offsets").glob("[0-9]*"))
        has_commits = bool(self.files.list_committed_batches())
        remedy = (
            f"restore what is missing, or move all of {self.folder} away to start a new landing"
        )
        if isinstance(self.data, RemotePath):
            remedy += f", and what is left at {self.data.parent}"
        if has_data and not has_offsets:
            raise InvalidInput(
                f"{self.data} holds landed data, but its checkpoint {self.files.checkpoint} is gone. "
                f"Spark would silently drop the next rows: {remedy}"
            )
        if has_commits and not has_data:
            raise InvalidInput(
                f"{self.files.checkpoint} has committed batches, but {self.data} holds no landed data. "
                f"These batches would not be landed again and would be silently missing: {remedy}"
            )

    def find_landed_offsets(self, topic: str) -> Offsets:
        """Return partition -> the offset up to which the topic is landed (exclusive).

        Before the first batch these are the offsets where the query starts. Empty for a new landing.
        """
        committed = self.files.list_committed_batches()
        # Spark does not land a batch again that the sink has, even if a kill prevented its commit.
        landed = find_last_batch(self.data)
        last = max(committed if landed is None else [*committed, landed], default=-1)
        if last >= 0:
            offsets = self._read_end_offsets(last)
        else:
            initial_offsets = self.files.checkpoint / "sources" / "0" / "0"
            text = initial_offsets.read_text(errors="replace") if initial_offsets.is_file() else ""
            offsets = json.loads(text[text.index("{") :]) if "{" in text else {}
        return dict((offsets or {}).get(topic, {}))

    def record_uncounted_batches(self, spark: SparkSession, run: str) -> None:
        """Count and record committed batches that are not in `progress.jsonl`.

        Such a batch remains when the driver is killed after the batch was landed and before it was
        recorded. Spark skips a batch that is landed already, so nothing observes its rows. This counts
        them in the landed data, by the offsets or files that the checkpoint lists for the batch.
        """
        for batch in sorted(
            self.files.list_committed_batches()
            - {record["batch"] for record in self.files.read_batches()}
        ):
            rows = self._read_batch_rows(spark, batch)
            counts = (
                rows.agg(*_build_count_columns(self._line_condition)).first() or Row()
            ).asDict()
            append_record(
                self.files.progress,
                {
                    "batch": batch,
                    "run": run,
                    "read": counts["good"] + counts["bad"],
                    **counts,
                    "days": sorted(map(str, counts["days"])),
                    "to": self._read_end_offsets(batch),
                    "counted": "as landed",
                },
            )

    def _read_end_offsets(self, batch: int) -> Any:
        log = (self.files.checkpoint / "offsets" / str(batch)).read_text().splitlines()
        return json.loads(log[2]) if len(log) > 2 and log[2].startswith("{") else None

    def _read_batch_rows(self, spark: SparkSession, batch: int) -> DataFrame:
        reader = spark.read.format(self._format).options(**FORMAT_OPTIONS[self._format])
        landed = reader.schema(self._ddl).load(str(self.data))
        end = self._read_end_offsets(batch)
        before = self.files.checkpoint / "offsets" / str(batch - 1)
        start = (self._read_end_offsets(batch - 1) if before.is_file() else None) or {}
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
        for entry in self.files.read_source_log():
            if entry["batchId"] == batch:
                # The log writes file:///a, the column `_metadata.file_path` file:/a.
                files += [entry["path"], entry["path"].replace(":///", ":/", 1)]
        return landed.where(F.col("file").isin(files))


class Recorder(ProgressListener):
    """Writes one line to the landing's progress file for each batch: what it read and landed."""

    def __init__(self, landing: Landing, run: str, topic_ids: dict[str, str], unit: str) -> None:
        super().__init__(lambda record: append_record(landing.files.progress, record))
        self._unit = unit
        self._run, self._topic_ids = run, topic_ids

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        observed = event.progress.observedMetrics
        # The sink skips a batch that is landed already, and Spark then observes nothing:
        # `record_uncounted_batches` records it. Progress without a batch has no metrics either.
        if "lines" not in observed or "landed" not in observed:
            return
        if not (observed["lines"]["read"] or observed["landed"]["heartbeats"]):
            return
        landed, source, record = observed["landed"], event.progress.sources[0], build_record(event)
        record["messages"] = record.pop("rows")
        log_record = record | {"rows": observed["lines"]["read"], "bad": landed["bad"]}
        log_record |= self.add_mismatches(event)
        print(format_record(log_record, self._unit), file=sys.stderr, flush=True)  # noqa: T201
        self._write_record(
            record
            | {
                "run": self._run,
                "read": observed["lines"]["read"],
                **landed.asDict(),
                "days": sorted(str(day) for day in landed["days"]),
                "from": _parse_offsets(source.startOffset),
                "to": _parse_offsets(source.endOffset),
                "topic_ids": self._topic_ids,
            }
        )


def land_stream(
    job: str,
    options: StreamOptions,
    args: argparse.Namespace,
    ddl: str,
    parse_rows: Callable[[DataFrame], DataFrame],
    columns: str = "",
    select_lines: Callable[[DataFrame], DataFrame] = lambda rows: rows,
    *,
    line_count: Callable[[DataFrame], str] = lambda rows: "1",
    is_line: str = "true",
    unit: str = "line",
    shape: str = "",
) -> None:
    """Run a landing job: read the source, parse its lines, write the rows and the run's manifest.

    The lines in the rows that `select_lines` returns are counted as read, the rows that `parse_rows` returns
    as good and bad. With `--check` only the options are checked.

    Args:
        job: The job's name.
        options: The parsed stream options. The sink must be a folder called `data`.
        args: The parsed flags of the job.
        ddl: The columns of the landed rows.
        parse_rows: Turns lines into landed rows with the columns of `ddl`, good and bad.
        columns: The columns to read from a source of structured files (csv, json, orc, parquet), as DDL;
            "" if the job has no such source.
        select_lines: Turns what the source delivers into what `parse_rows` takes.
        line_count: Returns an SQL expression: how many lines or events a row of `select_lines` holds.
        is_line: SQL condition for the landed rows that are lines. Others are heartbeats.
        unit: What one row is called in messages: `line` or `event`.
        shape: How messages are parsed (`--shape`), for messages about type mismatches.

    Raises:
        InvalidInput: A folder, topic or flag cannot be used, Kafka lost messages and that is not accepted,
            or the counts of read and landed lines do not agree.
        RetryLater: The folder is locked, or Kafka cannot be reached.
    """
    landing, started = Landing(options.sink, ddl, is_line), time.monotonic()
    if args.check:
        return
    with landing.query_lock(job, options.source, args.run_id, args.data_location) as query_id:
        spark = session.start_session(job)
        # The data may be at another storage location than the sink names.
        options = replace(options, sink=Endpoint(options.sink.kind, str(landing.data)))
        topic_ids, data_loss = _check_data_loss(spark, landing, options.source, args)
        lines = select_lines(
            read_stream(
                spark, options.source, args, columns, skip_data_loss=bool(data_loss), landed_ddl=ddl
            )
        )
        rows = count_landed_rows(parse_rows(count_read_lines(lines, line_count(lines))), is_line)
        recorder = Recorder(landing, args.run_id, topic_ids, unit)
        with (
            GracefulShutdown(spark, args.run_seconds, args.stop_file) as shutdown,
            attach_listener(spark, recorder),
        ):
            shutdown.wait(
                write_stream(
                    rows,
                    options,
                    args,
                    checkpoint=landing.files.checkpoint,
                    query_id=query_id,
                    partition_by="event_date",
                )
            )
            recorder.wait()
        landing.record_uncounted_batches(spark, args.run_id)
        manifest = build_manifest(
            landing,
            args.run_id,
            {
                "job": job,
                "source": str(options.source),
                "sink": str(options.sink),
                "trigger": str(options.trigger),
                "ended": shutdown.reason,
                "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - started, 1),
                "spark_version": spark.version,
                "lost": [
                    loss
                    for loss in read_data_loss(landing.files.data_loss)
                    if loss["run"] == args.run_id
                ],
            },
        )
        if args.manifest:
            replace_file(Path(args.manifest), json.dumps(manifest, indent=1))
    read, bad = manifest["read"], manifest["bad"]
    if warning := recorder.mismatches.format_message(bad, read, unit, shape):
        print(f"{job}: {warning}", file=sys.stderr, flush=True)  # noqa: T201
    print(  # noqa: T201
        f"{job}: read {read:,} {unit}s = {manifest['good']:,} good + {bad:,} bad, "
        f"in {format_count(len(manifest['batches']), 'batch', 'batches')}; "
        f"days: {', '.join(manifest['days']) or 'none'}; until {shutdown.reason}"
        + "".join(f"; data loss: {loss}" for loss in data_loss)
    )
    shutdown.exit_if_signalled()


def _check_data_loss(
    spark: SparkSession, landing: Landing, source: Endpoint, args: argparse.Namespace
) -> tuple[dict[str, str], list[DataLoss]]:
    """Check the source's topics for data loss, and record what is accepted.

    Returns:
        The id of each topic by its name, and the accepted data loss. Both are empty for other sources.

    Raises:
        InvalidInput: Data loss is not accepted, a topic was deleted, or Spark lacks the Kafka connector.
        RetryLater: No broker answers.
    """
    topic_ids: dict[str, str] = {}
    data_loss: list[DataLoss] = []
    if source.kind != "kafka":
        return topic_ids, data_loss
    check_connector(spark)
    check_servers(args)
    batches = landing.files.read_batches()[::-1]
    for name in source.name.split(","):
        topic = describe_topic(spark, build_client_config(args), name)
        previous_id = next(
            (b["topic_ids"][name] for b in batches if name in b.get("topic_ids", {})), None
        )
        data_loss += check_offsets(
            topic,
            name,
            landing.find_landed_offsets(name),
            previous_id,
            landing.folder,
            args.accept_data_loss,
        )
        topic_ids |= {name: topic.id} if topic else {}
    last_read_at = next((b["at"] for b in batches if b.get("at")), None)
    record_data_loss(data_loss, landing.files.data_loss, args.run_id, last_read_at)
    return topic_ids, data_loss


def count_read_lines(lines: DataFrame, line_count: str = "1") -> DataFrame:
    """Observe how many lines come from the source, before they are parsed.

    Args:
        lines: The rows of the source.
        line_count: SQL expression: how many lines a row holds.
    """
    count = F.coalesce(F.sum(F.expr(f"CAST({line_count} AS BIGINT)")), F.lit(0))
    return lines.observe("lines", count.alias("read"))


def count_landed_rows(rows: DataFrame, line_condition: str = "true") -> DataFrame:
    """Observe how many good and bad rows go into the sink, and the days of their lines."""
    return rows.observe("landed", *_build_count_columns(line_condition))


def _build_count_columns(line_condition: str) -> list[Column]:
    line, bad = F.expr(line_condition), F.col("bad_reason")
    return [
        F.count_if(line & bad.isNull()).alias("good"),
        F.count_if(line & bad.isNotNull()).alias("bad"),
        F.count_if(line & F.col("event_date").isNull()).alias("undated"),
        F.count_if(line & (bad == "far_future")).alias("future"),
        F.count_if(~line).alias("heartbeats"),
        F.collect_set(F.when(line, F.col("event_date"))).alias("days"),
    ]


def read_landing(spark: SparkSession, data: DataPath, ddl: str) -> DataFrame:
    """Read landed Parquet rows with the columns of `ddl`; no rows if nothing is landed yet.

    Columns that an older version of the job did not write are null.
    """
    if find_last_batch(data) is None:
        return spark.createDataFrame([], ddl)
    return spark.read.schema(ddl).parquet(str(_resolve_data(data)))


def find_last_batch(data: DataPath) -> int | None:
    """Return the last batch in the landing's `_spark_metadata`; None if nothing is landed."""
    log = (_resolve_data(data) / "_spark_metadata").glob("[0-9]*")
    return max((int(entry.name.removesuffix(".compact")) for entry in log), default=None)


def _resolve_data(data: DataPath) -> DataPath:
    """Return the storage location of the landing with this data folder, or the folder itself."""
    location = data if isinstance(data, RemotePath) else locate_data(data.parent)
    return location if isinstance(location, RemotePath) else data


def build_manifest(landing: Landing, run: str, run_details: dict[str, Any]) -> dict[str, Any]:
    """Build the manifest of a run from its recorded batches, over all attempts.

    Args:
        landing: The landing.
        run: The run.
        run_details: Further entries of the manifest.

    Returns:
        `run`, the details, the summed counts (`read`, `good`, `bad`, `undated`, `future`, `heartbeats`),
        `days` (ISO dates) and `batches`.

    Raises:
        InvalidInput: `read` is not `good` + `bad`.
    """
    batches = [record for record in landing.files.read_batches() if record["run"] == run]
    count_names = ("read", "good", "bad", "undated", "future", "heartbeats")
    total = {name: sum(b.get(name, 0) for b in batches) for name in count_names}
    if total["read"] != total["good"] + total["bad"]:
        raise InvalidInput(
            f"{landing.folder}: {total['read']} lines were read, but {total['good']} good and "
            f"{total['bad']} bad lines were landed. The counts must agree: this is a bug, please report it "
            f"with {landing.files.progress}"
        )
    days = sorted({day for b in batches for day in b["days"] if day != "None"})
    return {"run": run, **run_details, **total, "days": days, "batches": batches}


def _parse_offsets(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
