"""The command that Airflow submits a job with, to the letter, for each engine a connection may name."""

import json
import sys
from pathlib import Path

import pytest
from airflow.providers.apache.spark.hooks import spark_submit as spark_submit_hook

from include import spark_submit
from include.settings import PROJECT, load_settings

LOGIN = "/etc/tidemark/spark.properties"


@pytest.fixture
def command(monkeypatch, tmp_path):
    """What is submitted for the landing of a topic, with what each engine has in common left out."""
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KAFKA_SERVERS": "a:9092,b:9092",
        "TIDEMARK_KAFKA_SPARK_LOGIN": LOGIN, "TIDEMARK_DRIVER_MEMORY": "2g",
    })  # fmt: skip
    monkeypatch.setattr(spark_submit, "load_settings", lambda: settings)
    # The provider wants Airflow's Kubernetes provider, which is not installed here, to look at the
    # driver's pod once it runs; the command is made without it.
    monkeypatch.setattr(spark_submit_hook, "kube_client", object(), raising=False)

    def submitted(**connection):
        monkeypatch.setenv(
            "AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", **connection})
        )
        job = spark_submit.spark_job(
            "land_access_log", kafka=True, source="kafka:access-log", sink="parquet:/lake/data"
        )
        hook = job._get_hook()
        return hook._build_spark_submit_command(job.application)

    common = [f"--conf={name}={value}" for name, value in spark_submit.spark_conf(settings).items()]
    jars = ",".join(str(tmp_path / "jars" / jar) for jar in spark_submit.CONNECTOR_JARS)
    job = [str(PROJECT / "spark_jobs" / "land_access_log.py"),
           "--source", "kafka:access-log", "--sink", "parquet:/lake/data",
           "--servers", "a:9092,b:9092", "--kafka-login", LOGIN]  # fmt: skip

    def expected(master, *of_the_engine):
        conf = [word for flag in common for word in ("--conf", flag.removeprefix("--conf="))]
        return [str(Path(sys.executable).with_name("spark-submit")), "--master", master, *conf,
                *of_the_engine[:-2], "--py-files", str(tmp_path / "spark_jobs.zip"), "--jars", jars,
                "--driver-memory", "2g", "--name", "land_access_log", *of_the_engine[-2:], *job]  # fmt: skip

    return submitted, expected


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
    submitted, expected = command
    told = submitted(**connection)
    if "--queue" in of_the_engine:  # the provider puts it behind the job's name
        master, queue, name, *mode = of_the_engine
        wanted = expected(master, *mode)
        place = wanted.index("--deploy-mode")
        assert told == [*wanted[:place], queue, name, *wanted[place:]]
    else:
        assert told == expected(*of_the_engine)
