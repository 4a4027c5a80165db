"""Write a day's report from its summary: index.html, report.json and a CSV for each panel."""

import csv
import io
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from include.contracts import REPORT_SCHEMA_VERSION, SUMMARY_SCHEMA_VERSION
from include.lake.files import replace_file, replace_files
from include.reporting import formatting
from include.reporting.checks import BASELINE_WEEKS, MIN_BASELINE_WEEKS
from include.reporting.page import render_day, render_index, render_range

MIN_TIMED_HITS = 10  # an endpoint with fewer hits is not listed among the slowest
MAX_ROWS_LISTED = 10  # rows of the slowest endpoints and of the biggest changes
MAX_NEW_BROKEN_LINKS = 100
COMPARED_PANELS = ("requests", "referring_sites")  # compared row by row with the day before


class UnusableSummary(ValueError):
    """A summary is missing, damaged or of another version. The message has its path and the remedy."""


def read_summary(
    path: Path, dag_id: str = "analyse_access_log", schema_version: int = SUMMARY_SCHEMA_VERSION
) -> dict[str, Any]:
    """Read a `summary.json`.

    Args:
        dag_id: The DAG that makes this summary, for error messages.
        schema_version: The version that the summary must have.

    Raises:
        UnusableSummary: The summary is missing, damaged or of another version.
    """
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UnusableSummary(f"there is no summary {path}; run {dag_id} for it") from None
    except ValueError as error:
        raise UnusableSummary(f"{path} is damaged ({error}); run {dag_id} for it") from None
    if summary.get("schema_version") != schema_version:
        raise UnusableSummary(
            f"{path} has schema_version {summary.get('schema_version')!r}, expected {schema_version}; "
            f"run `make resummarise`, which rebuilds all summaries of another version"
        )
    return summary


def write_report(
    summary: dict[str, Any],
    reports: Path,
    checks: list[dict[str, Any]] | None = None,
    *,
    earlier_summaries: Mapping[str, dict[str, Any]] | None = None,
) -> Path:
    """Write the report of one day into `reports/<day>/`.

    The files are written to a temporary folder and then moved, so that a reader sees each file either old
    or new.

    Args:
        checks: Results of include/reporting/checks.py, as dicts.
        earlier_summaries: ISO date -> summary of an earlier day. The day before and the same weekday of
            the last four weeks are compared with, if they are there.

    Returns:
        Path of the report's page.
    """
    day, earlier = date.fromisoformat(summary["day"]), earlier_summaries or {}
    weeks = [(day - timedelta(weeks=week)).isoformat() for week in range(1, BASELINE_WEEKS + 1)]
    report = build_report(
        summary,
        earlier.get((day - timedelta(days=1)).isoformat()),
        [earlier[name] for name in weeks if name in earlier],
    ) | {"checks": checks or []}
    target = reports / day.isoformat()
    replace_files(build_report_files(report) | {"index.html": render_day(report)}, target)
    return target / "index.html"


def write_range(report: dict[str, Any], target: Path) -> Path:
    """Write a range's report (the content of its `report.json`) into `target`. Returns the page's path."""
    replace_files(build_report_files(report) | {"index.html": render_range(report)}, target)
    return target / "index.html"


def build_report_files(report: dict[str, Any]) -> dict[str, str]:
    """Build report.json and a CSV of each panel and list. Returns file name -> text."""
    files = {f"{name}.csv": format_csv(rows) for name, rows in report["panels"].items()}
    files["bots.csv"] = format_csv(
        [row | {"reasons": "; ".join(row["reasons"])} for row in report["bots"]]
    )
    files["attacks.csv"] = format_csv(report["incidents"]["attacks"])
    if "by_day" in report:
        files["by_day.csv"] = format_csv(report["by_day"])
    if "bad_lines" in report:
        files["bad_lines.csv"] = format_csv(
            [
                {"reason": bad["bad_reason"], "line": line}
                for bad in report["bad_lines"]
                for line in bad["samples"]
            ]
        )
        files["unsuccessful_requests.csv"] = format_csv(report["unsuccessful_requests"])
    return files | {"report.json": json.dumps(report, indent=1, ensure_ascii=False)}


def build_report(
    summary: dict[str, Any],
    previous: dict[str, Any] | None = None,
    baseline_summaries: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Build a day's `report.json`: every number of the page, as docs/report.schema.json describes it.

    Args:
        summary: The day's `summary.json`.
        previous: Summary of the day before.
        baseline_summaries: Summaries of the same weekday in earlier weeks. Their median is the baseline,
            in `usual`. It needs at least MIN_BASELINE_WEEKS of them.
    """
    report = {name: value for name, value in summary.items() if name not in ("panels", "distinct")}
    report["schema_version"] = REPORT_SCHEMA_VERSION
    report["panels"] = {name: panel["rows"] for name, panel in summary["panels"].items()}
    report["panel_rows"] = {name: panel["total"] for name, panel in summary["panels"].items()}
    report["before"] = {"day": previous["day"]} | _select_totals(previous) if previous else None
    report["usual"] = _compute_baseline(baseline_summaries)
    report["moved"] = _find_biggest_changes(summary, previous) if previous else None
    report["incidents"] = summary["incidents"] | {
        "new_not_found": _find_new_broken_links(summary, previous) if previous else None,
        "slowest": _find_slowest(report["panels"].get("endpoints", [])),
    }
    return report


def _select_totals(summary: dict[str, Any]) -> dict[str, Any]:
    names = ("requests", "visitors", "unsuccessful", "bytes")
    errors = {"client_errors": "4", "server_errors": "5"}
    return {name: summary[name] for name in names} | {
        name: sum(hits for code, hits in summary["by_status"].items() if code[:1] == first)
        for name, first in errors.items()
    }


def _compute_baseline(summaries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if len(summaries) < MIN_BASELINE_WEEKS:
        return None
    weeks = [_select_totals(summary) for summary in summaries]
    medians = {name: statistics.median(totals[name] for totals in weeks) for name in weeks[0]}
    return {"days": len(weeks)} | medians


def _find_new_broken_links(
    summary: dict[str, Any], previous: dict[str, Any]
) -> list[dict[str, Any]]:
    """List the paths that were missing (404) on this day but not on the day before, most hits first."""
    known = _sum_hits(_get_rows(previous, "not_found"))
    rows = _get_rows(summary, "not_found")
    # Reversed, so that the referrer of a value's first row is the one that stays.
    referrers = {row["value"]: row.get("referrer") for row in reversed(rows)}
    return [
        {"value": value, "hits": hits, "referrer": referrers[value]}
        for value, hits in _sort_by_hits(_sum_hits(rows))
        if value not in known
    ][:MAX_NEW_BROKEN_LINKS]


def _find_biggest_changes(
    summary: dict[str, Any], previous: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Find the rows of COMPARED_PANELS whose hits differ most from those of the day before."""
    changes = {}
    for panel in COMPARED_PANELS:
        hits = _sum_hits(_get_rows(summary, panel))
        previous_hits = _sum_hits(_get_rows(previous, panel))
        differences = {
            value: abs(hits.get(value, 0) - previous_hits.get(value, 0))
            for value in hits | previous_hits
        }
        biggest = _sort_by_hits({value: number for value, number in differences.items() if number})
        changes[panel] = [
            {"value": value, "hits": hits.get(value, 0), "before": previous_hits.get(value, 0)}
            for value, _ in biggest[:MAX_ROWS_LISTED]
        ]
    return changes


def _find_slowest(endpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = [
        row
        for row in endpoints
        if row["hits"] >= MIN_TIMED_HITS and row.get("seconds_p95") is not None
    ]
    return sorted(timed, key=lambda row: (-row["seconds_p95"], row["value"]))[:MAX_ROWS_LISTED]


def _get_rows(summary: dict[str, Any], panel: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = summary["panels"].get(panel, {"rows": []})["rows"]
    return rows


def _sum_hits(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Sum the hits by value. A value has several rows in panels that also have methods and protocols."""
    hits: dict[str, int] = {}
    for row in rows:
        hits[row["value"]] = hits.get(row["value"], 0) + row["hits"]
    return hits


def _sort_by_hits(hits: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(hits.items(), key=lambda item: (-item[1], item[0]))


def write_index(reports: Path) -> Path:
    """Write `reports/index.html`: all days with a report, newest first, and all ranges."""
    days, ranges = [], []
    for path in sorted(reports.glob("[0-9]*/report.json"), reverse=True):
        name = path.parent.name
        if re.fullmatch(r"\d{4}-\d\d-\d\d", name):
            days.append(json.loads(path.read_text()))
        else:
            ranges.append(name)
    replace_file(reports / "index.html", render_index(days, ranges))
    return reports / "index.html"


def format_csv(rows: list[dict[str, Any]]) -> str:
    """Format rows as CSV with a column for each key of any row. Cells that look like formulas are escaped."""
    output = io.StringIO()
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.writer(output)
        writer.writerow(names)
        writer.writerows(
            [formatting.escape_formula(row.get(name)) for name in names] for row in rows
        )
    return output.getvalue()
