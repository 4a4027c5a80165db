"""`./tidemark`: which words run what, and which flags a job gets from the settings."""

import argparse
import subprocess

import pytest

from include.orchestration.launcher import add_settings_flags, list_jobs
from include.orchestration.spark_conf import build_line_flags
from include.settings import PROJECT, load_settings
from spark_jobs.streaming.access_log_flags import add_line_reader_flags

KAFKA, FILES = "kafka:access-log", "text:/logs"


@pytest.mark.parametrize(("flags", "added"), [
    (["--source", KAFKA], True), ([f"--source={KAFKA}"], True), (["--source", FILES, "--sink", KAFKA], True),
    (["--source", FILES], False), (["--source"], False), (["--filter", KAFKA], False),
])  # fmt: skip
def test_a_job_that_reads_or_writes_kafka_is_told_of_its_servers(flags, added):
    settings = load_settings({"TIDEMARK_KAFKA_SERVERS": "one:9092"})
    assert (
        add_settings_flags(settings, "word_count", flags) == flags + ["--servers=one:9092"] * added
    )


@pytest.mark.parametrize("own", [["--servers", "two:9092"], ["--servers=two:9092"]])
def test_servers_that_one_gives_are_not_replaced(own):
    settings = load_settings({"TIDEMARK_KAFKA_SERVERS": "one:9092"})
    flags = ["--source", KAFKA, *own]
    assert add_settings_flags(settings, "word_count", flags) == flags


ADDRESSES = {
    "TIDEMARK_ANONYMISE_ADDRESSES": "1",
    "TIDEMARK_DROP_QUERY_NAMES": "token",
    "TIDEMARK_TIME_ZONE": "Europe/Berlin",
    "TIDEMARK_LOG_FORMAT": "%h %t",
}


def test_a_job_hides_and_reads_as_the_site_says():
    flags = add_settings_flags(load_settings(ADDRESSES), "land_access_log", ["--source", FILES])
    assert flags[2:] == [
        "--log-format=%h %t",
        "--anonymise=1",
        "--drop-query-names=token",
        "--time-zone=Europe/Berlin",
    ]
    assert add_settings_flags(load_settings(ADDRESSES), "word_count", []) == []
    own = ["--anonymise", "2", "--log-format=", "--drop-query-names=a", "--time-zone=UTC"]
    assert add_settings_flags(load_settings(ADDRESSES), "land_access_log", own) == own


def test_what_no_setting_changes_is_the_jobs_own_default():
    """`./tidemark run` gives a job only what differs from the settings' defaults."""
    parser = argparse.ArgumentParser()
    add_line_reader_flags(parser)
    told = build_line_flags(load_settings({}), "land_access_log")
    del told["w3c_fields"]
    assert told == {name: str(parser.get_default(name)) for name in told}


@pytest.mark.parametrize(("words", "says"), [
    (["run"], "run needs the name of a job"), (["run", "nothing"], "job 'nothing' is unknown"),
    (["run", "--verbose", "nothing"], "job 'nothing' is unknown"),
    (["produce", "nothing"], "'produce nothing' is unknown"), (["walk"], "'walk' is unknown"),
])  # fmt: skip
def test_words_that_name_nothing_are_refused_with_what_they_are(words, says):
    done = subprocess.run(
        [PROJECT / "tidemark", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert says in done.stderr


def test_each_job_is_listed_with_what_it_does():
    assert "land_access_log" in list_jobs()
    assert all(list_jobs().values())
