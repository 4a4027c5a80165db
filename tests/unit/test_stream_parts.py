"""Parts of a streaming job that need no Spark session: its source's files, its records and its HTTP sink."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pyspark.sql import Row
from pyspark.sql.streaming.listener import QueryProgressEvent, StreamingQueryProgress

from include.flag_values import Endpoint
from spark_jobs.landing.storage import RemotePath, format_uri, parse_uri
from spark_jobs.streaming.foreach import build_foreach_writer
from spark_jobs.streaming.progress import ProgressListener, format_record
from spark_jobs.streaming.streams import _list_files, has_closed
from tests.conftest import eventually


def test_the_files_of_a_source_are_those_that_spark_does_not_ignore(tmp_path):
    names = ["_spark_metadata/0", ".a.json.crc", "b/.c/d.json", "b/_SUCCESS", "b/c.json", "e.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    assert list(_list_files(tmp_path)) == [tmp_path / "b" / "c.json", tmp_path / "e.json"]


@pytest.mark.skipif(
    not Path("/proc/net/tcp").is_file(), reason="Linux has the table of connections"
)
def test_a_socket_source_has_closed_when_its_server_has_ended_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = Endpoint("socket", f"127.0.0.1:{port}")
        assert not has_closed(source)
        with socket.create_connection(("127.0.0.1", port)):
            connection, _ = server.accept()
            assert not has_closed(source)
            connection.close()
            eventually(lambda: has_closed(source), 5, "the end of the connection")


def progress_event(batch, rows, late=0, observed=None):
    """What Spark tells of a batch of a query with state."""
    durations = {"addBatch": 500, "triggerExecution": 500}
    state = {"operatorName": "dedupe", "numRowsTotal": 10 + batch, "numRowsUpdated": 0, "allUpdatesTimeMs": 0,
             "numRowsRemoved": 0, "allRemovalsTimeMs": 0, "commitTimeMs": 0, "memoryUsedBytes": 0,
             "numRowsDroppedByWatermark": late, "numShufflePartitions": 1, "numStateStoreInstances": 1,
             "customMetrics": {}}  # fmt: skip
    progress = StreamingQueryProgress.fromJson({
        "id": "00000000-0000-0000-0000-000000000001", "runId": "00000000-0000-0000-0000-000000000002",
        "name": None, "timestamp": "2026-01-15T12:00:00.000Z", "batchId": batch, "batchDuration": 500,
        "durationMs": durations, "eventTime": {}, "stateOperators": [state], "sources": [],
        "sink": {"description": "console", "numOutputRows": -1, "metrics": {}},
        "numInputRows": rows, "inputRowsPerSecond": 2.0, "processedRowsPerSecond": 4.0,
        "observedMetrics": {"events": observed} if observed else {},
    })  # fmt: skip
    return QueryProgressEvent(progress)


def test_the_totals_of_a_run_are_the_sums_over_its_batches():
    records = []
    listener = ProgressListener(records.append)
    listener.onQueryProgress(progress_event(0, 5, late=1, observed={"good": 4, "bad": 1}))
    listener.onQueryProgress(progress_event(1, 0, late=2))  # a batch that only drops late rows
    listener.onQueryProgress(progress_event(2, 3, observed={"good": 1, "bad": 2}))
    assert [(record["batch"], record["rows"]) for record in records] == [(0, 5), (2, 3)]
    assert listener.compute_totals() == {
        "rows": 8, "batches": 2, "good": 5, "bad": 3, "late": 3, "state_rows": 12, "watermark": None,
        "rows_per_second": 8.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"batch": 3, "rows": 1}, "batch 3: 1 row"),
        ({"batch": 0, "rows": 1200, "bad": 2, "future": 1, "late": 3, "seconds": 0.84, "behind": 5000},
         "batch 0: 1,200 rows, 2 bad, 1 future, 3 late, 0.8 s, 5,000 waiting in Kafka"),
        ({"batch": 1, "rows": 2, "bad": 2, "late": 0, "bad_because": "ts is missing", "seconds": 2.0},
         "batch 1: 2 rows, 2 bad, because ts is missing, 2.0 s"),
    ],
)  # fmt: skip
def test_a_batch_is_printed_with_what_is_odd_about_it(record, text):
    assert format_record(record, "row") == text


@contextmanager
def http_server(status):
    """Run a server that answers every POST with `status`; yield its address and what it received."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            batch = (self.headers["Tidemark-Batch"], self.headers["Tidemark-Partition"])
            received.append((self.path, self.headers["Content-Type"], *batch, json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_the_http_sink_posts_a_row_with_its_batch_to_the_whole_address():
    with http_server(204) as (server, received):
        writer = build_foreach_writer(Endpoint("foreach", f"http://{server}/in?key=1"), "query")
        assert writer.open(2, 7)
        writer.process(Row(row='{"word": "tide"}'))
        writer.close(None)
    assert received == [("/in?key=1", "application/json", "7", "2", {"word": "tide"})]


def test_an_error_of_the_http_server_is_an_error_of_the_sink():
    with http_server(503) as (server, _):
        writer = build_foreach_writer(Endpoint("foreach", f"http://{server}"), "query")
        writer.open(0, 0)
        with pytest.raises(ConnectionError, match=f"foreach:http://{server} answered 503"):
            writer.process(Row(row="{}"))
        writer.close(None)


def test_an_https_address_is_not_sent_to_in_plain_text():
    with http_server(204) as (server, received):
        writer = build_foreach_writer(Endpoint("foreach", f"https://{server}/in"), "query")
        writer.open(0, 0)
        with pytest.raises(ConnectionError, match=f"foreach:https://{server}/in does not answer"):
            writer.process(Row(row="{}"))
        writer.close(None)
    assert received == []


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///lake/event_date=2026-01-15/a.parquet", Path("/lake/event_date=2026-01-15/a.parquet")),
        ("file:///lake/100%25%20%C3%A4/a.parquet", Path("/lake/100% ä/a.parquet")),
        ("s3a://bucket/lake/data/a.parquet", RemotePath("s3a://bucket/lake/data/a.parquet")),
        ("hdfs://host:8020/lake/data/a%20b.parquet", RemotePath("hdfs://host:8020/lake/data/a b.parquet")),
    ],
)  # fmt: skip
def test_a_uri_of_spark_is_a_path_here_or_in_a_store(uri, path):
    assert parse_uri(uri) == path
    assert format_uri(path) == uri
