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
**Then** open `var/lake/reports/access_log/index.html`. The run's note says which days changed.

*If it fails*: its note and the end of the red task's log say what to do. `preflight`: something is missing
or down. `land_access_log`: it goes on from its checkpoint; if Kafka has dropped what was not landed, produce
it again, or run with accept_loss. `report`: a day failed a check and keeps its old report; look at its bad
lines. Fix it and clear the task. A night without its report in time is in `var/lake/runs/late.jsonl`.
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
from include.lake import changed_days, day_of_run, inbox, landing, ready, run_manifest, summaries
from include.notes import NOTES_FAILURE, late_alert
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
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)} | NOTES_FAILURE,
    deadline=late_alert(SETTINGS),
    params={
        "source": Param("kafka", enum=["kafka", "files"], title="Where the lines come from"),
        "day": Param(
            None, type=["null", "string"], format="date",
            description="A day to report; nothing: the last whole day",
        ),
        "publish_anyway": Param(
            False, type="boolean", title="Publish a day that fails a check",
            description="Only after you have looked at what the check says",
        ),
        "accept_loss": Param(False, type="boolean", title="Go on although Kafka has lost messages"),
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
        manifest=run_manifest(SETTINGS, "analyse_access_log", "{{ run_id }}"),
        accept_loss="{{ params.accept_loss }}", future_hours=SETTINGS.future_hours,
        operator=POOL | {"outlets": [ACCESS_LOG_LANDED]},
    )  # fmt: skip

    @task
    def choose_days(params: dict[str, Any]) -> list[str]:
        settings, context = load_settings(), get_current_context()
        kind, interval = context["dag_run"].run_type, context.get("data_interval_start")
        day = day_of_run(settings, kind, interval, params["day"])
        places = landing(settings, DATASET, params["source"]), summaries(settings, DATASET)
        changed = changed_days(*places, before=day if kind == "scheduled" else None)
        return [day, *(each for each in changed if each != day)]

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

        run = get_current_context()["dag_run"]
        how = {"anyway": params["publish_anyway"], "night": run.run_type == "scheduled"}
        try:
            return publish_days(load_settings(), days, run.run_id, **how)
        except (NotFit, ValueError) as refused:
            raise AirflowFailException(str(refused)) from None

    days = choose_days()
    chain(preflight(), land, days, summarise, report(days))


analyse_access_log()
