"""Rebuild outdated summaries and reports from the landed data: `make resummarise`.

A summary is outdated if it has another schema version, or lacks a panel that was added since.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from include.contracts import CLICKSTREAM_SCHEMA_VERSION, SUMMARY_SCHEMA_VERSION
from include.datasets import ACCESS_LOG, CLICKSTREAM
from include.errors import SetupError
from include.lake.landing_files import LandingFiles
from include.lake.paths import (
    landing_endpoint,
    landing_path,
    reports_path,
    summaries_path,
)
from include.orchestration.spark_conf import build_summary_flags, format_flags
from include.panels import list_panel_keys
from include.reporting.clickstream import write_clickstream_report
from include.reporting.publishing import publish_days
from include.reporting.report import UnusableSummary, read_summary
from include.settings import (
    PROJECT,
    Settings,
    export_overrides,
    load_settings,
    restrict_new_files,
)

DAYS_AT_ONCE = 31  # per Spark application; finished ones stay if a later one is interrupted


def plan_days(settings: Settings) -> tuple[dict[str, list[str]], list[str]]:
    """List the access-log days whose summary has another schema version or lacks a panel.

    Returns:
        Source kind -> ISO dates that can be summarised again. The source kind is the one in the old summary
        if its lines are still landed.
        And the ISO dates whose lines are no longer landed. Their reports do not change.
    """
    landed = {
        kind: LandingFiles(landing_path(settings, ACCESS_LOG.name, kind)).read_days()
        for kind in ACCESS_LOG.source_kinds
    }
    days, without_lines = defaultdict(list), []
    for file in sorted(summaries_path(settings, ACCESS_LOG.name).glob("????-??-??/summary.json")):
        try:
            summary = json.loads(file.read_text())
        except ValueError:
            summary = {}
        has_all_panels = set(list_panel_keys()) <= summary.get("panels", {}).keys()
        if summary.get("schema_version") == SUMMARY_SCHEMA_VERSION and has_all_panels:
            continue
        day = file.parent.name
        kinds = [kind for kind in ACCESS_LOG.source_kinds if day in landed[kind]]
        if not kinds:
            without_lines.append(day)
        else:
            days[summary["source"] if summary.get("source") in kinds else kinds[0]].append(day)
    return dict(days), without_lines


def resummarise_outdated_days(settings: Settings) -> None:
    """Rebuild the access-log days, then the clickstream, if their summaries have another schema version.

    Raises:
        SetupError: A job failed. The days before it are complete.
    """
    run_id = f"resummarise-{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    plan, without_lines = plan_days(settings)
    for source_kind, days in plan.items():
        for first in range(0, len(days), DAYS_AT_ONCE):
            batch = days[first : first + DAYS_AT_ONCE]
            flags = build_summary_flags(settings, source_kind) | {
                "days": ",".join(batch),
                "sink": f"summary:{summaries_path(settings, ACCESS_LOG.name)}",
                "run_id": run_id,
            }
            run_job(settings, "summarise_access_log", flags)
            for day in batch:  # one by one: each is the first day of its own publication
                publish_days(settings, [day], run_id, publish_anyway=True)
    if without_lines:
        print(  # noqa: T201
            f"{len(without_lines)} days not summarised again, because their lines are no longer landed: "
            f"{', '.join(without_lines)}. Their reports do not change; a report of a range that contains "
            "one of them is refused"
        )
    resummarise_clickstream(settings, run_id)
    day_count = sum(map(len, plan.values()))
    print(f"access log: {day_count} {'day' if day_count == 1 else 'days'} summarised again")  # noqa: T201


def resummarise_clickstream(settings: Settings, run_id: str) -> None:
    """Rebuild the clickstream's summary and report if the summary has another schema version."""
    sink = summaries_path(settings, CLICKSTREAM.name)
    if not (sink / "summary.json").is_file():
        return
    try:
        read_summary(sink / "summary.json", "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION)
        return
    except UnusableSummary:
        flags = {
            "source": landing_endpoint(settings, CLICKSTREAM.name, "kafka"),
            "time_zone": settings.time_zone,
            "sink": f"summary:{sink}",
            "run_id": run_id,
        }
    run_job(settings, "summarise_clickstream", flags)
    summary = read_summary(sink / "summary.json", "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION)
    print(write_clickstream_report(summary, reports_path(settings, CLICKSTREAM.name)))  # noqa: T201


def run_job(settings: Settings, job: str, flags: dict[str, Any]) -> None:
    """Run a job as `./tidemark run` does. Raises SetupError if its exit code is not 0."""
    command = [sys.executable, "-m", "include.orchestration.launcher", "run", job]
    environment = os.environ | export_overrides(settings)
    process = subprocess.run([*command, *format_flags(flags)], cwd=PROJECT, env=environment)
    if process.returncode:
        raise SetupError(f"{job} failed with exit code {process.returncode}; see its output above")


if __name__ == "__main__":
    restrict_new_files()
    try:
        resummarise_outdated_days(load_settings())
    except (SetupError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; run it again to continue")
