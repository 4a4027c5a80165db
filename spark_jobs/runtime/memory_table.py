"""What `--select` may be: one SELECT that reads only the table of the memory sink.

SQL can read any file, write any folder, run a shell command and call any static method of Java. So
Spark's own parser takes the text apart before the query starts, and only what is listed here passes.
"""

import logging
import re
from collections.abc import Iterator
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from spark_jobs.runtime.words import Refused

# Nodes of a plan that read nothing and run nothing. What Spark adds one day is refused until it is here.
NODES = {
    "Aggregate", "Distinct", "Except", "Filter", "Generate", "GlobalLimit", "Intersect", "Join",
    "LocalLimit", "Offset", "OneRowRelation", "Project", "Sort", "SubqueryAlias", "Union",
    "UnresolvedHaving", "UnresolvedSubqueryColumnAliases",
}  # fmt: skip
# Expressions that Spark decides about later. IDENTIFIER(…), which can become any name, is not one.
UNDECIDED = {
    "MultiAlias", "UnresolvedAlias", "UnresolvedAttribute", "UnresolvedExtractValue",
    "UnresolvedFunction", "UnresolvedGenerator", "UnresolvedOrdinal", "UnresolvedStar",
    "UnresolvedStarExceptOrReplace",
}  # fmt: skip
# Spark's groups of functions. Not `misc`, which calls Java (`reflect`); not `xml`, `avro` and
# `protobuf`, whose options name files.
FUNCTION_GROUPS = {
    f"{group}_funcs"
    for group in (
        "agg", "array", "bitwise", "collection", "conditional", "conversion", "csv", "datetime",
        "generator", "hash", "json", "lambda", "map", "math", "predicate", "string", "struct", "url",
        "variant", "window",
    )
}  # fmt: skip
CATALYST = "org.apache.spark.sql.catalyst"


def check_select(spark: SparkSession, select: str, table: str, columns: StructType) -> None:
    """Refuse a `select` that is anything but one SELECT on `table`, which will have these `columns`.

    Nothing is read or run: the text is parsed, then analysed on an empty table of that name.
    """
    expected = f"--select: expected one SELECT that reads only the table {table}; found"
    if "${" in select:
        raise Refused(f"{expected} ${{…}}, which Spark replaces by a setting or a variable")
    # PySpark logs each error of SQL with its Java stack, beside raising it.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    try:
        plan = spark._jsparkSession.sessionState().sqlParser().parsePlan(select)
    except ParseException as error:
        raise Refused(f"{expected} what Spark cannot parse: {_reason(error)}") from None
    for what in _not_accepted(spark, plan, {table.lower()}):
        raise Refused(f"{expected} {what}")
    spark.createDataFrame([], columns).createOrReplaceTempView(table)
    try:
        spark.sql(select)
    except AnalysisException as error:
        names = ", ".join(columns.names)
        raise Refused(
            f"--select: {_reason(error)}; the table {table} has the columns {names}"
        ) from None
    finally:
        spark.catalog.dropTempView(table)


def _not_accepted(spark: SparkSession, plan: Any, tables: set[str]) -> Iterator[str]:
    """What in a parsed plan is not accepted; `tables` are the names that it may read."""
    node = plan.getClass().getSimpleName()
    expressions = list(_each(plan.expressions()))
    if node == "UnresolvedRelation":
        parts = list(_each(plan.multipartIdentifier()))
        if len(parts) > 1 or parts[0].lower() not in tables:
            yield ".".join(part if re.fullmatch(r"\w+", part) else f"`{part}`" for part in parts)
    elif node == "UnresolvedWith":
        tables = set(tables)
        for table in _each(plan.innerChildren()):  # each may read those before it
            yield from _not_accepted(spark, table, tables)
            tables.add(table.alias().lower())
    elif node == "WithWindowDefinition":  # Spark does not count them among its expressions
        expressions += _each(plan.windowDefinitions().values())
    elif node not in NODES:
        yield f"what Spark calls {node}"
    for expression in expressions:
        yield from _not_accepted_in(spark, expression, tables)
    for child in _each(plan.children()):
        yield from _not_accepted(spark, child, tables)


def _not_accepted_in(spark: SparkSession, expression: Any, tables: set[str]) -> Iterator[str]:
    kind = expression.getClass().getName()
    name = kind.rpartition(".")[2]
    if kind.startswith(f"{CATALYST}.analysis.") and name not in UNDECIDED:
        yield f"what Spark calls {name}"
    if name == "UnresolvedFunction":
        yield from _refused_function(spark, list(_each(expression.nameParts())))
    if name == "UnresolvedGenerator":
        yield from _refused_function(spark, expression.name().unquotedString().split("."))
    if is_instance_of(
        spark.sparkContext._gateway, expression, f"{CATALYST}.expressions.PlanExpression"
    ):
        yield from _not_accepted(spark, expression.plan(), tables)
    for child in _each(expression.children()):
        yield from _not_accepted_in(spark, child, tables)


def _refused_function(spark: SparkSession, parts: list[str]) -> Iterator[str]:
    identifier = getattr(spark._jvm, CATALYST).FunctionIdentifier(parts[-1])
    functions = spark._jsparkSession.sessionState().catalog()
    try:
        group = functions.lookupFunctionInfo(identifier).getGroup()
    except AnalysisException:
        group = ""
    if len(parts) > 1 or group not in FUNCTION_GROUPS:
        yield (
            f"the function {'.'.join(parts)}: only Spark's own functions of numbers, texts, times, "
            "arrays, maps and JSON, aggregates and windows are accepted"
        )


def _each(found: Any) -> Iterator[Any]:
    """The elements of a collection of Scala."""
    elements = found.iterator()
    while elements.hasNext():
        yield elements.next()


def _reason(error: PySparkException) -> str:
    """Spark's sentence, without its condition before and its SQLSTATE and place after it."""
    line = next(line for line in str(error).splitlines() if line.strip())
    return re.sub(r"^\[[A-Z_.]+\] ", "", line).partition(" SQLSTATE:")[0].strip(" .")
