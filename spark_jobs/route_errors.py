"""Route server errors as they happen: access-log lines with status 5xx -> a topic of their own.

Reads   access-log lines, one or more a message
Writes  those with status 5xx, under the key they came with; to another topic at least once
Run     ./tidemark run route_errors --source kafka:access-log --sink kafka:access-log-errors \\
            --checkpoint var/route_errors --trigger "real-time 5 seconds" --run-seconds 60

continuous and real-time answer in milliseconds, and hold a core for each partition of the topic.
A checkpoint belongs to one kind of trigger: micro-batch, continuous or real-time.
"""

from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import watch_arguments
from spark_jobs.runtime.combinations import ROWS
from spark_jobs.runtime.parsing import known_formats, log_format_argument
from spark_jobs.runtime.running import run_query
from spark_jobs.runtime.streams import read
from spark_jobs.runtime.words import parse_words
from spark_jobs.transforms.access_log import messages_of, only_server_errors

JOB = "route_errors"


def main(argv: list[str] | None = None) -> None:
    parser = watch_arguments(__doc__, "update", "available-now")
    log_format_argument(parser)
    args = parser.parse_args(argv)
    words = parse_words(args, ROWS)
    known_formats(args.log_format, None)
    if args.check:
        return
    spark = session.start(JOB)
    messages = messages_of(read(spark, words.source, args), words.source.kind)
    run_query(spark, JOB, only_server_errors(messages, args.log_format), words, args)


if __name__ == "__main__":
    session.run(JOB, main)
