"""Maintaining a landing keeps the remaining rows the same, at every moment and after a kill."""

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
    """Land the numbered files, one batch each. A file's number decides its lines."""

    def land_files(file_numbers, run="run"):
        inbox = tmp_path / "inbox"
        inbox.mkdir(exist_ok=True)
        for n in file_numbers:
            times = [
                (FIRST + timedelta(day)).strftime(f"%d/%b/%Y:{(n + day) % 24:02}:00:00 +0000")
                for day in ((0, 1, 2) if n < LAST_OF_FIRST_DAY else (1, 2, 3))
            ]
            lines = [build_line(time=time, request=f"GET /{n} HTTP/1.1") for time in times]
            hidden_file = inbox / f".{n}.log"
            hidden_file.write_text(
                "\n".join([*lines, lines[0], f"bad {n} [{times[1]}]", f"junk {n}"])
            )
            hidden_file.rename(inbox / f"{n}.log")
            os.utime(inbox / f"{n}.log", (1_700_000_000 + n, 1_700_000_000 + n))
        code, output = job("land_access_log", "--source", f"text:{inbox}", "--sink", f"parquet:{data}",
                           "--run-id", run, "--max-files-per-trigger", 1,
                           "--manifest", tmp_path / f"{run}.json")  # fmt: skip
        assert code == 0, output
        return json.loads((tmp_path / f"{run}.json").read_text())

    return land_files


@pytest.fixture
def maintain(job, tmp_path, data):
    def run_job(*flags, run="keep", dry_run="false", code=0):
        exit_code, output = job("maintain_landing", "--source", f"parquet:{data}", "--run-id", run,
                                "--dry-run", dry_run, "--manifest", tmp_path / "keep.json",
                                *flags)  # fmt: skip
        assert exit_code == code, output
        return json.loads((tmp_path / "keep.json").read_text()) if not code else output

    return run_job


@pytest.fixture
def read_rows(spark, data):
    """Read the rows as any Parquet reader does; return them as a multiset, without the excluded days."""

    def read(*excluded_days):
        frame = spark.read.parquet(str(data)).select(
            *[column.split()[0] for column in ACCESS_LOG_DDL.split(",")]
        )
        return Counter(repr(r) for r in frame.collect() if str(r.event_date) not in excluded_days)

    return read


@pytest.fixture
def compact_every_third_batch(spark):
    """Let Spark compact the sink's log at every third batch instead of every tenth."""
    spark.conf.set("spark.sql.streaming.fileSink.log.compactInterval", 3)
    yield
    spark.conf.unset("spark.sql.streaming.fileSink.log.compactInterval")


def list_file_stats(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def list_data_files(data):
    return sorted(data.glob("event_date=*/part-*"))


@pytest.mark.matrix
def test_small_files_are_merged_and_landing_continues_across_log_compactions(
    spark, tmp_path, data, land, maintain, read_rows, compact_every_third_batch
):
    land(range(6))
    before, files = read_rows(), list_data_files(data)
    assert (data / "_spark_metadata" / "5.compact").is_file()
    manifest = maintain()
    assert read_rows() == before
    assert Counter(repr(r) for r in read_landing(spark, data, ACCESS_LOG_DDL).collect()) == before
    assert len(list_data_files(data)) < len(files) / 3
    assert list_data_files(data) == sorted(
        f.path for listed in sink_log.list_landed_files(data).values() for f in listed
    ), "nothing lies there that is not read"
    merged = {each["day"]: each for each in manifest["merged"]}
    assert (merged[DAYS[0]]["before"]["files"], merged[DAYS[0]]["after"]["files"]) == (5, 1)
    first_day_files = [path for path in list_data_files(data) if DAYS[0] in path.parent.name]
    largest = max(first_day_files, key=lambda path: path.stat().st_size)
    times = [row.timestamp for row in spark.read.parquet(str(largest)).collect()]
    assert times == sorted(times)
    assert len(times) == 10
    for first in (6, 8, 10):  # past 8.compact and 11.compact, with a merge between
        manifest = land(range(first, first + 2), f"run{first}")
        assert (manifest["read"], manifest["bad"]) == (12, 4)
        if first == 8:
            maintain(run=f"keep{first}")
    compacts = {path.name for path in (data / "_spark_metadata").glob("*.compact")}
    assert compacts >= {"5.compact", "8.compact", "11.compact"}
    assert sum(read_rows().values()) == 12 * 6
    assert {name: read_rows()[name] for name in before} == before
    assert land((), "nothing new")["read"] == 0


def test_a_dry_run_lists_what_would_be_removed_and_changes_nothing(tmp_path, data, land, maintain):
    land(range(3))
    (data / f"event_date={DAYS[1]}" / "part-killed.parquet").write_bytes(b"half")
    before = list_file_stats(data.parent)
    manifest = maintain("--remove-days", DAYS[0], dry_run="true")
    assert list_file_stats(data.parent) == before
    assert manifest["dry_run"]
    assert manifest["removed"][DAYS[0]]["files"] == 3
    assert (manifest["removed"][DAYS[0]]["good"], manifest["removed"][DAYS[0]]["bad"]) == (6, 0)
    assert manifest["leftovers"] == {"files": 1, "bytes": 4}


def test_removing_days_leaves_the_other_days_unchanged(
    tmp_path, data, land, maintain, read_rows, compact_every_third_batch
):
    land(range(6))
    remaining_rows = read_rows(DAYS[0])
    reparsed = data.parent / "replayed" / "run-1"
    for day in DAYS[:2]:
        (reparsed / f"event_date={day}").mkdir(parents=True)
        (reparsed / f"event_date={day}" / "part-0.parquet").write_bytes(b"rows")
    dry_run = maintain("--remove-days", DAYS[0], dry_run="true")
    manifest = maintain("--remove-days", DAYS[0])
    assert manifest["removed"] == dry_run["removed"]
    assert manifest["removed"][DAYS[0]]["good"] == 2 * LAST_OF_FIRST_DAY
    assert read_rows() == remaining_rows
    assert not (data / f"event_date={DAYS[0]}").exists()
    assert [path.name for path in reparsed.iterdir()] == [f"event_date={DAYS[1]}"]
    assert manifest["replayed"] == {
        f"replayed/run-1/event_date={DAYS[0]}": {"files": 1, "bytes": 4}
    }
    assert maintain("--remove-days", DAYS[0], run="again")["removed"] == {}
    land([6], "next")
    assert sum(read_rows().values()) == sum(remaining_rows.values()) + 6


def test_undated_lines_are_removed_by_the_date_they_were_landed(data, land, maintain, read_rows):
    land(range(3))
    tomorrow = (date.today() + timedelta(2)).isoformat()
    assert maintain("--undated-before", FIRST.isoformat())["removed"] == {}
    manifest = maintain("--undated-before", tomorrow, run="later")
    ((name, counts),) = manifest["removed"].items()
    assert name.startswith("undated, landed on ")
    assert (counts["good"], counts["bad"]) == (0, 3)
    assert sum(read_rows().values()) == 3 * 5


def test_a_day_that_got_lines_after_it_was_chosen_is_kept(data, land, maintain, read_rows):
    land(range(3))
    before = read_rows()
    manifest = maintain("--remove-days", DAYS[0], "--through-batch", 1)
    assert manifest["stay"] == {DAYS[0]: "lines came after the days were chosen"}
    assert manifest["removed"] == {}
    assert read_rows() == before


def test_removing_all_days_at_once_is_refused(land, maintain, read_rows):
    land(range(2))
    before = read_rows()
    assert "would remove all its days" in maintain("--remove-days", ",".join(DAYS), code=2)
    assert read_rows() == before


def test_an_unrecorded_locked_or_incomplete_landing_is_refused(
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
    data_file = list_data_files(data)[0]
    data_file.rename(tmp_path / "away")
    assert "which does not exist" in maintain("--remove-days", DAYS[0], code=2)
    (tmp_path / "away").rename(data_file)
    (data / "_spark_metadata" / "0").unlink()
    assert "lacks batch 0" in maintain(code=2)


def test_maintaining_a_landing_that_does_not_exist_creates_nothing(tmp_path, data, maintain):
    maintain()
    assert not data.parent.exists()


def test_a_folder_without_a_sink_log_is_left_unchanged(data, maintain):
    plain = data / f"event_date={DAYS[0]}" / "part-0.parquet"
    plain.parent.mkdir(parents=True)
    plain.write_bytes(b"rows of somebody else")
    assert "removed" not in maintain("--remove-days", DAYS[0])
    assert plain.is_file()


def test_a_removed_day_is_not_summarised_from_lines_that_land_later(
    tmp_path, data, land, maintain, job
):
    land(range(2))
    maintain("--remove-days", DAYS[0])
    land([2], "late")
    code, output = job("summarise_access_log", "--source", f"parquet:{data}", "--source-kind", "files",
                       "--sink", f"summary:{tmp_path / 'summary'}", "--days", DAYS[0])  # fmt: skip
    assert code == 2
    assert f"{DAYS[0]} was removed from" in output


@pytest.mark.parametrize("flag", ["--remove-days", "--undated-before"])
def test_a_wrong_day_is_refused_with_the_name_of_its_flag(land, maintain, flag):
    land(range(2))
    assert f"{flag} '2026-02-30': expected days" in maintain(flag, "2026-02-30", code=2)


PATH_CHANGES = ("replace", "unlink", "rmdir")


def run_and_kill_at_change(count, action):
    """Run `action` in a child process that kills itself before its disk change number `count`.

    Returns whether it was killed.
    """
    child = os.fork()
    if child == 0:
        changes_left = [count]

        def count_changes(change):
            def call(*arguments, **keywords):
                changes_left[0] -= 1
                if changes_left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*arguments, **keywords)

            return call

        for name in PATH_CHANGES:
            setattr(Path, name, count_changes(getattr(Path, name)))
        shutil.rmtree = count_changes(shutil.rmtree)
        maintain_landing.append_record = count_changes(maintain_landing.append_record)
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.fault
def test_a_kill_at_any_disk_change_loses_no_rows_and_the_next_run_finishes(
    tmp_path, data, land, maintain, read_rows, monkeypatch
):
    land(range(12))
    remaining_rows, expected_removal = (
        read_rows(DAYS[0]),
        maintain("--remove-days", DAYS[0], dry_run="true")["removed"],
    )
    copy, was_killed = tmp_path / "copy", []
    shutil.copytree(data.parent, copy)
    apply_changes = maintain_landing.apply_changes

    def apply_in_child(*arguments):
        was_killed.append(run_and_kill_at_change(count, lambda: apply_changes(*arguments)))
        raise InvalidInput("killed")

    for count in (0, 2, 4, 6, 7, 8, 10, 12, 30, 500):
        run = f"keep{count}"
        monkeypatch.setattr(maintain_landing, "apply_changes", apply_in_child)
        assert "killed" in maintain("--remove-days", DAYS[0], run=run, code=2)
        assert read_rows(DAYS[0]) == remaining_rows, count
        monkeypatch.setattr(maintain_landing, "apply_changes", apply_changes)
        manifest = maintain("--remove-days", DAYS[0], run=run)
        assert read_rows() == remaining_rows, count
        if was_killed[-1]:
            assert manifest["removed"] == expected_removal, count
        listed = [f.path for files in sink_log.list_landed_files(data).values() for f in files]
        assert list_data_files(data) == sorted(listed), count
        shutil.rmtree(data.parent)
        shutil.copytree(copy, data.parent)
    assert was_killed[0]
    assert not was_killed[-1]


@pytest.mark.fault
def test_killing_the_process_while_it_merges_changes_nothing(
    tmp_path, data, land, maintain, read_rows, submit
):
    land(range(12))
    before = read_rows()
    # A DAG may pass an empty value, which must survive spark-submit.
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
    assert read_rows() == before
    assert maintain()["merged"]
    assert read_rows() == before
    assert not merging.exists()
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


@pytest.mark.matrix
def test_a_concurrent_reader_gets_all_rows_of_the_kept_days_or_an_error(
    spark, data, land, maintain
):
    """A reader that listed files before they were removed fails, but never returns wrong rows."""
    land(range(4))
    files, counts, errors, stop = set(), set(), set(), threading.Event()

    def read():
        while not stop.is_set():
            try:
                frame = spark.read.schema(ACCESS_LOG_DDL).parquet(str(data))
                files.add(len(frame.inputFiles()))
                counts.add(frame.where(f"event_date = '{DAYS[1]}'").count())
            except Exception as error:
                errors.add("does not exist" in str(error) or str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        eventually(lambda: files, 60, "a read before")
        before = set(files)
        maintain("--remove-days", DAYS[0])
        eventually(lambda: files - before, 60, "a read after")
    finally:
        stop.set()
        reader.join()
    assert counts == {8}
    assert errors <= {True}


@pytest.mark.matrix
def test_undated_lines_landed_on_the_cutoff_date_are_kept(data, land, maintain, read_rows):
    land(range(2))
    later = (date.today() + timedelta(2)).isoformat()
    (name,) = maintain("--undated-before", later, dry_run="true")["removed"]
    before = read_rows()
    assert maintain("--undated-before", name.rpartition(" ")[2])["removed"] == {}
    assert read_rows() == before


def write_rows(spark, folder, name, rows):
    """Write (host, user, bad_reason) rows to a Parquet file like a landed one; return its path."""
    frame = spark.createDataFrame(rows, "host STRING, user STRING, bad_reason STRING")
    frame = frame.withColumn("timestamp", F.timestamp_seconds(F.lit(1)))
    frame.coalesce(1).write.parquet(str(folder / name))
    (file,) = (folder / name).glob("part-*")
    return file


ROWS = [("a", "b", None), ("c", None, None), ("d", "e", "no_match")]


def test_the_fingerprint_of_a_file_ignores_the_order_of_its_rows(spark, tmp_path):
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
    fingerprints = maintain_landing.compute_fingerprints(spark, schema, list(files.values()))
    hashes = {name: fingerprints[file]["hash"] for name, file in files.items()}
    assert hashes["reversed"] == hashes["as_they_are"]
    assert len(set(hashes.values())) == len(files) - 1
    assert {
        (fingerprint["files"], fingerprint["good"], fingerprint["bad"])
        for fingerprint in fingerprints.values()
    } == {(1, 2, 1)}


def test_a_merge_that_would_change_rows_is_refused(spark, tmp_path):
    files = [write_rows(spark, tmp_path, name, ROWS) for name in ("one", "two")]
    schema = maintain_landing.read_merged_schema(spark, files)
    fingerprints = maintain_landing.compute_fingerprints(spark, schema, files)
    group = maintain_landing.FileGroup("files", DAYS[0], target_file_count=1)
    group.files = [LandedFile(file, file.stat().st_size, 0) for file in files]
    counts_before = {name: 2 * fingerprints[files[0]][name] for name in fingerprints[files[0]]}
    group.counts_before = counts_before
    maintain_landing.merge_files(spark, schema, tmp_path / "merged", [group])
    assert len(group.merged_files) == 1
    for name in ("good", "bad", "hash"):
        group.counts_before = counts_before | {name: counts_before[name] + 1}
        with pytest.raises(InvalidInput, match="merged, its rows would be .* Nothing was changed"):
            maintain_landing.merge_files(spark, schema, tmp_path / "merged", [group])
