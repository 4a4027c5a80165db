"""The clickstream report: the last hours up to the newest event, made from the summary."""

import json
from pathlib import Path
from typing import Any

from include.contracts import CLICKSTREAM_BAD_REASONS, CLICKSTREAM_SCHEMA_VERSION
from include.lake.files import replace_files
from include.reporting import charts, formatting
from include.reporting.page import get_environment
from include.reporting.report import format_csv

SERIES = ("by_minute", "by_hour", "by_campaign")


def write_clickstream_report(summary: dict[str, Any], reports: Path) -> Path:
    """Write index.html, report.json and a CSV of each series into `reports`. Returns the page's path."""
    report = build_clickstream_report(summary)
    files = {f"{name}.csv": format_csv(report[name]) for name in SERIES}
    files["report.json"] = json.dumps(report, indent=1, ensure_ascii=False)
    files["index.html"] = render_clickstream(report)
    replace_files(files, reports)
    return reports / "index.html"


def build_clickstream_report(summary: dict[str, Any]) -> dict[str, Any]:
    """Build `report.json`: the summary's numbers, and a click-through rate for each row.

    `click_through_rate` is clicks / impressions, from 0 to 1. It is null where there were no impressions.
    """
    report = summary | {"schema_version": CLICKSTREAM_SCHEMA_VERSION} | _compute_rates(summary)
    for name in ("last_hour", "hour_before"):
        report[name] = _compute_rates(summary[name])
    for name in SERIES:
        report[name] = [row | _compute_rates(row) for row in summary[name]]
    return report


def render_clickstream(report: dict[str, Any]) -> str:
    """Render the page as HTML."""
    minutes = {row["minute"][11:16]: row["impressions"] for row in report["by_minute"]}
    hours = {row["hour"][11:13]: row["impressions"] for row in report["by_hour"][-24:]}
    return (
        get_environment()
        .get_template("clickstream.html")
        .render(
            report=report,
            minutes=charts.draw_bars(
                minutes,
                "Impressions by minute",
                lambda minute, impressions: f"{minute}: {impressions} impressions",
                5,
            ),
            hours=charts.draw_bars(
                hours,
                "Impressions by hour",
                lambda hour, impressions: f"{hour}:00 to {hour}:59: {impressions} impressions",
            ),
            change={
                name: formatting.format_change(
                    report["last_hour"][name], report["hour_before"][name]
                )
                for name in ("impressions", "clicks")
            },
            reasons=CLICKSTREAM_BAD_REASONS,
        )
    )


def _compute_rates(row: dict[str, Any]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("impressions", "clicks", "events")}
    impressions = counts["impressions"]
    rate = round(counts["clicks"] / impressions, 6) if impressions else None
    return counts | {"click_through_rate": rate}
