"""
### Analyse the access log

Lands the lines that are new, and reports the day: after each midnight of the site's time zone the
day that ended, or the day you choose. Days that got late lines are reported again with it.
Safe to run again: each line is landed once, and a report is replaced only by a whole one. When nothing is
new, `land_access_log` is skipped; in a backfill also `summarise_access_log` for days that are up to date.

**When** every midnight of the site; when you trigger it; when you backfill days.
**Reads** the topic `access-log`, or the files in `var/lake/inbox/access_log/`: plain, gz, bz2, zst or xz, any
names, in any format of docs/formats.md, also mixed. Each is looked at first; a damaged or unknown one is
moved to `_set_aside` there, copies are skipped, and of a file that has grown the new lines are taken.
**Writes** `var/lake/landing/access_log/`, `summary/access_log/<day>/`, `reports/access_log/<day>/`.
**Then** open *Reports*, or the run's tab *Report*. The run's note says which days changed.

*If it fails*: its note and the end of the red task's log say what to do. `preflight`: something is missing
or down. `land_access_log`: it goes on from its checkpoint; if Kafka has dropped what was not landed, produce
it again, or run with accept_loss. `report`: a day failed a check and keeps its old report; look at its bad
lines. Fix it and clear the task. A night without its report in time is in `var/lake/runs/late.jsonl`.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, chain, dag, get_current_context, task

from include.assets import (
    ACCESS_LOG_LANDED,
    ACCESS_LOG_REPORT,
    ACCESS_LOG_SUMMARY,
    ACCESS_LOG_TOPIC,
)
from include.filters import FILTER, FILTER_PARAMS, ONLY, filter_name
from include.lake import data_at, landing, ready, run_manifest, summaries
from include.nights import days_behind, days_of_run, new_in_topic, new_lines, take_files
from include.notes import NOTES_FAILURE, late_alert
from include.reporting.report_task import report_task
from include.settings import load_settings
from include.spark_submit import parsing, spark_job, summarise_days

SETTINGS = load_settings()
DATASET = "access_log"
POOL = {"pool": "landing_access_log"}
SOURCE = (
    "{{ 'kafka:" + SETTINGS.access_log_topic + "' if params.source == 'kafka' "
    "else 'text:" + str(ready(SETTINGS, DATASET)) + "' }}"
)
NEW_LINES = "ti.xcom_pull(task_ids='has_new')"
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
        "day": Param(None, type=["null", "string"], format="date",
                     description="A day to report; nothing: the last whole day"),
        "publish_anyway": Param(
            False, type="boolean", title="Publish a day that fails a check",
            description="Only after you have looked at what the check says",
        ),
        "accept_loss": Param(False, type="boolean", title="Go on although Kafka has lost messages"),
        **FILTER_PARAMS,
    },
)  # fmt: skip
def analyse_access_log():
    @task(inlets=[ACCESS_LOG_TOPIC])
    def preflight(params: dict[str, Any]) -> None:
        from include.preflight import check

        check(load_settings(), params["source"])
        if params["source"] == "files":
            take_files(load_settings())

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def has_new(params: dict[str, Any]) -> int:
        from producers.kafka_client import end_offsets

        settings = load_settings()
        if params["source"] == "files":
            return new_lines(settings)
        ends = end_offsets(settings.kafka_servers, settings.access_log_topic)
        return new_in_topic(settings, ends)

    land = spark_job(
        "land_access_log", kafka=True, source=SOURCE, sink=LANDED,
        **data_at(SETTINGS, DATASET, "{{ params.source }}"),
        trigger="available-now", run_id="{{ run_id }}", **parsing(SETTINGS),
        manifest=run_manifest(SETTINGS, "analyse_access_log", "{{ run_id }}"),
        accept_loss="{{ params.accept_loss }}", lines=NEW_LINES,
        operator=POOL | {"outlets": [ACCESS_LOG_LANDED]},
    )  # fmt: skip

    @task(trigger_rule="none_failed")
    def choose_days(params: dict[str, Any]) -> list[str]:
        context, folder = get_current_context(), filter_name(params)
        context["ti"].xcom_push("folder", folder)
        return days_of_run(load_settings(), context)[: 1 if folder else None]

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def choose_behind(days: list[str]) -> list[str]:
        return days_behind(load_settings(), get_current_context(), days)

    summarise = summarise_days(
        SETTINGS, "{{ params.source }}", "{{ ti.xcom_pull(task_ids='choose_behind') | join(',') }}",
        sink=str(summaries(SETTINGS, DATASET) / FILTER), lines=NEW_LINES, **ONLY,
        operator=POOL | {"outlets": [ACCESS_LOG_SUMMARY]},
    )  # fmt: skip

    @report_task(outlets=[ACCESS_LOG_REPORT], trigger_rule="none_failed")
    def report(days: list[str], params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.publishing import publish_filtered, publish_in_task

        if name := filter_name(params):
            return publish_filtered(days, name)
        return publish_in_task(days, anyway=params["publish_anyway"])

    days = choose_days()
    chain(preflight(), has_new(), land, days, choose_behind(days), summarise, report(days))


analyse_access_log()
