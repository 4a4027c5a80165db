"""The course's examples as they are typed: a process each, on a real broker or a real socket."""

import re
import subprocess
import sys

import pytest
from kafka import KafkaConsumer

from include.settings import PROJECT
from producers.clickstream.events import batch_messages, events, row_messages
from producers.clickstream.publish import publish
from producers.kafka_client import ensure_topics
from tests.builders import a_line
from tests.conftest import eventually, kill_family, run
from tests.spark.test_streams import EXPECTED


def shown(text):
    """The rows of the last table that a job printed, as tuples of texts."""
    rows = re.findall(r"^\|(.+)\|$", text.rpartition("-+\n")[0].rpartition("-+\n")[2], re.MULTILINE)
    return [tuple(cell.strip() for cell in row.split("|")) for row in rows]


@pytest.mark.parametrize("shape", ["rows", "batches"])
def test_the_clickstream_is_totalled_by_minute_from_kafka(broker, topic, submit, shape):
    made = row_messages(events(600, 1)) if shape == "rows" else batch_messages(events(600, 1), 20)
    sent = publish([*made, b"not an event"], broker.kafka_servers, topic)
    done = run(submit(
        "clickstream_totals", "--source", f"kafka:{topic}", "--servers", broker.kafka_servers,
        "--sink", "memory:impressions_minute_bin", "--trigger", "available-now", "--shape", shape,
        "--select", "SELECT * FROM impressions_minute_bin ORDER BY minute_bin",
    ))  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{sent:,} messages, 600 good events, 1 bad" in done.stdout
    assert {int(minute): int(total) for minute, total in shown(done.stdout)} == dict(EXPECTED)


def test_words_from_a_socket_are_counted_on_the_console(submit, tmp_path):
    (tmp_path / "words.txt").write_text("the tide comes in\nthe tide goes out\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "producers.lines", str(tmp_path / "words.txt"), "--port", "0"],
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = eventually(
            lambda: server.stderr.readline().strip().rpartition(":")[2], 20, "the port"
        )
        done = run(submit("word_count", "--source", f"socket:127.0.0.1:{port}", "--sink", "console",
                          "--run-seconds", "12"))  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        assert {"the": "2", "tide": "2", "out": "1"}.items() <= dict(shown(done.stdout)).items()
        assert "word_count: 2 lines" in done.stdout
        assert server.wait(20) == 0
    finally:
        kill_family(server.pid)


@pytest.mark.parametrize(
    ("job", "flags", "code", "says"),
    [
        ("word_count", ["--source", "socket:127.0.0.1:1", "--sink", "console"], 1,
         "python -m producers.lines"),
        ("word_count", ["--source", "rate:5", "--sink", "console"], 2, "does not serve 'rate'"),
        ("word_count", ["--source", "socket:h:1", "--sink", "console", "--output-mode", "append"], 2,
         "use complete or update"),
        ("clickstream_totals", ["--source", "text:/nowhere", "--sink", "console"], 2,
         "there is no folder /nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_run_ends_in_one_sentence(submit, job, flags, code, says):
    done = run(submit(job, *flags))
    assert done.returncode == code, done.stdout[-2000:]
    assert says in " ".join(done.stdout.strip().splitlines()[-2:])


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


@pytest.mark.parametrize("trigger", ["available-now", "continuous 1 second", "real-time 5 seconds"])
def test_server_errors_are_routed_under_every_trigger(
    broker, topic, errors_topic, submit, tmp_path, trigger
):
    made = [a_line(status=status, request=f"GET /{n} HTTP/1.1") for n, status in enumerate(
        ["200", "500", "404", "503", "200", "599"])]  # fmt: skip
    forged = a_line(request='GET /x\\" 500 1 HTTP/1.1', status="200")
    whole = "\n".join([made[0], made[1], made[3], forged]).encode()
    messages = [whole, made[2].encode(), made[5].encode(), b"junk", b"\xff 500 1"]
    publish(messages, broker.kafka_servers, topic)
    flags = ["--servers", broker.kafka_servers, "--source", f"kafka:{topic}",
             "--sink", f"kafka:{errors_topic}", "--checkpoint", str(tmp_path / "checkpoint"),
             "--trigger", trigger]  # fmt: skip
    lease = [] if trigger == "available-now" else ["--run-seconds", "12"]
    expected = {f"{made[1]}\n{made[3]}".encode(), made[5].encode()}
    done = run(submit("route_errors", *flags, *lease))
    assert done.returncode == 0, done.stdout[-3000:]
    assert {value for _, value in values(broker, errors_topic)} == expected
    # It goes on where it stopped: what was routed is not routed again.
    publish([a_line(status="502").encode()], broker.kafka_servers, topic)
    done = run(submit("route_errors", *flags, *lease))
    assert done.returncode == 0, done.stdout[-3000:]
    found = [value for _, value in values(broker, errors_topic)]
    assert set(found) == expected | {a_line(status="502").encode()}
    if trigger == "available-now":
        assert len(found) == 3


LAB = [a_line(status=status, host=f"192.0.2.{n}") for n, status in enumerate(
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
def test_the_lab_is_watched_live(broker, topic, submit, flags, expected):
    publish(["\n".join([*LAB[:4], "junk"]).encode(), "\n".join(LAB[4:]).encode()],
            broker.kafka_servers, topic)  # fmt: skip
    done = run(submit("watch_access_log", "--source", f"kafka:{topic}",
                      "--servers", broker.kafka_servers, "--trigger", "every 1 second",
                      "--run-seconds", "14", *flags))  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert shown(done.stdout) == expected
    assert "watch_access_log: 2 messages" in done.stdout
