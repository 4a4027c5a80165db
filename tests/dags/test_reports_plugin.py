"""Reports inside Airflow: Airflow's real application and login, with the project's plugins."""

import asyncio
import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from include.lake.paths import reports_path, summaries_path
from include.orchestration.report_task import OpenReport
from include.reporting.clickstream import write_clickstream_report
from include.reporting.publishing import publish_days
from include.reporting.run_pages import (
    build_page_url,
    list_reporting_dags,
    list_run_pages,
    record_page,
)
from include.settings import PROJECT, load_settings
from tests.unit.synthetic_summaries import build_panel_row, write_day
from tests.unit.test_clickstream_report import build_clickstream_summary
from tests.unit.test_report import HOSTILE, build_summary

LONG_RUN = "r" * 250  # Airflow's limit for a run id; a file name of this length would be too long
DAYS = ["2026-01-14", "2026-01-15"]
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
           "cache-control": "no-store"}  # fmt: skip
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A lake with daily, weekly, filtered and clickstream reports, and files that must not be served."""
    lake_settings = load_settings({"TIDEMARK_HOME": str(tmp_path_factory.mktemp("home"))})
    for day in DAYS:
        folder = summaries_path(lake_settings, "access_log") / day
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(build_summary(HOSTILE[0], day=day)))
    publish_days(lake_settings, DAYS, "both")
    publish_days(lake_settings, DAYS[:1], "one+1:00")
    write_clickstream_report(
        build_clickstream_summary(), reports_path(lake_settings, "clickstream")
    )
    folder = reports_path(lake_settings, "access_log")
    for name in ("2026-W03", "filtered/only-api/2026-01-15"):
        (folder / name).mkdir(parents=True)
        (folder / name / "index.html").write_text(f"page of {name}")
    report = {"filter": {"path": "<i>/api", "humans_only": True}}
    (folder / name / "report.json").write_text(json.dumps(report))
    (lake_settings.lake / "outside.html").write_text("secret")
    (folder / "out").symlink_to(lake_settings.lake)
    (folder / DAYS[0] / "link.html").symlink_to(lake_settings.lake / "outside.html")
    (folder / DAYS[0] / ".hidden.html").write_text("secret")
    (folder / DAYS[0] / "notes.txt").write_text("secret")
    (folder / ".part").mkdir()
    (folder / ".part" / "index.html").write_text("secret")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / DAYS[0] / "loop.html").symlink_to("loop.html")
    return lake_settings


@pytest.fixture(scope="module")
def anonymous_client(airflow_home, dag_bag, settings):
    """A client that is not logged in. The application's database has some runs."""
    from airflow import plugins_manager
    from airflow import settings as airflow_settings
    from airflow.api_fastapi.app import create_app
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from fastapi.testclient import TestClient

    runs = {
        "both": "success",
        "one+1:00": "success",
        "red": "failed",
        "now": "running",
        "empty": "success",
        LONG_RUN: "success",
    }
    with pytest.MonkeyPatch.context() as patch, create_session() as session:
        patch.setenv("TIDEMARK_HOME", str(settings.home))
        patch.setattr(airflow_settings, "PLUGINS_FOLDER", str(PROJECT / "plugins"))
        caches = [
            value for value in vars(plugins_manager).values() if hasattr(value, "cache_clear")
        ]
        for cache in caches:
            cache.cache_clear()
        dag_runs = [
            DagRun(dag_id=dag, run_id=run, run_type="manual", state=state,
                   run_after=datetime(2026, 1, 16, tzinfo=UTC))
            for dag, run, state in [*(("analyse_access_log", *pair) for pair in runs.items()),
                                    ("run_stream", "other", "success")]
        ]  # fmt: skip
        session.add_all(dag_runs)
        session.commit()
        yield TestClient(create_app("core"), follow_redirects=False)
        for run in dag_runs:
            session.delete(run)
        for cache in caches:
            cache.cache_clear()


@pytest.fixture(scope="module")
def client(anonymous_client, airflow_home):
    """A client that is logged in through POST /auth/token."""
    from fastapi.testclient import TestClient

    passwords = json.loads(
        (airflow_home / "simple_auth_manager_passwords.json.generated").read_text()
    )
    body = {"username": "admin", "password": passwords["admin"]}
    token = anonymous_client.post("/auth/token", json=body).json()["access_token"]
    return TestClient(
        anonymous_client.app, headers={"Authorization": f"Bearer {token}"}, follow_redirects=False
    )


ROUTES = [
    "/reports/", "/reports/access_log/index.html", "/reports/access_log/2026-01-15/hosts.csv",
    "/reports/access_log/range?from=2026-01-14&to=2026-01-15", "/reports/nothing", "/reports/docs",
    "/reports/access_log/2026-01-14_2026-01-15/index.html", "/reports/openapi.json",
    "/reports/run/analyse_access_log/both", "/reports/run/analyse_access_log/none", "/reports/a/",
]  # fmt: skip


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_reports_require_a_login(anonymous_client, path, method):
    for headers, status in ({}, 401), ({"Authorization": "Bearer wrong"}, 403):
        answer = anonymous_client.request(method, path, headers=headers)
        assert answer.status_code == status
        assert "2026-01-15" not in answer.text
        assert answer.headers.items() >= HEADERS.items()


@pytest.mark.parametrize("path", ROUTES[:3])
def test_every_response_forbids_scripts_and_caching(client, path):
    for url in (path, f"{path}x"):
        answer = client.get(url)
        policy = answer.headers["content-security-policy"]
        assert answer.headers.items() >= HEADERS.items()
        assert policy.startswith("sandbox allow-same-origin allow-downloads")
        assert POLICY in policy
        assert "allow-scripts" not in policy
        has_form = url == "/reports/"
        assert ("allow-forms" in policy, "form-action 'self'" in policy) == (has_form, has_form)
        assert ("form-action 'none'" in policy) == (not has_form)
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", [*ROUTES, "/reports/run/analyse_access_log/red"])
def test_only_airflow_may_embed_a_response_in_a_frame(client, anonymous_client, path):
    for answer in (client.get(path), client.post(path), anonymous_client.get(path)):
        policy = answer.headers["content-security-policy"].split("; ")
        assert "frame-ancestors 'self'" in policy
        assert "base-uri 'none'" in policy
        assert len({directive.split()[0] for directive in policy}) == len(policy)


def test_the_reports_page_lists_the_published_reports(client):
    text = client.get("/reports/").text
    for word in ("access_log/2026-01-15/index.html", "access_log/2026-W03/index.html",
                 "clickstream/index.html", "filtered/only-api/2026-01-15", "&lt;i&gt;/api, humans only",
                 '<td>3</td>', 'type="date" name="from" value="2026-01-14"'):  # fmt: skip
        assert word in text
    assert text.index("2026-01-15/") < text.index("2026-01-14/")
    assert "<script" not in text


def test_a_published_file_is_served_unchanged(client, settings):
    folder = reports_path(settings, "access_log")
    for name, kind in {"index.html": "text/html", "report.json": "application/json",
                       "hosts.csv": "text/csv"}.items():  # fmt: skip
        answer = client.get(f"/reports/access_log/2026-01-15/{name}")
        assert answer.content == (folder / "2026-01-15" / name).read_bytes()
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="2026-01-15-hosts.csv"'
    assert client.get("/reports/access_log/").text == (folder / "index.html").read_text()
    assert client.get("/reports/clickstream/index.html").status_code == 200


def send_raw_path(client, path):
    """Request a path that no client has normalised, decoded once as a server does; return status and text."""
    sent = []
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"authorization", client.headers["Authorization"].encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(client.app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    if dict(sent[0]["headers"]).get(b"content-encoding") == b"gzip":
        body = gzip.decompress(body)
    return sent[0]["status"], body.decode()


@pytest.mark.parametrize(
    "path",
    ["../outside.html", "%2e%2e/outside.html", "access_log/%2e%2e/%2e%2e/outside.html",
     "access_log/..%2f..%2foutside.html", "access_log%2f2026-01-14%2f.hidden.html",
     "access_log/%252e%252e/%252e%252e/outside.html", "access_log/..%5c..%5coutside.html",
     "access_log/2026-01-14/.hidden.html", "access_log/.part/index.html", "access_log/.part/",
     "access_log/2026-01-14/notes.txt", "access_log/2026-01-14/link.html", "/etc/passwd",
     "access_log/out/outside.html", "//outside.html", "%2Fetc%2Fpasswd", "access_log/out/",
     "access_log/2026-01-14/index.html%00.csv", "access_log/2026-01-14/%00", "access_log//index.html",
     "access_log/2026-01-14", "access_log/./index.html", "access_log/%0a/index.html", "~root/a.html",
     "access_log/2026-01-14/index.html/", "access_log/\uff0e\uff0e/outside.html", "access_log/" + "a/" * 999,
     "access_log/loop/index.html", "access_log/2026-01-14/loop.html", "access_log/loop/", "a" * 256 + ".html",
     "a" * 300 + "/index.html", "a" * 251 + ".html", "access_log/" + "a" * 5000 + ".html",
     "access_log/" + "aaaa/" * 1000 + "index.html", "access_log/2026-01-14_2026-01-15/" + "a" * 300 + ".csv"],
)  # fmt: skip
def test_only_published_files_are_served(client, settings, path):
    from include.reporting.web_app import find_published_file

    assert find_published_file(settings.lake / "reports", unquote(path)) is None
    status, text = send_raw_path(client, f"/reports/{path}")
    assert status == 404
    assert "secret" not in text


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [("", 400, "Give both days"), ("from=2026-01-14", 400, "Give both days"),
     ("from=2026-02-30&to=2026-03-01", 400, "Give both days"),
     ("from=<script>&to=../x", 400, "Give both days"),
     ("from=2026-01-15&to=2026-01-14", 400, "2026-01-15 is after 2026-01-14"),
     ("from=2001-01-01&to=2026-01-14", 400, "more than 3,660 days")],
)  # fmt: skip
def test_an_invalid_range_shows_the_reason(client, query, status, message):
    answer = client.get(f"/reports/access_log/range?{query}")
    assert answer.status_code == status
    assert message in answer.text
    assert "<script" not in answer.text


def test_the_range_form_redirects_to_the_range_page(client):
    answer = client.get("/reports/access_log/range?from=2026-01-14&to=2026-01-15")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/reports/access_log/2026-01-14_2026-01-15/index.html"


def test_a_range_has_a_page_a_json_file_and_csv_files(client, settings):
    for day in ("2026-02-14", "2026-02-15"):
        write_day(summaries_path(settings, "access_log"), day, [build_panel_row("hosts", "=1+1")])
    url = "/reports/access_log/2026-02-14_2026-02-15"
    page = client.get(f"{url}/index.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "=1+1" in page.text
    assert client.get(f"{url}/report.json").json()["from"] == "2026-02-14"
    csv = client.get(f"{url}/hosts.csv")
    assert csv.text.splitlines()[1].startswith("'=1+1,")
    assert "2026-02-14_2026-02-15-hosts.csv" in csv.headers["content-disposition"]
    for name in ("nothing.csv", "hosts", "panels.parquet", "..%2findex.html"):
        assert client.get(f"{url}/{name}").status_code == 404
    missing = client.get(url.replace("2026", "2030") + "/index.html")
    assert missing.status_code == 404
    assert "No day from 2030-02-14 to 2030-02-15 has been summarised." in missing.text


def test_an_internal_error_shows_a_page_without_internal_details(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "include.reporting.ranges", None)
    answer = client.get("/reports/access_log/2026-01-14_2026-01-15/index.html")
    assert answer.status_code == 500
    assert "Airflow&#39;s API server has the reason" in answer.text
    assert "include.reporting" not in answer.text
    assert answer.headers.items() >= HEADERS.items()


RUNS = {
    "analyse_access_log/both": (200, ["published 2 reports", "/reports/access_log/2026-01-14/index.html"]),
    "analyse_access_log/red": (200, ["failed before it published"]),
    "analyse_access_log/now": (200, ["is running and has published nothing yet"]),
    "analyse_access_log/empty": (200, ["published no report: there was nothing new"]),
    "analyse_access_log/none": (404, ["There is no run none"]),
    f"analyse_access_log/{LONG_RUN}": (200, ["published no report: there was nothing new"]),
    f"analyse_access_log/{'r' * 5000}": (404, ["There is no run rrr"]),
    f"{'d' * 300}/none": (404, ["There is no run none"]),
    "analyse_access_log/%00": (404, ["Invalid DAG id or run id."]),
    "analyse_access_log/..": (404, ["There is no"]),
    "run_stream/other": (200, ["run_stream publishes no reports. These DAGs do: analyse_access_log"]),
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_the_tab_of_a_run_lists_what_the_run_published(client, run):
    answer = client.get(f"/reports/run/{run.replace('..', '%2e%2e')}")
    status, words = RUNS[run]
    assert answer.status_code == status
    for word in words:
        assert word in answer.text


def test_a_symlink_loop_does_not_break_the_reports_page(client):
    answer = client.get("/reports/")
    assert answer.status_code == 200
    assert "loop" not in answer.text


def test_a_file_removed_during_the_request_is_not_found(client, settings, monkeypatch):
    from include.reporting import web_app

    gone = settings.lake / "reports" / "gone.html"
    monkeypatch.setattr(web_app, "find_published_file", lambda root, path: gone)
    assert client.get("/reports/gone.html").status_code == 404


def test_a_run_with_one_report_redirects_to_it(client):
    answer = client.get("/reports/run/analyse_access_log/one%2B1%3A00")
    assert answer.headers["location"] == "/reports/access_log/2026-01-14/index.html"


def test_the_plugin_registers_its_views_in_airflow(client):
    plugins = client.get("/api/v2/plugins").json()["plugins"]
    (ours,) = [plugin for plugin in plugins if plugin["name"] == "reports"]
    views = {
        view["destination"]: (view["href"], view["url_route"]) for view in ours["external_views"]
    }
    assert views == {
        "nav": ("reports/", "reports"), "dag_run": ("reports/run/{DAG_ID}/{RUN_ID}", "report")
    }  # fmt: skip


def test_a_publishing_task_links_to_its_report(dag_bag, settings, monkeypatch):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag_id in list_reporting_dags():
        dag = dag_bag.dags[dag_id]
        stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        ours = {t.task_id for t in dag.tasks if any("_report" in asset.name for asset in t.outlets)}
        assert ours
        for task in stored.tasks:
            assert ("Open report" in task.extra_links) == (task.task_id in ours), task
    assert {
        dag.dag_id for dag in dag_bag.dags.values()
        if any("_report" in asset.name for task in dag.tasks for asset in task.outlets)
    } == set(list_reporting_dags())  # fmt: skip
    monkeypatch.setenv("TIDEMARK_HOME", str(settings.home))

    def link(run, **more):
        ti = SimpleNamespace(dag_id="analyse_access_log", run_id=run, **more)
        return OpenReport().get_link(None, ti_key=ti)

    assert link("one+1:00") == build_page_url("access_log/2026-01-14")
    assert link("both") == "/dags/analyse_access_log/runs/both/plugin/report"
    assert link("both", rendered_map_index="2026-01-15") == build_page_url("access_log/2026-01-15")
    assert link("red") == ""


def test_a_page_url_includes_the_path_prefix_of_airflow(monkeypatch):
    assert build_page_url("clickstream") == "/plugin/reports/reports/clickstream/index.html"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/air/")
    assert build_page_url("clickstream") == "/air/plugin/reports/air/reports/clickstream/index.html"


def test_a_run_lists_each_existing_page_once(settings):
    for page in ("clickstream", "access_log/2026-01-15", "clickstream", "access_log/gone"):
        record_page(settings, "some_dag", "run", page)
    assert list_run_pages(settings, "some_dag", "run") == ["access_log/2026-01-15", "clickstream"]


def test_the_asset_event_contains_the_headline_numbers(settings, monkeypatch):
    from include.orchestration import publish_task
    from include.orchestration.assets import ACCESS_LOG_REPORT

    events = {ACCESS_LOG_REPORT: SimpleNamespace()}
    run = SimpleNamespace(dag_id="analyse_access_log", run_id="event", run_type="manual")
    monkeypatch.setenv("TIDEMARK_HOME", str(settings.home))
    monkeypatch.setattr(
        publish_task, "get_current_context", lambda: {"dag_run": run, "outlet_events": events}
    )
    publish_task.publish_reports(DAYS, publish_anyway=False)
    extra = events[ACCESS_LOG_REPORT].extra
    assert extra == {"days": DAYS, "requests": 6, "visitors": 4, "unsuccessful": 2, "bytes": 3072,
                     "page": "/dags/analyse_access_log/runs/event/plugin/report"}  # fmt: skip
    publish_task.publish_reports(DAYS[:1], publish_anyway=False)
    assert events[ACCESS_LOG_REPORT].extra["page"] == build_page_url("access_log/2026-01-14")


def test_loading_the_plugins_imports_no_web_framework(airflow_home):
    code = (
        "import airflow.plugins_manager, sys; had = set(sys.modules); import plugins.reports, "
        "plugins.run_notes; print('new:', *{n.partition('.')[0] for n in set(sys.modules) - had})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    new = set(done.stdout.rpartition("new:")[2].split())
    assert not new & {"fastapi", "starlette", "sqlalchemy", "jinja2", "pyspark", "pyarrow"}
