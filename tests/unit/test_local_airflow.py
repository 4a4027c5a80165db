"""How the local stack talks to Airflow, against a server of a few answers."""

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

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
HEALTHY = {part: {"status": "healthy"} for part in PARTS}


@contextmanager
def answering(answers, home, timeout=30, silent=None):
    """An Api of a server that gives `answers`, method and path -> body; and what it was asked.

    To the first requests, as many as `silent` names for a method and path, it gives no answer.
    """
    asked, silent, gave_up = [], dict(silent or {}), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((f"{self.command} {self.path}", json.loads(body or "null"),
                          self.headers.get("Authorization")))  # fmt: skip
            what = f"{self.command} {self.path}"
            answer = answers.get(what)
            if silent.get(what):
                silent[what] -= 1
                gave_up.wait(30)
                return
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer or {"detail": "Not Found"}).encode())

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = str(server.server_port)
        settings = load_settings({"TIDEMARK_HOME": str(home), "TIDEMARK_AIRFLOW_PORT": port})
        yield Api(settings, timeout), asked
        gave_up.set()
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


def test_the_first_scheduled_day_is_the_day_of_the_first_start_and_stays(tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_TIME_ZONE": "Etc/GMT+12"})
    (tmp_path / "run").mkdir()  # the broker's, which starts first
    days = [datetime.now(settings.zone).date().isoformat()]
    found = airflow.environment(settings)["TIDEMARK_FIRST_SCHEDULED_DAY"]
    days.append(datetime.now(settings.zone).date().isoformat())
    assert found in days
    (tmp_path / "run" / "first_scheduled_day").write_text("2026-02-04\n")
    assert airflow.environment(settings)["TIDEMARK_FIRST_SCHEDULED_DAY"] == "2026-02-04"
    # A lake of an earlier version has the day in a file of another name.
    (tmp_path / "run" / "first_night").write_text("2026-02-03\n")
    assert airflow.environment(settings)["TIDEMARK_FIRST_SCHEDULED_DAY"] == "2026-02-03"


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
        with pytest.raises(SetupError, match="Airflow has not written .*; see `make status`"):
            api.dags()
        log_in(tmp_path)
        with pytest.raises(SetupError, match=r"refused GET /dags: 404 .*Not Found"):
            api.dags()


def test_a_question_that_a_busy_airflow_leaves_open_is_asked_again(tmp_path):
    log_in(tmp_path)
    listed = "GET /api/v2/dags"
    answers = TOKEN | {listed: {"dags": [{"dag_id": "d"}]}}
    with answering(answers, tmp_path, timeout=0.3, silent={listed: 2}) as (api, asked):
        assert api.dags() == ["d"]
    assert [what for what, *_ in asked] == ["POST /auth/token", listed, listed, listed]
    with (
        answering(answers, tmp_path, timeout=0.3, silent={listed: 5}) as (api, asked),
        pytest.raises(SetupError, match=r"API does not answer at http://127.0.0.1:\d+: timed out"),
    ):
        api.dags()
    assert len(asked) == 1 + 5


def test_a_run_is_not_triggered_twice_because_the_answer_is_late(tmp_path):
    log_in(tmp_path)
    triggered = "POST /api/v2/dags/d/dagRuns"
    answers = TOKEN | {triggered: {"dag_run_id": "run 1"}}
    with (
        answering(answers, tmp_path, timeout=0.3, silent={triggered: 1}) as (api, asked),
        pytest.raises(SetupError, match="timed out"),
    ):
        api.trigger("d", {})
    assert len(asked) == 2


def test_a_pool_that_is_there_stays_as_it_is(tmp_path):
    log_in(tmp_path)
    answers = TOKEN | {
        "GET /api/v2/pools?limit=1000": {"pools": [{"name": "spark"}]},
        "POST /api/v2/pools": {},
    }
    with answering(answers, tmp_path) as (api, asked):
        for name in ("spark", "lake"):
            api.ensure_entry("pools", name, {"name": name})
    assert [body for what, body, _ in asked if what == "POST /api/v2/pools"] == [{"name": "lake"}]
