"""Land and summarise a few access-log lines, so that the JVM records which classes these jobs load.

Reads   a folder of access-log lines
Writes  a landing and a summary
Run     ./tidemark run warm_up --source DIR --sink DIR
"""

from spark_jobs import land_access_log, summarise_access_log
from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import build_parser

JOB = "warm_up"


def main(argv: list[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--source", required=True, help="folder of log files")
    parser.add_argument(
        "--sink", required=True, help="folder to write the landing and the summary to"
    )
    args = parser.parse_args(argv)
    data = f"parquet:{args.sink}/landing/data"
    land_access_log.main(["--source", f"text:{args.source}", "--sink", data])
    summarise_access_log.main(
        [
            "--source",
            data,
            "--source-kind",
            "files",
            "--sink",
            f"summary:{args.sink}/summary",
            "--days",
            "2015-05-17",
        ]
    )


if __name__ == "__main__":
    session.run_job(JOB, main)
