"""Is a day's summary fit to be published? Checks with thresholds from the settings, and a history."""

import json
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from include.settings import Settings

WEEKS = 4
FEWEST_WEEKS = 2  # of them must have a report, or there is no usual
BUSY_HOUR = 10  # requests in a usual hour, from which on an hour without one is odd


class NotFit(Exception):
    """A day that fails a check and is not published; the message says why and the remedy."""


@dataclass(frozen=True)
class Check:
    """One check of one day: `level` is ok, warn or fail; `value` is what was measured."""

    name: str
    level: str
    value: float
    says: str


def check_day(
    summary: dict[str, Any], reports: Path, settings: Settings, staged: Path | None = None
) -> list[Check]:
    """All checks of a day, against the same weekday in the four weeks before.

    Those are taken from `staged`, summaries that will be published with this one, or from `reports`.
    """
    lines = summary["lines"]
    bad = lines["bad"] / lines["read"] if lines["read"] else 0.0
    repeated = lines["repeated"] / lines["good"] if lines["good"] else 0.0
    found = [
        Check("bad lines", _level(bad, settings.bad_share_warn, settings.bad_share_fail), bad,
              f"{lines['bad']:,} of {lines['read']:,} lines cannot be read"),
        Check("repeats", _level(repeated, settings.repeat_share_warn), repeated,
              f"{lines['repeated']:,} of {lines['good']:,} good lines came again"),
    ]  # fmt: skip
    usual = _usual(date.fromisoformat(summary["day"]), reports, staged)
    if usual is not None:
        change = abs(summary["requests"] - usual) / max(usual, 1)
        found.append(Check(
            "volume", _level(change, settings.volume_change_warn), change,
            f"{summary['requests']:,} requests; {usual:,.0f} are usual on this weekday",
        ))  # fmt: skip
    hours = list(summary["by_hour"].values())
    gap = max(
        (len(list(run)) for empty, run in groupby(hours, lambda n: n == 0) if empty), default=0
    )
    is_busy = sum(hours) >= BUSY_HOUR * len(hours)
    level = _level(gap, settings.silent_hours_warn) if is_busy else "ok"
    found.append(Check("silence", level, gap, f"{gap} hours in a row without a request"))
    return found


def keep(checks: list[Check], summary: dict[str, Any], run: str, history: Path) -> None:
    """Add a day's results to the history, a JSON line a day and run."""
    record = {"day": summary["day"], "run": run, "at": datetime.now(UTC).isoformat(timespec="seconds"),
              "checks": [asdict(check) for check in checks]}  # fmt: skip
    history.parent.mkdir(parents=True, exist_ok=True)
    with history.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _level(value: float, warn: float, fail: float = float("inf")) -> str:
    return "fail" if value >= fail else "warn" if value >= warn else "ok"


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
