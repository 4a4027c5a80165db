"""The report of several days, from their summaries alone, and the weeks, months and years of days.

It sums panels with pyarrow, which Airflow must not load when it parses DAGs: import this in a task.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasketches import hll_sketch, hll_union

from include.contracts import LONGEST_RANGE, REPORT_SCHEMA_VERSION
from include.reporting.panel_sums import hits_of_day, read_panels, sum_panels
from include.reporting.report import SummaryError, read_summary

MACHINES_KEPT = 100
LG_K = 12  # of the sketches: 2^12 registers
TOTALS = ("requests", "visitors", "unsuccessful", "bytes")


def range_of(summaries: Path, first: date, last: date) -> dict[str, Any]:
    """The report of the days `first` to `last`, both included, from the folder of their summaries.

    Days without a summary are in `missing`. Its names are those of docs/report.schema.json.

    Raises SummaryError if no day has a summary, one cannot be read, or two are of another dataset or
    filter, and ValueError if `last` is before `first` or the range is longer than LONGEST_RANGE days.
    """
    wanted = days_between(first, last)
    days = [day for day in wanted if _file(summaries, day).is_file()]
    if not days:
        raise SummaryError(
            f"no day from {first} to {last} has a summary in {summaries}; choose other days, or run "
            f"analyse_access_log for these"
        )
    read = [_read(summaries, day) for day in days]
    _refuse_mixed(read)
    sums = sum_panels(_panels(summaries, read))
    names = dict.fromkeys(name for summary in reversed(read) for name in summary["panels"])
    sources = {summary["source"] for summary in read}
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        "dataset": read[-1]["dataset"],
        "from": first.isoformat(),
        "to": last.isoformat(),
        "days": len(days),
        "missing": [day for day in wanted if day not in set(days)],
        "time_zone": read[-1]["time_zone"],
        "source": sources.pop() if len(sources) == 1 else "both",
        "filter": read[-1]["filter"],
        "lines": _sums(summary["lines"] for summary in read),
        **_totals(read),
        "people": _sums(summary["people"] for summary in read),
        "distinct": _distinct(read),
        "by_status": dict(sorted(_sums(summary["by_status"] for summary in read).items())),
        "by_hour": dict(sorted(_sums(summary["by_hour"] for summary in read).items())),
        "by_day": [_of_day(summary) for summary in read],
        "visits": {
            who: _sums(_without_median(summary["visits"][who]) for summary in read)
            for who in ("all", "people")
        },
        "panels": {name: sums.get(name, ([], 0))[0] for name in names},
        "panel_rows": {name: sums.get(name, ([], 0))[1] for name in names},
        "machines": _machines(read),
        "trouble": {"bursts": _bursts(read), "attacks": _attacks(read)},
        "before": _before(summaries, first, len(wanted), read[-1]),
        "provenance": {"days": [_origin(summary) for summary in read]},
    }


def days_between(first: date, last: date) -> list[str]:
    """ISO dates from `first` to `last`. Raises ValueError: see `range_of`."""
    if last < first:
        raise ValueError(f"the range ends ({last}) before it begins ({first}); swap the two days")
    count = (last - first).days + 1
    if count > LONGEST_RANGE:
        raise ValueError(f"{first} to {last} is {count:,} days; choose at most {LONGEST_RANGE:,}")
    return [(first + timedelta(days=n)).isoformat() for n in range(count)]


def periods_of(days: list[str]) -> list[tuple[str, date, date]]:
    """Weeks, months and years that hold the `days` (ISO dates), each once: name, first day, last day.

    A week is ISO 8601's, Monday to Sunday, and of the year that has its Thursday: "2026-W01" begins
    on 2025-12-29. In order: weeks, then months ("2015-05"), then years ("2015").
    """
    dates = [date.fromisoformat(day) for day in sorted(days)]
    found = [_week(day) for day in dates] + [_month(day) for day in dates]
    found += [(f"{day.year:04}", date(day.year, 1, 1), date(day.year, 12, 31)) for day in dates]
    return list(dict.fromkeys(found))


def _file(summaries: Path, day: str) -> Path:
    return summaries / day / "summary.json"


def _read(summaries: Path, day: str) -> dict[str, Any]:
    """A day's summary, of its panels only the names: the rows of a year would fill the memory."""
    summary = read_summary(_file(summaries, day))
    for name in ("unsuccessful_requests", "bad_lines"):
        summary.pop(name, None)
    return summary | {"panels": list(summary["panels"])}


def _refuse_mixed(summaries: list[dict[str, Any]]) -> None:
    """Numbers of what passed a filter and of all requests are not added up."""
    newest = summaries[-1]
    for name in ("dataset", "filter"):
        for summary in summaries:
            if summary[name] != newest[name]:
                raise SummaryError(
                    f"{summary['day']} has {name} {json.dumps(summary[name])}, {newest['day']} has "
                    f"{json.dumps(newest[name])}: they are not added up; choose days of the same {name}"
                )


def _panels(folder: Path, summaries: list[dict[str, Any]]) -> Iterator[pa.Table]:
    for summary in summaries:
        path = folder / summary["day"] / "panels.parquet"
        rows = read_panels(path)
        if hits_of_day(rows) != summary["requests"]:  # one of the two was replaced meanwhile
            raise SummaryError(
                f"{path} has {hits_of_day(rows):,} requests, summary.json beside it "
                f"{summary['requests']:,}; wait for a run that is under way, or run "
                f"analyse_access_log for its day"
            )
        yield rows


def _sums(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _totals(summaries: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(summary[name] for summary in summaries) for name in TOTALS}


def _without_median(visits: dict[str, Any]) -> dict[str, Any]:
    # The median of all visits is not to be had from those of the days.
    return {name: number for name, number in visits.items() if name != "seconds_median"}


def _of_day(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "day": summary["day"], "requests": summary["requests"], "visitors": summary["visitors"],
        "people_visitors": summary["people"]["visitors"],
        "unsuccessful": summary["unsuccessful"], "bytes": summary["bytes"],
    }  # fmt: skip


def _origin(summary: dict[str, Any]) -> dict[str, Any]:
    made = summary["provenance"]
    return {
        "day": summary["day"], "run": made["run"], "summarised_at": made["summarised_at"],
        "source": summary["source"],
    }  # fmt: skip


def _distinct(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """About how many different visitors and people came, each counted once however often it came.

    `error` is relative: the true number is within it in 95 of 100 cases.
    """
    # The library's own bound for two standard deviations of a merged sketch. (0.026 is that of a
    # sketch that one stream has filled: a day's, but no range's.)
    error = -hll_union.get_rel_err(True, True, LG_K, 2)
    return {
        "visitors": _estimate(summaries, "visitors"),
        "people": _estimate(summaries, "people"),
        "error": round(error / (1 - error), 3),
    }


def _estimate(summaries: list[dict[str, Any]], who: str) -> int:
    union = hll_union(LG_K)
    for summary in summaries:
        if summary["distinct"][who] is None:
            continue
        try:
            union.update(hll_sketch.deserialize(base64.b64decode(summary["distinct"][who])))
        except (ValueError, TypeError, LookupError, RuntimeError) as error:
            raise SummaryError(
                f"the sketch distinct.{who} of {summary['day']} is damaged ({error}); run "
                f"analyse_access_log for that day"
            ) from None
    return round(float(union.get_estimate()))


def _machines(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of what each day lists: by host and user agent, called as on their last day."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for summary in summaries:
        for machine in summary["machines"]:
            key = (machine["host"], machine["user_agent"])
            old = found.get(key, {"hits": 0, "bytes": 0, "reasons": []})
            found[key] = machine | {
                "hits": old["hits"] + machine["hits"],
                "bytes": old["bytes"] + machine["bytes"],
                "reasons": list(dict.fromkeys([*old["reasons"], *machine["reasons"]])),
            }
    most = sorted(found.items(), key=lambda one: (-one[1]["hits"], one[0][0], one[0][1] or ""))
    return [machine for _, machine in most[:MACHINES_KEPT]]


def _bursts(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    bursts = [burst for summary in summaries for burst in summary["trouble"]["bursts"]]
    return sorted(bursts, key=lambda burst: str(burst["from"]))


def _attacks(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By host and kind, with the sample of the last day, most hits first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for summary in summaries:
        for attack in summary["trouble"]["attacks"]:
            key = (attack["host"], attack["kind"])
            old = found.get(key, {"hits": 0, "answered": 0})
            found[key] = attack | {name: old[name] + attack[name] for name in ("hits", "answered")}
    return sorted(found.values(), key=lambda one: (-one["hits"], one["host"], one["kind"]))


def _before(folder: Path, first: date, count: int, like: dict[str, Any]) -> dict[str, Any] | None:
    """Totals of the `count` days before `first`, as far as they have a summary that can be added."""
    if (first - date.min).days < count:
        return None
    begin, end = first - timedelta(days=count), first - timedelta(days=1)
    read = []
    for day in days_between(begin, end):
        try:
            summary = read_summary(_file(folder, day))
        except SummaryError:
            continue  # it is only compared with: `days` says how many there are
        if all(summary[name] == like[name] for name in ("dataset", "filter")):
            read.append(summary)
    about = {"from": begin.isoformat(), "to": end.isoformat(), "days": len(read)}
    return about | _totals(read) if read else None


def _week(day: date) -> tuple[str, date, date]:
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    return f"{year:04}-W{week:02}", monday, monday + timedelta(days=6)


def _month(day: date) -> tuple[str, date, date]:
    begin = day.replace(day=1)
    after = (begin + timedelta(days=31)).replace(day=1)
    return f"{day.year:04}-{day.month:02}", begin, after - timedelta(days=1)
