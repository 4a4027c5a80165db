"""The same DAGs and jobs on a cluster that asks for logins, whose parts are killed in the middle of a run.

Not part of `make test`: `make cluster-test`. It needs PostgreSQL's programs, and some 7 GiB.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from include.errors import SetupError
from include.kafka_login import parse_credentials, read_login
from include.local_stack import cluster, secured
from include.local_stack.airflow import Api
from include.local_stack.demo import follow_run
from include.local_stack.processes import find_listener
from include.settings import PROJECT, load_settings
from tests.conftest import eventually, kill_process_tree, run_command

QUIET = Console(file=Path(os.devnull).open("w"))
DAY = "2026-01-15"


def _free_range(first):
    while any(find_listener(first + apart) for apart in cluster.PORT_OFFSETS.values()):
        first += 100
    return first


@pytest.fixture(scope="module")
def project(jars):
    """A checkout where PostgreSQL's own user may come, which pytest's folders forbid."""
    folder = Path(tempfile.mkdtemp(prefix="tidemark-cluster-"))
    folder.chmod(0o755)
    skip = shutil.ignore_patterns(".git", "var", ".venv", ".env", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, folder, ignore=skip, dirs_exist_ok=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (folder / "var").mkdir()
    (folder / "var" / "jars").symlink_to(jars)
    first = _free_range(19000)
    (folder / ".env").write_text(f"TIDEMARK_CLUSTER_PORTS={first}\nTIDEMARK_CLUSTER_SECURED=1\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def settings(project):
    told = dict(line.split("=", 1) for line in (project / ".env").read_text().splitlines())
    return cluster.cluster_settings(load_settings(told | {"TIDEMARK_HOME": str(project / "var")}))


@pytest.fixture(scope="module")
def stack(project, settings):
    """Runs a command of the cluster; at the end all of it is down again."""

    def call(*arguments, seconds=600):
        command = [sys.executable, "-m", "include.local_stack", "--cluster", *map(str, arguments)]
        return run_command(command, seconds=seconds, project=project)

    yield call
    done = call("down")
    assert done.returncode == 0, done.stdout
    for name, port in cluster.ports(settings).items():
        assert find_listener(port) is None, f"{name} is still listened on after `down`"


@pytest.fixture(scope="module")
def first_demo(stack):
    done = stack("demo", seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def report(settings, day=DAY):
    told = json.loads((settings.lake / "reports" / "access_log" / day / "report.json").read_text())
    return {name: value for name, value in told.items() if name not in ("provenance", "checks")}


def pid_of(settings, name):
    return json.loads((settings.home / "run" / f"{name}.json").read_text())["pid"]


def test_the_demo_has_the_numbers_of_a_laptop(first_demo, settings):
    """Those that `make demo` prints, as README shows them."""
    told = report(settings)
    assert (told["requests"], told["unsuccessful"], told["visitors"]) == (19_991, 5_301, 737)
    assert told["bytes"] == 661_260_699
    assert told["lines"] == {"read": 19_995, "good": 19_991, "bad": 4, "duplicates": 0}
    assert "This run landed 20,000 new lines: 19,991 good, 9 bad" in first_demo


def test_all_of_it_runs_and_status_says_where(first_demo, stack):
    done = stack("status")
    assert done.returncode == 0, done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name in cluster.SERVICES:
        assert "ready" in rows[name], done.stdout


def test_the_jobs_ran_on_both_workers(first_demo, settings):
    for name in cluster.WORKERS:
        ran = list((settings.home / name).glob("app-*/*/stderr"))
        assert len(ran) >= 2, f"{name} ran no executor for the landing and the summary"


def test_spark_measures_what_the_dashboard_shows(first_demo, settings):
    asked = set(re.findall(r"\bmetrics_\w+", (PROJECT / "docs" / "dashboard.json").read_text()))
    port, shown = cluster.ports(settings), ""
    for name in ("spark-master", *cluster.WORKERS):
        path = "/metrics/master/prometheus/" if name == "spark-master" else "/metrics/prometheus/"
        shown += httpx.get(f"http://127.0.0.1:{port[f'{name} page']}{path}").text
    for name in asked:
        assert f"\n{name}{{" in f"\n{shown}", name
    assert 'metrics_master_aliveWorkers_Value{type="gauges"} 2' in shown


def test_no_secret_is_in_a_log_a_process_list_or_a_report(first_demo, settings):
    defaults, database = (
        Path(settings.spark_conf_dir) / "spark-defaults.conf",
        Path(settings.airflow_database),
    )
    logins = [Path(settings.kafka_producer_login), Path(settings.kafka_spark_login)]
    for kept in (defaults, database, *logins, *secured.secrets_folder(settings).iterdir()):
        assert kept.stat().st_mode & 0o077 == 0
    told = dict(line.split(" ", 1) for line in defaults.read_text().splitlines())
    password = database.read_text().split(":")[2].split("@")[0]
    secrets = [told["spark.authenticate.secret"], password, Api(settings).login()[1]]
    secrets += [parse_credentials(read_login(login))[1] for login in logins]
    key = (secured.secrets_folder(settings) / "brokers.pem").read_text().splitlines()[1]
    secrets.append(key)
    assert all(len(secret) > 20 for secret in secrets)
    for process in psutil.process_iter(["cmdline"]):
        assert not any(secret in " ".join(process.info["cmdline"] or []) for secret in secrets)
    folders = [settings.logs, settings.lake, settings.home / "airflow"]
    folders += [settings.home / name for name in cluster.WORKERS]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files.remove(settings.home / "airflow" / "simple_auth_manager_passwords.json.generated")
    assert len(files) > 50
    for path in files:
        text = path.read_bytes()
        assert not any(secret.encode() in text for secret in secrets), path


def test_who_does_not_know_the_secret_gets_no_worker(first_demo, settings, tmp_path):
    job = tmp_path / "one.py"
    job.write_text(
        "from pyspark.sql import SparkSession\n"
        "SparkSession.builder.getOrCreate().range(1).count()\n"
    )
    program = str(Path(sys.executable).with_name("spark-submit"))
    command = [
        program,
        f"--master={settings.spark_master}",
        "--conf=spark.ui.enabled=false",
        str(job),
    ]
    done = run_command(command, env_changes={"SPARK_LOCAL_IP": "127.0.0.1"})
    assert done.returncode != 0


def calm(ask, *arguments):
    """What is asked of Airflow; None while its database is away."""
    try:
        return ask(*arguments)
    except SetupError:
        return None


def ended(api, dag, run_id):
    found = api.call("GET", f"/dags/{dag}/dagRuns/{run_id}")["state"]
    return found if found in ("success", "failed") else None


def is_running(api, dag, run_id, task):
    tasks = api.call("GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return (task, "running") in [(found["task_id"], found["state"]) for found in tasks]


def executors(settings):
    """The processes of Spark's executors, on both workers."""
    workers = [cluster.service(settings, name).process() for name in cluster.WORKERS]
    found = []
    for child in (child for worker in workers if worker for child in worker.children()):
        with suppress(psutil.Error):  # it has just ended
            if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_broker_a_worker_the_database_and_the_scheduler_may_go_in_the_middle(
    first_demo, settings, stack
):
    """A second log, twice as long: each part goes while its run goes on, and no line is missed."""
    api, day = Api(settings), "2026-01-16"
    conf = {"source": "generator", "day": day, "count": 40_000, "seed": 7, "rate": 2000}
    sending = api.trigger("produce_access_log", conf)
    running = ("produce_access_log", sending, "produce")
    eventually(lambda: calm(is_running, api, *running), 120, "the producer to run")
    os.kill(pid_of(settings, "kafka-2"), signal.SIGKILL)
    done = partial(calm, ended, api, "produce_access_log", sending)
    assert eventually(done, 600, "the producer's end") == "success"

    analysis = api.trigger("analyse_access_log", {"day": day, "source": "kafka"})
    eventually(lambda: executors(settings), 240, "executors of the landing")
    kill_process_tree(pid_of(settings, "spark-worker-1"))
    cluster.service(settings, "postgres").stop()
    cluster.start_postgres(settings)
    kill_process_tree(pid_of(settings, "airflow-scheduler"))
    up = stack("up")  # what a person does then: the same command starts what is down
    assert up.returncode == 0, up.stdout + up.stderr
    done = partial(calm, ended, api, "analyse_access_log", analysis)
    assert eventually(done, 1500, "the analysis' end") == "success"
    progress = settings.lake / "landing" / "access_log" / "kafka" / "progress.jsonl"
    landed = [json.loads(line)["read"] for line in progress.read_text().splitlines()]
    lines = report(settings, day)["lines"]
    # What a producer sends again after it failed is landed again, and dropped by the summary.
    assert sum(landed) == 60_000 + lines["duplicates"], "every line of both logs"
    once = lines["read"] - lines["duplicates"]
    assert 39_960 <= once <= 40_000, "all but the few whose time cannot be read"
    assert report(settings)["requests"] == 19_991


def test_a_stream_runs_on_it(first_demo, settings):
    api = Api(settings)
    conf = {"job": "watch_access_log", "source": "kafka:access-log", "sink": "memory:by_status",
            "show": "by-status"}  # fmt: skip
    run_id = api.trigger("run_stream", conf)
    follow_run(api, "run_stream", run_id, QUIET)
    where = f"/dags/run_stream/dagRuns/{run_id}/taskInstances/stream/logs/1"
    told = api.call("GET", where, headers={"Accept": "application/json"})["content"]
    assert "|304   |" in "\n".join(str(entry["event"]) for entry in told)


def test_a_backfill_from_files_makes_what_the_topic_made(first_demo, settings):
    """The demo's own log as a file: the same report, but that it says where it comes from."""
    inbox = settings.lake / "inbox" / "access_log"
    inbox.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "producers.access_log", "generate", "--to"]
    made = run_command([*command, f"file:{inbox / 'day.log'}"])
    assert made.returncode == 0, made.stderr
    by_kafka, api = report(settings), Api(settings)
    body = {"dag_id": "analyse_access_log", "from_date": f"{DAY}T00:00:00Z", "max_active_runs": 1,
            "to_date": f"{DAY}T00:00:00Z", "dag_run_conf": {"source": "files"}}  # fmt: skip
    asked = api.call("POST", "/backfills", json=body)["id"]
    eventually(
        lambda: api.call("GET", f"/backfills/{asked}")["completed_at"], 420, "the backfill's end"
    )
    by_files = report(settings)
    assert by_files.pop("source") == "files"
    assert by_kafka.pop("source") == "kafka"
    assert by_files == by_kafka


def test_its_ports_may_be_changed_after_its_first_start(first_demo, stack, project, settings):
    """The last one: the database's URL, the brokers' addresses and `spark_default` follow."""
    assert stack("down").returncode == 0
    told = (project / ".env").read_text()
    old = str(settings.cluster_ports)
    (project / ".env").write_text(told.replace(old, str(_free_range(int(old) + 200))))
    done = stack("demo", seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "landed 0 new lines" in done.stdout
    assert report(settings)["requests"] == 19_991
