"""Copy the lines of text files to Parquet, unread: what landing is compared with.

A Spark application for bench.speed: `raw_copy.py SOURCE_FOLDER SINK_FOLDER`. Session, sink, partitioning,
trigger and counting are those of land_access_log.
"""

import sys
from pathlib import Path

from pyspark.sql import functions as F

from spark_jobs.landing.folder import count_read_lines
from spark_jobs.streaming import session
from spark_jobs.streaming.streams import FORMAT_OPTIONS


def main() -> None:
    source, sink = sys.argv[1:]
    spark = session.start_session("bench_raw_copy")
    lines = spark.readStream.options(**FORMAT_OPTIONS["text"]).text(source)
    query = (
        count_read_lines(lines)
        .withColumn("event_date", F.lit("2026-01-15").cast("date"))
        .writeStream.format("parquet")
        .partitionBy("event_date")
        .option("checkpointLocation", str(Path(sink) / "checkpoint"))
        .trigger(availableNow=True)
        .start(str(Path(sink) / "data"))
    )
    query.awaitTermination()


if __name__ == "__main__":
    session.run_job("bench_raw_copy", main)
