"""Count words as they come: lines from a socket, files or Kafka -> a running count.

Reads   lines of text
Writes  word and count, to the console or a table in memory
Run     python -m producers.lines --port 9999 FILE       (in another terminal)
        spark-submit --py-files var/spark_jobs.zip spark_jobs/word_count.py \\
            --source socket:localhost:9999 --sink console --run-seconds 20
"""

from pyspark.sql import functions as F

from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.streams import read_kafka, read_socket, read_text
from spark_jobs.runtime.watching import watch
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
    parser = stream_arguments(__doc__, SOURCES, SINKS, "complete", "every 1 second")
    parser.add_argument("--checkpoint", help="folder to go on from; default: begin anew")
    parser.add_argument("--select", help="SQL to show at the end, on a memory sink's table")
    args = parser.parse_args()
    source, sink = parse_source(args.source, SOURCES), parse_sink(args.sink, SINKS)
    check_mode(args.output_mode, sink, aggregates=True)
    check_select(args.select, sink)
    trigger = parse_trigger(args.trigger)
    if args.check:
        return

    spark = session.start(JOB)
    if source.kind == "socket":
        lines = read_socket(spark, source)
    elif source.kind == "text":
        lines = read_text(spark, source, args.max_per_trigger)
    else:
        messages = read_kafka(spark, source, args.servers, args.max_per_trigger)
        lines = messages.select(F.col("value").cast("string"))
    counts = count_words(split_words(lines))
    done = watch(spark, counts, sink, args.output_mode, trigger, args.run_seconds,
                 args.checkpoint, args.select)  # fmt: skip
    spark.stop()
    print(f"{JOB}: {done.rows:,} lines in {done.batches} batches")  # noqa: T201


if __name__ == "__main__":
    session.run(JOB, main)
