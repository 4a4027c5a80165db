"""The cluster as processes of this machine: what docker-compose.yaml runs in containers.

Three brokers, a Spark master with two workers, PostgreSQL, and Airflow's services apart, all on
loopback, in a lake of their own (`<home>/cluster`). The tables are what both shapes have: a test
compares the compose file with them, and with the versions that this project installs.
"""

import json
import os
import pwd
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

from include.local_stack import airflow, broker, secured
from include.local_stack.airflow import Api
from include.local_stack.class_archive import ensure_archive
from include.local_stack.jars import ensure_all_jars, pyspark_home
from include.local_stack.private_files import close_to_others
from include.local_stack.processes import Service, StackError, listener
from include.local_stack.secured import kept_secret
from include.local_stack.up import step
from include.package import package_jobs
from include.settings import Settings

BROKERS = ("kafka-1", "kafka-2", "kafka-3")
WORKERS = ("spark-worker-1", "spark-worker-2")
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
SERVICES = ("postgres", *BROKERS, "spark-master", *WORKERS, *AIRFLOW)
# Port of what -> how far it lies from TIDEMARK_CLUSTER_PORTS. The compose file publishes those of its
# HOST listeners, the master's page and Airflow's, as if that were 17000.
PORTS = {
    "kafka-1": 1, "kafka-2": 2, "kafka-3": 3,
    "kafka-1 controller": 11, "kafka-2 controller": 12, "kafka-3 controller": 13,
    "kafka-1 brokers": 21, "kafka-2 brokers": 22, "kafka-3 brokers": 23,
    "spark-master": 77, "spark-master page": 80, "spark-worker-1 page": 81,
    "spark-worker-2 page": 82, "airflow-api-server": 88, "airflow-scheduler logs": 93,
    "airflow-triggerer logs": 94, "postgres": 32,
}  # fmt: skip
COMPOSE_PORTS = 17000
# A message is there when two of its three replicas have it, and stays when one broker is lost.
KAFKA = {
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
WORKER = {"SPARK_WORKER_CORES": "1", "SPARK_WORKER_MEMORY": "2g"}
# Beside the secret, which is in the same file, readable by its owner alone.
SPARK = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.executor.cores": "1",
    "spark.executor.memory": "1g",
    "spark.master.rest.enabled": "false",
    "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|jaas|sasl",
    # For Prometheus, on the pages of the master and the workers.
    "spark.metrics.conf.*.sink.prometheusServlet.class":
        "org.apache.spark.metrics.sink.PrometheusServlet",
    "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
    "spark.metrics.conf.master.sink.prometheusServlet.path": "/metrics/master/prometheus",
    "spark.metrics.conf.applications.sink.prometheusServlet.path": "/metrics/applications/prometheus",
    # http://STORE/BUCKET/…: a store of one's own seldom has a name for each bucket; and it has one region.
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
}  # fmt: skip
AIRFLOW_SETTINGS = airflow.SETTINGS | {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    # A scheduler that is started again finds what the killed one ran.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
}
TIDEMARK = {"TIDEMARK_REPLICATION": "3", "TIDEMARK_PARTITIONS": "4"}


def settings_of(settings: Settings) -> Settings:
    """The cluster's settings, from those of the checkout; what is not the cluster's own stays."""
    home, port = settings.home / "cluster", ports(settings)
    secret = home / "secrets"
    return replace(
        settings, home=home,
        kafka_servers=",".join(f"127.0.0.1:{port[name]}" for name in BROKERS),
        replication=int(TIDEMARK["TIDEMARK_REPLICATION"]),
        partitions=int(TIDEMARK["TIDEMARK_PARTITIONS"]),
        spark_master=f"spark://127.0.0.1:{port['spark-master']}",
        spark_conf_dir=str(home / "spark-conf"),
        # The same place would be another landing's.
        landing_data=settings.landing_data and f"{settings.landing_data.rstrip('/')}/cluster",
        airflow_database=str(secret / "airflow_database"),
        airflow_port=port["airflow-api-server"],
        airflow_worker_log_port=port["airflow-scheduler logs"],
        airflow_triggerer_log_port=port["airflow-triggerer logs"],
        kafka_producer_login=str(secret / "producer.properties") if settings.cluster_secured else "",
        kafka_spark_login=str(secret / "spark.properties") if settings.cluster_secured else "",
    )  # fmt: skip


def ports(settings: Settings) -> dict[str, int]:
    return {name: settings.cluster_ports + apart for name, apart in PORTS.items()}


def service(settings: Settings, name: str) -> Service:
    return Service(name, settings.home)


def bring_up(settings: Settings, says: Console) -> Api:
    """Start what does not run yet; give Airflow's API when all is ready. Raises StackError.

    Takes the settings that `settings_of` gives.
    """
    close_to_others(settings.home.parent)
    _refuse_taken_ports(settings)
    package_jobs(settings.job_zip)
    laptop = replace(settings, home=settings.home.parent)  # the jars are one for both
    step(says, "jars in place", lambda: ensure_all_jars(laptop))
    for here, there in ((settings.jars, laptop.jars), (settings.s3_jars, laptop.s3_jars)):
        if there.exists() and not here.exists():
            here.symlink_to(there)
    step(says, "Spark starts faster", lambda: ensure_archive(settings))
    step(says, "PostgreSQL answers", lambda: start_postgres(settings))
    step(says, "three brokers answer", lambda: start_brokers(settings))
    step(says, "topics ready", lambda: make_topics(settings))
    step(says, "Spark's master and workers started", lambda: _start_spark(settings))
    step(says, "Airflow's database ready", lambda: _migrate(settings))
    for name in AIRFLOW:
        start_airflow(settings, name)
    found: list[Api] = []
    ready = service(settings, AIRFLOW[0])
    step(says, "Airflow ready", lambda: found.append(airflow.wait(settings, ready)))
    for name in AIRFLOW:
        if service(settings, name).process() is None:
            raise StackError(f"{name} has ended; its log says:\n{service(settings, name).tail()}")
    return found[0]


def start_postgres(settings: Settings) -> None:
    """PostgreSQL with a database `tidemark`, its password in `secrets/`; as root, by user postgres."""
    postgres, port = service(settings, "postgres"), ports(settings)["postgres"]
    programs, data = _postgres_programs(), settings.home / "postgres"
    if postgres.process() is None:
        database = Path(settings.airflow_database)
        if not database.is_file():  # written last: without it, one was interrupted
            shutil.rmtree(data, ignore_errors=True)
            password = secrets.token_urlsafe(24)
            _make_database(programs, data, password)
        else:
            password = database.read_text().split(":")[2].partition("@")[0]
        # Anew at each start: the ports may have been changed.
        kept_secret(
            database, f"postgresql+psycopg2://tidemark:{password}@127.0.0.1:{port}/tidemark"
        )
        command = _as_postgres(
            data, [programs / "postgres"], ["-p", port, "-h", "127.0.0.1", "-k", ""]
        )
        postgres.start(command, os.environ)
    asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    postgres.wait(lambda: subprocess.run(asked, check=False).returncode == 0, 60, "a database")


def start_broker(settings: Settings, name: str) -> None:
    """One of the brokers, which is a controller as well."""
    node, port = service(settings, name), ports(settings)
    if node.process() is None:
        data, properties = settings.home / name / "data", settings.home / name / "server.properties"
        number, client, controller = BROKERS.index(name) + 1, port[name], port[f"{name} controller"]
        voters = [
            f"{n}@127.0.0.1:{port[f'{other} controller']}" for n, other in enumerate(BROKERS, 1)
        ]
        told = KAFKA | {
            "node.id": str(number),
            "log.dirs": str(data),
            "controller.quorum.voters": ",".join(voters),
            "num.partitions": str(settings.partitions),
        }
        if settings.cluster_secured:
            between = port[f"{name} brokers"]
            told |= secured.BROKER | secured.listeners(settings, client, between, controller)
        else:
            told |= {
                "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            }
        properties.parent.mkdir(parents=True, exist_ok=True)
        properties.write_text("".join(f"{key}={value}\n" for key, value in told.items()))
        if not (data / "meta.properties").is_file():
            broker.format_storage(settings, properties, _cluster_id(settings))
        node.start(broker.java(settings, "kafka.Kafka", str(properties)), os.environ)


def start_brokers(settings: Settings) -> None:
    """All of them: they answer once a majority runs."""
    if settings.cluster_secured:
        secured.make_secrets(settings)
    for name in BROKERS:
        start_broker(settings, name)
    for name in BROKERS:
        port = ports(settings)[name]
        service(settings, name).wait(partial(broker.answers, port), 90, "a broker that answers")


def make_topics(settings: Settings) -> None:
    """The project's topics, and, where a login is asked for, its users and what each may do."""
    env = airflow.environment(settings)
    if settings.cluster_secured:
        port = ports(settings)
        between = ",".join(f"127.0.0.1:{port[f'{name} brokers']}" for name in BROKERS)
        secured.give_rights(settings, between, env)
    else:
        broker.make_topics(settings, env)


def _start_spark(settings: Settings) -> None:
    conf = Path(settings.spark_conf_dir) / "spark-defaults.conf"
    kept = conf.read_text().splitlines() if conf.is_file() else []
    # Anew at each start, for a new version may have more settings; what a person has set stays.
    found = dict(line.split(None, 1) for line in kept if len(line.split(None, 1)) == 2)
    told = {"spark.authenticate.secret": secrets.token_urlsafe(32)} | SPARK | found
    kept_secret(conf, "".join(f"{name} {value}\n" for name, value in told.items()))
    for name in ("spark-master", *WORKERS):
        start_spark(settings, name)


def start_spark(settings: Settings, name: str) -> None:
    """Spark's master, or one of its workers, with a folder of its own."""
    node, port = service(settings, name), ports(settings)
    if node.process() is not None:
        return
    command = [str(pyspark_home() / "bin" / "spark-class")]
    shown = ["--host", "127.0.0.1", "--webui-port", str(port[f"{name} page"]),
             "--properties-file", str(Path(settings.spark_conf_dir) / "spark-defaults.conf")]  # fmt: skip
    if name == "spark-master":
        command += ["org.apache.spark.deploy.master.Master", "--port", str(port[name]), *shown]
    else:
        command += ["org.apache.spark.deploy.worker.Worker", "--work-dir", str(settings.home / name), *shown,
                    settings.spark_master]  # fmt: skip
    env = airflow.environment(settings) | WORKER | {"SPARK_DAEMON_MEMORY": "512m"}
    node.start(command, env)
    page = port[f"{name} page"]
    node.wait(lambda: broker.answers(page), 60, f"its page on port {page}")


def _migrate(settings: Settings) -> None:
    env = environment(settings)
    airflow.make_password(settings)
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(
            f"Airflow's database could not be made:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def start_airflow(settings: Settings, name: str) -> None:
    """One of Airflow's services: `airflow-scheduler` is `airflow scheduler`."""
    node = service(settings, name)
    if node.process() is None:
        command = str(Path(sys.executable).with_name("airflow"))
        node.start([command, name.removeprefix("airflow-")], environment(settings))


def environment(settings: Settings) -> dict[str, str]:
    """The environment of Airflow's services, and of what they run."""
    # By name and not as it was first made: the ports may have been changed.
    spark = {
        "conn_type": "spark",
        "host": settings.spark_master,
        "extra": {"deploy-mode": "client"},
    }
    told = {"AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(spark)}
    return airflow.environment(settings) | AIRFLOW_SETTINGS | told


def stop(settings: Settings) -> Iterator[tuple[str, bool]]:
    """End all services, what depends on others first: name, and whether it ran."""
    ran = {name: service(settings, name).process() for name in SERVICES}
    for name in reversed(SERVICES):
        if name == BROKERS[-1]:  # all at once, for the last one would wait for a majority
            for process in filter(None, (ran[other] for other in BROKERS)):
                process.terminate()
        ended = service(settings, name).stop()
        yield name, ended or ran[name] is not None


def services(settings: Settings) -> list[tuple[Service, Callable[[], bool], str]]:
    """All services in the order in which they start: the service, whether it answers, and where."""
    port, api = ports(settings), Api(settings)
    found: list[tuple[Service, Callable[[], bool], str]] = []
    for name in SERVICES:
        shown = port.get(f"{name} page") or port.get(name) or port.get(f"{name} logs")
        ready = api.is_healthy if name in AIRFLOW else partial(broker.answers, shown or 0)
        found.append((service(settings, name), ready, f"127.0.0.1:{shown}" if shown else ""))
    return found


def _refuse_taken_ports(settings: Settings) -> None:
    for name, port in ports(settings).items():
        ours = service(settings, name.split()[0]).family()
        if not ours and (holder := listener(port)):
            raise StackError(
                f"port {port} ({name}) is taken by {holder}; end it, or choose others: "
                f"echo TIDEMARK_CLUSTER_PORTS={settings.cluster_ports + 1000} >> .env"
            )


def _postgres_programs() -> Path:
    """Where `postgres` and `initdb` lie: where Debian puts them, the newest, or in PATH."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
    )
    if folders:
        return folders[-1]
    found = shutil.which("pg_isready")
    if not found:
        raise StackError("PostgreSQL is needed: `apt-get install postgresql` (Debian, Ubuntu)")
    return Path(found).resolve().parent


def _make_database(programs: Path, data: Path, password: str) -> None:
    data.mkdir(parents=True, mode=0o700)
    # Not in the lake, whose folders PostgreSQL's user may not enter.
    with tempfile.NamedTemporaryFile("w") as kept:
        kept.write(password)
        kept.flush()
        if os.geteuid() == 0:
            for path in (data, kept.name):
                shutil.chown(path, _postgres_user())
        _run(_as_postgres(data, [programs / "initdb"], ["-U", "tidemark", "--encoding=UTF8",
                          "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={kept.name}"]))  # fmt: skip
    single = _as_postgres(data, [programs / "postgres", "--single"], ["postgres"])
    _run(single, "CREATE DATABASE tidemark\n")


def _as_postgres(data: Path, program: list[object], arguments: list[object]) -> list[str]:
    """The command that runs one of PostgreSQL's programs on the folder `data`.

    PostgreSQL refuses to run as root, and its user may not enter the folders above `data`: root
    opens the folder and hands it over. setpriv becomes what it starts; runuser would stay before it.
    """
    before, after = [str(word) for word in program], [str(word) for word in arguments]
    if os.geteuid():
        return [*before, "-D", str(data), *after]
    user = ["--reuid", _postgres_user(), "--regid", "postgres", "--init-groups"]
    words = ["setpriv", *user, *before, "-D", "/proc/self/fd/9", *after]
    return ["bash", "-c", f"exec 9<{shlex.quote(str(data))}; exec {shlex.join(words)}"]


def _postgres_user() -> str:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise StackError(
            "PostgreSQL does not run as root, and there is no user `postgres`: install Debian's package, "
            "or run this as another user"
        ) from None


def _run(command: list[str], told: str = "") -> None:
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode or "FATAL:" in done.stderr or "ERROR:" in done.stderr:
        raise StackError(
            f"`{shlex.join(command)}` failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        )


def _cluster_id(settings: Settings) -> str:
    """One for all brokers, made once."""
    kept = settings.home / "run" / "kafka_cluster_id"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(broker.new_cluster_id())
    return kept.read_text()


def write_compose_secrets(path: Path) -> list[str]:
    """Add to an environment file what docker-compose.yaml asks for and it has not; give the names."""
    made = {
        name: secrets.token_urlsafe(32)
        for name in ("POSTGRES_PASSWORD", "SPARK_SECRET", "AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_SECRET_KEY",
                     "AIRFLOW_JWT_SECRET", "KAFKA_PRODUCER_PASSWORD", "KAFKA_SPARK_PASSWORD",
                     "GRAFANA_PASSWORD", "S3_SECRET")
    }  # fmt: skip
    made["AIRFLOW_FERNET_KEY"] = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    made["KAFKA_CLUSTER_ID"] = broker.new_cluster_id()
    key, certificate = secured.make_certificate()
    made["KAFKA_KEY"], made["KAFKA_CERTIFICATE"] = (
        '"' + text.replace("\n", "\\n") + '"' for text in (key, certificate)
    )
    made["FIRST_NIGHT"] = date.today().isoformat()  # nights before it are not caught up with
    text = path.read_text() if path.is_file() else ""
    there = {line.partition("=")[0].strip() for line in text.splitlines()}
    missing = {name: value for name, value in made.items() if name not in there}
    path.touch(mode=0o600)
    path.chmod(0o600)
    if text and not text.endswith("\n"):
        text += "\n"
    path.write_text(text + "".join(f"{name}={value}\n" for name, value in missing.items()))
    return list(missing)
