"""The words of a job: sources, sinks, output modes and triggers, as people type them.

A word that Spark knows and this job does not serve is refused by name, before anything starts.
"""

import re
from dataclasses import dataclass

SOURCES = ("kafka", "text")
SINKS = ("parquet",)
OUTPUT_MODES = ("append",)
ALL_SOURCES = ("kafka", "socket", "text", "csv", "json", "orc", "parquet", "rate")
ALL_SINKS = ("parquet", "orc", "json", "csv", "kafka", "console", "memory", "foreach")
ALL_TRIGGERS = ("once", "available-now", "every", "continuous", "real-time")


class Refused(ValueError):
    """Input that cannot be served; the message says what was found, expected, and the remedy."""


@dataclass(frozen=True)
class Place:
    """Where a job reads or writes: `kafka:access-log` is kind `kafka`, name `access-log`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_source(text: str) -> Place:
    """`kafka:TOPIC` or `text:DIR`."""
    return _place("source", text, SOURCES, ALL_SOURCES, "kafka:TOPIC or text:DIR")


def parse_sink(text: str) -> Place:
    """`parquet:DIR`."""
    return _place("sink", text, SINKS, ALL_SINKS, "parquet:DIR")


def parse_trigger(text: str) -> dict[str, str | bool]:
    """The keyword arguments of DataStreamWriter.trigger() for `text`."""
    kind, _, interval = text.partition(" ")
    expected = "use available-now, once, or every <number> seconds"
    if text == "available-now":
        return {"availableNow": True}
    if text == "once":
        return {"once": True}
    if kind == "every" and re.fullmatch(r"\d+ (milli|micro)?(second|minute|hour|day)s?", interval):
        return {"processingTime": interval}
    if kind in ("continuous", "real-time"):
        raise Refused(f"trigger {text!r}: Spark has no {kind} trigger for a file sink; {expected}")
    raise Refused(f"trigger {text!r} is unknown; {expected}")


def _place(
    what: str, text: str, served: tuple[str, ...], known: tuple[str, ...], say: str
) -> Place:
    kind, colon, name = text.partition(":")
    if kind in served and colon and name:
        return Place(kind, name)
    if kind in known and kind not in served:
        raise Refused(f"{what} {text!r}: this job does not serve {kind!r}; use {say}")
    raise Refused(f"{what} {text!r} is not understood; use {say}")
