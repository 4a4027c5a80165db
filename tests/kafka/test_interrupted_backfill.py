"""A bulk backfill that is killed or fills the disk gives the same numbers when it is run again.

Runs the steps of `backfill_access_logs` one after the other, each job as its own process.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.lake.paths import inbox_path, landing_path, ready_path, reports_path
from include.orchestration.backfill_plan import (
    list_backfill_days,
    run_folder,
    take_inventory,
    validate_backfill,
)
from include.reporting.publishing import publish_days
from include.settings import PROJECT, load_settings
from producers.access_log.generator import generate_lines
from tests.conftest import eventually, kill_process_tree, run_command

pytestmark = pytest.mark.fault
DATASET = "access_log"
DAYS = [date(2026, 1, 15) + timedelta(days=n) for n in range(3)]
PUBLISH_SCRIPT = """
import sys
from pathlib import Path
from include.reporting.publishing import publish_days
from include.settings import load_settings
publish_days(load_settings(), sys.argv[2:], "run", publish_anyway=True, staged_folder=Path(sys.argv[1]))
"""


class Backfill:
    """The steps of one backfill run, in its own lake."""

    def __init__(self, home, submit):
        self.settings, self.submit = load_settings({"TIDEMARK_HOME": str(home)}), submit
        self.data = landing_path(self.settings, DATASET, "files") / "data"
        self.folder = run_folder(self.settings, "run")

    def fill_inbox(self):
        folder = inbox_path(self.settings, DATASET)
        folder.mkdir(parents=True)
        for day in DAYS:
            lines = [line.text for line in generate_lines(3000, 1, day)]
            for part in range(4):
                path = folder / f"{day}.{part}.gz"
                path.write_bytes(gzip.compress(b"\n".join(lines[part::4]) + b"\n"))
                os.utime(path, (1, 1))
        return self

    def land(self):
        return self.submit(
            "land_access_log", "--source", f"text:{ready_path(self.settings, DATASET)}", "--sink",
            f"parquet:{self.data}", "--max-files-per-trigger", 2,
        )  # fmt: skip

    def summarise(self):
        return self.submit(
            "summarise_access_log", "--source", f"parquet:{self.data}", "--source-kind", "files",
            "--sink", f"summary:{self.folder / 'summary'}", "--by-file", self.folder / "by_file.json",
            "--days", ",".join(day.isoformat() for day in DAYS),
        )  # fmt: skip

    def publish(self):
        days = [day.isoformat() for day in DAYS]
        return [sys.executable, "-c", PUBLISH_SCRIPT, str(self.folder / "summary"), *days]

    def finish(self):
        """Run all steps; return each day's report, without its provenance."""
        take_inventory(self.settings, "run", dry_run=False)
        for command in (self.land(), self.summarise()):
            result = run_command(command)
            assert result.returncode == 0, result.stdout
        days = list_backfill_days(self.settings, None, None)
        if days:  # unless the killed run has published them all
            assert validate_backfill(self.settings, "run", days)["publish"] == days
            publish_days(
                self.settings,
                days,
                "run",
                publish_anyway=True,
                staged_folder=self.folder / "summary",
            )
        return self.read_reports()

    def read_reports(self):
        reports = {}
        for day in DAYS:
            path = reports_path(self.settings, DATASET) / day.isoformat() / "report.json"
            report = json.loads(path.read_text())
            reports[day.isoformat()] = {k: v for k, v in report.items() if k != "provenance"}
        return reports

    def run_and_kill(self, command, condition, description):
        """Start the command, and kill its process tree as soon as `condition` is true."""
        env = os.environ | {"PYTHONPATH": str(PROJECT), "TIDEMARK_HOME": str(self.settings.home)}
        process = subprocess.Popen(
            command, env=env, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(condition, 90, description)
        kill_process_tree(process.pid)


@pytest.fixture(scope="module")
def uninterrupted_reports(submit, tmp_path_factory):
    return Backfill(tmp_path_factory.mktemp("undisturbed"), submit).fill_inbox().finish()


def test_a_backfill_killed_in_every_step_gives_the_same_reports(
    uninterrupted_reports, submit, tmp_path
):
    backfill = Backfill(tmp_path, submit).fill_inbox()
    take_inventory(backfill.settings, "run", dry_run=False)
    commits = landing_path(backfill.settings, DATASET, "files") / "checkpoint" / "commits"
    backfill.run_and_kill(backfill.land(), lambda: any(commits.glob("[1-9]*")), "two batches")
    scratch_folder = backfill.folder / "summary" / ".summarise_access_log"
    assert run_command(backfill.land()).returncode == 0
    backfill.run_and_kill(backfill.summarise(), scratch_folder.exists, "the first panels")
    assert run_command(backfill.summarise()).returncode == 0
    first = reports_path(backfill.settings, DATASET) / DAYS[0].isoformat()
    backfill.run_and_kill(backfill.publish(), first.exists, "the first report")
    assert backfill.finish() == uninterrupted_reports


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 8 MB at `tmp_path/lake`; return a function that sets its free bytes."""
    lake = tmp_path / "lake"
    lake.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", lake]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk of its own needs the right to mount one (root)")

    def set_free_bytes(free_bytes):
        filler = lake / "filler"
        filler.unlink(missing_ok=True)
        if free_bytes is not None:
            filler.write_bytes(b"x" * (shutil.disk_usage(lake).free - free_bytes))

    yield set_free_bytes
    subprocess.run(["umount", "-l", lake], check=True)


def test_a_full_disk_loses_nothing(uninterrupted_reports, submit, tmp_path, small_disk):
    backfill = Backfill(tmp_path, submit).fill_inbox()
    small_disk(100_000)
    with pytest.raises(
        AirflowFailException, match=r"bytes are needed, .* are free; free disk space"
    ):
        take_inventory(backfill.settings, "run", dry_run=False)
    small_disk(None)
    take_inventory(backfill.settings, "run", dry_run=False)
    small_disk(300_000)
    failed_run = run_command(backfill.land())
    assert failed_run.returncode == 1, failed_run.stdout
    assert "the disk is full; free some space and run again, nothing is lost" in failed_run.stdout
    small_disk(None)
    assert backfill.finish() == uninterrupted_reports
