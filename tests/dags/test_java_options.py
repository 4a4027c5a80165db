"""Java options: short jobs use the compiler that starts fast, long jobs the one that optimises more."""

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
def test_the_number_of_new_lines_selects_the_java_options(settings, lines, is_short):
    template = build_spark_conf(settings, "count")["spark.driver.extraJavaOptions"]
    rendered = Environment().from_string(template).render(count=lines)
    assert (SHORT_JOB_OPTIONS in rendered) == is_short
    assert rendered == build_spark_conf(settings, str(lines or 0))["spark.driver.extraJavaOptions"]


def test_a_waiting_file_counts_as_at_least_one_line(settings):
    assert count_new_lines(settings) == 0
    folder = ready_path(settings, "access_log")
    folder.mkdir(parents=True)
    (folder / "by-hand.log").write_text("a line\n")
    assert count_new_lines(settings) == 1


def test_new_topic_lines_are_estimated_from_messages_not_yet_landed(settings):
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
    # No topic, or a topic that was recreated: count 1, so that the job runs and reports the data loss.
    assert (
        count_new_topic_lines(settings, None) == count_new_topic_lines(settings, {0: 3, 1: 0}) == 1
    )
