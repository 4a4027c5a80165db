"""The registry of datasets: topics, pools and names."""

import json
import subprocess
import sys

from include.datasets import DATASETS, list_job_topics, list_pools, list_topics
from include.settings import PROJECT, load_settings


def test_every_topic_is_a_setting_and_has_a_unique_name():
    settings = load_settings({"TIDEMARK_CLICKSTREAM_TOPIC": "clicks"})
    topics = list_topics(settings)
    assert len(set(topics)) == len(topics)
    assert "clicks" in topics
    assert "access-log-errors" in list_job_topics(settings)
    for dataset in DATASETS:
        assert set(dataset.written_by_jobs) <= set(dataset.topic_settings)


def test_pools_are_printed_in_the_form_that_airflow_imports():
    result = subprocess.run(
        [sys.executable, "-m", "include.datasets"], cwd=PROJECT, capture_output=True, check=True
    )
    pools = json.loads(result.stdout)
    assert pools == list_pools()
    assert {pool["slots"] for pool in pools.values()} == {1}
    assert {"landing_access_log", "landing_clickstream"} <= pools.keys()


def test_dataset_names_are_valid_for_folders_and_pools():
    for dataset in DATASETS:
        assert dataset.name.replace("_", "").isalpha()
        assert dataset.name == dataset.name.lower()
        assert dataset.source_kinds
        assert set(dataset.source_kinds) <= {"kafka", "files"}
