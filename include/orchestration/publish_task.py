"""Publish reports from an Airflow task."""

from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from include.datasets import ACCESS_LOG
from include.orchestration.assets import ACCESS_LOG_REPORT
from include.reporting.checks import CheckFailed
from include.reporting.publishing import (
    HEADLINE_FIELDS,
    publish_days,
    publish_filtered_days,
)
from include.reporting.run_pages import build_page_url, build_run_url
from include.settings import load_settings


def publish_reports(
    days: list[str], *, publish_anyway: bool, staged_folder: Path | None = None
) -> dict[str, dict[str, int]]:
    """Publish the reports of `days` for the run of the current task.

    The asset event gets the days, the totals of their headline numbers and the URL of the report.

    Args:
        days: ISO dates.
        publish_anyway: Publish days that fail a check.
        staged_folder: Folder with the new summaries. Default: the summaries of the lake.

    Returns:
        ISO date -> headline field -> number.

    Raises:
        AirflowFailException: A day failed a check, or its summary is unusable.
    """
    context = get_current_context()
    run = context["dag_run"]
    try:
        headlines = publish_days(
            load_settings(),
            days,
            run.run_id,
            publish_anyway=publish_anyway,
            is_scheduled=run.run_type == "scheduled",
            staged_folder=staged_folder,
            dag_id=run.dag_id,
        )
    except (CheckFailed, ValueError) as error:
        raise AirflowFailException(str(error)) from None
    context["outlet_events"][ACCESS_LOG_REPORT].extra = _build_asset_event(
        run.dag_id, run.run_id, headlines
    )
    return headlines


def _build_asset_event(
    dag_id: str, run_id: str, headlines: dict[str, dict[str, int]]
) -> dict[str, Any]:
    page = build_run_url(dag_id, run_id) if headlines else ""
    if len(headlines) == 1:
        page = build_page_url(f"{ACCESS_LOG.name}/{next(iter(headlines))}")
    totals = {name: sum(day[name] for day in headlines.values()) for name in HEADLINE_FIELDS}
    return {"days": list(headlines), **totals, "page": page}


def publish_filtered_reports(days: list[str], filter_folder: str) -> dict[str, dict[str, int]]:
    """Publish the filtered reports of `days`, from and to `filter_folder`. Other reports do not change."""
    run = get_current_context()["dag_run"]
    return publish_filtered_days(load_settings(), days, filter_folder, run.dag_id, run.run_id)
