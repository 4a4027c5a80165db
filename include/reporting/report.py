"""Make a day's report from its summary: index.html, report.json and a CSV for each panel."""

import csv
import io
import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.contracts import BAD_REASONS, REPORT_SCHEMA_VERSION, SUMMARY_SCHEMA_VERSION
from include.reporting import alive, charts, figures

HERE = Path(__file__).parent
ROWS_ON_PAGE = 25
SAMPLES_ON_PAGE = 5
PANEL_TITLES = {
    "endpoints": ("Requests", "what was asked for, without its query"),
    "hosts": ("Hosts", "addresses and names that asked"),
    "referrers": ("Referrers", "pages that led here"),
    "user_agents": ("User agents", "as they call themselves"),
    "methods": ("Methods", "of the requests"),
}
STATUS_CLASSES = {
    "1": "informational", "2": "success", "3": "redirection", "4": "client error",
    "5": "server error",
}  # fmt: skip


class SummaryError(ValueError):
    """A summary that cannot be reported; the message names it and the remedy."""


def read_summary(path: Path, dag: str = "analyse_access_log") -> dict[str, Any]:
    """A `summary.json`, made by `dag`. Raises SummaryError when it is missing, damaged or older."""
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise SummaryError(f"there is no summary {path}; run {dag} for it") from None
    except ValueError as error:
        raise SummaryError(f"{path} is damaged ({error}); run {dag} for it") from None
    if summary.get("schema_version") != SUMMARY_SCHEMA_VERSION:
        raise SummaryError(
            f"{path} has schema_version {summary.get('schema_version')!r}, this is "
            f"{SUMMARY_SCHEMA_VERSION}; run {dag} for it"
        )
    return summary


def write_report(
    summary: dict[str, Any], reports: Path, checks: list[dict[str, Any]] | None = None
) -> Path:
    """Write the report of one day into `reports/<day>/` and give its page's path.

    `checks` are those of include/quality.py, as dicts.

    Written whole beside its place and then put there: a reader finds the old one or the new one.
    """
    day = date.fromisoformat(summary["day"]).isoformat()
    report = report_of(summary) | {"checks": checks or []}
    files = {f"{name}.csv": csv_of(rows) for name, rows in report["panels"].items()}
    files["bad_lines.csv"] = csv_of([
        {"reason": bad["bad_reason"], "line": line}
        for bad in report["bad_lines"] for line in bad["samples"]
    ])  # fmt: skip
    files["unsuccessful_requests.csv"] = csv_of(report["unsuccessful_requests"])
    files["report.json"] = json.dumps(report, indent=1, ensure_ascii=False)
    files["index.html"] = render_day(report)
    return publish(files, reports / day)


def publish(files: dict[str, str], target: Path) -> Path:
    """Write `files` (name -> text) beside `target`, then put each there; the page comes last."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, text in files.items():
        (fresh / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    target.mkdir(exist_ok=True)
    for name in files:
        (fresh / name).replace(target / name)
    shutil.rmtree(fresh)
    return target / "index.html"


def report_of(summary: dict[str, Any]) -> dict[str, Any]:
    """Every number of the page, by the names that stay (design, section 7)."""
    report = {name: value for name, value in summary.items() if name != "panels"}
    report["schema_version"] = REPORT_SCHEMA_VERSION
    report["panels"] = {name: panel["rows"] for name, panel in summary["panels"].items()}
    report["panel_rows"] = {name: panel["total"] for name, panel in summary["panels"].items()}
    return report


def render_day(report: dict[str, Any]) -> str:
    """The page of one day as HTML."""
    classes: dict[str, int] = {}
    for code, requests in report["by_status"].items():
        classes[code[:1]] = classes.get(code[:1], 0) + requests
    return environment().get_template("day.html").render(
        report=report,
        day=date.fromisoformat(report["day"]),
        hours=charts.bars(
            report["by_hour"], "Requests by hour",
            lambda hour, hits: f"{hour}:00 to {hour}:59: {hits} requests",
        ),
        classes=[(key, STATUS_CLASSES.get(key, "unknown"), classes[key]) for key in sorted(classes)],
        titles=PANEL_TITLES,
        rows_on_page=ROWS_ON_PAGE,
        samples_on_page=SAMPLES_ON_PAGE,
        reasons=BAD_REASONS,
        heartbeat=alive.heartbeat_says(report),
        silence=alive.silence_says(report),
    )  # fmt: skip


def write_index(reports: Path) -> Path:
    """Write `reports/index.html`, the list of all days that have a report, newest first."""
    days = []
    for path in sorted(reports.glob("[0-9]*/report.json"), reverse=True):
        report = json.loads(path.read_text())
        days.append(report | {"line": charts.spark(list(report["by_hour"].values()))})
    text = environment().get_template("days.html").render(days=days)
    part = reports / f".index.{os.getpid()}"
    part.write_text(text, encoding="utf-8")
    part.replace(reports / "index.html")
    return reports / "index.html"


def environment() -> Environment:
    """What all pages are rendered with: escaped, with the filters for numbers and log text."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "count": figures.count, "size": figures.size, "visible": figures.visible,
    }  # fmt: skip
    made.globals["share"] = figures.share
    made.globals["style"] = (HERE / "templates" / "style.css").read_text()
    return made


def csv_of(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV, its header from the first; no cell that a spreadsheet takes for a formula."""
    out = io.StringIO()
    if rows:
        writer = csv.writer(out)
        writer.writerow(rows[0])
        writer.writerows([figures.spreadsheet(value) for value in row.values()] for row in rows)
    return out.getvalue()
