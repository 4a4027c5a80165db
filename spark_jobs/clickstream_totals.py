"""Total the clickstream by minute: click events from Kafka or files -> impressions a minute.

Reads   click events: one a message (--shape rows), or arrays of them (--shape batches)
Writes  minute_bin and `Total Impressions`, to the console or a table in memory
Run     spark-submit --jars $(ls var/jars/connector/*.jar | paste -sd,) \\
            --py-files var/spark_jobs.zip spark_jobs/clickstream_totals.py \\
            --source kafka:clickstream --servers 127.0.0.1:9092 \\
            --sink memory:impressions_minute_bin --trigger available-now
"""

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
from spark_jobs.transforms import clickstream

JOB = "clickstream_totals"
SOURCES, SINKS = ("kafka", "text"), ("console", "memory")
TOTALS = {"minute": clickstream.total_by_minute, "window": clickstream.total_by_window}


def main() -> None:
    parser = watch_arguments(__doc__, SOURCES, SINKS, "complete", "every 5 seconds")
    parser.add_argument("--shape", default="rows", choices=clickstream.SHAPES, help="of a message")
    parser.add_argument(
        "--by", default="minute", choices=TOTALS,
        help="minute: of the hour, as in the course; window: each minute of each hour",
    )  # fmt: skip
    args = parser.parse_args()
    source, sink = parse_source(args.source, SOURCES), parse_sink(args.sink, SINKS)
    check_mode(args.output_mode, sink, aggregates=True)
    check_select(args.select, sink)
    trigger = parse_trigger(args.trigger)
    if args.check:
        return

    spark = session.start(JOB)
    events = clickstream.count_bad(clickstream.parse_clicks(read(spark, source, args), args.shape))
    done = watch(spark, TOTALS[args.by](events), sink, trigger, args)
    spark.stop()
    good, bad = done.observed.get("good", 0), done.observed.get("bad", 0)
    print(f"{JOB}: {done.rows:,} messages, {good:,} good events, {bad:,} bad")  # noqa: T201


if __name__ == "__main__":
    session.run(JOB, main)
