"""
### Backfill access logs

Months of rotated logs in one go: land every file once, summarise all days in one Spark application, check
everything, then replace the reports. A dry run, the default, says what is there, and time and disk for it.

**When** you trigger it; first as it is, then without `dry_run`.
**Reads** the files in `var/lake/inbox/access_log/`.
**Writes** the landing, each day's summary and report; `make restore RUN=<run>` puts back what it replaced.
**Then** open the run's tab *Report*. Days that would get fewer lines wait under *Required Actions*.

*If it fails*: the log of the red task ends with what to do. Until `validate` is green nothing is replaced.
Clear the red task, or run it again: what was landed is not landed again.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from include.assets import ACCESS_LOG_LANDED, ACCESS_LOG_REPORT
from include.backfill import run_folder
from include.lake import data_at, landing, ready, run_manifest
from include.reporting.report_task import report_task
from include.settings import load_settings
from include.spark_submit import parsing, spark_job, summarise_days

SETTINGS = load_settings()
DATASET, POOL = "access_log", {"pool": "landing_access_log"}
FILES = f"parquet:{landing(SETTINGS, DATASET, 'files')}/data"
STAGED = "{{ ti.xcom_pull(task_ids='inventory') }}"
LINES = "ti.xcom_pull(task_ids='inventory', key='lines')"
DAY = {"type": ["null", "string"], "format": "date"}


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["access log", "spark", "report", "backfill"],
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "dry_run": Param(True, type="boolean", title="Only look",
                         description="Say what is there and what it will cost; change nothing"),
        "first_day": Param(None, **DAY, description="Nothing: from the first day of the files"),
        "last_day": Param(None, **DAY, description="Nothing: to their last day"),
        "publish_anyway": Param(False, type="boolean", title="Publish days that fail a check"),
    },
)  # fmt: skip
def backfill_access_logs():
    @task(pool="landing_access_log")
    def inventory(params: dict[str, Any]) -> str:
        from include.backfill import inventory
        from include.preflight import check

        settings, context = load_settings(), get_current_context()
        check(settings, "files")
        told = inventory(settings, context["run_id"], only_look=params["dry_run"])
        context["ti"].xcom_push("lines", told["lines"])
        return str(run_folder(settings, context["run_id"]))

    @task.short_circuit
    def is_for_real(params: dict[str, Any]) -> bool:
        return not params["dry_run"]

    land = spark_job(
        "land_access_log", source=f"text:{ready(SETTINGS, DATASET)}", sink=FILES, lines=LINES,
        **data_at(SETTINGS, DATASET, "files"), trigger="available-now", run_id="{{ run_id }}",
        **parsing(SETTINGS),
        manifest=run_manifest(SETTINGS, "backfill_access_logs", "{{ run_id }}"),
        operator=POOL | {"outlets": [ACCESS_LOG_LANDED]},
    )  # fmt: skip

    @task
    def choose_days(params: dict[str, Any]) -> list[str]:
        from include.backfill import days_to_do

        days = days_to_do(load_settings(), params["first_day"], params["last_day"])
        if not days:
            raise AirflowSkipException("no day of the files is new: every report has seen them")
        return days

    summarise = summarise_days(
        SETTINGS, "files", "{{ ti.xcom_pull(task_ids='choose_days') | join(',') }}",
        sink=f"{STAGED}/summary", by_file=f"{STAGED}/by_file.json", lines=LINES, operator=POOL,
    )  # fmt: skip

    @task
    def validate(days: list[str]) -> list[str]:
        from include.backfill import validate

        context = get_current_context()
        found = validate(load_settings(), context["run_id"], days)
        for key in ("fewer", "table"):
            context["ti"].xcom_push(key, found[key])
        return found["publish"]

    @report_task(outlets=[ACCESS_LOG_REPORT], map_index_template="{{ day }}")
    def publish(day: str, params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.publishing import publish_in_task

        (context := get_current_context())["day"] = day
        staged = run_folder(load_settings(), context["run_id"]) / "summary"
        return publish_in_task([day], anyway=params["publish_anyway"], staged=staged)

    @task(trigger_rule="none_failed")
    def publish_periods(days: list[str] | None) -> None:
        from include.publishing import write_periods

        write_periods(load_settings(), days or [])

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def has_fewer() -> list[str]:
        return get_current_context()["ti"].xcom_pull(task_ids="validate", key="fewer")

    approve_fewer_lines = ApprovalOperator(
        task_id="approve_fewer_lines", subject="Replace published days with fewer lines?",
        body="{{ ti.xcom_pull(task_ids='validate', key='table') }}",
    )  # fmt: skip
    days, fewer = choose_days(), has_fewer()
    checked = validate(days)
    chain(inventory(), is_for_real(), land, days, summarise, checked, fewer, approve_fewer_lines)
    approved = publish.override(task_id="publish_fewer").expand(day=fewer)
    approve_fewer_lines >> approved
    [publish.expand(day=checked), approved] >> publish_periods(days)


backfill_access_logs()
