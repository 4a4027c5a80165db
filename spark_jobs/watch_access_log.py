"""Watch the access log live: the course's four tasks, one word apart.

Reads   access-log lines; from csv, json, orc and parquet the column `value`, or what
        land_access_log has landed; rate makes them up
Writes  to the console, to a table in memory that can be asked while it grows, or anywhere else
Run     task 1, every field:      --show parsed --sink console
        task 2, not status 200:   --show unsuccessful --sink console
        task 3, count by status:  --show by-status --sink console --output-mode complete
        visits, when they ended:  --show visits --sink console
        task 4, a table to ask:   --show unsuccessful --sink memory:unsuccess_df --select-every 5
                                  --select "SELECT status, count(*) FROM unsuccess_df GROUP BY 1"
        ./tidemark run watch_access_log --source kafka:access-log --run-seconds 60 …
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import watch_arguments
from spark_jobs.runtime.combinations import ROWS, TOTALS, WINDOWS
from spark_jobs.runtime.parsing import add_reading, requests_reader
from spark_jobs.runtime.running import run_query
from spark_jobs.runtime.streams import read
from spark_jobs.runtime.words import Refused, parse_words
from spark_jobs.transforms.access_log import (
    count_by_status,
    filter_unsuccessful,
    with_event_date,
)
from spark_jobs.transforms.visitors import visits_of

JOB = "watch_access_log"
COLUMNS = ["host", "timestamp", "method", "endpoint", "status", "protocol", "content_size"]


def parsed(requests: DataFrame) -> DataFrame:
    """Task 1: every field of every line that can be read."""
    return requests.select(*COLUMNS)


def unsuccessful(requests: DataFrame) -> DataFrame:
    """Tasks 2 and 4."""
    return filter_unsuccessful(parsed(requests))


def by_status(requests: DataFrame) -> DataFrame:
    """Task 3."""
    return count_by_status(parsed(requests))


def visits(requests: DataFrame, time_zone: str = "UTC") -> DataFrame:
    """Each visit, once the watermark says that nothing can be added to it: as the report counts them."""
    good = requests.withWatermark("timestamp", "10 minutes")
    pair = F.xxhash64("host", F.coalesce("user_agent", F.lit("")))
    return visits_of(with_event_date(good, time_zone).withColumn("pair", pair)).drop("pair")


SHOWS = {"parsed": parsed, "unsuccessful": unsuccessful, "by-status": by_status, "visits": visits}


def main(argv: list[str] | None = None) -> None:
    parser = watch_arguments(__doc__, "append", "every 5 seconds")
    parser.add_argument("--show", default="parsed", choices=SHOWS, help="what to look at")
    parser.add_argument("--time-zone", default="UTC", help="zone of the midnight that parts visits")
    add_reading(parser)
    args = parser.parse_args(argv)
    query = {"by-status": TOTALS, "visits": WINDOWS}.get(args.show, ROWS)
    if args.show == "visits" and args.output_mode == "update":
        raise Refused("--output-mode update: a visit is given when it has ended; use append")
    words, read_requests = parse_words(args, query, explodes=("kafka",)), requests_reader(args)
    if args.check:
        return
    spark = session.start(JOB)
    rows = read(spark, words.source, args, landed=ACCESS_LOG_DDL)
    requests = read_requests(rows, words.source.kind)
    zone = {"time_zone": args.time_zone} if args.show == "visits" else {}
    run_query(spark, JOB, SHOWS[args.show](requests, **zone), words, args, args.show)


if __name__ == "__main__":
    session.run(JOB, main)
