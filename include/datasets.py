"""The registry of datasets: pools, landings, topics, retention and the list of reports follow from it.

`python -m include.datasets` prints the pools as JSON, for `airflow pools import`.
"""

import json
from dataclasses import dataclass

from include.settings import Settings

POOL_DESCRIPTION = "one run at a time: the checkpoint of a landing has one writer"


@dataclass(frozen=True)
class Dataset:
    """What the project knows about one kind of traffic.

    Args:
        name: Name in the lake's folders and in the pool: small letters and `_`.
        title: Name in the list of reports.
        topic_settings: The settings that hold the names of its topics.
        written_by_jobs: Those of `topic_settings` to which Spark jobs write; producers write to the others.
        source_kinds: Its landings: `kafka`, `files` (from the inbox), or both.
        has_daily_reports: Each day has a summary and a report of its own, in a folder of its name. Without,
            there is one of each, over the newest hours.
        reporting_dags: The DAGs that publish its reports.
        headline: The numbers of its `report.json` that the list of reports shows.
    """

    name: str
    title: str
    topic_settings: tuple[str, ...]
    source_kinds: tuple[str, ...]
    reporting_dags: tuple[str, ...]
    headline: tuple[str, ...]
    written_by_jobs: tuple[str, ...] = ()
    has_daily_reports: bool = False

    @property
    def pool(self) -> str:
        """The Airflow pool of its landings, with one slot."""
        return f"landing_{self.name}"


ACCESS_LOG = Dataset(
    name="access_log",
    title="Access log",
    topic_settings=("access_log_topic", "access_log_errors_topic"),
    written_by_jobs=("access_log_errors_topic",),
    source_kinds=("kafka", "files"),
    reporting_dags=("analyse_access_log", "backfill_access_logs", "replay_bad_lines"),
    headline=("requests", "visitors", "unsuccessful", "bytes"),
    has_daily_reports=True,
)
CLICKSTREAM = Dataset(
    name="clickstream",
    title="Clickstream",
    topic_settings=("clickstream_topic", "clickstream_batches_topic"),
    source_kinds=("kafka",),
    reporting_dags=("analyse_clickstream",),
    headline=("impressions", "clicks"),
)
DATASETS = (
    ACCESS_LOG,
    CLICKSTREAM,
)


def list_topics(settings: Settings) -> list[str]:
    """Return the names of all topics; `make up` creates them."""
    return [getattr(settings, name) for dataset in DATASETS for name in dataset.topic_settings]


def list_job_topics(settings: Settings) -> list[str]:
    """Return the names of the topics to which Spark jobs write."""
    return [getattr(settings, name) for dataset in DATASETS for name in dataset.written_by_jobs]


def list_pools() -> dict[str, dict[str, int | str | bool]]:
    """Return pool -> `slots`, `description` and `include_deferred`, as `airflow pools import` reads them."""
    return {
        dataset.pool: {"slots": 1, "description": POOL_DESCRIPTION, "include_deferred": True}
        for dataset in DATASETS
    }


if __name__ == "__main__":
    print(json.dumps(list_pools(), indent=1))  # noqa: T201
