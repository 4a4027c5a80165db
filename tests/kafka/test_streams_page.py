"""Runs the commands of docs/streams.md and checks that they print the output shown on the page."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from include.datasets import list_topics
from include.local_stack.doctor import find_free_port
from include.orchestration.launcher import add_settings_flags
from include.settings import PROJECT, load_settings
from producers.kafka_client import ensure_topics
from tests.conftest import eventually, kill_process_tree, matrix_cases

PAGE = (PROJECT / "docs" / "streams.md").read_text()
EXAMPLES = {
    match[1]: match[0] for match in re.findall(r"(## (\d)\. .*?)(?=\n## )", PAGE, re.DOTALL)
}
BLOCKS = re.compile(r"^```(sh|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)


# The jobs of these examples run as processes, like a user starts them: one with a socket, and one for
# which the launcher finds Kafka's jars and servers. The other jobs run in the tests' Spark session with
# the flags of the page, which saves ten seconds each.
EXAMPLES_AS_PROCESSES = "12"
JOB_COMMAND = re.compile(r"^\./tidemark run ((?:.*\\\n)*.*)", re.MULTILINE)


def normalise(line: str) -> str:
    """Remove what differs from run to run: seconds, rates and numbers of batches."""
    line = re.sub(r"(; [\d,]+ a second)?; \d+ s, until", "; until", line)
    line = re.sub(
        r" in \d+ batch(es)?; until --run-seconds had passed",
        "; until --run-seconds had passed",
        line,
    )
    line = re.sub(r"^(batch \d+: .*), [\d.]+ s$", r"\1", line)
    return re.sub(r" +", " ", line).strip()


def recreate_topics(servers: str, names: list[str]) -> None:
    """Recreate the topics, because other tests may have sent to them."""
    admin = KafkaAdminClient(bootstrap_servers=servers)

    def list_existing() -> set[str]:
        return set(admin.list_topics()) & set(names)

    if list_existing():
        admin.delete_topics(sorted(list_existing()))
        eventually(lambda: not list_existing(), 30, "the topics to be gone")
    admin.close()
    ensure_topics(servers, names, partitions=2, replication=1)


@pytest.fixture
def run_example(broker, jars, job, tmp_path):
    """Run the commands of an example on the tests' broker, in a temporary folder; return their output."""
    port = find_free_port(9990)
    env = {"TIDEMARK_KAFKA_SERVERS": broker.kafka_servers, "TIDEMARK_HOME": str(tmp_path)}
    recreate_topics(broker.kafka_servers, list_topics(load_settings()))
    (tmp_path / "jars").symlink_to(jars)

    def run_in_shell(block: str) -> str:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block], cwd=PROJECT, env=os.environ | env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            out, _ = process.communicate(timeout=180)
        finally:
            kill_process_tree(process.pid)
        assert process.returncode == 0, out[-3000:]
        return out

    def run_in_session(command: str) -> str:
        name, *flags = shlex.split(command.replace("\\\n", ""))
        code, out = job(name, *add_settings_flags(load_settings(env), name, flags))
        assert code == (1 if "every event that was read is bad" in out else 0), out[-3000:]
        return out

    def run_blocks(number: str, block: str) -> str:
        block = re.sub(r"(?<=[ :])var/", f"{tmp_path}/", block).replace("9999", str(port))
        if number in EXAMPLES_AS_PROCESSES:
            return run_in_shell(block)
        out, end = "", 0
        for command in JOB_COMMAND.finditer(block):
            out += run_in_shell(block[end : command.start()]) + run_in_session(command[1])
            end = command.end()
        return out + run_in_shell(block[end:])

    return run_blocks


@pytest.mark.parametrize("numbers", ["12", *matrix_cases("123456")])
def test_the_examples_print_the_output_shown_on_the_page(run_example, numbers):
    """Runs the examples in order, because later ones read what earlier ones sent."""
    for number in numbers:
        blocks = BLOCKS.findall(EXAMPLES[number])
        printed = run_example(number, "".join(text for kind, text in blocks if kind == "sh"))
        lines = [normalise(line) for line in printed.splitlines()]
        expected = [
            normalise(line) for kind, text in blocks if kind == "text" for line in text.splitlines()
        ]
        assert expected
        for line in expected:
            assert line in lines, (
                f"{line!r} is not in example {number}'s output:\n{printed[-3000:]}"
            )


def test_the_page_has_six_examples():
    assert sorted(EXAMPLES) == list("123456")
    assert Path(PROJECT / "docs" / "benchmarks.md").is_file()
