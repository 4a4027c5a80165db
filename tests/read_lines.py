"""Reads log lines with the reader of `include.log_formats`, without Spark."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from include.contracts import FUTURE_HOURS
from include.log_formats.reader import LineReader


def read_lines(
    *lines: str | bytes,
    log_format: str = "",
    w3c_fields: Mapping[str, str] | None = None,
    files: Sequence[str | None] | None = None,
    arrived: datetime | None = None,
    future_hours: int = FUTURE_HOURS,
) -> list[dict[str, Any]]:
    """Read lines in one batch.

    Args:
        lines: The lines, without their newlines; text is encoded as UTF-8.
        log_format, w3c_fields, future_hours: As of `LineReader`.
        files: The name of each line's file.
        arrived: When all the lines arrived.

    Returns:
        One dict a line, in order: its columns that are not null.
    """
    reader = LineReader(log_format, w3c_fields, future_hours)
    content = [line.encode() if isinstance(line, str) else line for line in lines]
    rows = reader.read(
        pl.Series(content, dtype=pl.Binary),
        files=None if files is None else pl.Series(files, dtype=pl.String),
        arrived=None
        if arrived is None
        else pl.Series([arrived] * len(content), dtype=pl.Datetime("us", "UTC")),
    )
    return [
        {name: value for name, value in row.items() if value is not None} for row in rows.to_dicts()
    ]
