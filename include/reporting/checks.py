"""Checks that decide whether a day's summary is published, and the history of their results.

The thresholds come from the settings.
"""

import json
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.lake.files import append_record
from include.reporting.heartbeats import find_longest_silence, list_hours
from include.settings import Settings

# What each level does to a day: publish it, publish it with a warning, do not publish it, or do not
# publish it and fail the run. From low to high.
LEVELS = ("ok", "warn", "quarantine", "fail")
BASELINE_WEEKS = 4
MIN_BASELINE_WEEKS = 2  # with fewer reported weeks there is no baseline
MIN_REQUESTS_PER_HOUR = 10  # average of the day; on quieter days an hour without requests is normal


class CheckFailed(Exception):
    """A check stopped the publication of a day. The message has the reason and the remedy."""


@dataclass(frozen=True)
class Check:
    """The result of one check: `level` is one of LEVELS, `value` is the measured number."""

    name: str
    level: str
    value: float
    message: str


def check_day(
    summary: dict[str, Any],
    reports: Path,
    settings: Settings,
    scheduled_day: str | None = None,
    staged_folder: Path | None = None,
) -> list[Check]:
    """Run all checks of a day. The baseline is the same weekday of the four weeks before.

    Args:
        summary: The day's `summary.json`.
        reports: Folder of the published reports, for the baseline.
        settings: Has a threshold for each check.
        scheduled_day: ISO date of the day that a scheduled run is for. The run may also change earlier
            days, so the age of their lines is checked. None: no age check.
        staged_folder: Folder of summaries that will be published together with this one. For the
            baseline they take precedence over `reports`.
    """
    lines = summary["lines"]
    bad_share = lines["bad"] / lines["read"] if lines["read"] else 0.0
    duplicate_share = lines["duplicates"] / lines["good"] if lines["good"] else 0.0
    checks = [
        Check(
            "bad lines",
            settings.bad_share.find_level(bad_share),
            bad_share,
            f"{lines['bad']:,} of {lines['read']:,} lines cannot be read",
        ),
        Check(
            "duplicates",
            settings.duplicate_share.find_level(duplicate_share),
            duplicate_share,
            f"{lines['duplicates']:,} of {lines['good']:,} good lines are duplicates",
        ),
    ]
    day = date.fromisoformat(summary["day"])
    baseline = _compute_baseline(day, reports, staged_folder)
    if baseline is not None:
        change = abs(summary["requests"] - baseline) / max(baseline, 1)
        checks.append(
            Check(
                "volume",
                settings.volume_change.find_level(change),
                change,
                f"{summary['requests']:,} requests; {baseline:,.0f} are usual on this weekday",
            )
        )
    silence = find_longest_silence(summary)
    silent_hours = silence[0] if silence else 0
    hour_count = len(list_hours(summary["day"], summary["time_zone"]))
    is_busy = sum(summary["by_hour"].values()) >= MIN_REQUESTS_PER_HOUR * hour_count
    level = settings.silent_hours.find_level(silent_hours) if is_busy else "ok"
    message = f"{silent_hours} hours in a row without a request"
    checks.append(Check("silence", level, silent_hours, message))
    if scheduled_day not in (None, summary["day"]):
        age = (date.fromisoformat(scheduled_day) - day).days
        level = settings.ancient_days.find_level(age)
        checks.append(Check("age", level, age, f"lines came {age} days after their day"))
    if lost := sum(loss["messages"] for loss in summary["provenance"].get("data_loss", ())):
        checks.append(
            Check(
                "data loss",
                "warn",
                lost,
                f"{lost:,} messages that Kafka no longer had "
                "were not landed, and lines of this day may be among them",
            )
        )
    return checks


def check_run(manifest: dict[str, Any], settings: Settings) -> list[Check]:
    """Check what a run has landed: lines with a time in the future, which belong to no day."""
    future = manifest.get("future", 0)
    message = (
        f"{future:,} lines of this run show a time more than {settings.future_hours} hours ahead"
    )
    return [Check("future", "warn" if future else "ok", future, message)]


def record_checks(checks: list[Check], day: str | None, run_id: str, history: Path) -> None:
    """Append check results to the file `history`, as one JSON line for each day and run.

    `day` is an ISO date, or None for the checks of the run itself.
    """
    record = {
        "day": day,
        "run": run_id,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "checks": [asdict(check) for check in checks],
    }
    append_record(history, record)


def _compute_baseline(day: date, reports: Path, staged_folder: Path | None) -> float | None:
    """Return the median requests of this weekday, or None if fewer than MIN_BASELINE_WEEKS have a report."""
    requests = []
    for week in range(1, BASELINE_WEEKS + 1):
        earlier_day = (day - timedelta(weeks=week)).isoformat()
        paths = [reports / earlier_day / "report.json"]
        if staged_folder:
            paths.insert(0, staged_folder / earlier_day / "summary.json")
        for path in paths:
            if path.is_file():
                requests.append(json.loads(path.read_text())["requests"])
                break
    return statistics.median(requests) if len(requests) >= MIN_BASELINE_WEEKS else None
