"""
### Maintain the lake

Merges the many small files of landed days into few, and removes what is older than it is to be kept:
landed lines and events, summaries, reports, each by its setting `TIDEMARK_KEEP_…_DAYS` (0, the default:
for ever). A dry run changes nothing, and lists what would be done. A day with lines that no summary
has seen stays, and is named. Safe to run again: readers see the same rows before, during and after.

**When** every Sunday at 03:30 of the site; when you trigger it, at first as a dry run. On Sundays it acts
once a dry run has shown what goes by the same settings, and is a dry run until then.
**Reads** `var/lake/landing/`, `summary/`, `reports/`.
**Writes** the same folders, and `var/lake/runs/maintain_lake/<run>.json`: of each day its files, bytes and
rows, before and after.
**Then** read that file, or the log of the task `finish`; trigger it with `dry_run` off.

*If it fails*: the log of the red task ends with what to do. `plan`: something is missing, or the settings
contradict each other. `maintain_…`: the rows of that landing are
what they were, whenever it was ended; a job may hold it, or must count its last batch first. Clear the task.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.lake import landing
from include.maintenance import LANDINGS, landing_manifest
from include.settings import load_settings
from include.spark_submit import spark_job

SETTINGS = load_settings()


def planned(name: str, what: str, then: str = "") -> str:
    """A template for what the task `plan` has found for a landing."""
    return f"{{{{ ti.xcom_pull(task_ids='plan')['landings']['{name}']['{what}'] {then} }}}}"


@dag(
    schedule=CronTriggerTimetable("30 3 * * 0", timezone=SETTINGS.time_zone),
    start_date=datetime(*SETTINGS.first_night.timetuple()[:3], tzinfo=SETTINGS.zone),
    catchup=False,
    doc_md=__doc__,
    tags=["lake", "spark"],
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"dry_run": Param(True, type="boolean", title="Only list what would be done")},
)
def maintain_lake():
    @task
    def plan(params: dict[str, Any]) -> dict[str, Any]:
        from include import maintenance
        from include.preflight import check

        settings, run = load_settings(), get_current_context()["dag_run"]
        check(settings, "files")
        try:
            found = maintenance.plan(settings, datetime.now(settings.zone).date())
        except ValueError as refused:
            raise AirflowFailException(str(refused)) from None
        shown = maintenance.is_shown(settings, found["keep"], run.run_id)
        dry = params["dry_run"] if run.run_type == "manual" else not shown
        print("a dry run" if dry else "no dry run", found, sep=": ")  # noqa: T201
        return found | {"dry_run": dry}

    jobs = []
    for dataset, kind in LANDINGS:
        name = f"{dataset}_{kind}"
        job = spark_job(
            "maintain_landing", task_id=f"maintain_{name}", run_id="{{ run_id }}",
            source="parquet:" + str(landing(SETTINGS, dataset, kind) / "data"),
            remove_days=planned(name, "remove_days", "| join(',') or 'none'"),
            undated_before=planned(name, "undated_before", "or 'none'"),
            through_batch=planned(name, "through_batch"),
            dry_run="{{ ti.xcom_pull(task_ids='plan')['dry_run'] | lower }}",
            manifest=landing_manifest(SETTINGS, "{{ run_id }}", name),
            operator={"pool": f"landing_{dataset}"},
        )  # fmt: skip
        jobs.append(job)

    @task
    def finish(plan: dict[str, Any]) -> None:
        from include.maintenance import finish as remove_and_record
        from include.maintenance import sentences

        record = remove_and_record(load_settings(), get_current_context()["run_id"], plan)
        print("\n".join(sentences(record)) or "nothing to remove")  # noqa: T201

    found = plan()
    chain(found, jobs, finish(found))


maintain_lake()
