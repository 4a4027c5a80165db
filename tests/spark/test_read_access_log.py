"""Lines of every source as Spark reads them: columns, days, arrival, heartbeats, counts and errors."""

import json
from datetime import UTC, date, datetime
from itertools import product

import pytest
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from include.log_formats.line_batches import READ_COLUMNS, ReadBatches
from include.log_formats.w3c import build_w3c_id
from spark_jobs.transforms.access_log import (
    IS_LINE,
    count_by_status,
    count_lines,
    filter_unsuccessful,
    read_lines,
    select_landed_lines,
    select_lines,
    select_messages,
    select_requests,
    select_server_errors,
)
from spark_jobs.transforms.common_log import select_common_server_errors
from spark_jobs.transforms.word_count import count_words, split_words
from tests.builders import build_common_line, build_line
from tests.documented_lines import ALB_LINES, CADDY, NGINX

ARRIVED_AT = datetime(2015, 5, 17, 12, 0, 0, tzinfo=UTC)
MESSAGE_DDL = (
    "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"
)


@pytest.fixture
def build_messages(spark):
    def build(*pairs, arrived=ARRIVED_AT):
        """Messages as Kafka's source gives them; their offsets count the (key, value) pairs."""
        rows = [(key, value, "t", 1, n, arrived) for n, (key, value) in enumerate(pairs)]
        return spark.createDataFrame(rows, MESSAGE_DDL)

    return build


@pytest.fixture
def read_files(spark, tmp_path):
    def read(files):
        """The rows of Spark's text source for files: their contents by name."""
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        return spark.read.option("lineSep", "\n").text(str(tmp_path))

    return read


def test_landed_rows_have_the_columns_and_types_of_the_contract(spark, read_files):
    landed = select_landed_lines(select_lines(read_files({"a.log": build_line()}), "text"), "UTC")
    contract = spark.createDataFrame([], ACCESS_LOG_DDL).schema
    assert [(f.name, f.dataType) for f in landed.schema] == [(f.name, f.dataType) for f in contract]
    assert landed.first().file.endswith("a.log")


def test_further_columns_of_the_lines_pass_through(read_files):
    lines = select_lines(read_files({"a.log": f"{build_line()}\njunk\n"}), "text")
    further = {"a_row": F.lit(2**40), "a day": F.lit(date(2015, 5, 17)), "null": F.lit(None).cast("string"),
               "bytes": F.lit(b"\xff"), "at": F.lit(ARRIVED_AT)}  # fmt: skip
    rows = read_lines(
        lines.withColumns(further), ReadBatches(extra_columns=tuple(further))
    ).orderBy("status")
    assert rows.columns == [*further, *READ_COLUMNS]
    for row, status in zip(rows.collect(), (None, 200), strict=True):
        assert row[:4] == (2**40, date(2015, 5, 17), None, b"\xff")
        assert (row["at"].astimezone(UTC), row.status) == (ARRIVED_AT, status)


def test_a_day_begins_at_midnight_in_the_time_zone_of_the_report(read_files):
    times = ["17/May/2015:23:30:00 +0000", "18/May/2015:02:30:00 +0000"]
    content = [
        build_line(time=times[0]),
        f'who knows [{times[0]}] "half a li',
        build_line(time=times[1]),
    ]
    lines = select_lines(read_files({"a.log": "\n".join(content)}), "text")
    days = {zone: [str(row.event_date) for row in
                   select_landed_lines(lines, zone).orderBy("timestamp", "bad_reason").collect()]
            for zone in ("UTC", "Europe/Paris", "America/New_York")}  # fmt: skip
    assert days == {
        "UTC": ["2015-05-17", "2015-05-17", "2015-05-18"],
        "Europe/Paris": ["2015-05-18"] * 3,
        "America/New_York": ["2015-05-17"] * 3,
    }


def test_messages_are_landed_with_their_position_and_the_ids_of_their_lines(build_messages):
    text = f"{build_line()}\r\n\n{build_common_line(status='404')}".encode()
    messages = build_messages((b"log:100", text), (None, b"junk \xff"))
    rows = select_landed_lines(select_lines(messages, "kafka"), "UTC")
    columns = ["offset", "line_id", "status", "bad_reason", "raw", "topic", "partition", "file"]
    start = 100 + len(build_line()) + 2
    assert [tuple(row) for row in rows.select(columns).orderBy(columns).collect()] == [
        (0, "log:100", 200, None, None, "t", 1, None),
        (0, f"log:{start}", None, "empty", "", "t", 1, None),
        (0, f"log:{start + 1}", 404, None, None, "t", 1, None),
        (1, None, None, "no_match", "junk \\xff", "t", 1, None),
    ]


def test_directives_of_w3c_files_are_no_lines(read_files):
    fields = "date time c-ip cs-method cs-uri-stem sc-status"
    w3c_id = build_w3c_id(fields)
    line = "2015-05-17 10:05:03 192.0.2.7 GET /a 200"
    content = f"\ufeff#Version: 1.0\n#Fields: {fields}\n{line}\n#Date: 2015-05-17\n{line}\n"
    rows = read_files({f"a.{w3c_id}.log": content, "a.log": f"#Fields: {fields}\n{build_line()}\n"})
    landed = select_landed_lines(
        select_lines(rows, "text"), "UTC", ReadBatches(w3c_fields={w3c_id: fields})
    )
    landed_rows = [
        (row.file.rpartition("/")[2], row.log_format, row.raw) for row in landed.collect()
    ]
    assert sorted(landed_rows, key=repr) == [
        ("a.log", "combined", None),
        ("a.log", None, f"#Fields: {fields}"),
        (f"a.{w3c_id}.log", "w3c", None),
        (f"a.{w3c_id}.log", "w3c", None),
    ]


def test_no_job_takes_a_heartbeat_for_a_line(build_messages):
    # A heartbeat's key with a value, and another key without a value, are ordinary messages.
    messages = build_messages((b"log:heartbeat", None), (b"log:heartbeat", b"a"), (b"log:7", None))
    rows = select_landed_lines(select_lines(messages, "kafka"), "UTC").where(IS_LINE)
    assert sorted(row.offset for row in rows.collect()) == [1, 2]
    assert select_requests(messages, "kafka", ReadBatches()).collect() == []
    assert select_requests(messages, "kafka").collect() == []
    assert select_server_errors(select_messages(messages, "kafka")).collect() == []
    assert select_common_server_errors(select_messages(messages, "kafka")).collect() == []
    word_counts = count_words(split_words(messages.select(F.col("value").cast("string"))))
    assert [row.word for row in word_counts.collect()] == ["a"]


def test_a_heartbeat_is_landed_with_only_its_time_and_position(build_messages):
    messages = build_messages((b"log:0", b"junk"), (b"log:heartbeat", None))
    landed = select_landed_lines(select_lines(messages, "kafka"), "Asia/Tokyo")
    (row,) = landed.where(f"NOT ({IS_LINE})").collect()
    fields = {name: value for name, value in row.asDict().items() if value is not None}
    assert fields.pop("timestamp").astimezone(UTC) == ARRIVED_AT
    assert fields == {"log_format": "heartbeat", "topic": "t", "partition": 1, "offset": 1,
                      "event_date": date(2015, 5, 17)}  # fmt: skip


def test_a_line_dated_far_after_its_message_was_sent_is_bad_and_undated(build_messages):
    times = [
        "18/May/2015:11:59:59 +0000",
        "18/May/2015:12:00:01 +0000",
        "01/Jan/2099:00:00:00 +0000",
    ]
    lines = [build_line(time=time).encode() for time in times]

    def land(arrived, read_batches=None):
        messages = build_messages(*[(b"log:0", line) for line in lines], arrived=arrived)
        landed = select_landed_lines(select_lines(messages, "kafka"), "UTC", read_batches)
        return [(row.bad_reason, str(row.event_date)) for row in landed.orderBy("offset").collect()]

    far_future = ("far_future", "None")
    assert land(ARRIVED_AT) == [(None, "2015-05-18"), far_future, far_future]
    later_limit = ReadBatches(future_hours=48)
    assert land(ARRIVED_AT, later_limit) == [(None, "2015-05-18"), (None, "2015-05-18"), far_future]
    # A message without a time has -1 milliseconds.
    without_time = datetime.fromtimestamp(-0.001, UTC)
    assert [reason for reason, _ in land(without_time)] == [None, None, None]


def test_rows_that_were_landed_before_stay_as_they_are(spark, build_messages, tmp_path):
    messages = build_messages(
        (b"log:0", f"{build_line(time='17/May/2015:23:30:00 +0000')}\njunk".encode()),
        (b"log:heartbeat", None),
    )
    landed = select_landed_lines(select_lines(messages, "kafka"), "UTC")
    landed.write.parquet(str(tmp_path / "data"))
    lines = select_lines(
        spark.read.schema(ACCESS_LOG_DDL).parquet(str(tmp_path / "data")), "parquet"
    )
    again = select_landed_lines(lines, "Asia/Tokyo")
    assert lines.selectExpr(f"sum({count_lines(lines, 'parquet')})").first()[0] == 2
    same = [name for name in landed.columns if name not in ("file", "event_date")]
    assert sorted(again.select(same).collect(), key=repr) == sorted(
        landed.select(same).collect(), key=repr
    )
    assert str(again.where("status = 200").first().event_date) == "2015-05-18"
    assert all(row.file.endswith(".parquet") for row in again.collect())


def test_the_counted_lines_of_a_message_are_as_many_as_are_read(build_messages):
    keys = [None, b"", b"log:7", b"log:heartbeat", b"\xff:heartbeat", b"heartbeat"]
    pieces = [b"\n", b"a", b"\r", b"\xff", b"\xc3", b"\xe2\x80\xa8", b"\0"]
    values = [b"".join(parts) for length in range(4) for parts in product(pieces, repeat=length)]
    rows = select_lines(build_messages(*product(keys, [None, *values])), "kafka")
    counted = rows.selectExpr("offset", f"{count_lines(rows, 'kafka')} AS lines")
    read = read_lines(rows, ReadBatches()).groupBy("offset").agg(F.count_if(F.expr(IS_LINE)))
    assert sorted(map(tuple, read.collect())) == sorted(map(tuple, counted.collect()))
    assert counted.where("lines = 0").count() == 2, "the heartbeats"


@pytest.mark.parametrize("kind", ["text", "parquet"])
def test_every_row_of_another_source_is_one_line(spark, tmp_path, kind):
    texts = [build_line(), "", "junk", build_common_line()]
    rows = spark.createDataFrame([(text,) for text in texts], "value STRING")
    rows.write.format(kind).save(str(tmp_path / "in"))
    lines = select_lines(spark.read.format(kind).load(str(tmp_path / "in")), kind)
    assert lines.selectExpr(f"sum({count_lines(lines, kind)})").first()[0] == len(texts)
    assert select_landed_lines(lines, "UTC").count() == len(texts)


def test_the_lines_of_the_rate_source_are_good(spark):
    rows = spark.range(30).selectExpr("id AS value", "timestamp'2015-05-17 10:05:03' AS timestamp")
    for read_batches in (ReadBatches(), None):
        requests = select_requests(rows, "rate", read_batches).collect()
        assert len(requests) == 30
        assert sum(row.status >= 500 for row in requests) == 3


def test_requests_are_read_in_every_format_with_python_and_in_two_without(build_messages):
    lines = [
        build_line(),
        build_common_line(),
        f"a:80 {build_line()}",
        json.dumps(NGINX),
        "junk",
        "",
    ]
    messages = build_messages((b"log:0", "\n".join(lines).encode()))
    assert select_requests(messages, "kafka", ReadBatches()).count() == 4
    assert select_requests(messages, "kafka").count() == 2


def test_unsuccessful_requests_are_filtered_and_statuses_counted(spark):
    requests = spark.createDataFrame([(200,), (200,), (404,), (None,), (206,)], "status INT")
    assert sorted(str(r.status) for r in filter_unsuccessful(requests).collect()) == [
        "206", "404", "None",
    ]  # fmt: skip
    counts = {row.status: row["count"] for row in count_by_status(requests).collect()}
    assert counts == {200: 2, 404: 1, 206: 1, None: 1}


def collect_pairs(messages):
    rows = messages.selectExpr("key", "CAST(value AS BINARY) AS value").collect()
    return [(bytes(row.key), bytes(row.value)) for row in rows]


def test_server_errors_in_every_detected_format_are_selected(build_messages):
    errors = [
        build_line(status="503"), f"a:80 {build_common_line(status='500')}",
        json.dumps(NGINX | {"status": "502"}),
        json.dumps(CADDY | {"status": 500}), ALB_LINES["Lambda that failed"][0],
    ]  # fmt: skip
    others = [build_line(), json.dumps(NGINX), json.dumps(CADDY), ALB_LINES["http"][0], "{junk", ""]
    text = "\n".join(line for pair in zip(errors, others[:5], strict=True) for line in pair)
    messages = build_messages((b"log:0", text.encode()), (b"log:9", "\n".join(others).encode()))
    routed = select_server_errors(select_messages(messages, "kafka"))
    assert collect_pairs(routed) == [(b"log:0", "\n".join(errors).encode())]


@pytest.mark.parametrize("select", [select_server_errors, select_common_server_errors])
def test_server_errors_are_routed_unchanged_with_the_key_of_their_message(build_messages, select):
    error = build_line(status="503", user_agent='x \\"y\\" \u00e4')
    common_error = build_common_line(status="599")
    forged = build_line(request='GET /x\\" 500 1 HTTP/1.1', status="200")
    others = [
        build_line(),
        forged,
        build_line(status="499"),
        build_line(status="600"),
        "junk 500 1",
        "",
    ]
    messages = build_messages(
        (b"log:0", f"{others[0]}\n{error}\n\n{common_error}\n{forged}".encode()),
        (b"log:9", "\n".join(others).encode()),
        (b"log:10", f"{common_error}\n".encode()),
        (b"log:11", None), (b"log:heartbeat", None), (b"log:12", b"\xff 500 1"),
    )  # fmt: skip
    assert sorted(collect_pairs(select(select_messages(messages, "kafka")))) == [
        (b"log:0", f"{error}\n{common_error}".encode()),
        (b"log:10", common_error.encode()),
    ]


@pytest.mark.parametrize("select", [select_server_errors, select_common_server_errors])
def test_server_errors_without_a_key_are_routed(build_messages, select):
    messages = build_messages((None, build_line(status="500").encode()))
    (row,) = select(select_messages(messages, "kafka")).collect()
    assert row.key is None
