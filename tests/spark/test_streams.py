"""The course's examples on folders of files: every message shape and trigger gives the same totals."""

import json
import signal
from collections import Counter
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from include.log_formats.line_batches import ReadBatches
from include.settings import PROJECT
from producers.clickstream.events import encode_batches, encode_rows, generate_events
from spark_jobs.streaming.graceful_shutdown import GracefulShutdown
from spark_jobs.transforms.access_log import select_requests, select_server_errors
from spark_jobs.transforms.clickstream import (
    ROW_DDL,
    count_good_and_bad,
    parse_clicks,
    total_by_minute,
    total_by_window,
)
from spark_jobs.transforms.word_count import count_words, split_words
from tests.builders import build_line
from tests.conftest import matrix_cases
from tests.documented_lines import NGINX

IMPRESSIONS_BY_MINUTE: Counter[int] = Counter()
for event in generate_events(600, 1):
    IMPRESSIONS_BY_MINUTE[datetime.fromtimestamp(event["ts"], UTC).minute] += event["Impressions"]


@pytest.fixture
def write_messages(tmp_path):
    """Write the events in a shape, one message per line; return the path of the folder."""

    def write_file(shape, *extra_lines):
        messages = (
            encode_rows(generate_events(600, 1))
            if shape == "rows"
            else encode_batches(generate_events(600, 1), 20)
        )
        (tmp_path / shape).mkdir()
        (tmp_path / shape / "a.json").write_bytes(b"\n".join([*messages, *extra_lines]))
        return str(tmp_path / shape)

    return write_file


def get_totals(rows):
    return {row.minute_bin: row["Total Impressions"] for row in rows.collect()}


@pytest.mark.parametrize("shape", ["rows", "batches"])
def test_both_message_shapes_give_the_same_totals(spark, write_messages, shape):
    parsed = parse_clicks(spark.read.text(write_messages(shape)), "text", shape)
    assert get_totals(total_by_minute(parsed)) == dict(IMPRESSIONS_BY_MINUTE)


@pytest.mark.parametrize(("by", "trigger", "shape"), [
    ("minute", "once", "rows"), ("window", "available-now", "batches"), ("window", "every 1 second", "rows"),
    *matrix_cases(("minute", "once", "batches"), ("window", "once", "rows"), ("window", "once", "batches"),
             ("minute", "available-now", "rows"), ("minute", "available-now", "batches"),
             ("window", "available-now", "rows"), ("minute", "every 1 second", "rows"),
             ("minute", "every 1 second", "batches"), ("window", "every 1 second", "batches")),
])  # fmt: skip
def test_a_stream_gives_the_rows_of_a_batch_with_every_trigger_and_shape(
    spark, job, write_messages, tmp_path, shape, trigger, by
):
    folder = write_messages(shape)
    code, output = job(
        "clickstream_totals", "--source", f"text:{folder}", "--sink", "memory:parity", "--by", by,
        "--shape", shape, "--trigger", trigger, "--run-seconds", 4, "--select", "SELECT 1",
    )  # fmt: skip
    assert code == 0, output
    events = parse_clicks(spark.read.text(folder), "text", shape)
    batch = total_by_minute(events) if by == "minute" else total_by_window(events, "1 hour")
    assert sorted(spark.table("parity").collect()) == sorted(batch.collect())
    assert "600 good, 0 bad, 0 future" in output


def test_parse_clicks_marks_bad_messages_where_from_json_gives_nulls(spark, write_messages):
    folder = write_messages(
        "batches", b"no json", b'{"Clicks": 1}', b"[]", b'[{"Clicks": "x", "ts": 1}]', b""
    )
    text = spark.read.text(folder)
    from_json_rows = text.select(F.from_json("value", ROW_DDL).alias("e")).select("e.*")
    assert from_json_rows.where("Impressions IS NOT NULL").count() == 0
    parsed = parse_clicks(text, "text", "batches")
    assert parsed.where("bad_reason IS NULL").count() == 600
    assert parsed.where("bad_reason IS NOT NULL").count() == 3, (
        "no JSON, no impressions, clicks that are no number"
    )
    assert get_totals(total_by_minute(parsed)) == dict(IMPRESSIONS_BY_MINUTE)


def test_good_and_bad_events_are_counted_while_they_are_read(spark, write_messages):
    from pyspark.sql import Observation

    text = spark.read.text(
        write_messages("rows", b"junk", b'{"Clicks": 1, "Impressions": "two", "ts": 3}')
    )
    observation = Observation("seen")
    parsed = parse_clicks(text, "text", "rows")
    parsed.observe(
        observation,
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
        F.count(F.lit(1)).alias("all"),
    ).collect()
    assert observation.get == {"bad": 2, "all": 602}
    assert count_good_and_bad(parsed).count() == 602


def test_totals_by_minute_mix_hours_and_totals_by_window_do_not(spark):
    rows = [(json.dumps({"Clicks": 0, "Impressions": 1, "ts": ts}),) for ts in (0, 3600, 3660)]
    parsed = parse_clicks(spark.createDataFrame(rows, "value STRING"), "socket", "rows")
    assert get_totals(total_by_minute(parsed)) == {0: 2, 1: 1}
    windows = total_by_window(parsed, "10 minutes").orderBy("minute_start")
    starts = windows.select(F.unix_timestamp("minute_start").alias("s"), "Total Impressions")
    assert [tuple(row) for row in starts.collect()] == [(0, 1), (3600, 1), (3660, 1)]


def test_words_are_split_at_any_whitespace_and_counted(spark):
    lines = spark.createDataFrame(
        [("the tide\tcomes  in ",), ("",), ("  the boats",)], "value STRING"
    )
    counts = {row.word: row["count"] for row in count_words(split_words(lines)).collect()}
    assert counts == {"the": 2, "tide": 1, "comes": 1, "in": 1, "boats": 1}


def test_watch_access_log_has_a_view_for_each_task_of_the_lab(spark, tmp_path):
    from spark_jobs.watch_access_log import COLUMNS, VIEWS

    lines = spark.createDataFrame(
        [(build_line(status=status),) for status in ("200", "404", "200")] + [("junk",)],
        "value STRING",
    )
    for read_batches in (ReadBatches(), None):
        requests = select_requests(lines, "socket", read_batches)
        assert VIEWS["parsed"](requests).columns == COLUMNS
        assert VIEWS["parsed"](requests).count() == 3
        assert [row.status for row in VIEWS["unsuccessful"](requests).collect()] == [404]
        counts = {row.status: row["count"] for row in VIEWS["by-status"](requests).collect()}
        assert counts == {200: 2, 404: 1}


CUSTOM_FORMAT = r"%h|%{sec}t|%r|%>s|%b"


def test_watch_access_log_reads_a_custom_format_and_masks_addresses(spark, job, tmp_path):
    (tmp_path / "in").mkdir()
    custom_line = "192.0.2.8|1431857103|GET /odd HTTP/1.1|503|7"
    (tmp_path / "in" / "log").write_text(
        f"{custom_line}\n{build_line(host='2001:db8::1:2')}\njunk\n"
    )
    flags = ["--source", f"text:{tmp_path / 'in'}", "--trigger", "available-now",
             "--sink", f"parquet:{tmp_path / 'out'}", "--checkpoint", tmp_path / "c"]  # fmt: skip
    code, output = job("watch_access_log", *flags, "--log-format", CUSTOM_FORMAT, "--anonymise", 1)
    assert code == 0, output
    rows = spark.read.parquet(str(tmp_path / "out")).collect()
    assert {(row.host, row.endpoint, row.status) for row in rows} == {
        ("192.0.2.0", "/odd", 503), ("2001:db8::", "/a", 200),
    }  # fmt: skip
    code, output = job("watch_access_log", *flags, "--log-format", "%h %Z")
    assert code == 2
    assert "--log-format '%h %Z'" in output


def test_server_errors_in_a_custom_format_are_routed_unchanged(spark):
    custom_line = "192.0.2.8|1431857103|GET /odd HTTP/1.1|503|7"
    json_line = json.dumps(NGINX | {"status": 502})
    lines = [
        custom_line,
        custom_line.replace("503", "200"),
        build_line(status="500"),
        build_line(),
        json_line,
    ]
    messages = spark.createDataFrame(
        [(b"k", "\n".join(lines).encode())], "key BINARY, value BINARY"
    )
    routed = {
        log_format: bytes(select_server_errors(messages, log_format).first().value).decode()
        for log_format in ("", CUSTOM_FORMAT)
    }
    known = [build_line(status="500"), json_line]
    assert routed[""].splitlines() == known
    assert routed[CUSTOM_FORMAT].splitlines() == [custom_line, *known]


def build_click_lines(*pairs):
    return "".join(json.dumps({"Clicks": 0, "Impressions": n, "ts": ts}) + "\n" for ts, n in pairs)


def test_windows_are_final_after_the_watermark_and_late_rows_are_counted(spark, job, tmp_path):
    import os

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    future = 4_000_000_000
    files = [
        build_click_lines((0, 1), (30, 2), (60, 4), (future, 1000)), build_click_lines((1300, 8)),
        build_click_lines((1301, 32)), build_click_lines((10, 16)), build_click_lines((2600, 64)),
    ]  # fmt: skip
    for n, text in enumerate(files):
        (folder / f"{n}.json").write_text(text)
        os.utime(folder / f"{n}.json", (1000 + n, 1000 + n))
    progress, manifest = tmp_path / "progress.jsonl", tmp_path / "manifest.json"
    code, output = job(
        "clickstream_totals", "--source", f"text:{folder}", "--sink", f"parquet:{out}", "--by",
        "window", "--output-mode", "append", "--trigger", "available-now", "--checkpoint",
        tmp_path / "c", "--max-files-per-trigger", 1, "--progress", progress,
        "--manifest", manifest, "--watermark", "10 minutes",
    )  # fmt: skip
    assert code == 0, output
    rows = spark.read.parquet(str(out)).selectExpr(
        "unix_timestamp(minute_start) AS at", "`Total Impressions` AS n"
    )
    # Spark drops late rows by the watermark of the batch before, so 16 is late only one batch after
    # the newest row. 2600 is in a window that is still open.
    assert sorted(map(tuple, rows.collect())) == [(0, 3), (60, 4), (1260, 40)]
    assert "1 late" in output
    assert "7 good, 0 bad, 1 future" in output
    totals = json.loads(manifest.read_text())["totals"]
    assert (totals["late"], totals["future"], totals["watermark"]) == (
        1,
        1,
        "1970-01-01T00:33:20.000Z",
    )
    lines = [json.loads(line) for line in progress.read_text().splitlines()]
    assert [line["rows"] for line in lines] == [4, 1, 1, 1, 1]
    assert sum(line["late"] for line in lines) == 1
    assert {"batch", "at", "rows_per_second_in", "rows_per_second", "seconds", "behind",
            "state_rows", "watermark"} <= lines[0].keys()  # fmt: skip


def test_progress_can_be_written_to_a_device_or_a_pipe(job, tmp_path):
    import os
    import threading

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    flags = ["word_count", "--source", f"text:{tmp_path / 'in'}", "--sink", "console", "--trigger",
             "available-now", "--progress"]  # fmt: skip
    assert job(*flags, "/dev/null")[0] == 0
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    code, output = job(*flags, tmp_path / "pipe")
    reader.join(20)
    assert code == 0, output
    assert json.loads(received[0])["rows"] == 1


def test_the_console_shows_no_table_for_a_batch_without_rows(job, tmp_path):
    import os

    (tmp_path / "in").mkdir()
    for n, text in enumerate(["\n", "a b a\n", "\n"]):
        (tmp_path / "in" / f"{n}.txt").write_text(text)
        os.utime(tmp_path / "in" / f"{n}.txt", (1000 + n, 1000 + n))
    code, output = job("word_count", "--source", f"text:{tmp_path / 'in'}", "--sink", "console",
                       "--trigger", "available-now", "--output-mode", "update",
                       "--max-files-per-trigger", 1)  # fmt: skip
    assert code == 0, output
    assert [line for line in output.splitlines() if line.startswith("Batch: ")] == ["Batch: 1"]
    assert "|a   |2    |" in output
    assert "read 3 lines in 3 batches" in output


def test_a_message_with_two_json_documents_is_bad(spark):
    document = '{"Clicks": 1, "Impressions": 2, "ts": 3, "campaign": "a {b} \\"c\\""}'
    rows = spark.createDataFrame(
        [(document,), (document + document,), (f"[{document}]",)], "value STRING"
    )
    parsed = parse_clicks(rows, "socket", "rows").select("bad_reason", "raw", "campaign").collect()
    assert [row.bad_reason for row in parsed] == [None, "no_event", "no_event"]
    assert parsed[0].campaign == 'a {b} "c"'
    assert parsed[1].raw == document + document
    arrays = spark.createDataFrame(
        [(f"[{document}]",), (f"[{document}][{document}]",)], "value STRING"
    )
    parsed = parse_clicks(arrays, "socket", "batches").select("bad_reason").collect()
    assert [row.bad_reason for row in parsed] == [None, "no_event"]


def test_the_sqlite_sink_stores_each_batch_once(spark, job, tmp_path):
    import shutil
    import sqlite3

    folder, db = tmp_path / "in", tmp_path / "db" / "words.db"
    folder.mkdir()
    (folder / "a.txt").write_text("a b a\n")
    flags = ["--source", f"text:{folder}", "--sink", f"foreach:sqlite:{db}", "--checkpoint",
             tmp_path / "c", "--trigger", "available-now"]  # fmt: skip
    assert job("word_count", *flags)[0] == 0
    (folder / "b.txt").write_text("b c\n")
    assert job("word_count", *flags)[0] == 0

    def read_rows(table):
        with sqlite3.connect(db) as connection:
            rows = connection.execute(f"SELECT row FROM {table}").fetchall()
        return sorted((row["word"], row["count"]) for row in (json.loads(r) for (r,) in rows))

    newest = [("a", 2), ("b", 2), ("c", 1)]
    assert read_rows("latest") == newest
    assert len(read_rows("rows")) == 5
    # As after a kill between the write and the checkpoint's commit: Spark repeats the batch.
    (tmp_path / "c" / "commits" / "1").unlink()
    (tmp_path / "c" / "commits" / ".1.crc").unlink()
    assert job("word_count", *flags)[0] == 0
    assert (len(read_rows("rows")), read_rows("latest")) == (5, newest)
    # Batch 0 of a new query is a different batch.
    shutil.rmtree(tmp_path / "c")
    assert job("word_count", *flags)[0] == 0
    assert len(read_rows("rows")) == 8


@pytest.mark.parametrize("status_code", [204, 500])
def test_the_http_sink_posts_rows_and_an_error_response_fails_the_job(job, tmp_path, status_code):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status_code)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    code, output = job(
        "word_count", "--source", f"text:{tmp_path / 'in'}", "--checkpoint", tmp_path / "c",
        "--sink", f"foreach:http://127.0.0.1:{server.server_port}/rows", "--trigger", "once",
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    if status_code == 204:
        assert (code, sorted(row["word"] for row in received)) == (0, ["a", "b"]), output
    else:
        assert code == 1
        assert "answered 500" in output
        assert "correct the address" in output


def test_the_documentation_shows_the_totals_of_the_events():
    page = (PROJECT / "docs" / "streams.md").read_text()
    for minute in range(5):
        assert f"|{minute:<10}|{IMPRESSIONS_BY_MINUTE[minute]:<17}|" in page


def test_a_ctrl_c_that_both_python_and_the_jvm_see_counts_once(spark):
    """A terminal sends the signal to both processes, and either can see it first."""
    with GracefulShutdown(spark, None, None) as shutdown:
        # As the JVM's handler does. The JVM of the tests ignores the signal.
        shutdown._request_stop("Ctrl-C")
        signal.raise_signal(signal.SIGINT)
        assert shutdown.reason == "Ctrl-C"
        with pytest.raises(KeyboardInterrupt):  # the second does not wait for the batch
            signal.raise_signal(signal.SIGINT)
