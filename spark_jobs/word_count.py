"""Count words as they come: lines from a socket, files or Kafka -> a running count.

Reads   lines of text
Writes  word and count, to the console or a table in memory
Run     python -m producers.lines --port 9999 FILE       (in another terminal)
        spark-submit --py-files var/spark_jobs.zip spark_jobs/word_count.py \\
            --source socket:localhost:9999 --sink console --run-seconds 20
"""

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
from spark_jobs.transforms.words import count_words, split_words

JOB = "word_count"
SOURCES, SINKS = ("socket", "text", "kafka"), ("console", "memory")


def main() -> None:
    parser = watch_arguments(__doc__, SOURCES, SINKS, "complete", "every 1 second")
    args = parser.parse_args()
    source, sink = parse_source(args.source, SOURCES), parse_sink(args.sink, SINKS)
    check_mode(args.output_mode, sink, aggregates=True)
    check_select(args.select, sink)
    trigger = parse_trigger(args.trigger)
    if args.check:
        return

    spark = session.start(JOB)
    lines = read(spark, source, args).select(F.col("value").cast("string"))
    counts = count_words(split_words(lines))
    done = watch(spark, counts, sink, trigger, args)
    spark.stop()
    print(f"{JOB}: {done.rows:,} lines in {done.batches} batches")  # noqa: T201


if __name__ == "__main__":
    session.run(JOB, main)
