"""A landing that is made smaller: the rows that stay are the same, at any moment and after a kill."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from include.errors import InvalidInput
from include.settings import PROJECT
from spark_jobs import maintain_landing
from spark_jobs.landing import sink_log
from spark_jobs.landing.folder import read_landing
from spark_jobs.landing.sink_log import LandedFile
from tests.builders import build_line
from tests.conftest import eventually, kill_process_tree, run_command

FIRST = date(2026, 3, 1)
LAST_OF_FIRST_DAY = 5  # files from this number on have no line of the first day
DAYS = [(FIRST + timedelta(n)).isoformat() for n in range(4)]


@pytest.fixture
def data(tmp_path):
    return tmp_path / "landing" / "data"


@pytest.fixture
def land(job, tmp_path, data):
    """Land files 1 by 1, a batch each: `numbers` name them and say what is in them."""

    def landed(numbers, run="run"):
        inbox = tmp_path / "inbox"
        inbox.mkdir(exist_ok=True)
        for n in numbers:
            times = [
                (FIRST + timedelta(day)).strftime(f"%d/%b/%Y:{(n + day) % 24:02}:00:00 +0000")
                for day in ((0, 1, 2) if n < LAST_OF_FIRST_DAY else (1, 2, 3))
            ]
            lines = [build_line(time=time, request=f"GET /{n} HTTP/1.1") for time in times]
            part = inbox / f".{n}.log"
            part.write_text("\n".join([*lines, lines[0], f"bad {n} [{times[1]}]", f"junk {n}"]))
            part.rename(inbox / f"{n}.log")
            os.utime(inbox / f"{n}.log", (1_700_000_000 + n, 1_700_000_000 + n))
        code, said = job("land_access_log", "--source", f"text:{inbox}", "--sink", f"parquet:{data}",
                         "--run-id", run, "--max-files-per-trigger", 1,
                         "--manifest", tmp_path / f"{run}.json")  # fmt: skip
        assert code == 0, said
        return json.loads((tmp_path / f"{run}.json").read_text())

    return landed


@pytest.fixture
def maintain(job, tmp_path, data):
    def maintained(*flags, run="keep", dry_run="false", code=0):
        found, said = job("maintain_landing", "--source", f"parquet:{data}", "--run-id", run,
                          "--dry-run", dry_run, "--manifest", tmp_path / "keep.json", *flags)  # fmt: skip
        assert found == code, said
        return json.loads((tmp_path / "keep.json").read_text()) if not code else said

    return maintained


@pytest.fixture
def rows(spark, data):
    """All that a plain reader finds, as a multiset, without days that were to go."""

    def read(*without):
        found = spark.read.parquet(str(data)).select(
            *[column.split()[0] for column in ACCESS_LOG_DDL.split(",")]
        )
        return Counter(repr(r) for r in found.collect() if str(r.event_date) not in without)

    return read


@pytest.fixture
def compacted_every_third(spark):
    """The sink's log, which Spark compacts at every tenth batch: a test need not land so many."""
    spark.conf.set("spark.sql.streaming.fileSink.log.compactInterval", 3)
    yield
    spark.conf.unset("spark.sql.streaming.fileSink.log.compactInterval")


def tree(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def data_files(data):
    return sorted(data.glob("event_date=*/part-*"))


@pytest.mark.matrix
def test_small_files_are_merged_and_landing_goes_on_across_the_compactions_of_the_log(
    spark, tmp_path, data, land, maintain, rows, compacted_every_third
):
    land(range(6))
    before, files = rows(), data_files(data)
    assert (data / "_spark_metadata" / "5.compact").is_file()
    told = maintain()
    assert rows() == before
    assert Counter(repr(r) for r in read_landing(spark, data, ACCESS_LOG_DDL).collect()) == before
    assert len(data_files(data)) < len(files) / 3
    assert data_files(data) == sorted(
        f.path for listed in sink_log.list_landed_files(data).values() for f in listed
    ), "nothing lies there that is not read"
    merged = {each["day"]: each for each in told["merged"]}
    assert (merged[DAYS[0]]["before"]["files"], merged[DAYS[0]]["after"]["files"]) == (5, 1)
    of_a_day = [path for path in data_files(data) if DAYS[0] in path.parent.name]
    largest = max(of_a_day, key=lambda path: path.stat().st_size)
    times = [row.timestamp for row in spark.read.parquet(str(largest)).collect()]
    assert times == sorted(times)
    assert len(times) == 10
    for first in (6, 8, 10):  # over 8.compact and 11.compact, merged between
        told = land(range(first, first + 2), f"run{first}")
        assert (told["read"], told["bad"]) == (12, 4)
        if first == 8:
            maintain(run=f"keep{first}")
    compacts = {path.name for path in (data / "_spark_metadata").glob("*.compact")}
    assert compacts >= {"5.compact", "8.compact", "11.compact"}
    assert sum(rows().values()) == 12 * 6
    assert {name: rows()[name] for name in before} == before
    assert land((), "nothing new")["read"] == 0


def test_a_dry_run_says_what_would_go_and_changes_nothing(tmp_path, data, land, maintain):
    land(range(3))
    (data / f"event_date={DAYS[1]}" / "part-killed.parquet").write_bytes(b"half")
    before = tree(data.parent)
    told = maintain("--remove-days", DAYS[0], dry_run="true")
    assert tree(data.parent) == before
    assert told["dry_run"]
    assert told["removed"][DAYS[0]]["files"] == 3
    assert (told["removed"][DAYS[0]]["good"], told["removed"][DAYS[0]]["bad"]) == (6, 0)
    assert told["leftovers"] == {"files": 1, "bytes": 4}


def test_days_that_go_leave_the_others_as_they_are(
    tmp_path, data, land, maintain, rows, compacted_every_third
):
    land(range(6))
    kept = rows(DAYS[0])
    replayed = data.parent / "replayed" / "run-1"
    for day in DAYS[:2]:
        (replayed / f"event_date={day}").mkdir(parents=True)
        (replayed / f"event_date={day}" / "part-0.parquet").write_bytes(b"rows")
    said = maintain("--remove-days", DAYS[0], dry_run="true")
    told = maintain("--remove-days", DAYS[0])
    assert told["removed"] == said["removed"]
    assert told["removed"][DAYS[0]]["good"] == 2 * LAST_OF_FIRST_DAY
    assert rows() == kept
    assert not (data / f"event_date={DAYS[0]}").exists()
    assert [path.name for path in replayed.iterdir()] == [f"event_date={DAYS[1]}"]
    assert told["replayed"] == {f"replayed/run-1/event_date={DAYS[0]}": {"files": 1, "bytes": 4}}
    assert maintain("--remove-days", DAYS[0], run="again")["removed"] == {}
    land([6], "next")
    assert sum(rows().values()) == sum(kept.values()) + 6


def test_lines_without_a_day_go_by_the_day_they_were_landed_on(data, land, maintain, rows):
    land(range(3))
    tomorrow = (date.today() + timedelta(2)).isoformat()
    assert maintain("--undated-before", FIRST.isoformat())["removed"] == {}
    told = maintain("--undated-before", tomorrow, run="later")
    ((name, counts),) = told["removed"].items()
    assert name.startswith("undated, landed on ")
    assert (counts["good"], counts["bad"]) == (0, 3)
    assert sum(rows().values()) == 3 * 5


def test_a_day_that_got_lines_after_it_was_chosen_stays(data, land, maintain, rows):
    land(range(3))
    before = rows()
    told = maintain("--remove-days", DAYS[0], "--through-batch", 1)
    assert told["stay"] == {DAYS[0]: "lines came after the days were chosen"}
    assert told["removed"] == {}
    assert rows() == before


def test_all_days_at_once_are_refused(land, maintain, rows):
    land(range(2))
    before = rows()
    assert "would remove all its days" in maintain("--remove-days", ",".join(DAYS), code=2)
    assert rows() == before


def test_a_landing_that_was_moved_or_is_held_or_not_counted_is_left_alone(
    tmp_path, data, land, maintain, monkeypatch
):
    land(range(2))
    progress = (data.parent / "progress.jsonl").read_text()
    (data.parent / "progress.jsonl").write_text(progress.splitlines()[0] + "\n")
    assert "a landed batch is not recorded yet" in maintain(code=os.EX_TEMPFAIL)
    (data.parent / "progress.jsonl").write_text(progress)
    monkeypatch.setattr("spark_jobs.streaming.locks.WAIT_FOR_LOCK_SECONDS", 0.3)
    from spark_jobs.streaming.locks import folder_lock

    with folder_lock(data.parent, "land_access_log", "night"):
        assert "is being written by land_access_log, run night" in maintain(code=os.EX_TEMPFAIL)
    gone = data_files(data)[0]
    gone.rename(tmp_path / "away")
    assert "which does not exist" in maintain("--remove-days", DAYS[0], code=2)
    (tmp_path / "away").rename(gone)
    (data / "_spark_metadata" / "0").unlink()
    assert "lacks batch 0" in maintain(code=2)


def test_nothing_landed_is_nothing_to_do(tmp_path, data, maintain):
    maintain()
    assert not data.parent.exists()


def test_a_folder_without_a_log_is_left_alone(data, maintain):
    plain = data / f"event_date={DAYS[0]}" / "part-0.parquet"
    plain.parent.mkdir(parents=True)
    plain.write_bytes(b"rows of somebody else")
    assert "removed" not in maintain("--remove-days", DAYS[0])
    assert plain.is_file()


def test_a_day_that_was_removed_is_not_summarised_from_what_is_left(
    tmp_path, data, land, maintain, job
):
    land(range(2))
    maintain("--remove-days", DAYS[0])
    land([2], "late")
    code, said = job("summarise_access_log", "--source", f"parquet:{data}", "--source-kind", "files",
                     "--sink", f"summary:{tmp_path / 'summary'}", "--days", DAYS[0])  # fmt: skip
    assert code == 2
    assert f"{DAYS[0]} was removed from" in said


CHANGES = ("replace", "unlink", "rmdir")


def killed_at(count, action):
    """Run `action` in a child that SIGKILLs itself before its change number `count` of the disk."""
    child = os.fork()
    if child == 0:
        left = [count]

        def counted(change):
            def call(*arguments, **named):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*arguments, **named)

            return call

        for name in CHANGES:
            setattr(Path, name, counted(getattr(Path, name)))
        shutil.rmtree = counted(shutil.rmtree)
        maintain_landing.append_record = counted(maintain_landing.append_record)
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.fault
def test_killed_at_any_change_the_rows_are_the_same_and_the_next_run_goes_on(
    tmp_path, data, land, maintain, rows, monkeypatch
):
    land(range(12))
    kept, whole = rows(DAYS[0]), maintain("--remove-days", DAYS[0], dry_run="true")["removed"]
    copy, kills = tmp_path / "copy", []
    shutil.copytree(data.parent, copy)
    carry_out = maintain_landing.apply_changes

    def in_a_child(*arguments):
        kills.append(killed_at(count, lambda: carry_out(*arguments)))
        raise InvalidInput("killed")

    for count in (0, 2, 4, 6, 7, 8, 10, 12, 30, 500):
        run = f"keep{count}"
        monkeypatch.setattr(maintain_landing, "carry_out", in_a_child)
        assert "killed" in maintain("--remove-days", DAYS[0], run=run, code=2)
        assert rows(DAYS[0]) == kept, count
        monkeypatch.setattr(maintain_landing, "carry_out", carry_out)
        told = maintain("--remove-days", DAYS[0], run=run)
        assert rows() == kept, count
        if kills[-1]:
            assert told["removed"] == whole, count
        listed = [f.path for files in sink_log.list_landed_files(data).values() for f in files]
        assert data_files(data) == sorted(listed), count
        shutil.rmtree(data.parent)
        shutil.copytree(copy, data.parent)
    assert kills[0]
    assert not kills[-1]


@pytest.mark.fault
def test_the_whole_process_killed_while_it_merges_changes_nothing(
    tmp_path, data, land, maintain, rows, submit
):
    land(range(12))
    before = rows()
    # An empty flag must come through spark-submit as one, as a DAG may give it.
    command = submit("maintain_landing", "--source", f"parquet:{data}", "--dry-run", "false",
                     "--run-id", "")  # fmt: skip
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(PROJECT)}, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        merging = data.parent / "merging"
        eventually(
            lambda: list(merging.rglob("part-*")) or process.poll() is not None, 120, "a file"
        )
        assert process.poll() is None, (tmp_path / "out").read_text()
    finally:
        kill_process_tree(process.pid)
    assert rows() == before
    assert maintain()["merged"]
    assert rows() == before
    assert not merging.exists()
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


@pytest.mark.matrix
def test_who_reads_meanwhile_has_all_rows_of_the_days_that_stay_or_an_error(
    spark, data, land, maintain
):
    """A reader that listed the files before and opens them after they are gone fails; none is wrong."""
    land(range(4))
    files, counts, failed, end = set(), set(), set(), threading.Event()

    def read():
        while not end.is_set():
            try:
                found = spark.read.schema(ACCESS_LOG_DDL).parquet(str(data))
                files.add(len(found.inputFiles()))
                counts.add(found.where(f"event_date = '{DAYS[1]}'").count())
            except Exception as gone:
                failed.add("does not exist" in str(gone) or str(gone))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        eventually(lambda: files, 60, "a read before")
        before = set(files)
        maintain("--remove-days", DAYS[0])
        eventually(lambda: files - before, 60, "a read after")
    finally:
        end.set()
        reader.join()
    assert counts == {8}
    assert failed <= {True}


@pytest.mark.matrix
def test_lines_without_a_day_stay_on_the_day_that_is_the_first_to_stay(data, land, maintain, rows):
    land(range(2))
    later = (date.today() + timedelta(2)).isoformat()
    (name,) = maintain("--undated-before", later, dry_run="true")["removed"]
    before = rows()
    assert maintain("--undated-before", name.rpartition(" ")[2])["removed"] == {}
    assert rows() == before


def write_rows(spark, folder, name, rows):
    """A Parquet file of rows of (host, user, bad_reason), as one that was landed."""
    frame = spark.createDataFrame(rows, "host STRING, user STRING, bad_reason STRING")
    frame = frame.withColumn("timestamp", F.timestamp_seconds(F.lit(1)))
    frame.coalesce(1).write.parquet(str(folder / name))
    (file,) = (folder / name).glob("part-*")
    return file


ROWS = [("a", "b", None), ("c", None, None), ("d", "e", "no_match")]


def test_a_files_fingerprint_is_that_of_its_rows_in_any_order(spark, tmp_path):
    files = {
        name: write_rows(spark, tmp_path, name, rows)
        for name, rows in {
            "as_they_are": ROWS,
            "reversed": ROWS[::-1],
            "other": [("a", "B", None), *ROWS[1:]],
            "moved": [("a", "b", None), (None, "c", None), ROWS[2]],
            "twice": [ROWS[0], ROWS[0], ROWS[2]],
        }.items()
    }
    schema = maintain_landing.read_merged_schema(spark, list(files.values()))
    found = maintain_landing.compute_fingerprints(spark, schema, list(files.values()))
    hashes = {name: found[file]["hash"] for name, file in files.items()}
    assert hashes["reversed"] == hashes["as_they_are"]
    assert len(set(hashes.values())) == len(files) - 1
    assert {(each["files"], each["good"], each["bad"]) for each in found.values()} == {(1, 2, 1)}


def test_files_that_would_be_merged_into_other_rows_are_refused(spark, tmp_path):
    files = [write_rows(spark, tmp_path, name, ROWS) for name in ("one", "two")]
    schema = maintain_landing.read_merged_schema(spark, files)
    found = maintain_landing.compute_fingerprints(spark, schema, files)
    group = maintain_landing.FileGroup("files", DAYS[0], target_file_count=1)
    group.files = [LandedFile(file, file.stat().st_size, 0) for file in files]
    before = {name: 2 * found[files[0]][name] for name in found[files[0]]}
    group.counts_before = before
    maintain_landing.merge_files(spark, schema, tmp_path / "merged", [group])
    assert len(group.merged_files) == 1
    for name in ("good", "bad", "hash"):
        group.counts_before = before | {name: before[name] + 1}
        with pytest.raises(InvalidInput, match="merged, its rows would be .* Nothing was changed"):
            maintain_landing.merge_files(spark, schema, tmp_path / "merged", [group])
