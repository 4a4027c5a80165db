"""What a run of `analyse_access_log` is for: the files it takes, its days, and which are behind."""

from typing import Any

from include.filters import filter_name
from include.inbox import clear_landed, take, waiting
from include.lake import (
    changed_days,
    day_of_run,
    inbox,
    is_behind,
    landed_offsets,
    landing,
    lines_a_message,
    ready,
    summaries,
)
from include.settings import Settings

DATASET = "access_log"


def take_files(settings: Settings) -> None:
    """Bring what is new in the inbox to where Spark reads it, and print what became of each file."""
    target = ready(settings, DATASET)
    clear_landed(target, landing(settings, DATASET, "files") / "checkpoint")
    found = take(inbox(settings, DATASET), target, settings.log_format)
    print("\n".join(found.lines()) or "nothing new in the inbox")  # noqa: T201


def new_lines(settings: Settings) -> int:
    """How many lines of files wait to be landed; 0 only if no file does."""
    folder = ready(settings, DATASET)
    lines: int = sum(record["lines"] for record in waiting(folder))
    return max(lines, sum(1 for _ in folder.glob("[!.]*")))


def new_in_topic(settings: Settings, ends: dict[int, int] | None) -> int:
    """About how many lines of the topic with these `ends` wait to be landed; 0 only if none do."""
    folder = landing(settings, DATASET, "kafka")
    landed = landed_offsets(folder, settings.access_log_topic)
    if ends == landed:
        return 0
    messages = sum(end - landed.get(at, 0) for at, end in (ends or {}).items())
    return max(1, round(messages * lines_a_message(folder)))


def days_of_run(settings: Settings, context: Any) -> list[str]:
    """The run's own day, and after it those that got lines which their summary has not seen."""
    params, kind = context["params"], context["dag_run"].run_type
    day = day_of_run(settings, kind, context.get("data_interval_start"), params["day"])
    changed = changed_days(
        landing(settings, DATASET, params["source"]), summaries(settings, DATASET),
        before=day if kind == "scheduled" else None,
    )  # fmt: skip
    return [day, *(each for each in changed if each != day)]


def days_behind(settings: Settings, context: Any, days: list[str]) -> list[str]:
    """Those to summarise: all, but for days that another run of a backfill has made already."""
    if context["dag_run"].run_type != "backfill" or filter_name(context["params"]):
        return days
    folder = landing(settings, DATASET, context["params"]["source"])
    return [day for day in days if is_behind(summaries(settings, DATASET), day, folder)]
