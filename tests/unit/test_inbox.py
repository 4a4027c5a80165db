"""The inbox: every line reaches `ready` exactly once, and no bad file does."""

import bz2
import gzip
import json
import lzma
import os
import tempfile
import time
from pathlib import Path

import pytest
from backports import zstd

from include.inbox import take as take_module
from include.inbox.ledger import read_taken_files
from include.inbox.take import take_new_files
from include.lake.paths import w3c_fields_path
from tests.builders import build_common_line, build_line

TEXT = "".join(f"{build_common_line(request=f'GET /{n} HTTP/1.1')}\n" for n in range(1000)).encode()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(take_module, "STABLE_SECONDS", 0.05)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox", tmp_path / "ready"


def read_ready(ready):
    """Read all files as Spark does, which chooses the decompression by the file name."""
    data = b""
    for path in sorted(ready.glob("[!._]*")):
        open_file = {".gz": gzip.open, ".bz2": bz2.open, ".zst": zstd.open}.get(path.suffix, open)
        with open_file(path, "rb") as file:
            data += file.read()
    return data


def write_old_file(path, data):
    """Write a file that was last modified a day ago."""
    path.write_bytes(data)
    os.utime(path, (time.time() - 86400,) * 2)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.log", TEXT), ("a.log.gz", gzip.compress(TEXT)), ("a.log.bz2", bz2.compress(TEXT)),
        ("packed-without-a-suffix", gzip.compress(TEXT)), ("plain.gz", TEXT), ("a b (1).log", TEXT),
        ("two-members.gz", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:])),
        ("a.log.zst", zstd.compress(TEXT)), ("named.log", zstd.compress(TEXT)),
        ("two-frames.zst", zstd.compress(TEXT[:500]) + zstd.compress(TEXT[500:])),
        ("a.log.xz", lzma.compress(TEXT)), ("2026-01-01T00:00 ä\udcff\n.log", TEXT),
        ("x" * 250, TEXT), ("a.w3c-12345678", TEXT),
        ("no-last-newline", TEXT[:-1]),
    ],
)  # fmt: skip
def test_a_file_is_taken_once_and_read_by_its_content_not_its_name(folders, name, data):
    inbox, ready = folders
    write_old_file(inbox / name, data)
    assert list(take_new_files(inbox, ready).taken) == [name]
    assert read_ready(ready).rstrip(b"\n") == TEXT.rstrip(b"\n")
    second_run = take_new_files(inbox, ready)
    assert (second_run.taken, second_run.skipped, second_run.quarantined) == ({}, {}, {})
    assert (inbox / name).is_file(), "the inbox stays as it is"


def test_copies_with_another_name_or_compression_are_skipped(folders):
    inbox, ready = folders
    write_old_file(inbox / "a.log", TEXT)
    write_old_file(inbox / "b.log", TEXT)
    write_old_file(inbox / "c.log.gz", gzip.compress(TEXT))
    result = take_new_files(inbox, ready)
    assert list(result.taken) == ["a.log"]
    assert result.skipped == dict.fromkeys(
        ("b.log", "c.log.gz"), "a copy of a.log, which was taken before"
    )
    assert read_ready(ready) == TEXT


def test_only_the_new_whole_lines_of_a_grown_file_are_taken(folders):
    inbox, ready = folders
    log = inbox / "access.log"
    log.write_bytes(TEXT[:2000])
    take_new_files(inbox, ready)
    whole_lines = TEXT[: TEXT[:2000].rfind(b"\n") + 1]
    assert read_ready(ready) == whole_lines, "the last line is still being written"
    for end in (2001, 5000, len(TEXT)):
        log.write_bytes(TEXT[:end])
        take_new_files(inbox, ready)
    taken_lines = b"".join(sorted(read_ready(ready).splitlines(keepends=True)))
    assert taken_lines == b"".join(sorted(TEXT.splitlines(keepends=True)))


def test_new_content_under_an_old_name_is_a_new_log(folders):
    inbox, ready = folders
    write_old_file(inbox / "access.log", TEXT)
    take_new_files(inbox, ready)
    write_old_file(inbox / "access.log", TEXT.replace(b"GET", b"PUT"))
    assert list(take_new_files(inbox, ready).taken) == ["access.log"]
    assert sorted(read_ready(ready).splitlines()) == sorted(
        (TEXT + TEXT.replace(b"GET", b"PUT")).splitlines()
    )


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.gz", gzip.compress(os.urandom(90_000))[:-1000], "damaged"),
        ("cut.bz2", bz2.compress(os.urandom(90_000))[:-1000], "damaged"),
        ("flipped.gz", gzip.compress(TEXT)[:-8] + b"\0" * 8, "damaged"),
        ("bomb.gz", gzip.compress(b"\0" * 300_000_000, 9), "no log does"),
        ("a.zip", b"PK\x03\x04" + b"\0" * 100, "it is a zip archive"),
        ("no.zst", b"\x28\xb5\x2f\xfd" + b"\0" * 100, "damaged"),
        ("cut.zst", zstd.compress(os.urandom(90_000))[:-1000], "damaged"),
        ("cut.xz", lzma.compress(os.urandom(90_000))[:-1000], "damaged"),
        ("zstd-bomb", zstd.compress(b"\0" * 300_000_000), "no log does"),
        ("picture", b"\0\1\2\3\4\5\6", "not a text file"),
    ],
)
def test_an_unreadable_file_is_quarantined_and_the_others_are_taken(folders, name, data, reason):
    inbox, ready = folders
    write_old_file(inbox / name, data)
    write_old_file(inbox / "good.log", TEXT)
    result = take_new_files(inbox, ready)
    assert list(result.taken) == ["good.log"]
    assert reason in result.quarantined[name]
    assert not (inbox / name).exists()
    assert (inbox / "_set_aside" / name).read_bytes() == data
    assert reason in (inbox / "_set_aside" / f"{name}.why").read_text()
    assert read_ready(ready) == TEXT
    assert any(line.startswith(f"QUARANTINED {name}: ") for line in result.format_lines())


def test_partial_hidden_and_empty_files_are_not_taken(folders):
    inbox, ready = folders
    for name in (".a.log", "_a.log", "a.log.part", "b.tmp"):
        write_old_file(inbox / name, TEXT)
    write_old_file(inbox / "empty.log", b"")
    result = take_new_files(inbox, ready)
    assert result.taken == {}
    assert result.skipped == {"empty.log": "it is empty"}


def test_a_killed_run_is_repeated_without_duplicates(folders):
    inbox, ready = folders
    write_old_file(inbox / "a.log", TEXT)
    take_new_files(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    ledger.write_text(ledger.read_text()[:20])  # torn: the file exists, its record does not
    take_new_files(inbox, ready)
    assert read_ready(ready) == TEXT


IIS = b"""\
#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Date: 2015-05-17 10:05:03
#Fields: date time c-ip cs-method cs-uri-stem sc-status time-taken
2015-05-17 10:05:03 192.0.2.7 GET /a 200 15
#Software: Microsoft Internet Information Services 10.0
#Fields: date time c-ip cs-method cs-uri-stem sc-status time-taken
2015-05-17 10:06:00 192.0.2.7 GET /b 404 15
"""


def test_the_ledger_has_the_format_lines_and_times_of_each_file(folders):
    inbox, ready = folders
    texts = {
        "combined.log": f"{build_line()}\n\n{build_line(time='18/May/2015:00:00:00 +0200')}\n",
        "mixed.log": f"{build_line()}\n{build_common_line()}\njunk",
        "given.log": "2015-05-17 10:05:03 +0000 192.0.2.7 200\n",
        "nothing.log": "\n\n",
    }
    for name, text in texts.items():
        write_old_file(inbox / name, text.encode())
    write_old_file(inbox / "iis.log.zst", zstd.compress(IIS))
    take_new_files(inbox, ready, "%{%F %T %z}t %h %>s")
    first = "2015-05-17T10:05:03+00:00"
    records = {
        record["name"]: (record["format"], record["lines"], record["first"], record["last"])
        for record in read_taken_files(ready)
    }
    assert records == {
        "combined.log": ("combined", 3, first, "2015-05-17T22:00:00+00:00"),
        "mixed.log": ("mixed", 3, first, first),
        "given.log": ("log_format", 1, first, first),
        "iis.log.zst": (records["iis.log.zst"][0], 2, first, "2015-05-17T10:06:00+00:00"),
        "nothing.log": ("mixed", 2, None, None),
    }
    assert {record["ready"] for record in read_taken_files(ready)} == {
        path.name for path in ready.glob("[!.]*")
    }
    fields = "date time c-ip cs-method cs-uri-stem sc-status time-taken(ms)"
    assert json.loads(w3c_fields_path(ready).read_text()) == {records["iis.log.zst"][0]: fields}
    (name,) = (
        record["ready"] for record in read_taken_files(ready) if record["name"] == "iis.log.zst"
    )
    assert name.endswith(f"-iis.log.{records['iis.log.zst'][0]}.log.zst")


def test_a_growing_w3c_file_keeps_its_fields(folders):
    inbox, ready = folders
    end = IIS.index(b"#Software", 5)
    (inbox / "a.log").write_bytes(IIS[:end])
    take_new_files(inbox, ready)
    (inbox / "a.log").write_bytes(IIS)
    take_new_files(inbox, ready)
    assert [(record["format"][:4], record["lines"]) for record in read_taken_files(ready)] == [
        ("w3c-", 1),
        ("w3c-", 1),
    ]
    assert read_taken_files(ready)[0]["format"] == read_taken_files(ready)[1]["format"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"one\x1b[31m\n\n" + b"t" * 300 + b"\nthree\nfour\n",
         f"it is in no known access-log format; set TIDEMARK_LOG_FORMAT if an Apache LogFormat describes it "
         f"(docs/formats.md). Its first three lines:\n  one\\x1b[31m\n  {'t' * 200}\n  three"),
        (IIS.replace(b"#Fields: date", b"#Fields:", 2).replace(b"2015-05-17 10:0", b"10:0"),
         "its #Fields names no date; let the server log it, too"),
        (IIS.replace(b" sc-status time-taken\n2015-05-17 10:06", b" sc-status\n2015-05-17 10:06"),
         "its fields change to '#Fields: date time c-ip cs-method cs-uri-stem sc-status'; "
         "split the file before that line"),
    ],
    ids=["unknown", "no date", "fields change"],
)  # fmt: skip
def test_a_file_of_no_known_format_is_quarantined_with_an_explanation(folders, data, reason):
    inbox, ready = folders
    write_old_file(inbox / "what.log", data)
    write_old_file(inbox / "good.log", TEXT)
    result = take_new_files(inbox, ready)
    assert list(result.taken) == ["good.log"]
    assert result.quarantined["what.log"].startswith(reason)
    assert (inbox / "_set_aside" / "what.log.why").read_text() == f"{reason}\n"


def test_a_file_without_read_permission_is_skipped_with_a_reason():
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "inbox").mkdir()
        write_old_file(top / "inbox" / "a.log", TEXT)
        write_old_file(top / "inbox" / "b.log", TEXT)
        (top / "inbox" / "a.log").chmod(0)
        (top / "inbox" / "b.log").chmod(0o644)
        for path in (top, top / "inbox"):
            path.chmod(0o777)
        is_root = os.geteuid() == 0  # root may read everything
        if is_root:
            os.seteuid(65534)
        try:
            result = take_new_files(top / "inbox", top / "ready")
        finally:
            if is_root:
                os.seteuid(0)
        assert list(result.taken) == ["b.log"]
        assert result.skipped == {"a.log": "it cannot be read (Permission denied); give read "
                                  "permission to the user who runs Tidemark"}  # fmt: skip


def test_a_ledger_of_an_earlier_version_is_read(folders):
    inbox, ready = folders
    write_old_file(inbox / "a.log", TEXT)
    take_new_files(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    old_keys = ["name", "packed", "modified", "sha256", "size", "what"]
    ledger.write_text(json.dumps({key: read_taken_files(ready)[0][key] for key in old_keys}) + "\n")
    write_old_file(inbox / "copy.log", TEXT)
    result = take_new_files(inbox, ready)
    assert (result.taken, list(result.skipped)) == ({}, ["copy.log"])
