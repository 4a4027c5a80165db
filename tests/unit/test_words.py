import pytest

from spark_jobs.runtime.words import Refused, check_mode, parse_sink, parse_source, parse_trigger


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
    with pytest.raises(Refused, match="use available-now, once or every 5 seconds") as refused:
        parse_trigger(text)
    assert repr(text) in str(refused.value)


def test_places_have_a_kind_and_a_name():
    assert str(parse_source("kafka:access-log", ("kafka",))) == "kafka:access-log"
    assert parse_source("text:/a:b", ("text",)).name == "/a:b"
    assert parse_sink("parquet:/lake/data", ("parquet",)).kind == "parquet"


@pytest.mark.parametrize(
    "text", ["kafka", "kafka:", "socket:localhost:9999", "rate:5", "ftp:x", ""]
)
def test_a_source_not_served_is_refused_by_name_with_the_accepted_ones(text):
    with pytest.raises(Refused, match="use kafka:TOPIC or text:DIR") as refused:
        parse_source(text, ("kafka", "text"))
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["console", "memory:x", "orc:/x", "parquet"])
def test_a_sink_not_served_is_refused_by_name_with_the_accepted_ones(text):
    with pytest.raises(Refused, match="use parquet:DIR") as refused:
        parse_sink(text, ("parquet",))
    assert repr(text) in str(refused.value)


def test_a_sink_may_have_no_name_and_a_socket_needs_a_port():
    assert str(parse_sink("console", ("console",))) == "console"
    assert parse_source("socket:localhost:9999", ("socket",)).name == "localhost:9999"
    for text in ("socket:localhost", "socket:localhost:many", "socket::9", "socket:h:99999"):
        with pytest.raises(Refused, match="such as socket:localhost:9999"):
            parse_source(text, ("socket",))
    for text in ("console:x", "memory", "memory:"):
        with pytest.raises(Refused, match="use console or memory:NAME"):
            parse_sink(text, ("console", "memory"))
    with pytest.raises(Refused, match="a table's name"):
        parse_sink("memory:x; drop table y", ("memory",))


@pytest.mark.parametrize(
    ("mode", "sink", "aggregates", "says"),
    [
        ("complete", "parquet:/x/data", True, "files can only be added to"),
        ("update", "parquet:/x/data", False, "files can only be added to"),
        ("append", "console", True, "use complete or update"),
        ("complete", "console", False, "use append"),
        ("sometimes", "console", True, "use append, complete or update"),
    ],
)
def test_a_mode_that_could_not_run_is_refused_with_the_one_that_can(mode, sink, aggregates, says):
    place = parse_sink(sink, ("parquet", "console"))
    with pytest.raises(Refused, match=says) as refused:
        check_mode(mode, place, aggregates)
    assert repr(mode) in str(refused.value)
