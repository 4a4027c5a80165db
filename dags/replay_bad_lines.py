"""
### Replay bad lines

Reads the bad lines of the access log again, with the parser and the settings of now: a new
`TIDEMARK_LOG_FORMAT`, a newer version. Shows what could be read now, waits until you approve, and
then redoes the days that these lines belong to. To repeat it changes nothing.

**When** you trigger it, after a fix.
**Reads** `var/lake/landing/access_log/<source>/`.
**Writes** `var/lake/runs/replay_bad_lines/<run>.json` and `.csv` (every bad line, its reason, whether
it can be read now); when approved, `replayed/` beside the landing's data, summaries and reports of the days.
**Then** answer under *Required Actions*, and open the run's tab *Report*.

*If it fails*: the log of the red task ends with what to do. The bad lines stay where they are whatever
happens; clear the red task, or run it again.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from include.assets import ACCESS_LOG_REPORT, ACCESS_LOG_SUMMARY
from include.lake import landing, summaries
from include.reporting.report_task import report_task
from include.settings import load_settings
from include.spark_submit import parsing, spark_job, summarise_days

SETTINGS = load_settings()
DATASET = "access_log"
POOL = {"pool": "landing_access_log"}
LANDED = "parquet:" + str(landing(SETTINGS, DATASET, "{{ params.source }}") / "data")
OTHER = LANDED.replace("params.source", "'files' if params.source == 'kafka' else 'kafka'")
REPORT = str(SETTINGS.lake / "runs" / "replay_bad_lines" / "{{ run_id }}")


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["access log", "spark", "report"],
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "source": Param("kafka", enum=["kafka", "files"], title="Where the lines came from"),
        "publish_anyway": Param(False, type="boolean", title="Publish days that fail a check"),
    },
)
def replay_bad_lines():
    @task
    def preflight(params: dict[str, Any]) -> str:
        from include.preflight import check

        return check(load_settings(), "files")

    words = {"source": LANDED, "run_id": "{{ run_id }}", "report": REPORT, **parsing(SETTINGS)}
    look = spark_job("replay_bad_lines", task_id="look", look=None, operator=POOL, **words)

    @task(multiple_outputs=True)
    def show(params: dict[str, Any]) -> dict[str, Any]:
        from include.replay import show

        found = show(load_settings(), params["source"], get_current_context()["run_id"])
        if not found["days"]:
            raise AirflowSkipException("no day would change: nothing to approve")
        return found

    approve_replay = ApprovalOperator(
        task_id="approve_replay", subject="Replay the bad lines that can be read now?",
        body="{{ ti.xcom_pull(task_ids='show')['text'] }}",
    )  # fmt: skip
    replay = spark_job("replay_bad_lines", task_id="replay", operator=POOL, **words)
    summarise = summarise_days(
        SETTINGS, "{{ params.source }}", "{{ ti.xcom_pull(task_ids='show')['days'] | join(',') }}",
        sink=str(summaries(SETTINGS, DATASET)), operator=POOL | {"outlets": [ACCESS_LOG_SUMMARY]},
    )  # fmt: skip

    @report_task(outlets=[ACCESS_LOG_REPORT])
    def report(days: list[str], params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.publishing import publish_in_task

        return publish_in_task(days, anyway=params["publish_anyway"])

    found = show()
    chain(preflight(), look, found, approve_replay, replay, summarise, report(found["days"]))


replay_bad_lines()
