"""The clickstream's report from its summary: the last hours up to the newest event."""

import json
from pathlib import Path
from typing import Any

from include.contracts import CLICK_BAD_REASONS, CLICKSTREAM_SCHEMA_VERSION
from include.reporting import charts, figures
from include.reporting.page import environment
from include.reporting.report import csv_of, publish

SERIES = ("by_minute", "by_hour", "by_campaign")


def write_clickstream_report(summary: dict[str, Any], reports: Path) -> Path:
    """Write index.html, report.json and a CSV of each series into `reports`; give the page's path."""
    report = clickstream_report(summary)
    files = {f"{name}.csv": csv_of(report[name]) for name in SERIES}
    files["report.json"] = json.dumps(report, indent=1, ensure_ascii=False)
    files["index.html"] = render_clickstream(report)
    reports.parent.mkdir(parents=True, exist_ok=True)
    return publish(files, reports)


def clickstream_report(summary: dict[str, Any]) -> dict[str, Any]:
    """Every number of the page: those of the summary, and the click-through rate of each row.

    `click_through_rate` is clicks / impressions, from 0 to 1; null where nothing was shown.
    """
    report = summary | {"schema_version": CLICKSTREAM_SCHEMA_VERSION} | _rated(summary)
    for name in ("last_hour", "hour_before"):
        report[name] = _rated(summary[name])
    for name in SERIES:
        report[name] = [row | _rated(row) for row in summary[name]]
    return report


def render_clickstream(report: dict[str, Any]) -> str:
    """The page as HTML."""
    minutes = {row["minute"][11:16]: row["impressions"] for row in report["by_minute"]}
    hours = {row["hour"][11:13]: row["impressions"] for row in report["by_hour"][-24:]}
    return environment().get_template("clickstream.html").render(
        report=report,
        minutes=charts.bars(
            minutes, "Impressions by minute", lambda at, shown: f"{at}: {shown} impressions", 5
        ),
        hours=charts.bars(
            hours, "Impressions by hour",
            lambda at, shown: f"{at}:00 to {at}:59: {shown} impressions",
        ),
        change={
            name: figures.change(report["last_hour"][name], report["hour_before"][name])
            for name in ("impressions", "clicks")
        },
        reasons=CLICK_BAD_REASONS,
    )  # fmt: skip


def _rated(row: dict[str, Any]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("impressions", "clicks", "events")}
    shown = counts["impressions"]
    rate = round(counts["clicks"] / shown, 6) if shown else None
    return counts | {"click_through_rate": rate}
