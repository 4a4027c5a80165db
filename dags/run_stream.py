"""
### Run a stream

Any of the streams, with the source, sink, output mode and trigger that you choose, for as long as you
say. What cannot run is refused by the first task, in the words of the job. The console's tables, the
rows of the table in memory, and a line of progress a batch are in the log of the task `stream`.

**When** you trigger it.
**Reads** a Kafka topic, a folder of the lake, a socket, or Spark's clock (rate).
**Writes** the console or a table in memory (to the log), a topic, or files in `var/lake/streams/`.
**Then** see the totals: the XCom of the task `totals`, and the asset event on the run's page.

*If it fails*: `plan` says which word does not fit and which would. `stream` ends with the job's own
sentence; nothing is lost, run it again. To end a stream early and cleanly, make the file that its
flag `--stop-file` names.
"""

import json
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.assets import STREAM_RUN
from include.lake import run_manifest
from include.run_stream import DAG, JOBS
from include.settings import load_settings
from include.spark_submit import spark_job

# Python's `$` also matches before a newline at the end, hence (?!\n); a browser knows no `\Z`.
WORD = r"^[a-z]+(:[A-Za-z0-9_][A-Za-z0-9_./:-]*)?$(?!\n)"
WATERMARK = r"^[1-9][0-9]{0,4} (second|minute|hour|day)s?$(?!\n)"
TRIGGER = (
    r"^(available-now|once|(every|continuous|real-time) [1-9][0-9]{0,4} "
    r"(millisecond|second|minute|hour|day)s?)$(?!\n)"
)
PARAMS = {
    "job": Param("clickstream_totals", enum=JOBS, title="Job"),
    "source": Param("kafka:clickstream", type="string", pattern=WORD, title="Source",
                    description="kafka:TOPIC, socket:HOST:PORT, rate:N; text:, csv:, json:, orc: or "
                                "parquet:FOLDER-OF-THE-LAKE"),
    "sink": Param("console", type="string", pattern=WORD, title="Sink",
                  description="console, memory:NAME, kafka:TOPIC, foreach:sqlite:NAME; parquet:, "
                              "orc:, json: or csv:NAME"),
    "output_mode": Param("complete", enum=["append", "complete", "update"], title="Output mode"),
    "trigger": Param("available-now", type="string", title="Trigger", pattern=TRIGGER,
                     description="available-now, once, every 5 seconds, continuous 1 second, "
                                 "real-time 5 seconds"),
    "run_seconds": Param(60, type="integer", minimum=1, maximum=1500, title="Seconds at most"),
    "starting": Param("earliest", type="string", pattern=r"^[A-Za-z0-9][A-Za-z0-9:,.+-]{0,63}$(?!\n)",
                      description="Where in a topic: earliest, latest, 2026-01-15T00:00:00Z, "
                                  "0:100,1:250"),
    "shape": Param("rows", enum=["rows", "batches"], section="clickstream"),
    "by": Param("minute", enum=["minute", "window"], section="clickstream"),
    "watermark": Param("10 minutes", type="string", pattern=WATERMARK, section="clickstream",
                       description="How late an event may come, by window"),
    "show": Param("parsed", enum=["parsed", "unsuccessful", "by-status", "visits"],
                  section="watch_access_log"),
}  # fmt: skip


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["stream", "spark"],
    params=PARAMS,
    max_active_runs=1,
    default_args={"retries": 0},
)
def run_stream():
    @task
    def plan(params: dict[str, Any]) -> list[str]:
        from include.preflight import check
        from include.run_stream import FormRefused, flags_of

        settings = load_settings()
        words = (params["source"], params["sink"])
        needs_kafka = any(word.startswith("kafka:") for word in words)
        check(settings, "kafka" if needs_kafka else "files")
        try:
            return flags_of(settings, params, get_current_context()["run_id"])
        except FormRefused as refused:
            raise AirflowFailException(str(refused)) from None

    stream = spark_job(
        "{{ params.job }}", task_id="stream", kafka=True, application_args=plan(),
        operator={"execution_timeout": timedelta(minutes=30)},
    )  # fmt: skip

    @task(outlets=[STREAM_RUN])
    def totals() -> dict[str, Any]:
        context = get_current_context()
        manifest = run_manifest(load_settings(), DAG, context["run_id"])
        told: dict[str, Any] = json.loads(manifest.read_text())
        told |= told.pop("totals", {})
        if isinstance(told["batches"], list):  # a landing's own records: too many for an XCom
            del told["batches"]
        context["outlet_events"][STREAM_RUN].extra = told
        return told

    chain(stream, totals())


run_stream()
