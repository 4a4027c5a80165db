"""
### Copy the reports

Copies the published reports to another place, such as a bucket or the folder of a web server, by the
setting `TIDEMARK_REPORT_COPY`: an address as Airflow's object storage takes it. Files that are new or
have changed are written, each whole; what was removed here is removed there. Nothing is read back.

**When** after each published report, if the setting names a place; when you trigger it.
**Reads** `var/lake/reports/`.
**Writes** the place that `TIDEMARK_REPORT_COPY` names, and `var/lake/runs/copy_reports.json`, what is there.
**Then** open `index.html` there.

*If it fails*: the log of the red task says which address could not be written and why; what was copied
stays. Clear the task: it goes on with the rest.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

from include.assets import ACCESS_LOG_REPORT, CLICKSTREAM_REPORT
from include.settings import load_settings

SETTINGS = load_settings()


@dag(
    schedule=(ACCESS_LOG_REPORT | CLICKSTREAM_REPORT) if SETTINGS.report_copy else None,
    doc_md=__doc__,
    tags=["report"],
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2)},
)
def copy_reports():
    @task
    def copy() -> dict[str, int]:
        from include.copying import copy_reports

        settings = load_settings()
        if not settings.report_copy:
            raise AirflowFailException(
                "TIDEMARK_REPORT_COPY names no place; add it to .env, such as "
                "TIDEMARK_REPORT_COPY=file:///srv/www/reports, and restart with `make down up`"
            )
        try:
            written, removed = copy_reports(
                settings.lake / "reports", settings.report_copy,
                settings.lake / "runs" / "copy_reports.json",
            )  # fmt: skip
        except ValueError as refused:
            raise AirflowFailException(str(refused)) from None
        print(f"{settings.report_copy}: {written} files written, {removed} removed")  # noqa: T201
        return {"written": written, "removed": removed}

    copy()


copy_reports()
