"""`--select` takes one SELECT on the memory sink's table. It is checked before the query starts."""

import pytest

from include.errors import InvalidInput
from spark_jobs.streaming.select_check import check_select

ACCEPTED = [
    "SELECT 1",
    "SELECT * FROM counts",
    "select status, count from COUNTS where status >= 400 order by count desc limit 5;",
    "SELECT DISTINCT status FROM counts LIMIT 3 OFFSET 1",
    "SELECT status, count(*), sum(count) AS n FROM counts GROUP BY status HAVING n > 1",
    "SELECT status, count(*) FROM counts GROUP BY 1 ORDER BY 2",
    "SELECT status, sum(count) FROM counts GROUP BY CUBE(status)",
    "SELECT max(count) FILTER (WHERE status = 200) FROM counts",
    "WITH few AS (SELECT * FROM counts LIMIT 3) SELECT * FROM few",
    "WITH a(x) AS (SELECT status FROM counts), b AS (SELECT * FROM a) "
    "SELECT * FROM b JOIN counts ON x = status",
    "SELECT * FROM counts WHERE count = (SELECT max(count) FROM counts)",
    "SELECT * FROM counts c WHERE EXISTS (SELECT 1 FROM counts d WHERE d.status = c.status)",
    "SELECT * FROM counts WHERE status IN (SELECT status FROM counts)",
    "SELECT status, row_number() OVER (PARTITION BY status ORDER BY count) FROM counts",
    "SELECT status, rank() OVER w FROM counts WINDOW w AS (ORDER BY count)",
    "SELECT status FROM counts UNION ALL SELECT count FROM counts",
    "(SELECT status FROM counts) EXCEPT (SELECT count FROM counts)",
    "SELECT status FROM counts INTERSECT SELECT count FROM counts",
    "SELECT * FROM (SELECT status, count FROM counts) AS s(a, b) WHERE a != b",
    "SELECT upper(word) || '!', length(word), word LIKE 'a%' FROM counts",
    "SELECT CASE WHEN status BETWEEN 200 AND 299 THEN 'good' ELSE 'bad' END, -count % 2 FROM counts",
    "SELECT date_format(at, 'HH:mm'), date_trunc('HOUR', at), at + INTERVAL 1 DAY FROM counts",
    "SELECT current_timestamp(), extract(MINUTE FROM at), CAST(count AS STRING), count::DOUBLE FROM counts",
    "SELECT explode(array(1, 2)), transform(array(count), x -> x + 1) FROM counts",
    "SELECT y FROM counts LATERAL VIEW explode(array(1, 2)) x AS y",
    "SELECT * EXCEPT (word), struct(*) FROM counts",
    "SELECT round(avg(count), 2), `count` FROM counts GROUP BY ALL",
]


# (statement, the cause that the error names)
REFUSED = [
    ("SELECT * FROM text.`/etc/passwd`", "found text.`/etc/passwd`"),
    ("SELECT * FROM csv.`s3a://bucket/x`", "found csv.`s3a://bucket/x`"),
    ("SELECT * FROM counts JOIN text.`/etc/passwd`", "found text.`/etc/passwd`"),
    ("SELECT * FROM counts WHERE word IN (SELECT value FROM text.`/etc/passwd`)", "found text.`/"),
    ("SELECT * FROM counts ORDER BY (SELECT max(value) FROM text.`/etc/passwd`)", "found text.`/"),
    ("SELECT (SELECT max(value) FROM text.`/etc/passwd`) FROM counts", "found text.`/etc/passwd`"),
    ("WITH x AS (SELECT * FROM text.`/etc/passwd`) SELECT * FROM x", "found text.`/etc/passwd`"),
    ("SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) JOIN x", "found x"),
    ("WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x", "found y"),
    ("SELECT * FROM other", "found other"),
    ("SELECT * FROM global_temp.counts", "found global_temp.counts"),
    ("SELECT * FROM IDENTIFIER('text.`/etc/passwd`')", "found text.`/etc/passwd`"),
    ("SELECT * FROM IDENTIFIER(concat('text.', '`/etc/passwd`'))", "PlanWithUnresolvedIdentifier"),
    ("SELECT IDENTIFIER('reflect')('java.lang.System', 'lineSeparator') FROM counts",
     "ExpressionWithUnresolvedIdentifier"),
    ("SELECT reflect('java.lang.System', 'getenv', 'HOME') FROM counts", "the function reflect"),
    ("SELECT upper(java_method('java.lang.System', 'getenv', 'HOME'))", "the function java_method"),
    ("SELECT * FROM counts WHERE try_reflect('java.lang.System', 'getenv', 'HOME') = word",
     "the function try_reflect"),
    ("SELECT transform(array(1), x -> Reflect('java.lang.System', 'gc')) FROM counts", "Reflect"),
    ("SELECT status FROM counts GROUP BY GROUPING SETS ((status), (reflect('a', 'b')))", "reflect"),
    ("SELECT rank() OVER (PARTITION BY reflect('a', 'b') ORDER BY count) FROM counts", "reflect"),
    ("SELECT rank() OVER w FROM counts WINDOW w AS (PARTITION BY reflect('a', 'b'))", "reflect"),
    ("SELECT rank() OVER w FROM counts WINDOW w AS (ORDER BY (SELECT 1 FROM text.`/x`))", "text.`/x`"),
    ("SELECT * FROM counts LATERAL VIEW reflect('a', 'b') x AS y", "the function reflect"),
    ("SELECT from_xml(word, 'a INT', map('rowValidationXSDPath', '/etc/x')) FROM counts", "from_xml"),
    ("SELECT builtin.reflect('a', 'b') FROM counts", "the function builtin.reflect"),
    ("SELECT my_own(word) FROM counts", "the function my_own"),
    ("SELECT TRANSFORM(word) USING 'touch /tmp/x' FROM counts", "ScriptTransformation"),
    ("FROM counts SELECT TRANSFORM(word) USING 'touch /tmp/x'", "ScriptTransformation"),
    ("SELECT * FROM range(10)", "UnresolvedTableValuedFunction"),
    ("SELECT * FROM counts, LATERAL explode(array(1))", "LateralJoin"),
    ("SELECT * FROM counts VERSION AS OF 1", "RelationTimeTravel"),
    ("SELECT * FROM STREAM counts", "NamedStreamingRelation"),
    ("INSERT OVERWRITE DIRECTORY '/tmp/x' USING parquet SELECT * FROM counts", "InsertIntoDir"),
    ("FROM counts INSERT INTO other SELECT status", "InsertIntoStatement"),
    ("CREATE TABLE x AS SELECT * FROM counts", "CreateTableAsSelect"),
    ("CACHE TABLE x AS SELECT * FROM text.`/etc/passwd`", "CacheTableAsSelect"),
    ("ADD JAR '/tmp/x.jar'", "AddJarsCommand"),
    ("SET spark.sql.runSQLOnFiles=true", "SetCommand"),
    ("DROP VIEW counts", "DropView"),
    ("EXPLAIN SELECT * FROM counts", "ExplainCommand"),
    ("EXECUTE IMMEDIATE 'ADD JAR x'", "UnresolvedExecuteImmediate"),
    ("BEGIN SELECT 1; ADD JAR 'x'; END", "CompoundBody"),
    ("SELECT * FROM counts; DROP VIEW counts", "cannot parse"),
    ("SELECT '${env:HOME}' FROM counts", "found ${…}"),
    ("SELECT", "cannot parse"),
    (" ", "cannot parse"),
]  # fmt: skip


@pytest.fixture(scope="module")
def columns(spark):
    return spark.createDataFrame([], "status INT, count BIGINT, word STRING, at TIMESTAMP").schema


@pytest.mark.parametrize("select", ACCEPTED)
def test_one_select_on_the_table_is_accepted(spark, columns, select):
    check_select(spark, select, "counts", columns)
    assert not spark.catalog.tableExists("counts"), "the table it was analysed on is gone"


@pytest.mark.parametrize(("select", "cause"), REFUSED, ids=[select for select, _ in REFUSED])
def test_any_other_statement_is_refused_and_the_error_names_the_cause(
    spark, columns, select, cause
):
    with pytest.raises(InvalidInput) as error:
        check_select(spark, select, "counts", columns)
    message = str(error.value)
    assert "expected one SELECT that reads only the table counts" in message
    assert cause in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("select", "expected"),
    [("SELECT stauts FROM counts", "`stauts`"), ("SELECT other.count FROM counts", "`other`"),
     ("SELECT count(*), status FROM counts", "status"), ("SELECT upper() FROM counts", "upper")],
)  # fmt: skip
def test_an_invalid_select_is_refused_with_the_columns_of_the_table(
    spark, columns, select, expected
):
    with pytest.raises(InvalidInput) as error:
        check_select(spark, select, "counts", columns)
    assert expected in str(error.value)
    assert "the table counts has the columns status, count, word, at" in str(error.value)
    assert not spark.catalog.tableExists("counts")


@pytest.mark.parametrize(
    ("select", "expected"),
    [("SELECT * FROM text.`/etc/passwd`",
      "--select: expected one SELECT that reads only the table words; found text.`/etc/passwd`"),
     ("SELECT wrod FROM words", "the table words has the columns word, count")],
)  # fmt: skip
def test_a_job_refuses_an_invalid_select_before_anything_starts(
    spark, job, tmp_path, select, expected
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    code, output = job(
        "word_count", "--source", f"text:{tmp_path / 'in'}", "--sink", "memory:words", "--trigger",
        "available-now", "--checkpoint", tmp_path / "c", "--select", select,
    )  # fmt: skip
    assert (code, expected in output) == (2, True), output
    assert '"batch"' not in output
    assert not (tmp_path / "c").exists()
    assert not spark.catalog.tableExists("words")


def test_a_job_prints_the_result_of_its_select_at_the_end(job, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a b a\n")
    code, output = job(
        "word_count", "--source", f"text:{tmp_path / 'in'}", "--sink", "memory:shown", "--trigger",
        "available-now", "--select", "SELECT word FROM shown WHERE count > 1",
    )  # fmt: skip
    assert code == 0, output
    assert "|a   |" in output


def test_sql_cannot_read_a_file_by_its_path(spark, job, tmp_path):
    from pyspark.errors import AnalysisException

    from spark_jobs.streaming import session

    session.start_session("any")
    with pytest.raises(AnalysisException):
        spark.sql("SELECT * FROM text.`/etc/passwd`")
