"""Shows the published reports in Airflow: the page *Reports* and the tab *Report* of a run.

The link *Open report* of the tasks that publish is in include/reporting/report_task.py.
"""

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin


@cache
def _made() -> Any:
    from include.reporting.served import make_app

    return make_app()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The application, made when it is first asked: every component and task loads plugins."""
    await _made()(scope, receive, send)


class Reports(AirflowPlugin):
    name = "reports"
    fastapi_apps = [{"app": app, "url_prefix": "/reports", "name": "Reports"}]  # noqa: RUF012
    # Addresses without a leading slash: Airflow may live under a path of its own.
    external_views = [  # noqa: RUF012
        {"name": "Reports", "href": "reports/", "destination": "nav", "url_route": "reports"},
        {"name": "Report", "href": "reports/run/{DAG_ID}/{RUN_ID}", "destination": "dag_run",
         "url_route": "report"},
    ]  # fmt: skip
