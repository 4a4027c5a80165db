"""`./tidemark`: any folder, an empty environment, and nothing on the terminal but what was asked."""

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

BARE = {"HOME": str(Path.home()), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def tidemark(jars, tmp_path):
    """Runs the command by a link, in another folder, in an empty environment; with a `var/` of its own."""
    home, link = tmp_path / "home", tmp_path / "bin" / "tidemark"
    home.mkdir()
    (home / "jars").symlink_to(jars)
    link.parent.mkdir()
    for name in ("json.py", "include.py"):  # what lies in the user's folder is not imported
        (tmp_path / name).write_text("raise SystemExit('imported from the wrong folder')")
    link.symlink_to(PROJECT / "tidemark")
    env = BARE | {"TIDEMARK_HOME": str(home), "TIDEMARK_KAFKA_SERVERS": "one:9092"}

    def run(*words, program=str(link), **changed):
        return subprocess.run(
            [program, *words], cwd=tmp_path, env=env | changed, capture_output=True, text=True,
            timeout=180, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    run.env, run.program = env, str(link)
    return run


@pytest.fixture
def words(tmp_path):
    """A folder with a file of words."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("the tide\ncomes in\n")
    return "in"


def test_without_words_it_lists_what_there_is(tidemark):
    done = tidemark()
    assert done.returncode == 0
    for name in ("produce clickstream", "serve-lines", "word_count", "summarise_access_log"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["run", "wordcount"], "job 'wordcount' is unknown"),
        (["run"], "run needs the name of a job"),
        (["produce", "x"], "'produce x' is unknown"),
        (["run", "word_count", "--source", "rate:5", "--sink", "console", "--trigger", "once"],
         "use every 5 seconds"),
    ],
)  # fmt: skip
def test_what_it_does_not_know_is_refused_at_once(tidemark, given, says):
    done = tidemark(*given)
    assert done.returncode == 2
    assert says in done.stderr
    assert ("word_count  " in done.stderr) == ("--source" not in given)


def test_help_of_a_job_needs_no_java(tidemark):
    done = tidemark("run", "word_count", "--help", JAVA_HOME="/nowhere")
    assert done.returncode == 0
    assert "--run-seconds" in done.stdout


def test_what_is_missing_is_named_with_its_remedy(tidemark, tmp_path):
    copy = tmp_path / "elsewhere" / "tidemark"
    copy.parent.mkdir()
    shutil.copy(PROJECT / "tidemark", copy)
    done = tidemark(program=str(copy))
    assert done.returncode == 1
    assert f"make -C {copy.parent} setup" in done.stderr
    done = tidemark("run", "word_count", "--source", "kafka:x", "--sink", "console",
                    TIDEMARK_HOME=str(tmp_path / "no-jars"))  # fmt: skip
    assert done.returncode == 1
    assert "run `make setup`" in done.stderr


def test_producers_and_the_line_server_run_from_anywhere(tidemark):
    done = tidemark("produce", "clickstream", "--count", "2", "--to", "stdout")
    assert done.stdout.count('"Impressions"') == 2, done.stderr
    done = tidemark("serve-lines", "no-such-file")
    assert (done.returncode, "there is no file no-such-file" in done.stderr) == (1, True)


def test_kafkas_servers_come_from_the_settings_and_the_zip_is_packed_anew(tidemark, tmp_path):
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


def test_the_printed_command_can_be_pasted(tidemark, words, tmp_path):
    """The process is the subject: spark-submit as it is printed, in an empty environment."""
    printed = tidemark("run", "word_count", "--source", f"text:{words}", "--sink", "console",
                       "--trigger", "available-now", "--print-command").stdout  # fmt: skip
    done = subprocess.run(["bash", "-c", printed], cwd=tmp_path, env=BARE, capture_output=True,
                          text=True, timeout=180)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "|tide |1    |" in done.stdout
    assert "word_count: read 2 lines in 1 batch" in done.stdout


def test_a_terminal_shows_tables_and_progress_only_and_ctrl_c_leaves_one_line(tidemark, tmp_path):
    """The process is the subject: what a person sees of it, to the last line."""
    started = subprocess.Popen(
        [tidemark.program, "run", "word_count", "--source", "rate:5", "--sink", "console"],
        cwd=tmp_path, env=tidemark.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=(tmp_path / "err").open("w"), text=True, start_new_session=True,
    )  # fmt: skip
    try:
        eventually(lambda: "batch 2" in (tmp_path / "err").read_text(), 120, "the third batch")
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
        out, _ = started.communicate(timeout=60)
    finally:
        kill_process_tree(started.pid)
    assert started.returncode == 130
    *tables, last = out.strip().splitlines()
    assert re.fullmatch(r"word_count: read \d+ rows in \d+ batches; .*, until Ctrl-C", last)
    assert all(re.fullmatch(r"-+|Batch: \d+|[+-]+|\|.*\||", line) for line in tables), tables
    err = (tmp_path / "err").read_text().splitlines()
    assert all(re.fullmatch(r"batch \d+: \d+ rows?, [\d.]+ s", line) for line in err), err


def test_ctrl_c_while_java_starts_leaves_nothing_behind(tidemark, tmp_path):
    """The process is the subject: a JVM that is left at this moment would stay for ever."""
    started = subprocess.Popen(
        [tidemark.program, "run", "word_count", "--source", "rate:5", "--sink", "console"],
        cwd=tmp_path, env=tidemark.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        process = psutil.Process(started.pid)

        def submitted():
            children = process.children()
            for child in children:
                with suppress(psutil.NoSuchProcess):  # `java -version`, which has just ended
                    if "pyspark-shell" in child.cmdline():
                        return children
            return []

        children = eventually(submitted, 60, "Spark's JVM")
        os.killpg(started.pid, signal.SIGINT)
        out, _ = started.communicate(timeout=60)
        assert not psutil.wait_procs(children, timeout=30)[1]
    finally:
        kill_process_tree(started.pid)
    assert started.returncode == 130
    assert out.startswith("word_count: interrupted")
    assert len(out.splitlines()) == 1


def test_a_job_without_the_connector_names_the_launcher(java, tmp_path):
    """The process is the subject: a session that has no jars."""
    env = BARE | {"PYTHONPATH": str(PROJECT), "JAVA_HOME": os.environ["JAVA_HOME"],
                  "SPARK_LOCAL_IP": "127.0.0.1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, PROJECT / "spark_jobs" / "land_clickstream.py",
         "--source", "kafka:x", "--servers", "127.0.0.1:1", "--sink", f"parquet:{tmp_path}/data"],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert "Spark's Kafka connector is missing" in last
    assert "./tidemark run" in last
