"""Land the clickstream: read click events from Kafka or files, write good and bad events to files.

Reads   click events, one per message (--shape rows) or an array of them (--shape batches); from
        csv, json, orc and parquet the columns Clicks, Impressions, ts and, if present, event_id
        and campaign, or rows that this job landed
Writes  <sink>/event_date=YYYY-MM-DD/*, each message once; checkpoint and progress next to the sink
Run     ./tidemark run land_clickstream --source kafka:clickstream \\
            --sink parquet:var/lake/landing/clickstream/kafka/data --trigger available-now
"""

from include.contracts import CLICKSTREAM_DDL
from spark_jobs.landing.data_loss import add_data_loss_flag
from spark_jobs.landing.folder import land_stream
from spark_jobs.landing.storage import add_data_location_flag
from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import build_stream_parser
from spark_jobs.streaming.combinations import FILE_SINKS, FILE_SOURCES, ROWS
from spark_jobs.streaming.options import parse_stream_options
from spark_jobs.transforms import clickstream

JOB = "land_clickstream"
SOURCES = ("kafka", *FILE_SOURCES)


def main(argv: list[str] | None = None) -> None:
    parser = build_stream_parser(
        __doc__, "append", "available-now", sources=SOURCES, sinks=FILE_SINKS
    )
    parser.add_argument(
        "--shape",
        default="rows",
        choices=clickstream.SHAPES,
        help="rows: one event per message; batches: an array of them",
    )
    parser.add_argument("--time-zone", default="UTC", help="time zone of event_date")
    add_data_loss_flag(parser)
    add_data_location_flag(parser)
    args = parser.parse_args(argv)
    options = parse_stream_options(args, ROWS, sources=SOURCES, sinks=FILE_SINKS)
    land_stream(
        JOB,
        options,
        args,
        CLICKSTREAM_DDL,
        lambda events: clickstream.select_landed_clicks(events, args.time_zone),
        clickstream.FILE_DDL,
        lambda rows: clickstream.count_misfits(
            clickstream.parse_clicks(rows, options.source.kind, args.shape)
        ),
        unit="event",
        shape=args.shape,
    )


if __name__ == "__main__":
    session.run_job(JOB, main)
