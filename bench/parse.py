"""Measure text to Parquet in a warm JVM: a raw copy, seven `regexp_extract`, and our landed row.

A Spark application for bench.speed: `parse.py FOLDER FILE…` writes FOLDER/parse.json, a list of
`what`, `lines` and `seconds`. Each method runs once on the first file before it is measured.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.streaming import session
from spark_jobs.transforms.access_log import explode_lines, select_landed_lines

PATTERNS = {
    "host": r"^(\S+)",
    "user": r"^\S+ \S+ (\S+)",
    "time": r"\[([^\]]+)\]",
    "request": r'"([^"]*)" \d{3}',
    "status": r'" (\d{3}) ',
    "size": r'" \d{3} (\S+)',
    "user_agent": r'"([^"]*)"$',
}


def copy_raw(rows: DataFrame) -> DataFrame:
    return rows.select("value")


def extract_fields(rows: DataFrame) -> DataFrame:
    return rows.select(
        *[F.regexp_extract("value", pattern, 1).alias(name) for name, pattern in PATTERNS.items()]
    )


def parse_lines(rows: DataFrame) -> DataFrame:
    return select_landed_lines(explode_lines(rows, "text"), "UTC")


PARSERS = {"raw copy": copy_raw, "seven regexp_extract": extract_fields, "landed row": parse_lines}


def main() -> None:
    folder, files = Path(sys.argv[1]), sys.argv[2:]
    spark = session.start_session("bench_parse")
    results = []
    for name in [files[0], *files]:
        rows = spark.read.option("lineSep", "\n").text(name)
        lines = rows.count()
        for what, parse in PARSERS.items():
            started = time.monotonic()
            parse(rows).write.parquet(str(folder / "parsed"))
            results.append(
                {"what": what, "lines": lines, "seconds": round(time.monotonic() - started, 2)}
            )
            shutil.rmtree(folder / "parsed")
    (folder / "parse.json").write_text(json.dumps(results[len(PARSERS) :]))


if __name__ == "__main__":
    session.run_job("bench_parse", main)
