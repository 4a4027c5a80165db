"""Re-parsed rows: bad lines of a landing that the current parser can read.

They are stored next to `data/`, see `include.lake.landing_files`: plain Parquet in
`replayed/<name>/event_date=…/`, one folder for each run.

Each run re-parses every bad line and replaces the result of the run before, so repeating it changes nothing.
The bad row stays in `data/`; `apply_reparsed_rows` replaces it when the landing is read.
"""

import json
import shutil
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from include.lake.files import replace_file
from include.lake.landing_files import LandingFiles

# The columns that identify a bad row. Rows that are equal in all of these get the same re-parsed row.
BAD_ROW_KEY = ("line_id", "topic", "partition", "offset", "file", "raw")
REPARSED_DDL = f"bad_row BIGINT, bad_event_date DATE, {ACCESS_LOG_DDL}"


def read_reparsed_rows(spark: SparkSession, files: LandingFiles) -> DataFrame | None:
    """Read the current re-parsed rows, with the columns of REPARSED_DDL; None if there are none yet."""
    name = files.read_current_reparse()["name"]
    return spark.read.schema(REPARSED_DDL).parquet(str(files.reparsed / name)) if name else None


def write_reparsed_rows(rows: DataFrame, files: LandingFiles, name: str) -> dict[str, Any]:
    """Write re-parsed rows as the current ones, and delete the earlier ones.

    Args:
        rows: The rows, with the columns of REPARSED_DDL.
        files: The landing's files.
        name: The subfolder of `replayed/` to write to.

    Returns:
        The new content of `current.json`, see `LandingFiles.read_current_reparse`.
    """
    target = files.reparsed / name
    shutil.rmtree(target, ignore_errors=True)
    rows.repartition("event_date").write.partitionBy("event_date").parquet(str(target))
    days = checksum_days(rows.sparkSession.read.schema(REPARSED_DDL).parquet(str(target)))
    current = {
        "name": name,
        "lines": sum(int(day.split(":")[0]) for day in days.values()),
        "days": days,
    }
    replace_file(files.current_reparse, json.dumps(current))
    for other in files.reparsed.iterdir():
        if other.is_dir() and other.name != name:
            shutil.rmtree(other)
    return current


def checksum_days(rows: DataFrame) -> dict[str, str]:
    """Compute a checksum for each day that the re-parsed rows change.

    A row changes the day of its bad row and the day of its re-parsed row.

    Args:
        rows: Re-parsed rows, with the columns of REPARSED_DDL.

    Returns:
        ISO date -> `lines:checksum`: the number of rows that the day gains, and a hexadecimal checksum of
        all rows that change the day.
    """
    columns = sorted(set(rows.columns) - {"event_date", "bad_event_date"})
    touched = F.array_distinct(F.array_compact(F.array("event_date", "bad_event_date")))
    by_day = (
        rows.select(
            F.explode(touched).alias("day"), "event_date", F.xxhash64(*columns).alias("hash")
        )
        .groupBy("day")
        .agg(
            F.count_if(F.col("day") == F.col("event_date")).alias("lines"),
            F.bit_xor("hash").alias("hash"),
        )
    )
    return {str(r.day): f"{r.lines}:{r.hash & (2**64 - 1):016x}" for r in by_day.collect()}


def filter_bad_rows(landed: DataFrame) -> DataFrame:
    """Select the bad rows, and add `bad_row`, a hash of BAD_ROW_KEY that identifies the row."""
    return landed.where(F.col("bad_reason").isNotNull()).withColumn(
        "bad_row", F.xxhash64(*BAD_ROW_KEY)
    )


def apply_reparsed_rows(landed: DataFrame, reparsed: DataFrame | None) -> DataFrame:
    """Replace each bad row that was re-parsed by its good row; `reparsed` None changes nothing."""
    if reparsed is None:
        return landed
    still_bad = filter_bad_rows(landed).join(reparsed.select("bad_row"), "bad_row", "left_anti")
    return (
        landed.where(F.col("bad_reason").isNull())
        .unionByName(still_bad.drop("bad_row"))
        .unionByName(reparsed.drop("bad_row", "bad_event_date"))
    )
