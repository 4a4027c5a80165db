"""Re-parse the bad lines of the access log with the current parser and settings.

Reads   landed access-log rows (land_access_log)
Writes  <landing>/replayed/, the rows of the lines that can be parsed now (not with --dry-run);
        <report>.json, totals by reason and the days that change; <report>.csv, every bad line
Run     ./tidemark run replay_bad_lines --source parquet:var/lake/landing/access_log/kafka/data \\
            --dry-run --report var/bad-lines
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, BAD_REASONS, FORMULA_PREFIXES, MAX_RAW_CHARACTERS
from include.errors import InvalidInput
from include.flag_values import parse_folder_endpoint
from include.lake.files import open_replacement, replace_file
from include.log_formats.line_batches import LINEAGE_COLUMNS
from spark_jobs.landing.folder import Landing, read_landing
from spark_jobs.landing.reparsed import (
    BAD_ROW_KEY,
    checksum_days,
    filter_bad_rows,
    write_reparsed_rows,
)
from spark_jobs.streaming import session
from spark_jobs.streaming.access_log_flags import add_line_reader_flags, build_line_reader
from spark_jobs.streaming.arguments import add_boolean_flag, build_parser
from spark_jobs.streaming.locks import folder_lock

JOB = "replay_bad_lines"
SAMPLES = 3
MAX_CSV_ROWS = 100_000
EXTRA_COLUMNS = ("bad_row", "bad_event_date")


def main(argv: list[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--source", required=True, help="parquet:DIR, a landing's data folder")
    add_line_reader_flags(parser)
    add_boolean_flag(parser, "--dry-run", "show what would be re-parsed and change nothing")
    parser.add_argument(
        "--report", required=True, help="PATH: writes the report to PATH.json and PATH.csv"
    )
    parser.add_argument("--run-id", default="by-hand", help="name of this run")
    args = parser.parse_args(argv)
    source = parse_folder_endpoint("--source", args.source, "parquet")
    landing = Landing(source, ACCESS_LOG_DDL)
    report_path = Path(args.report).absolute()

    spark = session.start_session(JOB)
    landed = read_landing(spark, landing.data, ACCESS_LOG_DDL)
    bad = filter_bad_rows(landed).persist()
    readable = reparse_bad_rows(bad, build_line_reader(args, EXTRA_COLUMNS)).persist()
    previous, days = landing.files.read_current_reparse(), checksum_days(readable)
    report = reparse_summary(bad, readable) | {
        "landing": str(landing.folder),
        "run": args.run_id,
        "lines_before": previous["lines"],
        "days": sorted(
            day for day in {*days, *previous["days"]} if days.get(day) != previous["days"].get(day)
        ),
    }
    if not args.dry_run and report["days"]:
        with folder_lock(landing.folder, JOB, args.run_id):
            current = write_reparsed_rows(
                readable, landing.files, f"replay-{_next_reparse_number(previous['name'])}"
            )
        if current["days"] != days:
            raise InvalidInput(
                f"{landing.files.reparsed}: expected the re-parsed days {days}, but {current['days']} were "
                "written. This is a bug, please report it"
            )
    _write_csv(bad, readable, report_path.with_name(f"{report_path.name}.csv"))
    replace_file(
        report_path.with_name(f"{report_path.name}.json"),
        json.dumps(report, indent=1, ensure_ascii=False),
    )
    status = "can be re-parsed" if args.dry_run else "are re-parsed"
    status += "" if args.dry_run or report["days"] else " (unchanged)"
    print(  # noqa: T201
        f"{JOB}: {report['readable']:,} of {report['bad']:,} bad lines {status}, "
        f"{previous['lines']:,} before this run; days that change: {', '.join(report['days']) or 'none'}"
    )


def reparse_bad_rows(bad: DataFrame, reader: Callable[[DataFrame], DataFrame]) -> DataFrame:
    """Parse bad rows again, and return those that are good now.

    A line that was truncated when it was landed stays bad, because the rest of it is lost. A line from the
    far future stays bad, because the fault is in a clock, not in the parser.

    Args:
        bad: Bad rows with the landed columns and `bad_row`, see `filter_bad_rows`.
        reader: Reads a DataFrame of lines, see `build_line_reader`.

    Returns:
        The good rows, with the columns of REPARSED_DDL.
    """
    is_whole = (F.length("raw") < MAX_RAW_CHARACTERS) & (F.col("bad_reason") != "far_future")
    lines = bad.where(is_whole).select(
        "bad_row",
        F.col("event_date").alias("bad_event_date"),
        F.col("raw").cast("binary").alias("line"),
        *LINEAGE_COLUMNS,
        F.lit(None).cast("timestamp").alias("arrived"),
    )
    return reader(lines).where(F.col("bad_reason").isNull())


def reparse_summary(bad: DataFrame, readable: DataFrame) -> dict[str, Any]:
    """Count the bad rows, and how many of them can be parsed now, in total and by reason.

    Args:
        bad: All bad rows, with `bad_row`.
        readable: The rows that can be parsed now, with `bad_row`.

    Returns:
        `bad` and `readable` (total counts), and `reasons`: a list with `bad_reason`, both counts, samples of
        lines that can be parsed `now` and `still` cannot, and `says` (a description of the reason).
    """
    marked = _with_readable(bad, readable)
    rows = (
        marked.groupBy("bad_reason")
        .agg(
            F.count(F.lit(1)).alias("bad"),
            F.count_if("readable").alias("readable"),
            F.slice(
                F.sort_array(F.collect_set(F.when(F.col("readable"), F.substring("raw", 1, 200)))),
                1,
                SAMPLES,
            ).alias("now"),
            F.slice(
                F.sort_array(F.collect_set(F.when(~F.col("readable"), F.substring("raw", 1, 200)))),
                1,
                SAMPLES,
            ).alias("still"),
        )
        .orderBy(F.desc("bad"), "bad_reason")
        .collect()
    )
    reasons = [row.asDict() | {"description": BAD_REASONS.get(row.bad_reason, "")} for row in rows]
    return {
        "bad": sum(row.bad for row in rows),
        "readable": sum(row.readable for row in rows),
        "reasons": reasons,
    }


def _with_readable(bad: DataFrame, readable: DataFrame) -> DataFrame:
    readable_keys = readable.select("bad_row", F.lit(True).alias("readable")).distinct()
    return bad.join(readable_keys, "bad_row", "left").withColumn(
        "readable", F.coalesce("readable", F.lit(False))
    )


def _write_csv(bad: DataFrame, readable: DataFrame, path: Path) -> None:
    columns = ["event_date", "bad_reason", "readable", *BAD_ROW_KEY]
    rows = _with_readable(bad, readable).select(*columns).orderBy("event_date", "bad_reason", "raw")
    with open_replacement(
        path, "w", newline="", encoding="utf-8", errors="backslashreplace"
    ) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows.limit(MAX_CSV_ROWS).toLocalIterator():
            writer.writerow([_escape_cell(value) for value in row])


def _escape_cell(value: Any) -> Any:
    # As in the reports: a spreadsheet must not take a cell for a formula.
    is_formula = isinstance(value, str) and value[:1] in FORMULA_PREFIXES
    return f"'{value}" if is_formula else value


def _next_reparse_number(name: str | None) -> int:
    return int(name.rpartition("-")[2]) + 1 if name else 1


if __name__ == "__main__":
    session.run_job(JOB, main)
