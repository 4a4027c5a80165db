"""The flags that all streaming jobs share."""

import argparse

from spark_jobs.runtime.combinations import SINKS, SOURCES, TRIGGERS


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the job's header, and shows defaults."""


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose description is the job's own header."""
    return argparse.ArgumentParser(description=doc, formatter_class=Help, allow_abbrev=False)


def stream_arguments(
    doc: str | None, mode: str, trigger: str, *, sources: tuple[str, ...] = tuple(SOURCES),
    sinks: tuple[str, ...] = tuple(SINKS),
) -> argparse.ArgumentParser:  # fmt: skip
    """Where a stream reads, where it writes, how, and when it fires; `mode`, `trigger`: defaults."""
    parser = arguments(doc)
    say, add = ", ".join, parser.add_argument
    add("--source", required=True, help=say(SOURCES[kind] for kind in sources))
    add("--sink", required=True, help=say(SINKS[kind] for kind in sinks))
    add("--output-mode", default=mode, help="append, complete or update")
    add("--trigger", default=trigger, help=say(TRIGGERS.values()))
    add("--run-seconds", type=positive, help="stop cleanly after this long (endless triggers)")
    add("--stop-file", help="stop cleanly when this file appears; it is removed then")
    add("--servers", help="Kafka's bootstrap servers, HOST:PORT[,HOST:PORT]")
    add("--kafka-login", metavar="FILE", default="",
        help="Kafka's client properties, for brokers that ask who one is; default: no login")  # fmt: skip
    add("--starting", default="earliest",
        help="where a new query begins in the topic: earliest, latest, 2026-01-15T00:00:00Z, or "
        "offsets by partition, 0:100,1:250")  # fmt: skip
    add("--max-per-trigger", type=positive, help="messages a batch; default: all")
    add("--max-files-per-trigger", type=positive, help="files a batch; default: all")
    add("--latest-first", action="store_true", help="the newest files first, not the oldest")
    add("--archive", metavar="DIR", help="move files there when they are done; default: left")
    add("--progress", metavar="FILE", help="write a JSON line a batch there")
    add("--run-id", default="by-hand", help="name of this run in its manifest")
    add("--manifest", metavar="FILE", help="what this run did, as JSON")
    add("--check", action="store_true", help="look at the flags, run nothing")
    return parser


def watch_arguments(doc: str | None, mode: str, trigger: str) -> argparse.ArgumentParser:
    """The flags of a stream, and what a person who watches may ask."""
    parser = stream_arguments(doc, mode, trigger)
    add = parser.add_argument
    add("--checkpoint", metavar="DIR", help="folder to go on from; default: begin anew")
    add("--select", metavar="SQL", help="one SELECT on the memory sink's table, shown at the end")
    add("--select-every", type=positive, help="show it every so many seconds, too")
    return parser


def positive(text: str) -> int:
    """An integer from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number
