"""Runs the course's examples with the flags that the form of `run_stream` gives to the job.

tests/whole tests that Airflow runs the form.
"""

import json
import threading
from datetime import date

import pytest

from dags.run_stream import PARAMS
from include.datasets import list_topics
from include.lake.paths import run_manifest_path
from include.local_stack.doctor import find_free_port
from include.orchestration.stream_form import DAG_ID, build_flags
from producers.access_log.generator import generate_lines
from producers.access_log.produce import produce_lines
from producers.clickstream.events import generate_events
from producers.clickstream.publish import encode_events, publish_messages
from producers.kafka_client import end_offsets, ensure_topics
from producers.line_server import serve_lines

EXAMPLES = {
    "word count": (
        {"job": "word_count", "source": "socket:127.0.0.1:{port}", "sink": "console",
         "trigger": "every 1 second", "run_seconds": 10}, "|tide |2    |", {"rows": 2}),
    "batches": (
        {"source": "kafka:clickstream-batches", "shape": "batches", "sink": "memory:totals"},
        "|0         |103              |", {"rows": 30, "good": 600}),
    "access log": (
        {"job": "watch_access_log", "source": "kafka:access-log", "sink": "memory:by_status",
         "show": "by-status"}, "|304   |", {"late": 0}),
    "landing": (
        {"job": "land_clickstream", "sink": "csv:clicks", "output_mode": "append"},
        "672 events = 600 good + 72 bad", {"read": 672, "good": 600}),
    "errors": (
        {"job": "route_errors", "source": "kafka:access-log", "sink": "kafka:access-log-errors",
         "output_mode": "update", "trigger": "real-time 5 seconds", "run_seconds": 8},
        "until --run-seconds had passed", {"ended": "--run-seconds had passed"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def filled_topics(broker, tmp_path_factory):
    """Send the course's events and lines; return the broker's settings and where each topic's begin."""
    ensure_topics(broker.kafka_servers, list_topics(broker), partitions=2, replication=1)
    # Other tests may have sent to these topics: the examples begin after those messages.
    starting_offsets = {}
    for topic in list_topics(broker):
        end_by_partition = end_offsets(broker.kafka_servers, topic)
        starting_offsets[topic] = ",".join(
            f"{partition}:{end_by_partition[partition]}" for partition in sorted(end_by_partition)
        )
    events = list(generate_events(600, 1, campaigns=3))
    publish_messages(
        encode_events(events, "rows", 20, 0.1, 1), broker.kafka_servers, broker.clickstream_topic
    )
    publish_messages(encode_events(generate_events(600, 1), "batches", 20, 0, 1), broker.kafka_servers,
                     broker.clickstream_batches_topic)  # fmt: skip
    produce_lines(generate_lines(2000, 1, date(2026, 1, 15)), "log", servers=broker.kafka_servers,
                  topic=broker.access_log_topic,
                  ledgers=tmp_path_factory.mktemp("form") / "ledger")  # fmt: skip
    return broker, starting_offsets


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_from_its_form_and_reports_its_totals(filled_topics, job, example):
    settings, starting_offsets = filled_topics
    conf, expected_output, expected_totals = EXAMPLES[example]
    form = {name: param.value for name, param in PARAMS.items()} | conf
    if "{port}" in form["source"]:
        port = find_free_port(22900)
        form["source"] = form["source"].format(port=port)
        lines = [b"the tide comes in", b"the tide goes out"]
        thread_options = {
            "target": serve_lines,
            "args": (lines, "127.0.0.1", port),
            "kwargs": {"keep_open": True},
        }
        threading.Thread(daemon=True, **thread_options).start()
    else:
        form["starting_offsets"] = starting_offsets[form["source"].removeprefix("kafka:")]
    run_id = f"a {example}"
    code, output = job(form["job"], *build_flags(settings, form, run_id))
    assert code == 0, output
    assert expected_output in output
    manifest = json.loads(run_manifest_path(settings, DAG_ID, run_id).read_text())
    assert (manifest | manifest.get("totals", {})).items() >= expected_totals.items(), manifest
