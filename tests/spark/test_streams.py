"""The course's examples on folders of files: the same totals however they travel and fire."""

import json
import signal
from collections import Counter
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from include.settings import PROJECT
from producers.clickstream.events import encode_batches, encode_rows, generate_events
from spark_jobs.streaming.graceful_shutdown import GracefulShutdown
from spark_jobs.transforms.access_log import only_server_errors, parse_lines
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

EXPECTED: Counter[int] = Counter()
for event in generate_events(600, 1):
    EXPECTED[datetime.fromtimestamp(event["ts"], UTC).minute] += event["Impressions"]


@pytest.fixture
def messages(tmp_path):
    """A folder with the messages of a shape, one a line; give its path."""

    def written(shape, *others):
        made = (
            encode_rows(generate_events(600, 1))
            if shape == "rows"
            else encode_batches(generate_events(600, 1), 20)
        )
        (tmp_path / shape).mkdir()
        (tmp_path / shape / "a.json").write_bytes(b"\n".join([*made, *others]))
        return str(tmp_path / shape)

    return written


def totals(rows):
    return {row.minute_bin: row["Total Impressions"] for row in rows.collect()}


@pytest.mark.parametrize("shape", ["rows", "batches"])
def test_both_shapes_give_the_totals_of_the_events(spark, messages, shape):
    found = parse_clicks(spark.read.text(messages(shape)), "text", shape)
    assert totals(total_by_minute(found)) == dict(EXPECTED)


@pytest.mark.parametrize(("by", "trigger", "shape"), [
    ("minute", "once", "rows"), ("window", "available-now", "batches"), ("window", "every 1 second", "rows"),
    *matrix_cases(("minute", "once", "batches"), ("window", "once", "rows"), ("window", "once", "batches"),
             ("minute", "available-now", "rows"), ("minute", "available-now", "batches"),
             ("window", "available-now", "rows"), ("minute", "every 1 second", "rows"),
             ("minute", "every 1 second", "batches"), ("window", "every 1 second", "batches")),
])  # fmt: skip
def test_a_stream_gives_the_rows_of_the_batch_whatever_its_trigger_and_shape(
    spark, job, messages, tmp_path, shape, trigger, by
):
    folder = messages(shape)
    code, said = job(
        "clickstream_totals", "--source", f"text:{folder}", "--sink", "memory:parity", "--by", by,
        "--shape", shape, "--trigger", trigger, "--run-seconds", 4, "--select", "SELECT 1",
    )  # fmt: skip
    assert code == 0, said
    events_ = parse_clicks(spark.read.text(folder), "text", shape)
    batch = total_by_minute(events_) if by == "minute" else total_by_window(events_, "1 hour")
    assert sorted(spark.table("parity").collect()) == sorted(batch.collect())
    assert "600 good, 0 bad, 0 future" in said


def test_the_wrong_schema_gives_nulls_without_a_word_and_ours_says_so(spark, messages):
    folder = messages(
        "batches", b"no json", b'{"Clicks": 1}', b"[]", b'[{"Clicks": "x", "ts": 1}]', b""
    )
    text = spark.read.text(folder)
    wrong = text.select(F.from_json("value", ROW_DDL).alias("e")).select("e.*")
    assert wrong.where("Impressions IS NOT NULL").count() == 0
    found = parse_clicks(text, "text", "batches")
    assert found.where("bad_reason IS NULL").count() == 600
    assert found.where("bad_reason IS NOT NULL").count() == 3, (
        "no JSON, no impressions, clicks that are no number"
    )
    assert totals(total_by_minute(found)) == dict(EXPECTED)


def test_events_are_counted_good_and_bad_while_they_pass(spark, messages):
    from pyspark.sql import Observation

    text = spark.read.text(
        messages("rows", b"junk", b'{"Clicks": 1, "Impressions": "two", "ts": 3}')
    )
    seen = Observation("seen")
    found = parse_clicks(text, "text", "rows")
    found.observe(
        seen,
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
        F.count(F.lit(1)).alias("all"),
    ).collect()
    assert seen.get == {"bad": 2, "all": 602}
    assert count_good_and_bad(found).count() == 602


def test_a_minute_of_the_hour_mixes_hours_and_a_window_does_not(spark):
    rows = [(json.dumps({"Clicks": 0, "Impressions": 1, "ts": ts}),) for ts in (0, 3600, 3660)]
    found = parse_clicks(spark.createDataFrame(rows, "value STRING"), "socket", "rows")
    assert totals(total_by_minute(found)) == {0: 2, 1: 1}
    windows = total_by_window(found, "10 minutes").orderBy("minute_start")
    starts = windows.select(F.unix_timestamp("minute_start").alias("s"), "Total Impressions")
    assert [tuple(row) for row in starts.collect()] == [(0, 1), (3600, 1), (3660, 1)]


def test_words_are_split_at_any_space_and_counted(spark):
    lines = spark.createDataFrame(
        [("the tide\tcomes  in ",), ("",), ("  the boats",)], "value STRING"
    )
    counts = {row.word: row["count"] for row in count_words(split_words(lines)).collect()}
    assert counts == {"the": 2, "tide": 1, "comes": 1, "in": 1, "boats": 1}


def test_the_labs_tasks_are_views_of_the_same_lines(spark, tmp_path):
    from spark_jobs.watch_access_log import COLUMNS, VIEWS

    lines = spark.createDataFrame(
        [(build_line(status=status),) for status in ("200", "404", "200")] + [("junk",)],
        "line STRING",
    )
    lines = parse_lines(lines).where("bad_reason IS NULL")
    assert VIEWS["parsed"](lines).columns == COLUMNS
    assert VIEWS["parsed"](lines).count() == 3
    assert [row.status for row in VIEWS["unsuccessful"](lines).collect()] == [404]
    assert {r.status: r["count"] for r in VIEWS["by-status"](lines).collect()} == {200: 2, 404: 1}


OWN = r"%h|%{sec}t|%r|%>s|%b"


def test_a_sites_own_format_is_read_and_its_addresses_hidden_while_one_watches(
    spark, job, tmp_path
):
    (tmp_path / "in").mkdir()
    odd = "192.0.2.8|1431857103|GET /odd HTTP/1.1|503|7"
    (tmp_path / "in" / "log").write_text(f"{odd}\n{build_line(host='2001:db8::1:2')}\njunk\n")
    flags = ["--source", f"text:{tmp_path / 'in'}", "--trigger", "available-now",
             "--sink", f"parquet:{tmp_path / 'out'}", "--checkpoint", tmp_path / "c"]  # fmt: skip
    code, said = job("watch_access_log", *flags, "--log-format", OWN, "--anonymise", 1)
    assert code == 0, said
    found = spark.read.parquet(str(tmp_path / "out")).collect()
    assert {(row.host, row.endpoint, row.status) for row in found} == {
        ("192.0.2.0", "/odd", 503), ("2001:db8::", "/a", 200),
    }  # fmt: skip
    code, said = job("watch_access_log", *flags, "--log-format", "%h %Z")
    assert code == 2
    assert "--log-format '%h %Z'" in said


def test_errors_in_a_sites_own_format_are_routed_as_they_came(spark):
    odd = "192.0.2.8|1431857103|GET /odd HTTP/1.1|503|7"
    lines = [
        odd,
        odd.replace("503", "200"),
        build_line(status="500"),
        build_line(),
        '{"status": 502}',
    ]
    messages = spark.createDataFrame([("k", "\n".join(lines))], "key STRING, value STRING")
    routed = {own: only_server_errors(messages, own).first().value for own in ("", OWN)}
    known = [build_line(status="500"), '{"status": 502}']
    assert routed[""].splitlines() == known
    assert routed[OWN].splitlines() == [odd, *known]


def clicks(*pairs):
    return "".join(json.dumps({"Clicks": 0, "Impressions": n, "ts": ts}) + "\n" for ts, n in pairs)


def test_windows_are_final_when_the_watermark_has_passed_and_late_rows_are_counted(
    spark, job, tmp_path
):
    import os

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    future = 4_000_000_000
    files = [
        clicks((0, 1), (30, 2), (60, 4), (future, 1000)), clicks((1300, 8)),
        clicks((1301, 32)), clicks((10, 16)), clicks((2600, 64)),
    ]  # fmt: skip
    for n, text in enumerate(files):
        (folder / f"{n}.json").write_text(text)
        os.utime(folder / f"{n}.json", (1000 + n, 1000 + n))
    progress, manifest = tmp_path / "progress.jsonl", tmp_path / "manifest.json"
    code, said = job(
        "clickstream_totals", "--source", f"text:{folder}", "--sink", f"parquet:{out}", "--by",
        "window", "--output-mode", "append", "--trigger", "available-now", "--checkpoint",
        tmp_path / "c", "--max-files-per-trigger", 1, "--progress", progress,
        "--manifest", manifest, "--watermark", "10 minutes",
    )  # fmt: skip
    assert code == 0, said
    rows = spark.read.parquet(str(out)).selectExpr(
        "unix_timestamp(minute_start) AS at", "`Total Impressions` AS n"
    )
    # Spark drops by the watermark of the batch before: 16 is late a batch after the newest.
    # 2600 is in a window that is not over.
    assert sorted(map(tuple, rows.collect())) == [(0, 3), (60, 4), (1260, 40)]
    assert "1 late" in said
    assert "7 good, 0 bad, 1 future" in said
    told = json.loads(manifest.read_text())["totals"]
    assert (told["late"], told["future"], told["watermark"]) == (1, 1, "1970-01-01T00:33:20.000Z")
    lines = [json.loads(line) for line in progress.read_text().splitlines()]
    assert [line["rows"] for line in lines] == [4, 1, 1, 1, 1]
    assert sum(line["late"] for line in lines) == 1
    assert {"batch", "at", "rows_per_second_in", "rows_per_second", "seconds", "behind",
            "state_rows", "watermark"} <= lines[0].keys()  # fmt: skip


def test_progress_may_go_to_what_is_no_file(job, tmp_path):
    import os
    import threading

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    flags = ["word_count", "--source", f"text:{tmp_path / 'in'}", "--sink", "console", "--trigger",
             "available-now", "--progress"]  # fmt: skip
    assert job(*flags, "/dev/null")[0] == 0
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    code, said = job(*flags, tmp_path / "pipe")
    reader.join(20)
    assert code == 0, said
    assert json.loads(read[0])["rows"] == 1


def test_the_console_shows_no_table_for_a_batch_without_rows(job, tmp_path):
    import os

    (tmp_path / "in").mkdir()
    for n, text in enumerate(["\n", "a b a\n", "\n"]):
        (tmp_path / "in" / f"{n}.txt").write_text(text)
        os.utime(tmp_path / "in" / f"{n}.txt", (1000 + n, 1000 + n))
    code, said = job("word_count", "--source", f"text:{tmp_path / 'in'}", "--sink", "console",
                     "--trigger", "available-now", "--output-mode", "update",
                     "--max-files-per-trigger", 1)  # fmt: skip
    assert code == 0, said
    assert [line for line in said.splitlines() if line.startswith("Batch: ")] == ["Batch: 1"]
    assert "|a   |2    |" in said
    assert "read 3 lines in 3 batches" in said


def test_a_message_of_two_documents_is_bad_and_not_half_read(spark):
    one = '{"Clicks": 1, "Impressions": 2, "ts": 3, "campaign": "a {b} \\"c\\""}'
    rows = spark.createDataFrame([(one,), (one + one,), (f"[{one}]",)], "value STRING")
    found = parse_clicks(rows, "socket", "rows").select("bad_reason", "raw", "campaign").collect()
    assert [row.bad_reason for row in found] == [None, "no_event", "no_event"]
    assert found[0].campaign == 'a {b} "c"'
    assert found[1].raw == one + one
    arrays = spark.createDataFrame([(f"[{one}]",), (f"[{one}][{one}]",)], "value STRING")
    found = parse_clicks(arrays, "socket", "batches").select("bad_reason").collect()
    assert [row.bad_reason for row in found] == [None, "no_event"]


def test_rows_are_kept_in_sqlite_once_a_batch(spark, job, tmp_path):
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

    def rows(table):
        with sqlite3.connect(db) as connection:
            found = connection.execute(f"SELECT row FROM {table}").fetchall()
        return sorted((row["word"], row["count"]) for row in (json.loads(r) for (r,) in found))

    newest = [("a", 2), ("b", 2), ("c", 1)]
    assert rows("latest") == newest
    assert len(rows("rows")) == 5
    # As killed after the batch was kept and before the checkpoint said so: Spark repeats it.
    (tmp_path / "c" / "commits" / "1").unlink()
    (tmp_path / "c" / "commits" / ".1.crc").unlink()
    assert job("word_count", *flags)[0] == 0
    assert (len(rows("rows")), rows("latest")) == (5, newest)
    # Another query's batch 0 is another batch.
    shutil.rmtree(tmp_path / "c")
    assert job("word_count", *flags)[0] == 0
    assert len(rows("rows")) == 8


@pytest.mark.parametrize("answer", [204, 500])
def test_rows_are_posted_to_an_address_and_a_refusal_fails_the_job(job, tmp_path, answer):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    code, said = job(
        "word_count", "--source", f"text:{tmp_path / 'in'}", "--checkpoint", tmp_path / "c",
        "--sink", f"foreach:http://127.0.0.1:{server.server_port}/rows", "--trigger", "once",
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    if answer == 204:
        assert (code, sorted(row["word"] for row in got)) == (0, ["a", "b"]), said
    else:
        assert code == 1
        assert "answered 500" in said
        assert "correct the address" in said


def test_the_page_shows_the_totals_that_the_events_have():
    page = (PROJECT / "docs" / "streams.md").read_text()
    for minute in range(5):
        assert f"|{minute:<10}|{EXPECTED[minute]:<17}|" in page


def test_one_ctrl_c_is_one_though_the_jvm_tells_of_it_first(spark):
    """A terminal sends it to both processes, and either may be the first to see it."""
    with GracefulShutdown(spark, None, None) as lease:
        lease._request_stop(
            "Ctrl-C"
        )  # as the JVM's handler does; this test's own JVM ignores the signal
        signal.raise_signal(signal.SIGINT)
        assert lease.reason == "Ctrl-C"
        with pytest.raises(KeyboardInterrupt):  # the second does not wait for the batch
            signal.raise_signal(signal.SIGINT)
