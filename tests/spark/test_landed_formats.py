"""Files of every format are landed from the inbox, and the flags of the job that say how to read them."""

import gzip
import json
import os
import time

from backports import zstd

from include.inbox.ledger import read_taken_files
from include.inbox.take import take_new_files
from include.lake.paths import w3c_fields_path
from tests.builders import build_common_line, build_line
from tests.documented_lines import ALB_LINES, CADDY, NGINX


def test_files_of_any_format_are_landed_in_one_run(spark, tmp_path, job):
    inbox, ready, landing = (tmp_path / name for name in ("inbox", "ready", "landing"))
    inbox.mkdir()
    iis = (
        "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n"
        "#Fields: date time c-ip cs-method cs-uri-stem sc-status time-taken\n"
        "2015-05-17 10:05:03 192.0.2.7 GET /a 200 15\n#Date: 2015-05-17 10:06:00\n"
        "2015-05-17 10:06:00 192.0.2.7 GET /b 404 1500\n"
    )
    files = {
        "combined.log": build_line() + "\n",
        "both.log": build_common_line() + "\n" + build_line() + "\njunk\n",
        "vhosts.log": f"www.example.org:443 {build_line()}\n",
        "nginx.json": json.dumps(NGINX) + "\n",
        "caddy.log": json.dumps(CADDY) + "\n",
        "elb.log.gz": gzip.compress((ALB_LINES["https"][0] + "\n").encode()),
        "u_ex150517.log": iis,
        "u_ex150518.log.gz": gzip.compress(iis.replace("time-taken", "sc-bytes", 1).encode()),
        "u_ex150519.zst": zstd.compress(iis.replace("05-17", "05-19").encode()),
        "mine.log": "2015-05-17 10:05:03 +0000|192.0.2.7|200|GET /x HTTP/1.1\n",
        "notes.txt": "Dear diary,\n\nit rained.\nAgain.\nAnd again.\n",
    }
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (inbox / name).write_bytes(data)
        os.utime(inbox / name, (time.time() - 86400,) * 2)
    log_format = "%{%F %T %z}t|%h|%>s|%r"
    inbox_result = take_new_files(inbox, ready, log_format)
    assert inbox_result.taken.keys() == files.keys() - {"notes.txt"}
    assert inbox_result.quarantined["notes.txt"].partition("three lines:")[2].partition(";")[0] == (
        "\n  Dear diary,\n  it rained.\n  Again."
    )
    code, output = job(
        "land_access_log", "--source", f"text:{ready}", "--sink", f"parquet:{landing / 'data'}",
        "--manifest", tmp_path / "run.json", "--log-format", log_format,
        "--w3c-fields", w3c_fields_path(ready),
    )  # fmt: skip
    assert code == 0, output
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert (manifest["read"], manifest["bad"]) == (
        sum(r["lines"] for r in read_taken_files(ready)),
        1,
    )
    landed = spark.read.parquet(str(landing / "data"))
    by_format = {
        row.log_format: row["count"] for row in landed.groupBy("log_format").count().collect()
    }
    assert by_format == {
        "combined": 2, "common": 1, "vhost_combined": 1, "json": 2, "alb": 1, "w3c": 6,
        "log_format": 1, None: 1,
    }  # fmt: skip
    iis_rows = (
        landed.where("log_format = 'w3c' AND endpoint = '/b'").orderBy("seconds_taken").collect()
    )
    assert [row.seconds_taken for row in iis_rows] == [None, 1.5, 1.5]


def test_the_job_refuses_an_invalid_log_format(tmp_path, job):
    (tmp_path / "in").mkdir()
    flags = [
        "--source",
        f"text:{tmp_path / 'in'}",
        "--sink",
        f"parquet:{tmp_path / 'data'}",
        "--check",
    ]
    code, output = job("land_access_log", *flags, "--log-format", "%h %t")
    assert (code, output) == (
        2, "land_access_log: --log-format '%h %t': LogFormat: it has no status (%>s); let the server "
        "log it, too",
    )  # fmt: skip
    assert job("land_access_log", *flags, "--log-format", "", "--w3c-fields", "not/there") == (
        0,
        "",
    )
    (tmp_path / "w3c.json").write_text('{"w3c-00000000": "date time"}')
    code, output = job("land_access_log", *flags, "--w3c-fields", tmp_path / "w3c.json")
    assert code == 2
    assert "expected W3C fields by their id" in output
