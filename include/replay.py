"""What a replay of bad lines would do, for the person who approves it."""

import json
from typing import Any

from include.lake import is_of, landing, summaries
from include.settings import Settings

DATASET = "access_log"


def show(settings: Settings, source: str, run: str) -> dict[str, Any]:
    """Read what the job `replay_bad_lines --look` found; give `days`, those to redo, and `text`.

    A day that is published from the other source kind is named, and left as it is.
    """
    path = settings.lake / "runs" / "replay_bad_lines" / f"{run}.json"
    told = json.loads(path.read_text())
    folder, kept = landing(settings, DATASET, source), summaries(settings, DATASET)
    days: list[str] = []
    others: list[str] = []
    for day in told["days"]:
        summary = kept / day / "summary.json"
        (others if summary.is_file() and not is_of(summary, folder) else days).append(day)
    rows = [
        f"| {r['says'] or r['bad_reason']} | {r['bad']:,} | {r['readable']:,} |"
        for r in told["reasons"]
    ]
    samples = [f"    {line}" for r in told["reasons"] for line in r["now"]]
    lost = told["lines_before"] - told["readable"]
    text = "\n".join([
        f"Of {told['bad']:,} bad lines {told['readable']:,} can be read now "
        f"({told['lines_before']:,} of them were replayed before).",
        "", "| reason | bad | can be read now |", "|---|---|---|", *rows, "",
        f"Days that will be redone: {', '.join(days) or 'none'}.",
        *([f"Published from the other source, and left so: {', '.join(others)}."] if others else []),
        *(["", "Samples of what can be read now:", "", *samples] if samples else []),
        *(["", f"**{lost:,} lines that were replayed before would be bad again.**"] if lost > 0 else []),
        "", f"All bad lines: {path.with_suffix('.csv')}",
    ])  # fmt: skip
    print(text)  # noqa: T201
    return {"days": days, "text": text}
