"""Check `--select`: it must be one SELECT that reads only the table of the memory sink.

SQL can read any file, write any folder, run a shell command and call any static method of Java. So
Spark's own parser parses the text before the query starts, and only what is listed here is accepted.
"""

import logging
import re
from collections.abc import Iterator
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from include.errors import InvalidInput

# Plan nodes that read nothing and run nothing. A node that Spark adds later is refused until it is listed.
ALLOWED_NODES = {
    "Aggregate",
    "Distinct",
    "Except",
    "Filter",
    "Generate",
    "GlobalLimit",
    "Intersect",
    "Join",
    "LocalLimit",
    "Offset",
    "OneRowRelation",
    "Project",
    "Sort",
    "SubqueryAlias",
    "Union",
    "UnresolvedHaving",
    "UnresolvedSubqueryColumnAliases",
}
# Expressions that Spark resolves later. IDENTIFIER(…) is left out: it can become any name.
ALLOWED_UNRESOLVED = {
    "MultiAlias",
    "UnresolvedAlias",
    "UnresolvedAttribute",
    "UnresolvedExtractValue",
    "UnresolvedFunction",
    "UnresolvedGenerator",
    "UnresolvedOrdinal",
    "UnresolvedStar",
    "UnresolvedStarExceptOrReplace",
}
# Spark's groups of functions. `misc` is left out because it calls Java (`reflect`); `xml`, `avro` and
# `protobuf` because their options name files.
ALLOWED_FUNCTION_GROUPS = {
    f"{group}_funcs"
    for group in (
        "agg",
        "array",
        "bitwise",
        "collection",
        "conditional",
        "conversion",
        "csv",
        "datetime",
        "generator",
        "hash",
        "json",
        "lambda",
        "map",
        "math",
        "predicate",
        "string",
        "struct",
        "url",
        "variant",
        "window",
    )
}
CATALYST = "org.apache.spark.sql.catalyst"


def check_select(spark: SparkSession, select: str, table: str, columns: StructType) -> None:
    """Check that `select` is one SELECT that reads only `table`.

    Nothing is read or run: the text is parsed, then analysed on an empty table of that name.

    Args:
        spark: The session whose parser and functions are used.
        select: The SQL text.
        table: Name of the memory sink's table.
        columns: Columns that the table will have.

    Raises:
        InvalidInput: The text is something else. The message names the first part that is refused.
    """
    expected = f"--select: expected one SELECT that reads only the table {table}; found"
    if "${" in select:
        raise InvalidInput(f"{expected} ${{…}}, which Spark replaces with a setting or a variable")
    # PySpark raises SQL errors and also logs them, with the Java stack.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    try:
        plan = spark._jsparkSession.sessionState().sqlParser().parsePlan(select)
    except ParseException as error:
        raise InvalidInput(
            f"{expected} text that Spark cannot parse: {_extract_error_reason(error)}"
        ) from None
    for refused in _find_refused_in_plan(spark, plan, {table.lower()}):
        raise InvalidInput(f"{expected} {refused}")
    spark.createDataFrame([], columns).createOrReplaceTempView(table)
    try:
        spark.sql(select)
    except AnalysisException as error:
        names = ", ".join(columns.names)
        raise InvalidInput(
            f"--select: {_extract_error_reason(error)}; the table {table} has the columns {names}"
        ) from None
    finally:
        spark.catalog.dropTempView(table)


def _find_refused_in_plan(spark: SparkSession, plan: Any, tables: set[str]) -> Iterator[str]:
    """Yield the parts of a parsed plan that are not accepted; `tables` are the names that it may read."""
    node = plan.getClass().getSimpleName()
    expressions = list(_iterate_scala(plan.expressions()))
    if node == "UnresolvedRelation":
        parts = list(_iterate_scala(plan.multipartIdentifier()))
        if len(parts) > 1 or parts[0].lower() not in tables:
            yield ".".join(part if re.fullmatch(r"\w+", part) else f"`{part}`" for part in parts)
    elif node == "UnresolvedWith":
        tables = set(tables)
        for table in _iterate_scala(plan.innerChildren()):  # each may read the ones before it
            yield from _find_refused_in_plan(spark, table, tables)
            tables.add(table.alias().lower())
    elif node == "WithWindowDefinition":  # plan.expressions() does not include the windows
        expressions += _iterate_scala(plan.windowDefinitions().values())
    elif node not in ALLOWED_NODES:
        yield f"the plan node {node}"
    for expression in expressions:
        yield from _find_refused_in_expression(spark, expression, tables)
    for child in _iterate_scala(plan.children()):
        yield from _find_refused_in_plan(spark, child, tables)


def _find_refused_in_expression(
    spark: SparkSession, expression: Any, tables: set[str]
) -> Iterator[str]:
    kind = expression.getClass().getName()
    name = kind.rpartition(".")[2]
    if kind.startswith(f"{CATALYST}.analysis.") and name not in ALLOWED_UNRESOLVED:
        yield f"the expression {name}"
    if name == "UnresolvedFunction":
        yield from _find_refused_function(spark, list(_iterate_scala(expression.nameParts())))
    if name == "UnresolvedGenerator":
        yield from _find_refused_function(spark, expression.name().unquotedString().split("."))
    if is_instance_of(
        spark.sparkContext._gateway, expression, f"{CATALYST}.expressions.PlanExpression"
    ):
        yield from _find_refused_in_plan(spark, expression.plan(), tables)
    for child in _iterate_scala(expression.children()):
        yield from _find_refused_in_expression(spark, child, tables)


def _find_refused_function(spark: SparkSession, parts: list[str]) -> Iterator[str]:
    identifier = getattr(spark._jvm, CATALYST).FunctionIdentifier(parts[-1])
    catalog = spark._jsparkSession.sessionState().catalog()
    try:
        group = catalog.lookupFunctionInfo(identifier).getGroup()
    except AnalysisException:
        group = ""
    if len(parts) > 1 or group not in ALLOWED_FUNCTION_GROUPS:
        yield (
            f"the function {'.'.join(parts)}; use only Spark's own functions for numbers, strings, "
            "times, arrays, maps and JSON, aggregates and window functions"
        )


def _iterate_scala(collection: Any) -> Iterator[Any]:
    """Yield the elements of a Scala collection."""
    elements = collection.iterator()
    while elements.hasNext():
        yield elements.next()


def _extract_error_reason(error: PySparkException) -> str:
    """Return Spark's message without the error condition before it and the SQLSTATE and position after it."""
    line = next(line for line in str(error).splitlines() if line.strip())
    return re.sub(r"^\[[A-Z_.]+\] ", "", line).partition(" SQLSTATE:")[0].strip(" .")
