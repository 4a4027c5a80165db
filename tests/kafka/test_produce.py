"""Producing to a real broker: every line is acknowledged, and a second run sends only what is missing."""

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
def read_messages(broker, topic):
    """Read all messages of the test's topic, as (key, value, partition)."""

    def read_topic():
        ends = end_offsets(broker.kafka_servers, topic)
        consumer = KafkaConsumer(bootstrap_servers=broker.kafka_servers, enable_auto_commit=False)
        end_by_partition = {
            TopicPartition(topic, partition): end for partition, end in ends.items()
        }
        consumer.assign(list(end_by_partition))
        consumer.seek_to_beginning()
        messages = []
        while any(consumer.position(part) < end for part, end in end_by_partition.items()):
            for records in consumer.poll(timeout_ms=500).values():
                messages += [(r.key, r.value, r.partition) for r in records]
        consumer.close()
        return messages

    return read_topic


def send_lines(broker, topic, tmp_path, lines, **overrides):
    arguments = {"servers": broker.kafka_servers, "topic": topic, "ledgers": tmp_path / "ledger"}
    return produce_lines(lines, "log", **(arguments | overrides))


def split_into_lines(messages):
    """Return (byte offset, line) of every line in the messages."""
    lines = []
    for key, value, _ in messages:
        start = int(key.rpartition(b":")[2])
        for text in value.split(b"\n"):
            lines.append((start, text))
            start += len(text) + 1
    return lines


@pytest.mark.parametrize("per_message", [1, 7, 100])
def test_every_line_arrives_once_with_its_offset_for_any_message_size(
    broker, topic, tmp_path, read_messages, per_message
):
    result = send_lines(
        broker, topic, tmp_path, generate_lines(2_500, 1, DAY), lines_per_message=per_message
    )
    assert (result.lines, result.already_acknowledged) == (2_500, 0)
    assert result.messages == -(-2_500 // per_message)
    expected = [(line.start, line.text) for line in generate_lines(2_500, 1, DAY)]
    assert sorted(split_into_lines(read_messages())) == expected
    assert {partition for *_, partition in read_messages()} == {0, 1}


def test_the_ledger_matches_the_messages_in_kafka(broker, topic, tmp_path, read_messages):
    send_lines(broker, topic, tmp_path, generate_lines(300, 1, DAY), lines_per_message=10)
    ledger = (tmp_path / "ledger" / topic / "log.csv").read_text().splitlines()[1:]
    starts = {int(row.split(",")[0]) for row in ledger}
    assert starts == {int(key.rpartition(b":")[2]) for key, *_ in read_messages()}
    assert sum(int(row.split(",")[2]) for row in ledger) == 300


def test_a_second_run_sends_only_the_lines_that_are_new(broker, topic, tmp_path, read_messages):
    lines = list(generate_lines(400, 1, DAY))
    assert send_lines(broker, topic, tmp_path, lines[:250], lines_per_message=20).lines == 250
    second_run = send_lines(broker, topic, tmp_path, lines[:250], lines_per_message=1)
    assert (second_run.lines, second_run.already_acknowledged) == (0, 250)
    longer_log_run = send_lines(broker, topic, tmp_path, lines, lines_per_message=33)
    assert (longer_log_run.lines, longer_log_run.already_acknowledged) == (150, 250)
    assert sorted(split_into_lines(read_messages())) == [(line.start, line.text) for line in lines]


def test_resend_sends_all_lines_again_under_the_same_keys(broker, topic, tmp_path, read_messages):
    for resend in (False, True):
        send_lines(broker, topic, tmp_path, generate_lines(50, 1, DAY), resend=resend)
    assert set(Counter(split_into_lines(read_messages())).values()) == {2}


def test_an_incomplete_last_line_is_sent_again_when_it_is_complete(
    broker, topic, tmp_path, read_messages
):
    incomplete = [Line(0, b"whole", 6), Line(6, b"ha", 2)]
    send_lines(broker, topic, tmp_path, incomplete)
    assert send_lines(broker, topic, tmp_path, incomplete).lines == 0
    complete = [Line(0, b"whole", 6), Line(6, b"half", 5), Line(11, b"new", 4)]
    assert send_lines(broker, topic, tmp_path, complete).lines == 2
    assert sorted(split_into_lines(read_messages())) == [
        (0, b"whole"),
        (6, b"ha"),
        (6, b"half"),
        (11, b"new"),
    ]


def test_the_ledger_of_a_deleted_topic_starts_over(broker, topic, tmp_path, read_messages):
    path = tmp_path / "ledger" / topic / "log.csv"
    path.parent.mkdir(parents=True)
    path.write_text("start,bytes,lines,partition,offset\n0,100000,50,0,999\n")
    assert send_lines(broker, topic, tmp_path, generate_lines(50, 1, DAY)).lines == 50
    assert len(read_messages()) == 50
    assert Ledger(path).resume_position(end_offsets(broker.kafka_servers, topic))[1] == 50


def test_a_killed_producer_loses_nothing_when_it_is_run_again(
    broker, topic, tmp_path, read_messages
):
    command = [sys.executable, "-m", "producers.access_log", "generate", "--count", "6000",
               "--to", f"kafka:{topic}", "--servers", broker.kafka_servers, "-n", "3"]  # fmt: skip
    env = os.environ | {"TIDEMARK_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    producer = subprocess.Popen([*command, "--rate", "3000"], env=env, stderr=subprocess.DEVNULL)
    eventually(lambda: sum((end_offsets(broker.kafka_servers, topic) or {}).values()) > 300, 30,
               "the first messages of the producer")  # fmt: skip
    producer.send_signal(signal.SIGKILL)
    producer.wait(10)
    result = run_command(command, env_changes={"TIDEMARK_HOME": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    lines = split_into_lines(read_messages())
    expected = [(line.start, line.text) for line in generate_lines(6000, 1, DAY)]
    assert sorted(set(lines)) == expected
    assert len(lines) < 2 * len(expected)


def test_ctrl_c_keeps_the_ledger_and_prints_how_to_continue(broker, topic, tmp_path, read_messages):
    command = [sys.executable, "-m", "producers.access_log", "generate", "--count", "100000",
               "--to", f"kafka:{topic}", "--servers", broker.kafka_servers, "--rate", "2000"]  # fmt: skip
    env = os.environ | {"TIDEMARK_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    eventually(lambda: sum((end_offsets(broker.kafka_servers, topic) or {}).values()) > 100, 30,
               "the first messages of the producer")  # fmt: skip
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert "run the same command again to continue" in output
    assert "Traceback" not in output
    (ledger,) = (tmp_path / "lake" / "ledger" / topic).glob("*.csv")
    reached, lines = Ledger(ledger).resume_position(end_offsets(broker.kafka_servers, topic))
    assert 0 < lines <= len(read_messages())
    assert reached > 0


def test_lines_are_sent_at_the_given_rate(broker, topic, tmp_path):
    started = time.monotonic()
    send_lines(broker, topic, tmp_path, generate_lines(200, 1, DAY), rate=200)
    assert time.monotonic() - started >= 0.95


def test_existing_topics_are_not_changed(broker, topic):
    ensure_topics(broker.kafka_servers, [topic], partitions=5, replication=1)
    assert set(end_offsets(broker.kafka_servers, topic)) == {0, 1}


def test_a_missing_topic_or_broker_is_reported_with_the_command_that_fixes_it(broker, tmp_path):
    with pytest.raises(KafkaRequestFailed, match="./tidemark topics no-such-topic"):
        send_lines(broker, "no-such-topic", tmp_path, generate_lines(5, 1, DAY))
    with pytest.raises(KafkaRequestFailed, match="make up"):
        send_lines(broker, "x", tmp_path, generate_lines(5, 1, DAY), servers="127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["send", "/nowhere/access.log"], 2, "there is no file /nowhere/access.log"),
        (["send", str(PROJECT)], 2, "is a folder"),
        (["generate", "--to", "elsewhere"], 2, "use kafka:TOPIC, file:PATH or stdout"),
        (["generate", "--to", "file:/nowhere/x.log"], 1, "No such file or directory"),
        (["generate", "--count", "5", "--servers", "127.0.0.1:1"], 1, "make up"),
    ],
)
def test_an_invalid_argument_gives_a_clear_error(arguments, code, message):
    result = run_command([sys.executable, "-m", "producers.access_log", *arguments])
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_generated_lines_can_go_to_a_file_or_to_standard_output(tmp_path):
    base = [sys.executable, "-m", "producers.access_log", "generate", "--count", "50", "--to"]
    assert run_command([*base, f"file:{tmp_path / 'a.log'}"]).returncode == 0
    assert run_command([*base, "stdout"]).stdout == (tmp_path / "a.log").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["a.log"]


@pytest.fixture
def follow_access_log(broker, topic, tmp_path):
    """Follow tmp_path/access.log in a thread until the block ends; yield its path and the results."""
    path, results = tmp_path / "access.log", []

    @contextmanager
    def follow(**overrides):
        stop = threading.Event()
        arguments = {"servers": broker.kafka_servers, "topic": topic, "ledgers": tmp_path / "ledger",
                     "stop": stop, "heartbeat_seconds": 1, "quiet_seconds": 1} | overrides  # fmt: skip
        thread = threading.Thread(target=lambda: results.append(follow_log(path, **arguments)))
        thread.start()
        try:
            yield path, results
        finally:
            stop.set()
            thread.join(30)

    return follow


def get_texts(messages):
    return [text for _, text in split_into_lines(m for m in messages if m[1] is not None)]


def test_each_line_of_a_followed_log_is_sent_once_through_its_rotation(
    follow_access_log, read_messages, tmp_path
):
    with follow_access_log() as (path, results):
        time.sleep(1)
        path.write_bytes(b"one\ntwo\nthr")
        eventually(lambda: len(get_texts(read_messages())) == 2, 20, "the lines that have ended")
        with path.open("ab", buffering=0) as file:
            file.write(b"ee\n")
            eventually(lambda: len(get_texts(read_messages())) == 3, 20, "the third")
            path.rename(tmp_path / "access.log.1")
            path.write_bytes(b"new one\n")
            file.write(b"late\n")  # a server writes to the old file for a while
        eventually(lambda: len(get_texts(read_messages())) == 5, 20, "the new log")
    assert sorted(get_texts(read_messages())) == [b"late", b"new one", b"one", b"three", b"two"]
    assert (results[0].lines, results[0].already_acknowledged) == (5, 0)
    with follow_access_log() as (path, results), path.open("ab", buffering=0) as file:
        file.write(b"newer\n")
        eventually(
            lambda: b"newer" in get_texts(read_messages()), 20, "the line of the second time"
        )
    assert (results[1].lines, results[1].already_acknowledged) == (1, 1)


def test_a_followed_log_that_is_truncated_is_read_from_its_beginning(
    follow_access_log, read_messages
):
    with follow_access_log() as (path, _):
        path.write_bytes(b"a long first line\n")
        eventually(lambda: len(get_texts(read_messages())) == 1, 20, "the first line")
        path.write_bytes(b"short\n")
        eventually(lambda: len(get_texts(read_messages())) == 2, 20, "the line of the new log")
    assert set(get_texts(read_messages())) == {b"a long first line", b"short"}


def test_a_following_producer_sends_heartbeats_even_without_a_log(follow_access_log, read_messages):
    from producers.access_log.log_file import hash_first_line

    with follow_access_log() as (path, _):
        eventually(lambda: len(read_messages()) >= 2, 20, "two heartbeats")
        path.write_bytes(b"first\n")
        eventually(lambda: f"{hash_first_line(b'first')}:heartbeat".encode() in
                   {key for key, *_ in read_messages()}, 20, "a heartbeat of the log")  # fmt: skip
    beats = [(key, value) for key, value, _ in read_messages() if key.endswith(b":heartbeat")]
    assert {value for _, value in beats} == {None}
    assert get_texts(read_messages()) == [b"first"]


@pytest.mark.fault
def test_following_survives_a_broker_outage_during_a_rotation(jars, tmp_path, monkeypatch):
    """The broker is away longer than the delivery timeout. The lines of the rotated file also arrive."""
    from include.local_stack import broker as local_broker
    from producers.access_log import follow as follow_module

    monkeypatch.setattr(follow_module, "RETRY_SECONDS", 1)
    settings = broker_settings(tmp_path, jars, 26092)
    path, stop, notices, results = tmp_path / "access.log", threading.Event(), [], []
    arguments = {"servers": settings.kafka_servers, "topic": "lines", "ledgers": tmp_path / "ledger",
                 "stop": stop, "quiet_seconds": 1, "delivery_timeout_seconds": 4,
                 "notify": notices.append}  # fmt: skip
    thread = threading.Thread(target=lambda: results.append(follow_log(path, **arguments)))
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
        eventually(lambda: notices, 60, "it to say that the broker is away")
        path.rename(tmp_path / "access.log.1")
        path.write_bytes(b"new one\n")
        local_broker.start(settings)
        expected = [b"new one", b"one", b"three", b"two"]
        eventually(
            lambda: sorted(set(read_all_texts(settings, "lines"))) == expected, 60, "all lines"
        )
    finally:
        stop.set()
        thread.join(30)
        local_broker.service(settings).stop()
    assert "trying again" in notices[0]
    assert results[0].lines >= 4


def read_all_texts(settings, topic):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=settings.kafka_servers, auto_offset_reset="earliest",
        enable_auto_commit=False, consumer_timeout_ms=2000,
    )  # fmt: skip
    values = [record.value for record in consumer if record.value is not None]
    consumer.close()
    return [text for value in values for text in value.removesuffix(b"\n").split(b"\n")]


def test_sending_a_finished_log_sends_no_heartbeat(broker, topic, tmp_path, read_messages):
    send_lines(broker, topic, tmp_path, generate_lines(20, 1, DAY))
    assert not [key for key, *_ in read_messages() if b"heartbeat" in key]


def test_clickstream_messages_are_sent_at_the_given_rate(broker, topic):
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
    result = run_command(command)
    assert result.returncode == 0, result.stderr
    assert f"41 messages acknowledged by topic {topic}" in result.stderr
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
