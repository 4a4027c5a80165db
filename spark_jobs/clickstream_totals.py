"""Total the clickstream by minute: click events -> impressions a minute.

Reads   click events: one per message (--shape rows), arrays of them (--shape batches), or files that
        land_clickstream has landed
Writes  minute_bin and `Total Impressions`
Run     ./tidemark run clickstream_totals --source kafka:clickstream \\
            --sink memory:impressions_minute_bin --trigger available-now
"""

import re

from include.contracts import CLICKSTREAM_DDL
from include.errors import InvalidInput
from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import build_watch_parser
from spark_jobs.streaming.combinations import TOTALS, WINDOWS
from spark_jobs.streaming.options import parse_stream_options
from spark_jobs.streaming.query_runner import run_query
from spark_jobs.streaming.streams import read_stream
from spark_jobs.transforms import clickstream

JOB = "clickstream_totals"


def main(argv: list[str] | None = None) -> None:
    parser = build_watch_parser(__doc__, "complete", "every 5 seconds")
    parser.add_argument(
        "--shape",
        default="rows",
        choices=clickstream.SHAPES,
        help="rows: one event per message; batches: an array of events",
    )
    parser.add_argument(
        "--by",
        default="minute",
        choices=["minute", "window"],
        help="minute: minute of the hour, as in the course; window: each minute of each hour",
    )
    parser.add_argument(
        "--watermark", default="10 minutes", help="how late an event may arrive, with --by window"
    )
    args = parser.parse_args(argv)
    if not re.fullmatch(r"[1-9]\d* (second|minute|hour|day)s?", args.watermark):
        raise InvalidInput(
            f"--watermark {args.watermark!r}: expected seconds, minutes, hours or days such as 10 minutes"
        )
    options = parse_stream_options(args, WINDOWS if args.by == "window" else TOTALS)
    if args.check:
        return
    spark = session.start_session(JOB)
    rows = read_stream(
        spark, options.source, args, clickstream.FILE_DDL, landed_ddl=CLICKSTREAM_DDL
    )
    parsed = clickstream.parse_clicks(rows, options.source.kind, args.shape)
    events = clickstream.count_misfits(clickstream.count_good_and_bad(parsed))
    if args.by == "minute":
        totals = clickstream.total_by_minute(events)
    else:
        totals = clickstream.total_by_window(events, args.watermark)
    run_query(spark, JOB, totals, options, args, f"{args.shape}, by {args.by}")


if __name__ == "__main__":
    session.run_job(JOB, main)
