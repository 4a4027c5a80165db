"""The examples of the course as the form of `run_stream` sends them: its flags, run by the job.

That Airflow itself runs the form is in tests/whole.
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
def sent(broker, tmp_path_factory):
    """The broker's settings; its topics have the events and lines of the course."""
    ensure_topics(broker.kafka_servers, list_topics(broker), partitions=2, replication=1)
    # Other tests may have sent to these topics: the examples begin behind that.
    ends = {}
    for topic in list_topics(broker):
        found = end_offsets(broker.kafka_servers, topic)
        ends[topic] = ",".join(f"{partition}:{found[partition]}" for partition in sorted(found))
    made = list(generate_events(600, 1, campaigns=3))
    publish_messages(
        encode_events(made, "rows", 20, 0.1, 1), broker.kafka_servers, broker.clickstream_topic
    )
    publish_messages(encode_events(generate_events(600, 1), "batches", 20, 0, 1), broker.kafka_servers,
            broker.clickstream_batches_topic)  # fmt: skip
    produce_lines(generate_lines(2000, 1, date(2026, 1, 15)), "log", servers=broker.kafka_servers,
            topic=broker.access_log_topic, ledgers=tmp_path_factory.mktemp("form") / "ledger")  # fmt: skip
    return broker, ends


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_from_its_form_and_tells_its_totals(sent, job, example):
    settings, ends = sent
    conf, says, told = EXAMPLES[example]
    form = {name: param.value for name, param in PARAMS.items()} | conf
    if "{port}" in form["source"]:
        port = find_free_port(22900)
        form["source"] = form["source"].format(port=port)
        lines = [b"the tide comes in", b"the tide goes out"]
        serving = {
            "target": serve_lines,
            "args": (lines, "127.0.0.1", port),
            "kwargs": {"keep_open": True},
        }
        threading.Thread(daemon=True, **serving).start()
    else:
        form["starting_offsets"] = ends[form["source"].removeprefix("kafka:")]
    run_id = f"a {example}"
    code, said = job(form["job"], *build_flags(settings, form, run_id))
    assert code == 0, said
    assert says in said
    manifest = json.loads(run_manifest_path(settings, DAG_ID, run_id).read_text())
    assert (manifest | manifest.get("totals", {})).items() >= told.items(), manifest
