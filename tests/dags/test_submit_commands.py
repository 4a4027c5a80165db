"""The exact command that Airflow submits a job with, for each cluster manager of a connection."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from airflow.providers.apache.spark.hooks import spark_submit as spark_submit_hook
from jinja2 import Template

from include.local_stack.airflow import environment
from include.orchestration import spark_conf, spark_submit
from include.settings import PROJECT, load_settings

LOGIN = "/etc/tidemark/spark.properties"


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Two functions that build the submitted and the expected command of a landing job; the settings."""
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KAFKA_SERVERS": "a:9092,b:9092",
        "TIDEMARK_KAFKA_SPARK_LOGIN": LOGIN, "TIDEMARK_DRIVER_MEMORY": "2g",
    })  # fmt: skip
    # The Spark provider needs Airflow's Kubernetes provider, which is not installed here, to watch the
    # driver's pod. It does not need it to build the command.
    monkeypatch.setattr(spark_submit_hook, "kube_client", object(), raising=False)

    def build_submitted(used_settings=settings, **connection):
        monkeypatch.setattr(spark_submit, "load_settings", lambda: used_settings)
        monkeypatch.setenv(
            "AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", **connection})
        )
        job = spark_submit.spark_job(
            "land_access_log",
            has_kafka=True,
            flags={"source": "kafka:access-log", "sink": "parquet:/lake/data"},
        )
        hook = job._get_hook()
        return hook._build_spark_submit_command(job.application)

    common = [
        f"--conf={name}={value}" for name, value in spark_submit.build_spark_conf(settings).items()
    ]
    jars = ",".join(str(tmp_path / "jars" / jar) for jar in spark_submit.CONNECTOR_JARS)
    job = [str(PROJECT / "spark_jobs" / "land_access_log.py"),
           "--source=kafka:access-log", "--sink=parquet:/lake/data",
           "--servers=a:9092,b:9092", f"--kafka-login={LOGIN}"]  # fmt: skip

    def build_expected(master, *engine_flags):
        conf = [word for flag in common for word in ("--conf", flag.removeprefix("--conf="))]
        return [str(Path(sys.executable).with_name("spark-submit")), "--master", master, *conf,
                *engine_flags[:-2], "--py-files", str(tmp_path / "spark_jobs.zip"), "--jars", jars,
                "--driver-memory", "2g", "--name", "land_access_log", *engine_flags[-2:], *job]  # fmt: skip

    return build_submitted, build_expected, settings


@pytest.mark.parametrize(
    ("connection", "engine_flags"),
    [
        ({"host": "local[*]", "extra": {"deploy-mode": "client"}},
         ["local[*]", "--deploy-mode", "client"]),
        ({"host": "spark://spark-master:7077", "extra": {"deploy-mode": "client"}},
         ["spark://spark-master:7077", "--deploy-mode", "client"]),
        ({"host": "yarn", "extra": {"deploy-mode": "cluster", "queue": "nightly"}},
         ["yarn", "--queue", "nightly", "--deploy-mode", "cluster"]),
        ({"host": "k8s://https://api.example.org:6443",
          "extra": {"deploy-mode": "cluster", "namespace": "tidemark"}},
         ["k8s://https://api.example.org:6443", "--conf", "spark.kubernetes.namespace=tidemark",
          "--deploy-mode", "cluster"]),
    ],
    ids=["laptop", "standalone", "yarn", "kubernetes"],
)  # fmt: skip
def test_the_connection_selects_the_cluster_manager(command, connection, engine_flags):
    build_submitted, build_expected, _ = command
    submitted = build_submitted(**connection)
    if "--queue" in engine_flags:  # the provider puts it after the job's name
        master, queue, name, *mode = engine_flags
        expected = build_expected(master, *mode)
        index = expected.index("--deploy-mode")
        assert submitted == [*expected[:index], queue, name, *expected[index:]]
    else:
        assert submitted == build_expected(*engine_flags)


def test_spark_properties_of_a_cluster_are_passed_as_a_file(command):
    build_submitted, _, settings = command
    submitted = build_submitted(replace(settings, spark_conf_dir="/etc/spark"), host="local[*]")
    index = submitted.index("--properties-file")
    assert submitted[index + 1] == "/etc/spark/spark-defaults.conf"
    assert [*submitted[:index], *submitted[index + 2 :]] == build_submitted(host="local[*]")


DATA_FOLDERS = {
    "analyse_access_log": "access_log/{{ params.source }}",
    "backfill_access_logs": "access_log/files",
    "analyse_clickstream": "clickstream/kafka",
}


@pytest.fixture(scope="module")
def landing_flags(airflow_home):
    """The flags of each DAG's landing job, without and with remote storage.

    Each is read in a separate process, because a DAG loads its settings when it is parsed.
    """
    code = f"""
import runpy
for name in {list(DATA_FOLDERS)}:
    dag = runpy.run_path(f"dags/{{name}}.py")[name]()
    (task,) = [task for task in dag.tasks if task.task_id.startswith("land_")]
    print([name, task.application_args])
"""
    env = {"PYTHONPATH": str(PROJECT), "AIRFLOW_HOME": str(airflow_home), "PATH": ""}

    def read(data):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True,
            env=env | {"TIDEMARK_DATA_LOCATION": data},
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("['")]
        return dict(ast.literal_eval(line) for line in lines)

    return read(""), read("s3a://lake/tidemark/")


@pytest.mark.parametrize(("dag", "folder"), DATA_FOLDERS.items())
def test_every_landing_job_gets_the_data_location(dag, folder, landing_flags):
    local, remote = landing_flags[0][dag], landing_flags[1][dag]
    flag = f"--data-location=s3a://lake/tidemark/{folder}/data"
    assert [other for other in remote if other != flag] == local
    assert flag in remote


def test_a_value_is_never_parsed_as_a_flag():
    from spark_jobs.streaming.arguments import build_watch_parser

    values = {
        "source": "--check",
        "sink": "-x y",
        "run_seconds": 5,
        "starting_offsets": "",
        "check": None,
    }
    flags = spark_conf.format_flags(values)
    assert flags == [
        "--source=--check",
        "--sink=-x y",
        "--run-seconds=5",
        "--starting-offsets=",
        "--check",
    ]
    parsed = build_watch_parser(None, "append", "once").parse_args(flags)
    assert values | {"check": True} == {name: getattr(parsed, name) for name in values}


def test_the_s3_jars_are_on_the_class_path_of_spark(tmp_path, monkeypatch):
    monkeypatch.delenv("SPARK_DIST_CLASSPATH", raising=False)
    env = {"TIDEMARK_HOME": str(tmp_path)}
    assert "SPARK_DIST_CLASSPATH" not in environment(load_settings(env))
    s3_env = environment(load_settings(env | {"TIDEMARK_DATA_LOCATION": "s3a://lake"}))
    assert s3_env["SPARK_DIST_CLASSPATH"] == f"{tmp_path}/jars-s3/s3/*"


def test_the_other_source_kind_also_works_for_a_template():
    kinds = [spark_conf.get_other_source_kind(kind) for kind in ("kafka", "files")]
    assert kinds == ["files", "kafka"]
    template = Template(spark_conf.get_other_source_kind("{{ params.source }}"))
    rendered = {kind: template.render(params={"source": kind}) for kind in ("kafka", "files")}
    assert rendered == {"kafka": "files", "files": "kafka"}
