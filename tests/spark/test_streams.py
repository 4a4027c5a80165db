"""The course's examples on folders of files: the same totals however they travel and fire."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from include.settings import PROJECT
from producers.clickstream.events import batch_messages, events, row_messages
from spark_jobs.transforms.clickstream import (
    ROW_DDL,
    count_bad,
    parse_clicks,
    total_by_minute,
    total_by_window,
)
from spark_jobs.transforms.words import count_words, split_words

EXPECTED: Counter[int] = Counter()
for event in events(600, 1):
    EXPECTED[datetime.fromtimestamp(event.ts, UTC).minute] += event.Impressions


@pytest.fixture
def messages(tmp_path):
    """A folder with the messages of a shape, one a line; give its path."""

    def written(shape, *others):
        made = (
            row_messages(events(600, 1)) if shape == "rows" else batch_messages(events(600, 1), 20)
        )
        (tmp_path / shape).mkdir()
        (tmp_path / shape / "a.json").write_bytes(b"\n".join([*made, *others]))
        return str(tmp_path / shape)

    return written


def totals(rows):
    return {row.minute_bin: row["Total Impressions"] for row in rows.collect()}


@pytest.mark.parametrize("shape", ["rows", "batches"])
def test_both_shapes_give_the_totals_of_the_events(spark, messages, shape):
    found = parse_clicks(spark.read.text(messages(shape)), shape)
    assert totals(total_by_minute(found)) == dict(EXPECTED)


@pytest.mark.parametrize("shape", ["rows", "batches"])
@pytest.mark.parametrize(
    "trigger", [{"once": True}, {"availableNow": True}, {"processingTime": "1 second"}]
)
def test_a_stream_gives_the_totals_of_the_batch_whatever_its_trigger(
    spark, messages, shape, trigger
):
    name = f"minute_bin_{shape}_{next(iter(trigger)).lower()}"
    rows = total_by_minute(parse_clicks(spark.readStream.text(messages(shape)), shape))
    query = rows.writeStream.format("memory").queryName(name).outputMode("complete")
    query = query.trigger(**trigger).start()
    query.processAllAvailable() if "processingTime" in trigger else query.awaitTermination(60)
    query.stop()
    assert totals(spark.table(name)) == dict(EXPECTED)


def test_the_wrong_schema_gives_nulls_without_a_word_and_ours_says_so(spark, messages):
    folder = messages(
        "batches", b"no json", b'{"Clicks": 1}', b"[]", b'[{"Clicks": "x", "ts": 1}]', b""
    )
    text = spark.read.text(folder)
    wrong = text.select(F.from_json("value", ROW_DDL).alias("e")).select("e.*")
    assert wrong.where("Impressions IS NOT NULL").count() == 0
    found = parse_clicks(text, "batches")
    assert found.where("NOT is_bad").count() == 600
    assert found.where("is_bad").count() == 3, "no JSON, no impressions, clicks that are no number"
    assert totals(total_by_minute(found)) == dict(EXPECTED)


def test_events_are_counted_good_and_bad_while_they_pass(spark, messages):
    from pyspark.sql import Observation

    text = spark.read.text(
        messages("rows", b"junk", b'{"Clicks": 1, "Impressions": "two", "ts": 3}')
    )
    seen = Observation("seen")
    found = parse_clicks(text, "rows")
    found.observe(seen, F.count_if("is_bad").alias("bad"), F.count(F.lit(1)).alias("all")).collect()
    assert seen.get == {"bad": 2, "all": 602}
    assert count_bad(found).count() == 602


def test_a_minute_of_the_hour_mixes_hours_and_a_window_does_not(spark):
    rows = [(json.dumps({"Clicks": 0, "Impressions": 1, "ts": ts}),) for ts in (0, 3600, 3660)]
    found = parse_clicks(spark.createDataFrame(rows, "value STRING"), "rows")
    assert totals(total_by_minute(found)) == {0: 2, 1: 1}
    windows = total_by_window(found).orderBy("minute_start")
    starts = windows.select(F.unix_timestamp("minute_start").alias("s"), "Total Impressions")
    assert [tuple(row) for row in starts.collect()] == [(0, 1), (3600, 1), (3660, 1)]


def test_words_are_split_at_any_space_and_counted(spark):
    lines = spark.createDataFrame(
        [("the tide\tcomes  in ",), ("",), ("  the boats",)], "value STRING"
    )
    counts = {row.word: row["count"] for row in count_words(split_words(lines)).collect()}
    assert counts == {"the": 2, "tide": 1, "comes": 1, "in": 1, "boats": 1}


def test_the_labs_tasks_are_views_of_the_same_lines(spark, tmp_path):
    from spark_jobs.watch_access_log import COLUMNS, SHOWS
    from tests.builders import a_line

    lines = spark.createDataFrame(
        [(a_line(status=status),) for status in ("200", "404", "200")] + [("junk",)], "line STRING"
    )
    assert SHOWS["parsed"](lines).columns == COLUMNS
    assert SHOWS["parsed"](lines).count() == 3
    assert [row.status for row in SHOWS["unsuccessful"](lines).collect()] == [404]
    assert {r.status: r["count"] for r in SHOWS["by-status"](lines).collect()} == {200: 2, 404: 1}


def test_the_page_shows_the_totals_that_the_events_have():
    page = (PROJECT / "docs" / "streams.md").read_text()
    for minute in range(5):
        assert f"|{minute:<10}|{EXPECTED[minute]:<17}|" in page
