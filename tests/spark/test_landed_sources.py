"""Landed data is a source like any other, and gives the same numbers."""

import json
import re
import shutil
from pathlib import Path

import pytest

from producers.clickstream.events import encode_rows, generate_events
from spark_jobs.transforms.clickstream import parse_clicks
from tests.builders import build_line
from tests.conftest import matrix_cases
from tests.spark.test_streams import IMPRESSIONS_BY_MINUTE

FUTURE_EVENT = {"Clicks": 0, "Impressions": 1000, "ts": 4_000_000_000}
BAD_MESSAGES = [
    b'junk, "quoted"',
    json.dumps(FUTURE_EVENT).encode(),
    b'{"Clicks": -1, "Impressions": 2, "ts": 3}',
]


@pytest.fixture
def land(job, tmp_path):
    """Land a source in a format; return the sink, as a source for other jobs, and the manifest."""

    def land_source(name, source, file_format, *flags):
        sink = f"{file_format}:{tmp_path / 'landings' / file_format / name / 'data'}"
        manifest = tmp_path / f"{name}-{file_format}.json"
        code, output = job(name, "--source", source, "--sink", sink, "--manifest", manifest, *flags)
        assert code == 0, output
        return sink, json.loads(manifest.read_text())

    return land_source


@pytest.fixture
def clickstream_source(tmp_path):
    """600 good events and three bad ones, one per line."""
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks" / "a.txt").write_bytes(
        b"\n".join([*encode_rows(generate_events(600, 1)), *BAD_MESSAGES])
    )
    return f"text:{tmp_path / 'clicks'}"


LOG_LINES = [*[build_line(status=status, host=f"192.0.2.{n}") for n, status in enumerate(
    ["200", "404", "200", "500"])], "junk", ""]  # fmt: skip


@pytest.fixture
def access_log_source(tmp_path):
    """Four lines of an access log and two bad ones."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.log").write_text("\n".join(LOG_LINES) + "\n")
    return f"text:{tmp_path / 'log'}"


def read_table(spark, name):
    return {tuple(row) for row in spark.table(name).collect()}


@pytest.mark.parametrize("file_format", ["parquet", "csv", *matrix_cases("orc", "json")])
def test_a_landed_clickstream_can_be_totalled_and_landed_again(
    spark, job, land, clickstream_source, file_format
):
    source, first = land("land_clickstream", clickstream_source, file_format)
    assert (first["read"], first["good"], first["bad"], first["future"]) == (603, 600, 3, 1)
    # An interrupted batch leaves a file that is not in the sink's log.
    folder = source.partition(":")[2]
    file = min(Path(folder).rglob("part-*"))
    shutil.copy(file, file.with_name(f"part-stray.{file_format}"))
    code, output = job("clickstream_totals", "--source", source, "--sink", "memory:landed_totals",
                       "--trigger", "available-now")  # fmt: skip
    assert code == 0, output
    assert "read 603 rows in 1 batch; 600 good, 2 bad, 1 future" in output
    assert read_table(spark, "landed_totals") == set(IMPRESSIONS_BY_MINUTE.items())
    if file_format in ("orc", "json"):
        return
    other_format = "json" if file_format == "parquet" else "parquet"
    second_sink, second = land("land_clickstream", source, other_format)
    counts = ("read", "good", "bad", "future", "days")
    assert [second[name] for name in counts] == [first[name] for name in counts]
    landed_rows = spark.read.format(other_format).load(second_sink.partition(":")[2])
    assert landed_rows.where("raw = 'junk, \"quoted\"'").count() == 1


@pytest.mark.parametrize("file_format", ["parquet", *matrix_cases("json")])
def test_a_landed_access_log_can_be_watched_and_landed_again(
    spark, job, land, access_log_source, file_format
):
    source, first = land("land_access_log", access_log_source, file_format)
    assert (first["good"], first["bad"]) == (4, 2)
    code, output = job("watch_access_log", "--source", source, "--sink", "memory:landed_statuses",
                       "--show", "by-status", "--output-mode", "complete",
                       "--trigger", "available-now")  # fmt: skip
    assert code == 0, output
    assert read_table(spark, "landed_statuses") == {(200, 2), (404, 1), (500, 1)}
    second_sink, second = land("land_access_log", source, "orc")
    counts = ("read", "good", "bad", "undated", "days")
    assert [second[name] for name in counts] == [first[name] for name in counts]
    assert spark.read.orc(second_sink.partition(":")[2]).where("raw = 'junk'").count() == 1


@pytest.mark.parametrize("file_format", ["parquet", *matrix_cases("json")])
def test_jobs_that_need_raw_lines_refuse_landed_data_and_list_its_columns(
    job, land, access_log_source, clickstream_source, file_format
):
    landed_source, _ = land("land_access_log", access_log_source, file_format)
    for name, flags in {
        "word_count": ["--sink", "console"],
        "route_errors": ["--sink", "console"],
        "clickstream_totals": ["--sink", "console", "--trigger", "available-now"],
    }.items():
        code, output = job(name, "--source", landed_source, *flags)
        assert code == 2, output
        assert re.search(r"its files have the columns [\w, ]*log_format", output)
        expected = "expected Clicks STRING" if "click" in name else "expected value STRING"
        assert expected in output
    landed_source, _ = land("land_clickstream", clickstream_source, file_format)
    code, output = job("watch_access_log", "--source", landed_source, "--sink", "console")
    assert (code, "or landed rows: line_id STRING" in output) == (2, True), output


def test_a_users_files_may_have_columns_with_the_names_of_landed_columns(spark, job, tmp_path):
    ddl = "Clicks INT, Impressions INT, ts BIGINT, topic STRING, received STRING, file STRING"
    rows = spark.createDataFrame([(0, 3, 1715172068, "t", "r", "f")], ddl)
    rows.write.parquet(str(tmp_path / "own"))
    code, output = job("clickstream_totals", "--source", f"parquet:{tmp_path / 'own'}",
                       "--sink", "memory:own_totals", "--trigger", "available-now")  # fmt: skip
    assert code == 0, output
    assert read_table(spark, "own_totals") == {(41, 3)}


STRING_COUNTS = '{"Clicks": "0", "Impressions": "6", "ts": 1602944650}'


@pytest.fixture
def write_source(tmp_path):
    """Write lines to a file in a new folder; return the folder as a source."""

    def write_lines(*lines):
        folder = tmp_path / f"text-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "a.txt").write_text("".join(f"{line}\n" for line in lines))
        return f"text:{folder}"

    return write_lines


def test_counts_that_are_strings_fail_the_job_and_are_named_by_field(job, write_source, land):
    command = ["clickstream_totals", "--sink", "memory:misfits", "--trigger", "available-now"]
    source = write_source(STRING_COUNTS, STRING_COUNTS)
    code, output = job(*command, "--source", source)
    assert code == 1, output
    assert (
        "2 of 2 lines do not fit the schema: Clicks is a string, the schema has INT (2 lines)"
        in output
    )
    assert "Impressions is a string, the schema has INT (2 lines)" in output
    assert "ts is" not in output
    assert f"sample: {STRING_COUNTS}" in output
    assert "--shape batches reads arrays of events, and counts that are strings" in output
    assert "0 good, 2 bad" in output
    assert has_line_starting_with(
        output, "batch 0: 2 lines, 2 bad, because Clicks is a string, the schema has INT"
    )
    # An endless run continues, because good messages may follow.
    code, output = job(*command[:-1], "every 1 second", "--run-seconds", 3, "--source", source)
    assert (code, "2 of 2 lines do not fit" in output) == (0, True), output
    # The suggested flag solves it.
    code, output = job(*command, "--source", source, "--shape", "batches")
    assert (code, "2 good, 0 bad" in output, "do not fit" in output) == (0, True, False), output
    # A landing succeeds, because it keeps bad events with their text.
    _, manifest = land("land_clickstream", source, "parquet")
    assert manifest["bad"] == 2


def has_line_starting_with(output, start):
    return any(line.startswith(start) for line in output.splitlines())


def test_a_landing_prints_why_events_are_bad(job, write_source, tmp_path):
    code, output = job("land_clickstream", "--source", write_source(STRING_COUNTS, *EVENTS),
                       "--sink", f"json:{tmp_path / 'l' / 'data'}")  # fmt: skip
    assert code == 0
    assert (
        "1 of 4 events do not fit the schema: Clicks is a string, the schema has INT (1 event)"
        in output
    )
    assert has_line_starting_with(output, "batch 0: 4 events, 1 bad, because Clicks is a string")
    assert "land_clickstream: read 4 events = 3 good + 1 bad" in output


EVENTS = [line.decode() for line in encode_rows(generate_events(3, 1))]


MISFITS = [
    ("rows", "[" + EVENTS[0] + "]", "the message is an array"),
    ("rows", "junk \x1b[31m", "the message is no JSON"),
    ("rows", "", "the message is empty"),
    ("rows", EVENTS[0] + EVENTS[0], "the message is an object with objects in it, or more than one"),
    ("rows", '{"Clicks": 1.5, "Impressions": 1, "ts": 1}', "Clicks is a number with a fraction"),
    ("rows", '{"Clicks": 1, "Impressions": null, "ts": 1}', "Impressions is null"),
    ("rows", '{"Clicks": 1, "Impressions": 99999999999, "ts": 1}', "Impressions is too large a number"),
    ("rows", '{"Clicks": 1, "Impressions": 1}', "ts is missing"),
    ("rows", '{"Clicks": 1, "Impressions": 1, "ts": "noon"}', "ts is a string"),
    ("rows", '{"Clicks": -1, "Impressions": 1, "ts": 1}', "Clicks is negative"),
    ("batches", '[{"Clicks": "x", "Impressions": "1", "ts": 1}]', "Clicks is no whole number"),
    ("batches", '[{"Clicks": "1", "ts": 1}]', "Impressions is missing"),
    ("batches", "12", "the message is too large a number"),
]  # fmt: skip


@pytest.fixture(scope="module")
def misfit_by_case(spark):
    """What does not fit in each case, by (shape, line). A good line per shape has no misfit."""
    misfit_by_case = {}
    for shape, good_line in (("rows", EVENTS[0]), ("batches", "[]")):
        lines = [line for case_shape, line, _ in MISFITS if case_shape == shape]
        rows = spark.createDataFrame([(line,) for line in [*lines, good_line]], "value STRING")
        bad = parse_clicks(rows, "socket", shape).where("bad_reason IS NOT NULL").collect()
        assert [row.bad_reason for row in bad] == ["no_event"] * len(lines)
        misfit_by_case |= {(shape, line): row.misfit for line, row in zip(lines, bad, strict=True)}
    return misfit_by_case


@pytest.mark.parametrize(("shape", "line", "reason"), MISFITS)
def test_each_kind_of_misfit_is_named(misfit_by_case, shape, line, reason):
    reasons = {
        f"{part} is {kind}" for part, kind in misfit_by_case[shape, line].asDict().items() if kind
    }
    assert reasons == {reason}


def test_a_sample_is_shortened_and_its_control_characters_are_escaped(job, write_source):
    code, output = job("clickstream_totals", "--sink", "memory:long", "--trigger", "available-now",
                       "--source", write_source("\x1b[2J" + "x" * 5000, *EVENTS))  # fmt: skip
    assert code == 0, output
    (sample,) = [line for line in output.splitlines() if "sample: " in line]
    assert sample.startswith("  sample: \\x1b[2Jxxx")
    assert sample.endswith("x…")
    assert len(sample) < 230


def test_zero_is_the_smallest_valid_value_of_every_field(spark):
    """One less than the smallest value is the only reason to refuse the event."""
    smallest = {"Clicks": 0, "Impressions": 0, "ts": 0}
    reason_by_field = {"Clicks": "negative", "Impressions": "negative", "ts": "before 1970"}
    rows = [
        (json.dumps(smallest),),
        *[(json.dumps(smallest | {name: -1}),) for name in reason_by_field],
    ]
    events = parse_clicks(spark.createDataFrame(rows, "value STRING"), "socket", "rows").collect()
    kinds = [row.misfit and {k: v for k, v in row.misfit.asDict().items() if v} for row in events]
    assert kinds == [None, *({name: kind} for name, kind in reason_by_field.items())]
