"""The pages of the access log's reports: from a report's numbers to HTML.

Static: no script, nothing from elsewhere. Every text from a log is escaped by the templates
(autoescape) and made visible by `figures.visible`; it never becomes an address.
"""

import re
from calendar import monthrange
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.contracts import BAD_REASONS
from include.reporting import alive, charts, figures

HERE = Path(__file__).parent
MOST_BYTES = 290_000  # of a page; one that would be longer shows fewer rows
ROWS_ON_PAGE = (25, 20, 16, 13, 10, 8, 5)  # of a panel: the most that fit
SAMPLES_ON_PAGE = 5
LEGEND = "people dark, machines pale"  # of a chart, for a screen reader


class Panel(NamedTuple):
    """How a panel is shown: its title, what a row is, and whether it takes the page's whole width."""

    title: str
    about: str
    wide: bool = False
    column: str = ""  # above the values; the title if empty
    hits: str = "Hits"


GROUPS: dict[str, tuple[str, dict[str, Panel]]] = {
    "visitors": ("Visitors and machines", {
        "machines": Panel("Machines", "crawlers and programs, by kind", True),
        "hosts": Panel("Hosts", "addresses that asked"),
        "networks": Panel("Networks", "who an address belongs to"),
        "countries": Panel("Countries", "of the addresses"),
        "cities": Panel("Cities", "of the addresses"),
        "remote_users": Panel("Users", "who logged in with the server"),
    }),
    "content": ("Content", {
        "requests": Panel("Requests", "pages that were asked for, with their query", True),
        "endpoints": Panel("Endpoints", "every path without its query", True),
        "static_requests": Panel("Static files", "pictures, styles, scripts, downloads", True),
        "entry_pages": Panel("Entry pages", "where visits began", column="Page", hits="Visits"),
        "exit_pages": Panel("Exit pages", "where visits ended", column="Page", hits="Visits"),
        "virtual_hosts": Panel("Virtual hosts", "of the server"),
        "mime_types": Panel("Types", "of what was sent"),
    }),
    "sources": ("Sources", {
        "referral_kinds": Panel("Kinds of sources", "where requests came from"),
        "referring_sites": Panel("Referring sites", "that have links to here", column="Site"),
        "search_phrases": Panel("Search phrases", "as far as search engines tell"),
        "referrers": Panel("Referrers", "pages that have links to here", True),
    }),
    "technology": ("Technology", {
        "browsers": Panel("Browsers", "by family and version"),
        "operating_systems": Panel("Operating systems", "by family and version"),
        "tls_versions": Panel("TLS", "versions and ciphers"),
        "user_agents": Panel("User agents", "as they call themselves", True),
    }),
    "status": ("Status and trouble", {
        "not_found": Panel("Not found", "status 404, and the page that links there", True,
                           "Missing"),
        "status": Panel("Status codes", "what the server answered", column="Code"),
        "methods": Panel("Methods", "of the requests"),
        "cache_status": Panel("Cache", "what the cache said"),
    }),
}  # fmt: skip
STATUS_CLASSES = {
    "1xx": "informational", "2xx": "success", "3xx": "redirection", "4xx": "client error",
    "5xx": "server error",
}  # fmt: skip
# One visitor may get several statuses: the sum over the codes would count it as often.
NO_SUM_OF_VISITORS = ("status",)


def render_day(report: dict[str, Any]) -> str:
    """The page of one day as HTML."""
    day = date.fromisoformat(report["day"])
    compared = []
    if report["before"]:
        compared.append(("day before", report["before"]))
    if report["usual"]:
        compared.append(("usual", report["usual"]))
    return _fitting("day.html", report, {
        "day": day,
        "compared": compared,
        "heartbeat": alive.heartbeat_says(report),
        "silence": alive.silence_says(report),
        "reasons": BAD_REASONS,
        "samples_on_page": SAMPLES_ON_PAGE,
    })  # fmt: skip


def render_range(report: dict[str, Any]) -> str:
    """The page of a range of days as HTML."""
    first, last = date.fromisoformat(report["from"]), date.fromisoformat(report["to"])
    asked = (last - first).days + 1
    found = {row["day"]: row for row in report["by_day"]}
    days = [(first + timedelta(days=n)).isoformat() for n in range(asked)]
    people = {day: found[day]["people_visitors"] if day in found else 0 for day in days}
    chart = charts.bars(
        {day: found[day]["visitors"] if day in found else 0 for day in days},
        f"Visitors by day, {LEGEND}",
        lambda day, visitors: f"{day}: {visitors} visitors, {people[day]:,} of them people"
        if day in found else f"{day}: no report",
        every=max(1, -(-asked // 12)), part=people,
        label=lambda day: date.fromisoformat(day).strftime("%-d %b"),
    )  # fmt: skip
    before = report["before"]
    return _fitting("range.html", report, {
        "name": period(first, last),
        "span": span(first, last),
        "asked": asked,
        "by_day": chart,
        "compared": [("before", before)] if before else [],
        "busiest_day": max(report["by_day"], key=lambda row: row["visitors"], default=None),
    })  # fmt: skip


def render_index(days: list[dict[str, Any]], ranges: list[str]) -> str:
    """The list of all days (reports, newest first) and ranges (names of folders)."""
    rows = [
        {
            "errors": sum(_errors(day["by_status"]).values()),
            "line": charts.spark(list(day["by_hour"].values())),
        }
        | day
        for day in days
    ]
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name in ranges:
        kind, title = folder_title(name)
        kinds.setdefault(kind, []).append((name, title))
    order = ("Years", "Months", "Weeks", "Other ranges")
    return environment().get_template("days.html").render(
        days=rows, ranges=[(kind, kinds[kind]) for kind in order if kind in kinds]
    )  # fmt: skip


@cache
def environment() -> Environment:
    """What all pages are rendered with: escaped, with the filters for numbers and log text."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "count": figures.count, "size": figures.size, "visible": figures.visible,
        "seconds": figures.seconds, "duration": figures.duration, "local": local, "date_name": date_name,
    }  # fmt: skip
    made.globals |= {
        "share": figures.share, "change": figures.change, "signed": figures.signed,
        "families": families, "has": has, "usual_protocol": usual_protocol,
        "style": (HERE / "templates" / "style.css").read_text(),
    }  # fmt: skip
    return made


def _fitting(template: str, report: dict[str, Any], more: dict[str, Any]) -> str:
    """A page with as many rows in each panel as fit into MOST_BYTES."""
    made, html = environment().get_template(template), ""
    shared = _shared(report)
    for rows in ROWS_ON_PAGE:
        html = made.render(report=report, rows_on_page=rows, **shared, **more)
        if len(html.encode(errors="replace")) <= MOST_BYTES:
            break
    return html


def _shared(report: dict[str, Any]) -> dict[str, Any]:
    """What the pages of days and ranges have in common."""
    by_hour, panels = report["by_hour"], report["panels"]
    people = dict.fromkeys(by_hour, 0) | {
        row["value"]: row["people_hits"] for row in panels.get("hours", [])
        if row["value"] in by_hour
    }  # fmt: skip
    chart = charts.bars(
        by_hour, f"Requests by hour, {LEGEND}",
        lambda hour, hits: f"{hour_span(hour)}: {hits} requests, {people.get(hour, 0):,} by people",
        part=people,
    )  # fmt: skip
    return {
        "hours": chart,
        "people_by_hour": people,
        "busiest": _busiest(by_hour),
        "busiest_of_people": _busiest(people),
        "errors": _errors(report["by_status"]),
        "people_errors": _errors(
            {row["value"]: row["people_hits"] for row in panels.get("status", [])}
        ),
        "groups": GROUPS,
        "status_classes": STATUS_CLASSES,
        "hour_span": hour_span,
        "worst_missing": max(
            panels.get("not_found", []), key=lambda row: row["hits"], default=None
        ),
        "fewer": report["filter"] or {},
        # Of a range it is the greatest of the days': no percentile can be added up.
        "p95": "95 % within" if "day" in report else "95 % within, worst day",
    }


def _busiest(by_hour: dict[str, int]) -> tuple[str, int] | None:
    """The hour's name as a span, and its hits; None if there were none."""
    hour = max(by_hour, key=lambda name: by_hour[name], default=None)
    return (hour_span(hour), by_hour[hour]) if hour and by_hour[hour] else None


def _errors(by_status: dict[str, int]) -> dict[str, int]:
    found = {"client_errors": 0, "server_errors": 0}
    for code, hits in by_status.items():
        name = {"4": "client_errors", "5": "server_errors"}.get(code[:1])
        if name:
            found[name] += hits
    return found


def hour_span(hour: str) -> str:
    """ "09" -> "09:00 to 10:00"; the last hour of a day ends at 24:00."""
    return f"{hour}:00 to {int(hour) + 1:02}:00"


def has(rows: list[dict[str, Any]], key: str) -> bool:
    """Whether any row has it: a column or a level that the log knows nothing of is not shown."""
    return any(row.get(key) is not None for row in rows)


def families(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Rows by their parent, each with the sums of its rows, the largest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.get("parent") or "", []).append(row)
    sums = ("hits", "visitors", "bytes", "people_hits", "people_visitors", "people_bytes")
    made: list[dict[str, Any]] = []
    for parent, members in found.items():
        total: dict[str, Any] = {key: sum(row[key] for row in members) for key in sums}
        if name in NO_SUM_OF_VISITORS:
            total |= {"visitors": None, "people_visitors": None}
        made.append({"value": parent, "rows": members} | total)
    return sorted(made, key=lambda family: (-family["hits"], family["value"]))


def usual_protocol(rows: Iterable[dict[str, Any]]) -> str | None:
    """The protocol with most hits: the page names only others."""
    hits: dict[str | None, int] = {}
    for row in rows:
        hits[row.get("protocol")] = hits.get(row.get("protocol"), 0) + row["hits"]
    return max(hits, key=lambda name: hits[name], default=None)


def local(moment: str, zone: str, form: str = "%H:%M") -> str:
    """A moment of UTC ("…Z") on the clock of the site's zone."""
    at = datetime.fromisoformat(moment)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(ZoneInfo(zone)).strftime(form)


def date_name(day: str) -> str:
    """ "2015-05-18" -> "Monday, 18 May 2015"."""
    return date.fromisoformat(day).strftime("%A, %-d %B %Y")


def period(first: date, last: date) -> str:
    """A range as a person calls it: a week, a month, a year, or from when to when."""
    if (first.month, first.day, last.month, last.day) == (1, 1, 12, 31) and first.year == last.year:
        return str(first.year)
    if first.day == 1 and last == first.replace(day=monthrange(first.year, first.month)[1]):
        return first.strftime("%B %Y")
    if first.isoweekday() == 1 and (last - first).days == 6:
        return "Week {1} of {0}".format(*first.isocalendar())
    return span(first, last)


def span(first: date, last: date) -> str:
    """ "18 to 24 May 2015", "30 May to 2 June 2015"; what is the same is said once."""
    if first.year != last.year:
        return f"{first.strftime('%-d %B %Y')} to {last.strftime('%-d %B %Y')}"
    if first.month != last.month:
        return f"{first.strftime('%-d %B')} to {last.strftime('%-d %B %Y')}"
    return f"{first.day} to {last.strftime('%-d %B %Y')}"


def folder_title(name: str) -> tuple[str, str]:
    """What kind of range a report's folder is of, and how it is called; its name if unknown."""
    first, _, last = name.partition("_")
    with suppress(ValueError):
        if found := re.fullmatch(r"(\d{4})-W(\d\d)", name):
            return "Weeks", f"Week {int(found[2])} of {found[1]}"
        if re.fullmatch(r"\d{4}-\d\d", name):
            return "Months", date.fromisoformat(f"{name}-01").strftime("%B %Y")
        if re.fullmatch(r"\d{4}", name):
            return "Years", name
        if last:
            return "Other ranges", span(date.fromisoformat(first), date.fromisoformat(last))
    return "Other ranges", name
