"""Flags of the jobs that read access-log lines: log formats, time zone and anonymisation."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame

from include.contracts import FUTURE_HOURS
from include.errors import InvalidInput
from include.log_formats.line_batches import ReadBatches
from include.log_formats.log_format import compile_log_format
from include.log_formats.w3c import compile_w3c
from spark_jobs.streaming.arguments import positive_int
from spark_jobs.streaming.combinations import NO_PYTHON_REASON, runs_no_python
from spark_jobs.streaming.options import Trigger
from spark_jobs.transforms.access_log import select_landed_lines, select_requests
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


def build_line_reader(
    args: argparse.Namespace, extra_columns: tuple[str, ...] = ()
) -> Callable[[DataFrame], DataFrame]:
    """Return a function that reads lines and anonymises the rows, as the flags say.

    Args:
        args: The flags of `add_line_reader_flags`.
        extra_columns: Names of further columns of the lines that pass through.

    Returns:
        `select_landed_lines` with everything but the lines filled in.

    Raises:
        InvalidInput: The LogFormat or the file of W3C fields cannot be read.
    """
    check_log_format(args.log_format)
    w3c_fields = load_w3c_fields(args.w3c_fields)
    read_batches = ReadBatches(args.log_format, w3c_fields, args.future_hours, extra_columns)

    def read(lines: DataFrame) -> DataFrame:
        rows = select_landed_lines(lines, args.time_zone, read_batches)
        return anonymise_rows(rows, args.anonymise, args.drop_query_names)

    return read


def build_request_reader(
    args: argparse.Namespace, trigger: Trigger
) -> Callable[[DataFrame, str], DataFrame]:
    """Return a function that parses requests and anonymises them, as the flags say.

    Args:
        args: The flags of `add_request_reader_flags`.
        trigger: When the query runs. The continuous and real-time triggers read common and combined lines
            only.

    Returns:
        `select_requests` with the formats already filled in. It takes the rows and the kind of their source.

    Raises:
        InvalidInput: The LogFormat or the file of W3C fields cannot be read, or not with this trigger.
    """
    check_log_format(args.log_format, trigger)
    w3c_fields = load_w3c_fields(args.w3c_fields)
    read_batches = (
        None if runs_no_python(trigger.kind) else ReadBatches(args.log_format, w3c_fields)
    )

    def read(rows: DataFrame, kind: str) -> DataFrame:
        requests = select_requests(rows, kind, read_batches)
        return anonymise_rows(requests, args.anonymise, args.drop_query_names)

    return read


def check_log_format(log_format: str, trigger: Trigger | None = None) -> None:
    """Check that a LogFormat can be read.

    Args:
        log_format: An Apache LogFormat; may be empty.
        trigger: When the query runs; None: as a batch.

    Raises:
        InvalidInput: The LogFormat cannot be compiled, or the trigger runs no Python, which reads it.
    """
    if not log_format:
        return
    try:
        compile_log_format(log_format)
    except ValueError as error:
        raise InvalidInput(f"--log-format {log_format!r}: {error}") from None
    if trigger and runs_no_python(trigger.kind):
        raise InvalidInput(f"trigger {str(trigger)!r} with --log-format: {NO_PYTHON_REASON}")


def load_w3c_fields(path: str | None) -> dict[str, str]:
    """Load the W3C fields that the inbox has stored.

    Args:
        path: Path of the inbox's JSON file; may be None or not exist yet.

    Returns:
        The fields of W3C files by their id; empty without a file.

    Raises:
        InvalidInput: The file cannot be read.
    """
    file = Path(path or "")
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
