"""Read the bad lines of the access log again, with the parser and the settings of now.

Reads   landed access-log rows (land_access_log)
Writes  <landing>/replayed/, the lines that can be read now; with --look only what would come:
        <report>.json, totals by reason and day, and <report>.csv, every bad line
Run     ./tidemark run replay_bad_lines --source parquet:var/lake/landing/access_log/kafka/data \\
            --look --report var/bad-lines
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL, BAD_REASONS, FORMULA_BEGINS, MAX_RAW_CHARACTERS
from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import arguments
from spark_jobs.runtime.claims import held, replace_text
from spark_jobs.runtime.landing import Landing, read_landing
from spark_jobs.runtime.parsing import add_parsing, lines_reader
from spark_jobs.runtime.replayed import IDENTITY, bad_rows, current, days_of, write_replayed
from spark_jobs.runtime.words import Place, Refused

JOB = "replay_bad_lines"
SAMPLES = 3
MOST_IN_CSV = 100_000
PLACE = ("line_id", "topic", "partition", "offset", "file")


def main(argv: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--source", required=True, help="parquet:DIR, a landing's data folder")
    add_parsing(parser)
    parser.add_argument(
        "--look", action="store_true", help="change nothing, only say what would come"
    )
    parser.add_argument("--report", required=True, help="PATH of PATH.json and PATH.csv")
    parser.add_argument("--run-id", default="by-hand", help="name of this run")
    args = parser.parse_args(argv)
    kind, _, name = args.source.partition(":")
    if kind != "parquet" or not name:
        raise Refused(f"{args.source!r} is not understood; use parquet:DIR")
    landing, report = Landing(Place(kind, name), ACCESS_LOG_DDL), Path(args.report).absolute()

    spark = session.start(JOB)
    landed = read_landing(spark, landing.data, ACCESS_LOG_DDL)
    bad = bad_rows(landed).persist()
    readable = readable_now(bad, lines_reader(args)).persist()
    folder = landing.folder / "replayed"
    before, days = current(folder), days_of(readable)
    told = told_of(bad, readable) | {
        "landing": str(landing.folder), "run": args.run_id, "lines_before": before["lines"],
        "days": sorted(day for day in {*days, *before["days"]}
                       if days.get(day) != before["days"].get(day)),
    }  # fmt: skip
    if not args.look and told["days"]:
        with held(landing.folder, JOB, args.run_id):
            made = write_replayed(readable, folder, f"replay-{_next(before['name'])}")
        if made["days"] != days:
            raise Refused(f"{folder}: {days} were to come, {made['days']} came; please report this")
    _write_csv(bad, readable, report.with_name(f"{report.name}.csv"))
    replace_text(
        report.with_name(f"{report.name}.json"), json.dumps(told, indent=1, ensure_ascii=False)
    )
    verb = "can be read now" if args.look else "were replayed" if told["days"] else "stay replayed"
    print(  # noqa: T201
        f"{JOB}: of {told['bad']:,} bad lines {told['readable']:,} {verb} "
        f"({before['lines']:,} before); days that change: {', '.join(told['days']) or 'none'}"
    )


def readable_now(bad: DataFrame, reader: Callable[..., DataFrame]) -> DataFrame:
    """Bad rows (`bad_row` beside the landed columns) -> the good rows that some of them make now.

    What was cut when it was landed is no line any more, and stays bad; so does what came from the
    future: no parser mends a clock.
    """
    is_whole = (F.length("raw") < MAX_RAW_CHARACTERS) & (F.col("bad_reason") != "far_future")
    lines = bad.where(is_whole).select(
        "bad_row", F.col("event_date").alias("bad_event_date"), F.col("raw").alias("line"), *PLACE
    )
    parsed = reader(lines, keep=("bad_row", "bad_event_date"))
    return parsed.where(F.col("bad_reason").isNull())


def told_of(bad: DataFrame, readable: DataFrame) -> dict[str, Any]:
    """Totals: `bad`, `readable`, and `reasons`: each with both numbers and samples of the rest."""
    marked = _marked(bad, readable)
    rows = (
        marked.groupBy("bad_reason")
        .agg(
            F.count(F.lit(1)).alias("bad"),
            F.count_if("readable").alias("readable"),
            F.slice(F.sort_array(F.collect_set(
                F.when(F.col("readable"), F.substring("raw", 1, 200)))), 1, SAMPLES).alias("now"),
            F.slice(F.sort_array(F.collect_set(
                F.when(~F.col("readable"), F.substring("raw", 1, 200)))), 1, SAMPLES).alias("still"),
        )
        .orderBy(F.desc("bad"), "bad_reason")
        .collect()
    )  # fmt: skip
    reasons = [row.asDict() | {"says": BAD_REASONS.get(row.bad_reason, "")} for row in rows]
    return {
        "bad": sum(row.bad for row in rows), "readable": sum(row.readable for row in rows),
        "reasons": reasons,
    }  # fmt: skip


def _marked(bad: DataFrame, readable: DataFrame) -> DataFrame:
    now = readable.select("bad_row", F.lit(True).alias("readable")).distinct()
    return bad.join(now, "bad_row", "left").withColumn(
        "readable", F.coalesce("readable", F.lit(False))
    )


def _write_csv(bad: DataFrame, readable: DataFrame, path: Path) -> None:
    columns = ["event_date", "bad_reason", "readable", *IDENTITY]
    rows = _marked(bad, readable).select(*columns).orderBy("event_date", "bad_reason", "raw")
    part = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows.limit(MOST_IN_CSV).toLocalIterator():
            writer.writerow([_cell(value) for value in row])
    part.replace(path)


def _cell(value: Any) -> Any:
    # As in the reports: no cell may be a formula for a spreadsheet.
    text = isinstance(value, str) and value[:1] in FORMULA_BEGINS
    return f"'{value}" if text else value


def _next(name: str | None) -> int:
    return int(name.rpartition("-")[2]) + 1 if name else 1


if __name__ == "__main__":
    session.run(JOB, main)
