"""One stack for all tests of this folder: a real broker, a real Airflow and a browser."""

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
    """A separate checkout, so that tests may change its .env and var/."""
    folder = tmp_path_factory.mktemp("checkout") / "tidemark"
    skip = shutil.ignore_patterns(".git", "var", ".venv", ".env", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, folder, ignore=skip)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (folder / "var").mkdir()
    (folder / "var" / "jars").symlink_to(jars)
    return folder


@pytest.fixture(scope="session")
def metrics_receiver():
    """An OTLP receiver for Airflow's metrics: the names that it received, and its URL."""
    names: set[str] = set()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            request = ExportMetricsServiceRequest.FromString(body)
            names.update(
                metric.name
                for resource in request.resource_metrics
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
    """Settings of the stack with free ports, as environment variables; also written to its .env."""
    names = ("KAFKA", "KAFKA_CONTROLLER", "AIRFLOW", "AIRFLOW_WORKER_LOG", "AIRFLOW_TRIGGERER_LOG")
    # Below the range of ephemeral ports that the kernel assigns by itself.
    ports, port = {}, 21000
    for name in names:
        port = find_free_port(port + 1)
        ports[f"TIDEMARK_{name}_PORT"] = str(port)
    ports["TIDEMARK_METRICS_ENDPOINT"] = metrics_receiver[1]
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in ports.items()))
    return ports | {"TIDEMARK_HOME": str(project / "var")}


@pytest.fixture(scope="session")
def settings(env):
    return load_settings(env)


@pytest.fixture(scope="session")
def stack(env, project):
    """Run a command of the local stack; at the end, stop everything and check that the ports are free."""

    def run(*arguments, seconds=420):
        command = [sys.executable, "-m", "include.local_stack", *map(str, arguments)]
        return run_command(command, seconds=seconds, project=project)

    with watch_listening_sockets(load_settings(env)):
        yield run
    result = run("down")
    assert result.returncode == 0, result.stdout
    for name, port in load_settings(env).ports.items():
        assert find_listener(port) is None, f"{name} is still listened on after `down`"


@contextmanager
def watch_listening_sockets(settings):
    """Collect the addresses and ports that the stack listens on, every 20 s; all must be loopback."""
    sockets, stopped = set(), threading.Event()

    def collect():
        while not stopped.wait(20):  # reading all of /proc takes about a second
            services = (broker.service(settings), airflow.service(settings))
            pids = {process.pid for service in services for process in service.process_tree()}
            sockets.update((ip, port) for ip, port, pid in list_listening_sockets() if pid in pids)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    yield sockets
    stopped.set()
    thread.join()
    assert {port for _, port in sockets} >= set(settings.ports.values())
    exposed = [socket for socket in sockets if not ipaddress.ip_address(socket[0]).is_loopback]
    assert not exposed, "these listen for other machines"


@pytest.fixture(scope="session")
def demo_output(stack):
    result = stack("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="session")
def browser():
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium here: `apt-get install chromium` brings one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--disable-quic"],
        )  # fmt: skip
        yield chromium
        chromium.close()


def read_report(settings, day):
    path = settings.lake / "reports" / "access_log" / day / "report.json"
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "provenance"}


def run_dags(settings, conf, day=None):
    """Trigger both DAGs as the web page does; return the run id of the analysis."""
    api = Api(settings)
    follow_run(api, "produce_access_log", api.trigger("produce_access_log", conf), QUIET)
    analysis = api.trigger("analyse_access_log", {"day": day} if day else {})
    follow_run(api, "analyse_access_log", analysis, QUIET)
    return analysis


def read_question(api, dag_id, run_id, task_id):
    """Return the question of the task once it waits for an answer; None before."""
    if _get_task_state(api, dag_id, run_id, task_id) != "awaiting_input":
        return None
    time.sleep(5)  # like a person; see `answer_question`
    return api.call("GET", _build_answer_path(dag_id, run_id, task_id))


def answer_question(api, dag_id, run_id, task_id, option, seconds=300):
    """Answer a question as often as the task asks it; return its text.

    If the answer arrives before the asking process has ended, Airflow 3.3.2 starts the task again,
    refuses the start (409), and asks again in the retry a minute later.
    """
    texts = []

    def is_over():
        question = read_question(api, dag_id, run_id, task_id)
        if question and not question["response_received"]:
            texts.append(question["body"])
            path = _build_answer_path(dag_id, run_id, task_id)
            api.call("PATCH", path, json={"chosen_options": [option]})
        return texts and _get_task_state(api, dag_id, run_id, task_id) in (
            "success",
            "skipped",
            "failed",
        )

    eventually(is_over, seconds, f"{task_id} to have its answer")
    return texts[0]


def _get_task_state(api, dag_id, run_id, task_id):
    tasks = api.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return next((task["state"] for task in tasks if task["task_id"] == task_id), None)


def _build_answer_path(dag_id, run_id, task_id):
    return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
