"""`./tidemark`: its commands, and the flags that a job gets from the settings."""

import argparse
import os
import re
import subprocess

import pytest

from include.orchestration.launcher import add_settings_flags, list_jobs
from include.orchestration.spark_conf import build_line_flags
from include.settings import PROJECT, load_settings
from spark_jobs.streaming.access_log_flags import add_line_reader_flags

KAFKA, FILES = "kafka:access-log", "text:/logs"


@pytest.mark.parametrize(("flags", "is_added"), [
    (["--source", KAFKA], True), ([f"--source={KAFKA}"], True), (["--source", FILES, "--sink", KAFKA], True),
    (["--source", FILES], False), (["--source"], False), (["--filter", KAFKA], False),
])  # fmt: skip
def test_a_job_with_a_kafka_endpoint_gets_the_servers_of_the_settings(flags, is_added):
    settings = load_settings({"TIDEMARK_KAFKA_SERVERS": "one:9092"})
    assert (
        add_settings_flags(settings, "word_count", flags)
        == flags + ["--servers=one:9092"] * is_added
    )


@pytest.mark.parametrize("given_flags", [["--servers", "two:9092"], ["--servers=two:9092"]])
def test_given_servers_are_not_replaced(given_flags):
    settings = load_settings({"TIDEMARK_KAFKA_SERVERS": "one:9092"})
    flags = ["--source", KAFKA, *given_flags]
    assert add_settings_flags(settings, "word_count", flags) == flags


READER_SETTINGS = {
    "TIDEMARK_ANONYMISE_ADDRESSES": "1",
    "TIDEMARK_DROP_QUERY_NAMES": "token",
    "TIDEMARK_TIME_ZONE": "Europe/Berlin",
    "TIDEMARK_LOG_FORMAT": "%h %t",
}


def test_a_landing_job_gets_privacy_and_format_flags_from_the_settings():
    flags = add_settings_flags(
        load_settings(READER_SETTINGS), "land_access_log", ["--source", FILES]
    )
    assert flags[2:] == [
        "--log-format=%h %t",
        "--anonymise=1",
        "--drop-query-names=token",
        "--time-zone=Europe/Berlin",
    ]
    assert add_settings_flags(load_settings(READER_SETTINGS), "word_count", []) == []
    given_flags = ["--anonymise", "2", "--log-format=", "--drop-query-names=a", "--time-zone=UTC"]
    assert (
        add_settings_flags(load_settings(READER_SETTINGS), "land_access_log", given_flags)
        == given_flags
    )


@pytest.mark.parametrize("job", ["land_access_log", "replay_bad_lines"])
def test_default_settings_equal_the_defaults_of_the_job(job):
    """`./tidemark run` passes only settings that differ from their defaults."""
    parser = argparse.ArgumentParser()
    add_line_reader_flags(parser)
    flags = build_line_flags(load_settings({}), job)
    del flags["w3c_fields"]
    assert flags == {name: str(parser.get_default(name)) for name in flags}


@pytest.mark.parametrize(("arguments", "message"), [
    (["run"], "run needs the name of a job"), (["run", "nothing"], "job 'nothing' is unknown"),
    (["run", "--verbose", "nothing"], "job 'nothing' is unknown"),
    (["produce", "nothing"], "'produce nothing' is unknown"), (["walk"], "'walk' is unknown"),
])  # fmt: skip
def test_an_unknown_command_or_job_is_refused_by_name(arguments, message):
    result = subprocess.run(
        [PROJECT / "tidemark", *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode != 0
    assert message in result.stderr


@pytest.fixture
def java_home(tmp_path):
    """A folder with a `java` that only says its version: no JVM is needed to print a command."""
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    java.chmod(0o755)
    return java.parent.parent


@pytest.mark.parametrize(("flags", "level"), [([], "off"), (["--verbose"], "info")])
def test_the_log_of_spark_is_shown_only_if_it_is_asked_for(tmp_path, java_home, flags, level):
    result = subprocess.run(
        [PROJECT / "tidemark", "run", *flags, "word_count", "--source=rate:5", "--print-command"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "JAVA_HOME": str(java_home),
             "TIDEMARK_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert re.findall(r"-Dtidemark\.log=(\w+)", result.stdout) == [level]
    assert "--verbose" not in result.stdout


def test_every_job_is_listed_with_a_description():
    assert "land_access_log" in list_jobs()
    assert all(list_jobs().values())
