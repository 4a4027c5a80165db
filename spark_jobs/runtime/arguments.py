"""The flags that all streaming jobs share."""

import argparse

from spark_jobs.runtime.words import SINKS, SOURCES, TRIGGERS


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the job's header, and shows defaults."""


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose description is the job's own header."""
    return argparse.ArgumentParser(description=doc, formatter_class=Help, allow_abbrev=False)


def stream_arguments(
    doc: str | None, sources: tuple[str, ...], sinks: tuple[str, ...], mode: str, trigger: str
) -> argparse.ArgumentParser:
    """Where a stream reads, where it writes, how, and when it fires; `mode`, `trigger`: defaults."""
    parser = arguments(doc)
    forms = ", ".join(SOURCES[kind] for kind in sources)
    parser.add_argument("--source", required=True, help=forms)
    forms = ", ".join(SINKS[kind] for kind in sinks)
    parser.add_argument("--sink", required=True, help=forms)
    parser.add_argument("--output-mode", default=mode, help="append, complete or update")
    parser.add_argument("--trigger", default=trigger, help=", ".join(TRIGGERS.values()))
    parser.add_argument(
        "--run-seconds", type=positive, help="stop cleanly after this long (endless triggers)"
    )
    parser.add_argument("--servers", help="Kafka's bootstrap servers, HOST:PORT[,HOST:PORT]")
    parser.add_argument(
        "--max-per-trigger", type=positive, help="messages (or files) a batch; default: all"
    )
    parser.add_argument("--check", action="store_true", help="look at the flags, run nothing")
    return parser


def positive(text: str) -> int:
    """An integer from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number
