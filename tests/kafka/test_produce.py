"""Producing into a real broker: each line acknowledged, and none twice after a crash."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import date

import pytest
from kafka import KafkaConsumer, TopicPartition

from include.settings import PROJECT
from producers.access_log.follow import follow_log
from producers.access_log.generator import generate_lines
from producers.access_log.log_file import Line
from producers.access_log.produce import produce_lines
from producers.kafka_client import KafkaRequestFailed, end_offsets, ensure_topics
from producers.ledger import Ledger
from tests.conftest import broker_settings, eventually, run_command

DAY = date(2026, 1, 15)


@pytest.fixture
def messages(broker, topic):
    """All messages of the test's topic, as (key, value, partition)."""

    def read():
        ends = end_offsets(broker.kafka_servers, topic)
        consumer = KafkaConsumer(bootstrap_servers=broker.kafka_servers, enable_auto_commit=False)
        parts = {TopicPartition(topic, partition): end for partition, end in ends.items()}
        consumer.assign(list(parts))
        consumer.seek_to_beginning()
        found = []
        while any(consumer.position(part) < end for part, end in parts.items()):
            for records in consumer.poll(timeout_ms=500).values():
                found += [(r.key, r.value, r.partition) for r in records]
        consumer.close()
        return found

    return read


def sent(broker, topic, tmp_path, lines, **changed):
    arguments = {"servers": broker.kafka_servers, "topic": topic, "ledgers": tmp_path / "ledger"}
    return produce_lines(lines, "log", **(arguments | changed))


def lines_of(messages):
    """(byte offset, line) of every line in the messages."""
    found = []
    for key, value, _ in messages:
        start = int(key.rpartition(b":")[2])
        for text in value.split(b"\n"):
            found.append((start, text))
            start += len(text) + 1
    return found


@pytest.mark.parametrize("per_message", [1, 7, 100])
def test_every_line_arrives_once_under_its_place_however_many_go_in_a_message(
    broker, topic, tmp_path, messages, per_message
):
    done = sent(
        broker, topic, tmp_path, generate_lines(2_500, 1, DAY), lines_per_message=per_message
    )
    assert (done.lines, done.already_acknowledged) == (2_500, 0)
    assert done.messages == -(-2_500 // per_message)
    expected = [(line.start, line.text) for line in generate_lines(2_500, 1, DAY)]
    assert sorted(lines_of(messages())) == expected
    assert {partition for *_, partition in messages()} == {0, 1}


def test_the_ledger_is_what_kafka_has(broker, topic, tmp_path, messages):
    sent(broker, topic, tmp_path, generate_lines(300, 1, DAY), lines_per_message=10)
    ledger = (tmp_path / "ledger" / topic / "log.csv").read_text().splitlines()[1:]
    starts = {int(row.split(",")[0]) for row in ledger}
    assert starts == {int(key.rpartition(b":")[2]) for key, *_ in messages()}
    assert sum(int(row.split(",")[2]) for row in ledger) == 300


def test_a_second_run_sends_nothing_and_a_longer_log_only_what_is_new(
    broker, topic, tmp_path, messages
):
    lines = list(generate_lines(400, 1, DAY))
    assert sent(broker, topic, tmp_path, lines[:250], lines_per_message=20).lines == 250
    again = sent(broker, topic, tmp_path, lines[:250], lines_per_message=1)
    assert (again.lines, again.already_acknowledged) == (0, 250)
    longer = sent(broker, topic, tmp_path, lines, lines_per_message=33)
    assert (longer.lines, longer.already_acknowledged) == (150, 250)
    assert sorted(lines_of(messages())) == [(line.start, line.text) for line in lines]


def test_again_sends_all_of_it_under_the_same_keys(broker, topic, tmp_path, messages):
    for again in (False, True):
        sent(broker, topic, tmp_path, generate_lines(50, 1, DAY), resend=again)
    assert set(Counter(lines_of(messages())).values()) == {2}


def test_a_last_line_sent_half_is_sent_whole_when_it_has_grown(broker, topic, tmp_path, messages):
    first = [Line(0, b"whole", 6), Line(6, b"ha", 2)]
    sent(broker, topic, tmp_path, first)
    assert sent(broker, topic, tmp_path, first).lines == 0
    grown = [Line(0, b"whole", 6), Line(6, b"half", 5), Line(11, b"new", 4)]
    assert sent(broker, topic, tmp_path, grown).lines == 2
    assert sorted(lines_of(messages())) == [(0, b"whole"), (6, b"ha"), (6, b"half"), (11, b"new")]


def test_a_ledger_of_a_topic_that_is_gone_is_begun_anew(broker, topic, tmp_path, messages):
    path = tmp_path / "ledger" / topic / "log.csv"
    path.parent.mkdir(parents=True)
    path.write_text("start,bytes,lines,partition,offset\n0,100000,50,0,999\n")
    assert sent(broker, topic, tmp_path, generate_lines(50, 1, DAY)).lines == 50
    assert len(messages()) == 50
    assert Ledger(path).resume_position(end_offsets(broker.kafka_servers, topic))[1] == 50


def test_a_producer_killed_in_the_middle_and_run_again_loses_nothing(
    broker, topic, tmp_path, messages
):
    command = [sys.executable, "-m", "producers.access_log", "generate", "--count", "6000",
               "--to", f"kafka:{topic}", "--servers", broker.kafka_servers, "-n", "3"]  # fmt: skip
    env = os.environ | {"TIDEMARK_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    slow = subprocess.Popen([*command, "--rate", "3000"], env=env, stderr=subprocess.DEVNULL)
    eventually(lambda: sum((end_offsets(broker.kafka_servers, topic) or {}).values()) > 300, 30,
               "the first messages of the producer")  # fmt: skip
    slow.send_signal(signal.SIGKILL)
    slow.wait(10)
    done = run_command(command, env_changes={"TIDEMARK_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    found = lines_of(messages())
    expected = [(line.start, line.text) for line in generate_lines(6000, 1, DAY)]
    assert sorted(set(found)) == expected
    assert len(found) < 2 * len(expected)


def test_ctrl_c_keeps_what_was_acknowledged_and_says_how_to_go_on(
    broker, topic, tmp_path, messages
):
    command = [sys.executable, "-m", "producers.access_log", "generate", "--count", "100000",
               "--to", f"kafka:{topic}", "--servers", broker.kafka_servers, "--rate", "2000"]  # fmt: skip
    env = os.environ | {"TIDEMARK_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    eventually(lambda: sum((end_offsets(broker.kafka_servers, topic) or {}).values()) > 100, 30,
               "the first messages of the producer")  # fmt: skip
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130, told
    assert "run the same command again to continue" in told
    assert "Traceback" not in told
    (ledger,) = (tmp_path / "lake" / "ledger" / topic).glob("*.csv")
    reached, lines = Ledger(ledger).resume_position(end_offsets(broker.kafka_servers, topic))
    assert 0 < lines <= len(messages())
    assert reached > 0


def test_a_rate_is_kept(broker, topic, tmp_path):
    started = time.monotonic()
    sent(broker, topic, tmp_path, generate_lines(200, 1, DAY), rate=200)
    assert time.monotonic() - started >= 0.95


def test_topics_that_are_there_stay_as_they_are(broker, topic):
    ensure_topics(broker.kafka_servers, [topic], partitions=5, replication=1)
    assert set(end_offsets(broker.kafka_servers, topic)) == {0, 1}


def test_a_missing_topic_and_a_broker_that_is_down_are_told_with_the_remedy(broker, tmp_path):
    with pytest.raises(KafkaRequestFailed, match="./tidemark topics no-such-topic"):
        sent(broker, "no-such-topic", tmp_path, generate_lines(5, 1, DAY))
    with pytest.raises(KafkaRequestFailed, match="make up"):
        sent(broker, "x", tmp_path, generate_lines(5, 1, DAY), servers="127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["send", "/nowhere/access.log"], 2, "there is no file /nowhere/access.log"),
        (["send", str(PROJECT)], 2, "is a folder"),
        (["generate", "--to", "elsewhere"], 2, "use kafka:TOPIC, file:PATH or stdout"),
        (["generate", "--to", "file:/nowhere/x.log"], 1, "No such file or directory"),
        (["generate", "--count", "5", "--servers", "127.0.0.1:1"], 1, "make up"),
    ],
)
def test_a_wrong_word_ends_in_one_sentence(arguments, code, says):
    done = run_command([sys.executable, "-m", "producers.access_log", *arguments])
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_goes_to_a_file_or_to_the_terminal_instead(tmp_path):
    base = [sys.executable, "-m", "producers.access_log", "generate", "--count", "50", "--to"]
    assert run_command([*base, f"file:{tmp_path / 'a.log'}"]).returncode == 0
    assert run_command([*base, "stdout"]).stdout == (tmp_path / "a.log").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["a.log"]


@pytest.fixture
def following(broker, topic, tmp_path):
    """Follows tmp_path/access.log in a thread until the block ends; gives what was done."""
    path, ended = tmp_path / "access.log", []

    @contextmanager
    def begin(**changed):
        stop = threading.Event()
        told = {"servers": broker.kafka_servers, "topic": topic, "ledgers": tmp_path / "ledger",
                "stop": stop, "heartbeat_seconds": 1, "quiet_seconds": 1} | changed  # fmt: skip
        thread = threading.Thread(target=lambda: ended.append(follow_log(path, **told)))
        thread.start()
        try:
            yield path, ended
        finally:
            stop.set()
            thread.join(30)

    return begin


def texts(messages):
    return [text for _, text in lines_of(m for m in messages if m[1] is not None)]


def test_a_live_log_is_followed_through_its_rotation_each_line_once(following, messages, tmp_path):
    with following() as (path, ended):
        time.sleep(1)
        path.write_bytes(b"one\ntwo\nthr")
        eventually(lambda: len(texts(messages())) == 2, 20, "the lines that have ended")
        with path.open("ab", buffering=0) as file:
            file.write(b"ee\n")
            eventually(lambda: len(texts(messages())) == 3, 20, "the third")
            path.rename(tmp_path / "access.log.1")
            path.write_bytes(b"new one\n")
            file.write(b"late\n")  # a server writes on into the old file for a while
        eventually(lambda: len(texts(messages())) == 5, 20, "the new log")
    assert sorted(texts(messages())) == [b"late", b"new one", b"one", b"three", b"two"]
    assert (ended[0].lines, ended[0].already_acknowledged) == (5, 0)
    with following() as (path, ended), path.open("ab", buffering=0) as file:
        file.write(b"newer\n")
        eventually(lambda: b"newer" in texts(messages()), 20, "the line of the second time")
    assert (ended[1].lines, ended[1].already_acknowledged) == (1, 1)


def test_a_log_that_is_cut_to_begin_anew_is_read_from_its_beginning(following, messages):
    with following() as (path, _):
        path.write_bytes(b"a long first line\n")
        eventually(lambda: len(texts(messages())) == 1, 20, "the first line")
        path.write_bytes(b"short\n")
        eventually(lambda: len(texts(messages())) == 2, 20, "the line of the new log")
    assert set(texts(messages())) == {b"a long first line", b"short"}


def test_a_producer_that_follows_sends_heartbeats_also_without_a_log(following, messages):
    from producers.access_log.log_file import hash_first_line

    with following() as (path, _):
        eventually(lambda: len(messages()) >= 2, 20, "two heartbeats")
        path.write_bytes(b"first\n")
        eventually(lambda: f"{hash_first_line(b'first')}:heartbeat".encode() in
                   {key for key, *_ in messages()}, 20, "a heartbeat of the log")  # fmt: skip
    beats = [(key, value) for key, value, _ in messages() if key.endswith(b":heartbeat")]
    assert {value for _, value in beats} == {None}
    assert texts(messages()) == [b"first"]


@pytest.mark.fault
def test_brokers_may_go_while_a_log_is_followed_and_rotated(jars, tmp_path, monkeypatch):
    """Away for longer than the producer is patient: the lines of the file that lost its name come too."""
    from include.local_stack import broker as local_broker
    from producers.access_log import follow as module

    monkeypatch.setattr(module, "RETRY_SECONDS", 1)
    settings = broker_settings(tmp_path, jars, 26092)
    path, stop, said, ended = tmp_path / "access.log", threading.Event(), [], []
    told = {"servers": settings.kafka_servers, "topic": "lines", "ledgers": tmp_path / "ledger",
            "stop": stop, "quiet_seconds": 1, "delivery_timeout_seconds": 4,
            "notify": said.append}  # fmt: skip
    thread = threading.Thread(target=lambda: ended.append(follow_log(path, **told)))
    local_broker.start(settings)
    try:
        ensure_topics(settings.kafka_servers, ["lines"], partitions=2, replication=1)
        path.write_bytes(b"one\ntwo\n")
        thread.start()
        eventually(lambda: sum(end_offsets(settings.kafka_servers, "lines").values()) >= 2, 20,
                   "a heartbeat and the first lines")  # fmt: skip
        local_broker.service(settings).process().kill()
        with path.open("ab") as file:
            file.write(b"three\n")
        eventually(lambda: said, 60, "it to say that the broker is away")
        path.rename(tmp_path / "access.log.1")
        path.write_bytes(b"new one\n")
        local_broker.start(settings)
        wanted = [b"new one", b"one", b"three", b"two"]
        eventually(lambda: sorted(set(all_texts(settings, "lines"))) == wanted, 60, "all lines")
    finally:
        stop.set()
        thread.join(30)
        local_broker.service(settings).stop()
    assert "trying again" in said[0]
    assert ended[0].lines >= 4


def all_texts(settings, topic):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=settings.kafka_servers, auto_offset_reset="earliest",
        enable_auto_commit=False, consumer_timeout_ms=2000,
    )  # fmt: skip
    found = [record.value for record in consumer if record.value is not None]
    consumer.close()
    return [text for value in found for text in value.removesuffix(b"\n").split(b"\n")]


def test_a_replay_sends_no_heartbeat(broker, topic, tmp_path, messages):
    sent(broker, topic, tmp_path, generate_lines(20, 1, DAY))
    assert not [key for key, *_ in messages() if b"heartbeat" in key]


def test_clicks_are_sent_at_the_rate_that_is_asked_for(broker, topic):
    command = [
        sys.executable,
        "-m",
        "producers.clickstream",
        "--count",
        "41",
        "--rate",
        "10",
        "--to",
        f"kafka:{topic}",
        "--servers",
        broker.kafka_servers,
    ]
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert f"41 messages acknowledged by topic {topic}" in done.stderr
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.kafka_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    times = [message.timestamp for message in consumer]
    consumer.close()
    assert len(times) == 41
    assert max(times) - min(times) >= 1500, "milliseconds; the first message waits for the broker"
