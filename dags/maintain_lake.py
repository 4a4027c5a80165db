"""
### Maintain the lake

Merges the small files of each landed day into fewer, and removes what is older than its retention: landed
lines and events, summaries and reports, each by its setting `TIDEMARK_KEEP_…_DAYS` (0, the default: for
ever). A dry run lists what would be done and changes nothing. A day with lines that no summary contains is
kept and listed. You can repeat a run: readers see the same rows before, during and after it.

**When** every Sunday at 03:30 in the site's time zone; when you trigger it, first as a dry run. A scheduled
run is a dry run until one dry run with the same settings has completed.

**Reads** `var/lake/landing/`, `summary/`, `reports/`.

**Writes** the same folders, and `var/lake/runs/maintain_lake/<run>.json`: files, bytes and rows of each
day, before and after.

**Then** read that file, or the log of the task `finish`; then trigger the DAG with `dry_run` off.

**Params**

- `dry_run` (boolean, default true): list what would be done; change nothing. Scheduled runs ignore it.

**Example conf** `{"dry_run": false}`

*If it fails*: the end of the failed task's log says what to do. `plan`: something is missing, or the
settings contradict each other. `maintain_…`: the rows of that landing are unchanged, whenever the task was
stopped. Another job may hold the lock, or must first count its last batch. Clear the task.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.lake.paths import landing_endpoint
from include.lake.retention import landing_manifest_path, list_landings
from include.orchestration.spark_submit import spark_job
from include.settings import load_settings

SETTINGS = load_settings()


def build_plan_template(landing_name: str, key: str, suffix: str = "") -> str:
    """Return a template that reads a value of a landing from the result of the task `plan`."""
    return (
        f"{{{{ ti.xcom_pull(task_ids='plan')['landings']['{landing_name}']['{key}'] {suffix} }}}}"
    )


@dag(
    schedule=CronTriggerTimetable("30 3 * * 0", timezone=SETTINGS.time_zone),
    start_date=datetime(*SETTINGS.first_scheduled_day.timetuple()[:3], tzinfo=SETTINGS.zone),
    catchup=False,
    doc_md=__doc__,
    tags=["lake", "spark"],
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"dry_run": Param(True, type="boolean", title="Dry run: list, change nothing")},
)
def maintain_lake():
    @task
    def plan(params: dict[str, Any]) -> dict[str, Any]:
        from include.lake import retention
        from include.orchestration.preflight import check_prerequisites

        settings, run = load_settings(), get_current_context()["dag_run"]
        check_prerequisites(settings, "files")
        try:
            removal = retention.plan_removal(settings, datetime.now(settings.zone).date())
        except ValueError as error:
            raise AirflowFailException(str(error)) from None
        has_dry_run = retention.has_dry_run(settings, removal["keep"], run.run_id)
        dry_run = params["dry_run"] if run.run_type == "manual" else not has_dry_run
        print(f"plan ({'dry run' if dry_run else 'removing'}): {removal}")  # noqa: T201
        return removal | {"dry_run": dry_run}

    jobs = []
    for dataset, kind in list_landings():
        name = f"{dataset.name}_{kind}"
        job = spark_job(
            "maintain_landing",
            task_id=f"maintain_{name}",
            flags={
                "run_id": "{{ run_id }}",
                "source": landing_endpoint(SETTINGS, dataset.name, kind),
                "remove_days": build_plan_template(name, "remove_days", "| join(',') or 'none'"),
                "undated_before": build_plan_template(name, "undated_before", "or 'none'"),
                "through_batch": build_plan_template(name, "through_batch"),
                "dry_run": "{{ ti.xcom_pull(task_ids='plan')['dry_run'] | lower }}",
                "manifest": landing_manifest_path(SETTINGS, "{{ run_id }}", name),
            },
            pool=dataset.pool,
        )
        jobs.append(job)

    @task
    def finish(plan: dict[str, Any]) -> None:
        from include.lake.retention import apply_removal_plan, format_record
        from include.reporting.report import write_index

        run_id = get_current_context()["run_id"]
        record = apply_removal_plan(load_settings(), run_id, plan, write_index)
        print("\n".join(format_record(record)) or "nothing to remove")  # noqa: T201

    removal = plan()
    chain(removal, jobs, finish(removal))


maintain_lake()
