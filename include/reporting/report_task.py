"""`@report_task` is `@task` with the link *Open report* on the task's page.

A link stands in the class of the operator: there Airflow's parser finds it, also of mapped tasks,
and when a task ends its process asks `get_link` and keeps the answer as an XCom for the web page.
"""

from typing import Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.decorator import task_decorator_factory

from include.reporting.published import address, address_of_run, pages_of_run
from include.settings import load_settings


class OpenReport(BaseOperatorLink):
    """To the page that the task published; of several, to the run's list of them."""

    name = "Open report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, or nothing if the run has published nothing. `ti_key` is the task itself."""
        pages = pages_of_run(load_settings(), ti_key.dag_id, ti_key.run_id)
        # A mapped task is called by its day (map_index_template).
        own = getattr(ti_key, "rendered_map_index", None)
        pages = [page for page in pages if own is None or page.endswith(f"/{own}")]
        if len(pages) == 1:
            return address(pages[0])
        return address_of_run(ti_key.dag_id, ti_key.run_id) if pages else ""


class ReportOperator(_PythonDecoratedOperator):
    """What `@task` makes, with the link."""

    custom_operator_name = "@task"
    operator_extra_links = (OpenReport(),)


def report_task(python_callable: Any = None, **options: Any) -> Any:
    """The decorator; it takes what `@task` takes."""
    return task_decorator_factory(
        python_callable, decorated_operator_class=ReportOperator, **options
    )
