"""The options of a stream: source, sink, trigger, starting offsets and their combinations."""

from contextlib import nullcontext

import pytest

from include.errors import InvalidInput
from spark_jobs import route_errors, watch_access_log
from spark_jobs.streaming.arguments import build_stream_parser, build_watch_parser
from spark_jobs.streaming.combinations import ROWS, TOTALS, format_choices
from spark_jobs.streaming.options import (
    parse_sink,
    parse_source,
    parse_starting_offsets,
    parse_stream_options,
    parse_trigger,
)


@pytest.mark.parametrize(
    ("text", "arguments", "engine"),
    [
        ("available-now", {"availableNow": True}, "micro-batch"),
        ("once", {"once": True}, "micro-batch"),
        ("every 5 seconds", {"processingTime": "5 seconds"}, "micro-batch"),
        ("every 1 minute", {"processingTime": "1 minute"}, "micro-batch"),
        ("continuous 1 second", {"continuous": "1 second"}, "continuous"),
        ("real-time 5 seconds", {"realTime": "5 seconds"}, "real-time"),
    ],
)
def test_a_trigger_gives_the_arguments_and_the_engine_of_spark(text, arguments, engine):
    trigger = parse_trigger(text)
    assert (trigger.spark_arguments, trigger.engine, str(trigger)) == (arguments, engine, text)


@pytest.mark.parametrize(
    "text", ["", "now", "every", "every five seconds", "every 5", "continuous", "real-time",
             "once more", "available-now please", "every 0 seconds"],
)  # fmt: skip
def test_an_unknown_trigger_is_refused_with_the_accepted_ones(text):
    with pytest.raises(InvalidInput, match="use available-now, once, every 5 seconds") as error:
        parse_trigger(text)
    assert repr(text) in str(error.value)


def test_a_real_time_trigger_needs_at_least_five_seconds():
    with pytest.raises(InvalidInput, match="use real-time 5 seconds"):
        parse_trigger("real-time 500 milliseconds")
    parse_trigger("real-time 1 minute")


@pytest.mark.parametrize("folder", ["s3a://bucket/data", "hdfs://host:8020/x", "file:/var/x"])
def test_a_url_is_refused_as_a_folder(folder):
    """As a path, it would silently become a local folder of that name."""
    for parse, kind in ((parse_source, "text"), (parse_sink, "parquet")):
        with pytest.raises(
            InvalidInput, match="not a URL; only a landing can write its data to a store"
        ):
            parse(f"{kind}:{folder}")


def test_endpoints_have_a_kind_and_a_name():
    assert str(parse_source("kafka:access-log", ("kafka",))) == "kafka:access-log"
    assert parse_source("text:/a:b", ("text",)).name == "/a:b"
    assert parse_source("kafka:" + "A.b_1-" * 41).name == "A.b_1-" * 41
    assert parse_sink("parquet:/lake/data", ("parquet",)).kind == "parquet"
    assert parse_sink("foreach:http://localhost:80/x").name == "http://localhost:80/x"


@pytest.mark.parametrize(
    "text", ["kafka", "kafka:", "socket:localhost:9999", "rate:5", "ftp:x", ""]
)
def test_an_unsupported_source_is_refused_with_the_accepted_ones(text):
    with pytest.raises(InvalidInput, match="use kafka:TOPIC or text:DIR") as error:
        parse_source(text, ("kafka", "text"))
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["console", "memory:x", "orc:/x", "parquet"])
def test_an_unsupported_sink_is_refused_with_the_accepted_ones(text):
    with pytest.raises(InvalidInput, match="use parquet:DIR") as error:
        parse_sink(text, ("parquet",))
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("socket:localhost", "such as socket:localhost:9999"),
        ("socket:localhost:many", "such as socket:localhost:9999"),
        ("socket::9", "such as socket:localhost:9999"),
        ("socket:h:99999", "such as socket:localhost:9999"),
        ("rate:0", "such as rate:10"),
        ("rate:fast", "such as rate:10"),
        ("kafka:x y", "'kafka:x y': a topic name may contain letters, digits, '.', '_' and '-'"),
        ("kafka:x\n", "a topic name may contain letters"),
        ("kafka:a,b", "a topic name may contain letters"),
        ("kafka:ä", "a topic name may contain letters"),
        ("kafka:..", "a topic name may contain letters"),
        ("kafka:" + "x" * 250, "at most 249 characters, and this one has 250"),
    ],
)
def test_an_invalid_source_name_is_refused_with_an_example(text, message):
    with pytest.raises(InvalidInput, match=message):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("console:x", "use parquet:DIR"),
        ("memory", "memory:NAME"),
        ("memory:x; drop table y", "a table name"),
        ("memory:x\n", "a table name"),
        ("memory:größe", "a table name"),
        ("kafka:x\n", "sink 'kafka:x.n': a topic name may contain letters"),
        ("foreach:mine", "foreach:sqlite:FILE or foreach:http"),
        ("foreach:http://", "foreach:sqlite:FILE or foreach:http"),
    ],
)
def test_an_invalid_sink_name_is_refused_with_an_example(text, message):
    with pytest.raises(InvalidInput, match=message):
        parse_sink(text)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("earliest", {"startingOffsets": "earliest"}),
        ("latest", {"startingOffsets": "latest"}),
        ("0:5,1:70", {"startingOffsets": '{"a": {"0": 5, "1": 70}}'}),
        ("2026-01-15T00:00:00Z", {"startingTimestamp": "1768435200000",
                                  "startingOffsetsByTimestampStrategy": "latest"}),
        ("2026-01-15T01:00:00+01:00", {"startingTimestamp": "1768435200000",
                                       "startingOffsetsByTimestampStrategy": "latest"}),
    ],
)  # fmt: skip
def test_starting_offsets_become_options_of_the_kafka_source(text, options):
    assert parse_starting_offsets(text, "a") == options


@pytest.mark.parametrize("text", ["", "now", "5", "2026-01-15", "2026-01-15T00:00:00", "0:x"])
def test_invalid_starting_offsets_are_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match="2026-01-15T00:00:00Z"):
        parse_starting_offsets(text, "a")


def parse_watch_flags(*flags, mode="append", query=ROWS):
    return parse_stream_options(
        build_watch_parser(None, mode, "available-now").parse_args(flags), query
    )


KAFKA = ("--source", "kafka:a", "--servers", "localhost:9092")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--source", "kafka:a", "--sink", "console"), "kafka needs --servers"),
        (("--source", "text:/a", "--sink", "kafka:b"), "kafka needs --servers"),
        ((*KAFKA, "--sink", "kafka:a", "--checkpoint", "/c"), "one topic, 'a'"),
        ((*KAFKA, "--sink", "kafka:b"), "needs --checkpoint FOLDER"),
        ((*KAFKA, "--sink", "orc:/x"), "needs --checkpoint FOLDER"),
        ((*KAFKA, "--sink", "memory:t", "--checkpoint", "/c"), "leave the checkpoint out"),
        ((*KAFKA, "--sink", "console", "--select", "SELECT 1"), "--select reads the table of"),
        ((*KAFKA, "--sink", "console", "--select-every", "1"), "--select-every reads the"),
        ((*KAFKA, "--sink", "console", "--latest-first"), "--latest-first applies only to"),
        ((*KAFKA, "--sink", "console", "--archive", "/x"), "--archive applies only to files"),
        ((*KAFKA, "--sink", "console", "--starting-offsets", "soon"), "--starting-offsets 'soon'"),
        (("--source", "text:/a", "--sink", "console", "--starting-offsets", "latest"), "to Kafka"),
        (("--source", "text:/a", "--sink", "console", "--max-per-trigger", "5"), "leave it out"),
        (("--source", "text:/a", "--sink", "console", "--archive", "/a/b"), "a folder beside it"),
        (("--source", "text:/a", "--sink", "orc:/a/b", "--checkpoint", "/c"), "lies in the other"),
        ((*KAFKA, "--sink", "console", "--output-mode", "some"), "use append, complete or update"),
        ((*KAFKA, "--sink", "console", "--max-per-trigger", "5", "--trigger",
          "continuous 1 second"), "leave it out"),
    ],
)  # fmt: skip
def test_flags_that_contradict_each_other_are_refused_with_the_remedy(flags, message):
    with pytest.raises(InvalidInput, match=message):
        parse_watch_flags(*flags)


def test_valid_flags_become_stream_options():
    options = parse_watch_flags(*KAFKA, "--sink", "memory:t", mode="complete", query=TOTALS)
    assert (str(options.source), str(options.sink), options.mode, str(options.trigger)) == (
        "kafka:a", "memory:t", "complete", "available-now",
    )  # fmt: skip


@pytest.mark.parametrize("missing", ["--source", "--sink"])
def test_a_stream_needs_a_source_and_a_sink(missing, capsys):
    flags = {"--source": "text:/a", "--sink": "orc:/b/data"}
    del flags[missing]
    with pytest.raises(SystemExit):
        build_stream_parser(None, "append", "available-now").parse_args(
            [word for flag in flags.items() for word in flag]
        )
    assert f"the following arguments are required: {missing}\n" in capsys.readouterr().err


def test_a_landing_needs_no_checkpoint_flag():
    args = build_stream_parser(None, "append", "available-now").parse_args(
        ["--source", "text:/a", "--sink", "orc:/b/data"]
    )
    assert parse_stream_options(args, ROWS).sink.kind == "orc"


def test_a_socket_source_accepts_ports_from_1_to_65535():
    for port in (1, 65535):
        assert parse_source(f"socket:localhost:{port}").name == f"localhost:{port}"
    for port in (0, 65536):
        with pytest.raises(InvalidInput, match="such as socket:localhost:9999"):
            parse_source(f"socket:localhost:{port}")


@pytest.mark.parametrize(
    ("choices", "text"), [(("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c")]
)
def test_choices_are_listed_with_commas_and_or(choices, text):
    assert format_choices(choices) == text


@pytest.mark.parametrize("main", [route_errors.main, watch_access_log.main])
@pytest.mark.parametrize(
    ("trigger", "mode", "is_refused"),
    [
        ("real-time 5 seconds", "update", True),
        ("continuous 1 second", "append", True),
        ("every 1 second", "append", False),
    ],
)
def test_a_logformat_is_refused_with_a_trigger_that_runs_no_python(main, trigger, mode, is_refused):
    source = "socket:localhost:9999" if "continuous" in trigger else "kafka:in"
    flags = ["--source", source, "--sink", "kafka:out", "--servers", "localhost:1", "--checkpoint", "/c",
             "--trigger", trigger, "--output-mode", mode, "--check"]  # fmt: skip
    main(flags)
    expected = f"trigger '{trigger}' with --log-format: .* use every 1 second"
    with pytest.raises(InvalidInput, match=expected) if is_refused else nullcontext():
        main([*flags, "--log-format", "combined"])
