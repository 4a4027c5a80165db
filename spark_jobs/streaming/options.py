"""Parse and check the source, sink, output mode and trigger that a job's flags name.

A value that cannot work is refused before anything starts, and the error lists what is accepted.
Spark itself starts some wrong combinations and fails later.
"""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from include.errors import InvalidInput
from include.flag_values import Endpoint, parse_address, parse_endpoint, parse_time
from include.kafka_login import read_login
from spark_jobs.streaming.combinations import (
    CONTINUOUS,
    FILE_SINKS,
    FILE_SOURCES,
    OUTPUT_MODES,
    REAL_TIME,
    SINKS,
    SOURCES,
    TRIGGERS,
    find_sink_conflict,
    find_source_conflict,
    format_choices,
)

SINKS_WITHOUT_CHECKPOINT = ("console", "memory", "foreach")  # they may run without --checkpoint
MAX_TOPIC_LENGTH = 249  # Kafka's own limit: it names folders after topics
TRIGGER_OPTIONS = {
    "once": "once",
    "available-now": "availableNow",
    "every": "processingTime",
    "continuous": "continuous",
    "real-time": "realTime",
}


@dataclass(frozen=True)
class Trigger:
    """When a query runs: `every 5 seconds` has the kind `every` and the interval `5 seconds`."""

    kind: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.interval}".strip()

    @property
    def engine(self) -> str:
        """The Spark engine that runs the query; a checkpoint belongs to one engine."""
        return self.kind if self.kind in (CONTINUOUS, REAL_TIME) else "micro-batch"

    @property
    def spark_arguments(self) -> dict[str, Any]:
        """The keyword argument of DataStreamWriter.trigger()."""
        return {TRIGGER_OPTIONS[self.kind]: self.interval or True}


@dataclass(frozen=True)
class StreamOptions:
    """The source, sink, output mode and trigger of a job."""

    source: Endpoint
    sink: Endpoint
    mode: str
    trigger: Trigger


def parse_stream_options(
    args: argparse.Namespace,
    query_kind: str,
    *,
    sources: tuple[str, ...] = tuple(SOURCES),
    sinks: tuple[str, ...] = tuple(SINKS),
    exploded_sources: tuple[str, ...] = (),
) -> StreamOptions:
    """Parse a job's flags, and check that Spark can run them together.

    Args:
        args: The flags of `build_stream_parser` or `build_watch_parser`.
        query_kind: One of `combinations.QUERY_KINDS`.
        sources: Kinds of source that the job supports.
        sinks: Kinds of sink that the job supports.
        exploded_sources: Kinds of source from which the job makes several rows of one message.

    Raises:
        InvalidInput: A value is wrong, or the values do not work together.
    """
    options = StreamOptions(
        parse_source(args.source, sources),
        parse_sink(args.sink, sinks),
        args.output_mode,
        parse_trigger(args.trigger),
    )
    source, sink, trigger = options.source, options.sink, options.trigger
    if options.mode not in OUTPUT_MODES:
        raise InvalidInput(
            f"output mode {options.mode!r} is unknown; use {format_choices(OUTPUT_MODES)}"
        )
    conflict = find_source_conflict(source.kind, trigger.kind)
    if conflict:
        raise InvalidInput(f"source {str(source)!r} with trigger {str(trigger)!r}: {conflict}")
    conflict = find_sink_conflict(sink.kind, options.mode, trigger.kind, query_kind)
    if conflict:
        raise InvalidInput(
            f"sink {str(sink)!r}, output mode {options.mode!r}, trigger {str(trigger)!r}: {conflict}"
        )
    if trigger.kind == CONTINUOUS and source.kind in exploded_sources:
        raise InvalidInput(
            f"trigger {str(trigger)!r}: a message from {source.kind} holds several lines or events, "
            "and the continuous trigger cannot split them; use real-time 5 seconds or every 1 second"
        )
    _check_flags(args, options)
    return options


def parse_source(text: str, accepted_kinds: tuple[str, ...] = tuple(SOURCES)) -> Endpoint:
    """Parse a source such as `kafka:TOPIC`. Raises InvalidInput unless its kind is in `accepted_kinds`."""
    endpoint = _parse_endpoint("source", text, accepted_kinds, SOURCES)
    if endpoint.kind == "socket":
        try:
            parse_address(endpoint.name)
        except ValueError:
            raise InvalidInput(
                f"source {text!r}: expected a host and a port, such as socket:localhost:9999"
            ) from None
    _check_topic_name("source", endpoint)
    if endpoint.kind == "rate" and not re.fullmatch(r"[1-9]\d{0,6}", endpoint.name):
        raise InvalidInput(
            f"source {text!r}: expected 1 to 9999999 rows per second, such as rate:10"
        )
    return endpoint


def parse_sink(text: str, accepted_kinds: tuple[str, ...] = tuple(SINKS)) -> Endpoint:
    """Parse a sink such as `parquet:DIR`. Raises InvalidInput unless its kind is in `accepted_kinds`."""
    endpoint = _parse_endpoint("sink", text, accepted_kinds, SINKS)
    _check_topic_name("sink", endpoint)
    if endpoint.kind == "memory" and not re.fullmatch(r"[A-Za-z_]\w*", endpoint.name, re.ASCII):
        raise InvalidInput(
            f"sink {text!r}: expected a table name of the letters A to Z, digits and '_' that does "
            "not start with a digit, such as memory:counts"
        )
    if endpoint.kind == "foreach" and not (
        re.fullmatch(r"sqlite:.+", endpoint.name)
        or (re.match(r"https?://", endpoint.name) and urlsplit(endpoint.name).hostname)
    ):
        raise InvalidInput(
            f"sink {text!r}: expected foreach:sqlite:FILE or foreach:http://HOST:PORT/PATH"
        )
    return endpoint


def parse_trigger(text: str) -> Trigger:
    """Parse a trigger such as `every 5 seconds`. Raises InvalidInput if Spark has no such trigger."""
    kind, _, interval = text.partition(" ")
    expected = f"use {format_choices(tuple(TRIGGERS.values()))}"
    if kind not in TRIGGERS or bool(interval) != (" " in TRIGGERS[kind]):
        raise InvalidInput(f"trigger {text!r} is unknown; {expected}")
    if interval and not re.fullmatch(
        r"[1-9]\d* (milli|micro)?(second|minute|hour|day)s?", interval
    ):
        raise InvalidInput(f"trigger {text!r}: {interval!r} is not an interval; {expected}")
    if kind == REAL_TIME and _parse_seconds(interval) < 5:
        raise InvalidInput(
            f"trigger {text!r}: Spark accepts 5 seconds or more. The interval is how often offsets "
            "are saved, not how long a row waits; use real-time 5 seconds"
        )
    return Trigger(kind, interval)


def parse_starting_offsets(text: str, topic: str) -> dict[str, str]:
    """Return the options of Spark's Kafka source for where a new query starts in `topic`.

    Args:
        text: `earliest`, `latest`, an ISO 8601 time with its zone, or offsets
            `PARTITION:OFFSET[,PARTITION:OFFSET]`.
        topic: Name of the topic.

    Raises:
        InvalidInput: `text` is none of these.
    """
    if text in ("earliest", "latest"):
        return {"startingOffsets": text}
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        pairs = (pair.split(":") for pair in text.split(","))
        offsets = {partition: int(offset) for partition, offset in pairs}
        return {"startingOffsets": json.dumps({topic: offsets})}
    starting_at = parse_time(text)
    if starting_at is None:
        raise InvalidInput(
            f"--starting-offsets {text!r}: expected earliest, latest, a time with its zone such as "
            "2026-01-15T00:00:00Z, or offsets by partition such as 0:100,1:250"
        )
    return {
        "startingTimestamp": str(int(starting_at.timestamp() * 1000)),
        "startingOffsetsByTimestampStrategy": "latest",
    }


def read_kafka_login(args: argparse.Namespace) -> dict[str, str]:
    """Read the Kafka client properties in the file --kafka-login; {} without the flag.

    Raises:
        InvalidInput: The file cannot be read.
    """
    try:
        return read_login(Path(args.kafka_login)) if args.kafka_login else {}
    except ValueError as error:
        raise InvalidInput(f"--kafka-login: {error}") from None


def _check_flags(args: argparse.Namespace, options: StreamOptions) -> None:
    """Raise InvalidInput if a flag would have no effect, or if one is missing."""
    source, sink, trigger = options.source, options.sink, options.trigger
    if source.kind == "kafka":
        parse_starting_offsets(args.starting_offsets, source.name)
    elif args.starting_offsets != "earliest":
        raise InvalidInput(
            f"--starting-offsets applies only to Kafka, and the source is {str(source)!r}; leave it out"
        )
    if "kafka" in (source.kind, sink.kind) and not args.servers:
        raise InvalidInput("kafka needs --servers HOST:PORT")
    read_kafka_login(args)
    if source.kind == sink.kind == "kafka" and source.name == sink.name:
        raise InvalidInput(
            f"source and sink are one topic, {sink.name!r}, so the job would read its own output; "
            "use another topic for the sink"
        )
    if args.max_per_trigger and (source.kind != "kafka" or trigger.engine != "micro-batch"):
        raise InvalidInput(
            f"--max-per-trigger limits the messages per batch from Kafka, and {str(source)!r} with "
            f"trigger {str(trigger)!r} has no such batches; leave it out"
        )
    for flag in ("max_files_per_trigger", "latest_first", "archive"):
        if getattr(args, flag) and source.kind not in FILE_SOURCES:
            raise InvalidInput(
                f"--{flag.replace('_', '-')} applies only to files, and the source is "
                f"{str(source)!r}; leave it out"
            )
    if args.archive and Path(args.archive).resolve().is_relative_to(Path(source.name).resolve()):
        raise InvalidInput(
            f"--archive {args.archive} lies in the source folder, and its files would be read again "
            "from there; use a folder beside it"
        )
    if "select" not in args:  # a landing: its checkpoint lies beside its data
        return
    for flag in ("select", "select_every"):
        if getattr(args, flag) and sink.kind != "memory":
            raise InvalidInput(
                f"--{flag.replace('_', '-')} reads the table of a memory sink, and sink "
                f"{str(sink)!r} has none; use --sink memory:NAME, or leave it out"
            )
    if sink.kind not in SINKS_WITHOUT_CHECKPOINT and not args.checkpoint:
        raise InvalidInput(
            f"sink {str(sink)!r} needs --checkpoint FOLDER: without it a second run would write "
            "everything again"
        )
    if sink.kind == "memory" and options.mode != "complete" and args.checkpoint:
        raise InvalidInput(
            f"--checkpoint with output mode {options.mode!r}: the table of a memory sink is lost when "
            "the run ends, so only complete, which writes the whole table again, can resume; leave "
            "the checkpoint out"
        )
    if sink.kind in FILE_SINKS and source.kind in FILE_SOURCES:
        source_folder, sink_folder = Path(source.name).resolve(), Path(sink.name).resolve()
        if sink_folder.is_relative_to(source_folder) or source_folder.is_relative_to(sink_folder):
            raise InvalidInput(
                f"one of {source_folder} and {sink_folder} lies in the other, so the job would read "
                "its own output; use separate folders"
            )


def _check_topic_name(role: str, endpoint: Endpoint) -> None:
    if endpoint.kind != "kafka":
        return
    text = str(endpoint)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", endpoint.name) or endpoint.name in (".", ".."):
        raise InvalidInput(
            f"{role} {text!r}: a topic name may contain letters, digits, '.', '_' and '-'"
        )
    if len(endpoint.name) > MAX_TOPIC_LENGTH:
        raise InvalidInput(
            f"{role} {text!r}: a topic name has at most {MAX_TOPIC_LENGTH} characters, and this one has "
            f"{len(endpoint.name)}"
        )


def _parse_seconds(interval: str) -> float:
    number, unit = interval.split()
    units = {
        "microsecond": 1e-6,
        "millisecond": 1e-3,
        "second": 1,
        "minute": 60,
        "hour": 3600,
        "day": 86400,
    }
    return int(number) * units[unit.rstrip("s")]


def _parse_endpoint(
    role: str, text: str, accepted_kinds: tuple[str, ...], forms: dict[str, str]
) -> Endpoint:
    endpoint = parse_endpoint(text)
    kind, name = endpoint.kind, endpoint.name
    accepted = format_choices(tuple(forms[accepted_kind] for accepted_kind in accepted_kinds))
    if kind in forms and kind not in accepted_kinds:
        raise InvalidInput(f"{role} {text!r}: this job does not support {kind!r}; use {accepted}")
    if kind in FILE_SOURCES and re.match(r"[a-z][a-z0-9+.-]*:/", name):
        # As a path, the URL would become a folder of that name on this disk.
        raise InvalidInput(
            f"{role} {text!r}: expected a folder that the driver and all workers see under this path, "
            f"not a URL; only a landing can write its data to a store, with --data-location "
            f"(docs/cluster.md)"
        )
    # `console:` is wrong, too.
    if kind in accepted_kinds and bool(name) == (":" in forms[kind]) and text == str(endpoint):
        return endpoint
    raise InvalidInput(f"{role} {text!r} is not understood; use {accepted}")
