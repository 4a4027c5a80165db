"""Bad lines of a landing that a newer parser could read: `<folder>/replayed/`, beside `data/`.

    replayed/<name>/event_date=…/*.parquet   the rows, plain Parquet, written whole
    replayed/current.json                    which of these counts, and what it holds by day

Each replay reads every bad line anew and replaces what the one before made: to repeat it changes
nothing. The bad row stays in `data/`; `with_replayed` counts the line where it belongs.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from spark_jobs.runtime.claims import replace_text

# What tells one bad row from another; two that are alike in all of it are replayed alike.
IDENTITY = ("line_id", "topic", "partition", "offset", "file", "raw")
REPLAYED_DDL = f"bad_row BIGINT, bad_event_date DATE, {ACCESS_LOG_DDL}"


def current(folder: Path) -> dict[str, Any]:
    """What counts now: `name`, `lines`, and `days`: ISO date -> its lines and their checksum."""
    kept = folder / "current.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    return found or {"name": None, "lines": 0, "days": {}}


def read_replayed(spark: SparkSession, folder: Path) -> DataFrame | None:
    """The rows that count now, the columns of REPLAYED_DDL; None if nothing was replayed."""
    name = current(folder)["name"]
    return spark.read.schema(REPLAYED_DDL).parquet(str(folder / name)) if name else None


def write_replayed(rows: DataFrame, folder: Path, name: str) -> dict[str, Any]:
    """Write `rows`, make them the ones that count, and remove those before; give `current`."""
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    rows.repartition("event_date").write.partitionBy("event_date").parquet(str(target))
    days = days_of(rows.sparkSession.read.schema(REPLAYED_DDL).parquet(str(target)))
    made = {
        "name": name,
        "lines": sum(int(day.split(":")[0]) for day in days.values()),
        "days": days,
    }
    replace_text(folder / "current.json", json.dumps(made))
    for other in folder.iterdir():
        if other.is_dir() and other.name != name:
            shutil.rmtree(other)
    return made


def days_of(rows: DataFrame) -> dict[str, str]:
    """Every day that the rows change -> "lines that come:checksum" of all that touches the day."""
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


def bad_rows(landed: DataFrame) -> DataFrame:
    """The bad rows of a landing, each with `bad_row`, which names it."""
    return landed.where(F.col("bad_reason").isNotNull()).withColumn(
        "bad_row", F.xxhash64(*IDENTITY)
    )


def with_replayed(landed: DataFrame, replayed: DataFrame | None) -> DataFrame:
    """Landed rows, those that were replayed good instead of bad."""
    if replayed is None:
        return landed
    still_bad = bad_rows(landed).join(replayed.select("bad_row"), "bad_row", "left_anti")
    return (
        landed.where(F.col("bad_reason").isNull())
        .unionByName(still_bad.drop("bad_row"))
        .unionByName(replayed.drop("bad_row", "bad_event_date"))
    )
