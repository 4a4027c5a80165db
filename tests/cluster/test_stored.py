"""Landed data in S3 (moto): the same rows and numbers as on a local disk, in every stage of a landing."""

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
ODD = "192.0.2.8|1772323200|GET /odd HTTP/1.1|200|7"  # 2026-03-01, in a custom format
FORMAT = r"%h|%{sec}t|%r|%>s|%b"


@pytest.fixture(scope="module")
def s3(spark, extra_class_path):
    """A client of an S3 server; the Spark session is configured to use this server."""
    if not extra_class_path:
        pytest.skip("the jars for S3 could not be brought")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise one line per request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "endpoint": f"http://{host}:{port}", "endpoint.region": "us-east-1",
        "path.style.access": "true", "access.key": "tests", "secret.key": "tests",
        "attempts.maximum": "1", "retry.limit": "1",
    }  # fmt: skip
    configuration = spark._jsc.hadoopConfiguration()
    for name, value in options.items():
        configuration.set(f"fs.s3a.{name}", value)
    client = boto3.client(
        "s3", endpoint_url=options["endpoint"], region_name="us-east-1",
        aws_access_key_id="tests", aws_secret_access_key="tests",
    )  # fmt: skip
    client.create_bucket(Bucket="lake")
    yield client
    server.stop()


def list_keys(client, prefix=""):
    """List the keys in the bucket, without folder markers."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=prefix)
    names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [key for key in names if not key.endswith("/")]


class Lake:
    """A landing below `root` with its data in S3 or in the same folder, and the jobs that run on it."""

    def __init__(self, root, job, data_location=""):
        self.root, self.job, self.data_location, self.run_count = root, job, data_location, 0
        self.folder, self.inbox = root / "landing", root / "inbox"
        self.data = f"parquet:{self.folder / 'data'}"
        self.inbox.mkdir(parents=True)

    def write_logs(self, numbers):
        for n in numbers:
            times = [
                (FIRST + timedelta(day)).strftime(f"%d/%b/%Y:{n % 24:02}:00:00 +0000")
                for day in range(3)
            ]
            lines = [build_line(time=time, request=f"GET /{n} HTTP/1.1") for time in times]
            (self.inbox / f"{n}.log").write_text("\n".join([*lines, f"junk {n}", ODD]) + "\n")

    def land(self, *flags, data_location=None, code=0):
        location = self.data_location if data_location is None else data_location
        flags += ("--data-location", location) if location else ()
        self.run_count += 1
        exit_code, output = self.job(
            "land_access_log", "--source", f"text:{self.inbox}", "--sink", self.data,
            "--max-files-per-trigger", 1, "--manifest", self.root / "run.json",
            "--run-id", f"run{self.run_count}", *flags,
        )  # fmt: skip
        assert exit_code == code, output
        return json.loads((self.root / "run.json").read_text()) if not code else output

    def run(self, name, *flags):
        code, output = self.job(name, "--source", self.data, *flags)
        assert code == 0, output
        return output

    def read_rows(self, spark):
        """Read all landed rows as a multiset, without the folder name, which differs between lakes."""
        rows = read_landing(spark, self.folder / "data", ACCESS_LOG_DDL).collect()
        return Counter(repr(row).replace(str(self.root), "") for row in rows)

    def summarise_days(self):
        sink = self.root / "summary"
        self.run("summarise_access_log", "--source-kind", "files", "--sink", f"summary:{sink}",
                 "--days", ",".join(DAYS))  # fmt: skip
        summaries = {day: json.loads((sink / day / "summary.json").read_text()) for day in DAYS}
        assert list_outdated_days(self.folder, sink) == [], (
            "the summary knows the landing as its own"
        )
        return {
            day: {k: v for k, v in summary.items() if k != "provenance"}
            for day, summary in summaries.items()
        }


@pytest.fixture
def lakes(tmp_path, job, s3, request):
    """The same landing twice: one in S3 and one on the local disk."""
    location = f"s3a://lake/{request.node.name}/access_log/files/data"
    return Lake(tmp_path / "stored", job, location), Lake(tmp_path / "local", job)


def test_a_landing_in_s3_is_the_same_as_on_a_local_disk(lakes, spark, s3, request):
    stored, local = lakes
    for lake in lakes:
        lake.write_logs(range(12))
        assert (lake.land()["read"], lake.land()["read"]) == (60, 0)
        lake.write_logs(range(12, 14))
        assert lake.land(data_location="")["good"] == 6, "it knows where its data lie"
    assert str(locate_data(stored.folder)) == stored.data_location
    assert not (stored.folder / "data").exists()
    stored_keys = list_keys(s3, request.node.name)
    assert [key for key in stored_keys if "event_date=2026-03-01" in key]
    assert [key for key in stored_keys if key.endswith("_spark_metadata/9.compact")]
    assert not [key for key in stored_keys if "checkpoint" in key or key.endswith(".tmp")]
    assert stored.read_rows(spark) == local.read_rows(spark)
    assert LandingFiles(stored.folder).read_days() == LandingFiles(local.folder).read_days()
    assert stored.summarise_days() == local.summarise_days()


def test_a_batch_that_a_killed_driver_did_not_record_is_counted_in_s3(lakes, spark):
    stored, _ = lakes
    stored.write_logs(range(2))
    first = stored.land()
    progress = stored.folder / "progress.jsonl"
    progress.write_text(progress.read_text().splitlines()[0] + "\n")
    (counted,) = stored.land()["batches"]
    assert (counted["batch"], counted["good"], counted["counted"]) == (1, 3, "as landed")
    assert counted["days"] == first["batches"][1]["days"]


def test_bad_lines_can_be_reparsed(lakes):
    summaries = []
    for lake in lakes:
        lake.write_logs(range(2))
        lake.land()
        lake.run("replay_bad_lines", "--report", lake.root / "bad", "--log-format", FORMAT)
        summaries.append(lake.summarise_days())
    assert summaries[0] == summaries[1]
    assert summaries[0][DAYS[0]]["lines"]["good"] == 4


def test_maintenance_compacts_files_and_removes_old_days(lakes, spark, s3, request):
    stored, local = lakes
    leftover = f"{request.node.name}/access_log/files/data/event_date={DAYS[1]}/part-killed.parquet"
    before = []
    for lake in lakes:
        lake.write_logs(range(12))
        lake.land()
        before.append(lake.read_rows(spark))
    foreign_key = f"{request.node.name}/access_log/files/merging/mine"
    for key in (leftover, foreign_key):
        s3.put_object(Bucket="lake", Key=key, Body=b"half")
    manifests = []
    for lake in lakes:
        for run in ("look", "keep"):
            lake.run(
                "maintain_landing", "--remove-days", DAYS[0], "--run-id", run,
                "--dry-run", str(run == "look").lower(), "--manifest", lake.root / "keep.json",
            )  # fmt: skip
            manifests.append(json.loads((lake.root / "keep.json").read_text()))
    dry_run, real_run, _, local_run = manifests
    assert dry_run["leftovers"]["files"] == real_run["leftovers"]["files"] == 1
    assert {day: c["good"] for day, c in real_run["removed"].items()} == {DAYS[0]: 12}
    assert real_run["removed"][DAYS[0]]["good"] == local_run["removed"][DAYS[0]]["good"]
    assert stored.read_rows(spark) == local.read_rows(spark)
    assert stored.read_rows(spark) == Counter(
        {
            row: n
            for row, n in before[0].items()
            if "event_date=datetime.date(2026, 3, 1)" not in row
        }
    )
    remaining_keys = list_keys(s3, request.node.name)
    assert not [
        key for key in remaining_keys if DAYS[0] in key or "_merging" in key or "killed" in key
    ]
    assert list_keys(s3, f"{request.node.name}/access_log/files/merging") == [foreign_key], (
        "it is somebody's"
    )
    assert len([key for key in remaining_keys if f"event_date={DAYS[1]}" in key]) < 12
    stored.write_logs([12])
    assert stored.land()["good"] == 3, "it goes on"
    assert sum(stored.read_rows(spark).values()) == 4 * 12 + 5


def test_an_interrupted_removal_of_a_day_is_completed_by_the_next_run(lakes, spark, s3, request):
    stored, _ = lakes
    stored.write_logs(range(2))
    stored.land()
    removed = {"day": DAYS[0], "log": "0", "run": "killed", "at": "2026-04-01T00:00:00+00:00",
               "files": 2, "bytes": 1, "good": 2, "bad": 0}  # fmt: skip
    (stored.folder / "removed.jsonl").write_text(json.dumps(removed) + "\n")
    settings = load_settings({"TIDEMARK_HOME": str(stored.root)})
    link = landing_path(settings, "access_log", "files")
    link.parent.mkdir(parents=True)
    link.symlink_to(stored.folder)
    days = _list_landed_days(link)
    assert days == DAYS
    stored.run("maintain_landing", "--remove-days", DAYS[0], "--run-id", "next",
               "--dry-run", "false")  # fmt: skip
    assert not [key for key in list_keys(s3, request.node.name) if DAYS[0] in key]
    assert sum(stored.read_rows(spark).values()) == 2 * 4


def test_landing_fails_after_its_data_were_deleted(lakes, s3, request):
    stored, _ = lakes
    stored.write_logs(range(1))
    stored.land()
    for key in list_keys(s3, request.node.name):
        s3.delete_object(Bucket="lake", Key=key)
    output = stored.land(code=2)
    assert "would be silently missing" in output
    assert f"and what is left at s3a://lake/{request.node.name}/access_log/files" in output


def test_a_data_location_belongs_to_one_landing(lakes, tmp_path, job):
    stored, _ = lakes
    stored.write_logs(range(1))
    other = Lake(tmp_path / "other", job, stored.data_location)
    other.write_logs(range(1))
    # As if the first batch was killed: nothing is landed yet, but the location has an owner.
    other.folder.mkdir()
    resolve_location(other.folder, stored.data_location)
    stored.land()
    output = other.land(code=2)
    assert f"belongs to another landing, {stored.folder} on " in output
    code, output = job("maintain_landing", "--source", other.data)
    assert code == 2
    assert "belongs to another landing" in output


def test_a_copied_lake_may_not_land_in_the_same_location_but_a_moved_one_may(lakes, tmp_path, job):
    stored, _ = lakes
    stored.write_logs(range(1))
    original = tmp_path / "var" / "lake" / "landing" / "access_log" / "files"
    original.parent.mkdir(parents=True)
    stored.folder, stored.data = original, f"parquet:{original / 'data'}"
    assert stored.land()["good"] == 3
    shutil.copytree(tmp_path / "var", tmp_path / "copy")
    copy = tmp_path / "copy" / "lake" / "landing" / "access_log" / "files"
    stored.folder, stored.data = copy, f"parquet:{copy / 'data'}"
    stored.write_logs([1])
    assert f"was moved or copied from {original}" in stored.land(code=2)
    shutil.rmtree(tmp_path / "var")
    assert relocate_lake(tmp_path / "var", load_settings({"TIDEMARK_HOME": str(tmp_path / "copy")}))
    assert stored.land()["good"] == 3


def test_the_data_location_survives_a_lost_checkpoint(lakes):
    stored, _ = lakes
    stored.write_logs(range(1))
    stored.land()
    shutil.rmtree(stored.folder / "checkpoint")
    assert "but its checkpoint" in stored.land(data_location="", code=2)
    assert str(locate_data(stored.folder)) == stored.data_location


def test_an_empty_owner_file_is_replaced(lakes, s3, request):
    stored, _ = lakes
    stored.write_logs(range(1))
    key = f"{request.node.name}/access_log/files/data/_owner"
    s3.put_object(Bucket="lake", Key=key, Body=b"")
    assert stored.land()["good"] == 3
    owner = json.loads(s3.get_object(Bucket="lake", Key=key)["Body"].read())
    assert owner["landing"] == str(stored.folder)


def test_the_data_location_can_change_until_the_first_landing(lakes, s3, request):
    stored, _ = lakes
    stored.folder.mkdir()
    for location in (stored.data_location, "", stored.data_location):
        resolve_location(stored.folder, location)
        check_owner(stored.folder, take_ownership=True)
    stored.write_logs(range(1))
    assert stored.land()["good"] == 3


def test_a_started_landing_keeps_its_data_location_and_prints_it(lakes, tmp_path, job, s3, request):
    stored, _ = lakes
    elsewhere = stored.data_location.replace("/files/", "/other/")
    for lake in lakes:
        lake.write_logs(range(1))
        lake.land()
        lake.write_logs([1])
        code, output = job("land_access_log", "--source", f"text:{lake.inbox}", "--sink", lake.data,
                           "--data-location", elsewhere)  # fmt: skip
        assert code == 0, output
        assert f"the data stay at {locate_data(lake.folder)}, where this landing started" in output
        assert "read 5 lines" in output
    assert not list_keys(s3, f"{request.node.name}/access_log/other")


def test_a_wrong_data_location_can_be_corrected_before_the_first_landing(lakes):
    stored, local = lakes
    for lake in lakes:
        lake.write_logs(range(1))
        output = lake.land(data_location="s3a://nowhere/files/data", code=1)
        assert "land_access_log: s3a://nowhere/files/data" in output
        assert "Traceback" not in output
    assert stored.land()["good"] == local.land()["good"] == 3
    assert str(locate_data(stored.folder)) == stored.data_location
    assert locate_data(local.folder) == local.folder / "data"


@pytest.mark.parametrize(
    "location",
    ["lake/data", "s3://lake/data", "s3a://lake", "s3a:///data", "s3a://lake/a b/data", "s3a://lake/data",
     "s3a://key:secret@lake/a/data", "s3a://lake/../a/data", "s3a://lake/{{ day }}/data"],
)  # fmt: skip
def test_an_invalid_data_location_is_refused(lakes, location):
    assert "expected a folder that ends in data" in lakes[1].land(data_location=location, code=2)


def test_a_remote_file_can_be_replaced_moved_and_removed(s3):
    file = RemotePath("s3a://lake/texts/a file")
    file.replace_text("old ü")
    file.replace_text("new")
    assert file.read_text() == "new"
    assert [entry.name for entry in RemotePath("s3a://lake/texts").glob("*")] == ["a file"]
    file.replace(RemotePath("s3a://lake/texts/moved"))
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.unlink()
    RemotePath("s3a://lake/texts").remove_tree()
    assert list(RemotePath("s3a://lake/texts").iterdir()) == []


def test_a_json_landing_can_be_in_s3(lakes, spark):
    stored, _ = lakes
    stored.data = stored.data.replace("parquet:", "json:")
    stored.write_logs(range(2))
    assert stored.land()["good"] == 6
    assert spark.read.json(str(locate_data(stored.folder))).count() == 10


def test_the_local_folder_has_only_the_state_of_the_query(lakes):
    stored, _ = lakes
    stored.write_logs(range(1))
    stored.land()
    assert sorted(path.name for path in Path(stored.folder).iterdir()) == [
        "checkpoint", "data_at", "lock", "progress.jsonl", "query.json",
    ]  # fmt: skip
