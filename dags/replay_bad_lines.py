"""
### Replay bad lines

Parses the bad lines of the access log again, with the current parser and settings: a new
`TIDEMARK_LOG_FORMAT`, or a newer version. It shows which lines can be parsed now, waits for your approval,
and then updates the days that these lines belong to. A repeated run changes nothing.

**When** you trigger it, after a fix.

**Reads** `var/lake/landing/access_log/<source>/`.

**Writes** `var/lake/runs/replay_bad_lines/<run>.json` and `.csv` (every bad line, its reason, whether it
can be parsed now); after approval `replayed/` beside the landing's data, and the summaries and reports of
the days.

**Then** answer under *Required Actions*, and open the run's tab *Report*.

**Params**

- `source` (`kafka` or `files`, default `kafka`): where the lines came from.
- `publish_anyway` (boolean, default false): publish days that fail a check.

**Example conf** `{"source": "files"}`

*If it fails*: the end of the failed task's log says what to do. The landed bad lines are never changed:
clear the failed task, or trigger the DAG again.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from include.datasets import ACCESS_LOG
from include.lake.paths import landing_endpoint, summaries_path
from include.orchestration.assets import ACCESS_LOG_REPORT, ACCESS_LOG_SUMMARY
from include.orchestration.report_task import report_task
from include.orchestration.spark_submit import build_parsing_flags, spark_job, summarise_days
from include.settings import load_settings

SETTINGS = load_settings()
LANDED_DATA = landing_endpoint(SETTINGS, ACCESS_LOG.name, "{{ params.source }}")
REPARSE_REPORT = str(SETTINGS.lake / "runs" / "replay_bad_lines" / "{{ run_id }}")


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["access log", "spark", "report"],
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "source": Param("kafka", enum=["kafka", "files"], title="Source of the lines"),
        "publish_anyway": Param(False, type="boolean", title="Publish days that fail a check"),
    },
)
def replay_bad_lines():
    @task
    def preflight(params: dict[str, Any]) -> str:
        from include.orchestration.preflight import check_prerequisites

        return check_prerequisites(load_settings(), "files")

    flags = {
        "source": LANDED_DATA,
        "run_id": "{{ run_id }}",
        "report": REPARSE_REPORT,
        **build_parsing_flags(SETTINGS),
    }
    dry_run = spark_job(
        "replay_bad_lines", task_id="dry_run", flags=flags | {"dry_run": None}, pool=ACCESS_LOG.pool
    )

    @task(multiple_outputs=True)
    def show(params: dict[str, Any]) -> dict[str, Any]:
        from include.orchestration.reparse_plan import build_reparse_plan

        run_id = get_current_context()["run_id"]
        plan = build_reparse_plan(load_settings(), params["source"], run_id)
        if not plan["days"]:
            raise AirflowSkipException("no day would change, so there is nothing to approve")
        return plan

    approve_replay = ApprovalOperator(
        task_id="approve_replay",
        subject="Replay the bad lines that can be parsed now?",
        body="{{ ti.xcom_pull(task_ids='show')['text'] }}",
    )
    replay = spark_job("replay_bad_lines", task_id="replay", flags=flags, pool=ACCESS_LOG.pool)
    summarise = summarise_days(
        SETTINGS,
        "{{ params.source }}",
        "{{ ti.xcom_pull(task_ids='show')['days'] | join(',') }}",
        sink=str(summaries_path(SETTINGS, ACCESS_LOG.name)),
        pool=ACCESS_LOG.pool,
        outlets=[ACCESS_LOG_SUMMARY],
    )

    @report_task(outlets=[ACCESS_LOG_REPORT])
    def report(days: list[str], params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.orchestration.publish_task import publish_reports

        return publish_reports(days, publish_anyway=params["publish_anyway"])

    plan = show()
    chain(preflight(), dry_run, plan, approve_replay, replay, summarise, report(plan["days"]))


replay_bad_lines()
