"""`@report_task` is `@task` with the link *Open report* on the task's page.

The link is an attribute of the operator class, where Airflow's parser finds it, for mapped tasks too.
When a task ends, its process calls `get_link` and stores the result as an XCom for the web page.
"""

from typing import Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.decorator import task_decorator_factory

from include.reporting.run_pages import build_page_url, build_run_url, list_run_pages
from include.settings import load_settings


class OpenReport(BaseOperatorLink):
    """Link to the page that the task published, or to the run's list of pages if there are several."""

    name = "Open report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL; "" if the run has published nothing. `ti_key` is the task instance."""
        pages = list_run_pages(load_settings(), ti_key.dag_id, ti_key.run_id)
        # The name of a mapped task is its day (map_index_template).
        day = getattr(ti_key, "rendered_map_index", None)
        pages = [page for page in pages if day is None or page.endswith(f"/{day}")]
        if len(pages) == 1:
            return build_page_url(pages[0])
        return build_run_url(ti_key.dag_id, ti_key.run_id) if pages else ""


class ReportOperator(_PythonDecoratedOperator):
    """The operator of `@task` with the link."""

    custom_operator_name = "@task"
    operator_extra_links = (OpenReport(),)


def report_task(python_callable: Any = None, **options: Any) -> Any:
    """Decorate a function as `@task` does, with the same options."""
    return task_decorator_factory(
        python_callable, decorated_operator_class=ReportOperator, **options
    )
