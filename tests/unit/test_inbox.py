"""The inbox: each line comes into `ready` once, whatever people drop, and nothing bad does."""

import bz2
import gzip
import os
import time

import pytest

from include import inbox as module
from include.inbox import take

TEXT = b"".join(b"line %d\n" % n for n in range(1000))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.05)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox", tmp_path / "ready"


def content(ready):
    """All that Spark would read, unpacked by the names as it does."""
    found = b""
    for path in sorted(ready.glob("[!._]*")):
        opened = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
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
        ("no-last-newline", TEXT[:-1]),
    ],
)  # fmt: skip
def test_a_file_of_any_name_is_taken_once_and_read_by_what_it_is(folders, name, data):
    inbox, ready = folders
    old(inbox / name, data)
    assert list(take(inbox, ready).taken) == [name]
    assert content(ready).rstrip(b"\n") == TEXT.rstrip(b"\n")
    again = take(inbox, ready)
    assert (again.taken, again.skipped, again.set_aside) == ({}, {}, {})
    assert (inbox / name).is_file(), "the inbox stays as it is"


def test_copies_under_other_names_and_packed_otherwise_are_named_and_skipped(folders):
    inbox, ready = folders
    old(inbox / "a.log", TEXT)
    old(inbox / "b.log", TEXT)
    old(inbox / "c.log.gz", gzip.compress(TEXT))
    found = take(inbox, ready)
    assert list(found.taken) == ["a.log"]
    assert found.skipped == dict.fromkeys(
        ("b.log", "c.log.gz"), "a copy of a.log, which was taken before"
    )
    assert content(ready) == TEXT


def test_of_a_file_that_has_grown_only_the_new_whole_lines_are_taken(folders):
    inbox, ready = folders
    log = inbox / "access.log"
    log.write_bytes(TEXT[:2000])
    take(inbox, ready)
    whole = TEXT[: TEXT[:2000].rfind(b"\n") + 1]
    assert content(ready) == whole, "the last line is still being written"
    for end in (2001, 5000, len(TEXT)):
        log.write_bytes(TEXT[:end])
        take(inbox, ready)
    pieces = b"".join(sorted(content(ready).splitlines(keepends=True)))
    assert pieces == b"".join(sorted(TEXT.splitlines(keepends=True)))


def test_a_log_rotated_under_its_old_name_is_another_log(folders):
    inbox, ready = folders
    old(inbox / "access.log", TEXT)
    take(inbox, ready)
    old(inbox / "access.log", TEXT.upper())
    assert list(take(inbox, ready).taken) == ["access.log"]
    assert sorted(content(ready).splitlines()) == sorted((TEXT + TEXT.upper()).splitlines())


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("cut.gz", gzip.compress(os.urandom(90_000))[:-1000], "damaged"),
        ("cut.bz2", bz2.compress(os.urandom(90_000))[:-1000], "damaged"),
        ("flipped.gz", gzip.compress(TEXT)[:-8] + b"\0" * 8, "damaged"),
        ("bomb.gz", gzip.compress(b"\0" * 300_000_000, 9), "no log does"),
        ("a.zip", b"PK\x03\x04" + b"\0" * 100, "it is zip"),
        ("a.zst", b"\x28\xb5\x2f\xfd" + b"\0" * 100, "it is zstd"),
        ("picture", b"\0\1\2\3\4\5\6", "no text"),
    ],
)
def test_what_cannot_be_read_is_set_aside_by_name_and_the_rest_goes_on(folders, name, data, says):
    inbox, ready = folders
    old(inbox / name, data)
    old(inbox / "good.log", TEXT)
    found = take(inbox, ready)
    assert list(found.taken) == ["good.log"]
    assert says in found.set_aside[name]
    assert not (inbox / name).exists()
    assert (inbox / "_set_aside" / name).read_bytes() == data
    assert says in (inbox / "_set_aside" / f"{name}.why").read_text()
    assert content(ready) == TEXT
    assert any(line.startswith(f"SET ASIDE  {name}: ") for line in found.lines())


def test_half_written_and_hidden_files_wait(folders):
    inbox, ready = folders
    for name in (".a.log", "_a.log", "a.log.part", "b.tmp"):
        old(inbox / name, TEXT)
    old(inbox / "empty.log", b"")
    found = take(inbox, ready)
    assert found.taken == {}
    assert found.skipped == {"empty.log": "it is empty"}


def test_a_take_that_was_killed_is_done_again_without_a_double(folders):
    inbox, ready = folders
    old(inbox / "a.log", TEXT)
    take(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    ledger.write_text(ledger.read_text()[:20])  # torn: the file is there, the record is not
    take(inbox, ready)
    assert content(ready) == TEXT
