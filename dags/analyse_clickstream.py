"""
### Analyse the clickstream

Lands the click events that are new and refreshes one report: impressions, clicks and click-through
rate by minute, hour and campaign over the last day, the last hour against the one before. When
nothing new has come, the run ends after its first task.
Safe to run again: each message is landed once, and the report is replaced only by a whole one.

**When** every 10 minutes; when you trigger it.
**Reads** the topic `clickstream`.
**Writes** `var/lake/landing/clickstream/`, `summary/clickstream/`, `reports/clickstream/`.
**Then** open *Reports*, or the run's tab *Report*.

*If it fails*: the log of the red task ends with what to do. `look`: something is missing or down.
`land_clickstream`: it goes on from its checkpoint; if Kafka has dropped what was not landed, produce it
again, or run with accept_loss. Fix it and clear the task.
"""

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.assets import CLICKSTREAM_LANDED, CLICKSTREAM_REPORT, CLICKSTREAM_TOPIC
from include.contracts import CLICKSTREAM_SCHEMA_VERSION
from include.lake import (
    data_at,
    is_reported,
    landed_offsets,
    landing,
    reports,
    run_manifest,
    summaries,
)
from include.reporting.report_task import report_task
from include.settings import load_settings
from include.spark_submit import spark_job

SETTINGS = load_settings()
DATASET = "clickstream"
POOL = {"pool": "landing_clickstream"}
LANDED = "parquet:" + str(landing(SETTINGS, DATASET, "kafka") / "data")


@dag(
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    start_date=datetime(*SETTINGS.first_night.timetuple()[:3], tzinfo=SETTINGS.zone),
    catchup=False,
    doc_md=__doc__,
    tags=["clickstream", "spark", "report"],
    max_active_runs=1,  # two runs would fight over one checkpoint
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "accept_loss": Param(False, type="boolean", title="Go on although Kafka has lost messages")
    },
)
def analyse_clickstream():
    @task.short_circuit(inlets=[CLICKSTREAM_TOPIC])
    def look() -> bool:
        from include.preflight import check
        from producers.kafka_client import end_offsets

        settings = load_settings()
        check(settings, "kafka")
        topic, folder = settings.clickstream_topic, landing(settings, DATASET, "kafka")
        ends = end_offsets(settings.kafka_servers, topic)
        if ends is None:
            raise AirflowFailException(
                f"there is no topic {topic}; trigger produce_clickstream, or `make up` makes it"
            )
        landed = landed_offsets(folder, topic)
        new = sum(end - landed.get(partition, 0) for partition, end in ends.items())
        print(f"topic {topic}: {new:,} messages that are not landed")  # noqa: T201
        return bool(new) or (bool(landed) and not is_reported(folder, reports(settings, DATASET)))

    land = spark_job(
        "land_clickstream", kafka=True, source=f"kafka:{SETTINGS.clickstream_topic}",
        sink=LANDED, **data_at(SETTINGS, DATASET, "kafka"), trigger="available-now",
        time_zone=SETTINGS.time_zone, run_id="{{ run_id }}", accept_loss="{{ params.accept_loss }}",
        manifest=run_manifest(SETTINGS, "analyse_clickstream", "{{ run_id }}"),
        operator=POOL | {"outlets": [CLICKSTREAM_LANDED]},
    )  # fmt: skip

    summarise = spark_job(
        "summarise_clickstream", source=LANDED, time_zone=SETTINGS.time_zone,
        sink="summary:" + str(summaries(SETTINGS, DATASET)), run_id="{{ run_id }}", operator=POOL,
    )  # fmt: skip

    @report_task(outlets=[CLICKSTREAM_REPORT])
    def report() -> dict[str, int]:
        from include.reporting.clickstream import write_clickstream_report
        from include.reporting.published import address, record_page
        from include.reporting.report import SummaryError, read_summary

        settings = load_settings()
        try:
            summary = read_summary(
                summaries(settings, DATASET) / "summary.json",
                "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION,
            )  # fmt: skip
        except SummaryError as refused:
            raise AirflowFailException(str(refused)) from None
        page = write_clickstream_report(summary, reports(settings, DATASET))
        told = {name: summary[name] for name in ("events", "impressions", "clicks")}
        context = get_current_context()
        record_page(settings, "analyse_clickstream", context["run_id"], DATASET)
        context["outlet_events"][CLICKSTREAM_REPORT].extra = told | {"page": address(DATASET)}
        print(f"{page}: {told}")  # noqa: T201
        return told

    chain(look(), land, summarise, report())


analyse_clickstream()
