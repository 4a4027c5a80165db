"""Watch the access log live: the course's four tasks, one word apart.

Reads   access-log lines from Kafka, files or a socket
Writes  to the console, or to a table in memory that can be asked while it grows
Run     task 1, every field:      --show parsed --sink console
        task 2, not status 200:   --show unsuccessful --sink console
        task 3, count by status:  --show by-status --sink console --output-mode complete
        task 4, a table to ask:   --show unsuccessful --sink memory:unsuccess_df --select-every 5
                                  --select "SELECT status, count(*) FROM unsuccess_df GROUP BY 1"
        spark-submit --jars $(ls var/jars/connector/*.jar | paste -sd,) \\
            --py-files var/spark_jobs.zip spark_jobs/watch_access_log.py \\
            --source kafka:access-log --servers 127.0.0.1:9092 --run-seconds 60 …
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.runtime import session
from spark_jobs.runtime.streams import read
from spark_jobs.runtime.watching import watch, watch_arguments
from spark_jobs.runtime.words import (
    check_mode,
    check_select,
    parse_sink,
    parse_source,
    parse_trigger,
)
from spark_jobs.transforms.access_log import (
    count_by_status,
    file_lines,
    filter_unsuccessful,
    kafka_lines,
    parse_lines,
)

JOB = "watch_access_log"
SOURCES, SINKS = ("kafka", "text", "socket"), ("console", "memory")
COLUMNS = ["host", "timestamp", "method", "endpoint", "status", "protocol", "content_size"]


def parsed(lines: DataFrame) -> DataFrame:
    """Task 1: every field of every line that can be read."""
    return parse_lines(lines).where("bad_reason IS NULL").select(*COLUMNS)


def unsuccessful(lines: DataFrame) -> DataFrame:
    """Tasks 2 and 4."""
    return filter_unsuccessful(parsed(lines))


def by_status(lines: DataFrame) -> DataFrame:
    """Task 3."""
    return count_by_status(parsed(lines))


def socket_lines(rows: DataFrame) -> DataFrame:
    """A socket's lines come with nothing else."""
    return rows.select(F.col("value").alias("line"))


LINES = {"kafka": kafka_lines, "text": file_lines, "socket": socket_lines}
SHOWS = {"parsed": parsed, "unsuccessful": unsuccessful, "by-status": by_status}


def main() -> None:
    parser = watch_arguments(__doc__, SOURCES, SINKS, "append", "every 5 seconds")
    parser.add_argument("--show", default="parsed", choices=SHOWS, help="what to look at")
    args = parser.parse_args()
    source, sink = parse_source(args.source, SOURCES), parse_sink(args.sink, SINKS)
    check_mode(args.output_mode, sink, aggregates=args.show == "by-status")
    check_select(args.select, sink)
    trigger = parse_trigger(args.trigger)
    if args.check:
        return

    spark = session.start(JOB)
    lines = LINES[source.kind](read(spark, source, args))
    done = watch(spark, SHOWS[args.show](lines), sink, trigger, args)
    spark.stop()
    print(f"{JOB}: {done.rows:,} messages or lines in {done.batches} batches")  # noqa: T201


if __name__ == "__main__":
    session.run(JOB, main)
