"""`airflow standalone` with a home of its own, and what the stack asks of it through its API."""

import json
import os
import secrets
import shlex
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from include.local_stack.jars import needs_s3, pyspark_home
from include.local_stack.java import java_home
from include.local_stack.processes import Service, StackError
from include.settings import PROJECT, Settings, changed

ONE_WRITER = "one at a time: its checkpoint has one writer"
POOLS = {"landing_access_log": ONE_WRITER, "landing_clickstream": ONE_WRITER}

USER = "admin"
READS = 5  # on a busy machine an answer may take minutes
# Airflow's own settings, wherever it runs.
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

# What Airflow measures, by OTLP, which Prometheus takes as well.
METRICS = {
    "AIRFLOW__METRICS__OTEL_ON": "True",
    "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",  # each of them again, once for every DAG and task
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRIC_EXPORT_INTERVAL": "15000",
    "OTEL_SERVICE_NAME": "airflow",
}


def service(settings: Settings) -> Service:
    return Service("airflow", settings.home)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of Airflow and of what it runs."""
    home, host = settings.home / "airflow", "127.0.0.1"
    url = f"http://{host}:{settings.airflow_port}"
    tools = [str(Path(sys.executable).parent), str(java_home() / "bin")]
    told = changed(settings)
    code = [str(PROJECT), str(PROJECT / "include" / "local_stack" / "airflow_settings")]
    if settings.airflow_database:  # by a command, so that the password stands in no environment
        told["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"] = (
            f"cat {shlex.quote(settings.airflow_database)}"
        )
    if needs_s3(settings):  # for drivers, and for executors where this starts a worker
        own = os.environ.get("SPARK_DIST_CLASSPATH", "").split(os.pathsep)
        s3 = str(settings.s3_jars / "s3" / "*")
        told["SPARK_DIST_CLASSPATH"] = os.pathsep.join([*(p for p in own if p not in ("", s3)), s3])
    if settings.metrics_endpoint:
        told |= METRICS | {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": settings.metrics_endpoint}
    return os.environ | told | SETTINGS | {
        "PATH": os.pathsep.join([*tools, os.environ.get("PATH", "")]),
        "JAVA_HOME": str(java_home()),
        "SPARK_HOME": str(pyspark_home()),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": host,
        "PYTHONPATH": os.pathsep.join(code),
        "TIDEMARK_HOME": str(settings.home),
        "TIDEMARK_FIRST_NIGHT": _first_night(settings),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        # Every 30 s, as it would by itself, all DAG files are a quarter of what an idle Airflow takes.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": settings.airflow_host,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.logs / "airflow"),
        # Airflow sets these modes itself, whatever the umask is.
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(settings.airflow_worker_log_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(settings.airflow_triggerer_log_port),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY":
            str(settings.logs / "airflow" / "dag_processor"),
    }  # fmt: skip


def start(settings: Settings) -> None:
    """Start Airflow unless all of it runs; it needs about a minute until it is ready.

    `airflow standalone` goes on when its scheduler ends, and nothing would be scheduled any more.
    """
    airflow = service(settings)
    if not airflow.is_whole():
        env = environment(settings)
        make_password(settings)
        command = str(Path(sys.executable).with_name("airflow"))
        airflow.start([command, "standalone"], env)


def make_password(settings: Settings) -> None:
    """Choose the web page's password, unless there is one: Airflow would write its own to its log."""
    passwords = _passwords(settings)
    passwords.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not passwords.is_file():
        part = passwords.with_name(f".{passwords.name}")
        part.touch(mode=0o600)
        part.write_text(json.dumps({USER: secrets.token_urlsafe(16)}) + "\n")
        part.replace(passwords)


def _passwords(settings: Settings) -> Path:
    """Where Airflow's simple auth manager keeps them, in its home."""
    return settings.home / "airflow" / "simple_auth_manager_passwords.json.generated"


def wait(settings: Settings, of: Service | None = None) -> "Api":
    """Wait until all of Airflow is healthy and knows the DAGs; then set up pools and connection.

    It is given up when `of` ends: the service that answers, `airflow standalone` by default.
    """
    airflow, api = of or service(settings), Api(settings)
    airflow.wait(api.is_healthy, 240, "a healthy scheduler, DAG processor, triggerer and API")
    names = [path.stem for path in sorted((PROJECT / "dags").glob("[a-z]*.py"))]
    airflow.wait(lambda: set(names) <= set(api.dags()), 120, f"the DAGs {', '.join(names)}")
    for name, about in POOLS.items():
        api.ensure("pools", name, {"name": name, "slots": 1, "description": about,
                                   "include_deferred": True})  # fmt: skip
    api.ensure("connections", "spark_default", {
        "connection_id": "spark_default", "conn_type": "spark", "host": settings.spark_master,
        "extra": json.dumps({"deploy-mode": "client"}),
        "description": "where Spark jobs are submitted to",
    })  # fmt: skip
    return api


class Api:
    """Airflow's REST API, as its web page uses it."""

    def __init__(self, settings: Settings, timeout: float = 30) -> None:
        """`timeout` is how many seconds one request waits for its answer."""
        self.url = f"http://127.0.0.1:{settings.airflow_port}"
        self._passwords = _passwords(settings)
        self._client = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        self._token = ""

    def login(self) -> tuple[str, str]:
        """User and password of the web page."""
        try:
            passwords: dict[str, str] = json.loads(self._passwords.read_text())
            return USER, passwords[USER]
        except (OSError, ValueError, KeyError):
            raise StackError(
                f"Airflow has not written {self._passwords}; see `make status`"
            ) from None

    def is_healthy(self) -> bool:
        try:
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def dags(self) -> list[str]:
        return [dag["dag_id"] for dag in self.call("GET", "/dags")["dags"]]

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The API's answer as JSON. Raises StackError with the API's own words."""
        try:
            if not self._token:
                user, password = self.login()
                told = self._client.post(
                    "/auth/token", json={"username": user, "password": password}
                )
                told.raise_for_status()
                self._token = told.json()["access_token"]
            headers = arguments.pop("headers", {}) | {"Authorization": f"Bearer {self._token}"}
            answer = self._send(method, f"/api/v2{path}", headers=headers, **arguments)
            if answer.status_code == 401:
                self._token = ""
                return self.call(method, path, **arguments)
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except httpx.HTTPStatusError as error:
            text = error.response.text[:500]
            raise StackError(
                f"Airflow's API refused {method} {path}: {error.response.status_code} {text}"
            ) from None
        except httpx.HTTPError as error:
            raise StackError(f"Airflow's API does not answer at {self.url}: {error}") from None

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request; a GET that gets no answer in time is sent again, up to READS times in all."""
        for _ in range(READS - 1 if method == "GET" else 0):
            with suppress(httpx.TimeoutException):
                return self._client.request(method, path, **arguments)
        return self._client.request(method, path, **arguments)

    def ensure(self, kind: str, name: str, wanted: dict[str, Any]) -> None:
        """Make a pool or connection unless it is there; what a person has changed stays."""
        key = {"pools": "name", "connections": "connection_id"}[kind]
        found = self.call("GET", f"/{kind}?limit=1000")
        if name not in [entry[key] for entry in found[kind]]:
            self.call("POST", f"/{kind}", json=wanted)

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run as the web page's Trigger form does; give its run id."""
        body = {"logical_date": None, "conf": conf}
        run: str = self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return run


def _first_night(settings: Settings) -> str:
    """The day of the first `make up`: nights before it are not caught up with."""
    kept = settings.home / "run" / "first_night"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(datetime.now(settings.zone).date().isoformat())
    return kept.read_text().strip()
