"""The command that Airflow submits a job with, to the letter, for each engine a connection may name."""

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
    """What is submitted for the landing of a topic, with what each engine has in common left out."""
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KAFKA_SERVERS": "a:9092,b:9092",
        "TIDEMARK_KAFKA_SPARK_LOGIN": LOGIN, "TIDEMARK_DRIVER_MEMORY": "2g",
    })  # fmt: skip
    # The provider wants Airflow's Kubernetes provider, which is not installed here, to look at the
    # driver's pod once it runs; the command is made without it.
    monkeypatch.setattr(spark_submit_hook, "kube_client", object(), raising=False)

    def submitted(changed=settings, **connection):
        monkeypatch.setattr(spark_submit, "load_settings", lambda: changed)
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

    def expected(master, *of_the_engine):
        conf = [word for flag in common for word in ("--conf", flag.removeprefix("--conf="))]
        return [str(Path(sys.executable).with_name("spark-submit")), "--master", master, *conf,
                *of_the_engine[:-2], "--py-files", str(tmp_path / "spark_jobs.zip"), "--jars", jars,
                "--driver-memory", "2g", "--name", "land_access_log", *of_the_engine[-2:], *job]  # fmt: skip

    return submitted, expected, settings


@pytest.mark.parametrize(
    ("connection", "of_the_engine"),
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
def test_an_engine_is_a_setting_of_the_connection(command, connection, of_the_engine):
    submitted, expected, _ = command
    told = submitted(**connection)
    if "--queue" in of_the_engine:  # the provider puts it behind the job's name
        master, queue, name, *mode = of_the_engine
        wanted = expected(master, *mode)
        place = wanted.index("--deploy-mode")
        assert told == [*wanted[:place], queue, name, *wanted[place:]]
    else:
        assert told == expected(*of_the_engine)


def test_a_clusters_own_properties_are_given_as_a_file_whose_content_no_command_shows(command):
    submitted, _, settings = command
    told = submitted(replace(settings, spark_conf_dir="/etc/spark"), host="local[*]")
    place = told.index("--properties-file")
    assert told[place + 1] == "/etc/spark/spark-defaults.conf"
    assert [*told[:place], *told[place + 2 :]] == submitted(host="local[*]")


STORED = {
    "analyse_access_log": "access_log/{{ params.source }}",
    "backfill_access_logs": "access_log/files",
    "analyse_clickstream": "clickstream/kafka",
}


@pytest.fixture(scope="module")
def landing_flags(airflow_home):
    """DAG -> the flags of its landing job, without a store and with one.

    In processes of their own: a DAG reads its settings when it is read.
    """
    show = f"""
import runpy
for name in {list(STORED)}:
    dag = runpy.run_path(f"dags/{{name}}.py")[name]()
    (task,) = [task for task in dag.tasks if task.task_id.startswith("land_")]
    print([name, task.application_args])
"""
    env = {"PYTHONPATH": str(PROJECT), "AIRFLOW_HOME": str(airflow_home), "PATH": ""}

    def read(data):
        done = subprocess.run(
            [sys.executable, "-c", show], cwd=PROJECT, capture_output=True, text=True, check=True,
            env=env | {"TIDEMARK_DATA_LOCATION": data},
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("['")]
        return dict(ast.literal_eval(line) for line in lines)

    return read(""), read("s3a://lake/tidemark/")


@pytest.mark.parametrize(("dag", "where"), STORED.items())
def test_every_landing_is_told_of_the_store(dag, where, landing_flags):
    without, stored = landing_flags[0][dag], landing_flags[1][dag]
    told = f"--data-location=s3a://lake/tidemark/{where}/data"
    assert [flag for flag in stored if flag != told] == without
    assert told in stored


def test_a_value_is_never_taken_for_a_flag():
    from spark_jobs.streaming.arguments import build_watch_parser

    told = {
        "source": "--check",
        "sink": "-x y",
        "run_seconds": 5,
        "starting_offsets": "",
        "check": None,
    }
    given = spark_conf.format_flags(told)
    assert given == [
        "--source=--check",
        "--sink=-x y",
        "--run-seconds=5",
        "--starting-offsets=",
        "--check",
    ]
    found = build_watch_parser(None, "append", "once").parse_args(given)
    assert told | {"check": True} == {name: getattr(found, name) for name in told}


def test_jars_for_s3_are_where_spark_looks_beside_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("SPARK_DIST_CLASSPATH", raising=False)
    env = {"TIDEMARK_HOME": str(tmp_path)}
    assert "SPARK_DIST_CLASSPATH" not in environment(load_settings(env))
    told = environment(load_settings(env | {"TIDEMARK_DATA_LOCATION": "s3a://lake"}))
    assert told["SPARK_DIST_CLASSPATH"] == f"{tmp_path}/jars-s3/s3/*"


def test_the_other_kind_of_a_source_is_known_of_a_template_too():
    kinds = [spark_conf.get_other_source_kind(kind) for kind in ("kafka", "files")]
    assert kinds == ["files", "kafka"]
    template = Template(spark_conf.get_other_source_kind("{{ params.source }}"))
    rendered = {kind: template.render(params={"source": kind}) for kind in ("kafka", "files")}
    assert rendered == {"kafka": "files", "files": "kafka"}
