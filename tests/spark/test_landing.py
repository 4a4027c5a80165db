"""Landing from a folder: each line lands once, one writer at a time, data and checkpoint match."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from include.contracts import ACCESS_LOG_DDL, CLICKSTREAM_DDL
from include.errors import InvalidInput, RetryLater
from include.flag_values import Endpoint
from include.lake.files import append_record
from include.lake.landing_files import LandingFiles
from producers.clickstream.events import encode_batches, encode_rows, generate_events
from spark_jobs.landing.folder import Landing, build_manifest, read_landing
from spark_jobs.streaming.streams import FORMAT_OPTIONS
from tests.builders import build_line
from tests.conftest import matrix_cases

JOB = "land_access_log"


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def land(job, tmp_path, inbox):
    """Run the job on the inbox; return the run's manifest. Raises InvalidInput if the job fails."""

    def run_job(run="run", *flags, source="text", sink="parquet", name=JOB):
        manifest = tmp_path / f"{run}.json"
        code, output = job(name, "--source", f"{source}:{inbox}", "--sink",
                           f"{sink}:{tmp_path / 'landing' / 'data'}", "--run-id", run,
                           "--manifest", manifest, *flags)  # fmt: skip
        if code:
            raise InvalidInput(output)
        return json.loads(manifest.read_text())

    return run_job


@pytest.fixture
def landed_rows(spark, tmp_path):
    def read(kind="parquet", ddl=ACCESS_LOG_DDL):
        reader = spark.read.format(kind).options(**FORMAT_OPTIONS[kind]).schema(ddl)
        return reader.load(str(tmp_path / "landing" / "data"))

    return read


def write_file(inbox, name, *lines):
    hidden_file = inbox / f".{name}"
    hidden_file.write_text("".join(f"{line}\n" for line in lines))
    hidden_file.rename(inbox / name)


def test_good_and_bad_lines_land_together_and_are_counted(spark, tmp_path, inbox, land):
    write_file(inbox, "a.log", build_line(), "junk", build_line(time="18/May/2015:00:00:00 +0000"))
    manifest = land()
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (3, 2, 1)
    assert manifest["days"] == ["2015-05-17", "2015-05-18"]
    rows = spark.read.parquet(str(tmp_path / "landing" / "data")).collect()
    assert sorted((str(row.event_date), row.bad_reason) for row in rows) == [
        ("2015-05-17", None), ("2015-05-18", None), ("None", "no_match"),
    ]  # fmt: skip


@pytest.mark.parametrize("trigger", ["available-now", *matrix_cases("every 1 second", "once")])
def test_landing_twice_lands_each_line_once(spark, tmp_path, inbox, land, trigger):
    flags = ["--trigger", trigger, "--run-seconds", 4]
    write_file(inbox, "a.log", build_line(), build_line())
    assert land("first", *flags)["read"] == 2
    write_file(inbox, "b.log", build_line())
    assert land("second", *flags)["read"] == 1
    assert land("third", *flags)["read"] == 0
    assert spark.read.parquet(str(tmp_path / "landing" / "data")).count() == 3


ODD_LINES = [
    build_line(), build_line(user_agent='a, b; \\"c\\"'), build_line(request="GET /a,b?c=%22 HTTP/1.1"),
    build_line(referrer="-", status="404", size="-"), "junk, with \"quotes\" and \\ and 'more'", "  spaces  ",
    build_line(time="18/May/2015:00:00:00 +0000", request="GET /\tü HTTP/1.1"), "", "\r",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", *matrix_cases("csv", "orc", "json")])
def test_odd_lines_survive_landing_from_and_to_every_format(
    spark, tmp_path, inbox, land, landed_rows, kind
):
    from spark_jobs.transforms.access_log import select_landed_lines, select_lines

    rows = spark.createDataFrame([(line,) for line in ODD_LINES], "value STRING").coalesce(1)
    rows.write.mode("append").format(kind).options(**FORMAT_OPTIONS[kind]).save(str(inbox))
    manifest = land("run", source=kind, sink=kind)
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (len(ODD_LINES), 5, 4)
    assert land("again", source=kind, sink=kind)["read"] == 0
    (tmp_path / "a.log").write_text("".join(f"{line}\n" for line in ODD_LINES))
    text = spark.read.options(**FORMAT_OPTIONS["text"]).text(str(tmp_path / "a.log"))
    expected = select_landed_lines(select_lines(text, "text"), "UTC").drop("file")
    if kind == "csv":  # CSV cannot tell an empty text from a null
        expected = expected.replace("", None, ["raw"])
    rows = landed_rows(kind).select(*expected.columns).collect()
    assert sorted(map(repr, rows)) == sorted(map(repr, expected.collect()))
    assert all(str(inbox) in row.file for row in landed_rows(kind).collect())


BAD_EVENTS = [b"no json", b'{"Clicks": 1}', b'{"Clicks": 1, "Impressions": "two", "ts": 3}',
              b'{"Clicks": 1, "Impressions": 2, "ts": 3}{"Clicks": 1, "Impressions": 2, "ts": 3}',
              b'{"Clicks": -1, "Impressions": 2, "ts": 3}',
              b'{"Clicks": 1, "Impressions": 2, "ts": 9999999999}']  # fmt: skip


@pytest.mark.parametrize("sink", ["parquet", "csv", *matrix_cases("orc", "json")])
def test_the_clickstream_lands_in_every_sink_format_with_its_bad_messages(
    inbox, land, landed_rows, sink
):
    messages = [*encode_rows(generate_events(50, 1)), *BAD_EVENTS]
    write_file(inbox, "a.json", *[message.decode() for message in messages])
    manifest = land("run", name="land_clickstream", sink=sink)
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (56, 50, 6)
    rows = landed_rows(sink, CLICKSTREAM_DDL).selectExpr("*", "unix_timestamp(ts) AS at").collect()
    bad = {row.raw: row.bad_reason for row in rows if row.bad_reason}
    assert bad == {message.decode(): "no_event" for message in BAD_EVENTS[:-1]} | {
        BAD_EVENTS[-1].decode(): "far_future"
    }
    good = [(row.Clicks, row.Impressions, row.at) for row in rows if not row.bad_reason]
    assert sorted(good) == sorted(tuple(e.values()) for e in generate_events(50, 1))
    assert {str(row.event_date) for row in rows} == {"2024-05-08", "None"}


@pytest.mark.parametrize("source", ["csv", "parquet", *matrix_cases("json", "orc")])
def test_the_clickstream_is_landed_from_every_source_format(
    spark, inbox, land, landed_rows, source
):
    columns = "Clicks INT, Impressions INT, seconds LONG"
    rows = spark.createDataFrame(
        [tuple(e.values()) for e in generate_events(50, 1)], columns
    ).selectExpr(
        "Clicks",
        "Impressions",
        "seconds AS ts" if source == "csv" else "timestamp_seconds(seconds) AS ts",
    )
    rows.coalesce(1).write.mode("append").format(source).options(**FORMAT_OPTIONS[source]).save(
        str(inbox))  # fmt: skip
    manifest = land("run", name="land_clickstream", source=source)
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (50, 50, 0)
    events = landed_rows("parquet", CLICKSTREAM_DDL)
    events = events.selectExpr("Clicks", "Impressions", "unix_timestamp(ts)").collect()
    assert sorted(map(tuple, events)) == sorted(tuple(e.values()) for e in generate_events(50, 1))


def test_an_array_of_events_lands_as_one_row_per_event(inbox, land):
    bad = [b"no json", b"[]", b'[{"Clicks": "x", "ts": 1}]']
    messages = [message.decode() for message in [*encode_batches(generate_events(50, 1), 20), *bad]]
    write_file(inbox, "a.json", *messages)
    manifest = land("run", "--shape", "batches", name="land_clickstream")
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (52, 50, 2)


def test_files_without_the_value_column_are_refused_with_their_columns(spark, inbox, land):
    with pytest.raises(InvalidInput, match="holds no file yet"):
        land(source="csv")
    spark.range(3).write.mode("append").csv(str(inbox), header=True)
    with pytest.raises(InvalidInput, match="its files have the columns id; expected value STRING"):
        land(source="csv")


def test_the_archive_flag_moves_landed_source_files(tmp_path, inbox, land):
    flags = ["--max-files-per-trigger", 1, "--archive", tmp_path / "done"]
    for n in range(3):
        write_file(inbox, f"{n}.log", build_line())
    assert land("run", *flags)["read"] == 3
    write_file(inbox, "9.log", build_line())
    assert land("next", *flags)["read"] == 1
    archived = {path.name for path in (tmp_path / "done").rglob("*.log")}
    remaining = {path.name for path in inbox.glob("*.log")}
    assert archived | remaining == {"0.log", "1.log", "2.log", "9.log"}
    assert not archived & remaining
    assert len(archived) >= 2


def test_a_file_with_an_old_modification_time_is_landed(inbox, land):
    import os

    write_file(inbox, "new.log", build_line())
    assert land("first")["read"] == 1
    write_file(inbox, "old.log", build_line(), build_line())
    os.utime(inbox / "old.log", (1_000_000_000, 1_000_000_000))
    assert land("second")["read"] == 2


def test_inbox_files_are_landed_once_and_then_removed(tmp_path, inbox, job):
    from include.inbox.take import remove_landed_files, take_new_files

    ready, landing = tmp_path / "ready", tmp_path / "landing"

    def take_and_land(run):
        remove_landed_files(ready, LandingFiles(landing))
        take_new_files(inbox, ready)
        ready_count = len(list(ready.glob("[!.]*")))
        code, output = job(JOB, "--source", f"text:{ready}", "--sink", f"parquet:{landing / 'data'}",
                           "--run-id", run, "--manifest", tmp_path / f"{run}.json")  # fmt: skip
        assert code == 0, output
        return ready_count, json.loads((tmp_path / f"{run}.json").read_text())["read"]

    write_file(inbox, "a b%20c.log", build_line(), build_line())
    assert take_and_land("first") == (1, 2)
    write_file(inbox, "copy.log", build_line(), build_line())
    write_file(inbox, "new.log", build_line(status="404"))
    assert take_and_land("second") == (1, 1), "the first is cleared, the copy skipped"
    assert take_and_land("third") == (0, 0)


@pytest.mark.parametrize("latest_first", [False, *matrix_cases(True)])
def test_files_are_read_in_order_of_their_modification_time(inbox, land, landed_rows, latest_first):
    import os

    for n, host in enumerate(["192.0.2.3", "192.0.2.1", "192.0.2.2"]):
        write_file(inbox, f"{9 - n}.log", build_line(host=host))
        os.utime(inbox / f"{9 - n}.log", (1_700_000_000 + n, 1_700_000_000 + n))
    flags = ["--max-files-per-trigger", 1, *(["--latest-first"] if latest_first else [])]
    manifest = land("run", *flags)
    assert [batch["read"] for batch in manifest["batches"]] == [1, 1, 1]
    files = {row.file.rpartition("/")[2]: row.host for row in landed_rows().collect()}
    order = []
    logs = (inbox.parent / "landing" / "checkpoint" / "sources" / "0").glob("[0-9]*")
    for log in sorted(logs, key=lambda path: int(path.name)):
        for line in log.read_text().splitlines()[1:]:
            order.append(files[json.loads(line)["path"].rpartition("/")[2]])
    expected = ["192.0.2.3", "192.0.2.1", "192.0.2.2"]
    assert order == (expected[::-1] if latest_first else expected)


def test_a_batch_that_a_killed_run_did_not_record_is_counted_by_the_next_run(
    spark, tmp_path, inbox, land
):
    write_file(inbox, "a file.log", build_line(), "junk")
    land("killed")
    progress = tmp_path / "landing" / "progress.jsonl"
    content = progress.read_text()
    progress.write_text(content[: len(content) // 2])  # a kill leaves half a record
    write_file(inbox, "b.log", build_line())
    manifest = land("next")
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (3, 2, 1)
    batches = [json.loads(line) for line in progress.read_text().splitlines()[1:]]
    assert {b["batch"]: (b["read"], b["run"]) for b in batches} == {0: (2, "next"), 1: (1, "next")}


def test_a_batch_that_ran_twice_is_counted_once(spark, tmp_path, inbox, land):
    write_file(inbox, "a.log", build_line(), "junk")
    land("killed")
    # As after a kill between the sink's commit and the checkpoint's: landed, but not recorded.
    for commit in (tmp_path / "landing" / "checkpoint" / "commits").glob("*0*"):
        commit.unlink()
    (tmp_path / "landing" / "progress.jsonl").unlink()
    manifest = land("again")
    assert (manifest["read"], manifest["good"], manifest["bad"]) == (2, 1, 1)
    assert spark.read.parquet(str(tmp_path / "landing" / "data")).count() == 2


def test_landed_data_without_its_checkpoint_is_refused(tmp_path, inbox, land):
    write_file(inbox, "a.log", build_line())
    land()
    shutil.rmtree(tmp_path / "landing" / "checkpoint")
    with pytest.raises(InvalidInput, match="its checkpoint .* is gone"):
        land()


def test_a_checkpoint_without_its_data_is_refused(tmp_path, inbox, land):
    write_file(inbox, "a.log", build_line())
    land()
    shutil.rmtree(tmp_path / "landing" / "data")
    with pytest.raises(InvalidInput, match="holds no landed data"):
        land()


def test_a_checkpoint_of_another_query_is_refused(tmp_path, inbox, land):
    write_file(inbox, "a.log", build_line())
    land()
    with pytest.raises(InvalidInput, match="another query, with the job 'land_access_log', not"):
        land(name="land_clickstream")
    with pytest.raises(InvalidInput, match="another query, with the format 'parquet', not 'orc'"):
        land(sink="orc")


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path, inbox, monkeypatch):
    monkeypatch.setattr("spark_jobs.streaming.locks.WAIT_FOR_LOCK_SECONDS", 0.3)
    source = Endpoint("text", str(inbox))
    landing = Landing(Endpoint("parquet", str(tmp_path / "l" / "data")), ACCESS_LOG_DDL)
    with (
        landing.query_lock(JOB, source, "night"),
        pytest.raises(RetryLater, match=f"being written by {JOB}, run night, process"),
        landing.query_lock(JOB, source, "other"),
    ):
        pass
    with landing.query_lock(JOB, source, "other"):
        pass


def test_counts_that_do_not_add_up_are_an_error(tmp_path):
    landing = Landing(Endpoint("parquet", str(tmp_path / "data")), ACCESS_LOG_DDL)
    record = {"batch": 0, "run": "r", "read": 3, "good": 1, "bad": 1, "days": []}
    append_record(landing.files.progress, record)
    with pytest.raises(InvalidInput, match="3 lines were read, but 1 good and 1 bad"):
        build_manifest(landing, "r", {})


def test_a_sink_folder_must_be_named_data(tmp_path):
    with pytest.raises(InvalidInput, match="/data"):
        Landing(Endpoint("parquet", str(tmp_path / "x")), ACCESS_LOG_DDL)


def test_data_landed_by_an_older_version_is_read_with_the_newer_columns(spark, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_text("a\n")
    old = spark.readStream.text(str(tmp_path / "in")).selectExpr(
        "value AS host", "DATE '2026-01-15' AS event_date"
    )
    query = (
        old.writeStream.partitionBy("event_date").trigger(availableNow=True)
        .option("checkpointLocation", str(tmp_path / "checkpoint")).start(str(tmp_path / "data"))
    )  # fmt: skip
    assert query.awaitTermination(60)
    (row,) = read_landing(spark, tmp_path / "data", ACCESS_LOG_DDL).collect()
    assert (row.host, str(row.event_date), row.tls_version) == ("a", "2026-01-15", None)


def test_undated_and_future_lines_are_counted_separately(inbox, land):
    future_time = (datetime.now(UTC) + timedelta(days=3)).strftime("%d/%b/%Y:%H:%M:%S +0000")
    write_file(
        inbox,
        "a.log",
        build_line(),
        build_line(),
        "junk",
        "more junk",
        f"junk [{future_time}]",
        "junk [17/May/2015:10:05:03 +0000]",
        build_line(time=future_time),
    )
    manifest = land()
    counts = ("read", "good", "bad", "undated", "future")
    assert [manifest[name] for name in counts] == [7, 2, 5, 4, 1]
