"""Sentences about a day's heartbeats: was the producer running when no requests came?"""

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

MAX_GAPS_LISTED = 5  # any further gaps are only counted


def list_hours(day: str, zone: str) -> list[tuple[str, datetime]]:
    """List the hours of a day in a time zone: 23, 24 or 25 of them.

    Args:
        day: ISO date.
        zone: IANA name of the time zone.

    Returns:
        For each hour its local name ("00" to "23") and its begin in UTC. Where the clock goes forward,
        the hour that it leaves out is missing. Where it goes back, the hour is listed twice.
    """
    begin = datetime.combine(date.fromisoformat(day), datetime.min.time(), ZoneInfo(zone))
    end = (begin + timedelta(days=1)).astimezone(UTC)
    hour, hours = begin.astimezone(UTC), []
    while hour < end:
        hours.append((hour.astimezone(ZoneInfo(zone)).strftime("%H"), hour))
        hour += timedelta(hours=1)
    return hours


def find_longest_silence(summary: dict[str, Any]) -> tuple[int, datetime, datetime] | None:
    """Find the longest run of hours without a request.

    Returns:
        The number of hours, the begin and the end (both in UTC). None if every hour has a request.
    """
    hours = [
        (summary["by_hour"][name], begin)
        for name, begin in list_hours(summary["day"], summary["time_zone"])
    ]
    runs = [list(run) for empty, run in groupby(hours, lambda hour: hour[0] == 0) if empty]
    longest = max(runs, key=len, default=None)
    if longest is None:
        return None
    return len(longest), longest[0][1], longest[-1][1] + timedelta(hours=1)


def describe_heartbeat(summary: dict[str, Any]) -> str:
    """Return a sentence about the producer on the whole day, without a full stop."""
    heartbeat = summary["provenance"].get("heartbeat")
    if heartbeat is None:
        return "No heartbeat came on this day: nothing is known about it"
    beats = f"a heartbeat in {heartbeat['minutes']:,} of {heartbeat['of']:,} minutes"
    gaps = [(_parse_time(gap["from"]), _parse_time(gap["to"])) for gap in heartbeat["gaps"]]
    if not gaps:
        return f"The producer was alive: {beats}"
    return f"The producer was silent {_describe_gaps(gaps, summary)}: {beats}"


def describe_silence(summary: dict[str, Any]) -> str:
    """Return a sentence about the longest time without a request, without a full stop.

    Empty if every hour has a request or the day has no heartbeats.
    """
    silence, heartbeat = find_longest_silence(summary), summary["provenance"].get("heartbeat")
    if silence is None or heartbeat is None:
        return ""
    _, begin, end = silence
    gaps = [
        (max(_parse_time(gap["from"]), begin), min(_parse_time(gap["to"]), end))
        for gap in heartbeat["gaps"]
    ]
    gaps = [(gap_begin, gap_end) for gap_begin, gap_end in gaps if gap_begin < gap_end]
    hours = _describe_gaps([(begin, end)], summary)
    if gaps:
        return (
            f"{hours}: no request came, and the producer was silent {_describe_gaps(gaps, summary)}"
        )
    return f"{hours}: no request came, and the producer was alive"


def _describe_gaps(gaps: list[tuple[datetime, datetime]], summary: dict[str, Any]) -> str:
    zone = ZoneInfo(summary["time_zone"])

    def clock(moment: datetime) -> str:
        local = moment.astimezone(zone)
        # The day's last midnight is "24:00". A time that occurs twice is written with its UTC offset.
        is_end = local.date().isoformat() > summary["day"]
        is_ambiguous = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        return "24:00" if is_end else local.strftime("%H:%M%z" if is_ambiguous else "%H:%M")

    parts = [f"from {clock(begin)} to {clock(end)}" for begin, end in gaps[:MAX_GAPS_LISTED]]
    more = len(gaps) - len(parts)
    return " and ".join([*parts, *([f"{more} times more"] if more else [])])


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)
