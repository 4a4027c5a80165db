"""Print the report of a day or a range of days as tables in the terminal: `make report`."""

import argparse
import io
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from include.contracts import REPORT_SCHEMA_VERSION
from include.datasets import ACCESS_LOG
from include.lake.paths import reports_path, summaries_path
from include.panels import get_panel
from include.reporting import formatting
from include.reporting.ranges import build_range_report
from include.reporting.report import UnusableSummary
from include.settings import Settings, load_settings

DEFAULT_ROWS = 10


def main(argv: list[str] | None = None) -> None:
    """Print the report of a day or a range. By default it is the newest day."""
    parser = argparse.ArgumentParser(
        prog="python -m include.reporting.terminal_table", description=__doc__
    )
    parser.add_argument(
        "--day", metavar="YYYY-MM-DD", help="default: the newest day with a summary"
    )
    parser.add_argument("--from", dest="first", metavar="YYYY-MM-DD", help="first day of a range")
    parser.add_argument("--to", dest="last", metavar="YYYY-MM-DD", help="last day of a range")
    parser.add_argument(
        "--rows", type=int, default=DEFAULT_ROWS, help=f"rows of each panel, default {DEFAULT_ROWS}"
    )
    parser.add_argument("--panel", metavar="NAME", help="print only this panel, such as hosts")
    parser.add_argument(
        "--humans-only", action="store_true", help="count only humans, without bots"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead")
    args = parser.parse_args(argv)
    try:
        if args.rows < 1:
            raise ValueError(f"--rows {args.rows}: give at least 1")
        report = find_report(load_settings(), args.day, args.first, args.last)
        panels = _select_panels(report, args.panel)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a log may have text that the terminal cannot print
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    if args.json:
        console.out(json.dumps(report, indent=1))  # ASCII only: no terminal control sequences
        return
    console.print(_build_title(report))
    if not args.panel:
        console.print(build_headline(report))
    for panel in panels:
        if report["panels"][panel] or args.panel:
            console.print()
            console.print(build_panel_table(panel, report, args.rows, humans_only=args.humans_only))


def find_report(
    settings: Settings, day: str | None = None, first: str | None = None, last: str | None = None
) -> dict[str, Any]:
    """Read the published report of a day, or build that of a range.

    Args:
        day: ISO date. By default it is the newest day that has a summary.
        first: ISO date, the first day of a range.
        last: ISO date, the last day of a range.

    Raises:
        ValueError: The dates are invalid, or there is no such report (UnusableSummary). The message has
            the remedy.
    """
    if day and (first or last):
        raise ValueError("--day cannot be combined with --from and --to: give a day or a range")
    if first or last:
        if not (first and last):
            raise ValueError("give both days of a range: --from 2015-05-17 --to 2015-05-20")
        return build_range_report(
            summaries_path(settings, ACCESS_LOG.name), _parse_date(first), _parse_date(last)
        )
    return _read_day_report(
        settings, _parse_date(day).isoformat() if day else _find_newest_day(settings)
    )


def build_headline(report: dict[str, Any]) -> Table:
    """Build the table of the headline numbers, each compared with the period before."""
    lines, humans = report["lines"], report["humans"]
    before = report["before"] if _is_comparable(report) else None
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")

    def add(name: str, value: str, *remarks: str) -> None:
        table.add_row(name, value, Text(", ".join(remark for remark in remarks if remark)))

    def change(name: str) -> str:
        return formatting.format_change(report[name], before[name]) if before else ""

    add(
        "Visitors",
        formatting.format_count(report["visitors"]),
        "address, user agent and day",
        change("visitors"),
    )
    if distinct := report.get("distinct"):
        add(
            "Different visitors",
            f"about {distinct['visitors']:,}",
            f"± {100 * distinct['error']:.1f} %, of them about {distinct['humans']:,} humans",
        )
    add(
        "Humans",
        formatting.format_count(humans["visitors"]),
        f"{formatting.format_share(humans['requests'], report['requests'])} of the requests; "
        "the others are bots",
    )
    add("Requests", formatting.format_count(report["requests"]), change("requests"))
    add(
        "Errors",
        formatting.format_count(report["unsuccessful"]),
        f"{formatting.format_share(report['unsuccessful'], report['requests'])}, status not 200",
        change("unsuccessful"),
    )
    add(
        "Sent",
        formatting.format_bytes(report["bytes"]),
        f"{report['bytes']:,} bytes",
        change("bytes"),
    )
    add("Bad lines", formatting.format_count(lines["bad"]), f"of {lines['read']:,} lines read")
    if report["before"]:
        table.add_row("", "", Text(_describe_comparison(report), style="dim"))
    return table


def build_panel_table(
    panel: str, report: dict[str, Any], row_limit: int, *, humans_only: bool = False
) -> Table:
    """Build the table of a panel's first `row_limit` rows by hits.

    With `humans_only` the hits of bots are left out, and the rows are sorted by the hits of humans.
    """
    prefix = "humans_" if humans_only else ""
    rows = report["panels"][panel]
    if humans_only:
        rows = sorted(
            (row for row in rows if row["humans_hits"]), key=lambda row: -row["humans_hits"]
        )
    row_count, shown = report["panel_rows"][panel], rows[:row_limit]
    title = Text(f"{get_panel(panel).title}: {len(shown):,} of {row_count:,}", "bold")
    table = Table(
        box=None,
        pad_edge=False,
        expand=True,
        header_style="dim",
        title=title,
        title_justify="left",
        caption=None if shown else "Nothing to show.",
    )
    columns = {
        key for row in shown for key in ("parent", "referrer", "seconds_p95") if row.get(key)
    }
    table.add_column("Value", ratio=3, no_wrap=True, overflow="ellipsis")
    if "parent" in columns:
        table.add_column("Of", ratio=1, no_wrap=True, overflow="ellipsis")
    if "referrer" in columns:
        table.add_column("Linked from", ratio=2, no_wrap=True, overflow="ellipsis")
    time_columns = ["p95" if "day" in report else "Worst p95"] if "seconds_p95" in columns else []
    for head in ("Hits", "Share", "Visitors", "Sent", *time_columns):
        table.add_column(head, justify="right", no_wrap=True)
    total_hits = _get_total_hits(panel, report, humans_only)
    for row in shown:
        cells = [_escape_text(" ".join(part for part in (row.get("method"), row["value"]) if part))]
        cells += [
            _escape_text(row.get(key) or "") for key in ("parent", "referrer") if key in columns
        ]
        hits, seconds = row[f"{prefix}hits"], row.get("seconds_p95")
        cells += [
            Text(formatting.format_count(hits)),
            Text(formatting.format_share(hits, total_hits)),
            Text(formatting.format_count(row[f"{prefix}visitors"])),
            Text(formatting.format_bytes(row[f"{prefix}bytes"])),
        ]
        if time_columns:
            cells.append(Text("" if seconds is None else f"{seconds:.3g} s"))
        table.add_row(*cells)
    return table


def _get_total_hits(panel: str, report: dict[str, Any], humans_only: bool) -> int:
    """Return the total of a panel's hits: visits, or requests."""
    if get_panel(panel).unit == "visits":
        visits: int = report["visits"]["humans" if humans_only else "all"]["visits"]
        return visits
    requests: int = (report["humans"] if humans_only else report)["requests"]
    return requests


def _escape_text(value: str) -> Text:
    """Escape a text of the log: no markup (`[red]`) and no control characters take effect."""
    return Text(formatting.escape_invisible(value))


def _build_title(report: dict[str, Any]) -> Text:
    if "day" in report:
        period = report["day"]
    else:
        missing = f" (missing days: {len(report['missing']):,})" if report["missing"] else ""
        period = f"{report['from']} to {report['to']}{missing}"
    title = Text.assemble(
        "Access log, ", (period, "bold"), f", {formatting.escape_invisible(report['time_zone'])}"
    )
    if report["filter"]:
        conditions = (f"{name} {value}" for name, value in report["filter"].items() if value)
        title.append(f"\nonly: {formatting.escape_invisible(', '.join(conditions))}")
    return title


def _is_comparable(report: dict[str, Any]) -> bool:
    """Return True if the report can be compared with the period before it.

    Both must have as many days with a summary: seven days are not compared with a week of which only
    three days have one.
    """
    before = report["before"]
    return bool(before) and ("day" in report or before["days"] == report["days"])


def _describe_comparison(report: dict[str, Any]) -> str:
    before = report["before"]
    if "day" in report:
        return f"against {before['day']}"
    period = f"{before['from']} to {before['to']}"
    if _is_comparable(report):
        return f"against {period}"
    return f"not compared with {period} (days with a summary: {before['days']:,})"


def _select_panels(report: dict[str, Any], panel: str | None) -> list[str]:
    names = list(report["panels"])
    if panel and panel not in names:
        raise ValueError(f"unknown panel {panel!r}; choose one of {', '.join(names)}")
    return [panel] if panel else names


def _parse_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date; write it as 2015-05-17") from None


def _find_newest_day(settings: Settings) -> str:
    folder = summaries_path(settings, ACCESS_LOG.name)
    days = sorted(path.parent.name for path in folder.glob("[0-9]*/summary.json"))
    if not days:
        raise UnusableSummary(
            f"there is no summary in {folder}; run `make demo` or analyse_access_log"
        )
    return days[-1]


def _read_day_report(settings: Settings, day: str) -> dict[str, Any]:
    path: Path = reports_path(settings, ACCESS_LOG.name) / day / "report.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnusableSummary(
            f"{day} has no report ({path}); {_suggest_remedy(settings, day)}"
        ) from None
    except (OSError, ValueError) as error:
        raise UnusableSummary(
            f"{path} is damaged ({error}); run analyse_access_log for its day"
        ) from None
    if report.get("schema_version") != REPORT_SCHEMA_VERSION:
        raise UnusableSummary(
            f"{path} has schema_version {report.get('schema_version')!r}, expected "
            f"{REPORT_SCHEMA_VERSION}; run `make resummarise`"
        )
    return report


def _suggest_remedy(settings: Settings, day: str) -> str:
    days = sorted(
        path.parent.name
        for path in reports_path(settings, ACCESS_LOG.name).glob("????-??-??/report.json")
    )
    if (summaries_path(settings, ACCESS_LOG.name) / day / "summary.json").is_file():
        return (
            "it is summarised, so a check may have stopped its publication: see the note of its "
            "analyse_access_log run"
        )
    choice = f" or choose a day that has a report: {days[0]} to {days[-1]}" if days else ""
    return f"run analyse_access_log for it{choice}"


if __name__ == "__main__":
    main()
