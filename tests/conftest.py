"""Shared fixtures: one Spark session and one Kafka broker per run. Prints how long each test group took."""

import functools
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import psutil
import pytest

from include.local_stack.doctor import find_free_port
from include.orchestration.class_archive import ensure_archive
from include.orchestration.jars import ensure_jars, find_pyspark_home, list_connector_jars
from include.orchestration.java import find_java_home
from include.orchestration.package import package_jobs
from include.settings import PROJECT, Settings, load_settings

# Airflow creates its home folder on import. Use a temporary one, not the user's. Python loads this
# file twice (by pytest and as `tests.conftest`), and both must use the same folder.
AIRFLOW_HOME = os.environ.get("TEST_RUN_HOME") or tempfile.mkdtemp(prefix="tidemark-tests-")
os.environ |= {
    "TEST_RUN_HOME": AIRFLOW_HOME,
    "AIRFLOW_HOME": AIRFLOW_HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
}
# Py4J logs a message when Python exits, after pytest has closed the captured streams.
logging.getLogger("py4j").setLevel(logging.WARNING)
# Three groups of tests share the cores: how long one example takes says nothing.
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")
SHARED = PROJECT.parent / "shared"
GROUP_SECONDS: dict[str, float] = defaultdict(float)
GROUP_TESTS: dict[str, int] = defaultdict(int)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    group = report.nodeid.split("/")[1]
    GROUP_SECONDS[group] += report.duration
    GROUP_TESTS[group] += report.when == "call"


def pytest_unconfigure() -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("how long each group took")
    for group, seconds in sorted(GROUP_SECONDS.items()):
        terminalreporter.line(f"{group:10} {GROUP_TESTS[group]:4} tests {seconds:7.1f} s")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real logs, and with the numbers that another program counted in them."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: this test compares with the logs in it")
    return SHARED


@pytest.fixture(scope="session")
def java() -> None:
    """Set the environment variables for Java; fail with the remedy if no supported Java is installed."""
    os.environ["JAVA_HOME"] = str(find_java_home())
    os.environ["SPARK_HOME"] = str(find_pyspark_home())
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable


@pytest.fixture(scope="session")
def extra_class_path() -> str:
    """Extra class path of the Spark session; tests/cluster overrides this fixture."""
    return ""


@pytest.fixture(scope="session")
def spark(jars, extra_class_path, tmp_path_factory):
    """One Spark session for the whole run, with the Kafka connector and the jobs' zip."""
    from py4j.java_gateway import JVMView
    from pyspark.sql import SparkSession

    if extra_class_path:
        os.environ["SPARK_DIST_CLASSPATH"] = extra_class_path
    # Python workers import the jobs from the zip, as with --py-files.
    archive = package_jobs(tmp_path_factory.mktemp("session") / "spark_jobs.zip")
    builder = SparkSession.builder.master("local[3]").appName("tests")
    for key, value in {
        "spark.jars": ",".join(map(str, list_connector_jars(jars))),
        "spark.submit.pyFiles": str(archive),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.memory": "2g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
        # C1 only: the C2 compiler took two fifths of the run's time, for code that runs once.
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    }.items():
        builder = builder.config(key, value)
    # PySpark looks up the same class names repeatedly, and Java searches 300 jars each time. Caching the
    # result saves a fifth of the tests' time.
    JVMView.__getattr__ = functools.cache(JVMView.__getattr__)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def jars(java) -> Path:
    """The folder with the project's jars, downloaded once. It is the checkout's folder, not a test's."""
    folder = load_settings().jars
    ensure_jars(folder)
    assert ensure_archive(load_settings())
    return folder


def broker_settings(home: Path, jars: Path, first_port: int) -> Settings:
    """Settings of a separate broker in `home`, on free ports from `first_port` upwards."""
    (home / "jars").symlink_to(jars)
    port = find_free_port(first_port)
    return load_settings({
        "TIDEMARK_HOME": str(home), "TIDEMARK_KAFKA_PORT": str(port),
        "TIDEMARK_KAFKA_CONTROLLER_PORT": str(find_free_port(port + 1)),
    })  # fmt: skip


@pytest.fixture(scope="session")
def broker(jars, tmp_path_factory) -> Iterator[Settings]:
    """A real broker on free ports; yields the settings to reach it."""
    from include.local_stack import broker as local_broker

    settings = broker_settings(tmp_path_factory.mktemp("broker"), jars, 29092)
    local_broker.start(settings)
    yield settings
    assert local_broker.service(settings).stop()


@pytest.fixture
def topic(broker: Settings, request: pytest.FixtureRequest) -> str:
    """A topic for one test only, with two partitions."""
    from producers.kafka_client import ensure_topics

    name = re.sub(r"[^a-z0-9-]", "-", request.node.name.lower())[:200]
    ensure_topics(broker.kafka_servers, [name], partitions=2, replication=1)
    return name


@pytest.fixture
def job(spark, capsys) -> Callable[..., tuple[int, str]]:
    """Run a job in the shared Spark session; return its exit code and its output, like a process.

    Output of Spark's console sink goes to the output of the JVM and is not included.
    """
    from spark_jobs.streaming import session

    def run(name: str, *flags: object) -> tuple[int, str]:
        main = importlib.import_module(f"spark_jobs.{name}").main
        capsys.readouterr()
        code, message = session.run_main(name, lambda: main([str(flag) for flag in flags]))
        for query in spark.streams.active:
            query.stop()
        printed = capsys.readouterr()
        return code, printed.out + printed.err + message

    return run


@pytest.fixture(scope="session")
def submit(jars, tmp_path_factory) -> Callable[..., list[str]]:
    """Build the command that submits a job, as Airflow does (include/orchestration/spark_submit.py)."""
    from include.orchestration.spark_conf import build_spark_conf

    home = tmp_path_factory.mktemp("submit")
    archive = package_jobs(home / "spark_jobs.zip")
    (home / "jars").symlink_to(jars)
    settings = load_settings({"TIDEMARK_HOME": str(home)})

    def command(job: str, *flags: object) -> list[str]:
        conf = [f"--conf={name}={value}" for name, value in build_spark_conf(settings).items()]
        return [str(Path(sys.executable).with_name("spark-submit")), "--master=local[2]", *conf,
                "--driver-memory=1g", f"--jars={','.join(map(str, list_connector_jars(jars)))}",
                f"--py-files={archive}", str(PROJECT / "spark_jobs" / f"{job}.py"),
                *map(str, flags)]  # fmt: skip

    return command


def matrix_cases(*cases: object) -> list:
    """Mark parametrized cases that only `make matrix-test` runs; `make test` runs similar ones."""
    tuples = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=pytest.mark.matrix) for case in tuples]


def run_command(
    command: list[str], seconds: float = 180, env_changes: dict[str, str] | None = None,
    project: Path = PROJECT,
) -> subprocess.CompletedProcess:  # fmt: skip
    """Run a command and return its output. On a timeout, kill it and all its child processes."""
    env = os.environ | {"PYTHONPATH": str(project)} | (env_changes or {})
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=project
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_process_tree(process.pid)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def list_files_open_to_others(home: Path) -> list[str]:
    """Files and folders in `home` that other users may access, except jars and links."""
    result = subprocess.run(
        ["find", home, "-name", "jars*", "-prune", "-o", "!", "-type", "l", "-perm", "/077", "-print"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return result.stdout.splitlines()


def kill_process_tree(pid: int) -> None:
    """SIGKILL a process and all its descendants."""
    try:
        parent = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    processes = [*parent.children(recursive=True), parent]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def eventually(ready: Callable[[], object], seconds: float, what: str) -> object:
    """Return the first true result of `ready`; fail after `seconds` and name `what` was awaited."""
    deadline = time.monotonic() + seconds
    while not (result := ready()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)
    return result
