"""Publish the reports of days: checked, each replaced whole, the list of days last."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from include.lake import reports, run_manifest, summaries
from include.notes import leave_note
from include.quality import LEVELS, Check, NotFit, check_day, check_run, keep
from include.reporting.alive import heartbeat_says, silence_says
from include.reporting.report import read_summary, write_index, write_report
from include.settings import Settings

DATASET = "access_log"
DAG = "analyse_access_log"


def publish_days(
    settings: Settings, days: list[str], run: str, *, anyway: bool = False, night: bool = False
) -> dict[str, dict[str, int]]:
    """Report each day from its summary; give its headline numbers by day.

    The first day is the run's own; the others got lines since. `night`: the schedule asked. A day
    that a check quarantines is left out, and the run's note says so. Raises NotFit after the other
    days if one fails a check; `anyway` publishes both. Raises SummaryError for a summary that cannot
    be read. Results of the checks are kept in `summary/access_log/checks.jsonl`.
    """
    folder, history = reports(settings, DATASET), summaries(settings, DATASET) / "checks.jsonl"
    told: dict[str, dict[str, int]] = {}
    held: list[str] = []
    unfit: list[str] = []
    changed: list[str] = []
    landed = _landed(run_manifest(settings, DAG, run))
    of_run = check_run(landed, settings)
    keep(of_run, None, run, history)
    for day in days:
        summary = read_summary(summaries(settings, DATASET) / day / "summary.json")
        checks = check_day(summary, folder, settings, days[0] if night else None)
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
            before = _read_before(folder / day / "report.json")
            changed.append(f"{day} ({_change(before, summary['lines']['read'])})")
        page = write_report(summary, folder, [asdict(check) for check in checks])
        told[day] = {name: summary[name] for name in ("requests", "unsuccessful", "visitors")}
        print(f"{page}: {told[day]}")  # noqa: T201
    if folder.is_dir():
        write_index(folder)
    note = _note(days[0], told, changed, held + unfit, landed, of_run)
    print(f"note of this run: {note}")  # noqa: T201
    leave_note(settings, DAG, run, note)
    if unfit:
        raise NotFit(
            f"not published: {'; '.join(unfit)}. Look at the bad lines (reasons and samples are in "
            f"summary.json of the day); then run it with publish_anyway, or change the setting "
            f"TIDEMARK_…_FAIL of the check, such as TIDEMARK_BAD_SHARE_FAIL"
        )
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


def _read_before(report: Path) -> int | None:
    """The lines that the day's report counted until now, if there is one."""
    try:
        read: int = json.loads(report.read_text())["lines"]["read"]
    except (OSError, ValueError, KeyError):
        return None
    return read
