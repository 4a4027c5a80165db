"""Show the published reports in Airflow: the page *Reports*, and the tab *Report* of a run.

The link *Open report* of publishing tasks is in include/orchestration/report_task.py.
"""

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin


@cache
def _create_app() -> Any:
    from include.reporting.web_app import make_app

    return make_app()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve the application. The first request creates it, because every component and task loads plugins."""
    await _create_app()(scope, receive, send)


class Reports(AirflowPlugin):
    name = "reports"
    fastapi_apps = [{"app": app, "url_prefix": "/reports", "name": "Reports"}]  # noqa: RUF012
    # URLs without a leading slash, because Airflow may be served under a path.
    external_views = [  # noqa: RUF012
        {"name": "Reports", "href": "reports/", "destination": "nav", "url_route": "reports"},
        {
            "name": "Report",
            "href": "reports/run/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "report",
        },
    ]
