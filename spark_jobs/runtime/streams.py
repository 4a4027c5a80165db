"""The only module that opens streams: what a query reads, and what it writes."""

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamReader, DataStreamWriter

from spark_jobs.runtime.brokers import (
    check_connector,
    check_servers,
    check_topic,
    client_properties,
)
from spark_jobs.runtime.combinations import FILE_SINKS, REAL_TIME
from spark_jobs.runtime.foreach import writer_of
from spark_jobs.runtime.words import Place, Refused, Words, login_of, parse_starting
from spark_jobs.transforms.landed import names_of

# CSV as RFC 4180 has it: a quote inside is doubled, and line ends and spaces in quotes belong to the
# field. Spark's own backslash is what other programs do not read.
CSV = {
    "header": "true", "escape": '"', "multiLine": "true",
    "ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false",
}  # fmt: skip
FORMAT_OPTIONS = {
    "csv": CSV,
    # Without lineSep a bare carriage return would end a line.
    "text": {"lineSep": "\n"}, "json": {"lineSep": "\n"}, "orc": {}, "parquet": {},
}  # fmt: skip
CONSOLE_ROWS = 100
FIRST_LINES = 100
CORRUPT = "_corrupt_record"
ESTABLISHED, CLOSE_WAIT = "01", "08"  # in /proc/net/tcp


def read(
    spark: SparkSession, source: Place, args: argparse.Namespace, columns: str = "value STRING",
    skip_lost: bool = False, landed: str = "",
) -> DataFrame:  # fmt: skip
    """The stream that `source` names.

    Kafka gives its own columns (key and value BINARY, topic, partition, offset, timestamp), text and
    socket `value` STRING, rate `timestamp` and `value` BIGINT. JSON gives `columns`, and what could
    not be read in `_corrupt_record`; CSV, ORC and Parquet the columns that the files have, which
    must include the first of `columns`. Files that were landed before with the columns `landed`
    give just those. `skip_lost` goes on behind what Kafka no longer has.
    """
    if source.kind == "kafka":
        return _read_kafka(spark, source, args, skip_lost)
    if source.kind == "socket":
        host, _, port = source.name.rpartition(":")
        return spark.readStream.format("socket").option("host", host).option("port", port).load()
    if source.kind == "rate":
        return spark.readStream.format("rate").option("rowsPerSecond", source.name).load()
    return _read_files(spark, source, args, columns, landed)


def _read_kafka(
    spark: SparkSession, source: Place, args: argparse.Namespace, skip_lost: bool
) -> DataFrame:
    """Messages of a topic from --starting, or from where the checkpoint stands.

    Offsets that Kafka no longer has fail the query (`failOnDataLoss`), unless `skip_lost`.
    """
    check_connector(spark)
    check_servers(args)
    check_topic(spark, args, source.name)
    reader = spark.readStream.format("kafka").options(**_prefixed(client_properties(args)))
    reader = reader.option("subscribe", source.name)
    reader = reader.options(**parse_starting(args.starting, source.name))
    if skip_lost:
        reader = reader.option("failOnDataLoss", False)
    if args.max_per_trigger:
        reader = reader.option("maxOffsetsPerTrigger", args.max_per_trigger)
    return reader.load()


def _read_files(
    spark: SparkSession, source: Place, args: argparse.Namespace, columns: str, landed: str
) -> DataFrame:
    """The files of a folder (text also .gz, .bz2 and .zst), each once, oldest modification time first."""
    if not Path(source.name).is_dir():
        raise Refused(f"source {str(source)!r}: there is no folder {source.name}; make it first")
    options = FORMAT_OPTIONS[source.kind]
    reader: DataStreamReader = spark.readStream.format(source.kind).options(**options)
    if source.kind != "text":
        reader = reader.schema(_schema_of(spark, source, columns, landed))
    # Spark's own week would leave out, without a word, a file that is older than the newest by more.
    reader = reader.option("maxFileAge", "36500d")
    if source.kind == "csv":  # by the names in each file's header, not by their order
        reader = reader.option("enforceSchema", False)
    if args.max_files_per_trigger:
        reader = reader.option("maxFilesPerTrigger", args.max_files_per_trigger)
    if args.latest_first:
        reader = reader.option("latestFirst", True)
    if args.archive:
        Path(args.archive).mkdir(parents=True, exist_ok=True)
        reader = reader.option("cleanSource", "archive")
        reader = reader.option("sourceArchiveDir", str(Path(args.archive).absolute()))
    return reader.load(source.name)


def _schema_of(spark: SparkSession, source: Place, columns: str, landed: str) -> str:
    """The schema to read a folder's files with: `landed` if they have only columns of that."""
    file = next(_files(Path(source.name)), None)
    if source.kind == "json":
        schema, names = f"{columns}, {CORRUPT} STRING", _json_names(spark, file)
    elif file is None:
        raise Refused(
            f"source {str(source)!r}: {source.name} holds no file yet, and its columns are known "
            "from one; put one there first"
        )
    else:
        batch = spark.read.format(source.kind).options(**FORMAT_OPTIONS[source.kind])
        found = batch.load(source.name).schema
        schema, names = found.toDDL(), set(found.names)
    raw = names_of(columns)
    if landed and names and names <= set(names_of(landed)) and not names <= set(raw):
        return landed
    if raw[0] in names or (source.kind == "json" and not names):
        return schema
    expected = f"expected {columns}" + (f", or landed rows: {landed}" if landed else "")
    raise Refused(
        f"source {str(source)!r}: its files have the columns {', '.join(sorted(names))}; "
        + " ".join(expected.split())
    )


def _files(folder: Path) -> Iterator[Path]:
    """The files that Spark would read; it hides what begins with . or _, also a folder's content."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part[0] in "._" for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _json_names(spark: SparkSession, file: Path | None) -> set[str]:
    """The names in the first objects of a file of JSON lines; empty if there are none."""
    names: set[str] = set()
    if file is not None:
        options = FORMAT_OPTIONS["json"]
        for row in spark.read.options(**options).text(str(file)).limit(FIRST_LINES).collect():
            with suppress(ValueError):
                found = json.loads(row.value)
                names |= set(found) if isinstance(found, dict) else set()
    return names


def write(
    rows: DataFrame, words: Words, args: argparse.Namespace, *, checkpoint: Path, query: str,
    partition_by: str | None = None,
) -> StreamingQuery:  # fmt: skip
    """Start a query that writes `rows` where `words.sink` says.

    Kafka gets `key` and `value`, at least once: `rows` as they are if that is what they are called,
    else as JSON. Files are exactly once with their checkpoint, in a folder for each value of
    `partition_by`. `query` is this checkpoint's own name, by which foreach knows a repeated batch.
    """
    sink, trigger = words.sink, words.trigger
    if sink.kind == "kafka":
        check_connector(rows.sparkSession)
        check_servers(args)
        writer = _messages(rows).writeStream.format("kafka").option("topic", sink.name)
        told = {"bootstrap.servers": args.servers, "max.block.ms": "20000", **login_of(args)}
        writer = writer.options(**_prefixed(told))
    elif sink.kind == "foreach":
        texts = rows.select(F.to_json(F.struct("*")).alias("row"))
        # One task writes a batch, so that it is kept as a whole or not at all. Real time has
        # a task that never ends for each partition.
        texts = texts if trigger.kind == REAL_TIME else texts.coalesce(1)
        writer = texts.writeStream.foreach(writer_of(sink, query))
    elif sink.kind in FILE_SINKS:
        writer = rows.writeStream.format(sink.kind).option("path", sink.name)
        if sink.kind == "csv":
            writer = writer.options(**CSV)
        if partition_by:
            writer = writer.partitionBy(partition_by)
    elif sink.kind == "memory":
        writer = rows.writeStream.format("memory").queryName(sink.name)
    elif trigger.engine == "micro-batch":
        writer = rows.writeStream.foreachBatch(_print_batch)
    else:
        writer = rows.writeStream.format("console")
        writer = writer.option("truncate", False).option("numRows", CONSOLE_ROWS)
    return _start(writer.option("checkpointLocation", str(checkpoint)), words)


def _print_batch(batch: DataFrame, number: int) -> None:
    """What Spark's console sink prints, but nothing for a batch without rows."""
    rows = batch._jdf.collectAsList()  # once: a second look would run the batch again
    if rows.isEmpty():
        return
    table = batch.sparkSession._jsparkSession.createDataFrame(rows, batch._jdf.schema())
    line, shown = "-" * 43, table.showString(CONSOLE_ROWS, 0, False)
    print(f"{line}\nBatch: {number}\n{line}\n{shown}", flush=True)  # noqa: T201


def _start(writer: DataStreamWriter, words: Words) -> StreamingQuery:
    return writer.outputMode(words.mode).trigger(**words.trigger.option).start()


def _messages(rows: DataFrame) -> DataFrame:
    if set(rows.columns) == {"key", "value"}:
        return rows
    return rows.select(F.to_json(F.struct("*")).alias("value"))


def _prefixed(properties: dict[str, str]) -> dict[str, str]:
    return {f"kafka.{name}": value for name, value in properties.items()}


def has_closed(source: Place) -> bool:
    """Whether the other end of a socket source has closed it, by Linux' table of connections.

    Spark itself takes the end of the lines for a pause, and waits for ever.
    """
    port = int(source.name.rpartition(":")[2])
    states = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.is_file() else ():
            _, _, remote, state = line.split()[:4]
            if int(remote.rpartition(":")[2], 16) == port:
                states.add(state)
    return CLOSE_WAIT in states and ESTABLISHED not in states
