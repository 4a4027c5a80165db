"""Count words as they come: lines from any source -> a running count.

Reads   lines of text; from csv, json, orc and parquet the column `value`; from rate its numbers
Writes  word and count
Run     ./tidemark serve-lines FILE --port 9999       (in another terminal)
        ./tidemark run word_count --source socket:localhost:9999 --sink console --run-seconds 20
"""

from pyspark.sql import functions as F

from spark_jobs.runtime import session
from spark_jobs.runtime.arguments import watch_arguments
from spark_jobs.runtime.combinations import TOTALS
from spark_jobs.runtime.running import run_query
from spark_jobs.runtime.streams import read
from spark_jobs.runtime.words import parse_words
from spark_jobs.transforms.words import count_words, split_words

JOB = "word_count"


def main(argv: list[str] | None = None) -> None:
    args = watch_arguments(__doc__, "complete", "every 1 second").parse_args(argv)
    words = parse_words(args, TOTALS)
    if args.check:
        return
    spark = session.start(JOB)
    lines = read(spark, words.source, args).select(F.col("value").cast("string"))
    run_query(spark, JOB, count_words(split_words(lines)), words, args)


if __name__ == "__main__":
    session.run(JOB, main)
