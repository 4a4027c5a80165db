"""The compose file against the cluster as it runs here, against its specification, and by itself."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from typer.testing import CliRunner

from include.local_stack import airflow, cluster, secured
from include.local_stack.__main__ import app
from include.orchestration.jars import CHECKSUMS_FILE
from include.settings import PROJECT, Settings, load_settings

FILES = [PROJECT / f"docker-compose{name}.yaml" for name in ("", ".secured", ".metrics", ".s3")]
COMPOSE, SECURED, METRICS, S3 = (yaml.safe_load(file.read_text()) for file in FILES)
DASHBOARD = PROJECT / "docs" / "dashboard.json"
SERVICES = COMPOSE["services"]
BY_ITSELF = {"airflow-init"}  # once, where processes do it as they start
BESIDE = {
    name: told
    for file in (METRICS, S3)
    for name, told in file["services"].items()
    if "image" in told
}
TOOLS = {name for name, told in SERVICES.items() if "profiles" in told}


def environment(name):
    return SERVICES[name].get("environment", {})


def test_the_files_keep_to_the_specification():
    check = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        *FILES,
    ]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_docker_compose_understands_it_once_the_secrets_are_there(tmp_path):
    """Debian's needs no engine for this. It is older, and knows neither `name` nor `content`."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose here: `apt-get install docker-compose` brings one")
    for file, read in zip(FILES, (COMPOSE, SECURED, METRICS, S3), strict=True):
        files = {name: {"file": "./some"} for name in read.get("configs", {})}
        known = read | ({"configs": files} if files else {})
        known.pop("name", None)
        (tmp_path / file.name).write_text(yaml.safe_dump({"version": "3.8", **known}))
    command = [program, *(word for file in FILES for word in ("-f", file.name)), "config"]
    asked = partial(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True)
    refused = asked()
    assert refused.returncode
    assert "run make compose-env" in refused.stderr
    cluster.write_compose_secrets(tmp_path / ".env")
    told = asked()
    assert told.returncode == 0, told.stderr
    found = yaml.safe_load(told.stdout)["services"]
    assert set(found) == set(SERVICES) | set(BESIDE)
    laid_over = found["kafka-1"]["environment"]
    assert laid_over["KAFKA_INTER_BROKER_LISTENER_NAME"] == "BROKER"
    assert laid_over["KAFKA_MIN_INSYNC_REPLICAS"] == "2"


def test_both_shapes_have_the_same_services():
    assert set(SERVICES) - BY_ITSELF - TOOLS == set(cluster.SERVICES)


def test_both_have_the_same_versions():
    pinned = dict(
        re.match(r"([\w.-]+)(?:==(.*))?", text).groups()
        for text in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
            "dependencies"
        ]
    )
    (kafka,) = re.findall(r"broker/kafka_2\.13-([\d.]+)\.jar", CHECKSUMS_FILE.read_text())
    for name in cluster.BROKERS:
        assert SERVICES[name]["image"] == f"apache/kafka:{kafka}"
    for name in ("spark-master", *cluster.WORKERS):
        assert SERVICES[name]["image"].startswith(
            f"apache/spark:{pinned['pyspark']}-scala2.13-java17-"
        )
    assert (
        f"FROM apache/airflow:slim-{pinned['apache-airflow']}-python3.11"
        in (PROJECT / "Dockerfile").read_text()
    )
    for name in cluster.AIRFLOW_SERVICES:
        assert SERVICES[name]["image"].endswith(f":{pinned['apache-airflow']}")


def test_both_have_the_same_settings():
    for name in cluster.BROKERS:
        told = environment(name)
        for key, value in cluster.BROKER_PROPERTIES.items():
            assert told[f"KAFKA_{key.upper().replace('.', '_')}"] == value, (name, key)
        assert told["KAFKA_NUM_PARTITIONS"] == cluster.TIDEMARK_ENVIRONMENT["TIDEMARK_PARTITIONS"]
        assert told["KAFKA_NODE_ID"] == name[-1]
    for name in ("spark-master", *cluster.WORKERS):
        assert cluster.WORKER_ENVIRONMENT.items() <= environment(name).items()
    defaults = COMPOSE["configs"]["spark-defaults"]["content"].splitlines()
    told = dict(line.split(" ", 1) for line in defaults)
    assert told.pop("spark.authenticate.secret").startswith("${SPARK_SECRET:?")
    assert told.pop("spark.eventLog.enabled") == "${SPARK_EVENT_LOG:-false}"
    where = told.pop("spark.eventLog.dir")
    assert f"logDirectory={where} " in environment("spark-history")["SPARK_HISTORY_OPTS"]
    assert told == cluster.SPARK_CONF
    for name in cluster.AIRFLOW_SERVICES:
        assert (cluster.AIRFLOW_SETTINGS | cluster.TIDEMARK_ENVIRONMENT).items() <= environment(
            name
        ).items()
    (init,) = SERVICES["airflow-init"]["command"]
    commands = [line.strip() for line in init.splitlines()]
    at = commands.index("python -m include.datasets > /tmp/pools.json")
    assert commands[at + 1 : at + 3] == [
        "airflow pools import /tmp/pools.json", "python -m producers.topics"
    ]  # fmt: skip


def test_both_secure_kafka_in_the_same_way():
    for name in cluster.BROKERS:
        told = SECURED["services"][name]["environment"]
        for key, value in secured.BROKER_PROPERTIES.items():
            variable = "KAFKA_" + key.upper().replace("-", "___").replace(".", "_")
            assert told[variable] == value, (name, key)
        shown = f"INTERNAL://{name}:9092,BROKER://{name}:9094,HOST://127.0.0.1:"
        port = cluster.COMPOSE_PORTS + cluster.PORT_OFFSETS[name]
        assert told["KAFKA_ADVERTISED_LISTENERS"] == f"{shown}{port}"
        opened = {listener.partition(":")[0] for listener in told["KAFKA_LISTENERS"].split(",")}
        protocols = dict(
            pair.split(":") for pair in told["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
        )
        assert set(protocols) == opened
        assert not {"PLAINTEXT", "SASL_PLAINTEXT"} & set(protocols.values())
        assert name in secured.HOSTS
    for user in secured.USERS:
        lines = SECURED["configs"][f"{user}-login"]["content"].splitlines()
        told = dict(line.split("=", 1) for line in lines)
        password = f"${{KAFKA_{user.upper()}_PASSWORD:?run make compose-env}}"
        assert told == secured.CLIENT_PROPERTIES | {
            "sasl.jaas.config": secured.jaas_config(user, password)
        }
    lines = SECURED["configs"]["admin-login"]["content"].splitlines()
    assert dict(line.split("=", 1) for line in lines) == secured.ADMIN_PROPERTIES
    for name in cluster.AIRFLOW_SERVICES:
        told, there = SECURED["services"][name], set()
        for config in told["configs"]:
            there.add(config["target"])
            assert config["source"] == "brokers-certificate" or config["mode"] == 0o600
        assert {
            told["environment"][f"TIDEMARK_KAFKA_{user.upper()}_LOGIN"] for user in secured.USERS
        } < there


def test_both_measure_in_the_same_way():
    for name in cluster.AIRFLOW_SERVICES:
        told = METRICS["services"][name]["environment"]
        assert airflow.METRICS_SETTINGS.items() <= told.items()
    read = yaml.safe_load(METRICS["configs"]["prometheus"]["content"])["scrape_configs"]
    for asked in read:
        path = asked["metrics_path"].rstrip("/")
        assert path in cluster.SPARK_CONF.values()
        for target in asked["static_configs"][0]["targets"]:
            name, port = target.split(":")
            assert f"/dev/tcp/localhost/{port}" in SERVICES[name]["healthcheck"]["test"][-1]


def test_the_store_is_where_drivers_and_executors_look_and_has_its_jars(monkeypatch):
    monkeypatch.delenv("SPARK_DIST_CLASSPATH", raising=False)
    told = [S3["services"][name]["environment"] for name in cluster.AIRFLOW_SERVICES]
    assert all(one == told[0] for one in told)
    settings = load_settings({"TIDEMARK_HOME": environment("airflow-scheduler")["TIDEMARK_HOME"],
                              "TIDEMARK_DATA_LOCATION": told[0]["TIDEMARK_DATA_LOCATION"]})  # fmt: skip
    jars = airflow.environment(settings)["SPARK_DIST_CLASSPATH"]
    for one in (told[0], *(S3["services"][name]["environment"] for name in cluster.WORKERS)):
        assert one["SPARK_DIST_CLASSPATH"] == jars
    store = S3["services"]["s3"]
    assert f"--port :{urlsplit(told[0]['AWS_ENDPOINT_URL']).port} " in store["command"][0]
    assert f"/s3/{urlsplit(settings.data_location).netloc} " in store["command"][0]
    keys = {"ACCESS_KEY": "AWS_ACCESS_KEY_ID", "SECRET_KEY": "AWS_SECRET_ACCESS_KEY"}
    for theirs, ours in keys.items():
        assert store["environment"][f"ROOT_{theirs}"] == told[0][ours]
    assert S3["services"]["s3-jars"]["image"] == SERVICES["airflow-init"]["image"]


def test_the_dashboard_asks_for_what_airflow_measures():
    """By Airflow's own list of its metrics, named as Prometheus names what comes by OTLP."""
    from airflow._shared.observability.metrics import metrics_registry

    listed = yaml.safe_load(
        Path(metrics_registry.__file__).with_name("metrics_template.yaml").read_text()
    )
    known = {entry["name"].replace(".", "_") for entry in listed["metrics"]}
    asked = set(re.findall(r"\bairflow_(\w+)", DASHBOARD.read_text()))
    assert len(asked) > 8
    for name in asked:
        assert re.sub("_(total|milliseconds)$", "", name) in known, name
    # A task counts in a process of its own, which sends one number as it ends: nothing increases.
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            assert not re.search(r"(rate|increase)\(airflow_t(i|ask)_", target["expr"]), target


def test_both_have_the_same_ports():
    for name in cluster.SERVICES:
        for published in SERVICES[name].get("ports", []):
            address, port, _ = published.split(":")
            known = {
                what: cluster.COMPOSE_PORTS + apart for what, apart in cluster.PORT_OFFSETS.items()
            }
            assert address == "127.0.0.1"
            assert int(port) in {known.get(name), known.get(f"{name} page")}
    for number, name in enumerate(cluster.BROKERS, 1):
        told = environment(name)
        port = cluster.COMPOSE_PORTS + cluster.PORT_OFFSETS[name]
        assert (
            told["KAFKA_ADVERTISED_LISTENERS"] == f"INTERNAL://{name}:9092,HOST://127.0.0.1:{port}"
        )
        assert f"{number}@{name}:9093" in told["KAFKA_CONTROLLER_QUORUM_VOTERS"]
    assert Settings().cluster_ports == cluster.COMPOSE_PORTS


def test_images_are_pinned_nobody_is_root_and_no_secret_has_a_default():
    for name, told in (SERVICES | BESIDE).items():
        assert re.search(r":v?\d", told["image"]), name
        assert "bitnami" not in told["image"]
        assert told["cap_drop"] == ["ALL"]
        if name.startswith(("spark", "airflow", "s3")) and name != "airflow-init":
            assert told["user"] == "185:0", name
        for key, value in told.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|FERNET|JWT|SQL_ALCHEMY", key) and not key.endswith(
                "_FILE"
            ):
                assert ":?run make compose-env}" in value, key


def test_whatever_is_waited_for_says_when_it_is_healthy():
    for name, told in SERVICES.items():
        for other, how in told.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], (name, other)
            else:
                assert (other, how["condition"]) == (
                    "airflow-init",
                    "service_completed_successfully",
                )


def test_the_environment_file_gets_each_secret_once_and_keeps_what_it_has(tmp_path):
    kept = tmp_path / ".env"
    kept.write_text("TIDEMARK_TIME_ZONE=Europe/Paris\nPOSTGRES_PASSWORD=mine")
    for _ in range(2):
        done = CliRunner().invoke(app, ["compose-env", "--file", str(kept)])
        assert done.exit_code == 0, done.output
    found = dict(line.split("=", 1) for line in kept.read_text().splitlines())
    assert (found["TIDEMARK_TIME_ZONE"], found["POSTGRES_PASSWORD"]) == ("Europe/Paris", "mine")
    texts = "".join(file.read_text() for file in FILES)
    wanted = set(re.findall(r"\$\{(\w+):\?", texts))
    assert wanted <= set(found)
    assert len(set(found.values())) == len(found)
    assert not any(value in done.output for value in found.values())
    assert kept.stat().st_mode & 0o777 == 0o600
