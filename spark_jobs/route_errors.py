"""Route server errors as they happen: access-log lines with status 5xx -> a topic of their own.

Reads   access-log lines, one or more per message
Writes  the lines with status 5xx, with the key of their message; to a topic at least once
Run     ./tidemark run route_errors --source kafka:access-log --sink kafka:access-log-errors \\
            --checkpoint var/route_errors --trigger "real-time 5 seconds" --run-seconds 60

With the continuous and real-time triggers a line takes milliseconds. They hold a core for each
partition of the topic, and read common and combined lines only.
A checkpoint belongs to one kind of trigger: micro-batch, continuous or real-time.
"""

from spark_jobs.streaming import session
from spark_jobs.streaming.access_log_flags import add_log_format_flag, check_log_format
from spark_jobs.streaming.arguments import build_watch_parser
from spark_jobs.streaming.combinations import ROWS, runs_no_python
from spark_jobs.streaming.options import parse_stream_options
from spark_jobs.streaming.query_runner import run_query
from spark_jobs.streaming.streams import read_stream
from spark_jobs.transforms.access_log import select_messages, select_server_errors
from spark_jobs.transforms.common_log import select_common_server_errors

JOB = "route_errors"


def main(argv: list[str] | None = None) -> None:
    parser = build_watch_parser(__doc__, "update", "available-now")
    add_log_format_flag(parser)
    args = parser.parse_args(argv)
    options = parse_stream_options(args, ROWS)
    check_log_format(args.log_format, options.trigger)
    if args.check:
        return
    spark = session.start_session(JOB)
    messages = select_messages(read_stream(spark, options.source, args), options.source.kind)
    if runs_no_python(options.trigger.kind):
        errors = select_common_server_errors(messages)
    else:
        errors = select_server_errors(messages, args.log_format)
    run_query(spark, JOB, errors, options, args)


if __name__ == "__main__":
    session.run_job(JOB, main)
