"""The only module that opens streams: from Kafka or files, into the lake."""

import argparse
import socket
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from spark_jobs.runtime.words import Place, Refused


def read(spark: SparkSession, source: Place, args: argparse.Namespace) -> DataFrame:
    """The stream that `source` names: `value` (STRING; from Kafka BINARY) and what comes with it."""
    if source.kind == "kafka":
        return read_kafka(spark, source, args.servers, args.max_per_trigger)
    if source.kind == "text":
        return read_text(spark, source, args.max_per_trigger)
    return read_socket(spark, source)


def read_kafka(
    spark: SparkSession, source: Place, servers: str | None, max_per_trigger: int | None
) -> DataFrame:
    """Messages of a topic from its beginning, or from where the checkpoint stands.

    Gives Kafka's columns (key and value BINARY, topic, partition, offset, timestamp).
    Offsets that Kafka no longer has fail the query (`failOnDataLoss`), they are not skipped.
    """
    check_servers(servers)
    reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers or "")
    reader = reader.option("subscribe", source.name).option("startingOffsets", "earliest")
    # Kafka's own patience is minutes; a broker that is gone should be told of in seconds.
    reader = reader.option("kafka.default.api.timeout.ms", 20000)
    reader = reader.option("kafka.request.timeout.ms", 15000)
    if max_per_trigger:
        reader = reader.option("maxOffsetsPerTrigger", max_per_trigger)
    return reader.load()


def read_text(spark: SparkSession, source: Place, max_per_trigger: int | None) -> DataFrame:
    """Lines of the files in a folder (plain, .gz, .bz2), each file once: `value` STRING."""
    if not Path(source.name).is_dir():
        raise Refused(f"source {str(source)!r}: there is no folder {source.name}; make it first")
    # Without lineSep a bare carriage return would end a line.
    reader = spark.readStream.format("text").option("lineSep", "\n")
    if max_per_trigger:
        reader = reader.option("maxFilesPerTrigger", max_per_trigger)
    return reader.load(source.name)


def read_socket(spark: SparkSession, source: Place) -> DataFrame:
    """Lines that somebody serves at HOST:PORT: `value` STRING. Nothing is kept of what was read."""
    host, _, port = source.name.rpartition(":")
    reader = spark.readStream.format("socket").option("host", host).option("port", port)
    return reader.load()


def write_rows(
    rows: DataFrame, sink: Place, mode: str, trigger: dict[str, str | bool], checkpoint: str | None
) -> StreamingQuery:
    """Start a query into the console or a table in memory."""
    writer = rows.writeStream.format(sink.kind).outputMode(mode)
    if sink.kind == "memory":
        writer = writer.queryName(sink.name)
    else:
        writer = writer.option("truncate", False).option("numRows", 100)
    if checkpoint:
        writer = writer.option("checkpointLocation", checkpoint)
    return writer.trigger(**trigger).start()  # type: ignore[arg-type]


def write_kafka(
    rows: DataFrame, sink: Place, servers: str | None, mode: str,
    trigger: dict[str, str | bool], checkpoint: str,
) -> StreamingQuery:  # fmt: skip
    """Start a query into a topic: `key` and `value`. At least once: a message may come again."""
    writer = rows.writeStream.format("kafka").option("kafka.bootstrap.servers", servers or "")
    writer = writer.option("topic", sink.name).option("checkpointLocation", checkpoint)
    return writer.outputMode(mode).trigger(**trigger).start()  # type: ignore[arg-type]


def write_parquet(
    rows: DataFrame, path: Path, checkpoint: Path, trigger: dict[str, str | bool]
) -> StreamingQuery:
    """Start landing `rows` under `path`, a folder for each `event_date`."""
    writer = rows.writeStream.format("parquet").partitionBy("event_date")
    writer = writer.option("path", str(path)).option("checkpointLocation", str(checkpoint))
    return writer.outputMode("append").trigger(**trigger).start()  # type: ignore[arg-type]


def wait(query: StreamingQuery, seconds: int | None) -> None:
    """Wait for the query to end by itself, or stop it cleanly when its time is up."""
    try:
        query.awaitTermination(seconds)
    except Py4JError:
        raise  # the JVM is gone, and the query with it
    except BaseException:
        query.stop()
        raise
    query.stop()


def check_servers(servers: str | None) -> None:
    """Refuse a broker that does not answer, at once, where Spark would retry for minutes."""
    if not servers:
        raise Refused("a kafka source needs --servers HOST:PORT")
    failed = []
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except (OSError, ValueError) as error:
            failed.append(f"{server} ({error})")
    raise Refused(
        f"no Kafka broker answers at {', '.join(failed)}; start it (`make up`) or correct --servers"
    )
