"""The course's examples on a real broker or a real socket, and their errors when they cannot run."""

import re
import socketserver
import subprocess
import sys
import threading
import time
from itertools import accumulate

import pytest
from kafka import KafkaConsumer

from include.settings import PROJECT
from producers.clickstream.events import encode_batches, encode_rows, generate_events
from producers.clickstream.publish import publish_messages
from producers.kafka_client import ensure_topics
from tests.builders import build_line
from tests.conftest import eventually, kill_process_tree
from tests.spark.test_streams import IMPRESSIONS_BY_MINUTE


def parse_last_table(text):
    """Return the rows of the last table that a job printed, as tuples of texts."""
    rows = re.findall(r"^\|(.+)\|$", text.rpartition("-+\n")[0].rpartition("-+\n")[2], re.MULTILINE)
    return [tuple(cell.strip() for cell in row.split("|")) for row in rows]


@pytest.mark.parametrize("shape", ["rows", "batches"])
def test_the_clickstream_is_totalled_by_minute_from_kafka(broker, topic, job, shape):
    messages = (
        encode_rows(generate_events(600, 1))
        if shape == "rows"
        else encode_batches(generate_events(600, 1), 20)
    )
    message_count = publish_messages([*messages, b"not an event"], broker.kafka_servers, topic)
    code, output = job(
        "clickstream_totals", "--source", f"kafka:{topic}", "--servers", broker.kafka_servers,
        "--sink", "memory:impressions_minute_bin", "--trigger", "available-now", "--shape", shape,
        "--select", "SELECT * FROM impressions_minute_bin ORDER BY minute_bin",
    )  # fmt: skip
    assert code == 0, output
    assert f"read {message_count:,} messages in 1 batch; 600 good, 1 bad, 0 future" in output
    assert {int(minute): int(total) for minute, total in parse_last_table(output)} == dict(
        IMPRESSIONS_BY_MINUTE
    )


def test_words_from_a_socket_are_counted_on_the_console(job, tmp_path):
    (tmp_path / "words.txt").write_text("the tide comes in\nthe tide goes out\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "producers.line_server", str(tmp_path / "words.txt"), "--port", "0"],
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = eventually(
            lambda: server.stderr.readline().strip().rpartition(":")[2], 20, "the port"
        )
        code, output = job("word_count", "--source", f"socket:127.0.0.1:{port}", "--sink", "console",
                           "--run-seconds", 12)  # fmt: skip
        assert code == 0, output
        tables, progress = output.partition("batch 1: ")[::2]
        # Spark begins with a batch without rows, and its own console shows it as an empty table.
        assert tables.startswith(
            f"{'-' * 43}\nBatch: 1\n{'-' * 43}\n+-----+-----+\n|word |count|\n"
        )
        assert {"the": "2", "tide": "2", "out": "1"}.items() <= dict(
            parse_last_table(tables)
        ).items()
        assert re.match(r"2 lines, [\d.]+ s\n", progress)
        assert "word_count: read 2 lines in 1 batch" in output
        assert "{" not in output
        assert server.wait(20) == 0
    finally:
        kill_process_tree(server.pid)


@pytest.mark.parametrize(
    ("name", "flags", "code", "message"),
    [
        ("word_count", ["--source", "socket:127.0.0.1:1", "--sink", "console"], 1,
         "./tidemark serve-lines"),
        ("word_count", ["--source", "rate:5", "--sink", "console", "--trigger", "once"], 2,
         "use every 5 seconds"),
        ("word_count", ["--source", "socket:h:1", "--sink", "console", "--output-mode", "append"], 2,
         "use complete or update"),
        ("clickstream_totals", ["--source", "text:/nowhere", "--sink", "console"], 2,
         "there is no folder /nowhere"),
        ("route_errors", ["--source", "text:{tmp}", "--sink", "kafka:x", "--servers", "127.0.0.1:1",
                          "--checkpoint", "{tmp}/c"], 75, "no Kafka broker answers"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_run_gives_a_clear_error_within_thirty_seconds(
    job, tmp_path, name, flags, code, message
):
    started = time.monotonic()
    exit_code, output = job(name, *[flag.format(tmp=tmp_path) for flag in flags])
    assert exit_code == code, output[-2000:]
    assert message in " ".join(output.strip().splitlines()[-2:])
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"the tide\n", None])
def test_a_port_that_is_not_a_kafka_broker_is_named_in_the_error(job, reply):
    class Server(socketserver.BaseRequestHandler):
        def handle(self):
            if reply:
                self.request.sendall(reply)
            self.request.recv(1000)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        code, output = job(
            "word_count", "--source", "kafka:x", "--servers", address, "--sink", "console"
        )
        server.shutdown()
    assert code == 75, output
    assert f"{address} (accepts connections but is no Kafka broker)" in output.splitlines()[-1]


def test_a_misspelled_topic_is_refused_with_the_topic_that_was_meant(job, broker, topic):
    misspelled = topic.replace("meant", "maent")
    code, output = job("word_count", "--source", f"kafka:{misspelled}", "--servers", broker.kafka_servers,
                       "--sink", "console")  # fmt: skip
    assert code == 2
    assert output.startswith(f"word_count: topic '{misspelled}': the topic does not exist at ")
    assert f"which has {topic}" in output
    assert f"create it with `./tidemark topics {misspelled}`" in output


def test_a_missing_sink_topic_is_reported_within_thirty_seconds(job, broker, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_text(build_line(status="500") + "\n")
    started = time.monotonic()
    code, output = job("route_errors", "--source", f"text:{tmp_path / 'in'}", "--sink", "kafka:no-such",
                       "--servers", broker.kafka_servers, "--checkpoint", tmp_path / "c")  # fmt: skip
    assert code == 1
    reason, remedy = output.strip().splitlines()[-2:]
    assert re.match("route_errors: .*[Tt]opic no-such not present", reason)
    assert "the topic does not exist" in remedy
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", output), "ids of no use to a reader"
    assert time.monotonic() - started < 30


def test_rows_of_the_continuous_trigger_are_counted(job, tmp_path):
    """Reads from a socket. The test of every trigger reads from Kafka."""
    finished = threading.Event()

    class Server(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall("".join(f"{line}\n" for line in LAB_LINES[:5]).encode())
            finished.wait(60)

    def stop_after_first_rows():
        eventually((tmp_path / "progress").exists, 90, "an epoch with rows")
        (tmp_path / "stop").touch()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        for target in (server.serve_forever, stop_after_first_rows):
            threading.Thread(target=target, daemon=True).start()
        code, output = job("watch_access_log", "--source", f"socket:127.0.0.1:{server.server_address[1]}",
                           "--sink", "memory:continuous", "--trigger", "continuous 1 second",
                           "--stop-file", tmp_path / "stop", "--run-seconds", 90,
                           "--progress", tmp_path / "progress")  # fmt: skip
        finished.set()
        server.shutdown()
    assert code == 0, output
    assert "watch_access_log: read 5 lines in " in output


def test_a_closed_socket_that_cannot_be_reopened_fails_the_job(job, tmp_path):
    """Spark alone takes the end of the lines for a pause and waits forever."""
    import socket

    server = socket.create_server(("127.0.0.1", 0))

    def serve_once():
        reader, _ = server.accept()
        reader.sendall(b"a b a\n")
        time.sleep(1)
        reader.close()
        server.close()

    threading.Thread(target=serve_once, daemon=True).start()
    source = f"socket:127.0.0.1:{server.getsockname()[1]}"
    code, output = job("word_count", "--source", source, "--sink", "memory:words", "--run-seconds", 20,
                       "--trigger", "every 1 second")  # fmt: skip
    assert code == 1, output
    assert "has closed" in output
    assert ("a", "2") in parse_last_table(output)


def test_a_checkpoint_of_another_query_is_refused(job, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    flags = ["--source", f"text:{tmp_path / 'in'}", "--checkpoint", tmp_path / "c",
             "--sink", f"foreach:sqlite:{tmp_path / 'x.db'}", "--trigger", "once"]  # fmt: skip
    assert job("word_count", *flags)[0] == 0
    code, output = job("route_errors", *flags)
    assert code == 2
    assert "belongs to another query, with the job 'word_count'" in output
    code, output = job("word_count", *flags, "--output-mode", "update")
    assert (code, "the output mode 'complete', not 'update'" in output) == (2, True)
    # The checkpoint of a landing or of another program has no such file.
    (tmp_path / "c" / "query.json").unlink()
    code, output = job("word_count", *flags)
    assert (code, "was started by an unknown query" in output) == (2, True)


@pytest.fixture
def errors_topic(broker, topic):
    name = f"{topic}-errors"[:200]
    ensure_topics(broker.kafka_servers, [name], partitions=1, replication=1)
    return name


def read_topic(broker, topic):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=broker.kafka_servers, auto_offset_reset="earliest",
        enable_auto_commit=False, consumer_timeout_ms=3000,
    )  # fmt: skip
    messages = [(record.key, record.value) for record in consumer]
    consumer.close()
    return messages


@pytest.mark.parametrize("trigger", ["available-now", "real-time 5 seconds"])
def test_server_errors_are_routed_and_a_second_run_continues(
    broker, topic, errors_topic, job, tmp_path, trigger
):
    lines = [build_line(status=status, request=f"GET /{n} HTTP/1.1") for n, status in enumerate(
        ["200", "500", "404", "503", "200", "599"])]  # fmt: skip
    forged = build_line(request='GET /x\\" 500 1 HTTP/1.1', status="200")
    four_lines = "\n".join([lines[0], lines[1], lines[3], forged]).encode()
    messages = [four_lines, lines[2].encode(), lines[5].encode(), b"junk", b"\xff 500 1"]
    publish_messages(messages, broker.kafka_servers, topic)
    flags = ["--servers", broker.kafka_servers, "--source", f"kafka:{topic}",
             "--sink", f"kafka:{errors_topic}", "--checkpoint", str(tmp_path / "checkpoint"),
             "--trigger", trigger]  # fmt: skip
    time_limit = [] if trigger == "available-now" else ["--run-seconds", "8"]
    expected = {f"{lines[1]}\n{lines[3]}".encode(), lines[5].encode()}
    code, output = job("route_errors", *flags, *time_limit)
    assert code == 0, output[-3000:]
    assert {value for _, value in read_topic(broker, errors_topic)} == expected
    # The job continues where it stopped, and routes nothing again.
    publish_messages([build_line(status="502").encode()], broker.kafka_servers, topic)
    code, output = job("route_errors", *flags, *time_limit)
    assert code == 0, output[-3000:]
    routed = [value for _, value in read_topic(broker, errors_topic)]
    assert set(routed) == expected | {build_line(status="502").encode()}
    assert "route_errors: read 1 message in 1 batch" in output
    if trigger == "available-now":
        assert len(routed) == 3


LAB_LINES = [build_line(status=status, host=f"192.0.2.{n}") for n, status in enumerate(
    ["200", "404", "200", "500", "404", "304"])]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--show", "by-status", "--output-mode", "complete", "--sink", "memory:counts",
          "--select", "SELECT status, count FROM counts ORDER BY status"],
         [("200", "2"), ("304", "1"), ("404", "2"), ("500", "1")]),
        (["--show", "unsuccessful", "--sink", "memory:unsuccess_df", "--select-every", "4",
          "--select", "SELECT host, status FROM unsuccess_df ORDER BY host"],
         [("192.0.2.1", "404"), ("192.0.2.3", "500"), ("192.0.2.4", "404"), ("192.0.2.5", "304")]),
    ],
    ids=["task 3", "task 4"],
)  # fmt: skip
def test_the_tasks_of_the_lab_run_on_a_live_topic(broker, topic, job, flags, expected):
    publish_messages(["\n".join([*LAB_LINES[:4], "junk"]).encode(), "\n".join(LAB_LINES[4:]).encode()],
                     broker.kafka_servers, topic)  # fmt: skip
    code, output = job("watch_access_log", "--source", f"kafka:{topic}",
                       "--servers", broker.kafka_servers, "--trigger", "every 1 second",
                       "--run-seconds", 7, *flags)  # fmt: skip
    assert code == 0, output[-3000:]
    assert parse_last_table(output) == expected
    assert "watch_access_log: read 2 messages in 1 batch" in output


def test_every_trigger_routes_the_same_rows_as_a_batch(spark, broker, topic, job, tmp_path):
    """Compares, row by row, what each trigger routes with a batch of the same code."""
    from producers.access_log.log_file import Line
    from producers.access_log.produce import produce_lines
    from spark_jobs.transforms.access_log import select_server_errors

    texts = [build_line(status=str(200 + n % 4 * 100), size=str(n)).encode() for n in range(2000)]
    starts = accumulate((len(text) + 1 for text in texts), initial=0)
    lines = (Line(start, text, len(text) + 1) for start, text in zip(starts, texts, strict=False))
    produce_lines(lines, "log", servers=broker.kafka_servers, topic=topic,
                  ledgers=tmp_path / "ledger", lines_per_message=7)  # fmt: skip

    def read_batch(name):
        reader = spark.read.format("kafka").option("kafka.bootstrap.servers", broker.kafka_servers)
        return reader.option("subscribe", name).load().select("key", "value")

    def collect_pairs(rows):
        return sorted((bytes(row.key), bytes(row.value, "utf8") if isinstance(row.value, str)
                       else bytes(row.value)) for row in rows.collect())  # fmt: skip

    expected = collect_pairs(select_server_errors(read_batch(topic)))
    assert len(expected) > 200
    for number, trigger in enumerate(
        ["once", "available-now", "every 1 second", "continuous 1 second", "real-time 5 seconds"]
    ):
        sink_topic = f"parity-{number}"
        ensure_topics(broker.kafka_servers, [sink_topic], partitions=1, replication=1)
        time_limit = ["--run-seconds", 8] if " " in trigger else []
        code, output = job("route_errors", "--servers", broker.kafka_servers, "--source",
                           f"kafka:{topic}", "--sink", f"kafka:{sink_topic}", "--trigger", trigger,
                           "--checkpoint", tmp_path / sink_topic, *time_limit)  # fmt: skip
        assert code == 0, output[-2000:]
        assert collect_pairs(read_batch(sink_topic)) == expected, trigger
