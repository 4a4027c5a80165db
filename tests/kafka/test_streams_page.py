"""docs/streams.md: its commands are run as they stand there, and print what stands there."""

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
    found[1]: found[0] for found in re.findall(r"(## (\d)\. .*?)(?=\n## )", PAGE, re.DOTALL)
}
BLOCKS = re.compile(r"^```(sh|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)


# Examples whose jobs run as processes, as a person starts them: with a socket, and with Kafka's jars
# and servers found by the launcher. The jobs of the others run in the tests' own Spark session, with
# the flags of the page: ten seconds less for each.
AS_PROCESSES = "12"
JOB = re.compile(r"^\./tidemark run ((?:.*\\\n)*.*)", re.MULTILINE)


def plain(line: str) -> str:
    """A line without what differs from run to run: seconds, rates, and batches as time allows."""
    line = re.sub(r"(; [\d,]+ a second)?; \d+ s, until", "; until", line)
    line = re.sub(
        r" in \d+ batch(es)?; until --run-seconds had passed",
        "; until --run-seconds had passed",
        line,
    )
    line = re.sub(r"^(batch \d+: .*), [\d.]+ s$", r"\1", line)
    return re.sub(r" +", " ", line).strip()


def empty_topics(servers: str, names: list[str]) -> None:
    """Topics as a new broker has them: other tests may have sent to them."""
    admin = KafkaAdminClient(bootstrap_servers=servers)

    def there() -> set[str]:
        return set(admin.list_topics()) & set(names)

    if there():
        admin.delete_topics(sorted(there()))
        eventually(lambda: not there(), 30, "the topics to be gone")
    admin.close()
    ensure_topics(servers, names, partitions=2, replication=1)


@pytest.fixture
def example(broker, jars, job, tmp_path):
    """Runs the commands of an example, on the tests' broker and in a folder that goes; gives their output."""
    port = find_free_port(9990)
    env = {"TIDEMARK_KAFKA_SERVERS": broker.kafka_servers, "TIDEMARK_HOME": str(tmp_path)}
    empty_topics(broker.kafka_servers, list_topics(load_settings()))
    (tmp_path / "jars").symlink_to(jars)

    def as_shell(block: str) -> str:
        done = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block], cwd=PROJECT, env=os.environ | env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            out, _ = done.communicate(timeout=180)
        finally:
            kill_process_tree(done.pid)
        assert done.returncode == 0, out[-3000:]
        return out

    def in_session(command: str) -> str:
        name, *flags = shlex.split(command.replace("\\\n", ""))
        code, out = job(name, *add_settings_flags(load_settings(env), name, flags))
        assert code == (1 if "every event that was read is bad" in out else 0), out[-3000:]
        return out

    def run(number: str, block: str) -> str:
        block = re.sub(r"(?<=[ :])var/", f"{tmp_path}/", block).replace("9999", str(port))
        if number in AS_PROCESSES:
            return as_shell(block)
        out, end = "", 0
        for found in JOB.finditer(block):
            out += as_shell(block[end : found.start()]) + in_session(found[1])
            end = found.end()
        return out + as_shell(block[end:])

    return run


@pytest.mark.parametrize("numbers", ["12", *matrix_cases("123456")])
def test_the_examples_print_what_the_page_says(example, numbers):
    """In their order: the later ones read what the earlier have sent."""
    for number in numbers:
        blocks = BLOCKS.findall(EXAMPLES[number])
        printed = example(number, "".join(text for kind, text in blocks if kind == "sh"))
        lines = [plain(line) for line in printed.splitlines()]
        expected = [
            plain(line) for kind, text in blocks if kind == "text" for line in text.splitlines()
        ]
        assert expected
        for line in expected:
            assert line in lines, (
                f"{line!r} is not in example {number}'s output:\n{printed[-3000:]}"
            )


def test_there_are_six_examples():
    assert sorted(EXAMPLES) == list("123456")
    assert Path(PROJECT / "docs" / "benchmarks.md").is_file()
