"""Make a day's report from its summary: index.html, report.json and a CSV for each panel."""

import csv
import io
import json
import os
import re
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from include.contracts import REPORT_SCHEMA_VERSION, SUMMARY_SCHEMA_VERSION
from include.quality import FEWEST_WEEKS, WEEKS
from include.reporting import figures
from include.reporting.page import render_day, render_index, render_range

FEWEST_HITS = 10  # of an endpoint, before its slowest requests say something about it
MOST_LISTED = 10  # slowest endpoints, and rows that changed most
MOST_NEW = 100  # new broken links
MOVING = ("requests", "referring_sites")  # panels whose rows are compared with the day before


class SummaryError(ValueError):
    """A summary that cannot be reported; the message names it and the remedy."""


def read_summary(
    path: Path, dag: str = "analyse_access_log", version: int = SUMMARY_SCHEMA_VERSION
) -> dict[str, Any]:
    """A `summary.json` of that schema version, made by `dag`.

    Raises SummaryError when it is missing, damaged or of another version.
    """
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise SummaryError(f"there is no summary {path}; run {dag} for it") from None
    except ValueError as error:
        raise SummaryError(f"{path} is damaged ({error}); run {dag} for it") from None
    if summary.get("schema_version") != version:
        raise SummaryError(
            f"{path} has schema_version {summary.get('schema_version')!r}, this is "
            f"{version}; run {dag} for it"
        )
    return summary


def write_report(
    summary: dict[str, Any], reports: Path, checks: list[dict[str, Any]] | None = None,
    *, earlier: Mapping[str, dict[str, Any]] | None = None,
) -> Path:  # fmt: skip
    """Write the report of one day into `reports/<day>/` and give its page's path.

    `checks` are those of include/quality.py, as dicts. `earlier` has summaries of days before by
    their names; the day before and the same weekday of the last four weeks are looked for.

    Written whole beside its place and then put there: a reader finds the old one or the new one.
    """
    day, others = date.fromisoformat(summary["day"]), earlier or {}
    weeks = [(day - timedelta(weeks=week)).isoformat() for week in range(1, WEEKS + 1)]
    report = report_of(
        summary, others.get((day - timedelta(days=1)).isoformat()),
        [others[name] for name in weeks if name in others],
    ) | {"checks": checks or []}  # fmt: skip
    return publish(files_of(report) | {"index.html": render_day(report)}, reports / day.isoformat())


def write_range(report: dict[str, Any], target: Path) -> Path:
    """Write the report of a range of days, as `report.json` will have it, into the folder `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return publish(files_of(report) | {"index.html": render_range(report)}, target)


def files_of(report: dict[str, Any]) -> dict[str, str]:
    """The numbers of a page: report.json, and a CSV of each panel and list."""
    files = {f"{name}.csv": csv_of(rows) for name, rows in report["panels"].items()}
    files["machines.csv"] = csv_of([
        row | {"reasons": "; ".join(row["reasons"])} for row in report["machines"]
    ])  # fmt: skip
    files["attacks.csv"] = csv_of(report["trouble"]["attacks"])
    if "by_day" in report:
        files["by_day.csv"] = csv_of(report["by_day"])
    if "bad_lines" in report:
        files["bad_lines.csv"] = csv_of([
            {"reason": bad["bad_reason"], "line": line}
            for bad in report["bad_lines"] for line in bad["samples"]
        ])  # fmt: skip
        files["unsuccessful_requests.csv"] = csv_of(report["unsuccessful_requests"])
    return files | {"report.json": json.dumps(report, indent=1, ensure_ascii=False)}


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


def report_of(
    summary: dict[str, Any], before: dict[str, Any] | None = None,
    usual_of: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:  # fmt: skip
    """Every number of the page, by the names that stay (design, section 7).

    `before` is the summary of the day before; the median of those in `usual_of` is what is usual,
    as soon as there are FEWEST_WEEKS of them.
    """
    report = {name: value for name, value in summary.items() if name not in ("panels", "distinct")}
    report["schema_version"] = REPORT_SCHEMA_VERSION
    report["panels"] = {name: panel["rows"] for name, panel in summary["panels"].items()}
    report["panel_rows"] = {name: panel["total"] for name, panel in summary["panels"].items()}
    report["before"] = {"day": before["day"]} | _totals(before) if before else None
    report["usual"] = _usual(usual_of)
    report["moved"] = _moved(summary, before) if before else None
    report["trouble"] = summary["trouble"] | {
        "new_not_found": _new_not_found(summary, before) if before else None,
        "slowest": _slowest(report["panels"].get("endpoints", [])),
    }
    return report


def _totals(summary: dict[str, Any]) -> dict[str, Any]:
    names = ("requests", "visitors", "unsuccessful", "bytes")
    errors = {"client_errors": "4", "server_errors": "5"}
    return {name: summary[name] for name in names} | {
        name: sum(hits for code, hits in summary["by_status"].items() if code[:1] == first)
        for name, first in errors.items()
    }


def _usual(summaries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if len(summaries) < FEWEST_WEEKS:
        return None
    found = [_totals(summary) for summary in summaries]
    medians = {name: statistics.median(totals[name] for totals in found) for name in found[0]}
    return {"days": len(found)} | medians


def _new_not_found(summary: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """What was not found on this day and not on the day before, with most hits first."""
    known = _hits(_rows(before, "not_found"))
    rows = _rows(summary, "not_found")
    linked = {row["value"]: row.get("referrer") for row in reversed(rows)}  # the first row's stays
    return [
        {"value": value, "hits": hits, "referrer": linked[value]}
        for value, hits in _most(_hits(rows)) if value not in known
    ][:MOST_NEW]  # fmt: skip


def _moved(summary: dict[str, Any], before: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of some panels whose hits differ most from those of the day before."""
    found = {}
    for panel in MOVING:
        now, then = _hits(_rows(summary, panel)), _hits(_rows(before, panel))
        moves = {value: now.get(value, 0) - then.get(value, 0) for value in now | then}
        far = _most({value: abs(move) for value, move in moves.items() if move})
        found[panel] = [
            {"value": value, "hits": now.get(value, 0), "before": then.get(value, 0)}
            for value, _ in far[:MOST_LISTED]
        ]  # fmt: skip
    return found


def _slowest(endpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = [row for row in endpoints
             if row["hits"] >= FEWEST_HITS and row.get("seconds_p95") is not None]  # fmt: skip
    return sorted(timed, key=lambda row: (-row["seconds_p95"], row["value"]))[:MOST_LISTED]


def _rows(summary: dict[str, Any], panel: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = summary["panels"].get(panel, {"rows": []})["rows"]
    return rows


def _hits(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Hits by value: one value has several rows where methods and protocols are told apart."""
    found: dict[str, int] = {}
    for row in rows:
        found[row["value"]] = found.get(row["value"], 0) + row["hits"]
    return found


def _most(hits: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(hits.items(), key=lambda item: (-item[1], item[0]))


def write_index(reports: Path) -> Path:
    """Write `reports/index.html`: all days that have a report, newest first, and all ranges."""
    days, ranges = [], []
    for path in sorted(reports.glob("[0-9]*/report.json"), reverse=True):
        name = path.parent.name
        if re.fullmatch(r"\d{4}-\d\d-\d\d", name):
            days.append(json.loads(path.read_text()))
        else:
            ranges.append(name)
    part = reports / f".index.{os.getpid()}"
    part.write_text(render_index(days, ranges), encoding="utf-8")
    part.replace(reports / "index.html")
    return reports / "index.html"


def csv_of(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV, a column for each key of any; no cell that a spreadsheet takes for a formula."""
    out = io.StringIO()
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([figures.spreadsheet(row.get(name)) for name in names] for row in rows)
    return out.getvalue()
