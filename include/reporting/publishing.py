"""Check and publish the reports of days.

Files are replaced whole, and the list of days is written last. A backfill backs up what it replaces.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from include.datasets import ACCESS_LOG
from include.inbox.ledger import read_taken_files
from include.lake.files import replace_files
from include.lake.paths import ready_path, reports_path, run_manifest_path, summaries_path
from include.lake.run_notes import write_note
from include.reporting.checks import LEVELS, Check, CheckFailed, check_day, check_run, record_checks
from include.reporting.heartbeats import describe_heartbeat, describe_silence
from include.reporting.report import (
    UnusableSummary,
    read_summary,
    write_index,
    write_range,
    write_report,
)
from include.reporting.run_pages import record_page
from include.settings import Settings

HEADLINE_FIELDS = ("requests", "unsuccessful", "visitors", "bytes")


def publish_days(
    settings: Settings,
    days: list[str],
    run_id: str,
    *,
    publish_anyway: bool = False,
    is_scheduled: bool = False,
    staged_folder: Path | None = None,
    dag_id: str = "analyse_access_log",
) -> dict[str, dict[str, int]]:
    """Check the summary of each day and publish its report.

    A day with a check at level `quarantine` or `fail` is not published. The run's note lists it. The
    results of all checks are appended to `summary/access_log/checks.jsonl`.

    Args:
        days: ISO dates. The first is the run's own day. The others are days that got lines since their
            last report.
        publish_anyway: Publish also days that fail a check.
        is_scheduled: The schedule started the run. Then the age of late lines is checked.
        staged_folder: Folder of new summaries. Each replaces the day's published summary when it has
            passed the checks. The summary and report that it replaces are backed up in `replaced/`, from
            where `restore` takes them.

    Returns:
        ISO date of each published day -> its headline numbers (HEADLINE_FIELDS).

    Raises:
        CheckFailed: A day has a check at level `fail`. The other days are published before.
        UnusableSummary: A summary cannot be read.
    """
    folder, history = (
        reports_path(settings, ACCESS_LOG.name),
        summaries_path(settings, ACCESS_LOG.name) / "checks.jsonl",
    )
    headlines: dict[str, dict[str, int]] = {}
    quarantined: list[str] = []
    failed: list[str] = []
    changed: list[str] = []
    manifest = _read_manifest(run_manifest_path(settings, dag_id, run_id))
    run_checks = check_run(manifest, settings)
    record_checks(run_checks, None, run_id, history)
    for day in days:
        summary = read_summary(
            (staged_folder or summaries_path(settings, ACCESS_LOG.name)) / day / "summary.json"
        )
        _add_checksums(settings, summary)
        replaced_report = _read_report(folder / day)
        summary["provenance"]["late"] = count_late_lines(summary, replaced_report, settings.zone)
        checks = check_day(
            summary, folder, settings, days[0] if is_scheduled else None, staged_folder
        )
        record_checks(checks, day, run_id, history)
        if day == days[0]:
            checks += [check for check in run_checks if check.level != "ok"]
        _print_checks(day, checks, summary)
        level = max((check.level for check in checks), key=LEVELS.index)
        messages = [f"{day}: {check.message}" for check in checks if check.level == level]
        if level in ("quarantine", "fail") and not publish_anyway:
            (failed if level == "fail" else quarantined).extend(messages)
            continue
        if day != days[0]:
            previous = (replaced_report.get("lines") or {}).get("read")
            changed.append(f"{day} ({_describe_change(previous, summary['lines']['read'])})")
        with publishing_lock(settings):
            if staged_folder:
                _back_up_day(settings, day, run_id)
            page = write_report(
                summary,
                folder,
                [asdict(check) for check in checks],
                earlier_summaries=_read_earlier_summaries(
                    summaries_path(settings, ACCESS_LOG.name), staged_folder, day
                ),
            )
            if staged_folder:  # last: a day counts as done when its summary is in place
                copy_day(staged_folder / day, summaries_path(settings, ACCESS_LOG.name) / day)
        record_page(settings, dag_id, run_id, f"{ACCESS_LOG.name}/{day}")
        headlines[day] = {name: summary[name] for name in HEADLINE_FIELDS}
        print(f"{page}: {headlines[day]}")  # noqa: T201
    # In a backfill each day is a task. The last one writes the weeks and months once (write_periods).
    write_periods(settings, [] if staged_folder else list(headlines))
    note = _build_note(days[0], headlines, changed, quarantined + failed, manifest, run_checks)
    print(f"run note: {note}")  # noqa: T201
    if not staged_folder:  # the task of one day does not know the whole backfill run
        write_note(settings, dag_id, run_id, note)
    if failed:
        raise CheckFailed(
            f"not published: {'; '.join(failed)}. Look at the bad lines (the day's summary.json has "
            f"reasons and samples). Then run the day again with publish_anyway, or change the check's "
            f"setting TIDEMARK_…_FAIL, such as TIDEMARK_BAD_SHARE_FAIL"
        )
    return headlines


def write_periods(settings: Settings, days: list[str], filter_folder: str = "") -> None:
    """Write the pages of the weeks, months and years that contain `days`, then the list of all days.

    `filter_folder` is the folder name of a filter's reports. By default it is the unfiltered ones.
    """
    from include.reporting.ranges import build_range_report, list_periods

    folder, summary_folder = (
        root(settings, ACCESS_LOG.name) / filter_folder for root in (reports_path, summaries_path)
    )
    with publishing_lock(settings):
        for period, first, last in list_periods(days):
            try:
                page = write_range(build_range_report(summary_folder, first, last), folder / period)
                print(f"{page}: {first} to {last}")  # noqa: T201
            except UnusableSummary as error:
                # For example a day of an older version. The scheduled run must not fail for it.
                print(f"report of {period} not updated: {error}")  # noqa: T201
        if folder.is_dir():
            write_index(folder)


def _add_checksums(settings: Settings, summary: dict[str, Any]) -> None:
    """Add to the day's input files the SHA-256 checksums that the inbox recorded."""
    records = read_taken_files(ready_path(settings, ACCESS_LOG.name))
    checksums = {record.get("ready"): record["sha256"] for record in records}
    for file in summary["provenance"].get("files", ()):
        if checksum := checksums.get(file["name"]):
            file["sha256"] = checksum


def _read_earlier_summaries(
    summary_folder: Path, staged_folder: Path | None, day: str
) -> dict[str, dict[str, Any]]:
    """Read the summaries that a day is compared with: the day before, and its weekday of four weeks."""
    summaries = {}
    for days_back in (1, 7, 14, 21, 28):
        earlier_day = (date.fromisoformat(day) - timedelta(days=days_back)).isoformat()
        for folder in filter(None, (staged_folder, summary_folder)):
            try:
                summaries[earlier_day] = read_summary(folder / earlier_day / "summary.json")
                break
            except UnusableSummary:
                continue
    return summaries


def publish_filtered_days(
    settings: Settings, days: list[str], filter_folder: str, dag_id: str, run_id: str
) -> dict[str, dict[str, int]]:
    """Publish the reports of filtered days. The days' own reports do not change.

    Args:
        days: ISO dates.
        filter_folder: Name of the filter's folder under the summaries and under the reports.

    Returns:
        ISO date -> headline numbers (HEADLINE_FIELDS).
    """
    summary_folder, folder = (
        summaries_path(settings, ACCESS_LOG.name) / filter_folder,
        reports_path(settings, ACCESS_LOG.name) / filter_folder,
    )
    headlines = {}
    for day in days:
        summary = read_summary(summary_folder / day / "summary.json")
        page = write_report(
            summary, folder, earlier_summaries=_read_earlier_summaries(summary_folder, None, day)
        )
        record_page(settings, dag_id, run_id, f"{ACCESS_LOG.name}/{filter_folder}/{day}")
        headlines[day] = {name: summary[name] for name in HEADLINE_FIELDS}
        print(f"{page}: {headlines[day]}")  # noqa: T201
    write_periods(settings, days, filter_folder)
    write_note(settings, dag_id, run_id, f"reported {', '.join(days)} as {filter_folder}")
    return headlines


def _print_checks(day: str, checks: list[Check], summary: dict[str, Any]) -> None:
    for check in checks:
        print(f"{day}: {check.level:10}  {check.name}: {check.message}")  # noqa: T201
    for sentence in (describe_heartbeat(summary), describe_silence(summary)):
        if sentence and summary["provenance"].get("heartbeat"):
            print(f"{day}: {sentence}")  # noqa: T201


def _build_note(
    day: str,
    headlines: dict[str, dict[str, int]],
    changed: list[str],
    not_published: list[str],
    manifest: dict[str, Any],
    run_checks: list[Check],
) -> str:
    parts = [f"reported {day}: {headlines[day]['requests']:,} requests"] if day in headlines else []
    parts += [f"changed: {', '.join(changed)}"] if changed else []
    parts += [f"not published: {'; '.join(not_published)}"] if not_published else []
    parts += [check.message for check in run_checks if check.level != "ok"]
    if undated := manifest.get("undated"):
        parts.append(f"{undated:,} bad lines belong to no day")
    if lost := sum(loss["messages"] for loss in manifest.get("lost", ())):
        parts.append(f"{lost:,} messages were lost before they were landed")
    return "; ".join(parts)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return manifest


def _describe_change(previous: int | None, current: int) -> str:
    if previous is None:
        return f"new, {current:,} lines"
    return (
        f"{current - previous:,} late lines"
        if current > previous
        else f"{previous - current:,} lines fewer"
    )


def _read_report(day: Path) -> dict[str, Any]:
    """Read the day's report.json. Returns an empty dict if it is missing or cannot be read."""
    try:
        report: dict[str, Any] = json.loads((day / "report.json").read_text())
    except (OSError, ValueError):
        return {}
    return report


def count_late_lines(
    summary: dict[str, Any], previous_report: dict[str, Any], zone: ZoneInfo
) -> int:
    """Count the lines that came after a report of the whole day, from the same source.

    Args:
        previous_report: The report that this summary's report replaces, or an empty dict.
        zone: Time zone in which the day ends.
    """
    summarised_at = (previous_report.get("provenance") or {}).get("summarised_at")
    if not summarised_at or previous_report.get("source") != summary["source"]:
        return 0
    late: int = previous_report["provenance"].get("late", 0)
    next_day = date.fromisoformat(summary["day"]) + timedelta(days=1)
    end_of_day = datetime.combine(next_day, datetime.min.time(), zone)
    if datetime.fromisoformat(summarised_at) < end_of_day:
        return late
    new_lines: int = summary["lines"]["read"] - previous_report["lines"]["read"]
    return late + max(0, new_lines)


@contextmanager
def publishing_lock(settings: Settings) -> Iterator[None]:
    """Lock the published days against other runs. Waits until the lock is free."""
    folder = summaries_path(settings, ACCESS_LOG.name)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def get_replaced_folder(settings: Settings) -> Path:
    """Return the folder where `publish_days` backs up what it replaces, as `<run id>/<day>/`."""
    return settings.lake / "replaced" / ACCESS_LOG.name


def _back_up_day(settings: Settings, day: str, run_id: str) -> None:
    """Back up the published summary and report of a day. A retry of the run keeps the first backup."""
    backup = get_replaced_folder(settings) / run_id.replace("/", "_") / day
    published = {
        "summary": summaries_path(settings, ACCESS_LOG.name) / day,
        "report": reports_path(settings, ACCESS_LOG.name) / day,
    }
    if backup.is_dir() or not (published["summary"] / "summary.json").is_file():
        return
    part = backup.with_name(f".{day}")
    shutil.rmtree(part, ignore_errors=True)
    for name, folder in published.items():
        if folder.is_dir():
            shutil.copytree(folder, part / name)
    part.replace(backup)


def copy_day(source: Path, target: Path) -> None:
    """Copy the files of a day's folder.

    Each file is replaced whole. The file that readers look for (summary.json or index.html) is the last.
    """
    files = [path for path in source.iterdir() if path.is_file()]
    files.sort(key=lambda path: path.name in ("summary.json", "index.html"))
    replace_files({file.name: file.read_bytes() for file in files}, target)
