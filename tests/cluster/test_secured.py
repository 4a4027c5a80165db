"""Three brokers that ask who one is: who may do what, who is refused, and that no secret gets out.

What they say to each other goes through TLS; clients log in by SCRAM and have ACLs. The whole stack
with them is in tests/cluster.
"""

import json
import os
import subprocess
import sys
import time
from datetime import date

import psutil
import pytest

from include.kafka_login import parse_credentials, read_login
from include.local_stack import cluster, secured
from include.local_stack.doctor import find_free_port
from include.local_stack.processes import find_listener
from include.settings import PROJECT, load_settings
from producers.access_log.generator import generate_lines
from tests.conftest import run_command

TOPIC = "access-log"


@pytest.fixture(scope="module")
def settings(jars, tmp_path_factory):
    home = tmp_path_factory.mktemp("secured")
    first = find_free_port(23000)
    while any(find_listener(first + apart) for apart in cluster.PORT_OFFSETS.values()):
        first += 100
    told = {"TIDEMARK_HOME": str(home), "TIDEMARK_CLUSTER_PORTS": str(first),
            "TIDEMARK_CLUSTER_SECURED": "1"}  # fmt: skip
    found = cluster.cluster_settings(load_settings(told))
    found.home.mkdir()
    found.jars.symlink_to(jars)
    cluster.start_brokers(found)
    cluster.make_topics(found)
    yield found
    for name in cluster.BROKERS[::-1]:
        cluster.service(found, name).process().terminate()
    for name in cluster.BROKERS:
        cluster.service(found, name).stop()


@pytest.fixture
def produce(settings):
    """Sends 20,000 lines with a login, as a command; gives exit code and what it printed."""

    def send(login, *arguments, topic=TOPIC):
        command = [sys.executable, "-m", "producers.access_log", "generate", "--count", "20000",
                   "--bad-share", "0", "--to", f"kafka:{topic}", "--servers", settings.kafka_servers,
                   *arguments]  # fmt: skip
        told = {"TIDEMARK_HOME": str(settings.home), "TIDEMARK_KAFKA_PRODUCER_LOGIN": str(login)}
        done = run_command(command, env_changes=told)
        return done.returncode, done.stdout + done.stderr

    return send


@pytest.fixture
def land(job, settings, tmp_path):
    def landed(login, topic=TOPIC, **more):
        flags = {
            "source": f"kafka:{topic}",
            "servers": settings.kafka_servers,
            "sink": f"parquet:{tmp_path / 'data'}",
            "manifest": tmp_path / "run.json",
            **more,
        }
        if login:
            flags["kafka-login"] = login
        return job(
            "land_access_log", *(x for name, value in flags.items() for x in (f"--{name}", value))
        )

    return landed


def login_of(settings, user):
    return secured.secrets_folder(settings) / f"{user}.properties"


def test_each_may_do_its_own(settings, produce, land, job, tmp_path):
    code, said = produce(settings.kafka_producer_login)
    assert code == 0, said
    code, said = land(settings.kafka_spark_login)
    assert code == 0, said
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert (manifest["read"], manifest["good"]) == (20_000, 20_000)
    errors = sum(b'" 50' in line.text for line in generate_lines(20_000, 1, date(2026, 1, 15), 0))
    assert errors
    code, said = job(
        "route_errors", "--source", f"kafka:{TOPIC}", "--servers", settings.kafka_servers,
        "--kafka-login", settings.kafka_spark_login, "--sink", "kafka:access-log-errors",
        "--trigger", "available-now", "--checkpoint", tmp_path / "routed",
    )  # fmt: skip
    assert code == 0, said
    code, said = land(
        settings.kafka_spark_login, "access-log-errors", sink=f"json:{tmp_path}/errors/data"
    )
    assert code == 0, said
    assert json.loads((tmp_path / "run.json").read_text())["read"] == errors


def test_producers_may_not_read_and_spark_may_not_send(settings, produce, land, tmp_path):
    assert produce(settings.kafka_producer_login, "--resend")[0] == 0
    code, said = land(settings.kafka_producer_login)
    assert code != 0
    assert "Authorization" in said
    assert "that its user has the permissions it needs" in said
    code, said = produce(settings.kafka_spark_login, "--resend")
    assert code == 1
    assert "Authorization" in said, said
    assert "Traceback" not in said


def test_who_has_no_login_or_a_wrong_one_is_refused(settings, produce, land, tmp_path):
    assert produce("")[0] == 1
    code, said = land("")
    assert code != 0
    password = parse_credentials(read_login(login_of(settings, "producer")))[1]
    text = login_of(settings, "producer").read_text()
    pem = secured.secrets_folder(settings) / "brokers.crt"
    wrong = tmp_path / "wrong.properties"
    secured.write_secret(wrong, text.replace(password, "guessed").replace("brokers.crt", str(pem)))
    code, said = produce(wrong)
    assert code == 1
    assert "wrong.properties" in said, said
    assert "Traceback" not in said
    code, said = land(wrong)
    assert code == 2, said
    assert "SaslAuthenticationException: Authentication failed" in said, said
    assert "guessed" not in said


def test_a_login_that_java_cannot_use_is_refused_with_the_reason(settings, land, tmp_path):
    login = tmp_path / "broken.properties"
    text = login_of(settings, "spark").read_text()
    pem = secured.secrets_folder(settings) / "brokers.crt"
    secured.write_secret(login, text.replace("required", "needed").replace("brokers.crt", str(pem)))
    code, said = land(login)
    assert code == 2, said
    assert "control flag" in said, said


def test_a_certificate_that_nobody_vouches_for_is_refused(settings, produce, tmp_path):
    _, other = secured.make_certificate()
    secured.write_secret(tmp_path / "brokers.crt", other)
    login = tmp_path / "producer.properties"
    secured.write_secret(login, login_of(settings, "producer").read_text())
    code, said = produce(login)
    assert code == 1, said
    assert "Traceback" not in said


def test_no_secret_is_in_a_log_a_process_list_or_a_checkpoint(settings, produce, submit, tmp_path):
    """Of a job as Airflow submits it, with all that it says."""
    hidden = [parse_credentials(read_login(login_of(settings, user)))[1] for user in secured.USERS]
    assert all(len(secret) > 20 for secret in hidden)
    code, told = produce(settings.kafka_producer_login, "--resend")
    assert code == 0, told
    command = submit(
        "land_access_log", "--source", f"kafka:{TOPIC}", "--servers", settings.kafka_servers,
        "--kafka-login", settings.kafka_spark_login, "--sink", f"parquet:{tmp_path / 'data'}",
    )  # fmt: skip
    running, output = set(), tmp_path / "said"
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    with output.open("w") as out:
        job = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
        while job.poll() is None:
            for process in psutil.process_iter(["cmdline"]):
                running.add(" ".join(process.info["cmdline"] or []))
            time.sleep(0.3)
    said = output.read_text()
    assert job.returncode == 0, said[-2000:]
    assert "land_access_log: read" in said
    assert any("--kafka-login" in line and "java" in line for line in running)
    for path in secured.secrets_folder(settings).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    files = [path for folder in (settings.logs, settings.lake, tmp_path)
             for path in folder.rglob("*") if path.is_file()]  # fmt: skip
    assert len(files) > 10
    key = (secured.secrets_folder(settings) / "brokers.pem").read_text().splitlines()[1]
    for secret in (*hidden, key):
        assert not any(secret in line for line in running)
        assert secret not in told
        for path in files:
            assert secret.encode() not in path.read_bytes(), path
