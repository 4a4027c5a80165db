"""Sum the rows of `panels.parquet` over any number of days, one day at a time.

This module imports pyarrow, which Airflow must not load when it parses DAGs. Import it inside a task.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from include.reporting.report import UnusableSummary

MAX_ROWS_PER_PANEL = 1000  # rows of a panel in a report; panels.parquet has all
MAX_UNSUMMED_ROWS = 2_000_000  # rows that wait in memory to be summed: about 400 MB
# pyarrow's group_by ends the whole process (std::length_error, seen with 26.0) when the different
# texts of one key column have more than 2 GiB in total.
MAX_KEY_BYTES = 1_500_000_000

# These columns identify a row within its panel. Null is a key like any other.
KEY_COLUMNS = ("value", "parent", "method", "protocol")
TEXT_COLUMNS = ("panel", *KEY_COLUMNS, "referrer")
COUNT_COLUMNS = (
    "hits",
    "visitors",
    "bytes",
    "humans_hits",
    "humans_visitors",
    "humans_bytes",
    "timed",
)
SECONDS_COLUMNS = ("seconds_sum", "seconds_p95", "seconds_max")
_AGGREGATES = [
    *[(name, "sum") for name in (*COUNT_COLUMNS, "seconds_sum")],
    *[(name, "max") for name in ("seconds_p95", "seconds_max", "linked")],
]
# Texts are read as bytes: a percent-encoded part of a path may not be valid UTF-8.
_SCHEMA = pa.schema(
    [
        *[(name, pa.binary()) for name in TEXT_COLUMNS],
        *[(name, pa.int64()) for name in COUNT_COLUMNS],
        *[(name, pa.float64()) for name in SECONDS_COLUMNS],
    ]
)


def read_panels(path: Path) -> pa.Table:
    """Read all rows of a day's `panels.parquet`. Raises UnusableSummary if it is missing or damaged."""
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(use_threads=False).select(_SCHEMA.names).cast(_SCHEMA)
    except FileNotFoundError:
        raise UnusableSummary(f"{path} is missing; run analyse_access_log for its day") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UnusableSummary(
            f"{path} is damaged ({reason}); run analyse_access_log for its day"
        ) from None


def count_requests(rows: pa.Table) -> int:
    """Return the number of requests that a day's panels were made from."""
    return pc.sum(rows["hits"].filter(pc.equal(rows["panel"], b"day"))).as_py() or 0


def sum_panels(days: Iterable[pa.Table]) -> dict[str, tuple[list[dict[str, Any]], int]]:
    """Sum the panels of several days.

    Args:
        days: The tables of `read_panels`. They are read one at a time.

    Returns:
        Panel -> (its rows, its total number of rows). The rows have the columns of `report.json`. They are
        the first MAX_ROWS_PER_PANEL by hits, then by key. Columns for each key:

        - hits, visitors, bytes: sums of all days.
        - `seconds_average`: average of all timed hits.
        - `seconds_p95`, `seconds_max`: in seconds, the largest value of a day.
        - `referrer`: that of the day with most hits.

    Raises:
        UnusableSummary: A panel does not fit into memory.
    """
    panels: dict[str, list[pa.Table]] = {}
    summed_rows = unsummed_rows = 0
    for day in days:
        rows = _with_top_referrer(day)
        for name in pc.unique(rows["panel"]):
            panel_rows = rows.filter(pc.equal(rows["panel"], name)).drop_columns("panel")
            panels.setdefault(_decode_text(name.as_py()) or "", []).append(panel_rows)
        unsummed_rows += rows.num_rows
        # Sum only when the rows have grown by a third. So even a year of new rows takes few passes.
        if unsummed_rows > max(MAX_UNSUMMED_ROWS, summed_rows // 3):
            for name, tables in panels.items():
                tables[:] = [_aggregate_rows(name, tables)]
            summed_rows, unsummed_rows = sum(tables[0].num_rows for tables in panels.values()), 0
    # pop() frees a panel's rows before the next panel is summed.
    return {
        name: _select_top_rows(_aggregate_rows(name, panels.pop(name))) for name in list(panels)
    }


def _with_top_referrer(rows: pa.Table) -> pa.Table:
    """Replace `referrer` by `linked`: the hits as 20 digits, then the referrer.

    The maximum of `linked` over the days is the referrer of the day with most hits.
    """
    digits = pc.utf8_lpad(rows["hits"].cast(pa.string()), 20, "0").cast(pa.binary())
    linked = pc.binary_join_element_wise(digits, rows["referrer"], b"")
    return rows.drop_columns("referrer").append_column("linked", linked)


def _aggregate_rows(panel: str, tables: list[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables)
    if max(pc.sum(pc.binary_length(rows[key])).as_py() or 0 for key in KEY_COLUMNS) > MAX_KEY_BYTES:
        raise UnusableSummary(
            f"the rows of panel {panel!r} do not fit into memory "
            f"(more than {MAX_KEY_BYTES:,} bytes of text); choose fewer days"
        )
    # One thread: with this many different keys, several threads were three times slower.
    sums = rows.group_by(list(KEY_COLUMNS), use_threads=False).aggregate(_AGGREGATES)
    return sums.rename_columns({f"{name}_{function}": name for name, function in _AGGREGATES})


def _select_top_rows(rows: pa.Table) -> tuple[list[dict[str, Any]], int]:
    # Sort by all keys, so that the result does not depend on the order of the days.
    order = [("hits", "descending"), *[(key, "ascending") for key in KEY_COLUMNS]]
    top = rows.take(pc.select_k_unstable(rows, k=MAX_ROWS_PER_PANEL, sort_keys=order)).to_pylist()
    columns = [name for name in (*KEY_COLUMNS, "linked", "timed") if any(row[name] for row in top)]
    return [_build_row(row, columns) for row in top], rows.num_rows


def _build_row(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """Build a row of `report.json`. Optional columns that are not in `columns` are left out."""
    report_row: dict[str, Any] = {"value": _decode_text(row["value"])}
    report_row |= {name: row[name] for name in COUNT_COLUMNS if name != "timed"}
    report_row |= {
        name: _decode_text(row[name])
        for name in ("parent", "method", "protocol")
        if name in columns
    }
    if "linked" in columns:
        linked = row["linked"]
        report_row["referrer"] = _decode_text(linked[20:] if linked is not None else None)
    if "timed" in columns:
        average = row["seconds_sum"] / row["timed"] if row["timed"] else None
        report_row["seconds_average"] = average
        report_row |= {name: row[name] for name in SECONDS_COLUMNS[1:]}
    return report_row


def _decode_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
