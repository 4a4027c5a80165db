"""Was the producer alive? What a day's heartbeats say, beside its requests."""

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

MOST_GAPS = 5  # told one by one


def hours_of(day: str, zone: str) -> list[tuple[str, datetime]]:
    """The hours of a day, as its clock calls them, and when each begins: 23, 24 or 25 of them.

    An hour that the clock leaves out is not there, one that it repeats is there twice.
    """
    begin = datetime.combine(date.fromisoformat(day), datetime.min.time(), ZoneInfo(zone))
    end = (begin + timedelta(days=1)).astimezone(UTC)
    now, found = begin.astimezone(UTC), []
    while now < end:
        found.append((now.astimezone(ZoneInfo(zone)).strftime("%H"), now))
        now += timedelta(hours=1)
    return found


def longest_silence(summary: dict[str, Any]) -> tuple[int, datetime, datetime] | None:
    """The most hours in a row without a request: how many, from, to; None if there is none."""
    hours = [(summary["by_hour"][name], at)
             for name, at in hours_of(summary["day"], summary["time_zone"])]  # fmt: skip
    runs = [list(run) for empty, run in groupby(hours, lambda hour: hour[0] == 0) if empty]
    longest = max(runs, key=len, default=None)
    if longest is None:
        return None
    return len(longest), longest[0][1], longest[-1][1] + timedelta(hours=1)


def heartbeat_says(summary: dict[str, Any]) -> str:
    """A sentence about the whole day."""
    heartbeat = summary["provenance"].get("heartbeat")
    if heartbeat is None:
        return "No heartbeat came on this day: nothing is known about it"
    beats = f"a heartbeat in {heartbeat['minutes']:,} of {heartbeat['of']:,} minutes"
    gaps = [(_moment(gap["from"]), _moment(gap["to"])) for gap in heartbeat["gaps"]]
    if not gaps:
        return f"The producer was alive: {beats}"
    return f"The producer was silent {_told(gaps, summary)}: {beats}"


def silence_says(summary: dict[str, Any]) -> str:
    """A sentence about the longest time without a request; empty if nothing is known of it."""
    silence, heartbeat = longest_silence(summary), summary["provenance"].get("heartbeat")
    if silence is None or heartbeat is None:
        return ""
    _, begin, end = silence
    gaps = [(max(_moment(gap["from"]), begin), min(_moment(gap["to"]), end))
            for gap in heartbeat["gaps"]]  # fmt: skip
    gaps = [(one, other) for one, other in gaps if one < other]
    hours = _told([(begin, end)], summary)
    if gaps:
        return f"{hours}: no request came, and the producer was silent {_told(gaps, summary)}"
    return f"{hours}: no request came, and the producer was alive"


def _told(gaps: list[tuple[datetime, datetime]], summary: dict[str, Any]) -> str:
    zone = ZoneInfo(summary["time_zone"])

    def clock(moment: datetime) -> str:
        local = moment.astimezone(zone)
        # Midnight at the end is this day's; an hour that comes twice is told apart by its offset.
        is_end = local.date().isoformat() > summary["day"]
        twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        return "24:00" if is_end else local.strftime("%H:%M%z" if twice else "%H:%M")

    told = [f"from {clock(one)} to {clock(other)}" for one, other in gaps[:MOST_GAPS]]
    more = len(gaps) - len(told)
    return " and ".join([*told, *([f"{more} times more"] if more else [])])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
