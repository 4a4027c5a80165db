"""land_access_log on a real broker: runs, refusals, kills, signals and repeated runs.

spark-submit prints both output streams of a Python driver to its standard output.
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


def build_flags(landing, run_id="run", **overrides):
    values = {"sink": f"parquet:{landing / 'data'}", "trigger": "available-now", "run-id": run_id,
              "manifest": landing.parent / f"{run_id}.json"} | overrides  # fmt: skip
    return [
        part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)
    ]


@pytest.fixture
def kafka_source(broker, topic):
    return {"source": f"kafka:{topic}", "servers": broker.kafka_servers}


@pytest.fixture
def land(job, kafka_source, landing):
    """Land the topic; return the job's output and its manifest."""

    def run_job(run_id="run", code=0, **overrides):
        exit_code, output = job(
            "land_access_log", *build_flags(landing, run_id, **(kafka_source | overrides))
        )
        assert exit_code == code, output
        manifest = landing.parent / f"{run_id}.json"
        return output, json.loads(manifest.read_text()) if manifest.is_file() else None

    return run_job


@pytest.fixture
def driver(submit, kafka_source, landing):
    """Start the job in its own process, like spark-submit. Its process tree is killed afterwards."""
    processes = []

    def start_job(run_id="run", **overrides):
        command = submit(
            "land_access_log", *build_flags(landing, run_id, **(kafka_source | overrides))
        )
        env = os.environ | {"PYTHONPATH": str(PROJECT)}
        output = landing.parent / f"{run_id}.out"
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w") as out:
            process = subprocess.Popen(
                command, env=env, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True
            )
        processes.append(process)
        return process

    yield start_job
    for process in processes:
        kill_process_tree(process.pid)


def list_commits(landing):
    return {p.name for p in (landing / "checkpoint" / "commits").glob("[0-9]*")}


def send_lines(broker, topic, tmp_path, lines, **overrides):
    return produce_lines(lines, "log", servers=broker.kafka_servers, topic=topic,
                         ledgers=tmp_path / "ledger", **({"lines_per_message": 50} | overrides))  # fmt: skip


def read_line_ids(spark, landing):
    rows = spark.read.parquet(str(landing / "data")).select("line_id").collect()
    return sorted(row.line_id for row in rows)


def build_line_ids(count):
    return sorted(f"log:{line.start}" for line in generate_lines(count, 1, DAY))


def test_sending_a_log_twice_does_not_change_its_summary(
    spark, broker, topic, tmp_path, land, landing, job, shared
):
    log = shared / "data" / "apache_combined.log"
    days = ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]

    def summarise():
        code, output = job(
            "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
            "--sink", f"summary:{tmp_path / 'summary'}", "--days", ",".join(days),
        )  # fmt: skip
        assert code == 0, output
        return [
            json.loads((tmp_path / "summary" / day / "summary.json").read_text()) for day in days
        ]

    send_lines(broker, topic, tmp_path, read_lines(log))
    _, first = land("first")
    assert (first["read"], first["good"], first["bad"], first["days"]) == (10_000, 10_000, 0, days)
    first_summaries = summarise()
    assert [day["visitors"] for day in first_summaries] == [359, 643, 570, 523]
    assert [day["requests"] for day in first_summaries] == [1632, 2893, 2896, 2579]
    assert sum(day["bytes"] for day in first_summaries) == 2_747_282_740
    panels = spark.read.parquet(str(tmp_path / "summary" / days[0] / "panels.parquet"))
    assert panels.where("panel = 'hosts'").groupBy().sum("hits").first()[0] == 1632

    # Send the same log again, one line per message, like a producer that lost its ledger.
    send_lines(broker, topic, tmp_path, read_lines(log), resend=True, lines_per_message=1)
    _, second = land("second")
    assert (second["read"], second["good"]) == (10_000, 10_000)
    second_summaries = summarise()
    assert [day["lines"]["duplicates"] for day in second_summaries] == [1632, 2893, 2896, 2579]
    for day, before in zip(second_summaries, first_summaries, strict=True):
        for summary in (day, before):
            summary.pop("provenance")
            summary.pop("lines")
            summary.pop("distinct")  # its bytes depend on the order of the visitors
    assert second_summaries == first_summaries


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.fault)])
def test_a_driver_killed_during_a_batch_loses_and_duplicates_nothing(
    spark, broker, topic, tmp_path, land, landing, driver, kills
):
    send_lines(broker, topic, tmp_path, generate_lines(20_000, 1, DAY))
    for kill_number in range(kills):
        process = driver("night", **{"max-per-trigger": 60})

        def find_open_batch(batches_before=kill_number):
            planned = {p.name for p in (landing / "checkpoint" / "offsets").glob("[0-9]*")}
            return len(planned) > batches_before and planned - list_commits(landing)

        eventually(find_open_batch, 90, "a batch that is planned and not committed")
        # Kill only the JVM, like SparkSubmitOperator does. Its Python process must end by itself.
        child_processes = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(10)
        gone, alive = psutil.wait_procs(child_processes, timeout=20)
        assert not alive, "the Python driver outlived its JVM"
        del gone
    _, manifest = land("night", **{"max-per-trigger": 60})
    assert read_line_ids(spark, landing) == build_line_ids(20_000)
    assert manifest["read"] == manifest["good"] + manifest["bad"] == 20_000
    batches = [batch["batch"] for batch in manifest["batches"]]
    assert batches == sorted(set(batches))


@pytest.mark.fault
def test_a_stream_stopped_during_traffic_resumes_where_it_stopped(
    spark, broker, topic, tmp_path, land, landing, driver
):
    """Stopped by Ctrl-C, by SIGTERM to spark-submit and by a stop file, while lines arrive."""
    stop_feeding, sent_ids = threading.Event(), []

    def feed_lines():
        for line in generate_lines(1_000_000, 1, DAY):
            if stop_feeding.is_set():
                return
            sent_ids.append(f"log:{line.start}")
            yield line

    producer = threading.Thread(
        target=lambda: produce_lines(feed_lines(), "log", servers=broker.kafka_servers, topic=topic,
                                     ledgers=tmp_path / "ledger", lines_per_message=10, rate=100)
    )  # fmt: skip
    producer.start()
    stop_file = tmp_path / "stop"
    stop_methods = {
        "Ctrl-C": (130, lambda pid: os.killpg(pid, signal.SIGINT)),
        "SIGTERM": (143, lambda pid: os.kill(pid, signal.SIGTERM)),
        f"the stop file {stop_file} appeared": (0, lambda pid: stop_file.touch()),
    }
    for number, (reason, (code, stop_job)) in enumerate(stop_methods.items()):
        process = driver(f"run-{number}", trigger="every 1 second", **{"stop-file": stop_file})
        before = len(list_commits(landing))
        eventually(lambda before=before: len(list_commits(landing)) > before + 1, 90, "two batches")
        if number == 0:  # a second run is refused with the name of the first
            output, _ = land("second", code=75)
            assert "is being written by land_access_log, run run-0, process" in output
        stop_job(process.pid)
        assert process.wait(40) == code
        out = (tmp_path / "lake" / f"run-{number}.out").read_text()
        assert f"until {reason}" in out.strip().splitlines()[-1]
        assert "Traceback" not in out
        manifest = json.loads((tmp_path / "lake" / f"run-{number}.json").read_text())
        assert manifest["ended"] == reason
        assert manifest["read"] == sum(batch["read"] for batch in manifest["batches"]) > 0
    assert not stop_file.exists(), "a stop file stops once"
    stop_feeding.set()
    producer.join(60)
    land("last")
    assert len(sent_ids) > 500
    assert Counter(read_line_ids(spark, landing)) == Counter(sent_ids)


def test_an_endless_trigger_stops_cleanly_when_its_time_is_up(
    broker, topic, tmp_path, land, landing
):
    send_lines(broker, topic, tmp_path, generate_lines(300, 1, DAY))
    output, manifest = land("lease", trigger="every 1 second", **{"run-seconds": 12})
    assert manifest["read"] == 300
    assert "until --run-seconds had passed" in output
    send_lines(broker, topic, tmp_path, generate_lines(300, 2, DAY), resend=True)
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
def test_a_new_landing_begins_at_the_starting_offsets(
    broker, topic, tmp_path, land, starting, expected
):
    lines = list(generate_lines(40, 1, DAY))[:30]
    send_lines(broker, topic, tmp_path, lines[:20], lines_per_message=1)
    time.sleep(1.1)
    moment = datetime.now(UTC).isoformat()
    send_lines(broker, topic, tmp_path, lines, lines_per_message=1)
    _, manifest = land(starting_offsets=moment if starting == "time" else starting)
    assert manifest["read"] == expected


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
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
def test_an_invalid_flag_gives_a_clear_error_within_thirty_seconds(
    land, broker, topic, tmp_path, overrides, code, message
):
    send_lines(broker, topic, tmp_path, generate_lines(10, 1, DAY))
    started = time.monotonic()
    output, manifest = land(code=code, **overrides)
    assert manifest is None
    last = output.strip().splitlines()[-2:]
    assert message in " ".join(last), last
    assert not any("Traceback" in line or line.startswith("\tat ") for line in last)
    assert time.monotonic() - started < 30


def test_garbage_lands_as_bad_lines_and_does_not_stop_the_query(
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
    result = send_lines(broker, topic, tmp_path, read_lines(garbage))
    _, manifest = land()
    assert manifest["read"] == manifest["bad"] == result.lines
    rows = spark.read.parquet(str(landing / "data"))
    assert rows.where("bad_reason = 'too_long'").count() == 1
    assert rows.where("raw = 'end'").count() == 1
    expected = [f"log:{line.start}" for line in read_lines(garbage)]
    assert read_line_ids(spark, landing) == sorted(expected)


def test_heartbeats_are_counted_separately_even_after_a_kill(
    spark, broker, topic, tmp_path, land, landing, job
):
    from producers.kafka_client import Publisher

    def send_heartbeats(count):
        with Publisher(broker.kafka_servers, topic, lambda result: None) as publisher:
            for _ in range(count):
                publisher.send(b"log:heartbeat", None)

    send_heartbeats(3)
    _, manifest = land("only heartbeats")
    assert (manifest["read"], manifest["heartbeats"], manifest["days"]) == (0, 3, [])
    send_heartbeats(2)
    send_lines(broker, topic, tmp_path, generate_lines(100, 1, DAY))
    _, manifest = land("both")
    counts = {name: manifest[name] for name in ("read", "good", "bad", "heartbeats")}
    assert (counts["read"], counts["heartbeats"]) == (100, 2)
    assert manifest["days"] == ["2026-01-15"]
    # As after a kill before the batches were recorded.
    (landing / "progress.jsonl").unlink()
    _, recounted = land("recounted")
    assert recounted.items() >= (counts | {"heartbeats": 5, "days": ["2026-01-15"]}).items()
    today = datetime.now(UTC).date().isoformat()
    code, output = job(
        "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
        "--sink", f"summary:{tmp_path / 'summary'}", "--days", f"{today},2026-01-15",
    )  # fmt: skip
    assert code == 0, output
    summary = json.loads((tmp_path / "summary" / today / "summary.json").read_text())
    assert summary["lines"]["read"] == summary["requests"] == 0
    assert summary["provenance"]["heartbeat"]["minutes"] in (1, 2)
    summary = json.loads((tmp_path / "summary" / "2026-01-15" / "summary.json").read_text())
    assert summary["provenance"]["heartbeat"] is None
    assert summary["lines"]["read"] + manifest["undated"] == 100


def test_a_followed_log_and_the_same_log_as_a_file_give_the_same_report(
    broker, topic, tmp_path, land, landing, job
):
    from include.reporting.report import read_summary, write_report
    from producers.access_log.follow import follow_log

    log, stop = tmp_path / "ready" / "access.log", threading.Event()
    log.parent.mkdir()
    log.write_bytes(b"".join(line.text + b"\n" for line in generate_lines(300, 1, DAY)))
    threading.Timer(4, stop.set).start()
    result = follow_log(log, servers=broker.kafka_servers, topic=topic, ledgers=tmp_path / "ledger",
                        stop=stop, heartbeat_seconds=1)  # fmt: skip
    assert result.lines == 300
    _, manifest = land("kafka")
    assert (manifest["read"], manifest["heartbeats"] > 1) == (300, True)
    files = tmp_path / "files" / "landing"
    code, output = job("land_access_log", *build_flags(files, "files", source=f"text:{log.parent}"))
    assert code == 0, output
    reports = {}
    for kind, folder in (("kafka", landing), ("files", files)):
        code, output = job(
            "summarise_access_log", "--source", f"parquet:{folder / 'data'}", "--source-kind", kind,
            "--sink", f"summary:{tmp_path / kind}", "--days", DAY.isoformat(),
        )  # fmt: skip
        assert code == 0, output
        summary = read_summary(tmp_path / kind / DAY.isoformat() / "summary.json")
        page = write_report(summary, tmp_path / kind / "reports")
        reports[kind] = json.loads(page.with_name("report.json").read_text())
        del reports[kind]["provenance"], reports[kind]["source"]
    assert reports["kafka"] == reports["files"]


@pytest.fixture
def admin_client(broker):
    from kafka import KafkaAdminClient

    client = KafkaAdminClient(bootstrap_servers=broker.kafka_servers)
    yield client
    client.close()


def expire(admin_client, topic, partition, before):
    """Delete records like retention does: the partition then begins at offset `before`."""
    from kafka import TopicPartition

    admin_client.delete_records({TopicPartition(topic, partition): before})


def test_expired_messages_stop_the_landing_until_data_loss_is_accepted(
    spark, broker, topic, tmp_path, land, landing, admin_client, job
):
    lines = list(generate_lines(200, 1, DAY))
    send_lines(broker, topic, tmp_path, lines[:100], lines_per_message=1)
    assert land("first")[1]["lost"] == []
    landed_offsets = json.loads((landing / "progress.jsonl").read_text().splitlines()[-1])["to"][
        topic
    ]
    send_lines(broker, topic, tmp_path, lines, lines_per_message=1)
    first = landed_offsets["0"]
    expire(admin_client, topic, 0, first + 7)
    output, manifest = land("night", code=2)
    assert manifest is None
    assert "7 messages that were not landed" in output
    assert f"topic {topic}, partition 0: offsets {first} to {first + 6}, 7 messages" in output
    assert "--accept-data-loss" in output
    assert len(read_line_ids(spark, landing)) == 100
    output, manifest = land("night", **{"accept-data-loss": True})
    assert f"data loss: topic {topic}, partition 0: offsets {first} to {first + 6}" in output
    assert manifest["read"] == len(lines) - 100 - 7
    (lost,) = manifest["lost"]
    assert (lost["messages"], lost["partition"], lost["first"], lost["end"], lost["since"][:4]) == (
        7, 0, first, first + 7, str(datetime.now(UTC).year))  # fmt: skip
    assert land("next")[1]["lost"] == [], "what was accepted is not asked for again"
    code, output = job(
        "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
        "--sink", f"summary:{tmp_path / 'summary'}", "--days", datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    assert code == 0, output
    (summary,) = (tmp_path / "summary").glob("2*/summary.json")
    assert json.loads(summary.read_text())["provenance"]["data_loss"] == [lost]
    assert len(set(read_line_ids(spark, landing))) == len(read_line_ids(spark, landing)) == 193


@pytest.mark.fault
def test_data_loss_is_recorded_once_even_if_the_accepting_run_was_killed(
    spark, broker, topic, tmp_path, land, landing, admin_client
):
    send_lines(broker, topic, tmp_path, generate_lines(100, 1, DAY), lines_per_message=1)
    land("first")
    send_lines(
        broker, topic, tmp_path, generate_lines(100, 1, DAY), lines_per_message=1, resend=True
    )
    reached = json.loads((landing / "progress.jsonl").read_text().splitlines()[-1])["to"][topic]
    expire(admin_client, topic, 0, reached["0"] + 3)
    # As after a kill between the record of the data loss and the first batch.
    record = {"run": "killed", "since": None, "at": "2026-01-15T00:00:00+00:00", "topic": topic,
              "partition": 0, "first": reached["0"], "end": reached["0"] + 2, "messages": 2}  # fmt: skip
    (landing / "lost.jsonl").write_text(json.dumps(record) + '\n{"run": "ki')
    _, manifest = land("night", **{"accept-data-loss": True})
    assert [loss["messages"] for loss in manifest["lost"]] == [3]
    from spark_jobs.landing.data_loss import read_data_loss

    assert [loss["run"] for loss in read_data_loss(landing / "lost.jsonl")] == ["night"]


@pytest.mark.matrix
def test_partitions_added_to_a_topic_are_landed_from_their_beginning(
    spark, broker, topic, tmp_path, land, admin_client
):
    from kafka.admin import NewPartitions

    lines = list(generate_lines(200, 1, DAY))
    send_lines(broker, topic, tmp_path, lines[:100], lines_per_message=1)
    land("before")
    admin_client.create_partitions({topic: NewPartitions(4)})
    send_lines(broker, topic, tmp_path, lines, lines_per_message=1)
    _, manifest = land("after")
    assert manifest["read"] == len(lines) - 100
    assert set(manifest["batches"][-1]["to"][topic]) == {"0", "1", "2", "3"}


@pytest.mark.parametrize("message_count", [100, *matrix_cases(500, 900)])
def test_a_recreated_topic_is_refused_and_not_skipped(
    broker, topic, tmp_path, land, landing, admin_client, message_count
):
    """Even if it has as many messages as were landed, or more."""
    from producers.kafka_client import end_offsets, ensure_topics

    send_lines(broker, topic, tmp_path, generate_lines(500, 1, DAY), lines_per_message=1)
    land("before")
    admin_client.delete_topics([topic])
    eventually(lambda: end_offsets(broker.kafka_servers, topic) is None, 30, "the topic to be gone")
    output, _ = land("gone", code=2)
    assert f"topic {topic} is gone" in output
    ensure_topics(broker.kafka_servers, [topic], partitions=2, replication=1)
    send_lines(
        broker,
        topic,
        tmp_path,
        generate_lines(message_count, 1, DAY),
        lines_per_message=1,
        resend=True,
    )
    output, _ = land("after", code=2, **{"accept-data-loss": True})
    assert "Kafka no longer has what the checkpoint expects" in output
    assert f"move {landing} away" in output


def test_duplicate_lines_count_once_even_if_they_are_masked(
    spark, broker, topic, tmp_path, land, landing, job
):
    log, second_log = tmp_path / "access.log", tmp_path / "again"
    lines = [build_line(host=f"192.0.2.{n % 50}", request=f"GET /{n}?token=s3cret&a={n} HTTP/1.1")
             for n in range(100)]  # fmt: skip
    log.write_text("\n".join([*lines, "junk 192.0.2.77 /p?token=s3cret"]) + "\n")
    send_lines(broker, topic, tmp_path, read_lines(log))
    send_lines(broker, topic, second_log, read_lines(log))
    _, manifest = land("run", anonymise=2, **{"drop-query-names": "token"})
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (202, 200, 2)
    rows = spark.read.parquet(str(landing / "data")).collect()
    assert not {str(row) for row in rows if "s3cret" in str(row) or "192.0.2." in str(row)}
    assert {row.query for row in rows if row.host} == {f"a={n}" for n in range(100)}
    day = "2015-05-17"
    code, output = job(
        "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
        "--sink", f"summary:{tmp_path / 'summary'}", "--days", day,
    )  # fmt: skip
    assert code == 0, output
    summary = json.loads((tmp_path / "summary" / day / "summary.json").read_text())
    assert (summary["requests"], summary["lines"]["duplicates"], summary["visitors"]) == (
        100,
        100,
        1,
    )
