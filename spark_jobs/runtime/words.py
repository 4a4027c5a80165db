"""The words of a job: sources, sinks, output modes and triggers, as people type them.

A job names the words that it serves. Any other is refused by name before anything starts, with the
words that would do: Spark itself lets some wrong combinations start, and die later.
"""

import re
from dataclasses import dataclass

SOURCES = {
    "kafka": "kafka:TOPIC", "socket": "socket:HOST:PORT", "text": "text:DIR", "csv": "csv:DIR",
    "json": "json:DIR", "orc": "orc:DIR", "parquet": "parquet:DIR", "rate": "rate:N",
}  # fmt: skip
SINKS = {
    "parquet": "parquet:DIR", "orc": "orc:DIR", "json": "json:DIR", "csv": "csv:DIR",
    "kafka": "kafka:TOPIC", "console": "console", "memory": "memory:NAME", "foreach": "foreach:NAME",
}  # fmt: skip
FILE_SINKS = ("parquet", "orc", "json", "csv")
TRIGGERS = {
    "available-now": "available-now", "once": "once", "every": "every 5 seconds",
    "continuous": "continuous 1 second", "real-time": "real-time 5 seconds",
}  # fmt: skip
ENDING = ("available-now", "once", "every")
OUTPUT_MODES = ("append", "complete", "update")


class Refused(ValueError):
    """Input that cannot be served; the message says what was found, expected, and the remedy."""


@dataclass(frozen=True)
class Place:
    """Where a job reads or writes: `kafka:access-log` is kind `kafka`, name `access-log`."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_source(text: str, served: tuple[str, ...]) -> Place:
    """The source that `text` names, one of the kinds `served`."""
    place = _place("source", text, served, SOURCES)
    host, _, port = place.name.rpartition(":")
    if place.kind == "socket" and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise Refused(f"source {text!r}: expected a host and a port, such as socket:localhost:9999")
    return place


def parse_sink(text: str, served: tuple[str, ...]) -> Place:
    """The sink that `text` names, one of the kinds `served`."""
    place = _place("sink", text, served, SINKS)
    if place.kind == "memory" and not re.fullmatch(r"[A-Za-z_]\w*", place.name):
        raise Refused(f"sink {text!r}: expected a table's name, such as memory:counts")
    return place


def parse_trigger(text: str, served: tuple[str, ...] = ENDING) -> dict[str, str | bool]:
    """The keyword arguments of DataStreamWriter.trigger() for `text`, one of the kinds `served`."""
    kind, _, interval = text.partition(" ")
    expected = f"use {_or([TRIGGERS[each] for each in served])}"
    if kind in TRIGGERS and kind not in served:
        raise Refused(f"trigger {text!r}: this job does not serve the {kind} trigger; {expected}")
    if kind not in TRIGGERS or bool(interval) != (" " in TRIGGERS[kind]):
        raise Refused(f"trigger {text!r} is unknown; {expected}")
    if interval and not re.fullmatch(
        r"[1-9]\d* (milli|micro)?(second|minute|hour|day)s?", interval
    ):
        raise Refused(f"trigger {text!r}: {interval!r} is no interval; {expected}")
    return {
        "once": {"once": True}, "available-now": {"availableNow": True},
        "every": {"processingTime": interval}, "continuous": {"continuous": interval},
        "real-time": {"realTime": interval},
    }[kind]  # type: ignore[return-value]  # fmt: skip


def check_mode(mode: str, sink: Place, aggregates: bool) -> None:
    """Refuse an output mode that Spark would not run for the sink, or without a total to give."""
    if mode not in OUTPUT_MODES:
        raise Refused(f"output mode {mode!r} is unknown; use {_or(OUTPUT_MODES)}")
    if mode != "append" and sink.kind in FILE_SINKS:
        raise Refused(f"output mode {mode!r}: files can only be added to; use append with {sink}")
    if aggregates and mode == "append":
        raise Refused(
            "output mode 'append': a total changes as long as rows come, so it is never final "
            "without a watermark; use complete or update"
        )
    if not aggregates and mode == "complete":
        raise Refused("output mode 'complete': there is no total to give again; use append")


def check_select(select: str | None, sink: Place) -> None:
    """Refuse a question that nothing could answer."""
    if select and sink.kind != "memory":
        raise Refused(f"--select asks a table in memory; sink {str(sink)!r} leaves none")


def _place(what: str, text: str, served: tuple[str, ...], known: dict[str, str]) -> Place:
    kind, colon, name = text.partition(":")
    say = _or([known[each] for each in served])
    if kind in known and kind not in served:
        raise Refused(f"{what} {text!r}: this job does not serve {kind!r}; use {say}")
    if kind in served and bool(name) == (":" in known[kind]) and bool(colon) == bool(name):
        return Place(kind, name)
    raise Refused(f"{what} {text!r} is not understood; use {say}")


def _or(words: list[str] | tuple[str, ...]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
