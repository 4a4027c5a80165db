"""Sum the rows of many days' `panels.parquet`, a day at a time, however many days there are.

With pyarrow, which Airflow must not load when it parses DAGs: import this inside a task.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from include.reporting.report import SummaryError

ROWS_KEPT = 1000  # of each panel in a report; panels.parquet has all
ROWS_WAITING = 2_000_000  # unsummed rows in memory: about 400 MB
# pyarrow's group_by ends the whole process (std::length_error, seen with 26.0) when the different
# texts of one key column have more than 2 GiB together.
MOST_KEY_BYTES = 1_500_000_000

# What a row is told apart by within its panel; null is a key like any other.
KEYS = ("value", "parent", "method", "protocol")
TEXTS = ("panel", *KEYS, "referrer")
COUNTS = ("hits", "visitors", "bytes", "people_hits", "people_visitors", "people_bytes", "timed")
SECONDS = ("seconds_sum", "seconds_p95", "seconds_max")
_FOLDS = [
    *[(name, "sum") for name in (*COUNTS, "seconds_sum")],
    *[(name, "max") for name in ("seconds_p95", "seconds_max", "linked")],
]
# Texts as bytes: a part of a path that was percent-encoded need not be UTF-8.
_SCHEMA = pa.schema([
    *[(name, pa.binary()) for name in TEXTS], *[(name, pa.int64()) for name in COUNTS],
    *[(name, pa.float64()) for name in SECONDS],
])  # fmt: skip


def read_panels(path: Path) -> pa.Table:
    """All rows of a day's `panels.parquet`. Raises SummaryError if it is missing or damaged."""
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(use_threads=False).select(_SCHEMA.names).cast(_SCHEMA)
    except FileNotFoundError:
        raise SummaryError(f"there is no {path}; run analyse_access_log for its day") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        says = str(error).partition("\n")[0]
        raise SummaryError(
            f"{path} is damaged ({says}); run analyse_access_log for its day"
        ) from None


def hits_of_day(rows: pa.Table) -> int:
    """The requests that a day's panels were made of; 0 for a day without one."""
    return pc.sum(rows["hits"].filter(pc.equal(rows["panel"], b"day"))).as_py() or 0


def sum_panels(days: Iterable[pa.Table]) -> dict[str, tuple[list[dict[str, Any]], int]]:
    """Panel -> its first ROWS_KEPT rows by hits, then value, as a report has them; how many it has.

    Hits, visitors and bytes of a key are those of all days together, `seconds_average` is that of all
    timed hits, `seconds_p95` and `seconds_max` (seconds) are the greatest of a day, and `referrer` is
    that of the day with most hits. Raises SummaryError if a panel does not fit into memory.
    """
    panels: dict[str, list[pa.Table]] = {}
    summed = waiting = 0
    for day in days:
        rows = _with_linked(day)
        for name in pc.unique(rows["panel"]):
            of_panel = rows.filter(pc.equal(rows["panel"], name)).drop_columns("panel")
            panels.setdefault(_text(name.as_py()) or "", []).append(of_panel)
        waiting += rows.num_rows
        # Not before what is there has grown by a third: a year of new rows stays a few passes.
        if waiting > max(ROWS_WAITING, summed // 3):
            for name, tables in panels.items():
                tables[:] = [_folded(name, tables)]
            summed, waiting = sum(tables[0].num_rows for tables in panels.values()), 0
    # Taken out one by one: a panel's rows are gone when the next is summed.
    return {name: _top(_folded(name, panels.pop(name))) for name in list(panels)}


def _with_linked(rows: pa.Table) -> pa.Table:
    """`linked` instead of `referrer`: its greatest is the referrer of the day with most hits."""
    digits = pc.utf8_lpad(rows["hits"].cast(pa.string()), 20, "0").cast(pa.binary())
    linked = pc.binary_join_element_wise(digits, rows["referrer"], b"")
    return rows.drop_columns("referrer").append_column("linked", linked)


def _folded(panel: str, tables: list[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables)
    if max(pc.sum(pc.binary_length(rows[key])).as_py() or 0 for key in KEYS) > MOST_KEY_BYTES:
        raise SummaryError(
            f"the rows of panel {panel!r} do not fit into memory together "
            f"(more than {MOST_KEY_BYTES:,} bytes of text); choose fewer days"
        )
    # In one thread: with as many different keys as here, threads were three times slower.
    made = rows.group_by(list(KEYS), use_threads=False).aggregate(_FOLDS)
    return made.rename_columns({f"{name}_{how}": name for name, how in _FOLDS})


def _top(rows: pa.Table) -> tuple[list[dict[str, Any]], int]:
    # By all keys, so that the order of the days changes nothing.
    order = [("hits", "descending"), *[(key, "ascending") for key in KEYS]]
    top = rows.take(pc.select_k_unstable(rows, k=ROWS_KEPT, sort_keys=order)).to_pylist()
    has = [name for name in (*KEYS, "linked", "timed") if any(row[name] for row in top)]
    return [_row(row, has) for row in top], rows.num_rows


def _row(row: dict[str, Any], has: list[str]) -> dict[str, Any]:
    """A row by its names in a report; those that no row of its panel has are left out."""
    made: dict[str, Any] = {"value": _text(row["value"])}
    made |= {name: row[name] for name in COUNTS if name != "timed"}
    made |= {name: _text(row[name]) for name in ("parent", "method", "protocol") if name in has}
    if "linked" in has:
        made["referrer"] = _text(row["linked"][20:] if row["linked"] is not None else None)
    if "timed" in has:
        average = row["seconds_sum"] / row["timed"] if row["timed"] else None
        made |= {"seconds_average": average} | {name: row[name] for name in SECONDS[1:]}
    return made


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
