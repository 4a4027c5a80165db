"""
### Run a stream

Runs one of the streaming jobs with the source, sink, output mode and trigger that you choose, for up to
`run_seconds`. The first task refuses a combination that cannot run, with the job's own error message. The
log of the task `stream` shows the tables of the console sink, the rows of the memory sink, and one line of
progress per batch. docs/streams.md lists the combinations.

**When** you trigger it.

**Reads** a Kafka topic, a folder of the lake, a socket, or Spark's rate source.

**Writes** the console or a table in memory (both to the log), a topic, or files in `var/lake/streams/`.

**Then** see the totals: the XCom of the task `totals`, and the asset event on the run's page.

**Params** (each has a default; all are text except `run_seconds`, an integer)

- `job` (`clickstream_totals`), `source` (`kafka:clickstream`), `sink` (`console`), `output_mode`
  (`complete`), `trigger` (`available-now`), `run_seconds` (60), `starting_offsets` (`earliest`).
- `shape` (`rows`), `by` (`minute`), `watermark` (`10 minutes`): for clickstream jobs.
- `show` (`parsed`): for `watch_access_log`.

**Example conf** `{"job": "clickstream_totals", "by": "window", "output_mode": "update", "run_seconds": 120}`

*If it fails*: `plan` names the value that is wrong and the accepted values. `stream` ends with the job's
own error message; nothing is lost, trigger it again. To stop a stream early and gracefully, create the file
that its flag `--stop-file` names.
"""

import json
from datetime import timedelta
from typing import Any

from airflow.sdk import chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.lake.paths import run_manifest_path
from include.orchestration.assets import STREAM_RUN
from include.orchestration.spark_submit import spark_job
from include.orchestration.stream_form import DAG_ID, PARAMS
from include.settings import load_settings


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
        from include.orchestration.preflight import check_prerequisites
        from include.orchestration.stream_form import InvalidForm, build_flags

        settings = load_settings()
        endpoints = (params["source"], params["sink"])
        needs_kafka = any(endpoint.startswith("kafka:") for endpoint in endpoints)
        check_prerequisites(settings, "kafka" if needs_kafka else "files")
        try:
            return build_flags(settings, params, get_current_context()["run_id"])
        except InvalidForm as error:
            raise AirflowFailException(str(error)) from None

    stream = spark_job(
        "{{ params.job }}",
        task_id="stream",
        has_kafka=True,
        application_args=plan(),
        execution_timeout=timedelta(minutes=30),
    )

    @task(outlets=[STREAM_RUN])
    def totals() -> dict[str, Any]:
        context = get_current_context()
        manifest = run_manifest_path(load_settings(), DAG_ID, context["run_id"])
        result: dict[str, Any] = json.loads(manifest.read_text())
        result |= result.pop("totals", {})
        # The batch records of a landing are too large for an XCom.
        if isinstance(result["batches"], list):
            del result["batches"]
        context["outlet_events"][STREAM_RUN].extra = result
        return result

    chain(stream, totals())


run_stream()
