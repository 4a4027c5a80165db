"""Long jobs get the compiler that pays off late, short ones the one that starts soon."""

import json

import pytest
from jinja2 import Environment

from include.lake import landing, ready
from include.local_stack.class_archive import SHORT_JOB
from include.nights import new_in_topic, new_lines
from include.settings import load_settings
from include.spark_conf import MANY_LINES, spark_conf


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("lines", "is_short"),
    [(None, True), (0, True), (MANY_LINES, True), (MANY_LINES + 1, False), (9_000_000, False)],
)
def test_the_compiler_goes_by_how_many_lines_there_are(settings, lines, is_short):
    template = spark_conf(settings, "count")["spark.driver.extraJavaOptions"]
    rendered = Environment().from_string(template).render(count=lines)
    assert (SHORT_JOB in rendered) == is_short
    assert rendered == spark_conf(settings, str(lines or 0))["spark.driver.extraJavaOptions"]


def test_waiting_files_are_counted_in_lines_and_never_as_none(settings):
    assert new_lines(settings) == 0
    folder = ready(settings, "access_log")
    folder.mkdir(parents=True)
    (folder / "by-hand.log").write_text("a line\n")
    assert new_lines(settings) == 1


def test_what_waits_is_what_the_topic_has_beyond_the_landing(settings):
    folder = landing(settings, "access_log", "kafka")
    folder.mkdir(parents=True)
    topic = settings.access_log_topic
    record = {"batch": 0, "to": {topic: {"0": 40, "1": 2}}}
    (folder / "progress.jsonl").write_text(json.dumps(record) + "\n")
    assert new_in_topic(settings, {0: 40, 1: 2}) == 0
    assert new_in_topic(settings, {0: 100, 1: 5}) == 63
    with (folder / "progress.jsonl").open("a") as log:
        log.write(json.dumps({"batch": 1, "messages": 2, "read": 1000}) + "\n")
    assert new_in_topic(settings, {0: 100, 1: 5}) == 63 * 500
    # No topic, or one made anew: the job looks at it, and says what is lost.
    assert new_in_topic(settings, None) == new_in_topic(settings, {0: 3, 1: 0}) == 1
