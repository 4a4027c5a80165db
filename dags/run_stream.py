"""
### Run a stream

One of the course's streams, with the source, sink, output mode and trigger that you choose, for as
long as you say. What cannot run is refused by the first task, in the words of the job. The console's
tables, or the rows of the table in memory, are in the log of the task `stream`.

**When** you trigger it.
**Reads** a Kafka topic, a folder of the lake, or a socket.
**Writes** the console or a table in memory (to the log), or a topic.
**Then** change one word and run it again: docs/streams.md shows the examples.

*If it fails*: `plan` says which word does not fit and which would. `stream` ends with the job's own
sentence; nothing is lost, run it again.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from include.run_stream import JOBS
from include.settings import load_settings
from include.spark_submit import spark_job

WORD = r"^[a-z]+(:[A-Za-z0-9_][A-Za-z0-9_./:-]*)?$"
PARAMS = {
    "job": Param("clickstream_totals", enum=JOBS, title="Job"),
    "source": Param("kafka:clickstream", type="string", pattern=WORD, title="Source",
                    description="kafka:TOPIC, text:FOLDER-OF-THE-LAKE, socket:HOST:PORT"),
    "sink": Param("console", type="string", pattern=WORD, title="Sink",
                  description="console, memory:NAME; route_errors: kafka:TOPIC"),
    "output_mode": Param("complete", enum=["append", "complete", "update"], title="Output mode"),
    "trigger": Param("available-now", type="string", title="Trigger",
                     pattern=r"^[a-z-]+( [0-9]{1,5} [a-z]+)?$",
                     description="available-now, once, every 5 seconds; route_errors also: "
                                 "continuous 1 second, real-time 5 seconds"),
    "run_seconds": Param(60, type="integer", minimum=1, maximum=1500, title="Seconds at most"),
    "shape": Param("rows", enum=["rows", "batches"], section="clickstream_totals"),
    "show": Param("parsed", enum=["parsed", "unsuccessful", "by-status"],
                  section="watch_access_log"),
    "select": Param(None, type=["null", "string"], maxLength=2000, section="memory:NAME",
                    description="SQL on the table, shown at the end"),
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
        check(settings, params["source"].partition(":")[0])
        try:
            return flags_of(settings, params)
        except FormRefused as refused:
            raise AirflowFailException(str(refused)) from None

    spark_job(
        "{{ params.job }}", task_id="stream", kafka=True, application_args=plan(),
        operator={"execution_timeout": timedelta(minutes=30)},
    )  # fmt: skip


run_stream()
