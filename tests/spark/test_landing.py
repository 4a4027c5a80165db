"""Landing from a folder of files: each line once, one writer, data and checkpoint as one."""

import json
import shutil

import pytest

from spark_jobs.runtime.landing import Landing, Recorder, count_landed, count_read, manifest
from spark_jobs.runtime.streams import read_text, wait, write_parquet
from spark_jobs.runtime.words import Place, Refused
from spark_jobs.transforms.access_log import file_lines, landed_lines
from tests.builders import a_line

JOB = "land_access_log"


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def land(spark, tmp_path, inbox):
    """Land what is in the inbox; give the run's manifest."""

    def landed(run="run", folder="landing", trigger=None):
        landing, source = (
            Landing(Place("parquet", str(tmp_path / folder / "data"))),
            Place("text", str(inbox)),
        )
        with landing.locked(JOB, source, run):
            rows = landed_lines(count_read(file_lines(read_text(spark, source, None))), "UTC")
            recorder = Recorder(landing, run)
            spark.streams.addListener(recorder)
            try:
                query = write_parquet(count_landed(rows), landing.data, landing.checkpoint,
                                      trigger or {"availableNow": True})  # fmt: skip
                wait(query, None if trigger is None or "once" in trigger else 6)
            finally:
                recorder.wait()
                spark.streams.removeListener(recorder)
            landing.recount(spark, run)
            return manifest(landing, run, {})

    return landed


def write(inbox, name, *lines):
    part = inbox / f".{name}"
    part.write_text("".join(f"{line}\n" for line in lines))
    part.rename(inbox / name)


def test_good_and_bad_lines_land_together_and_are_counted(spark, tmp_path, inbox, land):
    write(inbox, "a.log", a_line(), "junk", a_line(time="18/May/2015:00:00:00 +0000"))
    told = land()
    assert (told["read"], told["good"], told["bad"]) == (3, 2, 1)
    assert told["days"] == ["2015-05-17", "2015-05-18"]
    rows = spark.read.parquet(str(tmp_path / "landing" / "data")).collect()
    assert sorted((str(row.event_date), row.bad_reason) for row in rows) == [
        ("2015-05-17", None), ("2015-05-18", None), ("None", "no_match"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "trigger", [{"once": True}, {"availableNow": True}, {"processingTime": "1 second"}]
)
def test_landing_twice_lands_each_line_once(spark, tmp_path, inbox, land, trigger):
    write(inbox, "a.log", a_line(), a_line())
    assert land("first", trigger=trigger)["read"] == 2
    write(inbox, "b.log", a_line())
    assert land("second", trigger=trigger)["read"] == 1
    assert land("third", trigger=trigger)["read"] == 0
    assert spark.read.parquet(str(tmp_path / "landing" / "data")).count() == 3


def test_a_batch_that_a_killed_run_landed_and_did_not_record_is_counted_by_the_next(
    spark, tmp_path, inbox, land
):
    write(inbox, "a file.log", a_line(), "junk")
    land("killed")
    progress = tmp_path / "landing" / "progress.jsonl"
    whole = progress.read_text()
    progress.write_text(whole[: len(whole) // 2])  # torn, as by a kill
    write(inbox, "b.log", a_line())
    told = land("next")
    assert (told["read"], told["good"], told["bad"]) == (3, 2, 1)
    batches = [json.loads(line) for line in progress.read_text().splitlines()[1:]]
    assert {b["batch"]: (b["read"], b["run"]) for b in batches} == {0: (2, "next"), 1: (1, "next")}


def test_a_batch_that_ran_twice_is_counted_once(spark, tmp_path, inbox, land):
    write(inbox, "a.log", a_line(), "junk")
    land("killed")
    # As killed between the sink's commit and the checkpoint's: the sink has it, nobody recorded it.
    for commit in (tmp_path / "landing" / "checkpoint" / "commits").glob("*0*"):
        commit.unlink()
    (tmp_path / "landing" / "progress.jsonl").unlink()
    told = land("again")
    assert (told["read"], told["good"], told["bad"]) == (2, 1, 1)
    assert spark.read.parquet(str(tmp_path / "landing" / "data")).count() == 2


def test_landed_data_without_their_checkpoint_are_refused(tmp_path, inbox, land):
    write(inbox, "a.log", a_line())
    land()
    shutil.rmtree(tmp_path / "landing" / "checkpoint")
    with pytest.raises(Refused, match="its checkpoint .* is gone"):
        land()


def test_a_checkpoint_without_its_data_is_refused(tmp_path, inbox, land):
    write(inbox, "a.log", a_line())
    land()
    shutil.rmtree(tmp_path / "landing" / "data")
    with pytest.raises(Refused, match="lacks them"):
        land()


def test_a_checkpoint_of_another_query_is_refused(spark, tmp_path, inbox, land):
    write(inbox, "a.log", a_line())
    land()
    landing = Landing(Place("parquet", str(tmp_path / "landing" / "data")))
    with (
        pytest.raises(Refused, match="belongs to another query"),
        landing.locked(JOB, Place("kafka", "access-log"), "run"),
    ):
        pass


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path, inbox, monkeypatch):
    monkeypatch.setattr("spark_jobs.runtime.landing.WAIT_FOR_LOCK_SECONDS", 0.3)
    landing, source = (
        Landing(Place("parquet", str(tmp_path / "l" / "data"))),
        Place("text", str(inbox)),
    )
    with (
        landing.locked(JOB, source, "night"),
        pytest.raises(Refused, match=f"being written by {JOB}, run night, process"),
        landing.locked(JOB, source, "other"),
    ):
        pass
    with landing.locked(JOB, source, "other"):
        pass


def test_counts_that_do_not_agree_are_an_error(tmp_path):
    landing = Landing(Place("parquet", str(tmp_path / "data")))
    landing.append({"batch": 0, "run": "r", "read": 3, "good": 1, "bad": 1, "days": []})
    with pytest.raises(Refused, match="3 lines were read, but 1 good and 1 bad"):
        manifest(landing, "r", {})


def test_a_sink_must_have_room_for_its_checkpoint(tmp_path):
    with pytest.raises(Refused, match="/data"):
        Landing(Place("parquet", str(tmp_path / "x")))
