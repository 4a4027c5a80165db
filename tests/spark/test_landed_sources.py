"""What was landed is a source like any other: the same numbers come out of it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from producers.clickstream.events import encode_rows, generate_events
from spark_jobs.transforms.clickstream import parse_clicks
from tests.builders import build_line
from tests.conftest import matrix_cases
from tests.spark.test_streams import EXPECTED

FUTURE = {"Clicks": 0, "Impressions": 1000, "ts": 4_000_000_000}
BAD = [b'junk, "quoted"', json.dumps(FUTURE).encode(), b'{"Clicks": -1, "Impressions": 2, "ts": 3}']


@pytest.fixture
def land(job, tmp_path):
    """Lands a source in a format; gives the sink as a source for others, and the manifest."""

    def landed(name, source, format_, *flags):
        made = f"{format_}:{tmp_path / 'landings' / format_ / name / 'data'}"
        told = tmp_path / f"{name}-{format_}.json"
        code, said = job(name, "--source", source, "--sink", made, "--manifest", told, *flags)
        assert code == 0, said
        return made, json.loads(told.read_text())

    return landed


@pytest.fixture
def clicks(tmp_path):
    """600 good events and three bad ones, as lines of text."""
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks" / "a.txt").write_bytes(
        b"\n".join([*encode_rows(generate_events(600, 1)), *BAD])
    )
    return f"text:{tmp_path / 'clicks'}"


LINES = [*[build_line(status=status, host=f"192.0.2.{n}") for n, status in enumerate(
    ["200", "404", "200", "500"])], "junk", ""]  # fmt: skip


@pytest.fixture
def log(tmp_path):
    """Four lines of an access log and two bad ones."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.log").write_text("\n".join(LINES) + "\n")
    return f"text:{tmp_path / 'log'}"


def table(spark, name):
    return {tuple(row) for row in spark.table(name).collect()}


@pytest.mark.parametrize("format_", ["parquet", "csv", *matrix_cases("orc", "json")])
def test_a_landed_clickstream_is_totalled_and_landed_again(spark, job, land, clicks, format_):
    source, first = land("land_clickstream", clicks, format_)
    assert (first["read"], first["good"], first["bad"], first["future"]) == (603, 600, 3, 1)
    # A file that the landing's query does not know, as a batch that was cut off leaves it.
    folder = source.partition(":")[2]
    file = min(Path(folder).rglob("part-*"))
    shutil.copy(file, file.with_name(f"part-stray.{format_}"))
    code, said = job("clickstream_totals", "--source", source, "--sink", "memory:landed_totals",
                     "--trigger", "available-now")  # fmt: skip
    assert code == 0, said
    assert "read 603 rows in 1 batch; 600 good, 2 bad, 1 future" in said
    assert table(spark, "landed_totals") == set(EXPECTED.items())
    if format_ in ("orc", "json"):
        return
    other = "json" if format_ == "parquet" else "parquet"
    again, second = land("land_clickstream", source, other)
    counts = ("read", "good", "bad", "future", "days")
    assert [second[name] for name in counts] == [first[name] for name in counts]
    landed = spark.read.format(other).load(again.partition(":")[2])
    assert landed.where("raw = 'junk, \"quoted\"'").count() == 1


@pytest.mark.parametrize("format_", ["parquet", *matrix_cases("json")])
def test_a_landed_access_log_is_watched_and_landed_again(spark, job, land, log, format_):
    source, first = land("land_access_log", log, format_)
    assert (first["good"], first["bad"]) == (4, 2)
    code, said = job("watch_access_log", "--source", source, "--sink", "memory:landed_statuses",
                     "--show", "by-status", "--output-mode", "complete",
                     "--trigger", "available-now")  # fmt: skip
    assert code == 0, said
    assert table(spark, "landed_statuses") == {(200, 2), (404, 1), (500, 1)}
    again, second = land("land_access_log", source, "orc")
    counts = ("read", "good", "bad", "undated", "days")
    assert [second[name] for name in counts] == [first[name] for name in counts]
    assert spark.read.orc(again.partition(":")[2]).where("raw = 'junk'").count() == 1


@pytest.mark.parametrize("format_", ["parquet", *matrix_cases("json")])
def test_what_needs_raw_lines_names_the_columns_that_it_found(job, land, log, clicks, format_):
    landed, _ = land("land_access_log", log, format_)
    for name, flags in {
        "word_count": ["--sink", "console"],
        "route_errors": ["--sink", "console"],
        "clickstream_totals": ["--sink", "console", "--trigger", "available-now"],
    }.items():
        code, said = job(name, "--source", landed, *flags)
        assert code == 2, said
        assert re.search(r"its files have the columns [\w, ]*log_format", said)
        expected = "expected Clicks STRING" if "click" in name else "expected value STRING"
        assert expected in said
    landed, _ = land("land_clickstream", clicks, format_)
    code, said = job("watch_access_log", "--source", landed, "--sink", "console")
    assert (code, "or landed rows: line_id STRING" in said) == (2, True), said


def test_columns_of_a_users_own_that_have_our_names_are_no_trouble(spark, job, tmp_path):
    rows = "Clicks INT, Impressions INT, ts BIGINT, topic STRING, received STRING, file STRING"
    made = spark.createDataFrame([(0, 3, 1715172068, "t", "r", "f")], rows)
    made.write.parquet(str(tmp_path / "own"))
    code, said = job("clickstream_totals", "--source", f"parquet:{tmp_path / 'own'}",
                     "--sink", "memory:own_totals", "--trigger", "available-now")  # fmt: skip
    assert code == 0, said
    assert table(spark, "own_totals") == {(41, 3)}


COURSE = '{"Clicks": "0", "Impressions": "6", "ts": 1602944650}'


@pytest.fixture
def text(tmp_path):
    """A folder with these lines."""

    def written(*lines):
        folder = tmp_path / f"text-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "a.txt").write_text("".join(f"{line}\n" for line in lines))
        return f"text:{folder}"

    return written


def test_counts_that_are_strings_are_named_by_field_and_end_in_an_error(job, text, land):
    totals = ["clickstream_totals", "--sink", "memory:misfits", "--trigger", "available-now"]
    source = text(COURSE, COURSE)
    code, said = job(*totals, "--source", source)
    assert code == 1, said
    assert (
        "2 of 2 lines do not fit the schema: Clicks is a string, the schema has INT (2 lines)"
        in said
    )
    assert "Impressions is a string, the schema has INT (2 lines)" in said
    assert "ts is" not in said
    assert f"sample: {COURSE}" in said
    assert "--shape batches reads arrays of events, and counts that are strings" in said
    assert "0 good, 2 bad" in said
    assert begins(said, "batch 0: 2 lines, 2 bad, because Clicks is a string, the schema has INT")
    # An endless run goes on: better messages may come.
    code, said = job(*totals[:-1], "every 1 second", "--run-seconds", 3, "--source", source)
    assert (code, "2 of 2 lines do not fit" in said) == (0, True), said
    # What was named helps.
    code, said = job(*totals, "--source", source, "--shape", "batches")
    assert (code, "2 good, 0 bad" in said, "do not fit" in said) == (0, True, False), said
    # A landing keeps them with their text, so it is done.
    _, told = land("land_clickstream", source, "parquet")
    assert told["bad"] == 2


def begins(said, words):
    return any(line.startswith(words) for line in said.splitlines())


def test_a_landing_says_why_too(job, text, tmp_path):
    code, said = job("land_clickstream", "--source", text(COURSE, *CLICKS),
                     "--sink", f"json:{tmp_path / 'l' / 'data'}")  # fmt: skip
    assert code == 0
    assert (
        "1 of 4 events do not fit the schema: Clicks is a string, the schema has INT (1 event)"
        in said
    )
    assert begins(said, "batch 0: 4 events, 1 bad, because Clicks is a string")
    assert "land_clickstream: read 4 events = 3 good + 1 bad" in said


CLICKS = [line.decode() for line in encode_rows(generate_events(3, 1))]


MISFITS = [
    ("rows", "[" + CLICKS[0] + "]", "the message is an array"),
    ("rows", "junk \x1b[31m", "the message is no JSON"),
    ("rows", "", "the message is empty"),
    ("rows", CLICKS[0] + CLICKS[0], "the message is an object with objects in it, or more than one"),
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
def misfits(spark):
    """(shape, line) -> what does not fit; good lines between them are none."""
    found = {}
    for shape, good in (("rows", CLICKS[0]), ("batches", "[]")):
        lines = [line for each, line, _ in MISFITS if each == shape]
        rows = spark.createDataFrame([(line,) for line in [*lines, good]], "value STRING")
        bad = parse_clicks(rows, "socket", shape).where("bad_reason IS NOT NULL").collect()
        assert [row.bad_reason for row in bad] == ["no_event"] * len(lines)
        found |= {(shape, line): row.misfit for line, row in zip(lines, bad, strict=True)}
    return found


@pytest.mark.parametrize(("shape", "line", "reason"), MISFITS)
def test_each_way_not_to_fit_has_its_name(misfits, shape, line, reason):
    named = {f"{part} is {kind}" for part, kind in misfits[shape, line].asDict().items() if kind}
    assert named == {reason}


def test_a_sample_is_short_and_cannot_command_a_terminal(job, text):
    code, said = job("clickstream_totals", "--sink", "memory:long", "--trigger", "available-now",
                     "--source", text("\x1b[2J" + "x" * 5000, *CLICKS))  # fmt: skip
    assert code == 0, said
    (sample,) = [line for line in said.splitlines() if "sample: " in line]
    assert sample.startswith("  sample: \\x1b[2Jxxx")
    assert sample.endswith("x…")
    assert len(sample) < 230


def test_nothing_clicked_at_the_first_second_of_1970_is_an_event(spark):
    """The least that fits: one less of anything is a reason, and the only one."""
    least = {"Clicks": 0, "Impressions": 0, "ts": 0}
    less = {"Clicks": "negative", "Impressions": "negative", "ts": "before 1970"}
    rows = [(json.dumps(least),), *[(json.dumps(least | {name: -1}),) for name in less]]
    found = parse_clicks(spark.createDataFrame(rows, "value STRING"), "socket", "rows").collect()
    kinds = [row.misfit and {k: v for k, v in row.misfit.asDict().items() if v} for row in found]
    assert kinds == [None, *({name: kind} for name, kind in less.items())]
