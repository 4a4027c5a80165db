"""Write the generated documentation: docs/dags.md, docs/settings.md, the tables of docs/streams.md."""

import ast
import re
import subprocess
import sys
from pathlib import Path

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


def insert_combination_tables(page: str) -> str:
    """Return `page` with the tables of spark_jobs/streaming/combinations.py between its two markers.

    The tables come from a command: `include` may not import `spark_jobs`.
    """
    command = [sys.executable, "-m", "spark_jobs.streaming.combinations"]
    tables = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    begin, end = "<!-- combinations -->\n", "<!-- /combinations -->"
    before, _, rest = page.partition(begin)
    return before + begin + tables.rstrip("\n") + "\n" + end + rest.partition(end)[2]


def main() -> None:
    docs = PROJECT / "docs"
    (docs / "dags.md").write_text(render_dags_page(PROJECT / "dags"))
    streams = docs / "streams.md"
    streams.write_text(insert_combination_tables(streams.read_text()))
    (docs / "settings.md").write_text(SETTINGS_HEAD + render_settings_table())


if __name__ == "__main__":
    main()
