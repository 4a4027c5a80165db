"""Write the pages of docs/ that follow from the code: all of them, or the tables between two markers."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

from include.panels import render_panel_table
from include.reporting.report_schema import build_report_schema
from include.settings import PROJECT, render_settings_table

DAGS_HEAD = """\
# The DAGs

`make docs` writes this page from the docstring of each file in `dags/`. Airflow shows the same text
on the DAG's page.

"""
SETTINGS_HEAD = """\
# Settings

Set them as environment variables, or as lines `NAME=value` in a file `.env` beside the Makefile. The
environment wins. `make docs` writes this table.

"""


def render_dags_page(folder: Path) -> str:
    """Return docs/dags.md: a table of all DAGs, then the docstring of each.

    Raises:
        ValueError: A DAG's docstring lacks **When**, **Reads** or **Writes**.
    """
    rows = ["| DAG | When | Reads | Writes |", "|---|---|---|---|"]
    sections = []
    for file in sorted(folder.glob("[a-z]*.py")):
        text = (ast.get_docstring(ast.parse(file.read_text())) or "").strip()
        summary = {
            heading: re.sub(r"\s+", " ", match[1]).strip().rstrip(".")
            for heading in ("When", "Reads", "Writes")
            if (match := re.search(rf"\*\*{heading}\*\* (.*?)(?=\n\*\*|\n\n|\Z)", text, re.DOTALL))
        }
        if len(summary) != 3:
            raise ValueError(
                f"{file}: its docstring has only {', '.join(summary) or 'none'} of the paragraphs "
                "**When**, **Reads** and **Writes**: add the others"
            )
        name = f"[`{file.stem}`](#{file.stem})"
        rows.append(f"| {name} | {summary['When']} | {summary['Reads']} | {summary['Writes']} |")
        body = text.partition("\n")[2].strip()
        sections.append(f"## {file.stem}\n\n{body}\n")
    return DAGS_HEAD + "\n".join(rows) + "\n\n" + "\n".join(sections)


def render_combination_tables() -> str:
    """Return the tables of spark_jobs/streaming/combinations.py.

    They come from a command: `include` may not import `spark_jobs`.
    """
    command = [sys.executable, "-m", "spark_jobs.streaming.combinations"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def replace_between(page: str, marker: str, text: str) -> str:
    """Return `page` with `text` between `<!-- marker -->` and `<!-- /marker -->`."""
    begin, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    before, _, rest = page.partition(begin)
    return before + begin + text.rstrip("\n") + "\n" + end + rest.partition(end)[2]


def render_docs() -> dict[str, str]:
    """Return the generated pages: name in docs/ -> text."""
    docs = PROJECT / "docs"
    streams, report = ((docs / name).read_text() for name in ("streams.md", "report.md"))
    return {
        "dags.md": render_dags_page(PROJECT / "dags"),
        "streams.md": replace_between(streams, "combinations", render_combination_tables()),
        "settings.md": SETTINGS_HEAD + render_settings_table(),
        "report.md": replace_between(report, "panels", render_panel_table()),
        "report.schema.json": json.dumps(build_report_schema(), indent=1) + "\n",
    }


if __name__ == "__main__":
    for name, text in render_docs().items():
        (PROJECT / "docs" / name).write_text(text)
