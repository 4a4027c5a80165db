"""Run `airflow standalone` with its own home, and use its REST API."""

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

from include.datasets import list_pools
from include.errors import SetupError
from include.lake.files import replace_file
from include.local_stack.processes import Service
from include.orchestration.jars import find_pyspark_home, has_s3_landing
from include.orchestration.java import find_java_home
from include.settings import PROJECT, Settings, export_overrides

USER = "admin"
GET_ATTEMPTS = 5  # on a busy machine an answer may take minutes
# Airflow settings that are the same on the laptop and on the cluster.
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

# Airflow sends its metrics by OTLP, which Prometheus accepts as well.
METRICS_SETTINGS = {
    "AIRFLOW__METRICS__OTEL_ON": "True",
    "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",  # duplicates of each, one per DAG and task
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRIC_EXPORT_INTERVAL": "15000",
    "OTEL_SERVICE_NAME": "airflow",
}


def service(settings: Settings) -> Service:
    return Service("airflow", settings.home)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of Airflow and of the processes that it starts."""
    home, host = settings.home / "airflow", "127.0.0.1"
    url = f"http://{host}:{settings.airflow_port}"
    program_folders = [str(Path(sys.executable).parent), str(find_java_home() / "bin")]
    overrides = export_overrides(settings)
    python_path = [str(PROJECT), str(PROJECT / "include" / "local_stack" / "airflow_settings")]
    if settings.airflow_database:  # by a command, so that no environment contains the password
        overrides["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"] = (
            f"cat {shlex.quote(settings.airflow_database)}"
        )
    if has_s3_landing(settings):  # for drivers, and for executors if this starts a worker
        inherited = os.environ.get("SPARK_DIST_CLASSPATH", "").split(os.pathsep)
        s3_jars = str(settings.s3_jars / "s3" / "*")
        overrides["SPARK_DIST_CLASSPATH"] = os.pathsep.join(
            [*(path for path in inherited if path not in ("", s3_jars)), s3_jars]
        )
    if settings.metrics_endpoint:
        overrides |= METRICS_SETTINGS | {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": settings.metrics_endpoint
        }
    return (
        os.environ
        | overrides
        | SETTINGS
        | {
            "PATH": os.pathsep.join([*program_folders, os.environ.get("PATH", "")]),
            "JAVA_HOME": str(find_java_home()),
            "SPARK_HOME": str(find_pyspark_home()),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": host,
            "PYTHONPATH": os.pathsep.join(python_path),
            "TIDEMARK_HOME": str(settings.home),
            "TIDEMARK_FIRST_SCHEDULED_DAY": _first_scheduled_day(settings),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            # At the default of 30 s, parsing the DAG files is a quarter of the CPU time of an idle Airflow.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__API__HOST": settings.airflow_host,
            "AIRFLOW__API__PORT": str(settings.airflow_port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.logs / "airflow"),
            # Airflow sets these modes itself and ignores the umask.
            "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
            "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(settings.airflow_worker_log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(settings.airflow_triggerer_log_port),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
                settings.logs / "airflow" / "dag_processor"
            ),
        }
    )


def start(settings: Settings) -> None:
    """Start Airflow unless it is complete. It needs about a minute until it is ready.

    `airflow standalone` keeps running when its scheduler ends, but then nothing is scheduled. So it
    is started again if one of its child processes has ended.
    """
    airflow = service(settings)
    if not airflow.is_complete():
        env = environment(settings)
        make_password(settings)
        command = str(Path(sys.executable).with_name("airflow"))
        airflow.start([command, "standalone"], env)


def make_password(settings: Settings) -> None:
    """Create the web page's password unless there is one. Airflow would print a new one in its log."""
    passwords = _passwords_file(settings)
    passwords.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not passwords.is_file():
        text = json.dumps({USER: secrets.token_urlsafe(16)}) + "\n"
        replace_file(passwords, text, permissions=0o600)


def _passwords_file(settings: Settings) -> Path:
    """Return the file in which Airflow's simple auth manager keeps passwords."""
    return settings.home / "airflow" / "simple_auth_manager_passwords.json.generated"


def wait_until_ready(settings: Settings, api_service: Service | None = None) -> "Api":
    """Wait until Airflow is healthy and has parsed all DAGs, then create pools and the connection.

    Args:
        settings: The stack's settings.
        api_service: The service that runs the API; `airflow standalone` by default. Waiting stops
            with an error if it ends.

    Raises:
        SetupError: The service has ended, or is not ready in time.
    """
    airflow, api = api_service or service(settings), Api(settings)
    airflow.wait(api.is_healthy, 240, "a healthy scheduler, DAG processor, triggerer and API")
    dag_ids = [path.stem for path in sorted((PROJECT / "dags").glob("[a-z]*.py"))]
    airflow.wait(lambda: set(dag_ids) <= set(api.dags()), 120, f"the DAGs {', '.join(dag_ids)}")
    for name, pool in list_pools().items():
        api.ensure_entry("pools", name, {"name": name, **pool})
    api.ensure_entry(
        "connections",
        "spark_default",
        {
            "connection_id": "spark_default",
            "conn_type": "spark",
            "host": settings.spark_master,
            "extra": json.dumps({"deploy-mode": "client"}),
            "description": "where Spark jobs are submitted to",
        },
    )
    return api


class Api:
    """A client of Airflow's REST API."""

    def __init__(self, settings: Settings, timeout: float = 30) -> None:
        """Create a client; `timeout` is in seconds, for one request."""
        self.url = f"http://127.0.0.1:{settings.airflow_port}"
        self._passwords_file = _passwords_file(settings)
        self._client = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        self._token = ""

    def login(self) -> tuple[str, str]:
        """Return user and password of the web page. Raises SetupError before there are any."""
        try:
            passwords: dict[str, str] = json.loads(self._passwords_file.read_text())
            return USER, passwords[USER]
        except (OSError, ValueError, KeyError):
            raise SetupError(
                f"Airflow has not written {self._passwords_file}; see `make status`, "
                "or start it with `make up`"
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
        """Send a request with a login and return the response.

        Args:
            method: HTTP method.
            path: Path below `/api/v2`, beginning with `/`.
            arguments: Arguments of `httpx.Client.request`, such as `json`.

        Returns:
            The response's JSON, or None if it is empty.

        Raises:
            SetupError: Airflow does not answer, or refuses the request; then with its own message.
        """
        try:
            if not self._token:
                user, password = self.login()
                login = self._client.post(
                    "/auth/token", json={"username": user, "password": password}
                )
                login.raise_for_status()
                self._token = login.json()["access_token"]
            headers = arguments.pop("headers", {}) | {"Authorization": f"Bearer {self._token}"}
            response = self._send(method, f"/api/v2{path}", headers=headers, **arguments)
            if response.status_code == 401:
                self._token = ""
                return self.call(method, path, **arguments)
            response.raise_for_status()
            return response.json() if response.content else None
        except httpx.HTTPStatusError as error:
            text = error.response.text[:500]
            raise SetupError(
                f"Airflow's API refused {method} {path}: {error.response.status_code} {text}"
            ) from None
        except httpx.HTTPError as error:
            raise SetupError(
                f"Airflow's API does not answer at {self.url}: {error}; see `make status`"
            ) from None

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request. A GET that times out is sent again, GET_ATTEMPTS times in total."""
        for _ in range(GET_ATTEMPTS - 1 if method == "GET" else 0):
            with suppress(httpx.TimeoutException):
                return self._client.request(method, path, **arguments)
        return self._client.request(method, path, **arguments)

    def ensure_entry(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Create a pool or connection unless it exists. A user's changes are kept.

        Args:
            kind: `pools` or `connections`.
            name: The pool's name or the connection's id.
            body: The request that creates it.
        """
        key = {"pools": "name", "connections": "connection_id"}[kind]
        existing = self.call("GET", f"/{kind}?limit=1000")
        if name not in [entry[key] for entry in existing[kind]]:
            self.call("POST", f"/{kind}", json=body)

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run like the web page's Trigger form, and return its run id."""
        body = {"logical_date": None, "conf": conf}
        run_id: str = self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return run_id


def _first_scheduled_day(settings: Settings) -> str:
    """Return the day of the first `make up` (site's time zone). No earlier day is scheduled."""
    file = settings.home / "run" / "first_scheduled_day"
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # the file's name before version 2026.12
        file.with_name("first_night").rename(file)
    if not file.is_file():
        file.write_text(datetime.now(settings.zone).date().isoformat())
    return file.read_text().strip()
