"""docs/streams.md: its commands are run as they stand there, and print what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from include.local_stack.doctor import free_port
from include.package import package_jobs
from include.settings import PROJECT, load_settings
from producers.kafka_client import ensure_topics
from tests.conftest import kill_family

PAGE = (PROJECT / "docs" / "streams.md").read_text()
EXAMPLES = {
    found[1]: found[0] for found in re.findall(r"(## (\d)\. .*?)(?=\n## )", PAGE, re.DOTALL)
}
BLOCKS = re.compile(r"^```(sh|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def plain(line: str) -> str:
    """A line without what differs from run to run: seconds, rates, and batches as time allows."""
    line = re.sub(r"(; [\d,]+ a second)?; \d+ s, until", "; until", line)
    line = re.sub(r" in \d+ batch(es)?; until its time is up", "; until its time is up", line)
    return re.sub(r" +", " ", line).strip()


def said(printed: str) -> str:
    """What the jobs themselves printed, at most its last 3,000 characters."""
    return "\n".join(line for line in printed.splitlines() if " INFO " not in line)[-3000:]


@pytest.fixture(scope="module")
def shell(broker, jars, tmp_path_factory):
    """Runs commands of the page, on the tests' broker and in a folder that goes; gives their output."""
    folder, port = tmp_path_factory.mktemp("page"), free_port(9990)
    settings = load_settings()
    ensure_topics(broker.kafka_servers, settings.topics, partitions=2, replication=1)
    (folder / "jars").symlink_to(jars)
    package_jobs(folder / "spark_jobs.zip")
    env = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(PROJECT), "TIDEMARK_KAFKA_SERVERS": broker.kafka_servers,
        "TIDEMARK_HOME": str(folder), "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip
    before = BLOCKS.search(PAGE)
    assert before is not None

    def run(block: str) -> str:
        for word, here in {
            "127.0.0.1:9092": broker.kafka_servers, " var/": f" {folder}/", "(ls var/": f"(ls {folder}/",
            ":var/": f":{folder}/", ":9999": f":{port}", "--port 9999": f"--port {port}",
            "2>/dev/null": "",
        }.items():  # fmt: skip
            block = block.replace(word, here)
        done = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block], cwd=PROJECT, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            out, _ = done.communicate(timeout=180)
        finally:
            kill_family(done.pid)
        assert done.returncode == 0, out[-3000:]
        return out

    return lambda block: run(before[2] + block)


def test_the_examples_print_what_the_page_says(shell):
    """In their order: the later ones read what the earlier have sent."""
    for number in sorted(EXAMPLES):
        blocks = BLOCKS.findall(EXAMPLES[number])
        printed = shell("".join(text for kind, text in blocks if kind == "sh"))
        lines = iter([plain(line) for line in printed.splitlines()])
        expected = [
            plain(line) for kind, text in blocks if kind == "text" for line in text.splitlines()
        ]
        assert expected
        for line in expected:
            assert line in lines, f"{line!r} is not in example {number}'s output:\n{said(printed)}"


def test_there_are_six_examples():
    assert sorted(EXAMPLES) == list("123456")
    assert Path(PROJECT / "docs" / "benchmarks.md").is_file()
