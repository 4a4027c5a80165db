"""Open the source and the sink of a query. No other module opens streams."""

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamReader, DataStreamWriter

from include.contracts import list_column_names
from include.errors import InvalidInput
from include.flag_values import Endpoint, parse_address
from spark_jobs.streaming.combinations import FILE_SINKS, REAL_TIME
from spark_jobs.streaming.foreach import build_foreach_writer
from spark_jobs.streaming.options import (
    StreamOptions,
    parse_starting_offsets,
    read_kafka_login,
)
from spark_jobs.streaming.topics import (
    build_client_config,
    check_connector,
    check_servers,
    check_topic,
)

# CSV as in RFC 4180: a quote inside a field is doubled, and line ends and spaces in quotes belong to
# the field. Other programs do not read Spark's default, which escapes quotes with a backslash.
CSV_OPTIONS = {
    "header": "true",
    "escape": '"',
    "multiLine": "true",
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
}
FORMAT_OPTIONS = {
    "csv": CSV_OPTIONS,
    # Without lineSep, a carriage return alone would end a line.
    "text": {"lineSep": "\n"},
    "json": {"lineSep": "\n"},
    "orc": {},
    "parquet": {},
}
CONSOLE_ROWS = 100
SAMPLE_LINES = 100
CORRUPT_COLUMN = "_corrupt_record"
ESTABLISHED, CLOSE_WAIT = "01", "08"  # in /proc/net/tcp


def read_stream(
    spark: SparkSession,
    source: Endpoint,
    args: argparse.Namespace,
    columns: str = "value STRING",
    skip_data_loss: bool = False,
    landed_ddl: str = "",
) -> DataFrame:
    """Open the stream that `source` names.

    Args:
        spark: The job's session.
        source: Where to read.
        args: The flags of `build_stream_parser`.
        columns: Columns of JSON files, as DDL. CSV, ORC and Parquet files must have the first of them.
        skip_data_loss: Continue after offsets that Kafka no longer has, instead of failing.
        landed_ddl: Columns of landed files, as DDL. Files with only these columns are read as landed.

    Returns:
        A streaming DataFrame. Its columns depend on the source:
        Kafka: key and value BINARY, topic, partition, offset, timestamp.
        Text and socket: value STRING.
        Rate: timestamp, value BIGINT.
        JSON: `columns`, and `_corrupt_record` with text that could not be parsed.
        CSV, ORC and Parquet: the columns of the files.
        Landed files: `landed_ddl`.

    Raises:
        InvalidInput: The topic, the folder or the columns do not exist.
        RetryLater: No Kafka broker answers.
    """
    if source.kind == "kafka":
        return _read_kafka(spark, source, args, skip_data_loss)
    if source.kind == "socket":
        host, port = parse_address(source.name)
        return spark.readStream.format("socket").option("host", host).option("port", port).load()
    if source.kind == "rate":
        return spark.readStream.format("rate").option("rowsPerSecond", source.name).load()
    return _read_files(spark, source, args, columns, landed_ddl)


def _read_kafka(
    spark: SparkSession, source: Endpoint, args: argparse.Namespace, skip_data_loss: bool
) -> DataFrame:
    """Read a topic from the checkpoint's offsets; without a checkpoint, from --starting-offsets.

    Offsets that Kafka no longer has fail the query (`failOnDataLoss`), unless `skip_data_loss`.
    """
    check_connector(spark)
    check_servers(args)
    check_topic(spark, args, source.name)
    reader = spark.readStream.format("kafka").options(
        **_add_kafka_prefix(build_client_config(args))
    )
    reader = reader.option("subscribe", source.name)
    reader = reader.options(**parse_starting_offsets(args.starting_offsets, source.name))
    if skip_data_loss:
        reader = reader.option("failOnDataLoss", False)
    if args.max_per_trigger:
        reader = reader.option("maxOffsetsPerTrigger", args.max_per_trigger)
    return reader.load()


def _read_files(
    spark: SparkSession, source: Endpoint, args: argparse.Namespace, columns: str, landed_ddl: str
) -> DataFrame:
    """Read each file of a folder once (text also .gz, .bz2 and .zst), oldest modification time first."""
    if not Path(source.name).is_dir():
        raise InvalidInput(
            f"source {str(source)!r}: there is no folder {source.name}; create it first"
        )
    options = FORMAT_OPTIONS[source.kind]
    reader: DataStreamReader = spark.readStream.format(source.kind).options(**options)
    if source.kind != "text":
        reader = reader.schema(_choose_schema(spark, source, columns, landed_ddl))
    # With Spark's default of a week, a file that is older than the newest by more is silently skipped.
    reader = reader.option("maxFileAge", "36500d")
    if source.kind == "csv":  # match columns by the names in each file's header, not by their order
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


def _choose_schema(spark: SparkSession, source: Endpoint, columns: str, landed_ddl: str) -> str:
    """Return the schema of a folder's files: `landed_ddl` if they have only columns of it."""
    file = next(_list_files(Path(source.name)), None)
    if source.kind == "json":
        schema, names = f"{columns}, {CORRUPT_COLUMN} STRING", _read_json_names(spark, file)
    elif file is None:
        raise InvalidInput(
            f"source {str(source)!r}: {source.name} holds no file yet, and the columns are taken "
            "from a file; put one there first"
        )
    else:
        reader = spark.read.format(source.kind).options(**FORMAT_OPTIONS[source.kind])
        file_schema = reader.load(source.name).schema
        schema, names = file_schema.toDDL(), set(file_schema.names)
    raw_names = list_column_names(columns)
    if (
        landed_ddl
        and names
        and names <= set(list_column_names(landed_ddl))
        and not names <= set(raw_names)
    ):
        return landed_ddl
    if raw_names[0] in names or (source.kind == "json" and not names):
        return schema
    expected = f"expected {columns}" + (f", or landed rows: {landed_ddl}" if landed_ddl else "")
    raise InvalidInput(
        f"source {str(source)!r}: its files have the columns {', '.join(sorted(names))}; "
        + " ".join(expected.split())
    )


def _list_files(folder: Path) -> Iterator[Path]:
    """Yield the files that Spark would read. It skips files and folders whose name begins with . or _."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part[0] in "._" for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _read_json_names(spark: SparkSession, file: Path | None) -> set[str]:
    """Return the names in the first objects of a file of JSON lines; empty if there are none."""
    names: set[str] = set()
    if file is not None:
        options = FORMAT_OPTIONS["json"]
        for row in spark.read.options(**options).text(str(file)).limit(SAMPLE_LINES).collect():
            with suppress(ValueError):
                document = json.loads(row.value)
                names |= set(document) if isinstance(document, dict) else set()
    return names


def write_stream(
    rows: DataFrame,
    options: StreamOptions,
    args: argparse.Namespace,
    *,
    checkpoint: Path,
    query_id: str,
    partition_by: str | None = None,
) -> StreamingQuery:
    """Start a query that writes `rows` to `options.sink`.

    Kafka gets each row at least once: unchanged if its columns are `key` and `value`, else as JSON in
    `value`. Files get each row exactly once, as long as they keep their checkpoint.

    Args:
        rows: The streaming DataFrame to write.
        options: Sink, output mode and trigger.
        args: The flags of `build_stream_parser`.
        checkpoint: Spark's checkpoint folder of the query.
        query_id: Id of the query with this checkpoint, by which foreach recognises a repeated batch.
        partition_by: Column of a file sink. Each of its values gets a folder.

    Raises:
        InvalidInput: Spark's Kafka connector is missing.
        RetryLater: No Kafka broker answers.
    """
    sink, trigger = options.sink, options.trigger
    if sink.kind == "kafka":
        check_connector(rows.sparkSession)
        check_servers(args)
        writer = _build_messages(rows).writeStream.format("kafka").option("topic", sink.name)
        producer_config = {
            "bootstrap.servers": args.servers,
            "max.block.ms": "20000",
            **read_kafka_login(args),
        }
        writer = writer.options(**_add_kafka_prefix(producer_config))
    elif sink.kind == "foreach":
        json_rows = rows.select(F.to_json(F.struct("*")).alias("row"))
        # One task writes a batch, so that all of it is written or nothing. The real-time trigger
        # has one task for each partition, which never ends.
        json_rows = json_rows if trigger.kind == REAL_TIME else json_rows.coalesce(1)
        writer = json_rows.writeStream.foreach(build_foreach_writer(sink, query_id))
    elif sink.kind in FILE_SINKS:
        writer = rows.writeStream.format(sink.kind).option("path", sink.name)
        if sink.kind == "csv":
            writer = writer.options(**CSV_OPTIONS)
        if partition_by:
            writer = writer.partitionBy(partition_by)
    elif sink.kind == "memory":
        writer = rows.writeStream.format("memory").queryName(sink.name)
    elif trigger.engine == "micro-batch":
        writer = rows.writeStream.foreachBatch(_print_batch)
    else:
        writer = rows.writeStream.format("console")
        writer = writer.option("truncate", False).option("numRows", CONSOLE_ROWS)
    return _start_query(writer.option("checkpointLocation", str(checkpoint)), options)


def _print_batch(batch: DataFrame, number: int) -> None:
    """Print a batch as Spark's console sink does, but nothing for a batch without rows."""
    rows = batch._jdf.collectAsList()  # only once: a second action would run the batch again
    if rows.isEmpty():
        return
    table = batch.sparkSession._jsparkSession.createDataFrame(rows, batch._jdf.schema())
    line, text = "-" * 43, table.showString(CONSOLE_ROWS, 0, False)
    print(f"{line}\nBatch: {number}\n{line}\n{text}", flush=True)  # noqa: T201


def _start_query(writer: DataStreamWriter, options: StreamOptions) -> StreamingQuery:
    return writer.outputMode(options.mode).trigger(**options.trigger.spark_arguments).start()


def _build_messages(rows: DataFrame) -> DataFrame:
    if set(rows.columns) == {"key", "value"}:
        return rows
    return rows.select(F.to_json(F.struct("*")).alias("value"))


def _add_kafka_prefix(properties: dict[str, str]) -> dict[str, str]:
    return {f"kafka.{name}": value for name, value in properties.items()}


def has_closed(source: Endpoint) -> bool:
    """Tell whether the server of a socket source has closed the connection, from Linux's connection table.

    Spark itself treats the end of the lines as a pause, and waits for ever.
    """
    _, port = parse_address(source.name)
    states = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.is_file() else ():
            _, _, remote, state = line.split()[:4]
            if int(remote.rpartition(":")[2], 16) == port:
                states.add(state)
    return CLOSE_WAIT in states and ESTABLISHED not in states
