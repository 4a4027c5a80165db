"""The only module that opens streams: what a query reads, and what it writes."""

import argparse
import socket
from pathlib import Path

from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamReader, DataStreamWriter

from spark_jobs.runtime.combinations import FILE_SINKS, REAL_TIME
from spark_jobs.runtime.foreach import writer_of
from spark_jobs.runtime.words import NotNow, Place, Refused, Words, login_of, parse_starting

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
CORRUPT = "_corrupt_record"
ESTABLISHED, CLOSE_WAIT = "01", "08"  # in /proc/net/tcp


def read(
    spark: SparkSession, source: Place, args: argparse.Namespace, columns: str = "value STRING",
    skip_lost: bool = False,
) -> DataFrame:  # fmt: skip
    """The stream that `source` names.

    Kafka gives its own columns (key and value BINARY, topic, partition, offset, timestamp), text and
    socket `value` STRING, rate `timestamp` and `value` BIGINT. JSON gives `columns`, and what could
    not be read in `_corrupt_record`; CSV, ORC and Parquet the columns that the files have, which
    must include the first of `columns`. `skip_lost` goes on behind what Kafka no longer has.
    """
    if source.kind == "kafka":
        return _read_kafka(spark, source, args, skip_lost)
    if source.kind == "socket":
        host, _, port = source.name.rpartition(":")
        return spark.readStream.format("socket").option("host", host).option("port", port).load()
    if source.kind == "rate":
        return spark.readStream.format("rate").option("rowsPerSecond", source.name).load()
    return _read_files(spark, source, args, columns)


def _read_kafka(
    spark: SparkSession, source: Place, args: argparse.Namespace, skip_lost: bool
) -> DataFrame:
    """Messages of a topic from --starting, or from where the checkpoint stands.

    Offsets that Kafka no longer has fail the query (`failOnDataLoss`), unless `skip_lost`.
    """
    check_servers(args.servers)
    reader = spark.readStream.format("kafka").options(**_prefixed(client_properties(args)))
    reader = reader.option("subscribe", source.name)
    reader = reader.options(**parse_starting(args.starting, source.name))
    if skip_lost:
        reader = reader.option("failOnDataLoss", False)
    if args.max_per_trigger:
        reader = reader.option("maxOffsetsPerTrigger", args.max_per_trigger)
    return reader.load()


def _read_files(
    spark: SparkSession, source: Place, args: argparse.Namespace, columns: str
) -> DataFrame:
    """The files of a folder (text also .gz, .bz2 and .zst), each once, oldest modification time first."""
    if not Path(source.name).is_dir():
        raise Refused(f"source {str(source)!r}: there is no folder {source.name}; make it first")
    options = FORMAT_OPTIONS[source.kind]
    reader: DataStreamReader = spark.readStream.format(source.kind).options(**options)
    if source.kind == "json":
        reader = reader.schema(f"{columns}, {CORRUPT} STRING")
    elif source.kind != "text":
        batch: DataFrameReader = spark.read.format(source.kind).options(**options)
        reader = reader.schema(_schema_of(batch, source, columns))
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


def _schema_of(reader: DataFrameReader, source: Place, columns: str) -> str:
    folder = Path(source.name)
    if not any(path.is_file() for path in folder.rglob("[!._]*")):
        raise Refused(
            f"source {str(source)!r}: {folder} holds no file yet, and its columns are known from "
            "one; put one there first"
        )
    schema = reader.load(source.name).schema
    wanted = next(column.split()[0] for column in columns.split(","))
    if wanted not in schema.names:
        raise Refused(
            f"source {str(source)!r}: its files have the columns {', '.join(schema.names)}; "
            f"expected {columns}"
        )
    return schema.toDDL()


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
        check_servers(args.servers)
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
    else:
        writer = rows.writeStream.format("console")
        writer = writer.option("truncate", False).option("numRows", 100)
    return _start(writer.option("checkpointLocation", str(checkpoint)), words)


def _start(writer: DataStreamWriter, words: Words) -> StreamingQuery:
    return writer.outputMode(words.mode).trigger(**words.trigger.option).start()


def _messages(rows: DataFrame) -> DataFrame:
    if set(rows.columns) == {"key", "value"}:
        return rows
    return rows.select(F.to_json(F.struct("*")).alias("value"))


def client_properties(args: argparse.Namespace) -> dict[str, str]:
    """What a Kafka client that reads is told: servers, patience and, if any, the login."""
    # Kafka's own patience is minutes; a broker that is gone should be told of in seconds.
    patience = {"default.api.timeout.ms": "20000", "request.timeout.ms": "15000"}
    return {"bootstrap.servers": args.servers, **patience, **login_of(args)}


def _prefixed(properties: dict[str, str]) -> dict[str, str]:
    return {f"kafka.{name}": value for name, value in properties.items()}


def check_servers(servers: str | None) -> None:
    """Raise NotNow for a broker that does not answer, where Spark would try for minutes."""
    failed = []
    for server in (servers or "").split(","):
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except (OSError, ValueError) as error:
            failed.append(f"{server} ({error})")
    raise NotNow(
        f"no Kafka broker answers at {', '.join(failed)}; start it (`make up`) or correct --servers"
    )


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
