"""
### Backfill access logs

Processes months of rotated logs in one run: lands every file once, summarises all days in one Spark
application, checks everything, and only then replaces the reports. By default this is a dry run: it lists
the files, the time and the disk space that the run would need, and changes nothing.

**When** you trigger it: first as a dry run, then with `dry_run` off.

**Reads** the files in `var/lake/inbox/access_log/`.

**Writes** the landing, and each day's summary and report. `make restore RUN=<run>` restores what it
replaced.

**Then** open the run's tab *Report*. Days that would get fewer lines wait for you under *Required Actions*.

**Params**

- `dry_run` (boolean, default true): list files, time and disk space; change nothing.
- `first_day` (date or null, default null): first day to report. Null: the first day of the files.
- `last_day` (date or null, default null): last day to report. Null: the last day of the files.
- `publish_anyway` (boolean, default false): publish days that fail a check.

**Example conf** `{"dry_run": false, "first_day": "2025-10-01", "last_day": "2025-12-31"}`

*If it fails*: the end of the failed task's log says what to do. Nothing is replaced before `validate` has
succeeded. Clear the failed task, or trigger the DAG again: lines that are landed are not landed twice.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from include.datasets import ACCESS_LOG
from include.lake.paths import data_location, landing_endpoint, ready_path, run_manifest_path
from include.orchestration.assets import ACCESS_LOG_LANDED, ACCESS_LOG_REPORT
from include.orchestration.backfill_plan import run_folder
from include.orchestration.report_task import report_task
from include.orchestration.spark_submit import build_parsing_flags, spark_job, summarise_days
from include.settings import load_settings

SETTINGS = load_settings()
LANDED_DATA = landing_endpoint(SETTINGS, ACCESS_LOG.name, "files")
RUN_FOLDER = "{{ ti.xcom_pull(task_ids='inventory') }}"
NEW_LINES = "ti.xcom_pull(task_ids='inventory', key='lines')"
OPTIONAL_DATE = {"type": ["null", "string"], "format": "date"}


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["access log", "spark", "report", "backfill"],
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="List files, time and disk space; change nothing",
        ),
        "first_day": Param(None, **OPTIONAL_DATE, description="Empty: the first day of the files"),
        "last_day": Param(None, **OPTIONAL_DATE, description="Empty: the last day of the files"),
        "publish_anyway": Param(False, type="boolean", title="Publish days that fail a check"),
    },
)
def backfill_access_logs():
    @task(pool=ACCESS_LOG.pool)
    def inventory(params: dict[str, Any]) -> str:
        from include.orchestration.backfill_plan import take_inventory
        from include.orchestration.preflight import check_prerequisites

        settings, context = load_settings(), get_current_context()
        check_prerequisites(settings, "files")
        files = take_inventory(settings, context["run_id"], dry_run=params["dry_run"])
        context["ti"].xcom_push("lines", files["lines"])
        return str(run_folder(settings, context["run_id"]))

    @task.short_circuit
    def is_not_dry_run(params: dict[str, Any]) -> bool:
        return not params["dry_run"]

    land = spark_job(
        "land_access_log",
        flags={
            "source": f"text:{ready_path(SETTINGS, ACCESS_LOG.name)}",
            "sink": LANDED_DATA,
            **data_location(SETTINGS, ACCESS_LOG.name, "files"),
            "trigger": "available-now",
            "run_id": "{{ run_id }}",
            **build_parsing_flags(SETTINGS),
            "manifest": run_manifest_path(SETTINGS, "backfill_access_logs", "{{ run_id }}"),
        },
        line_count=NEW_LINES,
        pool=ACCESS_LOG.pool,
        outlets=[ACCESS_LOG_LANDED],
    )

    @task
    def choose_days(params: dict[str, Any]) -> list[str]:
        from include.orchestration.backfill_plan import list_backfill_days

        days = list_backfill_days(load_settings(), params["first_day"], params["last_day"])
        if not days:
            raise AirflowSkipException(
                "no day to report: the reports already contain all lines of the files"
            )
        return days

    summarise = summarise_days(
        SETTINGS,
        "files",
        "{{ ti.xcom_pull(task_ids='choose_days') | join(',') }}",
        sink=f"{RUN_FOLDER}/summary",
        flags={"by_file": f"{RUN_FOLDER}/by_file.json"},
        line_count=NEW_LINES,
        pool=ACCESS_LOG.pool,
    )

    @task
    def validate(days: list[str]) -> list[str]:
        from include.orchestration.backfill_plan import validate_backfill

        context = get_current_context()
        result = validate_backfill(load_settings(), context["run_id"], days)
        for key in ("fewer", "table"):
            context["ti"].xcom_push(key, result[key])
        return result["publish"]

    @report_task(outlets=[ACCESS_LOG_REPORT], map_index_template="{{ day }}")
    def publish(day: str, params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.orchestration.publish_task import publish_reports

        (context := get_current_context())["day"] = day
        staged = run_folder(load_settings(), context["run_id"]) / "summary"
        return publish_reports([day], publish_anyway=params["publish_anyway"], staged_folder=staged)

    @task(trigger_rule="none_failed")
    def publish_periods(days: list[str] | None) -> None:
        from include.reporting.publishing import write_periods

        write_periods(load_settings(), days or [])

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def select_days_with_fewer_lines() -> list[str]:
        return get_current_context()["ti"].xcom_pull(task_ids="validate", key="fewer")

    approve_fewer_lines = ApprovalOperator(
        task_id="approve_fewer_lines",
        subject="Replace published days with fewer lines?",
        body="{{ ti.xcom_pull(task_ids='validate', key='table') }}",
    )
    days, fewer = choose_days(), select_days_with_fewer_lines()
    checked = validate(days)
    chain(inventory(), is_not_dry_run(), land, days, summarise, checked, fewer, approve_fewer_lines)
    approved = publish.override(task_id="publish_fewer").expand(day=fewer)
    approve_fewer_lines >> approved
    [publish.expand(day=checked), approved] >> publish_periods(days)


backfill_access_logs()
