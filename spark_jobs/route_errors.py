"""Route server errors as they happen: access-log lines with status 5xx -> a topic of their own.

Reads   access-log lines, one or more a Kafka message
Writes  those with status 5xx to another topic, under the key they came with, at least once
Run     spark-submit --jars $(ls var/jars/connector/*.jar | paste -sd,) \\
            --py-files var/spark_jobs.zip spark_jobs/route_errors.py --servers 127.0.0.1:9092 \\
            --source kafka:access-log --sink kafka:access-log-errors \\
            --checkpoint var/route_errors --trigger "real-time 5 seconds" --run-seconds 60

continuous and real-time answer in milliseconds, and hold a core for each partition of the topic.
A checkpoint belongs to one kind of trigger: micro-batch, continuous or real-time.
"""

from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.streams import read, wait, write_kafka
from spark_jobs.runtime.words import (
    TRIGGERS,
    Refused,
    check_mode,
    parse_sink,
    parse_source,
    parse_trigger,
)
from spark_jobs.transforms.access_log import only_server_errors

JOB = "route_errors"
SOURCES, SINKS = ("kafka",), ("kafka",)


def main() -> None:
    parser = stream_arguments(__doc__, SOURCES, SINKS, "update", "available-now")
    parser.add_argument("--checkpoint", required=True, help="folder that keeps the position")
    args = parser.parse_args()
    source, sink = parse_source(args.source, SOURCES), parse_sink(args.sink, SINKS)
    trigger = parse_trigger(args.trigger, tuple(TRIGGERS))
    check_mode(args.output_mode, sink, aggregates=False)
    if "realTime" in trigger and args.output_mode != "update":
        raise Refused(f"output mode {args.output_mode!r}: the real-time trigger knows only update")
    if args.max_per_trigger and {"realTime", "continuous"} & set(trigger):
        raise Refused(f"--max-per-trigger: trigger {args.trigger!r} has no batches to limit")
    if source.name == sink.name:
        raise Refused(
            f"source and sink are one topic, {sink.name!r}: errors would go round for ever"
        )
    if args.check:
        return

    spark = session.start(JOB)
    errors = only_server_errors(read(spark, source, args))
    wait(write_kafka(errors, sink, args.servers, args.output_mode, trigger, args.checkpoint),
         args.run_seconds)  # fmt: skip
    spark.stop()
    print(f"{JOB}: done; the position is in {args.checkpoint}")  # noqa: T201


if __name__ == "__main__":
    session.run(JOB, main)
