"""The scope of a run of `analyse_access_log`: its files, its new lines and its days."""

from typing import Any

from include.datasets import ACCESS_LOG
from include.inbox.ledger import read_unlanded_records
from include.inbox.take import remove_landed_files, take_new_files
from include.lake.landing_files import LandingFiles
from include.lake.paths import (
    inbox_path,
    is_summary_outdated,
    landing_path,
    list_outdated_days,
    ready_path,
    resolve_run_day,
    summaries_path,
)
from include.orchestration.filters import get_filter_folder
from include.settings import Settings


def take_inbox_files(settings: Settings) -> None:
    """Take new files of the inbox into the folder that Spark reads, and print the result for each file."""
    target = ready_path(settings, ACCESS_LOG.name)
    remove_landed_files(target, LandingFiles(landing_path(settings, ACCESS_LOG.name, "files")))
    intake = take_new_files(inbox_path(settings, ACCESS_LOG.name), target, settings.log_format)
    print("\n".join(intake.format_lines()) or "no new files in the inbox")  # noqa: T201


def count_new_lines(settings: Settings) -> int:
    """Return the number of lines in files that are not landed; 0 only if there is no such file."""
    folder = ready_path(settings, ACCESS_LOG.name)
    lines: int = sum(record["lines"] for record in read_unlanded_records(folder))
    return max(lines, sum(1 for _ in folder.glob("[!.]*")))


def count_new_topic_lines(settings: Settings, end_offsets: dict[int, int] | None) -> int:
    """Estimate the number of lines in the topic that are not landed; 0 only if all are landed.

    Args:
        end_offsets: Partition -> end offset of the topic; None if the topic does not exist.
    """
    landing = LandingFiles(landing_path(settings, ACCESS_LOG.name, "kafka"))
    landed = landing.read_end_offsets(settings.access_log_topic)
    if end_offsets == landed:
        return 0
    messages = sum(end - landed.get(partition, 0) for partition, end in (end_offsets or {}).items())
    return max(1, round(messages * landing.read_lines_per_message()))


def list_run_days(settings: Settings, context: Any) -> list[str]:
    """List the run's own day first, then the days with landed lines that their summary does not contain.

    Returns:
        ISO dates.
    """
    params, run_type = context["params"], context["dag_run"].run_type
    day = resolve_run_day(settings, run_type, context.get("data_interval_start"), params["day"])
    outdated_days = list_outdated_days(
        landing_path(settings, ACCESS_LOG.name, params["source"]),
        summaries_path(settings, ACCESS_LOG.name),
        before_day=day if run_type == "scheduled" else None,
    )
    return [day, *(outdated for outdated in outdated_days if outdated != day)]


def list_days_to_summarise(settings: Settings, context: Any, days: list[str]) -> list[str]:
    """Return the days to summarise: all, but in a backfill without those whose summary is up to date."""
    if context["dag_run"].run_type != "backfill" or get_filter_folder(context["params"]):
        return days
    folder = landing_path(settings, ACCESS_LOG.name, context["params"]["source"])
    return [
        day
        for day in days
        if is_summary_outdated(summaries_path(settings, ACCESS_LOG.name), day, folder)
    ]
