"""Parse the values that flags of jobs, producers and forms have in common.

Spark jobs and producers use this module, too: it imports the standard library only.
"""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from include.errors import InvalidInput


@dataclass(frozen=True)
class Endpoint:
    """A source or a sink: `kafka:access-log` has the kind `kafka` and the name `access-log`."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_endpoint(text: str) -> Endpoint:
    """Split `KIND:NAME` at its first colon. Neither part is checked; a text without a colon is a kind."""
    kind, _, name = text.partition(":")
    return Endpoint(kind, name)


def parse_folder_endpoint(flag: str, text: str, kind: str) -> Endpoint:
    """Parse the value of a flag that accepts one kind of folder, such as `parquet:DIR`.

    Raises:
        InvalidInput: It has another kind, or no folder.
    """
    endpoint = parse_endpoint(text)
    if endpoint.kind != kind or not endpoint.name:
        raise InvalidInput(f"{flag} {text!r} is not understood; use {kind}:DIR")
    return endpoint


def parse_folder(flag: str, text: str, kind: str) -> Path:
    """Return the absolute folder of a flag that accepts one kind of folder, as `parse_folder_endpoint`."""
    return Path(parse_folder_endpoint(flag, text, kind).name).absolute()


def parse_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` at its last colon. Raises ValueError unless both parts are valid."""
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"expected HOST:PORT, such as localhost:9092, not {text!r}")
    return host, int(port)


def parse_days(flag: str, text: str) -> list[str]:
    """Parse `YYYY-MM-DD[,YYYY-MM-DD]` into ISO dates, sorted and without duplicates.

    Raises:
        InvalidInput: A part is no date.
    """
    days = set()
    for day in text.split(","):
        try:
            days.add(date.fromisoformat(day.strip()).isoformat())
        except ValueError:
            raise InvalidInput(
                f"{flag} {day!r}: expected days such as 2026-01-31,2026-02-01"
            ) from None
    return sorted(days)


def parse_time(text: str) -> datetime | None:
    """Parse a time in ISO 8601 format with its time zone; None if it is none, or has no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
