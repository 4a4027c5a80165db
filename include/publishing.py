"""Publish the reports of days: checked, each replaced whole, what it replaced kept, the list last."""

import argparse
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from include.assets import ACCESS_LOG_REPORT
from include.inbox import records
from include.lake import ready, reports, run_manifest, summaries
from include.notes import leave_note
from include.quality import LEVELS, Check, NotFit, check_day, check_run, keep
from include.reporting.alive import heartbeat_says, silence_says
from include.reporting.published import address, address_of_run, record_page
from include.reporting.report import (
    SummaryError,
    read_summary,
    write_index,
    write_range,
    write_report,
)
from include.settings import Settings, load_settings, restrict_new_files

DATASET = "access_log"
HEADLINES = ("requests", "unsuccessful", "visitors", "bytes")


def publish_days(
    settings: Settings, days: list[str], run: str, *, anyway: bool = False, night: bool = False,
    staged: Path | None = None, dag: str = "analyse_access_log",
) -> dict[str, dict[str, int]]:  # fmt: skip
    """Report each day from its summary; give its headline numbers by day.

    The first day is the run's own; the others got lines since. `night`: the schedule asked. A day
    that a check quarantines is left out, and the note of `dag`'s run says so. With `staged`, a folder
    of new summaries, each replaces the day's own when it has passed; what it replaces, summary and
    report, is kept in `replaced/` (`restore`).

    Raises NotFit after the other days if one fails a check; `anyway` publishes both. Raises
    SummaryError for a summary that cannot be read. Results of the checks are kept in
    `summary/access_log/checks.jsonl`.
    """
    folder, history = reports(settings, DATASET), summaries(settings, DATASET) / "checks.jsonl"
    told: dict[str, dict[str, int]] = {}
    held: list[str] = []
    unfit: list[str] = []
    changed: list[str] = []
    landed = _landed(run_manifest(settings, dag, run))
    of_run = check_run(landed, settings)
    keep(of_run, None, run, history)
    for day in days:
        summary = read_summary((staged or summaries(settings, DATASET)) / day / "summary.json")
        _add_checksums(settings, summary)
        replaced_report = _report(folder / day)
        summary["provenance"]["late"] = late_lines(summary, replaced_report, settings.zone)
        checks = check_day(summary, folder, settings, days[0] if night else None, staged)
        keep(checks, day, run, history)
        if day == days[0]:
            checks += [check for check in of_run if check.level != "ok"]
        _print(day, checks, summary)
        level = max((check.level for check in checks), key=LEVELS.index)
        why = [f"{day}: {check.says}" for check in checks if check.level == level]
        if level in ("quarantine", "fail") and not anyway:
            (unfit if level == "fail" else held).extend(why)
            continue
        if day != days[0]:
            before = (replaced_report.get("lines") or {}).get("read")
            changed.append(f"{day} ({_change(before, summary['lines']['read'])})")
        with publishing(settings):
            if staged:
                _put_aside(settings, day, run)
            page = write_report(
                summary, folder, [asdict(check) for check in checks],
                earlier=_earlier(summaries(settings, DATASET), staged, day),
            )  # fmt: skip
            if staged:  # last: whoever looks which days are to do looks at their summaries
                _copy_day(staged / day, summaries(settings, DATASET) / day)
        record_page(settings, dag, run, f"{DATASET}/{day}")
        told[day] = {name: summary[name] for name in HEADLINES}
        print(f"{page}: {told[day]}")  # noqa: T201
    # Of a backfill each day is a task: weeks and months are made once, by the last (write_periods).
    write_periods(settings, [] if staged else list(told))
    note = _note(days[0], told, changed, held + unfit, landed, of_run)
    print(f"note of this run: {note}")  # noqa: T201
    if not staged:  # of a backfill each day is a task, and none may speak for the run
        leave_note(settings, dag, run, note)
    if unfit:
        raise NotFit(
            f"not published: {'; '.join(unfit)}. Look at the bad lines (reasons and samples are in "
            f"summary.json of the day); then run it with publish_anyway, or change the setting "
            f"TIDEMARK_…_FAIL of the check, such as TIDEMARK_BAD_SHARE_FAIL"
        )
    return told


def write_periods(settings: Settings, days: list[str], name: str = "") -> None:
    """Write the pages of the weeks, months and years that have these days, and the list of all.

    `name`: of a filter's reports.
    """
    from include.reporting.ranges import periods_of, range_of

    folder, kept = (root(settings, DATASET) / name for root in (reports, summaries))
    with publishing(settings):
        for period, first, last in periods_of(days):
            try:
                page = write_range(range_of(kept, first, last), folder / period)
                print(f"{page}: {first} to {last}")  # noqa: T201
            except SummaryError as why:  # an older version's day, say: no reason to fail the night
                print(f"{period} is not made anew: {why}")  # noqa: T201
        if folder.is_dir():
            write_index(folder)


def _add_checksums(settings: Settings, summary: dict[str, Any]) -> None:
    """Of the files that a day came from, say the checksum that the inbox has kept."""
    kept = {one.get("ready"): one["sha256"] for one in records(ready(settings, DATASET))}
    for file in summary["provenance"].get("files", ()):
        if checksum := kept.get(file["name"]):
            file["sha256"] = checksum


def _earlier(kept: Path, staged: Path | None, day: str) -> dict[str, dict[str, Any]]:
    """The summaries that a day is compared with: the day before, and its weekday of four weeks."""
    found = {}
    for back in (1, 7, 14, 21, 28):
        other = (date.fromisoformat(day) - timedelta(days=back)).isoformat()
        for folder in filter(None, (staged, kept)):
            try:
                found[other] = read_summary(folder / other / "summary.json")
                break
            except SummaryError:
                continue
    return found


def publish_filtered(days: list[str], name: str) -> dict[str, dict[str, int]]:
    """Report days of a filter, from and into the folders called `name`; nothing else is touched."""
    run, settings = get_current_context()["dag_run"], load_settings()
    kept, folder = summaries(settings, DATASET) / name, reports(settings, DATASET) / name
    told = {}
    for day in days:
        summary = read_summary(kept / day / "summary.json")
        page = write_report(summary, folder, earlier=_earlier(kept, None, day))
        record_page(settings, run.dag_id, run.run_id, f"{DATASET}/{name}/{day}")
        told[day] = {headline: summary[headline] for headline in HEADLINES}
        print(f"{page}: {told[day]}")  # noqa: T201
    write_periods(settings, days, name)
    leave_note(settings, run.dag_id, run.run_id, f"reported {', '.join(days)} as {name}")
    return told


def _print(day: str, checks: list[Check], summary: dict[str, Any]) -> None:
    for check in checks:
        print(f"{day}: {check.level:10}  {check.name}: {check.says}")  # noqa: T201
    for says in (heartbeat_says(summary), silence_says(summary)):
        if says and summary["provenance"].get("heartbeat"):
            print(f"{day}: {says}")  # noqa: T201


def _note(
    day: str, told: dict[str, dict[str, int]], changed: list[str], held: list[str],
    landed: dict[str, Any], of_run: list[Check],
) -> str:  # fmt: skip
    parts = [f"reported {day}: {told[day]['requests']:,} requests"] if day in told else []
    parts += [f"changed: {', '.join(changed)}"] if changed else []
    parts += [f"not published: {'; '.join(held)}"] if held else []
    parts += [check.says for check in of_run if check.level != "ok"]
    if undated := landed.get("undated"):
        parts.append(f"{undated:,} bad lines belong to no day")
    if lost := sum(loss["messages"] for loss in landed.get("lost", ())):
        parts.append(f"{lost:,} messages were lost before they were landed")
    return "; ".join(parts)


def _landed(manifest: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(manifest.read_text()) if manifest.is_file() else {}
    return found


def _change(before: int | None, now: int) -> str:
    if before is None:
        return f"new, {now:,} lines"
    return f"{now - before:,} late lines" if now > before else f"{before - now:,} lines fewer"


def _report(day: Path) -> dict[str, Any]:
    """The day's report.json as it is; empty where there is none that can be read."""
    try:
        report: dict[str, Any] = json.loads((day / "report.json").read_text())
    except (OSError, ValueError):
        return {}
    return report


def late_lines(summary: dict[str, Any], before: dict[str, Any], zone: ZoneInfo) -> int:
    """How many of a day's lines came after a report of the whole day was made, from the same source.

    `before` is the report that the summary's replaces, or empty.
    """
    made = (before.get("provenance") or {}).get("summarised_at")
    if not made or before.get("source") != summary["source"]:
        return 0
    late: int = before["provenance"].get("late", 0)
    next_day = date.fromisoformat(summary["day"]) + timedelta(days=1)
    over = datetime.combine(next_day, datetime.min.time(), zone)
    if datetime.fromisoformat(made) < over:
        return late
    more: int = summary["lines"]["read"] - before["lines"]["read"]
    return late + max(0, more)


def publish_in_task(
    days: list[str], *, anyway: bool, staged: Path | None = None
) -> dict[str, dict[str, int]]:
    """`publish_days` for the run of the current task; AirflowFailException says what is not fit.

    The asset's event gets the days, their headline numbers in all and where the report opens.
    """
    context = get_current_context()
    run = context["dag_run"]
    try:
        told = publish_days(
            load_settings(), days, run.run_id, anyway=anyway, night=run.run_type == "scheduled",
            staged=staged, dag=run.dag_id,
        )  # fmt: skip
    except (NotFit, ValueError) as refused:
        raise AirflowFailException(str(refused)) from None
    context["outlet_events"][ACCESS_LOG_REPORT].extra = _event(run.dag_id, run.run_id, told)
    return told


def _event(dag: str, run: str, told: dict[str, dict[str, int]]) -> dict[str, Any]:
    of_one = address(f"{DATASET}/{next(iter(told))}") if len(told) == 1 else ""
    page = of_one or (address_of_run(dag, run) if told else "")
    totals = {name: sum(day[name] for day in told.values()) for name in HEADLINES}
    return {"days": list(told), **totals, "page": page}


@contextmanager
def publishing(settings: Settings) -> Iterator[None]:
    """Hold the published days against other runs; waits for its turn."""
    folder = summaries(settings, DATASET)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replaced(settings: Settings) -> Path:
    """Where `publish_days` keeps what it replaced: a folder a run, in it a folder a day."""
    return settings.lake / "replaced" / DATASET


def restore(settings: Settings, run: str, days: list[str] | None = None) -> list[str]:
    """Put back the summaries and reports that `run` replaced; give the days.

    Raises ValueError with the names that there are if there is no such run or day.
    """
    kept = replaced(settings) / run
    there = sorted(path.name for path in kept.glob("[0-9]*")) if run and kept.is_dir() else []
    if not there or (missing := set(days or []) - set(there)):
        runs = sorted(path.name for path in replaced(settings).glob("*"))
        found = (
            f"of it: {', '.join(there)}; not {missing}" if there else f"{', '.join(runs) or 'none'}"
        )
        raise ValueError(f"nothing is kept of {run or 'no run'}; there are {found}")
    with publishing(settings):
        for day in days or there:
            _copy_day(kept / day / "summary", summaries(settings, DATASET) / day)
            _copy_day(kept / day / "report", reports(settings, DATASET) / day)
    write_periods(settings, days or there)
    return days or there


def _put_aside(settings: Settings, day: str, run: str) -> None:
    """Keep the day as it is published now; what a run has kept once, its retry does not touch."""
    kept = replaced(settings) / run.replace("/", "_") / day
    old = {
        "summary": summaries(settings, DATASET) / day,
        "report": reports(settings, DATASET) / day,
    }
    if kept.is_dir() or not (old["summary"] / "summary.json").is_file():
        return
    part = kept.with_name(f".{day}")
    shutil.rmtree(part, ignore_errors=True)
    for name, folder in old.items():
        if folder.is_dir():
            shutil.copytree(folder, part / name)
    part.replace(kept)


def _copy_day(source: Path, target: Path) -> None:
    """Each file whole; the one that readers look for (summary.json, index.html) last."""
    target.mkdir(parents=True, exist_ok=True)
    files = [path for path in source.iterdir() if path.is_file()]
    for file in sorted(files, key=lambda f: f.name in ("summary.json", "index.html")):
        part = target / f".{file.name}"
        shutil.copyfile(file, part)
        part.replace(target / file.name)


def main(argv: list[str] | None = None) -> None:
    """`make restore RUN=…`: put back what a run replaced."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "run", nargs="?", default="", help="a folder of var/lake/replaced/access_log"
    )
    parser.add_argument("days", nargs="*", help="some of its days; default: all")
    args = parser.parse_args(argv)
    try:
        days = restore(load_settings(), args.run, args.days)
    except ValueError as refused:
        sys.exit(str(refused))
    print(f"restored: {', '.join(days)}")  # noqa: T201


if __name__ == "__main__":
    restrict_new_files()
    main()
