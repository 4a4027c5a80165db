"""The inbox is written to by somebody who is not trusted: nothing but what was checked gets in."""

import bz2
import gzip
import json
import lzma
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backports import zstd

from include import inbox as module
from include.inbox import UnreadableFile, inspect_file, read_taken_files, take_new_files
from include.lake.paths import inbox_path as inbox_of
from include.orchestration.backfill_plan import format_inventory, take_inventory
from include.settings import load_settings
from tests.builders import build_common_line
from tests.unit.test_inbox import TEXT, content, folders, old

__all__ = ["folders"]
SECRET = b"password=hunter2\n"
PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstd.compress, "xz": lzma.compress}
STRANGE = {
    "no utf-8": "caf\udce9.log",
    "newline": "a\nQUARANTINED b.log: it is fine.log",
    "escape": "a\x1b[31m\x07\u202e.log",
    "255 bytes": "ä" * 125 + "x.log",
    "254 bytes": "x" * 254,
}


@pytest.fixture(autouse=True)
def patience():
    """To open a FIFO waits for its writer: end a test that hangs."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def secret(tmp_path):
    old(tmp_path / "secret", SECRET)
    return tmp_path / "secret"


def a_symlink(path, secret):
    path.symlink_to(secret)


def a_hard_link(path, secret):
    path.hardlink_to(secret)


def a_dangling_link(path, secret):
    path.symlink_to(secret.with_name("hunter2"))


def a_link_to_a_folder(path, secret):
    path.symlink_to(secret.parent)


def a_fifo(path, _):
    os.mkfifo(path)


def a_socket(path, _):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


IRREGULAR = [a_symlink, a_hard_link, a_dangling_link, a_link_to_a_folder, a_fifo, a_socket]


@pytest.mark.parametrize("put", IRREGULAR)
def test_what_is_no_regular_file_is_quarantined_unread(folders, secret, put):
    inbox, ready = folders
    put(inbox / "a.log", secret)
    old(inbox / "good.log", TEXT)
    before = (inbox / "a.log").lstat()
    assert list(take_new_files(inbox, ready, dry_run=True).quarantined) == ["a.log"]
    assert (inbox / "a.log").lstat().st_ino == before.st_ino, "a dry run changes nothing"
    found = take_new_files(inbox, ready)
    assert list(found.taken) == ["good.log"]
    moved, why = inbox / "_set_aside" / "a.log", (inbox / "_set_aside" / "a.log.why").read_text()
    assert moved.lstat().st_ino == before.st_ino, "it was moved itself"
    assert moved.lstat().st_mode == before.st_mode
    assert "put a copy of the file there" in why
    for text in (why, *found.format_lines()):
        assert "hunter2" not in text
        assert str(secret) not in text
    assert secret.read_bytes() == SECRET
    assert content(ready) == TEXT
    assert take_new_files(inbox, ready).quarantined == {}


@pytest.mark.parametrize("put", IRREGULAR)
@pytest.mark.parametrize("call", ["lstat", "open"])
def test_a_link_put_there_after_the_check_is_not_read(folders, secret, put, call, monkeypatch):
    """Swapped before the last look at the name, or between that and the opening."""
    inbox, ready = folders
    log = inbox / "a.log"
    old(log, SECRET + TEXT)
    looks, before_open = [], os.open

    def swap():
        log.unlink()
        put(log, secret)

    def lstat(path, real=Path.lstat):
        looks.append(path)
        if call == "lstat" and looks.count(log) == 4:
            swap()
        return real(path)

    def opened(path, *args, **more):
        if call == "open" and path == log and log.is_file() and not log.is_symlink():
            swap()
        return before_open(path, *args, **more)

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(os, "open", opened)
    found = take_new_files(inbox, ready)
    assert list(found.quarantined) == ["a.log"]
    assert found.taken == {}
    assert "hunter2" not in "".join(p.read_text() for p in (inbox / "_set_aside").glob("*.why"))


def test_a_dangling_link_does_not_stop_a_bulk_run(folders, tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path / "var")})
    inbox = inbox_of(settings, "access_log")
    inbox.mkdir(parents=True)
    (inbox / "a.log").symlink_to(tmp_path / "gone")
    old(inbox / "caf\udce9.log", TEXT)
    found = take_inventory(settings, "run", dry_run=False)
    assert (list(found["set_aside"]), found["lines"]) == (["a.log"], 1000)


def test_a_folder_in_the_inbox_is_left_alone_and_so_are_links_of_files_that_were_taken(folders):
    inbox, ready = folders
    (inbox / "folder").mkdir()
    old(inbox / "a.log", TEXT)
    assert list(take_new_files(inbox, ready).taken) == ["a.log"]
    (inbox / "_backup").hardlink_to(inbox / "a.log")  # `cp -al`
    found = take_new_files(inbox, ready)
    assert (found.taken, found.skipped, found.quarantined) == ({}, {}, {})
    assert (inbox / "folder").is_dir()


def test_a_quarantine_that_leads_elsewhere_is_not_used_and_the_rest_goes_on(folders, tmp_path):
    inbox, ready = folders
    (tmp_path / "elsewhere").mkdir()
    (inbox / "_set_aside").symlink_to(tmp_path / "elsewhere")
    old(inbox / "bad.log", b"PK\x03\x04" + b"\0" * 100)
    old(inbox / "good.log", TEXT)
    found = take_new_files(inbox, ready)
    assert list(found.taken) == ["good.log"]
    assert "it stays in the inbox" in found.quarantined["bad.log"]
    assert (inbox / "bad.log").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["bad.log", "bad.log.why"])
def test_a_link_inside_the_quarantine_is_not_written_through(folders, secret, name):
    inbox, ready = folders
    (inbox / "_set_aside").mkdir()
    (inbox / "_set_aside" / name).symlink_to(secret)
    old(inbox / "bad.log", b"PK\x03\x04" + b"\0" * 100)
    take_new_files(inbox, ready)
    assert secret.read_bytes() == SECRET
    assert "it is a zip archive" in (inbox / "_set_aside" / "bad.log.2.why").read_text()
    assert (inbox / "_set_aside" / "bad.log.2").is_file()


def test_ready_must_not_lead_elsewhere(folders, tmp_path):
    inbox, ready = folders
    (tmp_path / "elsewhere").mkdir()
    ready.symlink_to(tmp_path / "elsewhere")
    old(inbox / "a.log", TEXT)
    with pytest.raises(NotADirectoryError, match="is a symbolic link"):
        take_new_files(inbox, ready)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", [*PACKED, "log"])
def test_a_file_swapped_while_it_is_looked_at_is_not_what_is_taken(folders, kind, monkeypatch):
    inbox, ready = folders
    log, pack = inbox / f"a.log.{kind}", PACKED.get(kind, bytes)
    old(log, pack(TEXT))
    finish = module._Inspection.finish

    def swap(look, is_whole):
        part = inbox / "_bomb"
        old(part, pack(b"bomb\n" * 1000))
        part.replace(log)
        return finish(look, is_whole)

    monkeypatch.setattr(module._Inspection, "finish", swap)
    assert list(take_new_files(inbox, ready).taken) == [log.name]
    assert content(ready) == TEXT


@pytest.mark.parametrize("kind", PACKED)
def test_a_packed_file_written_over_while_it_is_read_waits_for_the_next_run(
    folders, kind, monkeypatch
):
    inbox, ready = folders
    log, pack = inbox / f"a.log.{kind}", PACKED[kind]
    old(log, pack(TEXT))
    feed = module._Inspection.feed

    def write_over(look, block):
        log.write_bytes(pack(b"bomb\n" * 1000))
        return feed(look, block)

    monkeypatch.setattr(module._Inspection, "feed", write_over)
    waits = {log.name: "it is being written; the next run takes it"}
    assert take_new_files(inbox, ready).skipped == waits
    assert (read_taken_files(ready), [*ready.iterdir()]) == ([], [])
    monkeypatch.undo()
    old(log, pack(TEXT))
    assert list(take_new_files(inbox, ready).taken) == [log.name]
    assert content(ready) == TEXT


def test_a_packed_file_that_is_damaged_because_it_is_being_written_is_not_quarantined(
    folders, monkeypatch
):
    inbox, ready = folders
    log = inbox / "a.log.gz"
    old(log, gzip.compress(os.urandom(90_000))[:-1000])
    copy = module._copy_bytes

    def append(*args):
        copy(*args)
        with log.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(module, "_copy_bytes", append)
    found = take_new_files(inbox, ready)
    assert (list(found.skipped), found.quarantined) == (["a.log.gz"], {})


def test_a_log_that_grows_as_fast_as_it_is_read_is_taken_as_it_was(folders, monkeypatch):
    inbox, ready = folders
    log, new = inbox / "a.log", f"{build_common_line()}\n".encode()
    old(log, TEXT)
    feed = module._Inspection.feed

    def append(look, block):
        with log.open("ab") as file:
            file.write(new * (len(block) // len(new) + 1))
        return feed(look, block)

    monkeypatch.setattr(module._Inspection, "feed", append)
    take_new_files(inbox, ready)
    assert content(ready) == TEXT
    monkeypatch.undo()
    old(log, log.read_bytes())
    take_new_files(inbox, ready)
    assert b"".join(sorted(content(ready).splitlines(True))) == b"".join(
        sorted(log.read_bytes().splitlines(True))
    )


def test_a_hole_of_a_packed_file_takes_no_room_in_ready(folders):
    inbox, ready = folders
    log = inbox / "a.log.gz"
    old(log, gzip.compress(TEXT))
    os.truncate(log, 4 << 20)  # zeros after a gzip member are allowed
    os.utime(log, (time.time() - 86400,) * 2)
    assert list(take_new_files(inbox, ready).taken) == ["a.log.gz"]
    (taken,) = ready.glob("[!.]*")
    assert taken.stat().st_size == 4 << 20
    assert taken.stat().st_blocks * 512 < 2 << 20
    assert content(ready) == TEXT


# A take in a process of its own, which ends as if killed when it has called a function `times`.
KILLED = """
import os, pathlib, sys
from include import inbox
inbox.STABLE_SECONDS = 0.05
owner, name, times, when = sys.argv[3:]
owner = {"os": os, "Path": pathlib.Path, "ledger": inbox._Ledger}[owner]
real, calls = getattr(owner, name), 0
def killed(*args, **more):
    global calls
    calls += 1
    if calls == int(times) and when == "before":
        os._exit(9)
    done = real(*args, **more)
    if calls == int(times):
        os._exit(9)
    return done
setattr(owner, name, killed)
inbox.take_new_files(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def killed_take(inbox, ready, *where):
    root = Path(module.__file__).parent.parent
    run = [sys.executable, "-c", KILLED, str(inbox), str(ready), *where]
    assert subprocess.run(run, cwd=root, check=False).returncode == 9


@pytest.mark.parametrize(
    "where",
    ["os fsync 1 before", "os fsync 2 before", "Path replace 1 before", "Path replace 1 after",
     "os fsync 3 before", "Path replace 2 before", "Path replace 2 after", "os fsync 4 before",
     "ledger add 1 before", "os fsync 5 before", "ledger add 1 after"],
)  # fmt: skip
@pytest.mark.parametrize(("kind", "is_grown"), [("log", False), ("log", True), ("gz", False)])
def test_a_take_killed_anywhere_is_finished_by_the_next(folders, where, kind, is_grown):
    inbox, ready = folders
    log = inbox / f"a.log.{kind}"
    old(log, PACKED.get(kind, bytes)(TEXT))
    killed_take(inbox, ready, *where.split())
    for record in read_taken_files(ready):
        assert (ready / record["ready"]).is_file(), "the ledger says more than there is"
        assert content(ready) == TEXT
    more = f"{build_common_line()}\n".encode() * is_grown
    if is_grown:
        old(log, TEXT + more)
    take_new_files(inbox, ready)
    assert sorted(content(ready).splitlines()) == sorted((TEXT + more).splitlines())
    assert {r["ready"] for r in read_taken_files(ready)} == {path.name for path in ready.iterdir()}
    again = take_new_files(inbox, ready)
    assert (again.taken, again.skipped) == ({}, {})


def test_file_and_folder_are_on_the_disk_before_the_ledger_names_them(folders, monkeypatch):
    inbox, ready = folders
    old(inbox / "a.log.gz", gzip.compress(TEXT))
    done, fsync, replace = [], os.fsync, Path.replace

    def noted(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        kind = "part" if path.suffix == ".part" else path.name
        fsync(handle)
        done.append(f"fsync {kind}")

    def renamed(path, target):
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    take_new_files(inbox, ready)
    top = ready.parent.name
    assert done == [
        "fsync part",  # the lines
        "fsync part", "rename", f"fsync {top}",  # the name that comes next
        "rename", "fsync ready",
        "fsync ready.jsonl", f"fsync {top}",
    ]  # fmt: skip


def test_a_record_after_a_torn_one_stands_on_its_own_line(folders):
    inbox, ready = folders
    old(inbox / "a.log", TEXT)
    take_new_files(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    ledger.write_text(ledger.read_text()[:20])
    take_new_files(inbox, ready)
    assert [record["name"] for record in read_taken_files(ready)] == ["a.log"]
    assert take_new_files(inbox, ready).taken == {}


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
def test_a_file_of_a_strange_name_is_taken_known_and_shown(folders, name):
    inbox, ready = folders
    old(inbox / name, TEXT)
    old(inbox / "ü.log", TEXT)  # a copy
    looked = take_new_files(inbox, ready, dry_run=True)
    found = take_new_files(inbox, ready)
    for each in (looked, found):
        assert list(each.taken) == [name]
        is_shown(*each.format_lines(), format_inventory(
            {"files": each.records, "lines": 1, "first": None, "last": None, "seconds": 1, "bytes": 1}
        ).replace("\n", ""))  # fmt: skip
    assert inspect_file(inbox / name)["lines"] == 1000
    assert json.loads(ready.with_name("ready.jsonl").read_text().splitlines()[0])["name"] == name
    again = take_new_files(inbox, ready)
    assert (again.taken, again.skipped, again.quarantined) == ({}, {}, {})


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"\0" * 100, b"\x1b[31mwhat\n" * 3])
def test_a_file_of_a_strange_name_is_quarantined(folders, name, data):
    inbox, ready = folders
    for _ in range(3):
        old(inbox / name, data)
        assert list(take_new_files(inbox, ready, dry_run=True).quarantined) == [name]
        found = take_new_files(inbox, ready)
        assert list(found.quarantined) == [name]
        is_shown(*(line.partition("\n")[0] for line in found.format_lines()))
    moved = sorted((inbox / "_set_aside").iterdir())
    assert len(moved) == 6
    assert all(path.read_bytes() == data for path in moved if path.suffix != ".why")
    for path in moved:
        if path.suffix == ".why":
            is_shown(*path.read_text().splitlines())
    assert list(take_new_files(inbox, ready).quarantined) == []


def test_two_long_names_with_one_beginning_stay_apart_in_the_quarantine(folders):
    inbox, ready = folders
    for end in "ab":
        old(inbox / ("x" * 254 + end), b"PK\x03\x04" + end.encode() * 100)
    take_new_files(inbox, ready)
    assert len({path.name for path in (inbox / "_set_aside").iterdir()}) == 4


def is_shown(*lines):
    for line in lines:
        assert line.isprintable()
        line.encode()


def test_look_at_opens_no_link(tmp_path, secret):
    (tmp_path / "a.log").symlink_to(secret)
    with pytest.raises(UnreadableFile, match="a symbolic link"):
        inspect_file(tmp_path / "a.log")


def test_look_at_reads_from_the_first_byte_on_and_refuses_what_is_no_log(tmp_path):
    (tmp_path / "a.log").write_bytes(b"1 [17/May/2015:23:30:00 +0000] 200\n")
    about = inspect_file(tmp_path / "a.log", "%h %t %>s")
    assert (about["lines"], about["first"]) == (1, "2015-05-17T23:30:00+00:00")
    (tmp_path / "b.txt").write_bytes(b"no log\n")
    with pytest.raises(UnreadableFile, match="in no known access-log format"):
        inspect_file(tmp_path / "b.txt")
