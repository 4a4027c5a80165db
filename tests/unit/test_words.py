import pytest

from spark_jobs.runtime.words import Refused, parse_sink, parse_source, parse_trigger


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("available-now", {"availableNow": True}),
        ("once", {"once": True}),
        ("every 5 seconds", {"processingTime": "5 seconds"}),
        ("every 1 minute", {"processingTime": "1 minute"}),
    ],
)
def test_a_trigger_is_a_word(text, expected):
    assert parse_trigger(text) == expected


@pytest.mark.parametrize(
    "text", ["", "now", "every", "every five seconds", "every 5", "continuous 1 second",
             "real-time 5 seconds", "once more", "available-now please"],
)  # fmt: skip
def test_a_trigger_not_served_is_refused_by_name_with_the_accepted_ones(text):
    with pytest.raises(Refused, match="use available-now, once, or every") as refused:
        parse_trigger(text)
    assert repr(text) in str(refused.value)


def test_places_have_a_kind_and_a_name():
    assert str(parse_source("kafka:access-log")) == "kafka:access-log"
    assert parse_source("text:/a:b").name == "/a:b"
    assert parse_sink("parquet:/lake/data").kind == "parquet"


@pytest.mark.parametrize(
    "text", ["kafka", "kafka:", "socket:localhost:9999", "rate:5", "ftp:x", ""]
)
def test_a_source_not_served_is_refused_by_name_with_the_accepted_ones(text):
    with pytest.raises(Refused, match="use kafka:TOPIC or text:DIR") as refused:
        parse_source(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["console", "memory:x", "orc:/x", "parquet"])
def test_a_sink_not_served_is_refused_by_name_with_the_accepted_ones(text):
    with pytest.raises(Refused, match="use parquet:DIR") as refused:
        parse_sink(text)
    assert repr(text) in str(refused.value)
