"""The course's examples as they are typed: a process each, on a real broker or a real socket."""

import re
import subprocess
import sys

import pytest

from include.settings import PROJECT
from producers.clickstream.events import batch_messages, events, row_messages
from producers.clickstream.publish import publish
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
