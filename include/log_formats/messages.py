"""Kafka messages that carry lines of a log: one or more in a message, a newline between them."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from include.contracts import HEARTBEAT


def split_messages(messages: pl.DataFrame) -> pl.DataFrame:
    """Split messages into lines.

    `line_id` is `<log id>:<byte offset of the line>`. The key of a message is `<log id>:<byte offset of its
    first line>`, and the lines before are counted in bytes, so it does not depend on how many lines a
    message carries. It is null if the key has another form.

    Args:
        messages: `key` and `value` (BINARY), and any other columns. No heartbeats.

    Returns:
        A row a line: `line` (BINARY), `line_id` (STRING), and the other columns of its message.
    """
    values = messages["value"].fill_null(b"").to_arrow()
    lists = pc.split_pattern(values, b"\n")
    ends = lists.offsets.to_numpy()[1:]
    counts = np.diff(lists.offsets.to_numpy())
    lengths = pc.binary_length(lists.values).to_numpy(zero_copy_only=False)
    # A newline at the end of a message ends its last line; it does not begin another one.
    is_kept = np.ones(len(lengths), dtype=bool)
    is_kept[ends[(counts > 1) & (lengths[ends - 1] == 0)] - 1] = False
    first = np.repeat(lists.offsets.to_numpy()[:-1], counts)
    before = np.concatenate(([0], np.cumsum(lengths + 1)))[:-1]
    parents = np.repeat(np.arange(len(counts)), counts)[is_kept]
    log_ids, first_bytes = _parse_keys(messages["key"])
    lines = messages.drop("key", "value")[parents]
    start = first_bytes[parents] + pl.Series((before - before[first])[is_kept])
    return lines.with_columns(
        pl.Series("line", lists.values.filter(pa.array(is_kept)), dtype=pl.Binary),
        line_id=pl.concat_str(log_ids[parents], pl.lit(":"), start.cast(pl.String)),
    )


def is_heartbeat(messages: pl.DataFrame) -> pl.Series:
    """Whether each message is a producer's sign of life: its key ends so, and it has no value.

    Args:
        messages: `key` and `value` (BINARY).
    """
    ends_so = messages["key"].bin.ends_with(f":{HEARTBEAT}".encode()).fill_null(False)
    return messages["value"].is_null() & ends_so


def _parse_keys(keys: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The log id and the byte offset of keys such as `<log id>:512`; null for keys of another form."""
    texts = pl.Series(
        [None if key is None else key.decode("utf-8", "replace") for key in keys], dtype=pl.String
    )
    parts = texts.str.extract_groups(r"^(?P<log_id>.+):(?P<start>[0-9]{1,18})$").struct.unnest()
    return parts["log_id"], parts["start"].cast(pl.Int64)
