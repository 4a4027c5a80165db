"""Count words as they arrive: lines from any source -> a running count.

Reads   lines of text; from csv, json, orc and parquet the column `value`; from rate its numbers
Writes  word and count
Run     ./tidemark serve-lines FILE --port 9999       (in another terminal)
        ./tidemark run word_count --source socket:localhost:9999 --sink console --run-seconds 20
"""

from pyspark.sql import functions as F

from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import build_watch_parser
from spark_jobs.streaming.combinations import TOTALS
from spark_jobs.streaming.options import parse_stream_options
from spark_jobs.streaming.query_runner import run_query
from spark_jobs.streaming.streams import read_stream
from spark_jobs.transforms.word_count import count_words, split_words

JOB = "word_count"


def main(argv: list[str] | None = None) -> None:
    args = build_watch_parser(__doc__, "complete", "every 1 second").parse_args(argv)
    options = parse_stream_options(args, TOTALS)
    if args.check:
        return
    spark = session.start_session(JOB)
    lines = read_stream(spark, options.source, args).select(F.col("value").cast("string"))
    run_query(spark, JOB, count_words(split_words(lines)), options, args)


if __name__ == "__main__":
    session.run_job(JOB, main)
