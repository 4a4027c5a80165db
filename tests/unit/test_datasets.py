"""What follows from the registry of datasets."""

import json
import subprocess
import sys

from include.datasets import DATASETS, list_job_topics, list_pools, list_topics
from include.settings import PROJECT, load_settings


def test_every_topic_is_a_setting_and_has_a_name_of_its_own():
    settings = load_settings({"TIDEMARK_CLICKSTREAM_TOPIC": "clicks"})
    topics = list_topics(settings)
    assert len(set(topics)) == len(topics) == 4
    assert "clicks" in topics
    assert list_job_topics(settings) == ["access-log-errors"]
    for dataset in DATASETS:
        assert set(dataset.written_by_jobs) <= set(dataset.topic_settings)


def test_the_pools_are_printed_as_airflow_imports_them():
    done = subprocess.run(
        [sys.executable, "-m", "include.datasets"], cwd=PROJECT, capture_output=True, check=True
    )
    pools = json.loads(done.stdout)
    assert pools == list_pools()
    assert {name: pool["slots"] for name, pool in pools.items()} == {
        "landing_access_log": 1, "landing_clickstream": 1
    }  # fmt: skip


def test_names_are_fit_for_folders_and_pools():
    for dataset in DATASETS:
        assert dataset.name.replace("_", "").isalpha()
        assert dataset.name == dataset.name.lower()
        assert dataset.source_kinds
        assert set(dataset.source_kinds) <= {"kafka", "files"}
