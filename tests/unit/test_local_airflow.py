"""How the local stack talks to Airflow, against a server of a few answers."""

import json
import threading
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from include.local_stack import airflow
from include.local_stack.airflow import Api
from include.local_stack.processes import StackError
from include.settings import load_settings

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
HEALTHY = {part: {"status": "healthy"} for part in PARTS}


@contextmanager
def answering(answers, home):
    """An Api of a server that gives `answers`, method and path -> body; and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((f"{self.command} {self.path}", json.loads(body or "null"),
                          self.headers.get("Authorization")))  # fmt: skip
            answer = answers.get(f"{self.command} {self.path}")
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer or {"detail": "Not Found"}).encode())

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = str(server.server_port)
        yield Api(load_settings({"TIDEMARK_HOME": str(home), "TIDEMARK_AIRFLOW_PORT": port})), asked
        server.shutdown()


@pytest.mark.parametrize(("changed", "is_healthy"), [
    ({}, True), ({"scheduler": {"status": "unhealthy"}}, False), ({"triggerer": None}, False),
    ({"metadatabase": {}}, False), ({"elsewhere": {"status": "unhealthy"}}, True),
])  # fmt: skip
def test_airflow_is_healthy_when_all_of_its_parts_are(tmp_path, changed, is_healthy):
    with answering({"GET /api/v2/monitor/health": HEALTHY | changed}, tmp_path) as (api, _):
        assert api.is_healthy() is is_healthy


def test_airflow_that_does_not_answer_is_not_healthy(tmp_path):
    with answering({}, tmp_path) as (api, _):
        assert not api.is_healthy()
    assert not api.is_healthy()


def test_the_first_night_is_the_day_of_the_first_start_and_stays(tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_TIME_ZONE": "Etc/GMT+12"})
    (tmp_path / "run").mkdir()  # the broker's, which starts first
    days = [datetime.now(settings.zone).date().isoformat()]
    found = airflow.environment(settings)["TIDEMARK_FIRST_NIGHT"]
    days.append(datetime.now(settings.zone).date().isoformat())
    assert found in days
    (tmp_path / "run" / "first_night").write_text("2026-02-03\n")
    assert airflow.environment(settings)["TIDEMARK_FIRST_NIGHT"] == "2026-02-03"


def log_in(home, password="secret"):
    (home / "airflow").mkdir(exist_ok=True)
    kept = home / "airflow" / "simple_auth_manager_passwords.json.generated"
    kept.write_text(json.dumps({"admin": password}))


TOKEN = {"POST /auth/token": {"access_token": "t"}}


def test_a_run_is_triggered_with_a_token_that_is_asked_for_once(tmp_path):
    log_in(tmp_path)
    triggered = "POST /api/v2/dags/d/dagRuns"
    with answering(TOKEN | {triggered: {"dag_run_id": "run 1"}}, tmp_path) as (api, asked):
        assert [api.trigger("d", {"day": day}) for day in ("1", "2")] == ["run 1", "run 1"]
    assert asked == [
        ("POST /auth/token", {"username": "admin", "password": "secret"}, None),
        (triggered, {"logical_date": None, "conf": {"day": "1"}}, "Bearer t"),
        (triggered, {"logical_date": None, "conf": {"day": "2"}}, "Bearer t"),
    ]


def test_what_the_api_refuses_is_told_in_its_words(tmp_path):
    with answering(TOKEN, tmp_path) as (api, _):
        with pytest.raises(StackError, match="Airflow has not written .*; see `make status`"):
            api.dags()
        log_in(tmp_path)
        with pytest.raises(StackError, match=r"refused GET /dags: 404 .*Not Found"):
            api.dags()


def test_a_pool_that_is_there_stays_as_it_is(tmp_path):
    log_in(tmp_path)
    answers = TOKEN | {
        "GET /api/v2/pools?limit=1000": {"pools": [{"name": "spark"}]},
        "POST /api/v2/pools": {},
    }
    with answering(answers, tmp_path) as (api, asked):
        for name in ("spark", "lake"):
            api.ensure("pools", name, {"name": name})
    assert [body for what, body, _ in asked if what == "POST /api/v2/pools"] == [{"name": "lake"}]
