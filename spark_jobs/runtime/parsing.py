"""How access-log lines are read and what of them is hidden, as flags of the jobs that read them."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from include.log_formats import compile_log_format, compile_w3c
from spark_jobs.runtime.arguments import positive
from spark_jobs.runtime.words import Refused
from spark_jobs.transforms.access_log import landed_lines, requests_of
from spark_jobs.transforms.privacy import private, query_names


def add_parsing(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `lines_reader` needs: those of `requests_reader`, and two about days."""
    add_reading(parser)
    add = parser.add_argument
    add("--time-zone", default="UTC", help="zone of event_date's midnight")
    add("--future-hours", type=positive, default=24,
        help="a line whose time is further ahead of its arrival is bad")  # fmt: skip


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `requests_reader` needs."""
    log_format_argument(parser)
    add = parser.add_argument
    add("--w3c-fields", metavar="FILE",
        help="what the inbox found out about W3C files; may be missing")  # fmt: skip
    add("--anonymise", type=int, choices=range(4), default=0,
        help="hide the last bits of addresses, as GoAccess's --anonymize-level; 0: nothing")  # fmt: skip
    add("--drop-query-names", type=query_names, default="", metavar="NAME,NAME",
        help="leave these parameters of queries out; *: all")  # fmt: skip


def log_format_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-format", default="", metavar="STRING",
        help="Apache LogFormat of the lines, tried before the formats that are recognised",
    )  # fmt: skip


def lines_reader(args: argparse.Namespace) -> Callable[..., DataFrame]:
    """`landed_lines` as the flags say. Raises Refused if a format cannot be read."""
    w3c = known_formats(args.log_format, args.w3c_fields)

    def read(lines: DataFrame, **how: Any) -> DataFrame:
        rows = landed_lines(lines, args.time_zone, args.log_format, w3c, args.future_hours, **how)
        return private(rows, args.anonymise, args.drop_query_names)

    return read


def requests_reader(args: argparse.Namespace) -> Callable[[DataFrame, str], DataFrame]:
    """`requests_of` as the flags say. Raises Refused as above."""
    w3c = known_formats(args.log_format, args.w3c_fields)

    def read(rows: DataFrame, kind: str) -> DataFrame:
        requests = requests_of(rows, kind, args.log_format, w3c)
        return private(requests, args.anonymise, args.drop_query_names)

    return read


def known_formats(log_format: str, w3c_fields: str | None) -> dict[str, str]:
    """The fields of W3C files by their id; Refused if these, or the LogFormat, cannot be read."""
    try:
        if log_format:
            compile_log_format(log_format)
    except ValueError as why:
        raise Refused(f"--log-format {log_format!r}: {why}") from None
    file = Path(w3c_fields or "")
    if not file.is_file():
        return {}
    try:
        known: dict[str, str] = json.loads(file.read_text())
        for fields in known.values():
            compile_w3c(fields)
    except (ValueError, AttributeError) as why:
        raise Refused(
            f"{file}: {why}; expected W3C fields by their id, as the inbox writes them"
        ) from None
    return known
