"""Run Python on a DataFrame in Arrow batches, in Spark's Python workers."""

import importlib.util
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.udf import UserDefinedFunction
from pyspark.util import PythonEvalType

from include.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

# What a worker needs to read log lines.
PACKAGES = ("msgspec", "numpy", "polars", "pyarrow")


def map_in_arrow(
    rows: DataFrame,
    function: "Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]",
    ddl: str,
) -> DataFrame:
    """As `DataFrame.mapInArrow`, without loading pandas, which that requires and does not use.

    Args:
        rows: The rows.
        function: Takes the batches of a partition, and gives those of the result. Workers get a pickled copy.
        ddl: Columns of the result.

    Raises:
        InvalidInput: A worker of the cluster lacks a package.
    """
    _check_workers(rows.sparkSession)
    udf = UserDefinedFunction(function, ddl, evalType=PythonEvalType.SQL_MAP_ARROW_ITER_UDF)
    columns = udf(*[rows[name] for name in rows.columns])
    return DataFrame(rows._jdf.mapInArrow(columns._jc, False, None), rows.sparkSession)


def _check_workers(spark: SparkSession) -> None:
    """Ask each worker of a cluster for the packages; the driver's own workers have what the driver has."""
    context = spark.sparkContext
    if str(context.master).startswith("local"):
        return
    tasks = range(max(context.defaultParallelism, 2))
    reports = context.parallelize(tasks, len(tasks)).mapPartitions(_list_missing_packages).collect()
    if missing := sorted({report for report in reports if report}):
        raise InvalidInput(
            f"Spark workers lack Python packages that read log lines: {'; '.join(missing)}. Install "
            "requirements.lock there (docs/cluster.md)"
        )


def _list_missing_packages(_: Iterable[int]) -> Iterator[str]:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    yield f"{socket.gethostname()} lacks {', '.join(missing)}" if missing else ""
