"""Build the report of a range of days from the days' summaries, and list weeks, months and years.

This module imports pyarrow, which Airflow must not load when it parses DAGs. Import it inside a task.
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

from include.contracts import MAX_RANGE_DAYS, REPORT_SCHEMA_VERSION
from include.reporting.panel_sums import count_requests, read_panels, sum_panels
from include.reporting.report import UnusableSummary, read_summary

MAX_BOTS_LISTED = 100
LG_K = 12  # the HyperLogLog sketches have 2^12 registers
TOTAL_FIELDS = ("requests", "visitors", "unsuccessful", "bytes")


def build_range_report(summary_folder: Path, first: date, last: date) -> dict[str, Any]:
    """Build the report of the days `first` to `last`, both included.

    Args:
        summary_folder: Folder of the days' summaries, `<day>/summary.json`.

    Returns:
        The report as docs/report.schema.json describes it. Days without a summary are in `missing`.

    Raises:
        UnusableSummary: No day has a summary, a summary cannot be read, or two summaries differ in
            dataset or filter.
        ValueError: `last` is before `first`, or the range is longer than MAX_RANGE_DAYS.
    """
    range_days = list_days(first, last)
    days = [day for day in range_days if _get_summary_path(summary_folder, day).is_file()]
    if not days:
        raise UnusableSummary(
            f"no day from {first} to {last} has a summary in {summary_folder}; choose other days, or run "
            f"analyse_access_log for these days"
        )
    summaries = [_read_compact_summary(summary_folder, day) for day in days]
    newest = summaries[-1]
    _reject_mixed_summaries(summaries)
    sums = sum_panels(_read_day_panels(summary_folder, summaries))
    panels = dict.fromkeys(name for summary in reversed(summaries) for name in summary["panels"])
    sources = {summary["source"] for summary in summaries}
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        "dataset": newest["dataset"],
        "from": first.isoformat(),
        "to": last.isoformat(),
        "days": len(days),
        "missing": [day for day in range_days if day not in set(days)],
        "time_zone": newest["time_zone"],
        "source": sources.pop() if len(sources) == 1 else "both",
        "filter": newest["filter"],
        "lines": _sum_counts(summary["lines"] for summary in summaries),
        **_sum_totals(summaries),
        "humans": _sum_counts(summary["humans"] for summary in summaries),
        "distinct": _estimate_distinct(summaries),
        "by_status": dict(
            sorted(_sum_counts(summary["by_status"] for summary in summaries).items())
        ),
        "by_hour": dict(sorted(_sum_counts(summary["by_hour"] for summary in summaries).items())),
        "by_day": [_build_day_row(summary) for summary in summaries],
        "visits": {
            visitors: _sum_counts(
                _drop_median(summary["visits"][visitors]) for summary in summaries
            )
            for visitors in ("all", "humans")
        },
        "panels": {name: sums.get(name, ([], 0))[0] for name in panels},
        "panel_rows": {name: sums.get(name, ([], 0))[1] for name in panels},
        "bots": _merge_bots(summaries),
        "incidents": {"bursts": _merge_bursts(summaries), "attacks": _merge_attacks(summaries)},
        "before": _sum_previous_period(summary_folder, first, len(range_days), newest),
        "provenance": {"days": [_select_provenance(summary) for summary in summaries]},
    }


def list_days(first: date, last: date) -> list[str]:
    """List the ISO dates from `first` to `last`. Raises ValueError as `build_range_report` does."""
    if last < first:
        raise ValueError(f"the range ends ({last}) before it begins ({first}); swap the two days")
    count = (last - first).days + 1
    if count > MAX_RANGE_DAYS:
        raise ValueError(f"{first} to {last} is {count:,} days; choose at most {MAX_RANGE_DAYS:,}")
    return [(first + timedelta(days=n)).isoformat() for n in range(count)]


def list_periods(days: list[str]) -> list[tuple[str, date, date]]:
    """List the weeks, months and years that contain the `days` (ISO dates).

    Weeks are those of ISO 8601: Monday to Sunday, in the year of their Thursday. "2026-W01" begins on
    2025-12-29.

    Returns:
        Name, first day and last day of each period, without duplicates. Weeks come first ("2015-W21"),
        then months ("2015-05"), then years ("2015").
    """
    dates = [date.fromisoformat(day) for day in sorted(days)]
    periods = [_find_week(day) for day in dates] + [_find_month(day) for day in dates]
    periods += [(f"{day.year:04}", date(day.year, 1, 1), date(day.year, 12, 31)) for day in dates]
    return list(dict.fromkeys(periods))


def _get_summary_path(summary_folder: Path, day: str) -> Path:
    return summary_folder / day / "summary.json"


def _read_compact_summary(summary_folder: Path, day: str) -> dict[str, Any]:
    """Read a day's summary with only the names of its panels. A year of rows would fill the memory."""
    summary = read_summary(_get_summary_path(summary_folder, day))
    for name in ("unsuccessful_requests", "bad_lines"):
        summary.pop(name, None)
    return summary | {"panels": list(summary["panels"])}


def _reject_mixed_summaries(summaries: list[dict[str, Any]]) -> None:
    """Raise UnusableSummary if summaries differ in dataset or filter, because their sum means nothing."""
    newest = summaries[-1]
    for name in ("dataset", "filter"):
        for summary in summaries:
            if summary[name] != newest[name]:
                raise UnusableSummary(
                    f"{summary['day']} has {name} {json.dumps(summary[name])}, {newest['day']} has "
                    f"{json.dumps(newest[name])}: they are not added up; choose days of the same {name}"
                )


def _read_day_panels(summary_folder: Path, summaries: list[dict[str, Any]]) -> Iterator[pa.Table]:
    for summary in summaries:
        path = summary_folder / summary["day"] / "panels.parquet"
        rows = read_panels(path)
        if count_requests(rows) != summary["requests"]:  # a run has replaced one of the two files
            raise UnusableSummary(
                f"{path} has {count_requests(rows):,} requests, summary.json beside it "
                f"{summary['requests']:,}; wait until the current run has ended, or run "
                f"analyse_access_log for its day"
            )
        yield rows


def _sum_counts(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _sum_totals(summaries: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(summary[name] for summary in summaries) for name in TOTAL_FIELDS}


def _drop_median(visits: dict[str, Any]) -> dict[str, Any]:
    # The median of all visits cannot be computed from the medians of the days.
    return {name: number for name, number in visits.items() if name != "seconds_median"}


def _build_day_row(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "day": summary["day"],
        "requests": summary["requests"],
        "visitors": summary["visitors"],
        "humans_visitors": summary["humans"]["visitors"],
        "unsuccessful": summary["unsuccessful"],
        "bytes": summary["bytes"],
    }


def _select_provenance(summary: dict[str, Any]) -> dict[str, Any]:
    provenance = summary["provenance"]
    return {
        "day": summary["day"],
        "run": provenance["run"],
        "summarised_at": provenance["summarised_at"],
        "source": summary["source"],
    }


def _estimate_distinct(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Estimate the number of different visitors and humans from the days' sketches.

    `error` is relative: in 95 of 100 cases the true number lies within it.
    """
    # This is the library's bound for two standard deviations of a merged sketch. (0.026 is the bound of
    # a sketch that one stream has filled. It holds for a day, but not for a range.)
    error = -hll_union.get_rel_err(True, True, LG_K, 2)
    return {
        "visitors": _estimate_visitors(summaries, "visitors"),
        "humans": _estimate_visitors(summaries, "humans"),
        "error": round(error / (1 - error), 3),
    }


def _estimate_visitors(summaries: list[dict[str, Any]], visitor_kind: str) -> int:
    union = hll_union(LG_K)
    for summary in summaries:
        if summary["distinct"][visitor_kind] is None:
            continue
        try:
            union.update(
                hll_sketch.deserialize(base64.b64decode(summary["distinct"][visitor_kind]))
            )
        except (ValueError, TypeError, LookupError, RuntimeError) as error:
            raise UnusableSummary(
                f"the sketch distinct.{visitor_kind} of {summary['day']} is damaged ({error}); run "
                f"analyse_access_log for that day"
            ) from None
    return round(float(union.get_estimate()))


def _merge_bots(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge the days' bots by host and user agent. Name and class are those of the bot's last day."""
    merged: dict[tuple[str, str | None], dict[str, Any]] = {}
    for summary in summaries:
        for bot in summary["bots"]:
            key = (bot["host"], bot["user_agent"])
            total = merged.get(key, {"hits": 0, "bytes": 0, "reasons": []})
            merged[key] = bot | {
                "hits": total["hits"] + bot["hits"],
                "bytes": total["bytes"] + bot["bytes"],
                "reasons": list(dict.fromkeys([*total["reasons"], *bot["reasons"]])),
            }
    by_hits = sorted(
        merged.items(), key=lambda item: (-item[1]["hits"], item[0][0], item[0][1] or "")
    )
    return [bot for _, bot in by_hits[:MAX_BOTS_LISTED]]


def _merge_bursts(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    bursts = [burst for summary in summaries for burst in summary["incidents"]["bursts"]]
    return sorted(bursts, key=lambda burst: str(burst["from"]))


def _merge_attacks(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge the days' attacks by host and kind, most hits first. The sample is that of the last day."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for summary in summaries:
        for attack in summary["incidents"]["attacks"]:
            key = (attack["host"], attack["kind"])
            total = merged.get(key, {"hits": 0, "answered": 0})
            merged[key] = attack | {
                name: total[name] + attack[name] for name in ("hits", "answered")
            }
    return sorted(
        merged.values(), key=lambda attack: (-attack["hits"], attack["host"], attack["kind"])
    )


def _sum_previous_period(
    summary_folder: Path, first: date, count: int, newest: dict[str, Any]
) -> dict[str, Any] | None:
    """Sum the totals of the `count` days before `first` that have a summary like that of `newest`.

    Returns None if there is no such day.
    """
    if (first - date.min).days < count:
        return None
    begin, end = first - timedelta(days=count), first - timedelta(days=1)
    summaries = []
    for day in list_days(begin, end):
        try:
            summary = read_summary(_get_summary_path(summary_folder, day))
        except UnusableSummary:
            continue  # only a comparison: `days` has the number of days that were read
        if all(summary[name] == newest[name] for name in ("dataset", "filter")):
            summaries.append(summary)
    if not summaries:
        return None
    period = {"from": begin.isoformat(), "to": end.isoformat(), "days": len(summaries)}
    return period | _sum_totals(summaries)


def _find_week(day: date) -> tuple[str, date, date]:
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    return f"{year:04}-W{week:02}", monday, monday + timedelta(days=6)


def _find_month(day: date) -> tuple[str, date, date]:
    begin = day.replace(day=1)
    next_month = (begin + timedelta(days=31)).replace(day=1)
    return f"{day.year:04}-{day.month:02}", begin, next_month - timedelta(days=1)
