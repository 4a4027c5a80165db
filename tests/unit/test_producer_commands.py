"""The commands of the access log producer that need no Kafka."""

import errno
import os
import re

import pytest
from typer.testing import CliRunner

from producers.access_log import __main__ as producer_module
from producers.access_log.__main__ import app
from producers.ledger import UnusableLedger


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


@pytest.mark.parametrize("option", ["--lines-per-message", "-n"])
def test_the_lines_of_a_message_have_a_long_and_a_short_option(tmp_path, option):
    result = run("generate", "--count", 3, option, 2, "--to", f"file:{tmp_path / 'a.log'}")
    assert result.exit_code == 0, result.output


def test_the_help_lists_the_commands_and_no_options_of_the_framework():
    output = run("--help").output
    assert {"generate", "send", "follow"} <= set(output.split())
    assert set(re.findall(r"--[a-z-]+", output)) == {"--help"}


@pytest.fixture
def fail_with(monkeypatch):
    """Return a function that lets sending to Kafka and following end with an error."""

    def fail(error):
        def raise_error(*args, **kwargs):
            raise error

        monkeypatch.setattr(producer_module, "produce_lines", raise_error)
        monkeypatch.setattr(producer_module, "follow_log", raise_error)

    return fail


COMMANDS = [("send", "{log}"), ("generate", "--count", 1), ("follow", "{log}")]


def run_command(command, log):
    return run(*(str(argument).format(log=log) for argument in command))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_error_of_the_ledger_is_printed_as_it_is(command, tmp_path, fail_with):
    log = tmp_path / "a.log"
    log.write_text("one\n")
    fail_with(UnusableLedger("the ledger l.csv cannot be used: No space left on device"))
    result = run_command(command, log)
    assert result.exit_code == 1
    assert "access_log: the ledger l.csv cannot be used: No space left on device\n" in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_error_while_the_log_is_read_names_the_log(command, tmp_path, fail_with):
    log = tmp_path / "a.log"
    log.write_text("one\n")
    fail_with(OSError(errno.EIO, os.strerror(errno.EIO)))
    result = run_command(command, log)
    assert result.exit_code == 1
    name = "the generated log" if command[0] == "generate" else f"the log {log}"
    assert f"access_log: {name}: Input/output error\n" in result.output
