"""One stack for all of these tests: a real broker, a real Airflow, a browser."""

import gzip
import ipaddress
import json
import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from rich.console import Console

from include.local_stack import airflow, broker
from include.local_stack.airflow import Api
from include.local_stack.demo import follow_run
from include.local_stack.doctor import find_free_port
from include.local_stack.processes import find_listener, list_listening_sockets
from include.settings import PROJECT, load_settings
from tests.conftest import eventually, run_command

QUIET = Console(file=Path(os.devnull).open("w"))


@pytest.fixture(scope="session")
def project(jars, tmp_path_factory):
    """A checkout of its own, so that its .env and var/ are a test's to change."""
    folder = tmp_path_factory.mktemp("checkout") / "tidemark"
    skip = shutil.ignore_patterns(".git", "var", ".venv", ".env", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, folder, ignore=skip)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (folder / "var").mkdir()
    (folder / "var" / "jars").symlink_to(jars)
    return folder


@pytest.fixture(scope="session")
def metrics_receiver():
    """What Airflow measures: the names that came by OTLP, and where they are sent to."""
    names: set[str] = set()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            told = ExportMetricsServiceRequest.FromString(body)
            names.update(
                metric.name
                for resource in told.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield names, f"http://127.0.0.1:{server.server_port}/v1/metrics"
        server.shutdown()


@pytest.fixture(scope="session")
def env(project, metrics_receiver):
    """Settings of the stack, on free ports, as environment variables; they stand in its .env."""
    names = ("KAFKA", "KAFKA_CONTROLLER", "AIRFLOW", "AIRFLOW_WORKER_LOG", "AIRFLOW_TRIGGERER_LOG")
    # Below the ports that the kernel gives to whoever asks for any.
    found, port = {}, 21000
    for name in names:
        port = find_free_port(port + 1)
        found[f"TIDEMARK_{name}_PORT"] = str(port)
    found["TIDEMARK_METRICS_ENDPOINT"] = metrics_receiver[1]
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in found.items()))
    return found | {"TIDEMARK_HOME": str(project / "var")}


@pytest.fixture(scope="session")
def settings(env):
    return load_settings(env)


@pytest.fixture(scope="session")
def stack(env, project):
    """Runs a command of the local stack; at the end everything is down again."""

    def call(*arguments, seconds=420):
        command = [sys.executable, "-m", "include.local_stack", *map(str, arguments)]
        return run_command(command, seconds=seconds, project=project)

    with watch_listening_sockets(load_settings(env)):
        yield call
    done = call("down")
    assert done.returncode == 0, done.stdout
    for name, port in load_settings(env).ports.items():
        assert find_listener(port) is None, f"{name} is still listened on after `down`"


@contextmanager
def watch_listening_sockets(settings):
    """Address and port of all that the stack's processes listen on, looked for every 20 seconds."""
    seen, done = set(), threading.Event()

    def look():
        while not done.wait(20):  # it reads the whole of /proc, which costs a second
            services = (broker.service(settings), airflow.service(settings))
            ours = {process.pid for service in services for process in service.process_tree()}
            seen.update((ip, port) for ip, port, pid in list_listening_sockets() if pid in ours)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield seen
    done.set()
    thread.join()
    assert {port for _, port in seen} >= set(settings.ports.values())
    open_ones = [each for each in seen if not ipaddress.ip_address(each[0]).is_loopback]
    assert not open_ones, "these listen for other machines"


@pytest.fixture(scope="session")
def demo_output(stack):
    done = stack("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def browser():
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: `apt-get install chromium` brings one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--disable-quic"],
        )  # fmt: skip
        yield running
        running.close()


def read_report(settings, day):
    path = settings.lake / "reports" / "access_log" / day / "report.json"
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "provenance"}


def run_dags(settings, conf, day=None):
    """Trigger both DAGs as the web page would; give the analysis' run id."""
    api = Api(settings)
    follow_run(api, "produce_access_log", api.trigger("produce_access_log", conf), QUIET)
    analysis = api.trigger("analyse_access_log", {"day": day} if day else {})
    follow_run(api, "analyse_access_log", analysis, QUIET)
    return analysis


def read_question(api, dag_id, run_id, task_id):
    """What the task asks, once it waits for the answer; None before."""
    if _task_state(api, dag_id, run_id, task_id) != "awaiting_input":
        return None
    time.sleep(5)  # as a person; see `answer`
    return api.call("GET", answer_path(dag_id, run_id, task_id))


def answer_question(api, dag_id, run_id, task_id, option, seconds=300):
    """Answer as a person would, as often as it is asked; give the question's text.

    Answered before the process that asked has ended, Airflow 3.3.2 starts the task again, refuses
    it (409), and asks anew in the retry a minute later.
    """
    texts = []

    def is_over():
        asked = read_question(api, dag_id, run_id, task_id)
        if asked and not asked["response_received"]:
            texts.append(asked["body"])
            where = answer_path(dag_id, run_id, task_id)
            api.call("PATCH", where, json={"chosen_options": [option]})
        return texts and _task_state(api, dag_id, run_id, task_id) in (
            "success",
            "skipped",
            "failed",
        )

    eventually(is_over, seconds, f"{task_id} to have its answer")
    return texts[0]


def _task_state(api, dag_id, run_id, task_id):
    tasks = api.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return next((task["state"] for task in tasks if task["task_id"] == task_id), None)


def answer_path(dag_id, run_id, task_id):
    return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
