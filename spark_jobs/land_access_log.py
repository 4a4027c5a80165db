"""Land the access log: lines from Kafka or files -> files, good and bad lines together.

Reads   raw access-log lines, combined or common format, one or more a Kafka message; from csv,
        json, orc and parquet the column `value`
Writes  <sink>/event_date=YYYY-MM-DD/*, each line once; beside it checkpoint and progress
Run     spark-submit --py-files var/spark_jobs.zip spark_jobs/land_access_log.py \\
            --source kafka:access-log --servers 127.0.0.1:9092 \\
            --sink parquet:var/lake/landing/access_log/kafka/data --trigger available-now
"""

from include.contracts import ACCESS_LOG_DDL
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.combinations import FILE_SINKS, FILE_SOURCES, ROWS
from spark_jobs.runtime.landing import land
from spark_jobs.runtime.words import parse_words
from spark_jobs.transforms.access_log import landed_lines, lines_of
from spark_jobs.transforms.privacy import private, query_names

JOB = "land_access_log"
# A socket cannot be read again after a crash, and rate is for trying things.
SOURCES = ("kafka", *FILE_SOURCES)


def main(argv: list[str] | None = None) -> None:
    parser = stream_arguments(__doc__, "append", "available-now", sources=SOURCES, sinks=FILE_SINKS)
    parser.add_argument("--time-zone", default="UTC", help="zone of event_date's midnight")
    parser.add_argument("--anonymise", type=int, choices=range(4), default=0,
        help="hide the last bits of addresses, as GoAccess's --anonymize-level; 0: nothing")  # fmt: skip
    parser.add_argument("--drop-query-names", type=query_names, default="", metavar="NAME,NAME",
        help="leave these parameters of queries out; *: all")  # fmt: skip
    args = parser.parse_args(argv)
    words = parse_words(args, ROWS, sources=SOURCES, sinks=FILE_SINKS)
    land(
        JOB, words, args, ACCESS_LOG_DDL,
        lambda lines: private(
            landed_lines(lines, args.time_zone), args.anonymise, args.drop_query_names
        ),
        "value STRING", lambda rows: lines_of(rows, words.source.kind),
    )  # fmt: skip


if __name__ == "__main__":
    session.run(JOB, main)
