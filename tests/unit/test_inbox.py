"""The inbox: each line comes into `ready` once, whatever people drop, and nothing bad does."""

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

from include import inbox as module
from include.inbox import read_taken_files, take_new_files
from include.lake.paths import w3c_fields_path
from tests.builders import build_common_line, build_line

TEXT = "".join(f"{build_common_line(request=f'GET /{n} HTTP/1.1')}\n" for n in range(1000)).encode()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STABLE_SECONDS", 0.05)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox", tmp_path / "ready"


def content(ready):
    """All that Spark would read, unpacked by the names as it does."""
    found = b""
    for path in sorted(ready.glob("[!._]*")):
        opened = {".gz": gzip.open, ".bz2": bz2.open, ".zst": zstd.open}.get(path.suffix, open)
        with opened(path, "rb") as file:
            found += file.read()
    return found


def old(path, data):
    """A file that nobody has written to for a day."""
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
def test_a_file_of_any_name_is_taken_once_and_read_by_what_it_is(folders, name, data):
    inbox, ready = folders
    old(inbox / name, data)
    assert list(take_new_files(inbox, ready).taken) == [name]
    assert content(ready).rstrip(b"\n") == TEXT.rstrip(b"\n")
    again = take_new_files(inbox, ready)
    assert (again.taken, again.skipped, again.quarantined) == ({}, {}, {})
    assert (inbox / name).is_file(), "the inbox stays as it is"


def test_copies_under_other_names_and_packed_otherwise_are_named_and_skipped(folders):
    inbox, ready = folders
    old(inbox / "a.log", TEXT)
    old(inbox / "b.log", TEXT)
    old(inbox / "c.log.gz", gzip.compress(TEXT))
    found = take_new_files(inbox, ready)
    assert list(found.taken) == ["a.log"]
    assert found.skipped == dict.fromkeys(
        ("b.log", "c.log.gz"), "a copy of a.log, which was taken before"
    )
    assert content(ready) == TEXT


def test_of_a_file_that_has_grown_only_the_new_whole_lines_are_taken(folders):
    inbox, ready = folders
    log = inbox / "access.log"
    log.write_bytes(TEXT[:2000])
    take_new_files(inbox, ready)
    whole = TEXT[: TEXT[:2000].rfind(b"\n") + 1]
    assert content(ready) == whole, "the last line is still being written"
    for end in (2001, 5000, len(TEXT)):
        log.write_bytes(TEXT[:end])
        take_new_files(inbox, ready)
    pieces = b"".join(sorted(content(ready).splitlines(keepends=True)))
    assert pieces == b"".join(sorted(TEXT.splitlines(keepends=True)))


def test_a_log_rotated_under_its_old_name_is_another_log(folders):
    inbox, ready = folders
    old(inbox / "access.log", TEXT)
    take_new_files(inbox, ready)
    old(inbox / "access.log", TEXT.replace(b"GET", b"PUT"))
    assert list(take_new_files(inbox, ready).taken) == ["access.log"]
    assert sorted(content(ready).splitlines()) == sorted(
        (TEXT + TEXT.replace(b"GET", b"PUT")).splitlines()
    )


@pytest.mark.parametrize(
    ("name", "data", "says"),
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
def test_what_cannot_be_read_is_set_aside_by_name_and_the_rest_goes_on(folders, name, data, says):
    inbox, ready = folders
    old(inbox / name, data)
    old(inbox / "good.log", TEXT)
    found = take_new_files(inbox, ready)
    assert list(found.taken) == ["good.log"]
    assert says in found.quarantined[name]
    assert not (inbox / name).exists()
    assert (inbox / "_set_aside" / name).read_bytes() == data
    assert says in (inbox / "_set_aside" / f"{name}.why").read_text()
    assert content(ready) == TEXT
    assert any(line.startswith(f"QUARANTINED {name}: ") for line in found.format_lines())


def test_half_written_and_hidden_files_wait(folders):
    inbox, ready = folders
    for name in (".a.log", "_a.log", "a.log.part", "b.tmp"):
        old(inbox / name, TEXT)
    old(inbox / "empty.log", b"")
    found = take_new_files(inbox, ready)
    assert found.taken == {}
    assert found.skipped == {"empty.log": "it is empty"}


def test_a_take_that_was_killed_is_done_again_without_a_double(folders):
    inbox, ready = folders
    old(inbox / "a.log", TEXT)
    take_new_files(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    ledger.write_text(ledger.read_text()[:20])  # torn: the file is there, the record is not
    take_new_files(inbox, ready)
    assert content(ready) == TEXT


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


def test_what_is_known_of_a_file_stands_in_the_ledger(folders):
    inbox, ready = folders
    alone = {
        "combined.log": f"{build_line()}\n\n{build_line(time='18/May/2015:00:00:00 +0200')}\n",
        "mixed.log": f"{build_line()}\n{build_common_line()}\njunk",
        "given.log": "2015-05-17 10:05:03 +0000 192.0.2.7 200\n",
        "nothing.log": "\n\n",
    }
    for name, text in alone.items():
        old(inbox / name, text.encode())
    old(inbox / "iis.log.zst", zstd.compress(IIS))
    take_new_files(inbox, ready, "%{%F %T %z}t %h %>s")
    first = "2015-05-17T10:05:03+00:00"
    known = {
        r["name"]: (r["format"], r["lines"], r["first"], r["last"]) for r in read_taken_files(ready)
    }
    assert known == {
        "combined.log": ("combined", 3, first, "2015-05-17T22:00:00+00:00"),
        "mixed.log": ("mixed", 3, first, first),
        "given.log": ("log-format", 1, first, first),
        "iis.log.zst": (known["iis.log.zst"][0], 2, first, "2015-05-17T10:06:00+00:00"),
        "nothing.log": ("mixed", 2, None, None),
    }
    assert {r["ready"] for r in read_taken_files(ready)} == {p.name for p in ready.glob("[!.]*")}
    fields = "date time c-ip cs-method cs-uri-stem sc-status time-taken(ms)"
    assert json.loads(w3c_fields_path(ready).read_text()) == {known["iis.log.zst"][0]: fields}
    (name,) = (r["ready"] for r in read_taken_files(ready) if r["name"] == "iis.log.zst")
    assert name.endswith(f"-iis.log.{known['iis.log.zst'][0]}.log.zst")


def test_a_w3c_file_that_grows_keeps_its_fields(folders):
    inbox, ready = folders
    cut = IIS.index(b"#Software", 5)
    (inbox / "a.log").write_bytes(IIS[:cut])
    take_new_files(inbox, ready)
    (inbox / "a.log").write_bytes(IIS)
    take_new_files(inbox, ready)
    assert [(r["format"][:4], r["lines"]) for r in read_taken_files(ready)] == [
        ("w3c-", 1),
        ("w3c-", 1),
    ]
    assert read_taken_files(ready)[0]["format"] == read_taken_files(ready)[1]["format"]


@pytest.mark.parametrize(
    ("data", "says"),
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
def test_what_nobody_could_read_is_set_aside_with_its_first_lines(folders, data, says):
    inbox, ready = folders
    old(inbox / "what.log", data)
    old(inbox / "good.log", TEXT)
    found = take_new_files(inbox, ready)
    assert list(found.taken) == ["good.log"]
    assert found.quarantined["what.log"].startswith(says)
    assert (inbox / "_set_aside" / "what.log.why").read_text() == f"{says}\n"


def test_a_file_without_the_right_to_read_it_waits_with_a_reason():
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "inbox").mkdir()
        old(top / "inbox" / "a.log", TEXT)
        old(top / "inbox" / "b.log", TEXT)
        (top / "inbox" / "a.log").chmod(0)
        (top / "inbox" / "b.log").chmod(0o644)
        for path in (top, top / "inbox"):
            path.chmod(0o777)
        is_root = os.geteuid() == 0  # who may read everything
        if is_root:
            os.seteuid(65534)
        try:
            found = take_new_files(top / "inbox", top / "ready")
        finally:
            if is_root:
                os.seteuid(0)
        assert list(found.taken) == ["b.log"]
        assert found.skipped == {"a.log": "it cannot be read (Permission denied); give read "
                                 "permission to the user who runs Tidemark"}  # fmt: skip


def test_a_ledger_from_before_is_understood(folders):
    inbox, ready = folders
    old(inbox / "a.log", TEXT)
    take_new_files(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    kept = ["name", "packed", "modified", "sha256", "size", "what"]
    ledger.write_text(json.dumps({key: read_taken_files(ready)[0][key] for key in kept}) + "\n")
    old(inbox / "copy.log", TEXT)
    found = take_new_files(inbox, ready)
    assert (found.taken, list(found.skipped)) == ({}, ["copy.log"])
