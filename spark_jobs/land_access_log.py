"""Land the access log: lines from Kafka or files -> files, good and bad lines together.

Reads   raw access-log lines in any format of docs/formats.md, one or more a Kafka message; from
        csv, json, orc and parquet the column `value`
Writes  <sink>/event_date=YYYY-MM-DD/*, each line once; beside it checkpoint and progress
Run     spark-submit --py-files var/spark_jobs.zip spark_jobs/land_access_log.py \\
            --source kafka:access-log --servers 127.0.0.1:9092 \\
            --sink parquet:var/lake/landing/access_log/kafka/data --trigger available-now
"""

import json
from pathlib import Path

from include.contracts import ACCESS_LOG_DDL
from include.log_formats import compile_log_format, compile_w3c
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import stream_arguments
from spark_jobs.runtime.combinations import FILE_SINKS, FILE_SOURCES, ROWS
from spark_jobs.runtime.landing import land
from spark_jobs.runtime.words import Refused, parse_words
from spark_jobs.transforms.access_log import landed_lines, lines_of

JOB = "land_access_log"
# A socket cannot be read again after a crash, and rate is for trying things.
SOURCES = ("kafka", *FILE_SOURCES)


def main(argv: list[str] | None = None) -> None:
    parser = stream_arguments(__doc__, "append", "available-now", sources=SOURCES, sinks=FILE_SINKS)
    parser.add_argument("--time-zone", default="UTC", help="zone of event_date's midnight")
    parser.add_argument("--log-format", default="", metavar="STRING",
                        help="Apache LogFormat of the lines, tried before the formats that are "
                        "recognised")  # fmt: skip
    parser.add_argument("--w3c-fields", metavar="FILE",
                        help="what the inbox found out about W3C files; may be missing")  # fmt: skip
    args = parser.parse_args(argv)
    words = parse_words(args, ROWS, sources=SOURCES, sinks=FILE_SINKS)
    w3c = known_formats(args.log_format, args.w3c_fields)
    land(
        JOB, words, args, ACCESS_LOG_DDL,
        lambda lines: landed_lines(lines, args.time_zone, args.log_format, w3c),
        "value STRING", lambda rows: lines_of(rows, words.source.kind),
    )  # fmt: skip


def known_formats(log_format: str, w3c_fields: str | None) -> dict[str, str]:
    """The fields of W3C files by their id; Refused if these, or the LogFormat, cannot be read."""
    try:
        if log_format:
            compile_log_format(log_format)
    except ValueError as why:
        raise Refused(f"--log-format {log_format!r}: {why}") from None
    file = Path(w3c_fields or "")
    if not file.is_file():
        return {}
    try:
        known: dict[str, str] = json.loads(file.read_text())
        for fields in known.values():
            compile_w3c(fields)
    except (ValueError, AttributeError) as why:
        raise Refused(
            f"{file}: {why}; expected W3C fields by their id, as the inbox writes them"
        ) from None
    return known


if __name__ == "__main__":
    session.run(JOB, main)
