"""Describe what a re-parse of bad lines would change, for the person who approves it."""

import json
from typing import Any

from include.datasets import ACCESS_LOG
from include.lake.paths import is_summary_of_landing, landing_path, summaries_path
from include.settings import Settings


def build_reparse_plan(settings: Settings, source_kind: str, run_id: str) -> dict[str, Any]:
    """Build the plan from the result of the job `replay_bad_lines --dry-run`, and print it.

    Args:
        source_kind: `kafka` or `files`, the landing that was read.

    Returns:
        days: ISO dates to summarise again. A day that is published from the other source kind is listed in
            the text and does not change.
        text: The plan as Markdown.
    """
    path = settings.lake / "runs" / "replay_bad_lines" / f"{run_id}.json"
    result = json.loads(path.read_text())
    folder, summaries = (
        landing_path(settings, ACCESS_LOG.name, source_kind),
        summaries_path(settings, ACCESS_LOG.name),
    )
    days: list[str] = []
    other_days: list[str] = []
    for day in result["days"]:
        summary = summaries / day / "summary.json"
        is_from_other_source = summary.is_file() and not is_summary_of_landing(summary, folder)
        (other_days if is_from_other_source else days).append(day)
    rows = [
        f"| {r['description'] or r['bad_reason']} | {r['bad']:,} | {r['readable']:,} |"
        for r in result["reasons"]
    ]
    samples = [f"    {line}" for r in result["reasons"] for line in r["now"]]
    lost = result["lines_before"] - result["readable"]
    text = "\n".join(
        [
            f"{result['readable']:,} of {result['bad']:,} bad lines can be parsed now "
            f"({result['lines_before']:,} were already parsed in an earlier run).",
            "",
            "| reason | bad lines | can be parsed now |",
            "|---|---|---|",
            *rows,
            "",
            f"Days that will be summarised again: {', '.join(days) or 'none'}.",
            *(
                [f"Published from the other source, not changed: {', '.join(other_days)}."]
                if other_days
                else []
            ),
            *(["", "Samples of lines that can be parsed now:", "", *samples] if samples else []),
            *(
                ["", f"**{lost:,} lines that were parsed in an earlier run would be bad again.**"]
                if lost > 0
                else []
            ),
            "",
            f"All bad lines: {path.with_suffix('.csv')}",
        ]
    )
    print(text)  # noqa: T201
    return {"days": days, "text": text}
