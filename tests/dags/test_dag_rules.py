"""Rules that every DAG must follow."""

import ast
import copy
import json
import re
import socket
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from include.generate_docs import render_docs
from include.settings import PROJECT, load_settings

DAG_FILES = sorted((PROJECT / "dags").glob("[a-z]*.py"))
HEAVY = {"pyspark", "kafka", "pandas", "pyarrow", "polars", "duckdb", "spark_jobs", "producers"}
PARSE_ALL_DAGS = """
import pathlib, runpy, sys
for file in sorted(pathlib.Path("dags").glob("*.py")):
    runpy.run_path(str(file))
print("loaded:", *{name.partition(".")[0] for name in sys.modules})
"""


def test_there_are_dags():
    assert {file.stem for file in DAG_FILES} >= {"produce_access_log", "analyse_access_log"}


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_a_dag_file_holds_one_documented_dag_of_the_same_name(dag_bag, file):
    dag = dag_bag.dags[file.stem]
    assert dag.fileloc == str(file)
    assert [d.dag_id for d in dag_bag.dags.values() if d.fileloc == str(file)] == [file.stem]
    for word in ("###", "**When**", "**Reads**", "**Writes**", "**Then**", "**Params**",
                 "**Example conf**", "*If it fails*"):  # fmt: skip
        assert word in dag.doc_md, word
    assert not [name for name in dag.params if f"`{name}`" not in dag.doc_md]
    assert dag.tags
    assert dag.max_active_runs == 1
    assert "retries" in dag.default_args, "say how often it may be retried"


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_the_default_params_are_valid(dag_bag, file):
    dag_bag.dags[file.stem].params.validate()


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_the_documented_example_conf_is_valid(dag_bag, file):
    dag = dag_bag.dags[file.stem]
    (example,) = re.findall(r"\*\*Example conf\*\* `(.+)`", dag.doc_md)
    conf, params = json.loads(example), copy.deepcopy(dag.params)
    assert conf.keys() <= params.keys()
    params.update(conf)
    params.validate()


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_a_dag_file_has_at_most_140_lines_of_code(file):
    text = file.read_text()
    lines_of_code = text.splitlines()[ast.parse(text).body[0].end_lineno :]  # after the docstring
    assert len(lines_of_code) <= 140


def test_parsing_every_dag_imports_nothing_heavy(airflow_home):
    done = subprocess.run(
        [sys.executable, "-c", PARSE_ALL_DAGS], cwd=PROJECT, capture_output=True, text=True,
        check=True, env={"PYTHONPATH": str(PROJECT), "AIRFLOW_HOME": str(airflow_home), "PATH": ""},
    )  # fmt: skip
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert "airflow" in loaded
    assert not loaded & HEAVY


def test_the_landing_task_passes_its_settings_as_flags(dag_bag):
    land = dag_bag.dags["analyse_access_log"].get_task("land_access_log")
    settings = load_settings()
    assert land.application == str(PROJECT / "spark_jobs" / "land_access_log.py")
    given = dict(flag.split("=", 1) for flag in land.application_args)
    assert given["--trigger"] == "available-now"
    assert given["--servers"] == settings.kafka_servers
    assert given["--anonymise"] == str(settings.anonymise_addresses)
    assert given["--drop-query-names"] == settings.drop_query_names
    assert all(isinstance(value, str) for value in land.application_args)
    assert len(land.jars.split(",")) == 4


@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [("analyse_access_log", "land_access_log"), ("backfill_access_logs", "land_access_log"),
     ("replay_bad_lines", "dry_run"), ("replay_bad_lines", "replay")],
)  # fmt: skip
def test_every_task_that_parses_lines_uses_the_same_parsing_flags(dag_bag, dag_id, task_id):
    from include.orchestration.spark_submit import build_parsing_flags

    flags = dag_bag.dags[dag_id].get_task(task_id).application_args
    for name, value in build_parsing_flags(load_settings()).items():
        assert f"--{name.replace('_', '-')}={value}" in flags


def test_a_log_format_reaches_the_job_unchanged(dag_bag):
    from include.orchestration.spark_submit import build_parsing_flags

    text = r"""%{%d/%b/%Y:%T %z}t {{ run_id }} %h \\"%r\\" '%>s' {# ä #}"""
    flag = build_parsing_flags(load_settings({"TIDEMARK_LOG_FORMAT": text}))["log_format"]
    land = dag_bag.dags["analyse_access_log"].get_task("land_access_log")
    assert land.render_template(flag, {}) == text
    assert "--log-format={{ '' }}" in land.application_args


def test_an_invalid_log_format_fails_before_a_job_is_submitted(monkeypatch):
    from airflow.sdk.exceptions import AirflowFailException

    from include.orchestration.preflight import check_prerequisites

    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    message = (
        r"TIDEMARK_LOG_FORMAT='%h %t': LogFormat: it has no status .*; let the server log it, too"
    )
    with pytest.raises(AirflowFailException, match=message):
        check_prerequisites(load_settings({"TIDEMARK_LOG_FORMAT": "%h %t"}), "files")


@pytest.mark.parametrize(
    ("host", "env", "message"),
    [
        ("k8s://https://api:6443", {}, "pip install apache-airflow-providers-cncf-kubernetes"),
        ("local[1]", {"TIDEMARK_KAFKA_SPARK_LOGIN": "/no/such.properties"},
         "TIDEMARK_KAFKA_SPARK_LOGIN: /no/such.properties: "),
    ],
)  # fmt: skip
def test_a_missing_prerequisite_fails_before_a_job_is_submitted(
    monkeypatch, tmp_path, host, env, message
):
    from airflow.sdk.exceptions import AirflowFailException

    from include.orchestration import preflight

    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", f'{{"conn_type": "spark", "host": "{host}"}}')
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1]
        base_env = {"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KAFKA_PORT": str(port)}
        (tmp_path / "jars").symlink_to(load_settings().jars)
        with pytest.raises(AirflowFailException, match=message):
            preflight.check_prerequisites(load_settings(base_env | env), "kafka")


@pytest.mark.parametrize(
    ("code", "action"), [(1, "default"), (2, "fail"), (75, "default"), (137, "default"), (22, "default")]
)  # fmt: skip
def test_only_exit_code_2_is_not_retried(dag_bag, code, action):
    land = dag_bag.dags["analyse_access_log"].get_task("land_access_log")
    error = RuntimeError(f"Cannot execute: spark-submit x. Error code is: {code}. Last output: …")
    assert land.retry_policy.evaluate(error, 1, 2).action.value == action


def test_late_reports_and_failed_tasks_have_callbacks(dag_bag):
    dag = dag_bag.dags["analyse_access_log"]
    (alert,) = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline]
    assert alert.interval.total_seconds() == 60 * load_settings().report_deadline_minutes
    assert alert.callback.path == "include.orchestration.notifications.record_late_report"
    assert all(task.on_failure_callback for task in dag.tasks)


def test_landing_and_summary_share_a_pool_and_tasks_run_in_order(dag_bag):
    dag = dag_bag.dags["analyse_access_log"]
    assert {dag.get_task(name).pool for name in ("land_access_log", "summarise_access_log")} == {
        "landing_access_log"
    }
    order = ["preflight", "has_new", "land_access_log", "choose_days", "choose_days_to_summarise",
             "summarise_access_log", "report"]  # fmt: skip
    for before, after in pairwise(order):
        assert after in dag.get_task(before).downstream_task_ids


def test_a_backfill_range_covers_days_in_the_sites_time_zone(dag_bag):
    from airflow.sdk import CronDataIntervalTimetable
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(DagSerialization.to_dict(dag_bag.dags["analyse_access_log"]))
    zone = ZoneInfo(load_settings().time_zone)
    infos = dag.iter_dagrun_infos_between(
        datetime(2015, 5, 17, tzinfo=zone), datetime(2015, 5, 20, tzinfo=zone)
    )
    days = [info.data_interval.start.astimezone(zone).date().isoformat() for info in infos]
    assert days == ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]
    assert isinstance(dag_bag.dags["analyse_access_log"].timetable, CronDataIntervalTimetable)


@pytest.mark.parametrize(
    ("dag_id", "invalid"),
    [
        ("produce_access_log", {"file": "../../etc/passwd"}),
        ("produce_access_log", {"file": "-rf"}),
        ("produce_access_log", {"file": ".hidden"}),
        ("produce_access_log", {"count": 0}),
        ("produce_access_log", {"rate": -1}),
        ("produce_access_log", {"source": "elsewhere"}),
        ("produce_access_log", {"day": "today; rm -rf"}),
        ("produce_clickstream", {"bad_share": 2}),
        ("produce_clickstream", {"start": "$(reboot)"}),
        ("run_stream", {"source": "text:; rm -rf /"}),
        ("run_stream", {"run_seconds": 100_000}),
        ("analyse_access_log", {"source": "both"}),
        ("analyse_access_log", {"day": "../2026"}),
    ],
)
def test_an_invalid_parameter_is_refused_before_anything_runs(dag_bag, dag_id, invalid):
    from airflow.sdk.exceptions import AirflowException

    ((name, value),) = invalid.items()
    with pytest.raises((AirflowException, ValueError)):
        dag_bag.dags[dag_id].params.get_param(name).resolve(value)


def test_the_generated_docs_are_up_to_date():
    for name, text in render_docs().items():
        assert (PROJECT / "docs" / name).read_text() == text, f"docs/{name}: run `make docs`"


def test_maintenance_runs_one_job_per_landing_with_the_planned_flags(dag_bag):
    from types import SimpleNamespace

    from airflow.sdk import DAG

    dag: DAG = dag_bag.dags["maintain_lake"]
    assert dag.params["dry_run"] is True
    work = {"remove_days": ["2026-01-01", "2026-01-02"], "undated_before": "2026-03-01",
            "through_batch": 7}  # fmt: skip
    no_work = {"remove_days": [], "undated_before": "", "through_batch": -1}
    plan = {"dry_run": False, "landings": {
        "access_log_kafka": work, "access_log_files": no_work, "clickstream_kafka": no_work,
    }}  # fmt: skip
    given = {}
    for name in plan["landings"]:
        job = dag.get_task(f"maintain_{name}")
        assert job.pool == f"landing_{name.rpartition('_')[0]}"
        assert dag.get_task("plan").downstream_task_ids >= {job.task_id}
        assert job.downstream_task_ids == {"finish"}
        task_instance = SimpleNamespace(xcom_pull=lambda task_ids: plan)
        args = job.render_template(job.application_args, {"ti": task_instance, "run_id": "r"})
        given[name] = dict(flag.split("=", 1) for flag in args)
    assert given["access_log_kafka"]["--remove-days"] == "2026-01-01,2026-01-02"
    assert given["access_log_kafka"]["--undated-before"] == "2026-03-01"
    assert given["access_log_kafka"]["--dry-run"] == "false"
    assert given["access_log_files"]["--remove-days"] == "none"
    assert given["clickstream_kafka"]["--undated-before"] == "none"
    assert given["clickstream_kafka"]["--through-batch"] == "-1"


def test_no_default_param_is_an_empty_string(dag_bag):
    """Airflow's form treats an empty string as a missing value and keeps its button disabled."""
    for dag in dag_bag.dags.values():
        for name, param in dag.params.items():
            resolved = dag.params.get_param(name) if hasattr(dag.params, "get_param") else param
            default = getattr(resolved, "value", resolved)
            assert default != "", f"{dag.dag_id}.{name}: use None and type null"
