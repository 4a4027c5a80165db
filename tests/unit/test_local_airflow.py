"""The local stack's client of the Airflow API, against a fake server."""

import json
import threading
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from include.errors import SetupError
from include.local_stack import airflow
from include.local_stack.airflow import Api
from include.settings import load_settings

COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
HEALTHY = {part: {"status": "healthy"} for part in COMPONENTS}


@contextmanager
def fake_airflow(replies, home, timeout=30, silent=None):
    """Yield an Api client of a fake server, and the list of requests that the server received.

    Args:
        replies: Method and path -> body of the reply; other requests get 404.
        home: The home folder of the client's settings.
        timeout: Seconds that the client waits for a reply.
        silent: Method and path -> number of first requests that get no reply.
    """
    requests, silent, is_stopped = [], dict(silent or {}), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def send_reply(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append((f"{self.command} {self.path}", json.loads(body or "null"),
                             self.headers.get("Authorization")))  # fmt: skip
            request = f"{self.command} {self.path}"
            reply = replies.get(request)
            if silent.get(request):
                silent[request] -= 1
                is_stopped.wait(30)
                return
            self.send_response(404 if reply is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(reply or {"detail": "Not Found"}).encode())

        do_GET = do_POST = do_PATCH = send_reply

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = str(server.server_port)
        settings = load_settings({"TIDEMARK_HOME": str(home), "TIDEMARK_AIRFLOW_PORT": port})
        yield Api(settings, timeout), requests
        is_stopped.set()
        server.shutdown()


@pytest.mark.parametrize(("changed", "is_healthy"), [
    ({}, True), ({"scheduler": {"status": "unhealthy"}}, False), ({"triggerer": None}, False),
    ({"metadatabase": {}}, False), ({"elsewhere": {"status": "unhealthy"}}, True),
])  # fmt: skip
def test_airflow_is_healthy_when_all_of_its_components_are(tmp_path, changed, is_healthy):
    with fake_airflow({"GET /api/v2/monitor/health": HEALTHY | changed}, tmp_path) as (api, _):
        assert api.is_healthy() is is_healthy


def test_airflow_that_does_not_answer_is_not_healthy(tmp_path):
    with fake_airflow({}, tmp_path) as (api, _):
        assert not api.is_healthy()
    assert not api.is_healthy()


def test_the_first_scheduled_day_is_the_day_of_the_first_start_and_stays(tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_TIME_ZONE": "Etc/GMT+12"})
    (tmp_path / "run").mkdir()  # the broker, which starts first, has created it
    days = [datetime.now(settings.zone).date().isoformat()]
    first_day = airflow.environment(settings)["TIDEMARK_FIRST_SCHEDULED_DAY"]
    days.append(datetime.now(settings.zone).date().isoformat())
    assert first_day in days
    (tmp_path / "run" / "first_scheduled_day").write_text("2026-02-04\n")
    assert airflow.environment(settings)["TIDEMARK_FIRST_SCHEDULED_DAY"] == "2026-02-04"
    # A lake of an earlier version has the day in a file of another name.
    (tmp_path / "run" / "first_night").write_text("2026-02-03\n")
    assert airflow.environment(settings)["TIDEMARK_FIRST_SCHEDULED_DAY"] == "2026-02-03"


def write_password(home, password="secret"):
    (home / "airflow").mkdir(exist_ok=True)
    file = home / "airflow" / "simple_auth_manager_passwords.json.generated"
    file.write_text(json.dumps({"admin": password}))


TOKEN_REPLY = {"POST /auth/token": {"access_token": "t"}}


def test_the_api_token_is_requested_only_once(tmp_path):
    write_password(tmp_path)
    trigger = "POST /api/v2/dags/d/dagRuns"
    with fake_airflow(TOKEN_REPLY | {trigger: {"dag_run_id": "run 1"}}, tmp_path) as (
        api,
        requests,
    ):
        assert [api.trigger("d", {"day": day}) for day in ("1", "2")] == ["run 1", "run 1"]
    assert requests == [
        ("POST /auth/token", {"username": "admin", "password": "secret"}, None),
        (trigger, {"logical_date": None, "conf": {"day": "1"}}, "Bearer t"),
        (trigger, {"logical_date": None, "conf": {"day": "2"}}, "Bearer t"),
    ]


def test_an_error_of_the_api_is_shown_with_its_message(tmp_path):
    with fake_airflow(TOKEN_REPLY, tmp_path) as (api, _):
        with pytest.raises(SetupError, match="Airflow has not written .*; see `make status`"):
            api.dags()
        write_password(tmp_path)
        with pytest.raises(SetupError, match=r"refused GET /dags: 404 .*Not Found"):
            api.dags()


def test_a_read_request_without_an_answer_is_repeated(tmp_path):
    write_password(tmp_path)
    list_dags = "GET /api/v2/dags"
    replies = TOKEN_REPLY | {list_dags: {"dags": [{"dag_id": "d"}]}}
    with fake_airflow(replies, tmp_path, timeout=0.3, silent={list_dags: 2}) as (api, requests):
        assert api.dags() == ["d"]
    assert [request for request, *_ in requests] == [
        "POST /auth/token",
        list_dags,
        list_dags,
        list_dags,
    ]
    with (
        fake_airflow(replies, tmp_path, timeout=0.3, silent={list_dags: 5}) as (api, requests),
        pytest.raises(SetupError, match=r"API does not answer at http://127.0.0.1:\d+: timed out"),
    ):
        api.dags()
    assert len(requests) == 1 + 5


def test_a_late_answer_does_not_trigger_a_run_twice(tmp_path):
    write_password(tmp_path)
    trigger = "POST /api/v2/dags/d/dagRuns"
    replies = TOKEN_REPLY | {trigger: {"dag_run_id": "run 1"}}
    with (
        fake_airflow(replies, tmp_path, timeout=0.3, silent={trigger: 1}) as (api, requests),
        pytest.raises(SetupError, match="timed out"),
    ):
        api.trigger("d", {})
    assert len(requests) == 2


def test_an_existing_pool_is_not_created_again(tmp_path):
    write_password(tmp_path)
    replies = TOKEN_REPLY | {
        "GET /api/v2/pools?limit=1000": {"pools": [{"name": "spark"}]},
        "POST /api/v2/pools": {},
    }
    with fake_airflow(replies, tmp_path) as (api, requests):
        for name in ("spark", "lake"):
            api.ensure_entry("pools", name, {"name": name})
    assert [body for request, body, _ in requests if request == "POST /api/v2/pools"] == [
        {"name": "lake"}
    ]
