"""
### Copy the reports

Copies the published reports to another storage location, such as a bucket or the folder of a web server.
The setting `TIDEMARK_REPORT_COPY` names it, as a URL that Airflow's object storage accepts. New and changed
files are written, each one completely or not at all. Files that were removed here are removed there.
Nothing is read back.

**When** after each published report, if the setting names a location; when you trigger it.

**Reads** `var/lake/reports/`.

**Writes** the location in `TIDEMARK_REPORT_COPY`, and `var/lake/runs/copy_reports.json`, the list of copied
files.

**Then** open `index.html` at that location.

**Params** none. **Example conf** `{}`

*If it fails*: the failed task's log names the URL that could not be written, and the reason. Files that
were copied stay. Clear the task: it copies the rest.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration.assets import ACCESS_LOG_REPORT, CLICKSTREAM_REPORT
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
        from include.reporting.sync_reports import copy_reports

        settings = load_settings()
        if not settings.report_copy:
            raise AirflowFailException(
                "TIDEMARK_REPORT_COPY is not set; add it to .env, for example "
                "TIDEMARK_REPORT_COPY=file:///srv/www/reports, and restart with `make down up`"
            )
        try:
            state_file = settings.lake / "runs" / "copy_reports.json"
            written, removed = copy_reports(
                settings.lake / "reports", settings.report_copy, state_file
            )
        except ValueError as error:
            raise AirflowFailException(str(error)) from None
        print(f"{settings.report_copy}: {written} files written, {removed} removed")  # noqa: T201
        return {"written": written, "removed": removed}

    copy()


copy_reports()
