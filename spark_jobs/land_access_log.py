"""Land the access log: lines from Kafka or files -> Parquet, good and bad lines together.

Reads   raw access-log lines, combined or common format, one or more a Kafka message
Writes  <sink>/event_date=YYYY-MM-DD/*.parquet, each line once; beside it checkpoint and progress
Run     spark-submit --py-files var/spark_jobs.zip spark_jobs/land_access_log.py \\
            --source kafka:access-log --servers 127.0.0.1:9092 \\
            --sink parquet:var/lake/landing/access_log/kafka/data --trigger available-now
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.landing import (
    Landing,
    Recorder,
    count_landed,
    count_read,
    manifest,
    replace_text,
)
from spark_jobs.runtime.streams import read, wait, write_parquet
from spark_jobs.runtime.words import check_mode, parse_sink, parse_source, parse_trigger
from spark_jobs.transforms.access_log import file_lines, kafka_lines, landed_lines

JOB = "land_access_log"
LINES = {"kafka": kafka_lines, "text": file_lines}
SOURCES, SINKS = tuple(LINES), ("parquet",)


def main() -> None:
    parser = stream_arguments(__doc__, SOURCES, SINKS, "append", "available-now")
    parser.add_argument("--time-zone", default="UTC", help="zone of event_date's midnight")
    parser.add_argument("--run-id", default="by-hand", help="name of this run in the manifest")
    parser.add_argument("--manifest", help="file to write what this run landed to (JSON)")
    args = parser.parse_args()
    source, sink = parse_source(args.source, SOURCES), parse_sink(args.sink, SINKS)
    check_mode(args.output_mode, sink, aggregates=False)
    trigger, landing, started = parse_trigger(args.trigger), Landing(sink), time.monotonic()
    if args.check:
        return

    with landing.locked(JOB, source, args.run_id):
        spark = session.start(JOB)
        lines = LINES[source.kind](read(spark, source, args))
        rows = count_landed(landed_lines(count_read(lines), args.time_zone))
        recorder = Recorder(landing, args.run_id)
        spark.streams.addListener(recorder)
        wait(write_parquet(rows, landing.data, landing.checkpoint, trigger), args.run_seconds)
        recorder.wait()
        landing.recount(spark, args.run_id)
        landed = manifest(landing, args.run_id, {
            "job": JOB, "source": str(source), "sink": str(sink), "trigger": args.trigger,
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "spark_version": spark.version,
        })  # fmt: skip
        if args.manifest:
            replace_text(Path(args.manifest), json.dumps(landed, indent=1))
        spark.stop()
    print(  # noqa: T201
        f"{JOB}: read {landed['read']:,} lines = {landed['good']:,} good + {landed['bad']:,} bad, "
        f"in {len(landed['batches'])} batches; days: {', '.join(landed['days']) or 'none'}"
    )


if __name__ == "__main__":
    session.run(JOB, main)
