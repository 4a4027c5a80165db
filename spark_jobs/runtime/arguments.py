"""The flags that all streaming jobs share."""

import argparse


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the job's header, and shows defaults."""


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose description is the job's own header."""
    return argparse.ArgumentParser(description=doc, formatter_class=Help, allow_abbrev=False)


def stream_arguments(doc: str | None) -> argparse.ArgumentParser:
    """Where a stream reads, where it writes, how, and when it fires."""
    parser = arguments(doc)
    parser.add_argument("--source", required=True, help="kafka:TOPIC or text:DIR")
    parser.add_argument("--sink", required=True, help="parquet:DIR, DIR ending in /data")
    parser.add_argument("--output-mode", default="append", choices=["append"], help="how it writes")
    parser.add_argument(
        "--trigger", default="available-now", help="available-now, once, or every <n> seconds"
    )
    parser.add_argument(
        "--run-seconds", type=positive, help="stop cleanly after this long (endless triggers)"
    )
    parser.add_argument("--servers", help="Kafka's bootstrap servers, HOST:PORT[,HOST:PORT]")
    parser.add_argument(
        "--max-per-trigger", type=positive, help="messages (or files) a batch; default: all"
    )
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number
