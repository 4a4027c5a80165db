"""Watch the access log live: the course's four tasks, one flag apart.

Reads   access-log lines; from csv, json, orc and parquet the column `value`, or files that
        land_access_log has landed; with rate, generated lines
Writes  to the console, to a table in memory that you can query while it grows, or to any other sink
Run     task 1, every field:      --show parsed --sink console
        task 2, not status 200:   --show unsuccessful --sink console
        task 3, count by status:  --show by-status --sink console --output-mode complete
        visits that have ended:   --show visits --sink console
        task 4, a table to query: --show unsuccessful --sink memory:unsuccess_df --select-every 5
                                  --select "SELECT status, count(*) FROM unsuccess_df GROUP BY 1"
        ./tidemark run watch_access_log --source kafka:access-log --run-seconds 60 …
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from include.errors import InvalidInput
from spark_jobs.streaming import session
from spark_jobs.streaming.access_log_flags import add_request_reader_flags, build_request_reader
from spark_jobs.streaming.arguments import build_watch_parser
from spark_jobs.streaming.combinations import ROWS, TOTALS, WINDOWS
from spark_jobs.streaming.options import parse_stream_options
from spark_jobs.streaming.query_runner import run_query
from spark_jobs.streaming.streams import read_stream
from spark_jobs.transforms.access_log import (
    count_by_status,
    filter_unsuccessful,
    with_event_date,
)
from spark_jobs.transforms.visitors import select_visits as select_visit_rows

JOB = "watch_access_log"
COLUMNS = ["host", "timestamp", "method", "endpoint", "status", "protocol", "content_size"]


def select_fields(requests: DataFrame) -> DataFrame:
    """Task 1: select every field of every line that can be parsed."""
    return requests.select(*COLUMNS)


def select_unsuccessful(requests: DataFrame) -> DataFrame:
    """Tasks 2 and 4: select requests whose status is not 200."""
    return filter_unsuccessful(select_fields(requests))


def count_statuses(requests: DataFrame) -> DataFrame:
    """Task 3: count requests by status."""
    return count_by_status(select_fields(requests))


def select_visits(requests: DataFrame, time_zone: str = "UTC") -> DataFrame:
    """Select each visit when the watermark has passed its end. Visits are defined as in the report.

    Args:
        requests: Parsed requests.
        time_zone: Time zone whose midnight divides visits.
    """
    good = requests.withWatermark("timestamp", "10 minutes")
    visitor_id = F.xxhash64("host", F.coalesce("user_agent", F.lit("")))
    return select_visit_rows(
        with_event_date(good, time_zone).withColumn("visitor_id", visitor_id)
    ).drop("visitor_id")


VIEWS = {
    "parsed": select_fields,
    "unsuccessful": select_unsuccessful,
    "by-status": count_statuses,
    "visits": select_visits,
}


def main(argv: list[str] | None = None) -> None:
    parser = build_watch_parser(__doc__, "append", "every 5 seconds")
    parser.add_argument("--show", default="parsed", choices=VIEWS, help="what to show")
    parser.add_argument(
        "--time-zone", default="UTC", help="time zone whose midnight divides visits"
    )
    add_request_reader_flags(parser)
    args = parser.parse_args(argv)
    query_kind = {"by-status": TOTALS, "visits": WINDOWS}.get(args.show, ROWS)
    if args.show == "visits" and args.output_mode == "update":
        raise InvalidInput(
            "--output-mode update: a visit is written only when it has ended; use append"
        )
    options = parse_stream_options(args, query_kind, exploded_sources=("kafka",))
    read_requests = build_request_reader(args, options.trigger)
    if args.check:
        return
    spark = session.start_session(JOB)
    rows = read_stream(spark, options.source, args, landed_ddl=ACCESS_LOG_DDL)
    requests = read_requests(rows, options.source.kind)
    view_options = {"time_zone": args.time_zone} if args.show == "visits" else {}
    run_query(spark, JOB, VIEWS[args.show](requests, **view_options), options, args, args.show)


if __name__ == "__main__":
    session.run_job(JOB, main)
