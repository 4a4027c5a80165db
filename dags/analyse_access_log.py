"""
### Analyse the access log

Lands new log lines, summarises the day and publishes its report. A scheduled run reports the day that has
just ended in the site's time zone. It also updates the reports of earlier days that received late lines.
You can repeat a run: each line is landed once, and a report is replaced only by a complete one. Without new
lines `land_access_log` is skipped; a backfill also skips `summarise_access_log` for days that are up to
date.

Files may be plain, gz, bz2, zst or xz, with any name and in any format of docs/formats.md, also mixed. Each
file is checked first. A damaged or unknown file is moved to `_set_aside` in the inbox, a copy is skipped,
and of a file that has grown only the new lines are read.

**When** every midnight in the site's time zone; when you trigger it; when you backfill days.

**Reads** the topic `access-log`, or the files in `var/lake/inbox/access_log/`.

**Writes** `var/lake/landing/access_log/`, `summary/access_log/<day>/`, `reports/access_log/<day>/`.

**Then** open *Reports*, or the run's tab *Report*. The run's note lists the days that changed.

**Params**

- `source` (`kafka` or `files`, default `kafka`): where the lines come from.
- `day` (date or null, default null): the day to report in a manual run. Null: the last complete day.
- `publish_anyway` (boolean, default false): publish a day although it fails a check.
- `accept_data_loss` (boolean, default false): continue although Kafka expired messages before they were
  landed.
- `only_path`, `only_host`, `only_status` (text or null, default null), `humans_only` (boolean, default
  false): write a second report of the matching requests only. The day's own report does not change.

**Example conf** `{"source": "files", "day": "2026-01-15", "only_path": "/blog/*", "only_status": "404"}`

*If it fails*: read the run's note and the end of the failed task's log; they say what to do. Fix the cause
and clear the task. `preflight`: something is missing or not running. `land_access_log`: it continues from
its checkpoint; if Kafka expired lines before they were landed, produce them again, or run with
`accept_data_loss`. `report`: a day failed a check and keeps its old report; look at its bad lines. If a
scheduled report is late, `var/lake/runs/late.jsonl` has an entry.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, chain, dag, get_current_context, task

from include.datasets import ACCESS_LOG
from include.lake import paths
from include.orchestration import assets, filters, run_scope
from include.orchestration.notifications import FAILURE_CALLBACK, build_deadline_alert
from include.orchestration.report_task import report_task
from include.orchestration.spark_submit import build_parsing_flags, spark_job, summarise_days
from include.settings import load_settings

SETTINGS = load_settings()
SOURCE = (
    "{{ 'kafka:" + SETTINGS.access_log_topic + "' if params.source == 'kafka' "
    "else 'text:" + str(paths.ready_path(SETTINGS, ACCESS_LOG.name)) + "' }}"
)
NEW_LINES = "ti.xcom_pull(task_ids='has_new')"
LANDED_DATA = paths.landing_endpoint(SETTINGS, ACCESS_LOG.name, "{{ params.source }}")


@dag(
    # Midnight to midnight in the site's time zone: a backfill of 17 to 20 May runs four days.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=SETTINGS.time_zone),
    start_date=datetime(*SETTINGS.first_scheduled_day.timetuple()[:3], tzinfo=SETTINGS.zone),
    catchup=False,
    doc_md=__doc__,
    tags=["access log", "spark", "report"],
    max_active_runs=1,  # a second run would write to the same checkpoint
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)} | FAILURE_CALLBACK,
    deadline=build_deadline_alert(SETTINGS),
    params={
        "source": Param("kafka", enum=["kafka", "files"], title="Source of the lines"),
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day to report",
            description="Leave empty for the last complete day",
        ),
        "publish_anyway": Param(
            False,
            type="boolean",
            title="Publish a day that fails a check",
            description="Read the result of the check first",
        ),
        "accept_data_loss": Param(False, type="boolean", title="Continue after data loss in Kafka"),
        **filters.FILTER_PARAMS,
    },
)
def analyse_access_log():
    @task(inlets=[assets.ACCESS_LOG_TOPIC])
    def preflight(params: dict[str, Any]) -> None:
        from include.orchestration.preflight import check_prerequisites

        check_prerequisites(load_settings(), params["source"])
        if params["source"] == "files":
            run_scope.take_inbox_files(load_settings())

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def has_new(params: dict[str, Any]) -> int:
        from producers.kafka_client import end_offsets

        settings = load_settings()
        if params["source"] == "files":
            return run_scope.count_new_lines(settings)
        ends = end_offsets(settings.kafka_servers, settings.access_log_topic)
        return run_scope.count_new_topic_lines(settings, ends)

    land = spark_job(
        "land_access_log",
        has_kafka=True,
        flags={
            "source": SOURCE,
            "sink": LANDED_DATA,
            **paths.data_location(SETTINGS, ACCESS_LOG.name, "{{ params.source }}"),
            "trigger": "available-now",
            "run_id": "{{ run_id }}",
            **build_parsing_flags(SETTINGS),
            "manifest": paths.run_manifest_path(SETTINGS, "analyse_access_log", "{{ run_id }}"),
            "accept_data_loss": "{{ params.accept_data_loss }}",
        },
        line_count=NEW_LINES,
        pool=ACCESS_LOG.pool,
        outlets=[assets.ACCESS_LOG_LANDED],
    )

    @task(trigger_rule="none_failed")
    def choose_days(params: dict[str, Any]) -> list[str]:
        context, folder = get_current_context(), filters.get_filter_folder(params)
        context["ti"].xcom_push("folder", folder)
        return run_scope.list_run_days(load_settings(), context)[: 1 if folder else None]

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def choose_days_to_summarise(days: list[str]) -> list[str]:
        return run_scope.list_days_to_summarise(load_settings(), get_current_context(), days)

    summarise = summarise_days(
        SETTINGS,
        "{{ params.source }}",
        "{{ ti.xcom_pull(task_ids='choose_days_to_summarise') | join(',') }}",
        sink=str(paths.summaries_path(SETTINGS, ACCESS_LOG.name) / filters.FILTER_FOLDER),
        flags=filters.FILTER_FLAGS,
        line_count=NEW_LINES,
        pool=ACCESS_LOG.pool,
        outlets=[assets.ACCESS_LOG_SUMMARY],
    )

    @report_task(outlets=[assets.ACCESS_LOG_REPORT], trigger_rule="none_failed")
    def report(days: list[str], params: dict[str, Any]) -> dict[str, dict[str, int]]:
        from include.orchestration.publish_task import publish_filtered_reports, publish_reports

        if folder := filters.get_filter_folder(params):
            return publish_filtered_reports(days, folder)
        return publish_reports(days, publish_anyway=params["publish_anyway"])

    days = choose_days()
    chain(
        preflight(), has_new(), land, days, choose_days_to_summarise(days), summarise, report(days)
    )


analyse_access_log()
