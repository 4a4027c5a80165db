"""The same DAGs and jobs on a cluster with logins, whose services are killed during a run.

`make cluster-test` runs these tests, `make test` does not. They need PostgreSQL and about 7 GiB of memory.
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


def _find_free_ports(first):
    while any(find_listener(first + offset) for offset in cluster.PORT_OFFSETS.values()):
        first += 100
    return first


@pytest.fixture(scope="module")
def project(jars):
    """A checkout in a folder that the PostgreSQL user may enter; pytest's folders do not allow it."""
    folder = Path(tempfile.mkdtemp(prefix="tidemark-cluster-"))
    folder.chmod(0o755)
    skip = shutil.ignore_patterns(".git", "var", ".venv", ".env", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, folder, ignore=skip, dirs_exist_ok=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (folder / "var").mkdir()
    (folder / "var" / "jars").symlink_to(jars)
    first = _find_free_ports(19000)
    (folder / ".env").write_text(f"TIDEMARK_CLUSTER_PORTS={first}\nTIDEMARK_CLUSTER_SECURED=1\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def settings(project):
    env = dict(line.split("=", 1) for line in (project / ".env").read_text().splitlines())
    return cluster.cluster_settings(load_settings(env | {"TIDEMARK_HOME": str(project / "var")}))


@pytest.fixture(scope="module")
def stack(project, settings):
    """Run a command of the cluster; at the end, stop everything and check that the ports are free."""

    def run(*arguments, seconds=600):
        command = [sys.executable, "-m", "include.local_stack", "--cluster", *map(str, arguments)]
        return run_command(command, seconds=seconds, project=project)

    yield run
    result = run("down")
    assert result.returncode == 0, result.stdout
    for name, port in cluster.ports(settings).items():
        assert find_listener(port) is None, f"{name} is still listened on after `down`"


@pytest.fixture(scope="module")
def first_demo(stack):
    result = stack("demo", seconds=900)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def read_report(settings, day=DAY):
    document = json.loads(
        (settings.lake / "reports" / "access_log" / day / "report.json").read_text()
    )
    return {name: value for name, value in document.items() if name not in ("provenance", "checks")}


def read_pid(settings, name):
    return json.loads((settings.home / "run" / f"{name}.json").read_text())["pid"]


def test_the_demo_gives_the_same_numbers_as_on_a_laptop(first_demo, settings):
    """The numbers that `make demo` prints on a laptop, as in README."""
    day = read_report(settings)
    assert (day["requests"], day["unsuccessful"], day["visitors"]) == (19_991, 5_301, 737)
    assert day["bytes"] == 661_260_699
    assert day["lines"] == {"read": 19_995, "good": 19_991, "bad": 4, "duplicates": 0}
    assert "This run landed 20,000 new lines: 19,991 good, 9 bad" in first_demo


def test_status_shows_every_service_as_ready(first_demo, stack):
    result = stack("status")
    assert result.returncode == 0, result.stdout
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for name in cluster.SERVICES:
        assert "ready" in rows[name], result.stdout


def test_the_jobs_ran_on_both_workers(first_demo, settings):
    for name in cluster.WORKERS:
        executor_logs = list((settings.home / name).glob("app-*/*/stderr"))
        assert len(executor_logs) >= 2, f"{name} ran no executor for the landing and the summary"


def test_spark_exposes_every_metric_of_the_dashboard(first_demo, settings):
    expected = set(re.findall(r"\bmetrics_\w+", (PROJECT / "docs" / "dashboard.json").read_text()))
    ports, metrics = cluster.ports(settings), ""
    for name in ("spark-master", *cluster.WORKERS):
        path = "/metrics/master/prometheus/" if name == "spark-master" else "/metrics/prometheus/"
        metrics += httpx.get(f"http://127.0.0.1:{ports[f'{name} page']}{path}").text
    for name in expected:
        assert f"\n{name}{{" in f"\n{metrics}", name
    assert 'metrics_master_aliveWorkers_Value{type="gauges"} 2' in metrics


def test_no_secret_is_in_a_log_a_process_list_or_a_report(first_demo, settings):
    defaults, database = (
        Path(settings.spark_conf_dir) / "spark-defaults.conf",
        Path(settings.airflow_database),
    )
    logins = [Path(settings.kafka_producer_login), Path(settings.kafka_spark_login)]
    for secret_file in (defaults, database, *logins, *secured.secrets_folder(settings).iterdir()):
        assert secret_file.stat().st_mode & 0o077 == 0
    properties = dict(line.split(" ", 1) for line in defaults.read_text().splitlines())
    password = database.read_text().split(":")[2].split("@")[0]
    secrets = [properties["spark.authenticate.secret"], password, Api(settings).login()[1]]
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


def test_a_job_without_the_secret_gets_no_worker(first_demo, settings, tmp_path):
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
    result = run_command(command, env_changes={"SPARK_LOCAL_IP": "127.0.0.1"})
    assert result.returncode != 0


def call_or_none(request, *arguments):
    """Return the result of an Airflow request; None while its database is down."""
    try:
        return request(*arguments)
    except SetupError:
        return None


def get_end_state(api, dag, run_id):
    state = api.call("GET", f"/dags/{dag}/dagRuns/{run_id}")["state"]
    return state if state in ("success", "failed") else None


def is_running(api, dag, run_id, task):
    tasks = api.call("GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return (task, "running") in [(instance["task_id"], instance["state"]) for instance in tasks]


def list_executors(settings):
    """List the processes of Spark's executors on both workers."""
    workers = [cluster.service(settings, name).process() for name in cluster.WORKERS]
    processes = []
    for child in (child for worker in workers if worker for child in worker.children()):
        with suppress(psutil.Error):  # the process has just ended
            if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()):
                processes.append(child)
    return processes


def test_no_line_is_lost_when_broker_worker_database_and_scheduler_are_killed(
    first_demo, settings, stack
):
    """Sends a second log, twice as long, and kills each service while its run goes on."""
    api, day = Api(settings), "2026-01-16"
    conf = {"source": "generator", "day": day, "count": 40_000, "seed": 7, "rate": 2000}
    producer_run = api.trigger("produce_access_log", conf)
    producer_task = ("produce_access_log", producer_run, "produce")
    eventually(lambda: call_or_none(is_running, api, *producer_task), 120, "the producer to run")
    os.kill(read_pid(settings, "kafka-2"), signal.SIGKILL)
    has_ended = partial(call_or_none, get_end_state, api, "produce_access_log", producer_run)
    assert eventually(has_ended, 600, "the producer's end") == "success"

    analysis_run = api.trigger("analyse_access_log", {"day": day, "source": "kafka"})
    eventually(lambda: list_executors(settings), 240, "executors of the landing")
    kill_process_tree(read_pid(settings, "spark-worker-1"))
    cluster.service(settings, "postgres").stop()
    cluster.start_postgres(settings)
    kill_process_tree(read_pid(settings, "airflow-scheduler"))
    up = stack("up")  # starts the services that are down
    assert up.returncode == 0, up.stdout + up.stderr
    has_ended = partial(call_or_none, get_end_state, api, "analyse_access_log", analysis_run)
    assert eventually(has_ended, 1500, "the analysis' end") == "success"
    progress = settings.lake / "landing" / "access_log" / "kafka" / "progress.jsonl"
    landed = [json.loads(line)["read"] for line in progress.read_text().splitlines()]
    lines = read_report(settings, day)["lines"]
    # Lines that a failed producer sends again are landed twice; the summary drops the duplicates.
    assert sum(landed) == 60_000 + lines["duplicates"], "every line of both logs"
    unique_lines = lines["read"] - lines["duplicates"]
    assert 39_960 <= unique_lines <= 40_000, "all but the few whose time cannot be read"
    assert read_report(settings)["requests"] == 19_991


def test_a_stream_runs_on_the_cluster(first_demo, settings):
    api = Api(settings)
    conf = {"job": "watch_access_log", "source": "kafka:access-log", "sink": "memory:by_status",
            "show": "by-status"}  # fmt: skip
    run_id = api.trigger("run_stream", conf)
    follow_run(api, "run_stream", run_id, QUIET)
    log_path = f"/dags/run_stream/dagRuns/{run_id}/taskInstances/stream/logs/1"
    log = api.call("GET", log_path, headers={"Accept": "application/json"})["content"]
    assert "|304   |" in "\n".join(str(entry["event"]) for entry in log)


def test_a_backfill_from_files_gives_the_same_report_as_kafka(first_demo, settings):
    """The demo's log as a file gives the same report, except for the name of the source."""
    inbox = settings.lake / "inbox" / "access_log"
    inbox.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "producers.access_log", "generate", "--to"]
    result = run_command([*command, f"file:{inbox / 'day.log'}"])
    assert result.returncode == 0, result.stderr
    kafka_report, api = read_report(settings), Api(settings)
    body = {"dag_id": "analyse_access_log", "from_date": f"{DAY}T00:00:00Z", "max_active_runs": 1,
            "to_date": f"{DAY}T00:00:00Z", "dag_run_conf": {"source": "files"}}  # fmt: skip
    backfill_id = api.call("POST", "/backfills", json=body)["id"]
    eventually(
        lambda: api.call("GET", f"/backfills/{backfill_id}")["completed_at"],
        420,
        "the backfill's end",
    )
    file_report = read_report(settings)
    assert file_report.pop("source") == "files"
    assert kafka_report.pop("source") == "kafka"
    assert file_report == kafka_report


def test_the_ports_can_be_changed_after_the_first_start(first_demo, stack, project, settings):
    """Must run last. The database URL, the broker addresses and `spark_default` get the new ports."""
    assert stack("down").returncode == 0
    env = (project / ".env").read_text()
    old_ports = str(settings.cluster_ports)
    (project / ".env").write_text(
        env.replace(old_ports, str(_find_free_ports(int(old_ports) + 200)))
    )
    result = stack("demo", seconds=900)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "landed 0 new lines" in result.stdout
    assert read_report(settings)["requests"] == 19_991
