"""Seconds of text -> Parquet in a warm JVM: a raw copy, seven `regexp_extract`, and our landed row.

A Spark application of its own, for bench.speed: `parse.py FOLDER FILE…` writes FOLDER/parse.json, a
list of `what`, `lines` and `seconds`. Each is done on the first file before it is timed on any.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.runtime import session
from spark_jobs.transforms.access_log import landed_lines, lines_of

SHAPES = {
    "host": r"^(\S+)", "user": r"^\S+ \S+ (\S+)", "time": r"\[([^\]]+)\]",
    "request": r'"([^"]*)" \d{3}', "status": r'" (\d{3}) ', "size": r'" \d{3} (\S+)',
    "user_agent": r'"([^"]*)"$',
}  # fmt: skip


def raw(rows: DataFrame) -> DataFrame:
    return rows.select("value")


def seven(rows: DataFrame) -> DataFrame:
    return rows.select(*[
        F.regexp_extract("value", shape, 1).alias(name) for name, shape in SHAPES.items()
    ])  # fmt: skip


def ours(rows: DataFrame) -> DataFrame:
    return landed_lines(lines_of(rows, "text"), "UTC")


WAYS = {"raw copy": raw, "seven regexp_extract": seven, "landed row": ours}


def main() -> None:
    folder, files = Path(sys.argv[1]), sys.argv[2:]
    spark = session.start("bench_parse")
    found = []
    for name in [files[0], *files]:
        rows = spark.read.option("lineSep", "\n").text(name)
        lines = rows.count()
        for what, way in WAYS.items():
            begun = time.monotonic()
            way(rows).write.parquet(str(folder / "parsed"))
            found.append(
                {"what": what, "lines": lines, "seconds": round(time.monotonic() - begun, 2)}
            )
            shutil.rmtree(folder / "parsed")
    (folder / "parse.json").write_text(json.dumps(found[len(WAYS) :]))


if __name__ == "__main__":
    session.run("bench_parse", main)
