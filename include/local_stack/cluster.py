"""Run the cluster of docker-compose.yaml as processes of this machine instead of containers.

Three brokers, a Spark master with two workers, PostgreSQL, and Airflow's services as separate
processes, all on the loopback address, with their own lake (`<home>/cluster`). The constants apply to
both forms: a test compares the compose file with them and with the versions that this project installs.
"""

import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from rich.console import Console

from include.errors import SetupError
from include.lake.private_files import restrict_existing_files
from include.local_stack import airflow, broker, secured
from include.local_stack.airflow import Api
from include.local_stack.processes import Service, find_listener
from include.local_stack.secured import write_secret
from include.local_stack.up import run_step
from include.orchestration.class_archive import ensure_archive
from include.orchestration.jars import ensure_all_jars, find_pyspark_home
from include.orchestration.package import package_jobs
from include.settings import Settings

BROKERS = ("kafka-1", "kafka-2", "kafka-3")
WORKERS = ("spark-worker-1", "spark-worker-2")
AIRFLOW_SERVICES = (
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
)
SERVICES = ("postgres", *BROKERS, "spark-master", *WORKERS, *AIRFLOW_SERVICES)
# Port -> its offset from TIDEMARK_CLUSTER_PORTS. The compose file publishes the ports of the HOST
# listeners, of the master's page and of Airflow, with COMPOSE_PORTS instead of the setting.
PORT_OFFSETS = {
    "kafka-1": 1,
    "kafka-2": 2,
    "kafka-3": 3,
    "kafka-1 controller": 11,
    "kafka-2 controller": 12,
    "kafka-3 controller": 13,
    "kafka-1 brokers": 21,
    "kafka-2 brokers": 22,
    "kafka-3 brokers": 23,
    "spark-master": 77,
    "spark-master page": 80,
    "spark-worker-1 page": 81,
    "spark-worker-2 page": 82,
    "airflow-api-server": 88,
    "airflow-scheduler logs": 93,
    "airflow-triggerer logs": 94,
    "postgres": 32,
}
COMPOSE_PORTS = 17000
# A message counts as written when two of its three replicas have it; it survives the loss of a broker.
BROKER_PROPERTIES = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "group.initial.rebalance.delay.ms": "0",
}
WORKER_ENVIRONMENT = {"SPARK_WORKER_CORES": "1", "SPARK_WORKER_MEMORY": "2g"}
# The same file, which only its owner may read, also has the secret.
SPARK_CONF = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.executor.cores": "1",
    "spark.executor.memory": "1g",
    "spark.master.rest.enabled": "false",
    "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|jaas|sasl",
    # Metrics for Prometheus, at the web addresses of the master and the workers.
    "spark.metrics.conf.*.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
    "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
    "spark.metrics.conf.master.sink.prometheusServlet.path": "/metrics/master/prometheus",
    "spark.metrics.conf.applications.sink.prometheusServlet.path": "/metrics/applications/prometheus",
    # http://STORE/BUCKET/…: a self-hosted store rarely has a host name per bucket. It has one region.
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
}
AIRFLOW_SETTINGS = airflow.SETTINGS | {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    # Seconds between the checks with which a restarted scheduler finds the tasks of a killed one.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
}
TIDEMARK_ENVIRONMENT = {"TIDEMARK_REPLICATION": "3", "TIDEMARK_PARTITIONS": "4"}


def cluster_settings(settings: Settings) -> Settings:
    """Return the cluster's settings: those of the checkout with the cluster's home, ports and logins."""
    home, port = settings.home / "cluster", ports(settings)
    secrets_dir = home / "secrets"
    return replace(
        settings,
        home=home,
        kafka_servers=",".join(f"127.0.0.1:{port[name]}" for name in BROKERS),
        replication=int(TIDEMARK_ENVIRONMENT["TIDEMARK_REPLICATION"]),
        partitions=int(TIDEMARK_ENVIRONMENT["TIDEMARK_PARTITIONS"]),
        spark_master=f"spark://127.0.0.1:{port['spark-master']}",
        spark_conf_dir=str(home / "spark-conf"),
        # The location itself belongs to the laptop's landing.
        data_location=settings.data_location and f"{settings.data_location.rstrip('/')}/cluster",
        airflow_database=str(secrets_dir / "airflow_database"),
        airflow_port=port["airflow-api-server"],
        airflow_worker_log_port=port["airflow-scheduler logs"],
        airflow_triggerer_log_port=port["airflow-triggerer logs"],
        kafka_producer_login=str(secrets_dir / "producer.properties")
        if settings.cluster_secured
        else "",
        kafka_spark_login=str(secrets_dir / "spark.properties") if settings.cluster_secured else "",
    )


def ports(settings: Settings) -> dict[str, int]:
    return {name: settings.cluster_ports + offset for name, offset in PORT_OFFSETS.items()}


def service(settings: Settings, name: str) -> Service:
    return Service(name, settings.home)


def bring_up(settings: Settings, console: Console) -> Api:
    """Start the services that are down and return Airflow's API when all are ready.

    Args:
        settings: The result of `cluster_settings`.
        console: Where the output goes.

    Raises:
        SetupError: A port is taken, or a service does not start.
    """
    restrict_existing_files(settings.home.parent)
    _refuse_taken_ports(settings)
    package_jobs(settings.job_zip)
    laptop = replace(settings, home=settings.home.parent)  # both use the same jars
    run_step(console, "Jars ready", lambda: ensure_all_jars(laptop))
    for link, target in ((settings.jars, laptop.jars), (settings.s3_jars, laptop.s3_jars)):
        if target.exists() and not link.exists():
            link.symlink_to(target)
    run_step(console, "Java class archive created", lambda: ensure_archive(settings))
    run_step(console, "PostgreSQL ready", lambda: start_postgres(settings))
    run_step(console, "Three Kafka brokers ready", lambda: start_brokers(settings))
    run_step(console, "Kafka topics ready", lambda: make_topics(settings))
    run_step(console, "Spark master and workers started", lambda: _start_spark_services(settings))
    run_step(console, "Airflow database ready", lambda: _migrate_airflow_database(settings))
    for name in AIRFLOW_SERVICES:
        start_airflow_service(settings, name)
    ready_apis: list[Api] = []
    api_service = service(settings, AIRFLOW_SERVICES[0])
    run_step(
        console,
        "Airflow ready",
        lambda: ready_apis.append(airflow.wait_until_ready(settings, api_service)),
    )
    for name in AIRFLOW_SERVICES:
        if service(settings, name).process() is None:
            ended = service(settings, name)
            raise SetupError(f"{name} has ended. Last lines of {ended.log_file}:\n{ended.tail()}")
    return ready_apis[0]


def start_postgres(settings: Settings) -> None:
    """Start PostgreSQL with a database `tidemark`, unless it runs, and wait until it is ready.

    The password is in `secrets/`. If this runs as root, the user `postgres` runs the server.
    """
    postgres, port = service(settings, "postgres"), ports(settings)["postgres"]
    programs, data = _find_postgres_folder(), settings.home / "postgres"
    if postgres.process() is None:
        database = Path(settings.airflow_database)
        # Written last: if it is missing, an earlier call was interrupted.
        if not database.is_file():
            shutil.rmtree(data, ignore_errors=True)
            password = secrets.token_urlsafe(24)
            _make_database(programs, data, password)
        else:
            password = database.read_text().split(":")[2].partition("@")[0]
        # Written at each start, because the port may have changed.
        write_secret(
            database, f"postgresql+psycopg2://tidemark:{password}@127.0.0.1:{port}/tidemark"
        )
        command = _postgres_command(
            data, [programs / "postgres"], ["-p", port, "-h", "127.0.0.1", "-k", ""]
        )
        postgres.start(command, os.environ)
    probe = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    postgres.wait(lambda: subprocess.run(probe, check=False).returncode == 0, 60, "a database")


def start_broker(settings: Settings, name: str) -> None:
    """Start one of the brokers, which is a controller as well, unless it runs."""
    node, port = service(settings, name), ports(settings)
    if node.process() is None:
        data, properties = settings.home / name / "data", settings.home / name / "server.properties"
        number, client, controller = BROKERS.index(name) + 1, port[name], port[f"{name} controller"]
        voters = [
            f"{n}@127.0.0.1:{port[f'{other} controller']}" for n, other in enumerate(BROKERS, 1)
        ]
        broker_properties = BROKER_PROPERTIES | {
            "node.id": str(number),
            "log.dirs": str(data),
            "controller.quorum.voters": ",".join(voters),
            "num.partitions": str(settings.partitions),
        }
        if settings.cluster_secured:
            inter_broker = port[f"{name} brokers"]
            broker_properties |= secured.BROKER_PROPERTIES | secured.listener_properties(
                settings, client, inter_broker, controller
            )
        else:
            broker_properties |= {
                "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            }
        properties.parent.mkdir(parents=True, exist_ok=True)
        properties.write_text(
            "".join(f"{key}={value}\n" for key, value in broker_properties.items())
        )
        if not (data / "meta.properties").is_file():
            broker.format_storage(settings, properties, _cluster_id(settings))
        node.start(broker.java_command(settings, "kafka.Kafka", str(properties)), os.environ)


def start_brokers(settings: Settings) -> None:
    """Start all brokers, then wait for them. They answer only when a majority runs."""
    if settings.cluster_secured:
        secured.make_secrets(settings)
    for name in BROKERS:
        start_broker(settings, name)
    for name in BROKERS:
        port = ports(settings)[name]
        service(settings, name).wait(
            partial(broker.is_reachable, port), 90, "a broker that answers"
        )


def make_topics(settings: Settings) -> None:
    """Create the project's topics and, on a secured cluster, users and rights. Raises SetupError."""
    env = airflow.environment(settings)
    if settings.cluster_secured:
        port = ports(settings)
        servers = ",".join(f"127.0.0.1:{port[f'{name} brokers']}" for name in BROKERS)
        secured.grant_rights(settings, servers, env)
    else:
        broker.make_topics(settings, env)


def _start_spark_services(settings: Settings) -> None:
    conf = Path(settings.spark_conf_dir) / "spark-defaults.conf"
    lines = conf.read_text().splitlines() if conf.is_file() else []
    # Written at each start, because a new version may add settings. Existing values are kept.
    existing = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
    spark_conf = {"spark.authenticate.secret": secrets.token_urlsafe(32)} | SPARK_CONF | existing
    write_secret(conf, "".join(f"{name} {value}\n" for name, value in spark_conf.items()))
    for name in ("spark-master", *WORKERS):
        start_spark_service(settings, name)


def start_spark_service(settings: Settings, name: str) -> None:
    """Start Spark's master or one of its workers unless it runs, and wait for its web page."""
    node, port = service(settings, name), ports(settings)
    if node.process() is not None:
        return
    command = [str(find_pyspark_home() / "bin" / "spark-class")]
    common_flags = [
        "--host",
        "127.0.0.1",
        "--webui-port",
        str(port[f"{name} page"]),
        "--properties-file",
        str(Path(settings.spark_conf_dir) / "spark-defaults.conf"),
    ]
    if name == "spark-master":
        command += [
            "org.apache.spark.deploy.master.Master",
            "--port",
            str(port[name]),
            *common_flags,
        ]
    else:
        command += [
            "org.apache.spark.deploy.worker.Worker",
            "--work-dir",
            str(settings.home / name),
            *common_flags,
            settings.spark_master,
        ]
    env = airflow.environment(settings) | WORKER_ENVIRONMENT | {"SPARK_DAEMON_MEMORY": "512m"}
    node.start(command, env)
    page = port[f"{name} page"]
    node.wait(lambda: broker.is_reachable(page), 60, f"its page on port {page}")


def _migrate_airflow_database(settings: Settings) -> None:
    env = environment(settings)
    airflow.make_password(settings)
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(
            f"Airflow's database could not be created or migrated (`airflow db migrate`):\n"
            f"{result.stdout[-2000:]}{result.stderr[-2000:]}"
        )


def start_airflow_service(settings: Settings, name: str) -> None:
    """Start one of Airflow's services unless it runs: `airflow-scheduler` is `airflow scheduler`."""
    node = service(settings, name)
    if node.process() is None:
        command = str(Path(sys.executable).with_name("airflow"))
        node.start([command, name.removeprefix("airflow-")], environment(settings))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of Airflow's services and of the processes that they start."""
    # It overrides the connection in Airflow's database, which may have an earlier port.
    connection = {
        "conn_type": "spark",
        "host": settings.spark_master,
        "extra": {"deploy-mode": "client"},
    }
    return (
        airflow.environment(settings)
        | AIRFLOW_SETTINGS
        | {"AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(connection)}
    )


def stop(settings: Settings) -> Iterator[tuple[str, bool]]:
    """Stop all services, in the reverse order of their start.

    Yields:
        Each service's name and whether it was running.
    """
    processes = {name: service(settings, name).process() for name in SERVICES}
    for name in reversed(SERVICES):
        # Stop all brokers at once: the last one would wait for a majority.
        if name == BROKERS[-1]:
            for process in filter(None, (processes[other] for other in BROKERS)):
                process.terminate()
        was_running = service(settings, name).stop()
        yield name, was_running or processes[name] is not None


def services(settings: Settings) -> list[tuple[Service, Callable[[], bool], str]]:
    """List all services in the order in which they start.

    Returns:
        Each service, a function that returns whether it is ready, and its address.
    """
    port, api = ports(settings), Api(settings)
    rows: list[tuple[Service, Callable[[], bool], str]] = []
    for name in SERVICES:
        main_port = port.get(f"{name} page") or port.get(name) or port.get(f"{name} logs")
        ready = (
            api.is_healthy
            if name in AIRFLOW_SERVICES
            else partial(broker.is_reachable, main_port or 0)
        )
        address = f"127.0.0.1:{main_port}" if main_port else ""
        rows.append((service(settings, name), ready, address))
    return rows


def _refuse_taken_ports(settings: Settings) -> None:
    for name, port in ports(settings).items():
        own_processes = service(settings, name.split()[0]).process_tree()
        if not own_processes and (listener := find_listener(port)):
            raise SetupError(
                f"port {port} ({name}) is taken by {listener}; stop it, or choose other ports: "
                f"echo TIDEMARK_CLUSTER_PORTS={settings.cluster_ports + 1000} >> .env"
            )


def _find_postgres_folder() -> Path:
    """Return the folder of `postgres` and `initdb`: Debian's newest version, or the one in PATH."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
    )
    if folders:
        return folders[-1]
    pg_isready = shutil.which("pg_isready")
    if not pg_isready:
        raise SetupError(
            "PostgreSQL was not found in /usr/lib/postgresql or PATH; install it: "
            "`apt-get install postgresql` (Debian, Ubuntu)"
        )
    return Path(pg_isready).resolve().parent


def _make_database(programs: Path, data: Path, password: str) -> None:
    data.mkdir(parents=True, mode=0o700)
    # Not in the lake: PostgreSQL's user may not enter its folders.
    with tempfile.NamedTemporaryFile("w") as password_file:
        password_file.write(password)
        password_file.flush()
        if os.geteuid() == 0:
            for path in (data, password_file.name):
                shutil.chown(path, _postgres_user())
        _run_command(
            _postgres_command(
                data,
                [programs / "initdb"],
                [
                    "-U",
                    "tidemark",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--auth=scram-sha-256",
                    f"--pwfile={password_file.name}",
                ],
            )
        )
    single = _postgres_command(data, [programs / "postgres", "--single"], ["postgres"])
    _run_command(single, "CREATE DATABASE tidemark\n")


def _postgres_command(data: Path, program: list[object], arguments: list[object]) -> list[str]:
    """Return the command that runs one of PostgreSQL's programs on the folder `data`.

    PostgreSQL refuses to run as root, and its user may not enter the folders above `data`. So root
    opens the folder and passes it as a file descriptor. setpriv replaces itself with the program;
    runuser would remain as its parent.
    """
    before, after = [str(part) for part in program], [str(part) for part in arguments]
    if os.geteuid():
        return [*before, "-D", str(data), *after]
    user_flags = ["--reuid", _postgres_user(), "--regid", "postgres", "--init-groups"]
    command = ["setpriv", *user_flags, *before, "-D", "/proc/self/fd/9", *after]
    return ["bash", "-c", f"exec 9<{shlex.quote(str(data))}; exec {shlex.join(command)}"]


def _postgres_user() -> str:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise SetupError(
            "PostgreSQL refuses to run as root, and there is no user `postgres`; install Debian's "
            "package `postgresql`, or run this command as another user"
        ) from None


def _run_command(command: list[str], stdin: str = "") -> None:
    result = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, cwd="/"
    )
    if result.returncode or "FATAL:" in result.stderr or "ERROR:" in result.stderr:
        raise SetupError(
            f"`{shlex.join(command)}` failed:\n{result.stdout[-1500:]}{result.stderr[-1500:]}"
        )


def _cluster_id(settings: Settings) -> str:
    """Return the id that all brokers share. It is created once."""
    id_file = settings.home / "run" / "kafka_cluster_id"
    if not id_file.is_file():
        id_file.parent.mkdir(parents=True, exist_ok=True)
        id_file.write_text(broker.new_cluster_id())
    return id_file.read_text()


def write_compose_secrets(path: Path) -> list[str]:
    """Add the secrets that docker-compose.yaml requires to an environment file that lacks them.

    Args:
        path: The environment file; it is created if it is missing. Only its owner may read it.

    Returns:
        The names of the added variables.
    """
    values = {
        name: secrets.token_urlsafe(32)
        for name in (
            "POSTGRES_PASSWORD",
            "SPARK_SECRET",
            "AIRFLOW_ADMIN_PASSWORD",
            "AIRFLOW_SECRET_KEY",
            "AIRFLOW_JWT_SECRET",
            "KAFKA_PRODUCER_PASSWORD",
            "KAFKA_SPARK_PASSWORD",
            "GRAFANA_PASSWORD",
            "S3_SECRET",
        )
    }
    values["AIRFLOW_FERNET_KEY"] = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    values["KAFKA_CLUSTER_ID"] = broker.new_cluster_id()
    key, certificate = secured.make_certificate()
    values["KAFKA_KEY"], values["KAFKA_CERTIFICATE"] = (
        '"' + text.replace("\n", "\\n") + '"' for text in (key, certificate)
    )
    values["FIRST_SCHEDULED_DAY"] = date.today().isoformat()  # no earlier day is scheduled
    text = path.read_text() if path.is_file() else ""
    text = re.sub(r"^(\s*)FIRST_NIGHT=", r"\1FIRST_SCHEDULED_DAY=", text, flags=re.MULTILINE)
    existing = {line.partition("=")[0].strip() for line in text.splitlines()}
    missing = {name: value for name, value in values.items() if name not in existing}
    path.touch(mode=0o600)
    path.chmod(0o600)
    if text and not text.endswith("\n"):
        text += "\n"
    path.write_text(text + "".join(f"{name}={value}\n" for name, value in missing.items()))
    return list(missing)
