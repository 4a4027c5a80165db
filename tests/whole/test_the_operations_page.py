"""docs/operations.md: its commands are run as they stand there, in a checkout of its own.

They go on from each other: `make fault-test` runs them.
"""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from include.local_stack.airflow import Api
from include.settings import PROJECT, load_settings
from tests.builders import build_line
from tests.conftest import eventually, kill_process_tree
from tests.whole.conftest import answer_question

PAGE = (PROJECT / "docs" / "operations.md").read_text()
SECTIONS = {
    part.splitlines()[0]: re.findall(r"^```sh\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
    for part in PAGE.split("\n## ")[1:]
}
DAYS = ["2016-02-17", "2016-02-18"]
ODD = "192.0.2.9|1455789903|GET /odd HTTP/1.1|200|7"


def lines(day, count):
    return [build_line(time=f"{day}/Feb/2016:{n % 24:02}:00:00 +0000", host=f"192.0.2.{n % 90}")
            for n in range(count)]  # fmt: skip


@pytest.fixture(scope="module")
def shell(demo_output, settings, project):
    """Runs a block as printed, in the checkout; gives what it printed. The lake is a new one."""
    kept = settings.home / "lake-before-the-page"
    settings.lake.rename(kept)
    (project / "access.log").write_text("\n".join([*lines(17, 40), *lines(18, 60)]) + "\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])

    def run(block, seconds=600):
        done = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block], cwd=project, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            out, _ = done.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_process_tree(done.pid)
            raise
        assert done.returncode == 0, f"{block}\n{out}"
        assert "Traceback" not in out, out
        return out

    return run


def here(project):
    """Settings of the checkout as its .env says them now."""
    env = dict(
        line.split("=", 1) for line in (project / ".env").read_text().splitlines() if "=" in line
    )
    home = (project / env.get("TIDEMARK_HOME", "var")).resolve()
    return load_settings(env | {"TIDEMARK_HOME": str(home)})


def report(project, day):
    path = here(project).lake / "reports" / "access_log" / day / "report.json"
    return json.loads(path.read_text())


def test_the_page_has_what_the_issue_asks_for():
    assert list(SECTIONS) == ["Daily runs", "Backfills", "Bad lines", "Disk space and retention",
                              "Moving the lake", "Upgrading"]  # fmt: skip
    assert all(SECTIONS.values())


@pytest.fixture(scope="module")
def daily_run(shell):
    """What the first block prints; what the later sections begin with."""
    return shell(SECTIONS["Daily runs"][0])


@pytest.mark.fault
def test_a_daily_run(daily_run, shell, project):
    _, checks = SECTIONS["Daily runs"]
    assert "✓ report" in daily_run
    day = report(project, "2016-02-18")
    assert (day["source"], day["requests"]) == ("kafka", 60)
    assert report(project, "2016-02-17")["requests"] == 40, "it had lines that no report had seen"
    assert json.loads(shell(checks))["checks"]


@pytest.mark.fault
def test_a_backfill(daily_run, shell, project):
    dialog, bulk, restore = SECTIONS["Backfills"]
    inbox = here(project).lake / "inbox" / "access_log"
    (inbox / "old.log").write_text("\n".join([*lines(17, 45), *lines(18, 70), ODD]) + "\n")
    (inbox / "access.log").unlink()
    shell(dialog)
    api = Api(here(project))
    eventually(
        lambda: all(b["completed_at"] for b in api.call("GET", "/backfills?dag_id=analyse_access_log")
                    ["backfills"]), 300, "the backfill's end",
    )  # fmt: skip
    assert [report(project, day)["requests"] for day in DAYS] == [45, 70]
    assert {report(project, day)["source"] for day in DAYS} == {"files"}
    (inbox / "older.log").write_text("\n".join(lines(17, 300)[46:]) + "\n")
    before = report(project, "2016-02-17")
    out = shell(bulk)
    assert '"lines": 254' in out
    assert "✓ publish 2016-02-17" in out
    assert report(project, "2016-02-17")["requests"] == 45 + 254
    assert report(project, "2016-02-18")["requests"] == 70
    assert "restored: 2016-02-17" in shell(restore)
    assert report(project, "2016-02-17") == before


@pytest.mark.fault
def test_bad_lines(shell, project):
    (replay,) = SECTIONS["Bad lines"]
    assert report(project, "2016-02-18")["lines"]["bad"] == 0, "the odd line shows no time"
    api, answered = Api(here(project)), []

    def approve():
        runs = "/dags/replay_bad_lines/dagRuns"
        run = eventually(lambda: api.call("GET", runs)["dag_runs"], 200, "a run")[0]["dag_run_id"]
        answered.append(answer_question(api, "replay_bad_lines", run, "approve_replay", "Approve"))

    answering = threading.Thread(target=approve)
    answering.start()
    out = shell(replay)
    answering.join()
    assert "waits for you: http://" in out
    assert "1 of 1 bad lines can be parsed now" in answered[0]
    assert report(project, "2016-02-18")["requests"] == 71


@pytest.mark.fault
def test_disk_space_and_retention(shell, project):
    (maintain,) = SECTIONS["Disk space and retention"]
    before = {day: report(project, day) for day in DAYS}
    out = shell(maintain)
    assert out.count("✓ finish") == 2
    assert {day: report(project, day) for day in DAYS} == before
    runs = here(project).lake / "runs" / "maintain_lake"
    # On a Sunday the scheduled run may have been there, too.
    records = [json.loads(path.read_text()) for path in runs.glob("manual*.json")]
    assert sorted(record["dry_run"] for record in records) == [False, True]


@pytest.mark.fault
def test_moving_the_lake_and_upgrading(shell, project):
    before = report(project, "2016-02-17")["requests"]
    (move,) = SECTIONS["Moving the lake"]
    out = shell(move)
    assert "files changed: they now name" in out
    assert report(project, "2016-02-18")["requests"] == 60, "the topic's, read where it lies now"
    assert report(project, "2016-02-17")["requests"] == before
    (upgrade,) = SECTIONS["Upgrading"]
    # What this test brings itself: the new version.
    shell(upgrade.replace("git pull\n", ""))
    assert "✓" in shell("make doctor")


def test_every_command_of_the_page_is_run():
    assert PAGE.count("```sh") == sum(len(blocks) for blocks in SECTIONS.values())
