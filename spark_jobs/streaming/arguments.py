"""Flags that all streaming jobs share."""

import argparse

from spark_jobs.streaming.combinations import SINKS, SOURCES, TRIGGERS


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the line breaks of the job's docstring, and show default values."""


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose description is the job's module docstring."""
    return argparse.ArgumentParser(
        description=description, formatter_class=HelpFormatter, allow_abbrev=False
    )


def build_stream_parser(
    description: str | None,
    default_mode: str,
    default_trigger: str,
    *,
    sources: tuple[str, ...] = tuple(SOURCES),
    sinks: tuple[str, ...] = tuple(SINKS),
) -> argparse.ArgumentParser:
    """Return a parser with the flags of every stream: source, sink, output mode, trigger and more.

    Args:
        description: The job's module docstring.
        default_mode: Default of --output-mode.
        default_trigger: Default of --trigger.
        sources: Kinds of source that --help lists.
        sinks: Kinds of sink that --help lists.
    """
    parser = build_parser(description)
    add = parser.add_argument
    add("--source", required=True, help=", ".join(SOURCES[kind] for kind in sources))
    add("--sink", required=True, help=", ".join(SINKS[kind] for kind in sinks))
    add("--output-mode", default=default_mode, help="append, complete or update")
    add("--trigger", default=default_trigger, help=", ".join(TRIGGERS.values()))
    add(
        "--run-seconds",
        type=positive_int,
        help="stop cleanly after this many seconds (endless triggers)",
    )
    add("--stop-file", help="stop cleanly when this file appears; the file is then removed")
    add("--servers", help="Kafka bootstrap servers, HOST:PORT[,HOST:PORT]")
    add(
        "--kafka-login",
        metavar="FILE",
        default="",
        help="Kafka client properties, for brokers that require a login; default: no login",
    )
    add(
        "--starting-offsets",
        default="earliest",
        help="where a new query starts in the topic: earliest, latest, a time such as "
        "2026-01-15T00:00:00Z, or offsets by partition such as 0:100,1:250",
    )
    add("--max-per-trigger", type=positive_int, help="messages per batch; default: all")
    add("--max-files-per-trigger", type=positive_int, help="files per batch; default: all")
    add("--latest-first", action="store_true", help="read the newest files first, not the oldest")
    add("--archive", metavar="DIR", help="move processed files there; default: leave them")
    add("--progress", metavar="FILE", help="append one JSON line per batch to this file")
    add("--run-id", default="by-hand", help="name of this run in its manifest")
    add("--manifest", metavar="FILE", help="write what this run did to this file, as JSON")
    add("--check", action="store_true", help="check the flags, run nothing")
    return parser


def build_watch_parser(
    description: str | None, default_mode: str, default_trigger: str
) -> argparse.ArgumentParser:
    """Return a parser with the flags of a stream, plus --checkpoint, --select and --select-every."""
    parser = build_stream_parser(description, default_mode, default_trigger)
    add = parser.add_argument
    add("--checkpoint", metavar="DIR", help="folder to resume from; default: start anew")
    add("--select", metavar="SQL", help="one SELECT on the memory sink's table, shown at the end")
    add(
        "--select-every",
        type=positive_int,
        help="also show the memory sink's table every so many seconds",
    )
    return parser


def add_boolean_flag(
    parser: argparse.ArgumentParser, name: str, description: str, *, default: bool = False
) -> None:
    """Add a flag that is true by itself, and takes `=true` or `=false` in any case.

    Airflow renders booleans as `True` and `False`.
    """
    parser.add_argument(
        name,
        nargs="?",
        type=parse_boolean,
        const=True,
        default=default,
        metavar="true|false",
        help=description,
    )


def parse_boolean(text: str) -> bool:
    """Parse `true` or `false` in any case, for argparse."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a boolean; use true or false")
    return text.lower() == "true"


def positive_int(text: str) -> int:
    """Parse an integer of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1; use 1 or more")
    return number
