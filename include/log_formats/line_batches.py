"""Functions for Spark's `mapInArrow`: Arrow batches of lines in, Arrow batches out.

Spark sends them to its Python workers with their settings; a worker builds the reader. Only workers import
Polars.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from include.contracts import ACCESS_LOG_DDL, FUTURE_HOURS, HEARTBEAT, list_column_names

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from include.log_formats.reader import LineReader

# Where a line came from; these columns pass through.
LINEAGE_COLUMNS = ("line_id", "topic", "partition", "offset", "file")
# What a worker gives: the columns of the contract, but not the day, which depends on a time zone.
READ_COLUMNS = tuple(name for name in list_column_names(ACCESS_LOG_DDL) if name != "event_date")


@dataclass(frozen=True)
class ReadBatches:
    """Reads lines.

    The batches have the columns of LINEAGE_COLUMNS, `line` (BINARY) and `arrived` (TIMESTAMP), or those of
    messages (`key`, `value`, `topic`, `partition`, `offset`, `arrived`), whose heartbeats become rows. It
    gives `extra_columns` and READ_COLUMNS.

    Args:
        log_format, w3c_fields, future_hours: As of `LineReader`.
        extra_columns: Names of further columns that pass through.
    """

    log_format: str = ""
    w3c_fields: Mapping[str, str] = field(default_factory=dict)
    future_hours: int = FUTURE_HOURS
    extra_columns: tuple[str, ...] = ()

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        from include.log_formats.reader import LineReader

        reader = LineReader(self.log_format, self.w3c_fields, self.future_hours)
        for batch in batches:
            yield from _to_arrow(self._read(reader, _from_arrow(batch)))

    def _read(self, reader: "LineReader", batch: "pl.DataFrame") -> "pl.DataFrame":
        import polars as pl

        from include.log_formats.messages import is_heartbeat, split_messages

        names = [*self.extra_columns, *READ_COLUMNS]
        if "value" not in batch.columns:
            rows = reader.read(batch["line"], files=batch["file"], arrived=batch["arrived"])
            return batch.hstack(rows).select(names)
        is_beat = is_heartbeat(batch)
        lines = split_messages(batch.filter(~is_beat))
        rows = lines.hstack(reader.read(lines["line"], arrived=lines["arrived"]))
        rows = rows.with_columns(file=pl.lit(None, pl.String)).select(names)
        if not is_beat.any():
            return rows
        beats = batch.filter(is_beat).with_columns(
            timestamp=pl.col("arrived").cast(rows.schema["timestamp"]), log_format=pl.lit(HEARTBEAT)
        )
        passed = [name for name in names if name in beats.columns]
        return pl.concat([rows, beats.select(passed)], how="diagonal").select(names)


@dataclass(frozen=True)
class SelectServerErrors:
    """Selects of each message (`key`, `value`, BINARY) its lines with a status 5xx, and drops the others.

    Args:
        log_format: As of `LineReader`.
    """

    log_format: str = ""

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import polars as pl

        from include.log_formats.messages import is_heartbeat, split_messages
        from include.log_formats.reader import LineReader

        reader = LineReader(self.log_format)
        for batch in batches:
            messages = _from_arrow(batch)
            numbered = messages.with_row_index("message").filter(~is_heartbeat(messages))
            lines = split_messages(numbered)
            status = reader.read(lines["line"])["status"]
            errors = lines.filter(status.is_between(500, 599).fill_null(False))
            if errors.is_empty():
                continue
            values = errors.group_by("message", maintain_order=True).agg("line")
            joined = [b"\n".join(message) for message in values["line"].to_list()]
            keys = messages["key"].gather(values["message"])
            yield from _to_arrow(pl.DataFrame([keys, pl.Series("value", joined, dtype=pl.Binary)]))


def _from_arrow(batch: "pa.RecordBatch") -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame(pl.from_arrow(batch))


def _to_arrow(rows: "pl.DataFrame") -> "Iterator[pa.RecordBatch]":
    import polars as pl
    import pyarrow as pa

    # Spark takes strings and bytes with 32-bit offsets only.
    narrow = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    for batch in rows.to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches():
        columns = [column.cast(narrow.get(column.type, column.type)) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
