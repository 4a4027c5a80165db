"""
### Analyse the access log

Lands the lines that are new, and reports the day: after each midnight of the site's time zone the
day that ended, or the day you choose. Days that got late lines are reported again with it.
Safe to run again: each line is landed once, and a report is replaced only by a whole one.

**When** every midnight of the site; when you trigger it; when you backfill days.
**Reads** the topic `access-log`, or the files in `var/lake/inbox/access_log/`: plain, gz or bz2, any
names. Each is looked at first; a damaged one is moved to `_set_aside` there, copies are skipped, and of a
file that has grown the new lines are taken.
**Writes** `var/lake/landing/access_log/`, `summary/access_log/<day>/`, `reports/access_log/<day>/`.
**Then** open `var/lake/reports/access_log/index.html`.

*If it fails*: the log of the red task ends with what to do. `preflight`: something is missing or
down. `land_access_log`: nothing is lost, it goes on from its checkpoint. `report`: a day failed a check and
keeps its old report; look at its bad lines. Fix it and clear the task.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.assets import (
    ACCESS_LOG_LANDED,
    ACCESS_LOG_REPORT,
    ACCESS_LOG_SUMMARY,
    ACCESS_LOG_TOPIC,
)
from include.lake import changed_days, inbox, landing, ready, run_manifest, summaries
from include.settings import load_settings
from include.spark_submit import spark_job

SETTINGS = load_settings()
DATASET = "access_log"
POOL = {"pool": "landing_access_log"}
SOURCE = (
    "{{ 'kafka:" + SETTINGS.access_log_topic + "' if params.source == 'kafka' "
    "else 'text:" + str(ready(SETTINGS, DATASET)) + "' }}"
)
LANDED = "parquet:" + str(landing(SETTINGS, DATASET, "{{ params.source }}") / "data")


@dag(
    # Midnight to midnight in the site's zone: a backfill of 17 to 20 May makes those four days.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=SETTINGS.time_zone),
    start_date=datetime(*SETTINGS.first_night.timetuple()[:3], tzinfo=SETTINGS.zone),
    catchup=False,
    doc_md=__doc__,
    tags=["access log", "spark", "report"],
    max_active_runs=1,  # two runs would fight over one checkpoint
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "source": Param("kafka", enum=["kafka", "files"], title="Where the lines come from"),
        "day": Param(
            None, type=["null", "string"], format="date",
            description="A day to report; nothing: the last whole day",
        ),
        "publish_anyway": Param(
            False, type="boolean", title="Publish a day that fails a check",
            description="Only after you have looked: most of its lines could not be read",
        ),
    },
)  # fmt: skip
def analyse_access_log():
    @task(inlets=[ACCESS_LOG_TOPIC])
    def preflight(params: dict[str, Any]) -> str:
        from include.inbox import clear_landed, take
        from include.preflight import check

        settings = load_settings()
        if params["source"] == "files":
            clear_landed(
                ready(settings, DATASET), landing(settings, DATASET, "files") / "checkpoint"
            )
            found = take(inbox(settings, DATASET), ready(settings, DATASET))
            print("\n".join(found.lines()) or "nothing new in the inbox")  # noqa: T201
        return check(settings, params["source"])

    land = spark_job(
        "land_access_log", kafka=True, source=SOURCE, servers=SETTINGS.kafka_servers, sink=LANDED,
        trigger="available-now", time_zone=SETTINGS.time_zone, run_id="{{ run_id }}",
        anonymise=SETTINGS.anonymise_addresses, drop_query_names=SETTINGS.drop_query_names,
        manifest=run_manifest(SETTINGS, "analyse_access_log", "{{ run_id }}"),
        operator=POOL | {"outlets": [ACCESS_LOG_LANDED]},
    )  # fmt: skip

    @task
    def choose_days(params: dict[str, Any]) -> list[str]:
        settings, context = load_settings(), get_current_context()
        interval = context.get("data_interval_start")
        if context["dag_run"].run_type != "manual" and interval is not None:
            day = interval.astimezone(settings.zone).date()
        elif params["day"]:
            day = datetime.fromisoformat(params["day"]).date()
        else:
            day = datetime.now(settings.zone).date() - timedelta(days=1)
        folder = landing(settings, DATASET, params["source"])
        return sorted({day.isoformat(), *changed_days(folder, summaries(settings, DATASET))})

    summarise = spark_job(
        "summarise_access_log", source=LANDED, source_kind="{{ params.source }}",
        sink="summary:" + str(summaries(SETTINGS, DATASET)), time_zone=SETTINGS.time_zone,
        days="{{ ti.xcom_pull(task_ids='choose_days') | join(',') }}", run_id="{{ run_id }}",
        operator=POOL | {"outlets": [ACCESS_LOG_SUMMARY]},
    )  # fmt: skip

    @task(outlets=[ACCESS_LOG_REPORT])
    def report(days: list[str], params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.publishing import publish_days
        from include.quality import NotFit

        run = get_current_context()["run_id"]
        try:
            return publish_days(load_settings(), days, run, anyway=params["publish_anyway"])
        except (NotFit, ValueError) as refused:
            raise AirflowFailException(str(refused)) from None

    days = choose_days()
    chain(preflight(), land, days, summarise, report(days))


analyse_access_log()
