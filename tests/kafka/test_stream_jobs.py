"""The course's examples on a real broker or a real socket, and what is said when they cannot run."""

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
from tests.spark.test_streams import EXPECTED


def shown(text):
    """The rows of the last table that a job printed, as tuples of texts."""
    rows = re.findall(r"^\|(.+)\|$", text.rpartition("-+\n")[0].rpartition("-+\n")[2], re.MULTILINE)
    return [tuple(cell.strip() for cell in row.split("|")) for row in rows]


@pytest.mark.parametrize("shape", ["rows", "batches"])
def test_the_clickstream_is_totalled_by_minute_from_kafka(broker, topic, job, shape):
    made = (
        encode_rows(generate_events(600, 1))
        if shape == "rows"
        else encode_batches(generate_events(600, 1), 20)
    )
    sent = publish_messages([*made, b"not an event"], broker.kafka_servers, topic)
    code, said = job(
        "clickstream_totals", "--source", f"kafka:{topic}", "--servers", broker.kafka_servers,
        "--sink", "memory:impressions_minute_bin", "--trigger", "available-now", "--shape", shape,
        "--select", "SELECT * FROM impressions_minute_bin ORDER BY minute_bin",
    )  # fmt: skip
    assert code == 0, said
    assert f"read {sent:,} messages in 1 batch; 600 good, 1 bad, 0 future" in said
    assert {int(minute): int(total) for minute, total in shown(said)} == dict(EXPECTED)


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
        code, said = job("word_count", "--source", f"socket:127.0.0.1:{port}", "--sink", "console",
                         "--run-seconds", 12)  # fmt: skip
        assert code == 0, said
        tables, progress = said.partition("batch 1: ")[::2]
        # Spark begins with a batch without rows, and its own console shows it as an empty table.
        assert tables.startswith(
            f"{'-' * 43}\nBatch: 1\n{'-' * 43}\n+-----+-----+\n|word |count|\n"
        )
        assert {"the": "2", "tide": "2", "out": "1"}.items() <= dict(shown(tables)).items()
        assert re.match(r"2 lines, [\d.]+ s\n", progress)
        assert "word_count: read 2 lines in 1 batch" in said
        assert "{" not in said
        assert server.wait(20) == 0
    finally:
        kill_process_tree(server.pid)


@pytest.mark.parametrize(
    ("name", "flags", "code", "says"),
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
def test_what_cannot_run_ends_in_one_sentence_within_thirty_seconds(
    job, tmp_path, name, flags, code, says
):
    started = time.monotonic()
    found, said = job(name, *[flag.format(tmp=tmp_path) for flag in flags])
    assert found == code, said[-2000:]
    assert says in " ".join(said.strip().splitlines()[-2:])
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"the tide\n", None])
def test_a_port_that_is_no_broker_is_said_by_its_name(job, answer):
    class Server(socketserver.BaseRequestHandler):
        def handle(self):
            if answer:
                self.request.sendall(answer)
            self.request.recv(1000)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"127.0.0.1:{server.server_address[1]}"
        code, said = job("word_count", "--source", "kafka:x", "--servers", at, "--sink", "console")
        server.shutdown()
    assert code == 75, said
    assert f"{at} (accepts connections but is no Kafka broker)" in said.splitlines()[-1]


def test_a_wrong_topic_is_named_with_the_one_that_was_meant(job, broker, topic):
    wrong = topic.replace("meant", "maent")
    code, said = job("word_count", "--source", f"kafka:{wrong}", "--servers", broker.kafka_servers,
                     "--sink", "console")  # fmt: skip
    assert code == 2
    assert said.startswith(f"word_count: topic '{wrong}': the topic does not exist at ")
    assert f"which has {topic}" in said
    assert f"create it with `./tidemark topics {wrong}`" in said


def test_a_missing_topic_to_write_is_said_within_thirty_seconds(job, broker, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_text(build_line(status="500") + "\n")
    started = time.monotonic()
    code, said = job("route_errors", "--source", f"text:{tmp_path / 'in'}", "--sink", "kafka:no-such",
                     "--servers", broker.kafka_servers, "--checkpoint", tmp_path / "c")  # fmt: skip
    assert code == 1
    reason, remedy = said.strip().splitlines()[-2:]
    assert re.match("route_errors: .*[Tt]opic no-such not present", reason)
    assert "the topic does not exist" in remedy
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", said), "ids of no use to a reader"
    assert time.monotonic() - started < 30


def test_rows_of_the_continuous_trigger_are_counted(job, tmp_path):
    """Of a socket; those of Kafka are in the test of all triggers."""
    over = threading.Event()

    class Server(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall("".join(f"{line}\n" for line in LAB[:5]).encode())
            over.wait(60)

    def end():
        eventually((tmp_path / "progress").exists, 90, "an epoch with rows")
        (tmp_path / "stop").touch()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        for target in (server.serve_forever, end):
            threading.Thread(target=target, daemon=True).start()
        code, said = job("watch_access_log", "--source", f"socket:127.0.0.1:{server.server_address[1]}",
                         "--sink", "memory:continuous", "--trigger", "continuous 1 second",
                         "--stop-file", tmp_path / "stop", "--run-seconds", 90,
                         "--progress", tmp_path / "progress")  # fmt: skip
        over.set()
        server.shutdown()
    assert code == 0, said
    assert "watch_access_log: read 5 lines in " in said


def test_a_socket_that_closes_is_said_when_it_cannot_be_had_again(job, tmp_path):
    """Spark itself takes the end of the lines for a pause, and waits for ever."""
    import socket

    server = socket.create_server(("127.0.0.1", 0))

    def once():
        reader, _ = server.accept()
        reader.sendall(b"a b a\n")
        time.sleep(1)
        reader.close()
        server.close()

    threading.Thread(target=once, daemon=True).start()
    where = f"socket:127.0.0.1:{server.getsockname()[1]}"
    code, said = job("word_count", "--source", where, "--sink", "memory:words", "--run-seconds", 20,
                     "--trigger", "every 1 second")  # fmt: skip
    assert code == 1, said
    assert "has closed" in said
    assert ("a", "2") in shown(said)


def test_a_checkpoint_of_another_query_is_refused(job, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    flags = ["--source", f"text:{tmp_path / 'in'}", "--checkpoint", tmp_path / "c",
             "--sink", f"foreach:sqlite:{tmp_path / 'x.db'}", "--trigger", "once"]  # fmt: skip
    assert job("word_count", *flags)[0] == 0
    code, said = job("route_errors", *flags)
    assert code == 2
    assert "belongs to another query, with the job 'word_count'" in said
    code, said = job("word_count", *flags, "--output-mode", "update")
    assert (code, "the output mode 'complete', not 'update'" in said) == (2, True)
    (tmp_path / "c" / "query.json").unlink()  # as with a landing's, or what another program began
    code, said = job("word_count", *flags)
    assert (code, "was started by an unknown query" in said) == (2, True)


@pytest.fixture
def errors_topic(broker, topic):
    name = f"{topic}-errors"[:200]
    ensure_topics(broker.kafka_servers, [name], partitions=1, replication=1)
    return name


def values(broker, topic):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=broker.kafka_servers, auto_offset_reset="earliest",
        enable_auto_commit=False, consumer_timeout_ms=3000,
    )  # fmt: skip
    found = [(record.key, record.value) for record in consumer]
    consumer.close()
    return found


@pytest.mark.parametrize("trigger", ["available-now", "real-time 5 seconds"])
def test_server_errors_are_routed_and_a_second_run_goes_on(
    broker, topic, errors_topic, job, tmp_path, trigger
):
    made = [build_line(status=status, request=f"GET /{n} HTTP/1.1") for n, status in enumerate(
        ["200", "500", "404", "503", "200", "599"])]  # fmt: skip
    forged = build_line(request='GET /x\\" 500 1 HTTP/1.1', status="200")
    whole = "\n".join([made[0], made[1], made[3], forged]).encode()
    messages = [whole, made[2].encode(), made[5].encode(), b"junk", b"\xff 500 1"]
    publish_messages(messages, broker.kafka_servers, topic)
    flags = ["--servers", broker.kafka_servers, "--source", f"kafka:{topic}",
             "--sink", f"kafka:{errors_topic}", "--checkpoint", str(tmp_path / "checkpoint"),
             "--trigger", trigger]  # fmt: skip
    lease = [] if trigger == "available-now" else ["--run-seconds", "8"]
    expected = {f"{made[1]}\n{made[3]}".encode(), made[5].encode()}
    code, said = job("route_errors", *flags, *lease)
    assert code == 0, said[-3000:]
    assert {value for _, value in values(broker, errors_topic)} == expected
    # It goes on where it stopped: what was routed is not routed again.
    publish_messages([build_line(status="502").encode()], broker.kafka_servers, topic)
    code, said = job("route_errors", *flags, *lease)
    assert code == 0, said[-3000:]
    found = [value for _, value in values(broker, errors_topic)]
    assert set(found) == expected | {build_line(status="502").encode()}
    assert "route_errors: read 1 message in 1 batch" in said
    if trigger == "available-now":
        assert len(found) == 3


LAB = [build_line(status=status, host=f"192.0.2.{n}") for n, status in enumerate(
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
def test_the_lab_is_watched_live(broker, topic, job, flags, expected):
    publish_messages(["\n".join([*LAB[:4], "junk"]).encode(), "\n".join(LAB[4:]).encode()],
            broker.kafka_servers, topic)  # fmt: skip
    code, said = job("watch_access_log", "--source", f"kafka:{topic}",
                     "--servers", broker.kafka_servers, "--trigger", "every 1 second",
                     "--run-seconds", 7, *flags)  # fmt: skip
    assert code == 0, said[-3000:]
    assert shown(said) == expected
    assert "watch_access_log: read 2 messages in 1 batch" in said


def test_all_triggers_and_the_batch_give_the_same_rows(spark, broker, topic, job, tmp_path):
    """What each trigger routes of the same lines, row by row, against a batch of the same code."""
    from producers.access_log.log_file import Line
    from producers.access_log.produce import produce_lines
    from spark_jobs.transforms.access_log import only_server_errors

    texts = [build_line(status=str(200 + n % 4 * 100), size=str(n)).encode() for n in range(2000)]
    starts = accumulate((len(text) + 1 for text in texts), initial=0)
    lines = (Line(start, text, len(text) + 1) for start, text in zip(starts, texts, strict=False))
    produce_lines(lines, "log", servers=broker.kafka_servers, topic=topic,
            ledgers=tmp_path / "ledger", lines_per_message=7)  # fmt: skip

    def batch(name):
        reader = spark.read.format("kafka").option("kafka.bootstrap.servers", broker.kafka_servers)
        return reader.option("subscribe", name).load().select("key", "value")

    def pairs(rows):
        return sorted((bytes(row.key), bytes(row.value, "utf8") if isinstance(row.value, str)
                       else bytes(row.value)) for row in rows.collect())  # fmt: skip

    expected = pairs(only_server_errors(batch(topic)))
    assert len(expected) > 200
    for number, trigger in enumerate(
        ["once", "available-now", "every 1 second", "continuous 1 second", "real-time 5 seconds"]
    ):
        to = f"parity-{number}"
        ensure_topics(broker.kafka_servers, [to], partitions=1, replication=1)
        endless = ["--run-seconds", 8] if " " in trigger else []
        code, said = job("route_errors", "--servers", broker.kafka_servers, "--source",
                         f"kafka:{topic}", "--sink", f"kafka:{to}", "--trigger", trigger,
                         "--checkpoint", tmp_path / to, *endless)  # fmt: skip
        assert code == 0, said[-2000:]
        assert pairs(batch(to)) == expected, trigger
