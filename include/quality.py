"""Is a day's summary fit to be published? Checks with thresholds from the settings, and a history."""

import json
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.reporting.alive import hours_of, longest_silence
from include.settings import Settings

# What becomes of a day: published; published with a warning; held back; held back in a red run.
LEVELS = ("ok", "warn", "quarantine", "fail")
WEEKS = 4
FEWEST_WEEKS = 2  # of them must have a report, or there is no usual
BUSY_HOUR = 10  # requests in a usual hour, from which on an hour without one is odd


class NotFit(Exception):
    """A day that fails a check and is not published; the message says why and the remedy."""


@dataclass(frozen=True)
class Check:
    """One check of one day: `level` is one of LEVELS; `value` is what was measured."""

    name: str
    level: str
    value: float
    says: str


def check_day(
    summary: dict[str, Any], reports: Path, settings: Settings, night: str | None = None,
    staged: Path | None = None,
) -> list[Check]:  # fmt: skip
    """All checks of a day, against the same weekday in the four weeks before.

    Those are taken from `staged`, summaries that will be published with this one, or from `reports`.
    `night` is the day that a scheduled run is for: it may have changed others.
    """
    lines = summary["lines"]
    bad = lines["bad"] / lines["read"] if lines["read"] else 0.0
    repeated = lines["repeated"] / lines["good"] if lines["good"] else 0.0
    found = [
        Check("bad lines", _level(settings, "bad_share", bad), bad,
              f"{lines['bad']:,} of {lines['read']:,} lines cannot be read"),
        Check("repeats", _level(settings, "repeat_share", repeated), repeated,
              f"{lines['repeated']:,} of {lines['good']:,} good lines came again"),
    ]  # fmt: skip
    day = date.fromisoformat(summary["day"])
    usual = _usual(day, reports, staged)
    if usual is not None:
        change = abs(summary["requests"] - usual) / max(usual, 1)
        found.append(Check(
            "volume", _level(settings, "volume_change", change), change,
            f"{summary['requests']:,} requests; {usual:,.0f} are usual on this weekday",
        ))  # fmt: skip
    silence = longest_silence(summary)
    gap = silence[0] if silence else 0
    hours = len(hours_of(summary["day"], summary["time_zone"]))
    is_busy = sum(summary["by_hour"].values()) >= BUSY_HOUR * hours
    level = _level(settings, "silent_hours", gap) if is_busy else "ok"
    found.append(Check("silence", level, gap, f"{gap} hours in a row without a request"))
    if night not in (None, summary["day"]):
        age = (date.fromisoformat(night) - day).days
        level = _level(settings, "ancient_days", age)
        found.append(Check("age", level, age, f"lines came {age} days after their day"))
    if lost := sum(loss["messages"] for loss in summary["provenance"].get("lost", ())):
        found.append(Check("losses", "warn", lost, f"{lost:,} messages that Kafka no longer had "
                           "were not landed, and lines of this day may be among them"))  # fmt: skip
    return found


def check_run(landed: dict[str, Any], settings: Settings) -> list[Check]:
    """Checks of what a run has landed: lines of no day, whose times lie in the future."""
    future = landed.get("future", 0)
    says = f"{future:,} lines of this run show a time more than {settings.future_hours} hours ahead"
    return [Check("future", "warn" if future else "ok", future, says)]


def keep(checks: list[Check], day: str | None, run: str, history: Path) -> None:
    """Add a day's results to the history, a JSON line a day and run; None: those of the run."""
    record = {"day": day, "run": run, "at": datetime.now(UTC).isoformat(timespec="seconds"),
              "checks": [asdict(check) for check in checks]}  # fmt: skip
    history.parent.mkdir(parents=True, exist_ok=True)
    with history.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _level(settings: Settings, check: str, value: float) -> str:
    """The highest level whose threshold `value` reaches; a threshold of 0 is never reached."""
    found = "ok"
    for level in LEVELS[1:]:
        threshold = getattr(settings, f"{check}_{level}", 0)
        if threshold and value >= threshold:
            found = level
    return found


def _usual(day: date, reports: Path, staged: Path | None) -> float | None:
    """The median of the requests on this weekday, as far as they are reported."""
    found = []
    for week in range(1, WEEKS + 1):
        name = (day - timedelta(weeks=week)).isoformat()
        places = [reports / name / "report.json"]
        if staged:
            places.insert(0, staged / name / "summary.json")
        for path in places:
            if path.is_file():
                found.append(json.loads(path.read_text())["requests"])
                break
    return statistics.median(found) if len(found) >= FEWEST_WEEKS else None
