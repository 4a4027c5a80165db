"""`./tidemark` runs from any folder, in an empty environment, and prints only what was asked for."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from include.orchestration.package import package_jobs
from include.settings import PROJECT
from tests.conftest import eventually, kill_process_tree

BARE_ENVIRONMENT = {"HOME": str(Path.home()), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def tidemark(jars, tmp_path):
    """Run the command through a link, from another folder, in an empty environment, with its own home."""
    home, link = tmp_path / "home", tmp_path / "bin" / "tidemark"
    home.mkdir()
    (home / "jars").symlink_to(jars)
    link.parent.mkdir()
    for name in ("json.py", "include.py"):  # files in the user's folder must not be imported
        (tmp_path / name).write_text("raise SystemExit('imported from the wrong folder')")
    link.symlink_to(PROJECT / "tidemark")
    env = BARE_ENVIRONMENT | {"TIDEMARK_HOME": str(home), "TIDEMARK_KAFKA_SERVERS": "one:9092"}

    def run(*arguments, program=str(link), **env_changes):
        return subprocess.run(
            [program, *arguments], cwd=tmp_path, env=env | env_changes, capture_output=True, text=True,
            timeout=180, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    run.env, run.program = env, str(link)
    return run


@pytest.fixture
def words_folder(tmp_path):
    """The name of a folder with a file of words."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("the tide\ncomes in\n")
    return "in"


def test_without_arguments_the_commands_and_jobs_are_listed(tidemark):
    result = tidemark()
    assert result.returncode == 0
    for name in ("produce clickstream", "serve-lines", "word_count", "summarise_access_log"):
        assert name in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "wordcount"], "job 'wordcount' is unknown"),
        (["run"], "run needs the name of a job"),
        (["produce", "x"], "'produce x' is unknown"),
        (["run", "word_count", "--source", "rate:5", "--sink", "console", "--trigger", "once"],
         "use every 5 seconds"),
    ],
)  # fmt: skip
def test_unknown_commands_and_jobs_and_invalid_flags_are_refused(tidemark, arguments, message):
    result = tidemark(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert ("word_count  " in result.stderr) == ("--source" not in arguments)


def test_help_of_a_job_needs_no_java(tidemark):
    result = tidemark("run", "word_count", "--help", JAVA_HOME="/nowhere")
    assert result.returncode == 0
    assert "--run-seconds" in result.stdout


def test_an_incomplete_setup_is_reported_with_the_command_that_fixes_it(tidemark, tmp_path):
    copy = tmp_path / "elsewhere" / "tidemark"
    copy.parent.mkdir()
    shutil.copy(PROJECT / "tidemark", copy)
    result = tidemark(program=str(copy))
    assert result.returncode == 1
    assert f"make -C {copy.parent} setup" in result.stderr
    result = tidemark("run", "word_count", "--source", "kafka:x", "--sink", "console",
                      TIDEMARK_HOME=str(tmp_path / "no-jars"))  # fmt: skip
    assert result.returncode == 1
    assert "run `make setup`" in result.stderr


def test_producers_and_the_line_server_run_from_anywhere(tidemark):
    result = tidemark("produce", "clickstream", "--count", "2", "--to", "stdout")
    assert result.stdout.count('"Impressions"') == 2, result.stderr
    result = tidemark("serve-lines", "no-such-file")
    assert (result.returncode, "there is no file no-such-file" in result.stderr) == (1, True)


def test_kafka_servers_come_from_the_settings_and_the_zip_is_rebuilt(tidemark, tmp_path):
    (tmp_path / "home" / "spark_jobs.zip").write_text("old")
    flags = ["run", "word_count", "--source=kafka:x", "--sink", "console", "--print-command"]
    printed = tidemark(*flags).stdout
    assert "--servers=one:9092" in printed
    assert "connector/kafka-clients" in printed
    fresh = package_jobs(tmp_path / "fresh.zip")
    assert (tmp_path / "home" / "spark_jobs.zip").read_bytes() == fresh.read_bytes()
    assert "--servers=one:9092" not in tidemark(*flags, "--servers", "two:9092").stdout
    assert (
        "--jars"
        not in tidemark("run", "word_count", "--source", "rate:5", "--print-command").stdout
    )


def test_the_printed_command_can_be_pasted(tidemark, words_folder, tmp_path):
    """Runs the printed spark-submit command as its own process, in an empty environment."""
    printed = tidemark("run", "word_count", "--source", f"text:{words_folder}", "--sink", "console",
                       "--trigger", "available-now", "--print-command").stdout  # fmt: skip
    result = subprocess.run(["bash", "-c", printed], cwd=tmp_path, env=BARE_ENVIRONMENT, capture_output=True,
                            text=True, timeout=180)  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert "|tide |1    |" in result.stdout
    assert "word_count: read 2 lines in 1 batch" in result.stdout


def test_a_terminal_shows_only_tables_and_progress_and_ctrl_c_adds_one_line(tidemark, tmp_path):
    """Runs the command as its own process, to see all that a person sees."""
    process = subprocess.Popen(
        [tidemark.program, "run", "word_count", "--source", "rate:5", "--sink", "console"],
        cwd=tmp_path, env=tidemark.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=(tmp_path / "err").open("w"), text=True, start_new_session=True,
    )  # fmt: skip
    try:
        eventually(lambda: "batch 2" in (tmp_path / "err").read_text(), 120, "the third batch")
        # A terminal signals the whole process group.
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        kill_process_tree(process.pid)
    assert process.returncode == 130
    *tables, last = out.strip().splitlines()
    assert re.fullmatch(r"word_count: read \d+ rows in \d+ batches; .*, until Ctrl-C", last)
    assert all(re.fullmatch(r"-+|Batch: \d+|[+-]+|\|.*\||", line) for line in tables), tables
    err = (tmp_path / "err").read_text().splitlines()
    assert all(re.fullmatch(r"batch \d+: \d+ rows?, [\d.]+ s", line) for line in err), err


def test_ctrl_c_while_java_starts_leaves_no_process_behind(tidemark, tmp_path):
    """A JVM that is left behind at this moment would run forever."""
    process = subprocess.Popen(
        [tidemark.program, "run", "word_count", "--source", "rate:5", "--sink", "console"],
        cwd=tmp_path, env=tidemark.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        launcher = psutil.Process(process.pid)

        def find_spark_processes():
            children = launcher.children()
            for child in children:
                with suppress(psutil.NoSuchProcess):  # `java -version` may have just ended
                    if "pyspark-shell" in child.cmdline():
                        return children
            return []

        children = eventually(find_spark_processes, 60, "Spark's JVM")
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert not psutil.wait_procs(children, timeout=30)[1]
    finally:
        kill_process_tree(process.pid)
    assert process.returncode == 130
    assert out.startswith("word_count: interrupted")
    assert len(out.splitlines()) == 1


def test_a_job_without_the_kafka_connector_names_the_launcher(java, tmp_path):
    """Runs the job as its own process, in a session without jars."""
    env = BARE_ENVIRONMENT | {"PYTHONPATH": str(PROJECT), "JAVA_HOME": os.environ["JAVA_HOME"],
                              "SPARK_LOCAL_IP": "127.0.0.1"}  # fmt: skip
    result = subprocess.run(
        [sys.executable, PROJECT / "spark_jobs" / "land_clickstream.py",
         "--source", "kafka:x", "--servers", "127.0.0.1:1", "--sink", f"parquet:{tmp_path}/data"],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert result.returncode == 2, result.stderr[-2000:]
    last = result.stderr.strip().splitlines()[-1]
    assert "Spark's Kafka connector is missing" in last
    assert "./tidemark run" in last
