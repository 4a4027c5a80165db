"""Total the clickstream by minute: click events -> impressions a minute.

Reads   click events: one a message (--shape rows), or arrays of them (--shape batches), or what
        land_clickstream has landed
Writes  minute_bin and `Total Impressions`
Run     ./tidemark run clickstream_totals --source kafka:clickstream \\
            --sink memory:impressions_minute_bin --trigger available-now
"""

import re

from include.contracts import CLICKSTREAM_DDL
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import watch_arguments
from spark_jobs.runtime.combinations import TOTALS, WINDOWS
from spark_jobs.runtime.running import run_query
from spark_jobs.runtime.streams import read
from spark_jobs.runtime.words import Refused, parse_words
from spark_jobs.transforms import clickstream

JOB = "clickstream_totals"


def main(argv: list[str] | None = None) -> None:
    parser = watch_arguments(__doc__, "complete", "every 5 seconds")
    parser.add_argument("--shape", default="rows", choices=clickstream.SHAPES, help="of a message")
    parser.add_argument(
        "--by", default="minute", choices=["minute", "window"],
        help="minute: of the hour, as in the course; window: each minute of each hour",
    )  # fmt: skip
    parser.add_argument(
        "--watermark", default="10 minutes", help="how late an event may come, with --by window"
    )
    args = parser.parse_args(argv)
    if not re.fullmatch(r"[1-9]\d* (second|minute|hour|day)s?", args.watermark):
        raise Refused(f"--watermark {args.watermark!r}: expected a time such as 10 minutes")
    words = parse_words(args, WINDOWS if args.by == "window" else TOTALS)
    if args.check:
        return
    spark = session.start(JOB)
    rows = read(spark, words.source, args, clickstream.COLUMNS, landed=CLICKSTREAM_DDL)
    parsed = clickstream.parse_clicks(rows, words.source.kind, args.shape)
    events = clickstream.count_misfits(clickstream.count_good(parsed))
    if args.by == "minute":
        totals = clickstream.total_by_minute(events)
    else:
        totals = clickstream.total_by_window(events, args.watermark)
    run_query(spark, JOB, totals, words, args, f"{args.shape}, by {args.by}")


if __name__ == "__main__":
    session.run(JOB, main)
