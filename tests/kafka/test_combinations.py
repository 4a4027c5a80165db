"""Runs combinations of source, sink, mode and trigger: the allowed give rows, Spark refuses the others."""

import json
import shutil
import socketserver
import threading
from argparse import Namespace
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from include.errors import InvalidInput
from include.flag_values import Endpoint
from producers.clickstream.publish import publish_messages
from producers.kafka_client import ensure_topics
from spark_jobs.streaming.arguments import build_watch_parser
from spark_jobs.streaming.combinations import (
    CONTINUOUS,
    FILE_SINKS,
    FINITE_TRIGGERS,
    OUTPUT_MODES,
    QUERY_KINDS,
    REAL_TIME,
    ROWS,
    SINKS,
    SOURCES,
    TOTALS,
    TRIGGERS,
    WINDOWS,
    find_sink_conflict,
    find_source_conflict,
)
from spark_jobs.streaming.options import (
    StreamOptions,
    parse_stream_options,
    parse_trigger,
)
from spark_jobs.streaming.progress import Epochs
from spark_jobs.streaming.streams import FORMAT_OPTIONS, read_stream, write_stream
from tests.conftest import eventually, matrix_cases

LINES = ["the tide", "comes in", "the boats"]
TRIGGER_VALUES = TRIGGERS | {"every": "every 1 second"}


@pytest.fixture(scope="module")
def source_names(spark, broker, tmp_path_factory):
    """The endpoint name of each kind of source; each source has LINES."""
    folder, topic = tmp_path_factory.mktemp("sources"), "combinations"
    ensure_topics(broker.kafka_servers, [topic], partitions=1, replication=1)
    publish_messages([line.encode() for line in LINES], broker.kafka_servers, topic)
    rows = spark.createDataFrame([(line,) for line in LINES], "value STRING").coalesce(1)
    for kind in ("text", "csv", "json", "orc", "parquet"):
        rows.write.format(kind).options(**FORMAT_OPTIONS[kind]).save(str(folder / kind))

    class LineHandler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall("".join(f"{line}\n" for line in LINES).encode())
            self.request.recv(1)  # until the reader disconnects

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), LineHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = {kind: str(folder / kind) for kind in ("text", "csv", "json", "orc", "parquet")}
    names |= {"kafka": topic, "rate": "20", "socket": f"127.0.0.1:{server.server_address[1]}"}
    yield names
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(spark, broker, source_names, tmp_path, request):
    """Run a query; return its rows as soon as they are there."""
    out_topic = f"combinations-{abs(hash(request.node.name))}"

    def run_query(source, sink, mode, trigger, query=ROWS, must_fail=False):
        args = build_watch_parser(None, mode, "once").parse_args(
            ["--source", f"{source}:{source_names[source]}", "--sink", sink,
             "--servers", broker.kafka_servers])  # fmt: skip
        rows = read_stream(spark, Endpoint(source, source_names[source]), args)
        rows = rows.select(F.col("value").cast("string"))
        if query == TOTALS:
            rows = rows.groupBy("value").count()
        elif query == WINDOWS:
            rows = rows.withColumn("at", F.timestamp_seconds(10 * F.length("value")))
            windows = rows.withWatermark("at", "1 second").groupBy(F.window("at", "1 second"))
            rows = windows.count().select(F.col("window.start").alias("start"), "count")
        name = {"kafka": out_topic, "memory": "combination", "console": "",
                "foreach": f"sqlite:{tmp_path / 'rows.db'}"}.get(sink, str(tmp_path / "out"))  # fmt: skip
        if sink == "kafka":
            ensure_topics(broker.kafka_servers, [out_topic], partitions=1, replication=1)
        options = StreamOptions(Endpoint(source, source_names[source]), Endpoint(sink, name), mode,
                                parse_trigger(TRIGGER_VALUES[trigger]))  # fmt: skip
        epochs = Epochs(tmp_path / "c")
        arguments = Namespace(servers=broker.kafka_servers, kafka_login="")
        streaming_query = write_stream(rows, options, arguments, checkpoint=tmp_path / "c",
                                       query_id="a query")  # fmt: skip
        try:
            if must_fail:
                assert streaming_query.awaitTermination(30), "it runs"
            if trigger in FINITE_TRIGGERS:
                assert streaming_query.awaitTermination(60)
                return read_output(sink, name, streaming_query, epochs)
            expected_rows = (
                3
                if sink == "console"
                else {ROWS: 3, TOTALS: 3, WINDOWS: 1 if mode == "append" else 2}[query]
            )
            output = []

            def has_all_rows():
                output[:] = read_output(sink, name, streaming_query, epochs)
                return streaming_query.exception() or len(output) >= expected_rows

            eventually(has_all_rows, 40, f"rows of {source} in {sink}")
            assert streaming_query.exception() is None
            return output
        finally:
            streaming_query.stop()
            shutil.rmtree(tmp_path / "c", ignore_errors=True)

    def read_output(sink, name, streaming_query, epochs):
        if sink == "memory":
            return [row.asDict() for row in spark.table(name).collect()]
        if sink == "kafka":
            reader = spark.read.format("kafka").option("subscribe", name)
            reader = reader.option("kafka.bootstrap.servers", broker.kafka_servers).load()
            return [json.loads(row.value) for row in reader.select("value").collect()]
        if sink == "foreach":
            return read_sqlite_rows(Path(name.partition(":")[2]))
        if sink == "console":  # the JVM prints the rows, so count the rows read
            rows = sum(progress.numInputRows for progress in streaming_query.recentProgress)
            return [{}] * (rows or sum(epoch["rows"] for epoch in epochs.list_new_epochs()))
        try:
            frame = spark.read.format(sink).options(**FORMAT_OPTIONS[sink]).load(name)
        except PySparkException:
            return []
        return [row.asDict() for row in frame.collect()]

    return run_query


def read_sqlite_rows(path):
    import sqlite3

    if not path.is_file():
        return []
    with sqlite3.connect(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchall():
            return []  # the writer has just created the file
        return [json.loads(row) for (row,) in connection.execute("SELECT row FROM rows")]


def build_flags(source, sink, mode, trigger):
    sources = {"kafka": "kafka:in", "socket": "socket:localhost:9999", "rate": "rate:5"}
    sinks = {"kafka": "kafka:out", "memory": "memory:t", "foreach": "foreach:sqlite:x.db"}
    flags = ["--source", sources.get(source, f"{source}:/in"), "--output-mode", mode,
             "--sink", sinks.get(sink, sink if sink == "console" else f"{sink}:/out"),
             "--trigger", TRIGGERS[trigger], "--servers", "localhost:1"]  # fmt: skip
    return flags + ([] if sink in ("memory", "console") else ["--checkpoint", "/c"])


PAIRS = [(s, t) for s in SOURCES for t in TRIGGERS]
ALLOWED_PAIRS = [pair for pair in PAIRS if not find_source_conflict(*pair)]
CELLS = [(s, m, t, q) for s in SINKS for m in OUTPUT_MODES for t in TRIGGERS for q in QUERY_KINDS]
ALLOWED_CELLS = [cell for cell in CELLS if not find_sink_conflict(*cell)]
# `make test` runs each source, sink and trigger once, and each output mode of a query once.
# `make matrix-test` runs the others.
FIRST_PAIRS = {value: pair for pair in reversed(ALLOWED_PAIRS) for value in pair}
PAIRS_IN_ORDER = [
    *[pair for pair in ALLOWED_PAIRS if pair in FIRST_PAIRS.values()],
    *matrix_cases(*[pair for pair in ALLOWED_PAIRS if pair not in FIRST_PAIRS.values()]),
]
FIRST_CELLS = {
    key: (s, m, t, q) for s, m, t, q in reversed(ALLOWED_CELLS) for key in (s, t, (m, q))
}
CELLS_IN_ORDER = [
    *[cell for cell in ALLOWED_CELLS if cell in FIRST_CELLS.values()],
    *matrix_cases(*[cell for cell in ALLOWED_CELLS if cell not in FIRST_CELLS.values()]),
]


@pytest.mark.parametrize(("source", "trigger"), PAIRS_IN_ORDER)
def test_an_allowed_source_is_read_with_every_allowed_trigger(run, source, trigger):
    sink, mode = ("foreach", "update") if trigger == REAL_TIME else ("memory", "append")
    rows = [row["value"] for row in run(source, sink, mode, trigger)]
    if source == "rate":
        assert sorted(map(int, rows))[:3] == [0, 1, 2]
    else:
        assert sorted(rows) == sorted(LINES)


@pytest.mark.parametrize(("sink", "mode", "trigger", "query"), CELLS_IN_ORDER)
def test_an_allowed_sink_receives_its_rows(run, sink, mode, trigger, query):
    rows = run("kafka", sink, mode, trigger, query)
    if sink == "console":
        assert len(rows) == 3
    elif query == ROWS:
        assert sorted(row["value"] for row in rows) == sorted(LINES)
    elif query == TOTALS:
        assert sorted((row["value"], int(row["count"])) for row in rows) == [
            (line, 1) for line in sorted(LINES)
        ]
    elif mode == "append":
        # The last window is still open, and `once` has no second batch that would emit the first.
        assert [int(row["count"]) for row in rows] == ([] if trigger == "once" else [2])
    else:
        assert sorted(int(row["count"]) for row in rows) == [1, 2]


@pytest.mark.parametrize(("source", "trigger"), [p for p in PAIRS if p not in ALLOWED_PAIRS])
def test_a_refused_source_is_reported_with_a_reason_and_an_alternative(source, trigger):
    mode = "update" if trigger == REAL_TIME else "append"
    args = build_watch_parser(None, mode, "once").parse_args(
        build_flags(source, "console", mode, trigger)
    )
    with pytest.raises(InvalidInput, match="; use ") as error:
        parse_stream_options(args, ROWS)
    assert repr(TRIGGERS[trigger]) in str(error.value)
    assert find_source_conflict(source, trigger) in str(error.value)


@pytest.mark.parametrize(
    ("sink", "mode", "trigger", "query"), [c for c in CELLS if c not in ALLOWED_CELLS]
)
def test_a_refused_sink_is_reported_with_a_reason_and_an_alternative(sink, mode, trigger, query):
    args = build_watch_parser(None, mode, "once").parse_args(
        build_flags("kafka", sink, mode, trigger)
    )
    with pytest.raises(InvalidInput, match="; use ") as error:
        parse_stream_options(args, query)
    assert find_sink_conflict(sink, mode, trigger, query) in str(error.value)
    assert repr(mode) in str(error.value)


REFUSED_BY_TIDEMARK_ONLY = {
    ("socket", "once"),
    ("socket", "available-now"),
    ("rate", "once"),
    ("rate", "available-now"),
}


@pytest.mark.parametrize(
    ("source", "trigger"),
    [p for p in PAIRS if p not in ALLOWED_PAIRS and p not in REFUSED_BY_TIDEMARK_ONLY],
)
def test_spark_also_refuses_the_refused_sources(run, source, trigger):
    mode = "update" if trigger == REAL_TIME else "append"
    with pytest.raises(PySparkException):
        run(source, "console", mode, trigger, must_fail=True)


@pytest.mark.parametrize(("source", "trigger"), sorted(REFUSED_BY_TIDEMARK_ONLY))
def test_spark_reads_nothing_from_a_source_that_has_just_started(run, source, trigger):
    assert run(source, "memory", "append", trigger) == []


@pytest.mark.parametrize(
    ("sink", "mode", "trigger", "query"),
    # The three other file formats are the same sink.
    [c for c in CELLS if c not in ALLOWED_CELLS and c[0] not in FILE_SINKS[1:]],
)
def test_spark_also_refuses_the_refused_sinks(run, sink, mode, trigger, query):
    with pytest.raises(PySparkException):
        run("kafka", sink, mode, trigger, query, must_fail=True)


def test_continuous_trigger_refuses_jobs_that_split_messages():
    args = build_watch_parser(None, "append", "once").parse_args(
        build_flags("kafka", "console", "append", CONTINUOUS)
    )
    with pytest.raises(InvalidInput, match="cannot split them; use real-time"):
        parse_stream_options(args, ROWS, exploded_sources=("kafka",))
    parse_stream_options(args, ROWS)
