"""The producers' command line, as far as it needs no Kafka."""

import pytest
from typer.testing import CliRunner

from producers.access_log.__main__ import app


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_generated_log_is_written_to_a_file_as_fast_as_it_can_be(tmp_path):
    done = run("generate", "--count", 20, "--to", f"file:{tmp_path / 'a.log'}", "--rate", 0)
    assert done.exit_code == 0, done.output
    assert "20 lines written" in done.output
    assert (tmp_path / "a.log").read_bytes().count(b"\n") == 20
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_file_is_replayed_into_another_as_it_is(tmp_path):
    (tmp_path / "a.log").write_bytes(b"one\ntwo\n\xff")
    done = run("send", tmp_path / "a.log", "--to", f"file:{tmp_path / 'b.log'}")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "b.log").read_bytes() == b"one\ntwo\n\xff\n"


@pytest.mark.parametrize(
    "to", ["nowhere", "http://localhost", "kafka:", "kafka", "file:", "file", ""]
)
def test_where_lines_cannot_go_is_refused_with_where_they_can(to):
    done = run("generate", "--count", 1, "--to", to)
    assert done.exit_code == 2
    assert f"--to {to!r} is not understood; use kafka:TOPIC, file:PATH or stdout" in done.output


def test_a_file_that_cannot_be_written_is_told_by_name(tmp_path):
    done = run("generate", "--count", 1, "--to", f"file:{tmp_path}/none/a.log")
    assert done.exit_code == 1
    assert "none/a.log: No such file or directory" in done.output


@pytest.mark.parametrize("flags", [("--rate", -1), ("--lines-per-message", 0), ("--count", 0)])
def test_a_number_that_cannot_be_is_refused(flags):
    assert run("generate", "--to", "stdout", *flags).exit_code == 2
