"""`--help` of every job; it starts no JVM."""

import subprocess
import sys

import pytest

from include.settings import PROJECT

JOBS = sorted((PROJECT / "spark_jobs").glob("[a-z]*.py"))


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.stem)
def test_help_shows_the_header_of_the_job(file):
    command = [sys.executable, str(file), "--help"]
    env = {"PYTHONPATH": str(PROJECT), "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    for word in ("Reads   ", "Writes  ", "Run     ", f"./tidemark run {file.stem} "):
        assert word in done.stdout
    assert "--source" in done.stdout
