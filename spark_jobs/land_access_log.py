"""Land the access log: read lines from Kafka or files, write good and bad lines to files.

Reads   raw access-log lines in any format of docs/formats.md, one or more per Kafka message; from
        csv, json, orc and parquet the column `value`, or rows that this job landed
Writes  <sink>/event_date=YYYY-MM-DD/*, each line once, and the producers' heartbeats; checkpoint
        and progress next to the sink
Run     ./tidemark run land_access_log --source kafka:access-log \\
            --sink parquet:var/lake/landing/access_log/kafka/data --trigger available-now
"""

from include.contracts import ACCESS_LOG_DDL
from spark_jobs.landing.data_loss import add_data_loss_flag
from spark_jobs.landing.folder import land_stream
from spark_jobs.landing.storage import add_data_location_flag
from spark_jobs.streaming import session
from spark_jobs.streaming.access_log_flags import add_line_reader_flags, build_line_reader
from spark_jobs.streaming.arguments import build_stream_parser
from spark_jobs.streaming.combinations import FILE_SINKS, FILE_SOURCES, ROWS
from spark_jobs.streaming.options import parse_stream_options
from spark_jobs.transforms.access_log import IS_LINE, count_lines, select_lines

JOB = "land_access_log"
# No socket: it cannot be read again after a crash. No rate: it generates test data.
SOURCES = ("kafka", *FILE_SOURCES)


def main(argv: list[str] | None = None) -> None:
    parser = build_stream_parser(
        __doc__, "append", "available-now", sources=SOURCES, sinks=FILE_SINKS
    )
    add_line_reader_flags(parser)
    add_data_loss_flag(parser)
    add_data_location_flag(parser)
    args = parser.parse_args(argv)
    options = parse_stream_options(args, ROWS, sources=SOURCES, sinks=FILE_SINKS)
    land_stream(
        JOB,
        options,
        args,
        ACCESS_LOG_DDL,
        build_line_reader(args),
        "value STRING",
        lambda rows: select_lines(rows, options.source.kind),
        line_count=lambda lines: count_lines(lines, options.source.kind),
        is_line=IS_LINE,
    )


if __name__ == "__main__":
    session.run_job(JOB, main)
