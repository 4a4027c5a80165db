"""
### Analyse the clickstream

Lands new click events and refreshes one report: impressions, clicks and click-through rate of the last day
by minute, hour and campaign, and the last hour compared with the hour before. Without new events the run
ends after its first task. You can repeat a run: each message is landed once, and the report is replaced
only by a complete one.

**When** every 10 minutes; when you trigger it.

**Reads** the topic `clickstream`.

**Writes** `var/lake/landing/clickstream/`, `summary/clickstream/`, `reports/clickstream/`.

**Then** open *Reports*, or the run's tab *Report*.

**Params**

- `accept_data_loss` (boolean, default false): continue although Kafka expired messages before they were
  landed.

**Example conf** `{"accept_data_loss": true}`

*If it fails*: the end of the failed task's log says what to do. Fix the cause and clear the task.
`preflight`: something is missing or not running. `land_clickstream`: it continues from its checkpoint; if
Kafka expired messages before they were landed, produce them again, or run with `accept_data_loss`.
"""

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.contracts import CLICKSTREAM_SCHEMA_VERSION
from include.datasets import CLICKSTREAM
from include.lake import paths
from include.lake.landing_files import LandingFiles
from include.orchestration.assets import CLICKSTREAM_LANDED, CLICKSTREAM_REPORT, CLICKSTREAM_TOPIC
from include.orchestration.report_task import report_task
from include.orchestration.spark_submit import spark_job
from include.settings import load_settings

SETTINGS = load_settings()
LANDED_DATA = paths.landing_endpoint(SETTINGS, CLICKSTREAM.name, "kafka")


@dag(
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    start_date=datetime(*SETTINGS.first_scheduled_day.timetuple()[:3], tzinfo=SETTINGS.zone),
    catchup=False,
    doc_md=__doc__,
    tags=["clickstream", "spark", "report"],
    max_active_runs=1,  # a second run would write to the same checkpoint
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "accept_data_loss": Param(False, type="boolean", title="Continue after data loss in Kafka")
    },
)
def analyse_clickstream():
    @task.short_circuit(inlets=[CLICKSTREAM_TOPIC])
    def preflight() -> bool:
        from include.orchestration.preflight import check_prerequisites
        from producers.kafka_client import end_offsets

        settings = load_settings()
        check_prerequisites(settings, "kafka")
        topic = settings.clickstream_topic
        folder = paths.landing_path(settings, CLICKSTREAM.name, "kafka")
        ends = end_offsets(settings.kafka_servers, topic)
        if ends is None:
            raise AirflowFailException(
                f"the topic {topic!r} does not exist; run `make up` or trigger produce_clickstream"
            )
        landed = LandingFiles(folder).read_end_offsets(topic)
        new = sum(end - landed.get(partition, 0) for partition, end in ends.items())
        print(f"topic {topic}: {new:,} messages to land")  # noqa: T201
        reports = paths.reports_path(settings, CLICKSTREAM.name)
        return bool(new) or (bool(landed) and not paths.is_reported(folder, reports))

    land = spark_job(
        "land_clickstream",
        has_kafka=True,
        flags={
            "source": f"kafka:{SETTINGS.clickstream_topic}",
            "sink": LANDED_DATA,
            **paths.data_location(SETTINGS, CLICKSTREAM.name, "kafka"),
            "trigger": "available-now",
            "time_zone": SETTINGS.time_zone,
            "run_id": "{{ run_id }}",
            "accept_data_loss": "{{ params.accept_data_loss }}",
            "manifest": paths.run_manifest_path(SETTINGS, "analyse_clickstream", "{{ run_id }}"),
        },
        pool=CLICKSTREAM.pool,
        outlets=[CLICKSTREAM_LANDED],
    )

    summarise = spark_job(
        "summarise_clickstream",
        flags={
            "source": LANDED_DATA,
            "time_zone": SETTINGS.time_zone,
            "sink": f"summary:{paths.summaries_path(SETTINGS, CLICKSTREAM.name)}",
            "run_id": "{{ run_id }}",
        },
        pool=CLICKSTREAM.pool,
    )

    @report_task(outlets=[CLICKSTREAM_REPORT])
    def report() -> dict[str, int]:
        from include.reporting.clickstream import write_clickstream_report
        from include.reporting.report import UnusableSummary, read_summary
        from include.reporting.run_pages import build_page_url, record_page

        settings = load_settings()
        try:
            file = paths.summaries_path(settings, CLICKSTREAM.name) / "summary.json"
            summary = read_summary(file, "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION)
        except UnusableSummary as error:
            raise AirflowFailException(str(error)) from None
        page = write_clickstream_report(summary, paths.reports_path(settings, CLICKSTREAM.name))
        totals = {name: summary[name] for name in ("events", "impressions", "clicks")}
        context = get_current_context()
        record_page(settings, "analyse_clickstream", context["run_id"], CLICKSTREAM.name)
        event = context["outlet_events"][CLICKSTREAM_REPORT]
        event.extra = totals | {"page": build_page_url(CLICKSTREAM.name)}
        print(f"report written to {page}: {totals}")  # noqa: T201
        return totals

    chain(preflight(), land, summarise, report())


analyse_clickstream()
