"""Land the clickstream: click events from Kafka or files -> files, good and bad ones together.

Reads   click events: one a message (--shape rows), or arrays of them (--shape batches); from csv,
        json, orc and parquet the columns Clicks, Impressions, ts, and event_id, campaign if any,
        or what this job has landed
Writes  <sink>/event_date=YYYY-MM-DD/*, each message once; beside it checkpoint and progress
Run     ./tidemark run land_clickstream --source kafka:clickstream \\
            --sink parquet:var/lake/landing/clickstream/kafka/data --trigger available-now
"""

from include.contracts import CLICKSTREAM_DDL
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.combinations import FILE_SINKS, FILE_SOURCES, ROWS
from spark_jobs.runtime.landing import land
from spark_jobs.runtime.losses import loss_argument
from spark_jobs.runtime.stored import data_at_argument
from spark_jobs.runtime.words import parse_words
from spark_jobs.transforms import clickstream

JOB = "land_clickstream"
SOURCES = ("kafka", *FILE_SOURCES)


def main(argv: list[str] | None = None) -> None:
    parser = stream_arguments(__doc__, "append", "available-now", sources=SOURCES, sinks=FILE_SINKS)
    parser.add_argument("--shape", default="rows", choices=clickstream.SHAPES, help="of a message")
    parser.add_argument("--time-zone", default="UTC", help="zone of event_date's midnight")
    loss_argument(parser)
    data_at_argument(parser)
    args = parser.parse_args(argv)
    words = parse_words(args, ROWS, sources=SOURCES, sinks=FILE_SINKS)
    land(
        JOB, words, args, CLICKSTREAM_DDL,
        lambda events: clickstream.landed_clicks(events, args.time_zone), clickstream.COLUMNS,
        lambda rows: clickstream.count_misfits(
            clickstream.parse_clicks(rows, words.source.kind, args.shape)
        ),
        unit="event", shape=args.shape,
    )  # fmt: skip


if __name__ == "__main__":
    session.run(JOB, main)
