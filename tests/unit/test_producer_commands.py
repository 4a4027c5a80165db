"""The commands of the access log producer that need no Kafka."""

import pytest
from typer.testing import CliRunner

from producers.access_log.__main__ import app


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_generated_log_is_written_to_a_file_without_a_rate_limit(tmp_path):
    result = run("generate", "--count", 20, "--to", f"file:{tmp_path / 'a.log'}", "--rate", 0)
    assert result.exit_code == 0, result.output
    assert "20 lines written" in result.output
    assert (tmp_path / "a.log").read_bytes().count(b"\n") == 20
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_log_is_sent_to_a_file_unchanged(tmp_path):
    (tmp_path / "a.log").write_bytes(b"one\ntwo\n\xff")
    result = run("send", tmp_path / "a.log", "--to", f"file:{tmp_path / 'b.log'}")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b.log").read_bytes() == b"one\ntwo\n\xff\n"


@pytest.mark.parametrize(
    "destination", ["nowhere", "http://localhost", "kafka:", "kafka", "file:", "file", ""]
)
def test_an_invalid_destination_is_refused_with_the_accepted_ones(destination):
    result = run("generate", "--count", 1, "--to", destination)
    assert result.exit_code == 2
    assert (
        f"--to {destination!r} is not understood; use kafka:TOPIC, file:PATH or stdout"
        in result.output
    )


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    result = run("generate", "--count", 1, "--to", f"file:{tmp_path}/none/a.log")
    assert result.exit_code == 1
    assert "none/a.log: No such file or directory" in result.output


@pytest.mark.parametrize("flags", [("--rate", -1), ("--lines-per-message", 0), ("--count", 0)])
def test_a_number_out_of_range_is_refused(flags):
    assert run("generate", "--to", "stdout", *flags).exit_code == 2
