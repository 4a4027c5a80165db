"""`make report`: the report of a day or a range as tables in the terminal."""

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
from include.lake import reports, summaries
from include.reporting import figures
from include.reporting.ranges import range_of
from include.reporting.report import SummaryError
from include.settings import Settings, load_settings

DATASET = "access_log"
ROWS = 10


def main(argv: list[str] | None = None) -> None:
    """Print the report of a day or a range; of the newest day if none is asked for."""
    parser = argparse.ArgumentParser(prog="python -m include.reporting.table", description=__doc__)
    parser.add_argument("--day", metavar="YYYY-MM-DD", help="default: the newest with a summary")
    parser.add_argument("--from", dest="first", metavar="YYYY-MM-DD", help="first day of a range")
    parser.add_argument("--to", dest="last", metavar="YYYY-MM-DD", help="its last day")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of each panel, default {ROWS}")
    parser.add_argument("--panel", metavar="NAME", help="only this panel, such as hosts")
    parser.add_argument("--people", action="store_true", help="count people, not machines")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead")
    args = parser.parse_args(argv)
    try:
        if args.rows < 1:
            raise ValueError(f"--rows {args.rows}: give at least 1")
        report = find_report(load_settings(), args.day, args.first, args.last)
        names = _panels(report, args.panel)
    except ValueError as refused:
        parser.exit(2, f"{refused}\n")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a log may have what the terminal cannot print
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    if args.json:
        console.out(json.dumps(report, indent=1))  # ASCII: nothing that a terminal obeys
        return
    console.print(_title(report))
    if not args.panel:
        console.print(headline(report))
    for name in names:
        rows = report["panels"][name]
        if rows or args.panel:
            console.print()
            console.print(panel_table(name, report, args.rows, people=args.people))


def find_report(
    settings: Settings, day: str | None = None, first: str | None = None, last: str | None = None
) -> dict[str, Any]:
    """The published report of `day`, or that of the range `first` to `last`; all are ISO dates.

    Of none of them: that of the newest day that has a summary. Raises ValueError, of which
    SummaryError is one, in a sentence that names the remedy.
    """
    if day and (first or last):
        raise ValueError("give a day, or the first and the last day of a range, not both")
    if first or last:
        if not (first and last):
            raise ValueError("give both days of a range: --from 2015-05-17 --to 2015-05-20")
        return range_of(summaries(settings, DATASET), _date(first), _date(last))
    return _day(settings, _date(day).isoformat() if day else _newest(settings))


def headline(report: dict[str, Any]) -> Table:
    """The figures at the head of the page, each against the time before."""
    lines, people = report["lines"], report["people"]
    before = report["before"] if _is_comparable(report) else None
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(justify="right", no_wrap=True)
    made.add_column(overflow="fold")

    def add(name: str, value: str, *says: str) -> None:
        made.add_row(name, value, Text(", ".join(part for part in says if part)))

    def change(name: str) -> str:
        return figures.change(report[name], before[name]) if before else ""

    add("Visitors", figures.count(report["visitors"]), "address, user agent and day",
        change("visitors"))  # fmt: skip
    if distinct := report.get("distinct"):
        add("Different visitors", f"about {distinct['visitors']:,}",
            f"± {100 * distinct['error']:.1f} %, of them about {distinct['people']:,} people")  # fmt: skip
    add("People", figures.count(people["visitors"]),
        f"{figures.share(people['requests'], report['requests'])} of the requests; "
        "the others are machines")  # fmt: skip
    add("Requests", figures.count(report["requests"]), change("requests"))
    add("Errors", figures.count(report["unsuccessful"]),
        f"{figures.share(report['unsuccessful'], report['requests'])}, status not 200",
        change("unsuccessful"))  # fmt: skip
    add("Sent", figures.size(report["bytes"]), f"{report['bytes']:,} bytes", change("bytes"))
    add("Bad lines", figures.count(lines["bad"]), f"of {lines['read']:,} lines read")
    if report["before"]:
        made.add_row("", "", Text(_compared(report), style="dim"))
    return made


def panel_table(name: str, report: dict[str, Any], count: int, *, people: bool = False) -> Table:
    """The first `count` rows of a panel; with `people`, those that people asked for most."""
    prefix = "people_" if people else ""
    rows = report["panels"][name]
    if people:
        rows = sorted((row for row in rows if row["people_hits"]),
                      key=lambda row: -row["people_hits"])  # fmt: skip
    total, shown = report["panel_rows"][name], rows[:count]
    title = Text(f"{name.replace('_', ' ').capitalize()}: {len(shown):,} of {total:,}", "bold")
    made = Table(box=None, pad_edge=False, expand=True, header_style="dim", title=title,
                 title_justify="left", caption=None if shown else "Nothing to show.")  # fmt: skip
    has = {key for row in shown for key in ("parent", "referrer", "seconds_p95") if row.get(key)}
    made.add_column("Value", ratio=3, no_wrap=True, overflow="ellipsis")
    if "parent" in has:
        made.add_column("Of", ratio=1, no_wrap=True, overflow="ellipsis")
    if "referrer" in has:
        made.add_column("Linked from", ratio=2, no_wrap=True, overflow="ellipsis")
    timed = ["p95" if "day" in report else "Worst p95"] if "seconds_p95" in has else []
    for head in ("Hits", "Share", "Visitors", "Sent", *timed):
        made.add_column(head, justify="right", no_wrap=True)
    whole = _whole(name, report, people)
    for row in shown:
        cells = [_text(" ".join(part for part in (row.get("method"), row["value"]) if part))]
        cells += [_text(row.get(key) or "") for key in ("parent", "referrer") if key in has]
        hits, seconds = row[f"{prefix}hits"], row.get("seconds_p95")
        cells += [
            Text(figures.count(hits)), Text(figures.share(hits, whole)),
            Text(figures.count(row[f"{prefix}visitors"])), Text(figures.size(row[f"{prefix}bytes"])),
        ]  # fmt: skip
        if timed:
            cells.append(Text("" if seconds is None else f"{seconds:.3g} s"))
        made.add_row(*cells)
    return made


def _whole(panel: str, report: dict[str, Any], people: bool) -> int:
    """What a panel's hits are a share of: where visits begin and end they are visits."""
    if panel in ("entry_pages", "exit_pages"):
        visits: int = report["visits"]["people" if people else "all"]["visits"]
        return visits
    requests: int = (report["people"] if people else report)["requests"]
    return requests


def _text(value: str) -> Text:
    """A text of the log: no markup (`[red]`), no control characters, nothing but itself."""
    return Text(figures.visible(value))


def _title(report: dict[str, Any]) -> Text:
    if "day" in report:
        when = report["day"]
    else:
        missing = f" (missing days: {len(report['missing']):,})" if report["missing"] else ""
        when = f"{report['from']} to {report['to']}{missing}"
    said = Text.assemble(
        "Access log, ", (when, "bold"), f", {figures.visible(report['time_zone'])}"
    )
    if report["filter"]:
        passed = (f"{name} {value}" for name, value in report["filter"].items() if value)
        said.append(f"\nonly: {figures.visible(', '.join(passed))}")
    return said


def _is_comparable(report: dict[str, Any]) -> bool:
    """Seven days are not compared with the three of the week before that have a summary."""
    before = report["before"]
    return bool(before) and ("day" in report or before["days"] == report["days"])


def _compared(report: dict[str, Any]) -> str:
    before = report["before"]
    if "day" in report:
        return f"against {before['day']}"
    says = f"{before['from']} to {before['to']}"
    if _is_comparable(report):
        return f"against {says}"
    return f"not compared with {says} (days with a summary: {before['days']:,})"


def _panels(report: dict[str, Any], wanted: str | None) -> list[str]:
    names = list(report["panels"])
    if wanted and wanted not in names:
        raise ValueError(f"there is no panel {wanted!r}; choose of {', '.join(names)}")
    return [wanted] if wanted else names


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no day; write it as 2015-05-17") from None


def _newest(settings: Settings) -> str:
    folder = summaries(settings, DATASET)
    days = sorted(path.parent.name for path in folder.glob("[0-9]*/summary.json"))
    if not days:
        raise SummaryError(
            f"there is no summary in {folder}; run `make demo` or analyse_access_log"
        )
    return days[-1]


def _day(settings: Settings, day: str) -> dict[str, Any]:
    path: Path = reports(settings, DATASET) / day / "report.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SummaryError(f"{day} has no report ({path}); {_remedy(settings, day)}") from None
    except (OSError, ValueError) as error:
        raise SummaryError(f"{path} is damaged ({error}); run analyse_access_log for it") from None
    if report.get("schema_version") != REPORT_SCHEMA_VERSION:
        raise SummaryError(
            f"{path} has schema_version {report.get('schema_version')!r}, this is "
            f"{REPORT_SCHEMA_VERSION}; run analyse_access_log for it"
        )
    return report


def _remedy(settings: Settings, day: str) -> str:
    days = sorted(
        path.parent.name for path in reports(settings, DATASET).glob("????-??-??/report.json")
    )
    if (summaries(settings, DATASET) / day / "summary.json").is_file():
        return (
            "it is summarised, so a check may have held it back: look at the note of its run of "
            "analyse_access_log"
        )
    there = f" or choose one of those that have one: {days[0]} to {days[-1]}" if days else ""
    return f"run analyse_access_log for it{there}"


if __name__ == "__main__":
    main()
