"""The jobs by spark-submit on a real broker, as Airflow runs them: killed, refused, run again.

What a Python driver prints, to either stream, spark-submit prints to its standard output.
"""

import json
import os
import subprocess
import time
from datetime import date

import psutil
import pytest

from include.settings import PROJECT
from producers.access_log.generator import generate
from producers.access_log.produce import produce
from producers.access_log.replay import read_lines
from tests.conftest import eventually, kill_family, run

DAY = date(2026, 1, 15)


@pytest.fixture
def landing(tmp_path):
    return tmp_path / "lake" / "landing"


@pytest.fixture
def land(submit, broker, topic, landing):
    """Land the topic in a process of its own; give what it printed and its manifest."""

    def landed(run_id="run", check=True, **changed):
        done = run(command(run_id, **changed))
        manifest = landing.parent / f"{run_id}.json"
        if check:
            assert done.returncode == 0, done.stdout[-3000:]
        return done, json.loads(manifest.read_text()) if manifest.is_file() else None

    def command(run_id="run", **changed):
        flags = {"source": f"kafka:{topic}", "servers": broker.kafka_servers,
                 "sink": f"parquet:{landing / 'data'}", "trigger": "available-now",
                 "run-id": run_id, "manifest": landing.parent / f"{run_id}.json"} | changed  # fmt: skip
        return submit("land_access_log", *[x for n, v in flags.items() for x in (f"--{n}", v)])

    landed.command = command
    return landed


def sent(broker, topic, tmp_path, lines, **changed):
    return produce(lines, "log", servers=broker.kafka_servers, topic=topic,
                   ledgers=tmp_path / "ledger", **({"lines_per_message": 50} | changed))  # fmt: skip


def ids(spark, landing):
    rows = spark.read.parquet(str(landing / "data")).select("line_id").collect()
    return sorted(row.line_id for row in rows)


def expected_ids(count):
    return sorted(f"log:{line.start}" for line in generate(count, 1, DAY))


def test_from_a_log_to_a_summary_and_again_changes_no_number(
    spark, broker, topic, tmp_path, land, landing, submit, shared
):
    log = shared / "data" / "apache_combined.log"
    days = ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]

    def summarised():
        done = run(submit(
            "summarise_access_log", "--source", f"parquet:{landing / 'data'}", "--source-kind", "kafka",
            "--sink", f"summary:{tmp_path / 'summary'}", "--days", ",".join(days),
        ))  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
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
    sent(broker, topic, tmp_path, read_lines(log), again=True, lines_per_message=1)
    _, second = land("second")
    assert (second["read"], second["good"]) == (10_000, 10_000)
    twice = summarised()
    assert [day["lines"]["repeated"] for day in twice] == [1632, 2893, 2896, 2579]
    for day, before in zip(twice, once, strict=True):
        for told in (day, before):
            told.pop("provenance")
            told.pop("lines")
    assert twice == once


def test_a_driver_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    spark, broker, topic, tmp_path, land, landing
):
    sent(broker, topic, tmp_path, generate(20_000, 1, DAY))
    for nth in range(3):
        command = land.command("night", **{"max-per-trigger": 60})
        env = os.environ | {"PYTHONPATH": str(PROJECT)}
        driver = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        offsets, commits = landing / "checkpoint" / "offsets", landing / "checkpoint" / "commits"

        def in_a_batch(offsets=offsets, commits=commits, more_than=nth):
            planned = {p.name for p in offsets.glob("[0-9]*")}
            done = {p.name for p in commits.glob("[0-9]*")}
            return len(planned) > more_than and planned - done

        eventually(in_a_batch, 90, "a batch that is planned and not committed")
        # The JVM first, as SparkSubmitOperator's kill does; its Python follows by itself.
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait(10)
        gone, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, "the Python driver outlived its JVM"
        del gone
    _, manifest = land("night", **{"max-per-trigger": 60})
    assert ids(spark, landing) == expected_ids(20_000)
    assert manifest["read"] == manifest["good"] + manifest["bad"] == 20_000
    batches = [batch["batch"] for batch in manifest["batches"]]
    assert batches == sorted(set(batches))


def test_a_second_driver_is_refused_while_the_first_runs(
    broker, topic, tmp_path, land, landing, spark
):
    sent(broker, topic, tmp_path, generate(2000, 1, DAY))
    command = land.command("first", trigger="every 1 second", **{"run-seconds": 60})
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: list((landing / "checkpoint" / "commits").glob("[0-9]*")), 90, "a batch")
        second, _ = land("second", check=False)
        assert second.returncode == 2
        assert "is being written by land_access_log, run first" in second.stdout
    finally:
        kill_family(first.pid)
    land("third")
    assert ids(spark, landing) == expected_ids(2000)


def test_an_endless_trigger_stops_cleanly_when_its_time_is_up(
    broker, topic, tmp_path, land, landing, spark
):
    sent(broker, topic, tmp_path, generate(300, 1, DAY))
    started = time.monotonic()
    done, manifest = land("lease", trigger="every 1 second", **{"run-seconds": 8})
    assert time.monotonic() - started < 90
    assert manifest["read"] == 300
    sent(broker, topic, tmp_path, generate(300, 2, DAY), again=True)
    _, manifest = land("next", trigger="every 1 second", **{"run-seconds": 8})
    assert manifest["read"] == 300
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"source": "socket:localhost:1"}, 2, "does not serve 'socket'"),
        ({"sink": "console"}, 2, "does not serve 'console'"),
        ({"trigger": "continuous 1 second"}, 2, "does not serve the continuous trigger"),
        ({"trigger": "soon"}, 2, "use available-now, once or every 5 seconds"),
        ({"servers": "127.0.0.1:1"}, 2, "no Kafka broker answers at 127.0.0.1:1"),
        ({"source": "text:/nowhere"}, 2, "there is no folder /nowhere"),
        ({"source": "kafka:no-such-topic"}, 1, "the topic does not exist"),
        ({"output-mode": "complete"}, 2, "files can only be added to; use append"),
        ({"run-seconds": "0"}, 2, "is not a number from 1 on"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_word_ends_in_one_sentence_within_thirty_seconds(land, changed, code, says):
    started = time.monotonic()
    done, manifest = land(check=False, **changed)
    assert (done.returncode, manifest) == (code, None), done.stdout[-2000:]
    last = done.stdout.strip().splitlines()[-3:]
    assert says in " ".join(last), last
    assert not any("Traceback" in line or line.startswith("\tat ") for line in last)
    assert time.monotonic() - started < 60


def test_garbage_lands_as_bad_lines_and_the_query_lives(
    broker, topic, tmp_path, land, landing, spark
):
    garbage = tmp_path / "garbage"
    garbage.write_bytes(
        os.urandom(200_000) + b"\n" + b"\0" * 1000 + b"\n" + b"x" * 3_000_000 + b"\nend"
    )
    done = sent(broker, topic, tmp_path, read_lines(garbage))
    _, manifest = land()
    assert manifest["read"] == manifest["bad"] == done.lines
    rows = spark.read.parquet(str(landing / "data"))
    assert rows.where("bad_reason = 'too_long'").count() == 1
    assert rows.where("raw = 'end'").count() == 1
    expected = [f"log:{line.start}" for line in read_lines(garbage)]
    assert ids(spark, landing) == sorted(expected)


def test_a_topic_made_anew_is_told_of_and_not_skipped(broker, topic, tmp_path, land, landing):
    from kafka import KafkaAdminClient

    from producers.kafka_client import end_offsets, ensure_topics

    sent(broker, topic, tmp_path, generate(500, 1, DAY))
    land("before")
    admin = KafkaAdminClient(bootstrap_servers=broker.kafka_servers)
    admin.delete_topics([topic])
    eventually(lambda: end_offsets(broker.kafka_servers, topic) is None, 30, "the topic to be gone")
    admin.close()
    ensure_topics(broker.kafka_servers, [topic], partitions=2, replication=1)
    done, _ = land("after", check=False)
    assert done.returncode == 1
    assert "Kafka no longer has what the checkpoint expects" in done.stdout


def test_help_is_the_header_of_the_job(submit):
    done = run(submit("land_access_log", "--help"))
    assert done.returncode == 0
    assert "Reads   raw access-log lines" in done.stdout
    assert "--run-seconds" in done.stdout
