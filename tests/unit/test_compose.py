"""The compose files: valid, and consistent with the cluster that runs as processes."""

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
INIT_SERVICES = {"airflow-init"}  # the process cluster does this when it starts
EXTRA_SERVICES = {
    name: service
    for file in (METRICS, S3)
    for name, service in file["services"].items()
    if "image" in service
}
TOOLS = {name for name, service in SERVICES.items() if "profiles" in service}


def environment(name):
    return SERVICES[name].get("environment", {})


def test_the_compose_files_follow_the_specification():
    command = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        *FILES,
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_docker_compose_accepts_the_files_once_the_secrets_exist(tmp_path):
    """Debian's docker-compose needs no engine here, but is too old for `name` and `content`."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose here: `apt-get install docker-compose` brings one")
    for file, document in zip(FILES, (COMPOSE, SECURED, METRICS, S3), strict=True):
        files = {name: {"file": "./some"} for name in document.get("configs", {})}
        supported = document | ({"configs": files} if files else {})
        supported.pop("name", None)
        (tmp_path / file.name).write_text(yaml.safe_dump({"version": "3.8", **supported}))
    command = [program, *(argument for file in FILES for argument in ("-f", file.name)), "config"]
    run_config = partial(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True)
    failure = run_config()
    assert failure.returncode
    assert "run make compose-env" in failure.stderr
    cluster.write_compose_secrets(tmp_path / ".env")
    result = run_config()
    assert result.returncode == 0, result.stderr
    services = yaml.safe_load(result.stdout)["services"]
    assert set(services) == set(SERVICES) | set(EXTRA_SERVICES)
    variables = services["kafka-1"]["environment"]
    assert variables["KAFKA_INTER_BROKER_LISTENER_NAME"] == "BROKER"
    assert variables["KAFKA_MIN_INSYNC_REPLICAS"] == "2"


def test_compose_and_the_process_cluster_have_the_same_services():
    assert set(SERVICES) - INIT_SERVICES - TOOLS == set(cluster.SERVICES)


def test_images_have_the_versions_of_the_pinned_packages():
    pinned = dict(
        re.match(r"([\w.-]+)(?:==(.*))?", requirement).groups()
        for requirement in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
            "dependencies"
        ]
    )
    (kafka,) = re.findall(r"broker/kafka_2\.13-([\d.]+)\.jar", CHECKSUMS_FILE.read_text())
    for name in cluster.BROKERS:
        assert SERVICES[name]["image"] == f"apache/kafka:{kafka}"
    spark_image = f"apache/spark:{pinned['pyspark']}-scala2.13-java17-"
    assert SERVICES["spark-master"]["image"].startswith(spark_image)
    for name in cluster.WORKERS:  # their executors run the project's Python
        assert SERVICES[name]["image"] == SERVICES["airflow-init"]["image"]
    assert (
        f"FROM apache/airflow:slim-{pinned['apache-airflow']}-python3.11"
        in (PROJECT / "Dockerfile").read_text()
    )
    for name in cluster.AIRFLOW_SERVICES:
        assert SERVICES[name]["image"].endswith(f":{pinned['apache-airflow']}")


def test_compose_and_the_process_cluster_have_the_same_settings():
    for name in cluster.BROKERS:
        variables = environment(name)
        for key, value in cluster.BROKER_PROPERTIES.items():
            assert variables[f"KAFKA_{key.upper().replace('.', '_')}"] == value, (name, key)
        assert (
            variables["KAFKA_NUM_PARTITIONS"] == cluster.TIDEMARK_ENVIRONMENT["TIDEMARK_PARTITIONS"]
        )
        assert variables["KAFKA_NODE_ID"] == name[-1]
    for name in ("spark-master", *cluster.WORKERS):
        assert cluster.WORKER_ENVIRONMENT.items() <= environment(name).items()
    defaults = COMPOSE["configs"]["spark-defaults"]["content"].splitlines()
    spark_conf = dict(line.split(" ", 1) for line in defaults)
    assert spark_conf.pop("spark.authenticate.secret").startswith("${SPARK_SECRET:?")
    assert spark_conf.pop("spark.eventLog.enabled") == "${SPARK_EVENT_LOG:-false}"
    event_log_folder = spark_conf.pop("spark.eventLog.dir")
    assert f"logDirectory={event_log_folder} " in environment("spark-history")["SPARK_HISTORY_OPTS"]
    assert spark_conf == cluster.SPARK_CONF
    for name in cluster.AIRFLOW_SERVICES:
        assert (cluster.AIRFLOW_SETTINGS | cluster.TIDEMARK_ENVIRONMENT).items() <= environment(
            name
        ).items()
    (init,) = SERVICES["airflow-init"]["command"]
    commands = [line.strip() for line in init.splitlines()]
    position = commands.index("python -m include.datasets > /tmp/pools.json")
    assert commands[position + 1 : position + 3] == [
        "airflow pools import /tmp/pools.json", "python -m producers.topics"
    ]  # fmt: skip


def test_compose_and_the_process_cluster_secure_kafka_the_same_way():
    for name in cluster.BROKERS:
        variables = SECURED["services"][name]["environment"]
        for key, value in secured.BROKER_PROPERTIES.items():
            variable = "KAFKA_" + key.upper().replace("-", "___").replace(".", "_")
            assert variables[variable] == value, (name, key)
        listeners = f"INTERNAL://{name}:9092,BROKER://{name}:9094,HOST://127.0.0.1:"
        port = cluster.COMPOSE_PORTS + cluster.PORT_OFFSETS[name]
        assert variables["KAFKA_ADVERTISED_LISTENERS"] == f"{listeners}{port}"
        listener_names = {
            listener.partition(":")[0] for listener in variables["KAFKA_LISTENERS"].split(",")
        }
        protocols = dict(
            pair.split(":") for pair in variables["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
        )
        assert set(protocols) == listener_names
        assert not {"PLAINTEXT", "SASL_PLAINTEXT"} & set(protocols.values())
        assert name in secured.HOSTS
    for user in secured.USERS:
        lines = SECURED["configs"][f"{user}-login"]["content"].splitlines()
        properties = dict(line.split("=", 1) for line in lines)
        password = f"${{KAFKA_{user.upper()}_PASSWORD:?run make compose-env}}"
        assert properties == secured.CLIENT_PROPERTIES | {
            "sasl.jaas.config": secured.jaas_config(user, password)
        }
    lines = SECURED["configs"]["admin-login"]["content"].splitlines()
    assert dict(line.split("=", 1) for line in lines) == secured.ADMIN_PROPERTIES
    for name in cluster.AIRFLOW_SERVICES:
        service, targets = SECURED["services"][name], set()
        for config in service["configs"]:
            targets.add(config["target"])
            assert config["source"] == "brokers-certificate" or config["mode"] == 0o600
        assert {
            service["environment"][f"TIDEMARK_KAFKA_{user.upper()}_LOGIN"] for user in secured.USERS
        } < targets


def test_compose_and_the_process_cluster_export_the_same_metrics():
    for name in cluster.AIRFLOW_SERVICES:
        variables = METRICS["services"][name]["environment"]
        assert airflow.METRICS_SETTINGS.items() <= variables.items()
    scrape_configs = yaml.safe_load(METRICS["configs"]["prometheus"]["content"])["scrape_configs"]
    for scrape_config in scrape_configs:
        path = scrape_config["metrics_path"].rstrip("/")
        assert path in cluster.SPARK_CONF.values()
        for target in scrape_config["static_configs"][0]["targets"]:
            name, port = target.split(":")
            assert f"/dev/tcp/localhost/{port}" in SERVICES[name]["healthcheck"]["test"][-1]


def test_drivers_and_executors_are_configured_for_the_s3_store(monkeypatch):
    monkeypatch.delenv("SPARK_DIST_CLASSPATH", raising=False)
    airflow_variables = [S3["services"][name]["environment"] for name in cluster.AIRFLOW_SERVICES]
    assert all(variables == airflow_variables[0] for variables in airflow_variables)
    settings = load_settings(
        {
            "TIDEMARK_HOME": environment("airflow-scheduler")["TIDEMARK_HOME"],
            "TIDEMARK_DATA_LOCATION": airflow_variables[0]["TIDEMARK_DATA_LOCATION"],
        }
    )
    jars = airflow.environment(settings)["SPARK_DIST_CLASSPATH"]
    for variables in (
        airflow_variables[0],
        *(S3["services"][name]["environment"] for name in cluster.WORKERS),
    ):
        assert variables["SPARK_DIST_CLASSPATH"] == jars
    store = S3["services"]["s3"]
    assert (
        f"--port :{urlsplit(airflow_variables[0]['AWS_ENDPOINT_URL']).port} " in store["command"][0]
    )
    assert f"/s3/{urlsplit(settings.data_location).netloc} " in store["command"][0]
    keys = {"ACCESS_KEY": "AWS_ACCESS_KEY_ID", "SECRET_KEY": "AWS_SECRET_ACCESS_KEY"}
    for store_name, aws_name in keys.items():
        assert store["environment"][f"ROOT_{store_name}"] == airflow_variables[0][aws_name]
    assert S3["services"]["s3-jars"]["image"] == SERVICES["airflow-init"]["image"]


def test_the_dashboard_queries_only_metrics_that_airflow_has():
    """Airflow's list of its metrics, with the names that Prometheus gives to OTLP metrics."""
    from airflow._shared.observability.metrics import metrics_registry

    registry = yaml.safe_load(
        Path(metrics_registry.__file__).with_name("metrics_template.yaml").read_text()
    )
    known = {entry["name"].replace(".", "_") for entry in registry["metrics"]}
    queried = set(re.findall(r"\bairflow_(\w+)", DASHBOARD.read_text()))
    assert len(queried) > 8
    for name in queried:
        assert re.sub("_(total|milliseconds)$", "", name) in known, name
    # A task counts in its own process and sends one number at its end: rates are always zero.
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            assert not re.search(r"(rate|increase)\(airflow_t(i|ask)_", target["expr"]), target


def test_compose_and_the_process_cluster_use_the_same_ports():
    for name in cluster.SERVICES:
        for published in SERVICES[name].get("ports", []):
            address, port, _ = published.split(":")
            ports = {
                service: cluster.COMPOSE_PORTS + offset
                for service, offset in cluster.PORT_OFFSETS.items()
            }
            assert address == "127.0.0.1"
            assert int(port) in {ports.get(name), ports.get(f"{name} page")}
    for number, name in enumerate(cluster.BROKERS, 1):
        variables = environment(name)
        port = cluster.COMPOSE_PORTS + cluster.PORT_OFFSETS[name]
        assert (
            variables["KAFKA_ADVERTISED_LISTENERS"]
            == f"INTERNAL://{name}:9092,HOST://127.0.0.1:{port}"
        )
        assert f"{number}@{name}:9093" in variables["KAFKA_CONTROLLER_QUORUM_VOTERS"]
    assert Settings().cluster_ports == cluster.COMPOSE_PORTS


def test_images_are_pinned_and_not_root_and_secrets_have_no_default():
    for name, service in (SERVICES | EXTRA_SERVICES).items():
        assert re.search(r":v?\d", service["image"]), name
        assert "bitnami" not in service["image"]
        assert service["cap_drop"] == ["ALL"]
        if name.startswith(("spark", "airflow", "s3")) and name != "airflow-init":
            assert service["user"] == "185:0", name
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|FERNET|JWT|SQL_ALCHEMY", key) and not key.endswith(
                "_FILE"
            ):
                assert ":?run make compose-env}" in value, key


def test_every_service_that_others_wait_for_has_a_health_check():
    for name, service in SERVICES.items():
        for dependency, rule in service.get("depends_on", {}).items():
            if rule["condition"] == "service_healthy":
                assert "test" in SERVICES[dependency]["healthcheck"], (name, dependency)
            else:
                assert (dependency, rule["condition"]) == (
                    "airflow-init",
                    "service_completed_successfully",
                )


def test_compose_env_adds_missing_secrets_and_keeps_existing_values(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("TIDEMARK_TIME_ZONE=Europe/Paris\nPOSTGRES_PASSWORD=mine")
    for _ in range(2):
        result = CliRunner().invoke(app, ["compose-env", "--file", str(env_file)])
        assert result.exit_code == 0, result.output
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert (values["TIDEMARK_TIME_ZONE"], values["POSTGRES_PASSWORD"]) == ("Europe/Paris", "mine")
    texts = "".join(file.read_text() for file in FILES)
    required = set(re.findall(r"\$\{(\w+):\?", texts))
    assert required <= set(values)
    assert len(set(values.values())) == len(values)
    assert not any(value in result.output for value in values.values())
    assert env_file.stat().st_mode & 0o777 == 0o600
