"""Land the access log: lines from Kafka or files -> files, good and bad lines together.

Reads   raw access-log lines in any format of docs/formats.md, one or more a Kafka message; from
        csv, json, orc and parquet the column `value`, or what this job has landed
Writes  <sink>/event_date=YYYY-MM-DD/*, each line once, and heartbeats of producers; beside it
        checkpoint and progress
Run     ./tidemark run land_access_log --source kafka:access-log \\
            --sink parquet:var/lake/landing/access_log/kafka/data --trigger available-now
"""

from include.contracts import ACCESS_LOG_DDL
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.combinations import FILE_SINKS, FILE_SOURCES, ROWS
from spark_jobs.runtime.landing import land
from spark_jobs.runtime.losses import loss_argument
from spark_jobs.runtime.parsing import add_parsing, lines_reader
from spark_jobs.runtime.stored import data_at_argument
from spark_jobs.runtime.words import parse_words
from spark_jobs.transforms.access_log import LINES, arrivals_of

JOB = "land_access_log"
# A socket cannot be read again after a crash, and rate is for trying things.
SOURCES = ("kafka", *FILE_SOURCES)


def main(argv: list[str] | None = None) -> None:
    parser = stream_arguments(__doc__, "append", "available-now", sources=SOURCES, sinks=FILE_SINKS)
    add_parsing(parser)
    loss_argument(parser)
    data_at_argument(parser)
    args = parser.parse_args(argv)
    words = parse_words(args, ROWS, sources=SOURCES, sinks=FILE_SINKS)
    land(
        JOB, words, args, ACCESS_LOG_DDL, lines_reader(args), "value STRING",
        lambda rows: arrivals_of(rows, words.source.kind), LINES,
    )  # fmt: skip


if __name__ == "__main__":
    session.run(JOB, main)
