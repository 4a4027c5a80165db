"""Render the pages of the access-log reports as HTML.

The pages are static: they have no scripts and load nothing. The templates escape every text from a log
(autoescape), and `formatting.escape_invisible` makes its invisible characters visible. Such a text never
becomes an address.
"""

import re
from calendar import monthrange
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.contracts import BAD_REASONS
from include.panels import get_panel, list_sections
from include.reporting import charts, formatting, heartbeats

HERE = Path(__file__).parent
MAX_PAGE_BYTES = 290_000  # a page that would be larger shows fewer rows
PANEL_ROW_LIMITS = (25, 20, 16, 13, 10, 8, 5)  # rows of each panel; the first that fits is used
SAMPLES_ON_PAGE = 5  # bad lines shown for each reason
LEGEND = "humans dark, bots pale"  # legend of a chart, for screen readers


STATUS_CLASSES = {
    "1xx": "informational",
    "2xx": "success",
    "3xx": "redirection",
    "4xx": "client error",
    "5xx": "server error",
}


def render_day(report: dict[str, Any]) -> str:
    """Render the page of one day as HTML."""
    day = date.fromisoformat(report["day"])
    compared = []
    if report["before"]:
        compared.append(("day before", report["before"]))
    if report["usual"]:
        compared.append(("usual", report["usual"]))
    return _render_within_limit(
        "day.html",
        report,
        {
            "day": day,
            "compared": compared,
            "heartbeat": heartbeats.describe_heartbeat(report),
            "silence": heartbeats.describe_silence(report),
            "reasons": BAD_REASONS,
            "samples_on_page": SAMPLES_ON_PAGE,
        },
    )


def render_range(report: dict[str, Any]) -> str:
    """Render the page of a range of days as HTML."""
    first, last = date.fromisoformat(report["from"]), date.fromisoformat(report["to"])
    day_count = (last - first).days + 1
    rows = {row["day"]: row for row in report["by_day"]}
    days = [(first + timedelta(days=n)).isoformat() for n in range(day_count)]
    humans = {day: rows[day]["humans_visitors"] if day in rows else 0 for day in days}
    chart = charts.draw_bars(
        {day: rows[day]["visitors"] if day in rows else 0 for day in days},
        f"Visitors by day, {LEGEND}",
        lambda day, visitors: (
            f"{day}: {visitors} visitors, {humans[day]:,} of them humans"
            if day in rows
            else f"{day}: no report"
        ),
        label_every=max(1, -(-day_count // 12)),
        part=humans,
        format_label=lambda day: date.fromisoformat(day).strftime("%-d %b"),
    )
    before = report["before"]
    return _render_within_limit(
        "range.html",
        report,
        {
            "name": format_period(first, last),
            "span": format_date_range(first, last),
            "asked": day_count,
            "by_day": chart,
            "compared": [("before", before)] if before else [],
            "busiest_day": max(report["by_day"], key=lambda row: row["visitors"], default=None),
        },
    )


def render_index(days: list[dict[str, Any]], ranges: list[str]) -> str:
    """Render the list of all days and ranges as HTML.

    Args:
        days: The days' reports, newest first.
        ranges: Names of the folders of ranges, such as `2015-W21`.
    """
    rows = [
        {
            "errors": sum(_count_errors(day["by_status"]).values()),
            "line": charts.draw_sparkline(list(day["by_hour"].values())),
        }
        | day
        for day in days
    ]
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name in ranges:
        kind, title = describe_range_folder(name)
        kinds.setdefault(kind, []).append((name, title))
    order = ("Years", "Months", "Weeks", "Other ranges")
    return (
        get_environment()
        .get_template("days.html")
        .render(days=rows, ranges=[(kind, kinds[kind]) for kind in order if kind in kinds])
    )


@cache
def get_environment() -> Environment:
    """Return the Jinja environment of all pages. It escapes texts and has filters for numbers and texts."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": formatting.format_count,
        "size": formatting.format_bytes,
        "visible": formatting.escape_invisible,
        "seconds": formatting.format_seconds,
        "duration": formatting.format_duration,
        "local": format_local_time,
        "date_name": format_date,
    }
    environment.globals |= {
        "share": formatting.format_share,
        "change": formatting.format_change,
        "signed": formatting.format_signed_change,
        "families": group_by_parent,
        "has": has_column,
        "usual_protocol": find_main_protocol,
        "style": (HERE / "templates" / "style.css").read_text(),
    }
    return environment


def _render_within_limit(template: str, report: dict[str, Any], context: dict[str, Any]) -> str:
    """Render a page with as many rows in each panel as fit into MAX_PAGE_BYTES."""
    page, html = get_environment().get_template(template), ""
    shared = _build_shared_context(report)
    for rows in PANEL_ROW_LIMITS:
        html = page.render(report=report, rows_on_page=rows, **shared, **context)
        if len(html.encode(errors="replace")) <= MAX_PAGE_BYTES:
            break
    return html


def _build_shared_context(report: dict[str, Any]) -> dict[str, Any]:
    """Build the template variables that the pages of days and ranges share."""
    by_hour, panels = report["by_hour"], report["panels"]
    humans = dict.fromkeys(by_hour, 0) | {
        row["value"]: row["humans_hits"]
        for row in panels.get("hours", [])
        if row["value"] in by_hour
    }
    chart = charts.draw_bars(
        by_hour,
        f"Requests by hour, {LEGEND}",
        lambda hour, hits: (
            f"{format_hour(hour)}: {hits} requests, {humans.get(hour, 0):,} by humans"
        ),
        part=humans,
    )
    return {
        "hours": chart,
        "humans_by_hour": humans,
        "busiest": _find_busiest_hour(by_hour),
        "busiest_of_humans": _find_busiest_hour(humans),
        "errors": _count_errors(report["by_status"]),
        "humans_errors": _count_errors(
            {row["value"]: row["humans_hits"] for row in panels.get("status", [])}
        ),
        "sections": list_sections(),
        "status_classes": STATUS_CLASSES,
        "hour_span": format_hour,
        "worst_missing": max(
            panels.get("not_found", []), key=lambda row: row["hits"], default=None
        ),
        "fewer": report["filter"] or {},
        # Percentiles cannot be summed: a range shows the largest of its days.
        "p95": "95 % within" if "day" in report else "95 % within, worst day",
    }


def _find_busiest_hour(by_hour: dict[str, int]) -> tuple[str, int] | None:
    """Return the busiest hour ("09:00 to 10:00") and its hits. None if there are no hits."""
    hour = max(by_hour, key=lambda name: by_hour[name], default=None)
    return (format_hour(hour), by_hour[hour]) if hour and by_hour[hour] else None


def _count_errors(by_status: dict[str, int]) -> dict[str, int]:
    errors = {"client_errors": 0, "server_errors": 0}
    for code, hits in by_status.items():
        name = {"4": "client_errors", "5": "server_errors"}.get(code[:1])
        if name:
            errors[name] += hits
    return errors


def format_hour(hour: str) -> str:
    """Format an hour: "09" -> "09:00 to 10:00". The last hour of a day ends at 24:00."""
    return f"{hour}:00 to {int(hour) + 1:02}:00"


def has_column(rows: list[dict[str, Any]], column: str) -> bool:
    """Return True if any row has a value in `column`. Columns that the log does not have are not shown."""
    return any(row.get(column) is not None for row in rows)


def group_by_parent(rows: list[dict[str, Any]], panel: str) -> list[dict[str, Any]]:
    """Group rows by their parent, the group with most hits first.

    Returns:
        For each parent a row with the sums of its rows, which are in `rows`. `visitors` and
        `humans_visitors` are None in panels whose visitors cannot be summed.
    """
    rows_by_parent: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        rows_by_parent.setdefault(row.get("parent") or "", []).append(row)
    columns = ("hits", "visitors", "bytes", "humans_hits", "humans_visitors", "humans_bytes")
    groups: list[dict[str, Any]] = []
    for parent, members in rows_by_parent.items():
        total: dict[str, Any] = {key: sum(row[key] for row in members) for key in columns}
        if not get_panel(panel).sums_visitors:
            total |= {"visitors": None, "humans_visitors": None}
        groups.append({"value": parent, "rows": members} | total)
    return sorted(groups, key=lambda group: (-group["hits"], group["value"]))


def find_main_protocol(rows: Iterable[dict[str, Any]]) -> str | None:
    """Return the protocol with most hits. The page names a row's protocol only if it is another."""
    hits: dict[str | None, int] = {}
    for row in rows:
        hits[row.get("protocol")] = hits.get(row.get("protocol"), 0) + row["hits"]
    return max(hits, key=lambda name: hits[name], default=None)


def format_local_time(timestamp: str, zone: str, pattern: str = "%H:%M") -> str:
    """Format an ISO 8601 timestamp in the site's time zone. One without an offset is in UTC."""
    moment = datetime.fromisoformat(timestamp)
    if not moment.tzinfo:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(ZoneInfo(zone)).strftime(pattern)


def format_date(day: str) -> str:
    """Format an ISO date: "2015-05-18" -> "Monday, 18 May 2015"."""
    return date.fromisoformat(day).strftime("%A, %-d %B %Y")


def format_period(first: date, last: date) -> str:
    """Format a range of days: "Week 21 of 2015", "May 2015", "2015", or its first and last day."""
    if (first.month, first.day, last.month, last.day) == (1, 1, 12, 31) and first.year == last.year:
        return str(first.year)
    if first.day == 1 and last == first.replace(day=monthrange(first.year, first.month)[1]):
        return first.strftime("%B %Y")
    if first.isoweekday() == 1 and (last - first).days == 6:
        return "Week {1} of {0}".format(*first.isocalendar())
    return format_date_range(first, last)


def format_date_range(first: date, last: date) -> str:
    """Format two days without repeating parts: "18 to 24 May 2015", "30 May to 2 June 2015"."""
    if first.year != last.year:
        return f"{first.strftime('%-d %B %Y')} to {last.strftime('%-d %B %Y')}"
    if first.month != last.month:
        return f"{first.strftime('%-d %B')} to {last.strftime('%-d %B %Y')}"
    return f"{first.day} to {last.strftime('%-d %B %Y')}"


def describe_range_folder(name: str) -> tuple[str, str]:
    """Return the kind of range that a report's folder holds, and its title.

    For example "2015-W21" -> ("Weeks", "Week 21 of 2015"). For an unknown name: ("Other ranges", name).
    """
    first, _, last = name.partition("_")
    with suppress(ValueError):
        if week := re.fullmatch(r"(\d{4})-W(\d\d)", name):
            return "Weeks", f"Week {int(week[2])} of {week[1]}"
        if re.fullmatch(r"\d{4}-\d\d", name):
            return "Months", date.fromisoformat(f"{name}-01").strftime("%B %Y")
        if re.fullmatch(r"\d{4}", name):
            return "Years", name
        if last:
            return "Other ranges", format_date_range(
                date.fromisoformat(first), date.fromisoformat(last)
            )
    return "Other ranges", name
