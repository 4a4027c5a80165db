"""Count the same log with DuckDB or Polars alone: the same fields and nine panels.

    python -m bench.peers duckdb access.log

Each panel has hits, exact visitors (address and user agent) and bytes. It prints the number of rows.
"""

import sys

PATTERN = (
    r'^(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) '
    r'(?P<target>[^" ]*) (?P<protocol>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+|-) '
    r'"(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)"'
)
FIELDS = (
    "host",
    "user",
    "time",
    "method",
    "target",
    "protocol",
    "status",
    "bytes",
    "referrer",
    "user_agent",
)
PANELS = ("target", "host", "status", "method", "protocol", "referrer", "user_agent", "hour", "day")


def count_with_duckdb(path: str) -> int:
    import duckdb

    connection = duckdb.connect()
    pattern = PATTERN
    for name in FIELDS:
        pattern = pattern.replace(f"(?P<{name}>", "(")
    connection.execute(
        "CREATE TABLE rows AS SELECT f.* EXCLUDE (bytes), coalesce(try_cast(f.bytes AS BIGINT), 0) AS bytes, "
        "hash(f.host, f.user_agent) AS visitor, f.time[13:14] AS hour, f.time[1:11] AS day, "
        "try_strptime(f.time, '%d/%b/%Y:%H:%M:%S %z') AS timestamp "
        "FROM (SELECT regexp_extract(line, ?, ?) AS f FROM read_csv(?, columns={'line': 'VARCHAR'}, "
        "delim='\\x02', quote='', escape='', header=false, auto_detect=false, strict_mode=false)) "
        "WHERE f.host <> ''",
        [pattern, list(FIELDS), path],
    )
    row_count = 0
    for panel in PANELS:
        row_count += len(
            connection.execute(
                f"SELECT {panel}, count(*), count(DISTINCT visitor), sum(bytes) FROM rows GROUP BY 1"
            ).fetchall()
        )
    return row_count


def count_with_polars(path: str) -> int:
    import polars as pl

    rows = (
        pl.scan_csv(
            path,
            has_header=False,
            separator="\x02",
            quote_char=None,
            new_columns=["line"],
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        )
        .select(pl.col("line").str.extract_groups(PATTERN).alias("f"))
        .unnest("f")
        .filter(pl.col("host").is_not_null())
        .with_columns(
            pl.col("bytes").cast(pl.Int64, strict=False).fill_null(0),
            pl.struct("host", "user_agent").hash().alias("visitor"),
            pl.col("time").str.slice(12, 2).alias("hour"),
            pl.col("time").str.slice(0, 11).alias("day"),
            pl.col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S %z", strict=False).alias("timestamp"),
        )
        .collect()
    )
    numbers = [pl.len(), pl.col("visitor").n_unique(), pl.col("bytes").sum()]
    return sum(rows.group_by(panel).agg(*numbers).height for panel in PANELS)


if __name__ == "__main__":
    print({"duckdb": count_with_duckdb, "polars": count_with_polars}[sys.argv[1]](sys.argv[2]))
