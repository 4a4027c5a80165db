"""CONTRIBUTING's recipes for a dataset and a panel, carried out in a copy with the code that stands there."""

import json
import re
import shutil
import sys

import pytest

from include.settings import PROJECT
from tests.conftest import run_command

STEP = re.compile(
    r"^\d\. [^\n]*?`(?P<file>[\w/]+\.py)`(?:, (?P<side>before|after) `(?P<anchor>[^`]+)`)?"
    r"[^`]*?(?:`[^`\n]*`[^`]*?)*?:\n\n   ```python\n(?P<code>.*?)\n   ```$",
    re.MULTILINE | re.DOTALL,
)


def follow(recipe, project):
    """Do the steps of a recipe that have code; return the files that they changed."""
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    section = re.search(rf"^## {recipe}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)[1]
    changed = []
    for step in STEP.finditer(section):
        file = project / step["file"]
        code = "\n".join(line.removeprefix("   ") for line in step["code"].splitlines()) + "\n"
        if step["side"]:
            before, anchor, after = file.read_text().partition(step["anchor"])
            assert anchor, f"{step['file']} has no {step['anchor']!r}"
            if step["side"] == "before":
                file.write_text(f"{before}{code}{anchor}{after}")
            else:
                rest, newline, after = after.partition("\n")
                file.write_text(f"{before}{anchor}{rest}{newline}{code}{after}")
        else:
            assert not file.exists()
            file.write_text(code)
        changed.append(step["file"])
    return changed


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which both recipes were followed, and nothing else was done."""
    copy = tmp_path_factory.mktemp("recipes") / "project"
    for folder in ("dags", "docs", "include", "plugins", "producers", "spark_jobs", "tests"):
        shutil.copytree(
            PROJECT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    assert follow("Add a panel", copy) == ["include/panels.py"]
    assert follow("Add a dataset", copy) == [
        "include/settings.py", "include/contracts.py", "include/datasets.py",
        "include/datasets.py", "spark_jobs/transforms/weather.py", "spark_jobs/land_weather.py",
        "include/orchestration/stream_form.py", "include/orchestration/spark_conf.py",
    ]  # fmt: skip
    return copy


@pytest.fixture(scope="module")
def run(project, jars, tmp_path_factory):
    """Run Python in the copy; return what it printed."""
    home = tmp_path_factory.mktemp("home")
    (home / "jars").symlink_to(jars)

    def call(*arguments):
        done = run_command(
            [sys.executable, *map(str, arguments)], project=project,
            env_changes={"TIDEMARK_HOME": str(home), "TIDEMARK_WEATHER_TOPIC": "storms",
                         "TIDEMARK_TIME_ZONE": "Europe/Paris"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    call.home = home
    return call


def test_the_new_code_is_as_the_linter_wants_it(project):
    files = ["include", "spark_jobs"]
    config = f"--config={PROJECT / 'pyproject.toml'}"
    for command in (["check", config], ["format", "--check", config]):
        done = run_command([sys.executable, "-m", "ruff", *command, *files], project=project)
        assert done.returncode == 0, done.stdout + done.stderr


def test_pool_topic_retention_setting_and_form_follow_from_the_registry(run):
    assert "landing_weather" in json.loads(run("-m", "include.datasets"))
    found = json.loads(
        run(
            "-c",
            "import json, datetime\n"
            "from include.settings import load_settings, render_settings_table\n"
            "from include.datasets import list_topics\n"
            "from include.lake.retention import plan_removal\n"
            "from include.orchestration.stream_form import PARAMS\n"
            "settings = load_settings()\n"
            "print(json.dumps([list_topics(settings), render_settings_table(),\n"
            "    list(plan_removal(settings, datetime.date(2026, 1, 1))['landings']),\n"
            "    PARAMS['job'].schema['enum']]))",
        )
    )
    topics, table, landings, jobs = found
    assert "storms" in topics
    assert "`TIDEMARK_WEATHER_TOPIC` | `weather`" in table
    assert "weather_kafka" in landings
    assert "land_weather" in jobs


def test_the_dataset_is_landed_and_listed(run, tmp_path):
    (tmp_path / "in").mkdir()
    lines = ["2026-01-15T12:00:00Z 21.5", "2026-01-15T23:30:00Z -3", "no weather"]
    (tmp_path / "in" / "a.txt").write_text("\n".join(lines) + "\n")
    sink = run.home / "lake" / "landing" / "weather" / "kafka" / "data"
    printed = run(
        "-m", "include.orchestration.launcher", "run", "land_weather", "--source",
        f"text:{tmp_path / 'in'}", "--sink", f"parquet:{sink}",
    )  # fmt: skip
    assert "land_weather: read 3 observations = 2 good + 1 bad, in 1 batch; days: " in printed
    assert "2026-01-15, 2026-01-16" in printed
    page = run(
        "-c",
        "from include.reporting.web_app import show_reports; print(show_reports().body.decode())",
    )
    assert '<section id="weather"><h2>Weather</h2>' in page


def test_the_panel_is_counted_on_the_page_in_the_table_and_in_the_schema(run, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(PROJECT / "include" / "local_stack" / "sample.log", tmp_path / "in")
    run(
        "-m", "include.orchestration.launcher", "run", "warm_up",
        "--source", tmp_path / "in", "--sink", tmp_path / "out",
    )  # fmt: skip
    shown = run(
        "-c",
        "import json, sys; from pathlib import Path; from jsonschema import Draft202012Validator\n"
        "from rich.console import Console\n"
        "from include.reporting.report import read_summary, write_report\n"
        "from include.reporting.report_schema import build_report_schema\n"
        "from include.reporting.terminal_table import build_panel_table\n"
        "out = Path(sys.argv[1])\n"
        "summary = read_summary(out / 'summary' / '2015-05-17' / 'summary.json')\n"
        "page = write_report(summary, out / 'reports')\n"
        "report = json.loads((page.parent / 'report.json').read_text())\n"
        "Draft202012Validator(build_report_schema()).validate(report)\n"
        "Console(width=120).print(build_panel_table('protocols', report, 5))\n",
        tmp_path / "out",
    )
    folder = tmp_path / "out" / "reports" / "2015-05-17"
    report = json.loads((folder / "report.json").read_text())
    rows = {row["value"]: row["hits"] for row in report["panels"]["protocols"]}
    assert sum(rows.values()) == report["requests"]
    assert "HTTP/1.1" in rows
    assert "Protocols: " in shown
    assert "HTTP/1.1" in shown
    assert '<h3 id="protocols-name">Protocols</h3>' in (folder / "index.html").read_text()
    assert (folder / "protocols.csv").read_text().startswith("value,")
    assert "| Protocols | `protocols` |" in run(
        "-c", "from include.panels import render_panel_table; print(render_panel_table())"
    )
