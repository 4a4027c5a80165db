"""The main job on a real broker: run, refused, killed, ended by signals, run again.

What a Python driver prints, to either stream, spark-submit prints to its standard output.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime

import psutil
import pytest

from include.settings import PROJECT
from producers.access_log.generator import generate_lines
from producers.access_log.log_file import read_lines
from producers.access_log.produce import produce_lines
from tests.builders import build_line
from tests.conftest import eventually, kill_process_tree, matrix_cases

DAY = date(2026, 1, 15)


@pytest.fixture
def landing(tmp_path):
    return tmp_path / "lake" / "landing"


def flags(landing, run_id="run", **changed):
    found = {"sink": f"parquet:{landing / 'data'}", "trigger": "available-now", "run-id": run_id,
             "manifest": landing.parent / f"{run_id}.json"} | changed  # fmt: skip
    return [x for name, value in found.items() for x in (f"--{name.replace('_', '-')}", value)]


@pytest.fixture
def where(broker, topic):
    return {"source": f"kafka:{topic}", "servers": broker.kafka_servers}


@pytest.fixture
def land(job, where, landing):
    """Land the topic; give what the job printed and its manifest."""

    def landed(run_id="run", code=0, **changed):
        found, said = job("land_access_log", *flags(landing, run_id, **(where | changed)))
        assert found == code, said
        manifest = landing.parent / f"{run_id}.json"
        return said, json.loads(manifest.read_text()) if manifest.is_file() else None

    return landed


@pytest.fixture
def driver(submit, where, landing):
    """Starts the job in a process of its own, as spark-submit does; its family is ended after."""
    started = []

    def start(run_id="run", **changed):
        command = submit("land_access_log", *flags(landing, run_id, **(where | changed)))
        env = os.environ | {"PYTHONPATH": str(PROJECT)}
        output = landing.parent / f"{run_id}.out"
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w") as out:
            process = subprocess.Popen(
                command, env=env, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        kill_process_tree(process.pid)


def commits(landing):
    return {p.name for p in (landing / "checkpoint" / "commits").glob("[0-9]*")}


def sent(broker, topic, tmp_path, lines, **changed):
    return produce_lines(lines, "log", servers=broker.kafka_servers, topic=topic,
                   ledgers=tmp_path / "ledger", **({"lines_per_message": 50} | changed))  # fmt: skip


def ids(spark, landing):
    rows = spark.read.parquet(str(landing / "data")).select("line_id").collect()
    return sorted(row.line_id for row in rows)


def expected_ids(count):
    return sorted(f"log:{line.start}" for line in generate_lines(count, 1, DAY))


def test_from_a_log_to_a_summary_and_again_changes_no_number(
    spark, broker, topic, tmp_path, land, landing, job, shared
):
    log = shared / "data" / "apache_combined.log"
    days = ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]

    def summarised():
        code, said = job(
            "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
            "--sink", f"summary:{tmp_path / 'summary'}", "--days", ",".join(days),
        )  # fmt: skip
        assert code == 0, said
        return [
            json.loads((tmp_path / "summary" / day / "summary.json").read_text()) for day in days
        ]

    sent(broker, topic, tmp_path, read_lines(log))
    _, first = land("first")
    assert (first["read"], first["good"], first["bad"], first["days"]) == (10_000, 10_000, 0, days)
    once = summarised()
    assert [day["visitors"] for day in once] == [359, 643, 570, 523]
    assert [day["requests"] for day in once] == [1632, 2893, 2896, 2579]
    assert sum(day["bytes"] for day in once) == 2_747_282_740
    panels = spark.read.parquet(str(tmp_path / "summary" / days[0] / "panels.parquet"))
    assert panels.where("panel = 'hosts'").groupBy().sum("hits").first()[0] == 1632

    # The same log once more, one line a message: as a producer that has lost its ledger would.
    sent(broker, topic, tmp_path, read_lines(log), resend=True, lines_per_message=1)
    _, second = land("second")
    assert (second["read"], second["good"]) == (10_000, 10_000)
    twice = summarised()
    assert [day["lines"]["duplicates"] for day in twice] == [1632, 2893, 2896, 2579]
    for day, before in zip(twice, once, strict=True):
        for told in (day, before):
            told.pop("provenance")
            told.pop("lines")
            told.pop("distinct")  # the same visitors in another order are kept in other bytes
    assert twice == once


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.fault)])
def test_a_driver_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    spark, broker, topic, tmp_path, land, landing, driver, kills
):
    sent(broker, topic, tmp_path, generate_lines(20_000, 1, DAY))
    for nth in range(kills):
        process = driver("night", **{"max-per-trigger": 60})

        def in_a_batch(more_than=nth):
            planned = {p.name for p in (landing / "checkpoint" / "offsets").glob("[0-9]*")}
            return len(planned) > more_than and planned - commits(landing)

        eventually(in_a_batch, 90, "a batch that is planned and not committed")
        # The JVM first, as SparkSubmitOperator's kill does; its Python follows by itself.
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(10)
        gone, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, "the Python driver outlived its JVM"
        del gone
    _, manifest = land("night", **{"max-per-trigger": 60})
    assert ids(spark, landing) == expected_ids(20_000)
    assert manifest["read"] == manifest["good"] + manifest["bad"] == 20_000
    batches = [batch["batch"] for batch in manifest["batches"]]
    assert batches == sorted(set(batches))


@pytest.mark.fault
def test_a_stream_ended_in_the_middle_of_traffic_goes_on_where_it_stopped(
    spark, broker, topic, tmp_path, land, landing, driver
):
    """By Ctrl-C in the terminal, SIGTERM to spark-submit, and a stop file, while lines come in."""
    enough, fed = threading.Event(), []

    def feed():
        for line in generate_lines(1_000_000, 1, DAY):
            if enough.is_set():
                return
            fed.append(f"log:{line.start}")
            yield line

    sending = threading.Thread(
        target=lambda: produce_lines(feed(), "log", servers=broker.kafka_servers, topic=topic,
                               ledgers=tmp_path / "ledger", lines_per_message=10, rate=100)
    )  # fmt: skip
    sending.start()
    stop = tmp_path / "stop"
    ends = {
        "Ctrl-C": (130, lambda pid: os.killpg(pid, signal.SIGINT)),
        "SIGTERM": (143, lambda pid: os.kill(pid, signal.SIGTERM)),
        f"the stop file {stop} appeared": (0, lambda pid: stop.touch()),
    }
    for number, (reason, (code, end)) in enumerate(ends.items()):
        process = driver(f"run-{number}", trigger="every 1 second", **{"stop-file": stop})
        before = len(commits(landing))
        eventually(lambda before=before: len(commits(landing)) > before + 1, 90, "two batches")
        if number == 0:  # who comes while it runs is told who has the folder
            said, _ = land("second", code=75)
            assert "is being written by land_access_log, run run-0, process" in said
        end(process.pid)
        assert process.wait(40) == code
        out = (tmp_path / "lake" / f"run-{number}.out").read_text()
        assert f"until {reason}" in out.strip().splitlines()[-1]
        assert "Traceback" not in out
        told = json.loads((tmp_path / "lake" / f"run-{number}.json").read_text())
        assert told["ended"] == reason
        assert told["read"] == sum(batch["read"] for batch in told["batches"]) > 0
    assert not stop.exists(), "a stop file stops once"
    enough.set()
    sending.join(60)
    land("last")
    assert len(fed) > 500
    assert Counter(ids(spark, landing)) == Counter(fed)


def test_an_endless_trigger_stops_cleanly_when_its_time_is_up(
    broker, topic, tmp_path, land, landing
):
    sent(broker, topic, tmp_path, generate_lines(300, 1, DAY))
    said, manifest = land("lease", trigger="every 1 second", **{"run-seconds": 12})
    assert manifest["read"] == 300
    assert "until --run-seconds had passed" in said
    sent(broker, topic, tmp_path, generate_lines(300, 2, DAY), resend=True)
    _, manifest = land("next", trigger="every 1 second", **{"run-seconds": 12})
    assert manifest["read"] == 300


@pytest.mark.parametrize(
    ("starting", "expected"),
    [
        ("time", 10),
        ("latest", 0),
        *matrix_cases(("earliest", 30), ("0:0,1:0", 30), ("2200-01-01T00:00:00Z", 0)),
    ],
)
def test_a_new_landing_begins_where_one_says(broker, topic, tmp_path, land, starting, expected):
    lines = list(generate_lines(40, 1, DAY))[:30]
    sent(broker, topic, tmp_path, lines[:20], lines_per_message=1)
    time.sleep(1.1)
    moment = datetime.now(UTC).isoformat()
    sent(broker, topic, tmp_path, lines, lines_per_message=1)
    _, manifest = land(starting_offsets=moment if starting == "time" else starting)
    assert manifest["read"] == expected


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"source": "socket:localhost:1"}, 2, "does not support 'socket'"),
        ({"sink": "console"}, 2, "does not support 'console'"),
        (
            {"trigger": "continuous 1 second"},
            2,
            "the continuous trigger writes only to kafka, console",
        ),
        ({"trigger": "soon"}, 2, "use available-now, once, every 5 seconds"),
        ({"servers": "127.0.0.1:1"}, 75, "no Kafka broker answers at 127.0.0.1:1"),
        ({"source": "text:/nowhere"}, 2, "there is no folder /nowhere"),
        ({"source": "kafka:no-such-topic"}, 2, "the topic does not exist"),
        ({"output-mode": "complete"}, 2, "a file sink can only append; use append"),
        ({"run-seconds": "0"}, 2, "is less than 1; use 1 or more"),
        (
            {"starting_offsets": "0:5"},
            1,
            "--starting-offsets needs an offset for each partition",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_word_ends_in_one_sentence_within_thirty_seconds(
    land, broker, topic, tmp_path, changed, code, says
):
    sent(broker, topic, tmp_path, generate_lines(10, 1, DAY))
    started = time.monotonic()
    said, manifest = land(code=code, **changed)
    assert manifest is None
    last = said.strip().splitlines()[-2:]
    assert says in " ".join(last), last
    assert not any("Traceback" in line or line.startswith("\tat ") for line in last)
    assert time.monotonic() - started < 30


def test_garbage_lands_as_bad_lines_and_the_query_lives(
    broker, topic, tmp_path, land, landing, spark
):
    garbage = tmp_path / "garbage"
    garbage.write_bytes(
        random.Random(1).randbytes(200_000)
        + b"\n"
        + b"\0" * 1000
        + b"\n"
        + b"x" * 3_000_000
        + b"\nend"
    )
    done = sent(broker, topic, tmp_path, read_lines(garbage))
    _, manifest = land()
    assert manifest["read"] == manifest["bad"] == done.lines
    rows = spark.read.parquet(str(landing / "data"))
    assert rows.where("bad_reason = 'too_long'").count() == 1
    assert rows.where("raw = 'end'").count() == 1
    expected = [f"log:{line.start}" for line in read_lines(garbage)]
    assert ids(spark, landing) == sorted(expected)


def test_heartbeats_are_landed_and_counted_apart_also_after_a_kill(
    spark, broker, topic, tmp_path, land, landing, job
):
    from producers.kafka_client import Publisher

    def beat(count):
        with Publisher(broker.kafka_servers, topic, lambda done: None) as publisher:
            for _ in range(count):
                publisher.send(b"log:heartbeat", None)

    beat(3)
    _, manifest = land("only heartbeats")
    assert (manifest["read"], manifest["heartbeats"], manifest["days"]) == (0, 3, [])
    beat(2)
    sent(broker, topic, tmp_path, generate_lines(100, 1, DAY))
    _, manifest = land("both")
    counts = {name: manifest[name] for name in ("read", "good", "bad", "heartbeats")}
    assert (counts["read"], counts["heartbeats"]) == (100, 2)
    assert manifest["days"] == ["2026-01-15"]
    # As killed before the batches were recorded.
    (landing / "progress.jsonl").unlink()
    _, recounted = land("recounted")
    assert recounted.items() >= (counts | {"heartbeats": 5, "days": ["2026-01-15"]}).items()
    today = datetime.now(UTC).date().isoformat()
    code, said = job(
        "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
        "--sink", f"summary:{tmp_path / 'summary'}", "--days", f"{today},2026-01-15",
    )  # fmt: skip
    assert code == 0, said
    told = json.loads((tmp_path / "summary" / today / "summary.json").read_text())
    assert told["lines"]["read"] == told["requests"] == 0
    assert told["provenance"]["heartbeat"]["minutes"] in (1, 2)
    told = json.loads((tmp_path / "summary" / "2026-01-15" / "summary.json").read_text())
    assert told["provenance"]["heartbeat"] is None
    assert told["lines"]["read"] + manifest["undated"] == 100


def test_a_log_that_was_followed_and_the_same_log_as_a_file_give_one_report(
    broker, topic, tmp_path, land, landing, job
):
    from include.reporting.report import read_summary, write_report
    from producers.access_log.follow import follow_log

    log, stop = tmp_path / "ready" / "access.log", threading.Event()
    log.parent.mkdir()
    log.write_bytes(b"".join(line.text + b"\n" for line in generate_lines(300, 1, DAY)))
    threading.Timer(4, stop.set).start()
    done = follow_log(log, servers=broker.kafka_servers, topic=topic, ledgers=tmp_path / "ledger",
                  stop=stop, heartbeat_seconds=1)  # fmt: skip
    assert done.lines == 300
    _, manifest = land("kafka")
    assert (manifest["read"], manifest["heartbeats"] > 1) == (300, True)
    files = tmp_path / "files" / "landing"
    code, said = job("land_access_log", *flags(files, "files", source=f"text:{log.parent}"))
    assert code == 0, said
    told = {}
    for kind, folder in (("kafka", landing), ("files", files)):
        code, said = job(
            "summarise_access_log", "--source", f"parquet:{folder / 'data'}", "--source-kind", kind,
            "--sink", f"summary:{tmp_path / kind}", "--days", DAY.isoformat(),
        )  # fmt: skip
        assert code == 0, said
        summary = read_summary(tmp_path / kind / DAY.isoformat() / "summary.json")
        page = write_report(summary, tmp_path / kind / "reports")
        told[kind] = json.loads(page.with_name("report.json").read_text())
        del told[kind]["provenance"], told[kind]["source"]
    assert told["kafka"] == told["files"]


@pytest.fixture
def admin(broker):
    from kafka import KafkaAdminClient

    client = KafkaAdminClient(bootstrap_servers=broker.kafka_servers)
    yield client
    client.close()


def expire(admin, topic, partition, before):
    """As retention does: the partition begins at offset `before`."""
    from kafka import TopicPartition

    admin.delete_records({TopicPartition(topic, partition): before})


def test_messages_that_expired_are_refused_with_their_numbers_and_left_out_only_if_accepted(
    spark, broker, topic, tmp_path, land, landing, admin, job
):
    lines = list(generate_lines(200, 1, DAY))
    sent(broker, topic, tmp_path, lines[:100], lines_per_message=1)
    assert land("first")[1]["lost"] == []
    before = json.loads((landing / "progress.jsonl").read_text().splitlines()[-1])["to"][topic]
    sent(broker, topic, tmp_path, lines, lines_per_message=1)
    first = before["0"]
    expire(admin, topic, 0, first + 7)
    said, manifest = land("night", code=2)
    assert manifest is None
    assert "7 messages that were not landed" in said
    assert f"topic {topic}, partition 0: offsets {first} to {first + 6}, 7 messages" in said
    assert "--accept-data-loss" in said
    assert len(ids(spark, landing)) == 100
    said, manifest = land("night", **{"accept-data-loss": True})
    assert f"data loss: topic {topic}, partition 0: offsets {first} to {first + 6}" in said
    assert manifest["read"] == len(lines) - 100 - 7
    (lost,) = manifest["lost"]
    assert (lost["messages"], lost["partition"], lost["first"], lost["end"], lost["since"][:4]) == (
        7, 0, first, first + 7, str(datetime.now(UTC).year))  # fmt: skip
    assert land("next")[1]["lost"] == [], "what was accepted is not asked for again"
    code, said = job(
        "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
        "--sink", f"summary:{tmp_path / 'summary'}", "--days", datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    assert code == 0, said
    (summary,) = (tmp_path / "summary").glob("2*/summary.json")
    assert json.loads(summary.read_text())["provenance"]["data_loss"] == [lost]
    assert len(set(ids(spark, landing))) == len(ids(spark, landing)) == 193


@pytest.mark.fault
def test_a_loss_is_kept_once_though_the_run_that_accepted_it_was_killed(
    spark, broker, topic, tmp_path, land, landing, admin
):
    sent(broker, topic, tmp_path, generate_lines(100, 1, DAY), lines_per_message=1)
    land("first")
    sent(broker, topic, tmp_path, generate_lines(100, 1, DAY), lines_per_message=1, resend=True)
    reached = json.loads((landing / "progress.jsonl").read_text().splitlines()[-1])["to"][topic]
    expire(admin, topic, 0, reached["0"] + 3)
    # As killed behind the record of the loss and before the first batch.
    record = {"run": "killed", "since": None, "at": "2026-01-15T00:00:00+00:00", "topic": topic,
              "partition": 0, "first": reached["0"], "end": reached["0"] + 2, "messages": 2}  # fmt: skip
    (landing / "lost.jsonl").write_text(json.dumps(record) + '\n{"run": "ki')
    _, manifest = land("night", **{"accept-data-loss": True})
    assert [loss["messages"] for loss in manifest["lost"]] == [3]
    from spark_jobs.landing.data_loss import read_data_loss

    assert [loss["run"] for loss in read_data_loss(landing / "lost.jsonl")] == ["night"]


@pytest.mark.matrix
def test_partitions_that_are_added_are_landed_whole(spark, broker, topic, tmp_path, land, admin):
    from kafka.admin import NewPartitions

    lines = list(generate_lines(200, 1, DAY))
    sent(broker, topic, tmp_path, lines[:100], lines_per_message=1)
    land("before")
    admin.create_partitions({topic: NewPartitions(4)})
    sent(broker, topic, tmp_path, lines, lines_per_message=1)
    _, manifest = land("after")
    assert manifest["read"] == len(lines) - 100
    assert set(manifest["batches"][-1]["to"][topic]) == {"0", "1", "2", "3"}


@pytest.mark.parametrize("again", [100, *matrix_cases(500, 900)])
def test_a_topic_made_anew_is_told_of_and_not_skipped(
    broker, topic, tmp_path, land, landing, admin, again
):
    """Also when it has as many messages again as were landed, or more."""
    from producers.kafka_client import end_offsets, ensure_topics

    sent(broker, topic, tmp_path, generate_lines(500, 1, DAY), lines_per_message=1)
    land("before")
    admin.delete_topics([topic])
    eventually(lambda: end_offsets(broker.kafka_servers, topic) is None, 30, "the topic to be gone")
    said, _ = land("gone", code=2)
    assert f"topic {topic} is gone" in said
    ensure_topics(broker.kafka_servers, [topic], partitions=2, replication=1)
    sent(broker, topic, tmp_path, generate_lines(again, 1, DAY), lines_per_message=1, resend=True)
    said, _ = land("after", code=2, **{"accept-data-loss": True})
    assert "Kafka no longer has what the checkpoint expects" in said
    assert f"move {landing} away" in said


def test_masked_lines_that_come_again_still_count_once(
    spark, broker, topic, tmp_path, land, landing, job
):
    log, again = tmp_path / "access.log", tmp_path / "again"
    lines = [build_line(host=f"192.0.2.{n % 50}", request=f"GET /{n}?token=s3cret&a={n} HTTP/1.1")
             for n in range(100)]  # fmt: skip
    log.write_text("\n".join([*lines, "junk 192.0.2.77 /p?token=s3cret"]) + "\n")
    sent(broker, topic, tmp_path, read_lines(log))
    sent(broker, topic, again, read_lines(log))
    _, told = land("run", anonymise=2, **{"drop-query-names": "token"})
    assert (told["read"], told["good"], told["bad"]) == (202, 200, 2)
    rows = spark.read.parquet(str(landing / "data")).collect()
    assert not {str(row) for row in rows if "s3cret" in str(row) or "192.0.2." in str(row)}
    assert {row.query for row in rows if row.host} == {f"a={n}" for n in range(100)}
    day = "2015-05-17"
    code, said = job(
        "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
        "--sink", f"summary:{tmp_path / 'summary'}", "--days", day,
    )  # fmt: skip
    assert code == 0, said
    summary = json.loads((tmp_path / "summary" / day / "summary.json").read_text())
    assert (summary["requests"], summary["lines"]["duplicates"], summary["visitors"]) == (
        100,
        100,
        1,
    )
