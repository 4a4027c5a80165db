"""Write what comes from the code: docs/dags.md, docs/settings.md, the tables of docs/streams.md."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from include.settings import PROJECT, settings_table

DAGS_HEAD = """\
# The DAGs

Made by `make docs` from the first lines of each file in `dags/`; what is said here is what Airflow
shows on the DAG's page.

"""
SETTINGS_HEAD = """\
# Settings

Environment variables, or lines of a file `.env` beside the Makefile. This table is made by `make docs`.

"""


def dags_page(folder: Path) -> str:
    """A table of all DAGs, then what each says of itself, as Markdown."""
    rows = ["| DAG | When | Reads | Writes |", "|---|---|---|---|"]
    texts = []
    for file in sorted(folder.glob("[a-z]*.py")):
        text = (ast.get_docstring(ast.parse(file.read_text())) or "").strip()
        says = {
            word: re.sub(r"\s+", " ", found[1]).strip().rstrip(".")
            for word in ("When", "Reads", "Writes")
            if (found := re.search(rf"\*\*{word}\*\* (.*?)(?=\n\*\*|\n\n|\Z)", text, re.DOTALL))
        }
        if len(says) != 3:
            raise ValueError(
                f"{file}: its docstring needs **When**, **Reads** and **Writes** lines"
            )
        name = f"[`{file.stem}`](#{file.stem})"
        rows.append(f"| {name} | {says['When']} | {says['Reads']} | {says['Writes']} |")
        body = text.partition("\n")[2].strip()
        texts.append(f"## {file.stem}\n\n{body}\n")
    return DAGS_HEAD + "\n".join(rows) + "\n\n" + "\n".join(texts)


def with_tables(page: str) -> str:
    """The page with the tables of spark_jobs/runtime/combinations.py, which this may not import."""
    command = [sys.executable, "-m", "spark_jobs.runtime.combinations"]
    made = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    begin, end = "<!-- combinations -->\n", "<!-- /combinations -->"
    before, _, rest = page.partition(begin)
    return before + begin + made.rstrip("\n") + "\n" + end + rest.partition(end)[2]


def main() -> None:
    docs = PROJECT / "docs"
    (docs / "dags.md").write_text(dags_page(PROJECT / "dags"))
    streams = docs / "streams.md"
    streams.write_text(with_tables(streams.read_text()))
    (docs / "settings.md").write_text(SETTINGS_HEAD + settings_table())


if __name__ == "__main__":
    main()
