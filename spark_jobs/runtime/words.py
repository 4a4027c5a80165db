"""The words of a job: sources, sinks, output modes and triggers, as people type them.

Any word that cannot be served is refused by name before anything starts, with the words that would
do: Spark itself lets some wrong combinations start, and die later.
"""

import argparse
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from include.kafka_login import read_login
from spark_jobs.runtime.combinations import (
    CONTINUOUS,
    FILE_SINKS,
    FILE_SOURCES,
    OUTPUT_MODES,
    REAL_TIME,
    SINKS,
    SOURCES,
    TRIGGERS,
    any_of,
    refuse_sink,
    refuse_source,
)

KEEPS_NOTHING = ("console", "memory", "foreach")  # sinks that do without a checkpoint of their own
LONGEST_TOPIC = 249  # of Kafka, which also makes a folder of that name
OPTIONS = {
    "once": "once", "available-now": "availableNow", "every": "processingTime",
    "continuous": "continuous", "real-time": "realTime",
}  # fmt: skip


class Refused(ValueError):
    """Input that cannot be served; the message says what was found, expected, and the remedy."""


class NotNow(Exception):
    """What cannot be served at this moment, and may be later: worth a retry."""


@dataclass(frozen=True)
class Place:
    """Where a job reads or writes: `kafka:access-log` is kind `kafka`, name `access-log`."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Trigger:
    """When a query fires: `every 5 seconds` is kind `every`, interval `5 seconds`."""

    kind: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.interval}".strip()

    @property
    def engine(self) -> str:
        """What runs it; a checkpoint belongs to one engine."""
        return self.kind if self.kind in (CONTINUOUS, REAL_TIME) else "micro-batch"

    @property
    def option(self) -> dict[str, Any]:
        """The keyword argument of DataStreamWriter.trigger()."""
        return {OPTIONS[self.kind]: self.interval or True}


@dataclass(frozen=True)
class Words:
    """What a job was told: where it reads and writes, how, and when."""

    source: Place
    sink: Place
    mode: str
    trigger: Trigger


def parse_words(
    args: argparse.Namespace, query: str, *, sources: tuple[str, ...] = tuple(SOURCES),
    sinks: tuple[str, ...] = tuple(SINKS), explodes: tuple[str, ...] = (),
) -> Words:  # fmt: skip
    """The words in a job's flags; Refused if Spark could not run them together.

    `query` is one of combinations.QUERIES; `sources` and `sinks` are the kinds that the job serves;
    from the kinds in `explodes` it makes several rows of one.
    """
    words = Words(
        parse_source(args.source, sources), parse_sink(args.sink, sinks), args.output_mode,
        parse_trigger(args.trigger),
    )  # fmt: skip
    source, sink, trigger = words.source, words.sink, words.trigger
    if words.mode not in OUTPUT_MODES:
        raise Refused(f"output mode {words.mode!r} is unknown; use {any_of(OUTPUT_MODES)}")
    why = refuse_source(source.kind, trigger.kind)
    if why:
        raise Refused(f"source {str(source)!r} with trigger {str(trigger)!r}: {why}")
    why = refuse_sink(sink.kind, words.mode, trigger.kind, query)
    if why:
        raise Refused(
            f"sink {str(sink)!r}, output mode {words.mode!r}, trigger {str(trigger)!r}: {why}"
        )
    if trigger.kind == CONTINUOUS and source.kind in explodes:
        raise Refused(
            f"trigger {str(trigger)!r}: a message from {source.kind} holds several lines or events, "
            "and the continuous trigger cannot take them apart; use real-time 5 seconds or every "
            "1 second"
        )
    _check_flags(args, words)
    return words


def parse_source(text: str, served: tuple[str, ...] = tuple(SOURCES)) -> Place:
    """The source that `text` names, one of the kinds `served`."""
    place = _place("source", text, served, SOURCES)
    host, _, port = place.name.rpartition(":")
    if place.kind == "socket" and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise Refused(f"source {text!r}: expected a host and a port, such as socket:localhost:9999")
    _check_topic("source", place)
    if place.kind == "rate" and not re.fullmatch(r"[1-9]\d{0,6}", place.name):
        raise Refused(f"source {text!r}: expected rows a second, such as rate:10")
    return place


def parse_sink(text: str, served: tuple[str, ...] = tuple(SINKS)) -> Place:
    """The sink that `text` names, one of the kinds `served`."""
    place = _place("sink", text, served, SINKS)
    _check_topic("sink", place)
    if place.kind == "memory" and not re.fullmatch(r"[A-Za-z_]\w*", place.name, re.ASCII):
        raise Refused(f"sink {text!r}: expected a table's name, such as memory:counts")
    if place.kind == "foreach" and not (
        re.fullmatch(r"sqlite:.+", place.name)
        or (re.match(r"https?://", place.name) and urlsplit(place.name).hostname)
    ):
        raise Refused(
            f"sink {text!r}: expected foreach:sqlite:FILE or foreach:http://HOST:PORT/PATH"
        )
    return place


def parse_trigger(text: str) -> Trigger:
    """The trigger that `text` names."""
    kind, _, interval = text.partition(" ")
    expected = f"use {any_of(tuple(TRIGGERS.values()))}"
    if kind not in TRIGGERS or bool(interval) != (" " in TRIGGERS[kind]):
        raise Refused(f"trigger {text!r} is unknown; {expected}")
    if interval and not re.fullmatch(
        r"[1-9]\d* (milli|micro)?(second|minute|hour|day)s?", interval
    ):
        raise Refused(f"trigger {text!r}: {interval!r} is no interval; {expected}")
    if kind == REAL_TIME and _seconds(interval) < 5:
        raise Refused(
            f"trigger {text!r}: Spark begins at 5 seconds. It is how often the position is kept, "
            "not how long a row waits; use real-time 5 seconds"
        )
    return Trigger(kind, interval)


def parse_starting(text: str, topic: str) -> dict[str, str]:
    """Where a new query begins in `topic`, as options of Spark's Kafka source.

    `earliest`, `latest`, a time with its zone, or offsets `PARTITION:OFFSET[,PARTITION:OFFSET]`.
    """
    if text in ("earliest", "latest"):
        return {"startingOffsets": text}
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        pairs = (pair.split(":") for pair in text.split(","))
        offsets = {partition: int(offset) for partition, offset in pairs}
        return {"startingOffsets": json.dumps({topic: offsets})}
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(
            f"--starting {text!r}: expected earliest, latest, a time with its zone such as "
            "2026-01-15T00:00:00Z, or offsets by partition such as 0:100,1:250"
        )
    return {"startingTimestamp": str(int(moment.timestamp() * 1000)),
            "startingOffsetsByTimestampStrategy": "latest"}  # fmt: skip


def login_of(args: argparse.Namespace) -> dict[str, str]:
    """Kafka's client properties in the file --kafka-login; Refused if it cannot be read."""
    try:
        return read_login(Path(args.kafka_login)) if args.kafka_login else {}
    except ValueError as why:
        raise Refused(f"--kafka-login: {why}") from None


def _check_flags(args: argparse.Namespace, words: Words) -> None:
    """Refuse flags that would have no effect, or that are missing."""
    source, sink, trigger = words.source, words.sink, words.trigger
    if source.kind == "kafka":
        parse_starting(args.starting, source.name)
    elif args.starting != "earliest":
        raise Refused(f"--starting is about Kafka, and the source is {str(source)!r}; leave it out")
    if "kafka" in (source.kind, sink.kind) and not args.servers:
        raise Refused("kafka needs --servers HOST:PORT")
    login_of(args)
    if source.kind == sink.kind == "kafka" and source.name == sink.name:
        raise Refused(f"source and sink are one topic, {sink.name!r}: it would go round for ever")
    if args.max_per_trigger and (source.kind != "kafka" or trigger.engine != "micro-batch"):
        raise Refused(
            f"--max-per-trigger limits the messages of a batch from Kafka; {str(source)!r} with "
            f"trigger {str(trigger)!r} has none: leave it out"
        )
    for flag in ("max_files_per_trigger", "latest_first", "archive"):
        if getattr(args, flag) and source.kind not in FILE_SOURCES:
            raise Refused(
                f"--{flag.replace('_', '-')} is about files, and the source is {str(source)!r}; "
                "leave it out"
            )
    if args.archive and Path(args.archive).resolve().is_relative_to(Path(source.name).resolve()):
        raise Refused(
            f"--archive {args.archive} lies in the folder that is read; files would be read again "
            "from there: give a folder beside it"
        )
    if "select" not in args:  # a landing: its checkpoint lies beside its data
        return
    if args.select and sink.kind != "memory":
        raise Refused(f"--select asks a table in memory; sink {str(sink)!r} leaves none")
    if args.select_every and sink.kind != "memory":
        raise Refused(f"--select-every asks a table in memory; sink {str(sink)!r} leaves none")
    if sink.kind not in KEEPS_NOTHING and not args.checkpoint:
        raise Refused(
            f"sink {str(sink)!r} needs --checkpoint FOLDER: without it a second run would write "
            "everything again"
        )
    if sink.kind == "memory" and words.mode != "complete" and args.checkpoint:
        raise Refused(
            "--checkpoint: a table in memory is gone with its run, so only complete, which gives "
            "all of it again, can go on; leave the checkpoint out"
        )
    if sink.kind in FILE_SINKS and source.kind in FILE_SOURCES:
        read, write = Path(source.name).resolve(), Path(sink.name).resolve()
        if write.is_relative_to(read) or read.is_relative_to(write):
            raise Refused(f"{read} and {write} lie in each other; what is written would be read")


def _check_topic(what: str, place: Place) -> None:
    if place.kind != "kafka":
        return
    text = str(place)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", place.name) or place.name in (".", ".."):
        raise Refused(
            f"{what} {text!r}: a topic name may contain letters, digits, '.', '_' and '-'"
        )
    if len(place.name) > LONGEST_TOPIC:
        raise Refused(
            f"{what} {text!r}: a topic name has at most {LONGEST_TOPIC} characters, and this one has "
            f"{len(place.name)}"
        )


def _seconds(interval: str) -> float:
    number, unit = interval.split()
    units = {"microsecond": 1e-6, "millisecond": 1e-3, "second": 1, "minute": 60, "hour": 3600,
             "day": 86400}  # fmt: skip
    return int(number) * units[unit.rstrip("s")]


def _place(what: str, text: str, served: tuple[str, ...], known: dict[str, str]) -> Place:
    kind, colon, name = text.partition(":")
    say = any_of(tuple(known[each] for each in served))
    if kind in known and kind not in served:
        raise Refused(f"{what} {text!r}: this job does not serve {kind!r}; use {say}")
    if kind in FILE_SOURCES and re.match(r"[a-z][a-z0-9+.-]*:/", name):
        # As a path it would be a folder of that name, here on this disk.
        raise Refused(
            f"{what} {text!r}: expected a folder that the driver and all workers see under this path, "
            f"not an address; a landing's data may lie in a store, by --data-at (docs/scale.md)"
        )
    if kind in served and bool(name) == (":" in known[kind]) and bool(colon) == bool(name):
        return Place(kind, name)
    raise Refused(f"{what} {text!r} is not understood; use {say}")
