"""Flags of the jobs that read access-log lines: log formats, time zone and anonymisation."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from include.contracts import FUTURE_HOURS
from include.errors import InvalidInput
from include.log_formats import compile_log_format, compile_w3c
from spark_jobs.streaming.arguments import positive_int
from spark_jobs.transforms.access_log import parse_requests, select_landed_lines
from spark_jobs.transforms.privacy import anonymise_rows, parse_query_names


def add_line_reader_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `build_line_reader`: those of `build_request_reader`, and two about time."""
    add_request_reader_flags(parser)
    add = parser.add_argument
    add("--time-zone", default="UTC", help="time zone in which event_date begins at midnight")
    add(
        "--future-hours",
        type=positive_int,
        default=FUTURE_HOURS,
        help="a line is bad if its time is more than this many hours after its arrival",
    )


def add_request_reader_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `build_request_reader`."""
    add_log_format_flag(parser)
    add = parser.add_argument
    add(
        "--w3c-fields",
        metavar="FILE",
        help="JSON file in which the inbox stores the fields of W3C files; may be missing",
    )
    add(
        "--anonymise",
        type=int,
        choices=range(4),
        default=0,
        help="hide the last bits of addresses, like GoAccess's --anonymize-level; 0 hides nothing",
    )
    add(
        "--drop-query-names",
        type=parse_query_names,
        default="",
        metavar="NAME,NAME",
        help="remove these query parameters; * removes all",
    )


def add_log_format_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-format",
        default="",
        metavar="STRING",
        help="Apache LogFormat of the lines, tried before the formats that are detected",
    )


def build_line_reader(args: argparse.Namespace) -> Callable[..., DataFrame]:
    """Return a function that reads lines and anonymises the rows, as the flags say.

    Args:
        args: The flags of `add_line_reader_flags`.

    Returns:
        `select_landed_lines` with the formats, time zone and limits already filled in. It takes the
        lines and the keyword arguments that are left.

    Raises:
        InvalidInput: The LogFormat or the file of W3C fields cannot be read.
    """
    w3c = load_log_formats(args.log_format, args.w3c_fields)

    def read(lines: DataFrame, **options: Any) -> DataFrame:
        rows = select_landed_lines(
            lines, args.time_zone, args.log_format, w3c, args.future_hours, **options
        )
        return anonymise_rows(rows, args.anonymise, args.drop_query_names)

    return read


def build_request_reader(args: argparse.Namespace) -> Callable[[DataFrame, str], DataFrame]:
    """Return a function that parses requests and anonymises them, as the flags say.

    Args:
        args: The flags of `add_request_reader_flags`.

    Returns:
        `parse_requests` with the formats already filled in. It takes the rows and the kind of their source.

    Raises:
        InvalidInput: The LogFormat or the file of W3C fields cannot be read.
    """
    w3c = load_log_formats(args.log_format, args.w3c_fields)

    def read(rows: DataFrame, kind: str) -> DataFrame:
        requests = parse_requests(rows, kind, args.log_format, w3c)
        return anonymise_rows(requests, args.anonymise, args.drop_query_names)

    return read


def load_log_formats(log_format: str, w3c_fields: str | None) -> dict[str, str]:
    """Check the LogFormat, and load the W3C fields that the inbox has stored.

    Args:
        log_format: An Apache LogFormat; may be empty.
        w3c_fields: Path of the inbox's JSON file; may be None or not exist yet.

    Returns:
        The fields of W3C files by their id; empty without a file.

    Raises:
        InvalidInput: The LogFormat or the file cannot be read.
    """
    try:
        if log_format:
            compile_log_format(log_format)
    except ValueError as error:
        raise InvalidInput(f"--log-format {log_format!r}: {error}") from None
    file = Path(w3c_fields or "")
    if not file.is_file():
        return {}
    try:
        fields_by_id: dict[str, str] = json.loads(file.read_text())
        for fields in fields_by_id.values():
            compile_w3c(fields)
    except (ValueError, AttributeError) as error:
        raise InvalidInput(
            f"--w3c-fields {file}: {error}; expected W3C fields by their id, as the inbox writes them"
        ) from None
    return fields_by_id
