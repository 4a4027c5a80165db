"""Three brokers with authentication: permissions, refused logins, and secrets that must not leak.

Brokers talk to each other through TLS; clients log in with SCRAM and have ACLs. test_cluster.py tests
the whole stack with these brokers.
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
    while any(find_listener(first + offset) for offset in cluster.PORT_OFFSETS.values()):
        first += 100
    env = {"TIDEMARK_HOME": str(home), "TIDEMARK_CLUSTER_PORTS": str(first),
           "TIDEMARK_CLUSTER_SECURED": "1"}  # fmt: skip
    cluster_settings = cluster.cluster_settings(load_settings(env))
    cluster_settings.home.mkdir()
    cluster_settings.jars.symlink_to(jars)
    cluster.start_brokers(cluster_settings)
    cluster.make_topics(cluster_settings)
    yield cluster_settings
    for name in cluster.BROKERS[::-1]:
        cluster.service(cluster_settings, name).process().terminate()
    for name in cluster.BROKERS:
        cluster.service(cluster_settings, name).stop()


@pytest.fixture
def produce(settings):
    """Send 20,000 lines with a login, in a subprocess; return the exit code and the output."""

    def send(login, *arguments, topic=TOPIC):
        command = [sys.executable, "-m", "producers.access_log", "generate", "--count", "20000",
                   "--bad-share", "0", "--to", f"kafka:{topic}", "--servers", settings.kafka_servers,
                   *arguments]  # fmt: skip
        env = {"TIDEMARK_HOME": str(settings.home), "TIDEMARK_KAFKA_PRODUCER_LOGIN": str(login)}
        result = run_command(command, env_changes=env)
        return result.returncode, result.stdout + result.stderr

    return send


@pytest.fixture
def land(job, settings, tmp_path):
    def run(login, topic=TOPIC, **more):
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

    return run


def build_login_path(settings, user):
    return secured.secrets_folder(settings) / f"{user}.properties"


def test_producer_and_spark_logins_have_the_permissions_they_need(
    settings, produce, land, job, tmp_path
):
    code, output = produce(settings.kafka_producer_login)
    assert code == 0, output
    code, output = land(settings.kafka_spark_login)
    assert code == 0, output
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert (manifest["read"], manifest["good"]) == (20_000, 20_000)
    errors = sum(b'" 50' in line.text for line in generate_lines(20_000, 1, date(2026, 1, 15), 0))
    assert errors
    code, output = job(
        "route_errors", "--source", f"kafka:{TOPIC}", "--servers", settings.kafka_servers,
        "--kafka-login", settings.kafka_spark_login, "--sink", "kafka:access-log-errors",
        "--trigger", "available-now", "--checkpoint", tmp_path / "routed",
    )  # fmt: skip
    assert code == 0, output
    code, output = land(
        settings.kafka_spark_login, "access-log-errors", sink=f"json:{tmp_path}/errors/data"
    )
    assert code == 0, output
    assert json.loads((tmp_path / "run.json").read_text())["read"] == errors


def test_producers_may_not_read_and_spark_may_not_send(settings, produce, land, tmp_path):
    assert produce(settings.kafka_producer_login, "--resend")[0] == 0
    code, output = land(settings.kafka_producer_login)
    assert code != 0
    assert "Authorization" in output
    assert "that its user has the permissions it needs" in output
    code, output = produce(settings.kafka_spark_login, "--resend")
    assert code == 1
    assert "Authorization" in output, output
    assert "Traceback" not in output


def test_a_missing_or_wrong_login_is_refused(settings, produce, land, tmp_path):
    assert produce("")[0] == 1
    code, output = land("")
    assert code != 0
    password = parse_credentials(read_login(build_login_path(settings, "producer")))[1]
    text = build_login_path(settings, "producer").read_text()
    pem = secured.secrets_folder(settings) / "brokers.crt"
    wrong = tmp_path / "wrong.properties"
    secured.write_secret(wrong, text.replace(password, "guessed").replace("brokers.crt", str(pem)))
    code, output = produce(wrong)
    assert code == 1
    assert "wrong.properties" in output, output
    assert "Traceback" not in output
    code, output = land(wrong)
    assert code == 2, output
    assert "SaslAuthenticationException: Authentication failed" in output, output
    assert "guessed" not in output


def test_a_login_that_java_cannot_use_is_refused_with_the_reason(settings, land, tmp_path):
    login = tmp_path / "broken.properties"
    text = build_login_path(settings, "spark").read_text()
    pem = secured.secrets_folder(settings) / "brokers.crt"
    secured.write_secret(login, text.replace("required", "needed").replace("brokers.crt", str(pem)))
    code, output = land(login)
    assert code == 2, output
    assert "control flag" in output, output


def test_an_untrusted_certificate_is_refused(settings, produce, tmp_path):
    _, untrusted = secured.make_certificate()
    secured.write_secret(tmp_path / "brokers.crt", untrusted)
    login = tmp_path / "producer.properties"
    secured.write_secret(login, build_login_path(settings, "producer").read_text())
    code, output = produce(login)
    assert code == 1, output
    assert "Traceback" not in output


def test_no_secret_is_in_a_log_a_process_list_or_a_checkpoint(settings, produce, submit, tmp_path):
    """Runs a job as Airflow submits it and searches all its output."""
    passwords = [
        parse_credentials(read_login(build_login_path(settings, user)))[1] for user in secured.USERS
    ]
    assert all(len(secret) > 20 for secret in passwords)
    code, producer_output = produce(settings.kafka_producer_login, "--resend")
    assert code == 0, producer_output
    command = submit(
        "land_access_log", "--source", f"kafka:{TOPIC}", "--servers", settings.kafka_servers,
        "--kafka-login", settings.kafka_spark_login, "--sink", f"parquet:{tmp_path / 'data'}",
    )  # fmt: skip
    command_lines, output_file = set(), tmp_path / "said"
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    with output_file.open("w") as out:
        job = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
        while job.poll() is None:
            for process in psutil.process_iter(["cmdline"]):
                command_lines.add(" ".join(process.info["cmdline"] or []))
            time.sleep(0.3)
    output = output_file.read_text()
    assert job.returncode == 0, output[-2000:]
    assert "land_access_log: read" in output
    assert any(
        "--kafka-login" in command_line and "java" in command_line for command_line in command_lines
    )
    for path in secured.secrets_folder(settings).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    files = [path for folder in (settings.logs, settings.lake, tmp_path)
             for path in folder.rglob("*") if path.is_file()]  # fmt: skip
    assert len(files) > 10
    key = (secured.secrets_folder(settings) / "brokers.pem").read_text().splitlines()[1]
    for secret in (*passwords, key):
        assert not any(secret in command_line for command_line in command_lines)
        assert secret not in producer_output
        for path in files:
            assert secret.encode() not in path.read_bytes(), path
