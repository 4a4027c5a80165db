"""Landed data in S3, moto's: the same rows and numbers as on the disk, at every step of a landing's life."""

import json
import logging
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from include.contracts import ACCESS_LOG_DDL
from include.lake.landing_files import LandingFiles
from include.lake.paths import landing_path, list_outdated_days
from include.lake.relocate import relocate_lake
from include.lake.retention import _list_landed_days
from include.settings import load_settings
from spark_jobs.landing.folder import read_landing
from spark_jobs.landing.storage import RemotePath, check_owner, locate_data, resolve_location
from tests.builders import build_line

FIRST = date(2026, 3, 1)
DAYS = [(FIRST + timedelta(n)).isoformat() for n in range(3)]
ODD = "192.0.2.8|1772323200|GET /odd HTTP/1.1|200|7"  # 2026-03-01, in a format of its own
FORMAT = r"%h|%{sec}t|%r|%>s|%b"


@pytest.fixture(scope="module")
def s3(spark, more_classes):
    """The store: a client of it, and Spark knows where it is."""
    if not more_classes:
        pytest.skip("the jars for S3 could not be brought")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "endpoint": f"http://{host}:{port}", "endpoint.region": "us-east-1",
        "path.style.access": "true", "access.key": "tests", "secret.key": "tests",
        "attempts.maximum": "1", "retry.limit": "1",
    }  # fmt: skip
    configuration = spark._jsc.hadoopConfiguration()
    for name, value in told.items():
        configuration.set(f"fs.s3a.{name}", value)
    client = boto3.client(
        "s3", endpoint_url=told["endpoint"], region_name="us-east-1",
        aws_access_key_id="tests", aws_secret_access_key="tests",
    )  # fmt: skip
    client.create_bucket(Bucket="lake")
    yield client
    server.stop()


def keys(client, prefix=""):
    """What lies in the store, without the markers of folders."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=prefix)
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [key for key in found if not key.endswith("/")]


class Lake:
    """A landing below `root`, its data in the store or beside it, and what runs on it."""

    def __init__(self, root, job, data_at=""):
        self.root, self.job, self.data_at, self.runs = root, job, data_at, 0
        self.folder, self.inbox = root / "landing", root / "inbox"
        self.data = f"parquet:{self.folder / 'data'}"
        self.inbox.mkdir(parents=True)

    def drop(self, numbers):
        for n in numbers:
            times = [
                (FIRST + timedelta(day)).strftime(f"%d/%b/%Y:{n % 24:02}:00:00 +0000")
                for day in range(3)
            ]
            lines = [build_line(time=time, request=f"GET /{n} HTTP/1.1") for time in times]
            (self.inbox / f"{n}.log").write_text("\n".join([*lines, f"junk {n}", ODD]) + "\n")

    def land(self, *flags, data_at=None, code=0):
        where = self.data_at if data_at is None else data_at
        flags += ("--data-location", where) if where else ()
        self.runs += 1
        found, said = self.job(
            "land_access_log", "--source", f"text:{self.inbox}", "--sink", self.data,
            "--max-files-per-trigger", 1, "--manifest", self.root / "run.json",
            "--run-id", f"run{self.runs}", *flags,
        )  # fmt: skip
        assert found == code, said
        return json.loads((self.root / "run.json").read_text()) if not code else said

    def ran(self, name, *flags):
        code, said = self.job(name, "--source", self.data, *flags)
        assert code == 0, said
        return said

    def rows(self, spark):
        """All that is landed, as a multiset; the files' folder differs from lake to lake."""
        landed = read_landing(spark, self.folder / "data", ACCESS_LOG_DDL).collect()
        return Counter(repr(row).replace(str(self.root), "") for row in landed)

    def days(self):
        sink = self.root / "summary"
        self.ran("summarise_access_log", "--source-kind", "files", "--sink", f"summary:{sink}",
                 "--days", ",".join(DAYS))  # fmt: skip
        told = {day: json.loads((sink / day / "summary.json").read_text()) for day in DAYS}
        assert list_outdated_days(self.folder, sink) == [], (
            "the summary knows the landing as its own"
        )
        return {
            day: {k: v for k, v in one.items() if k != "provenance"} for day, one in told.items()
        }


@pytest.fixture
def lakes(tmp_path, job, s3, request):
    """The same landing twice: in the store, and on the disk."""
    at = f"s3a://lake/{request.node.name}/access_log/files/data"
    return Lake(tmp_path / "stored", job, at), Lake(tmp_path / "local", job)


def test_a_landing_in_the_store_is_the_same_as_on_the_disk(lakes, spark, s3, request):
    stored, local = lakes
    for lake in lakes:
        lake.drop(range(12))
        assert (lake.land()["read"], lake.land()["read"]) == (60, 0)
        lake.drop(range(12, 14))
        assert lake.land(data_at="")["good"] == 6, "it knows where its data lie"
    assert str(locate_data(stored.folder)) == stored.data_at
    assert not (stored.folder / "data").exists()
    there = keys(s3, request.node.name)
    assert [key for key in there if "event_date=2026-03-01" in key]
    assert [key for key in there if key.endswith("_spark_metadata/9.compact")]
    assert not [key for key in there if "checkpoint" in key or key.endswith(".tmp")]
    assert stored.rows(spark) == local.rows(spark)
    assert LandingFiles(stored.folder).read_days() == LandingFiles(local.folder).read_days()
    assert stored.days() == local.days()


def test_a_batch_that_a_killed_driver_did_not_record_is_counted_where_it_lies(lakes, spark):
    stored, _ = lakes
    stored.drop(range(2))
    first = stored.land()
    progress = stored.folder / "progress.jsonl"
    progress.write_text(progress.read_text().splitlines()[0] + "\n")
    (counted,) = stored.land()["batches"]
    assert (counted["batch"], counted["good"], counted["counted"]) == (1, 3, "as landed")
    assert counted["days"] == first["batches"][1]["days"]


def test_bad_lines_are_read_again(lakes):
    replayed = []
    for lake in lakes:
        lake.drop(range(2))
        lake.land()
        lake.ran("replay_bad_lines", "--report", lake.root / "bad", "--log-format", FORMAT)
        replayed.append(lake.days())
    assert replayed[0] == replayed[1]
    assert replayed[0][DAYS[0]]["lines"]["good"] == 4


def test_it_is_kept_small_and_loses_days_that_go(lakes, spark, s3, request):
    stored, local = lakes
    leftover = f"{request.node.name}/access_log/files/data/event_date={DAYS[1]}/part-killed.parquet"
    before = []
    for lake in lakes:
        lake.drop(range(12))
        lake.land()
        before.append(lake.rows(spark))
    mine = f"{request.node.name}/access_log/files/merging/mine"
    for key in (leftover, mine):
        s3.put_object(Bucket="lake", Key=key, Body=b"half")
    told = []
    for lake in lakes:
        for run in ("look", "keep"):
            lake.ran(
                "maintain_landing", "--remove-days", DAYS[0], "--run-id", run,
                "--dry-run", str(run == "look").lower(), "--manifest", lake.root / "keep.json",
            )  # fmt: skip
            told.append(json.loads((lake.root / "keep.json").read_text()))
    look, keep, _, kept_local = told
    assert look["leftovers"]["files"] == keep["leftovers"]["files"] == 1
    assert {day: c["good"] for day, c in keep["removed"].items()} == {DAYS[0]: 12}
    assert keep["removed"][DAYS[0]]["good"] == kept_local["removed"][DAYS[0]]["good"]
    assert stored.rows(spark) == local.rows(spark)
    assert stored.rows(spark) == Counter(
        {
            row: n
            for row, n in before[0].items()
            if "event_date=datetime.date(2026, 3, 1)" not in row
        }
    )
    left = keys(s3, request.node.name)
    assert not [key for key in left if DAYS[0] in key or "_merging" in key or "killed" in key]
    assert keys(s3, f"{request.node.name}/access_log/files/merging") == [mine], "it is somebody's"
    assert len([key for key in left if f"event_date={DAYS[1]}" in key]) < 12
    stored.drop([12])
    assert stored.land()["good"] == 3, "it goes on"
    assert sum(stored.rows(spark).values()) == 4 * 12 + 5


def test_a_day_whose_removal_was_killed_and_lines_that_come_late_go_the_next_time(
    lakes, spark, s3, request
):
    stored, _ = lakes
    stored.drop(range(2))
    stored.land()
    removed = {"day": DAYS[0], "log": "0", "run": "killed", "at": "2026-04-01T00:00:00+00:00",
               "files": 2, "bytes": 1, "good": 2, "bad": 0}  # fmt: skip
    (stored.folder / "removed.jsonl").write_text(json.dumps(removed) + "\n")
    settings = load_settings({"TIDEMARK_HOME": str(stored.root)})
    there = landing_path(settings, "access_log", "files")
    there.parent.mkdir(parents=True)
    there.symlink_to(stored.folder)
    days = _list_landed_days(there)
    assert days == DAYS
    stored.ran("maintain_landing", "--remove-days", DAYS[0], "--run-id", "next",
               "--dry-run", "false")  # fmt: skip
    assert not [key for key in keys(s3, request.node.name) if DAYS[0] in key]
    assert sum(stored.rows(spark).values()) == 2 * 4


def test_data_that_are_gone_are_missed(lakes, s3, request):
    stored, _ = lakes
    stored.drop(range(1))
    stored.land()
    for key in keys(s3, request.node.name):
        s3.delete_object(Bucket="lake", Key=key)
    said = stored.land(code=2)
    assert "would be silently missing" in said
    assert f"and what is left at s3a://lake/{request.node.name}/access_log/files" in said


def test_a_place_belongs_to_one_landing(lakes, tmp_path, job):
    stored, _ = lakes
    stored.drop(range(1))
    other = Lake(tmp_path / "other", job, stored.data_at)
    other.drop(range(1))
    # As when its first batch was killed: nothing is landed yet, but the place is taken.
    other.folder.mkdir()
    resolve_location(other.folder, stored.data_at)
    stored.land()
    said = other.land(code=2)
    assert f"belongs to another landing, {stored.folder} on " in said
    code, said = job("maintain_landing", "--source", other.data)
    assert code == 2
    assert "belongs to another landing" in said


def test_a_copy_of_a_lake_may_not_land_where_the_original_does_and_a_moved_one_may(
    lakes, tmp_path, job
):
    stored, _ = lakes
    stored.drop(range(1))
    lake = tmp_path / "var" / "lake" / "landing" / "access_log" / "files"
    lake.parent.mkdir(parents=True)
    stored.folder, stored.data = lake, f"parquet:{lake / 'data'}"
    assert stored.land()["good"] == 3
    shutil.copytree(tmp_path / "var", tmp_path / "copy")
    there = tmp_path / "copy" / "lake" / "landing" / "access_log" / "files"
    stored.folder, stored.data = there, f"parquet:{there / 'data'}"
    stored.drop([1])
    assert f"was moved or copied from {lake}" in stored.land(code=2)
    shutil.rmtree(tmp_path / "var")
    assert relocate_lake(tmp_path / "var", load_settings({"TIDEMARK_HOME": str(tmp_path / "copy")}))
    assert stored.land()["good"] == 3


def test_where_the_data_lie_is_not_forgotten_with_the_checkpoint(lakes):
    stored, _ = lakes
    stored.drop(range(1))
    stored.land()
    shutil.rmtree(stored.folder / "checkpoint")
    assert "but its checkpoint" in stored.land(data_at="", code=2)
    assert str(locate_data(stored.folder)) == stored.data_at


def test_an_owner_who_was_killed_while_writing_its_name_is_nobody(lakes, s3, request):
    stored, _ = lakes
    stored.drop(range(1))
    key = f"{request.node.name}/access_log/files/data/_owner"
    s3.put_object(Bucket="lake", Key=key, Body=b"")
    assert stored.land()["good"] == 3
    told = json.loads(s3.get_object(Bucket="lake", Key=key)["Body"].read())
    assert told["landing"] == str(stored.folder)


def test_a_landing_that_has_not_begun_may_go_and_come_back(lakes, s3, request):
    stored, _ = lakes
    stored.folder.mkdir()
    for address in (stored.data_at, "", stored.data_at):
        resolve_location(stored.folder, address)
        check_owner(stored.folder, take_ownership=True)
    stored.drop(range(1))
    assert stored.land()["good"] == 3


def test_a_landing_that_has_begun_stays_where_it_is_and_says_so(lakes, tmp_path, job, s3, request):
    stored, _ = lakes
    elsewhere = stored.data_at.replace("/files/", "/other/")
    for lake in lakes:
        lake.drop(range(1))
        lake.land()
        lake.drop([1])
        code, said = job("land_access_log", "--source", f"text:{lake.inbox}", "--sink", lake.data,
                         "--data-location", elsewhere)  # fmt: skip
        assert code == 0, said
        assert f"the data stay at {locate_data(lake.folder)}, where this landing started" in said
        assert "read 5 lines" in said
    assert not keys(s3, f"{request.node.name}/access_log/other")


def test_an_address_that_was_wrong_can_be_corrected_before_anything_is_landed(lakes):
    stored, local = lakes
    for lake in lakes:
        lake.drop(range(1))
        said = lake.land(data_at="s3a://nowhere/files/data", code=1)
        assert "land_access_log: s3a://nowhere/files/data" in said
        assert "Traceback" not in said
    assert stored.land()["good"] == local.land()["good"] == 3
    assert str(locate_data(stored.folder)) == stored.data_at
    assert locate_data(local.folder) == local.folder / "data"


@pytest.mark.parametrize(
    "address",
    ["lake/data", "s3://lake/data", "s3a://lake", "s3a:///data", "s3a://lake/a b/data", "s3a://lake/data",
     "s3a://key:secret@lake/a/data", "s3a://lake/../a/data", "s3a://lake/{{ day }}/data"],
)  # fmt: skip
def test_an_address_that_cannot_be_is_refused(lakes, address):
    assert "expected a folder that ends in data" in lakes[1].land(data_at=address, code=2)


def test_a_file_of_the_store_is_written_over_moved_and_removed(s3):
    file = RemotePath("s3a://lake/texts/a file")
    file.replace_text("old ü")
    file.replace_text("new")
    assert file.read_text() == "new"
    assert [found.name for found in RemotePath("s3a://lake/texts").glob("*")] == ["a file"]
    file.replace(RemotePath("s3a://lake/texts/moved"))
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.unlink()
    RemotePath("s3a://lake/texts").remove_tree()
    assert list(RemotePath("s3a://lake/texts").iterdir()) == []


def test_a_landing_of_another_kind_is_in_the_store_too(lakes, spark):
    stored, _ = lakes
    stored.data = stored.data.replace("parquet:", "json:")
    stored.drop(range(2))
    assert stored.land()["good"] == 6
    assert spark.read.json(str(locate_data(stored.folder))).count() == 10


def test_the_folder_here_has_what_belongs_to_the_query(lakes):
    stored, _ = lakes
    stored.drop(range(1))
    stored.land()
    assert sorted(path.name for path in Path(stored.folder).iterdir()) == [
        "checkpoint", "data_at", "lock", "progress.jsonl", "query.json",
    ]  # fmt: skip
