"""Counting words, as every course on streaming begins."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def split_words(lines: DataFrame) -> DataFrame:
    """`value` STRING, one line a row -> `word` STRING, one word a row."""
    words = F.explode(F.split(F.trim("value"), r"\s+")).alias("word")
    return lines.select(words).where(F.col("word") != "")


def count_words(words: DataFrame) -> DataFrame:
    """`word` -> `word`, `count`."""
    return words.groupBy("word").count()
