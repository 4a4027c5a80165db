"""Rows that were landed before, read again: they are taken as they are, not parsed a second time."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.contracts import list_column_names


def is_landed(rows: DataFrame, ddl: str) -> bool:
    """Whether `rows` have the columns of the landing `ddl`, as `streams.read` gives them then."""
    return set(rows.columns) == set(list_column_names(ddl))


def select_landed_rows(rows: DataFrame, ddl: str) -> DataFrame:
    """The columns of `ddl`; `file` is the landed file, by which a batch is counted after a crash."""
    file = F.col("_metadata.file_path").alias("file")
    return rows.select(*[file if name == "file" else name for name in list_column_names(ddl)])
