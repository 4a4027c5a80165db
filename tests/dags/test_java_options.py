"""Long jobs get the compiler that pays off late, short ones the one that starts soon."""

import json

import pytest
from jinja2 import Environment

from include.lake.paths import landing_path, ready_path
from include.orchestration.class_archive import SHORT_JOB_OPTIONS
from include.orchestration.run_scope import count_new_lines, count_new_topic_lines
from include.orchestration.spark_conf import MANY_LINES, build_spark_conf
from include.settings import load_settings


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("lines", "is_short"),
    [(None, True), (0, True), (MANY_LINES, True), (MANY_LINES + 1, False), (9_000_000, False)],
)
def test_the_compiler_goes_by_how_many_lines_there_are(settings, lines, is_short):
    template = build_spark_conf(settings, "count")["spark.driver.extraJavaOptions"]
    rendered = Environment().from_string(template).render(count=lines)
    assert (SHORT_JOB_OPTIONS in rendered) == is_short
    assert rendered == build_spark_conf(settings, str(lines or 0))["spark.driver.extraJavaOptions"]


def test_waiting_files_are_counted_in_lines_and_never_as_none(settings):
    assert count_new_lines(settings) == 0
    folder = ready_path(settings, "access_log")
    folder.mkdir(parents=True)
    (folder / "by-hand.log").write_text("a line\n")
    assert count_new_lines(settings) == 1


def test_what_waits_is_what_the_topic_has_beyond_the_landing(settings):
    folder = landing_path(settings, "access_log", "kafka")
    folder.mkdir(parents=True)
    topic = settings.access_log_topic
    record = {"batch": 0, "to": {topic: {"0": 40, "1": 2}}}
    (folder / "progress.jsonl").write_text(json.dumps(record) + "\n")
    assert count_new_topic_lines(settings, {0: 40, 1: 2}) == 0
    assert count_new_topic_lines(settings, {0: 100, 1: 5}) == 63
    with (folder / "progress.jsonl").open("a") as log:
        log.write(json.dumps({"batch": 1, "messages": 2, "read": 1000}) + "\n")
    assert count_new_topic_lines(settings, {0: 100, 1: 5}) == 63 * 500
    # No topic, or one made anew: the job looks at it, and says what is lost.
    assert (
        count_new_topic_lines(settings, None) == count_new_topic_lines(settings, {0: 3, 1: 0}) == 1
    )
