"""A backfill in bulk that is killed, or finds the disk full, and is run again: the same numbers.

The steps of `backfill_access_logs` one after the other, its jobs as processes of their own.
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
PUBLISH = """
import sys
from pathlib import Path
from include.reporting.publishing import publish_days
from include.settings import load_settings
publish_days(load_settings(), sys.argv[2:], "run", publish_anyway=True, staged_folder=Path(sys.argv[1]))
"""


class Bulk:
    """The steps of one run in a lake of its own."""

    def __init__(self, home, submit):
        self.settings, self.submit = load_settings({"TIDEMARK_HOME": str(home)}), submit
        self.data = landing_path(self.settings, DATASET, "files") / "data"
        self.folder = run_folder(self.settings, "run")

    def drop(self):
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
        return [sys.executable, "-c", PUBLISH, str(self.folder / "summary"), *days]

    def to_the_end(self):
        """Run all of it; give each day's report, apart from where it comes from."""
        take_inventory(self.settings, "run", dry_run=False)
        for command in (self.land(), self.summarise()):
            done = run_command(command)
            assert done.returncode == 0, done.stdout
        days = list_backfill_days(self.settings, None, None)
        if days:  # or what was killed had published them all
            assert validate_backfill(self.settings, "run", days)["publish"] == days
            publish_days(
                self.settings,
                days,
                "run",
                publish_anyway=True,
                staged_folder=self.folder / "summary",
            )
        return self.reports()

    def reports(self):
        found = {}
        for day in DAYS:
            path = reports_path(self.settings, DATASET) / day.isoformat() / "report.json"
            told = json.loads(path.read_text())
            found[day.isoformat()] = {k: v for k, v in told.items() if k != "provenance"}
        return found

    def killed(self, command, sign, what):
        """Start it, and end all of it with SIGKILL as soon as `sign` is there."""
        env = os.environ | {"PYTHONPATH": str(PROJECT), "TIDEMARK_HOME": str(self.settings.home)}
        started = subprocess.Popen(
            command, env=env, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(sign, 90, what)
        kill_process_tree(started.pid)


@pytest.fixture(scope="module")
def undisturbed(submit, tmp_path_factory):
    return Bulk(tmp_path_factory.mktemp("undisturbed"), submit).drop().to_the_end()


def test_killed_while_it_lands_summarises_and_publishes(undisturbed, submit, tmp_path):
    bulk = Bulk(tmp_path, submit).drop()
    take_inventory(bulk.settings, "run", dry_run=False)
    commits = landing_path(bulk.settings, DATASET, "files") / "checkpoint" / "commits"
    bulk.killed(bulk.land(), lambda: any(commits.glob("[1-9]*")), "two batches")
    begun = bulk.folder / "summary" / ".summarise_access_log"
    assert run_command(bulk.land()).returncode == 0
    bulk.killed(bulk.summarise(), begun.exists, "the first panels")
    assert run_command(bulk.summarise()).returncode == 0
    first = reports_path(bulk.settings, DATASET) / DAYS[0].isoformat()
    bulk.killed(bulk.publish(), first.exists, "the first report")
    assert bulk.to_the_end() == undisturbed


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB at `tmp_path/lake`, and a function that leaves so many bytes of it free."""
    lake = tmp_path / "lake"
    lake.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", lake]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk of its own needs the right to mount one (root)")

    def leave(free):
        filler = lake / "filler"
        filler.unlink(missing_ok=True)
        if free is not None:
            filler.write_bytes(b"x" * (shutil.disk_usage(lake).free - free))

    yield leave
    subprocess.run(["umount", "-l", lake], check=True)


def test_a_full_disk_loses_nothing(undisturbed, submit, tmp_path, small_disk):
    bulk = Bulk(tmp_path, submit).drop()
    small_disk(100_000)
    with pytest.raises(
        AirflowFailException, match=r"bytes are needed, .* are free; free disk space"
    ):
        take_inventory(bulk.settings, "run", dry_run=False)
    small_disk(None)
    take_inventory(bulk.settings, "run", dry_run=False)
    small_disk(300_000)
    full = run_command(bulk.land())
    assert full.returncode == 1, full.stdout
    assert "the disk is full; free some space and run again, nothing is lost" in full.stdout
    small_disk(None)
    assert bulk.to_the_end() == undisturbed
