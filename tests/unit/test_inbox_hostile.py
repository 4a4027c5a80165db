"""Untrusted users write to the inbox: only content that was checked reaches `ready`."""

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

from include.errors import UnreadableFile
from include.inbox import take as take_module
from include.inbox.inspect import Inspection, inspect_file
from include.inbox.ledger import read_taken_files
from include.inbox.take import take_new_files
from include.lake.paths import inbox_path
from include.settings import PROJECT, load_settings
from tests.builders import build_common_line
from tests.unit.test_inbox import TEXT, folders, read_ready, write_old_file

__all__ = ["folders"]
SECRET = b"password=hunter2\n"
COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstd.compress, "xz": lzma.compress}
STRANGE_NAMES = {
    "no utf-8": "caf\udce9.log",
    "newline": "a\nQUARANTINED b.log: it is fine.log",
    "escape": "a\x1b[31m\x07\u202e.log",
    "255 bytes": "ä" * 125 + "x.log",
    "254 bytes": "x" * 254,
}


@pytest.fixture(autouse=True)
def time_limit():
    """End a test that hangs: opening a FIFO waits for its writer."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def secret(tmp_path):
    write_old_file(tmp_path / "secret", SECRET)
    return tmp_path / "secret"


def create_symlink(path, secret):
    path.symlink_to(secret)


def create_hard_link(path, secret):
    path.hardlink_to(secret)


def create_dangling_link(path, secret):
    path.symlink_to(secret.with_name("hunter2"))


def create_link_to_folder(path, secret):
    path.symlink_to(secret.parent)


def create_fifo(path, _):
    os.mkfifo(path)


def create_socket(path, _):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


IRREGULAR = [
    create_symlink,
    create_hard_link,
    create_dangling_link,
    create_link_to_folder,
    create_fifo,
    create_socket,
]


@pytest.mark.parametrize("create", IRREGULAR)
def test_a_link_fifo_or_socket_is_quarantined_unread(folders, secret, create):
    inbox, ready = folders
    create(inbox / "a.log", secret)
    write_old_file(inbox / "good.log", TEXT)
    before = (inbox / "a.log").lstat()
    assert list(take_new_files(inbox, ready, dry_run=True).quarantined) == ["a.log"]
    assert (inbox / "a.log").lstat().st_ino == before.st_ino, "a dry run changes nothing"
    result = take_new_files(inbox, ready)
    assert list(result.taken) == ["good.log"]
    moved, reason = inbox / "_set_aside" / "a.log", (inbox / "_set_aside" / "a.log.why").read_text()
    assert moved.lstat().st_ino == before.st_ino, "it was moved itself"
    assert moved.lstat().st_mode == before.st_mode
    assert "put a copy of the file there" in reason
    for text in (reason, *result.format_lines()):
        assert "hunter2" not in text
        assert str(secret) not in text
    assert secret.read_bytes() == SECRET
    assert read_ready(ready) == TEXT
    assert take_new_files(inbox, ready).quarantined == {}


@pytest.mark.parametrize("create", IRREGULAR)
@pytest.mark.parametrize("call", ["lstat", "open"])
def test_a_file_swapped_for_a_link_after_the_check_is_not_read(
    folders, secret, create, call, monkeypatch
):
    """The file is swapped before the last lstat, or between that lstat and the open."""
    inbox, ready = folders
    log = inbox / "a.log"
    write_old_file(log, SECRET + TEXT)
    checked_paths, real_open = [], os.open

    def swap():
        log.unlink()
        create(log, secret)

    def lstat(path, real=Path.lstat):
        checked_paths.append(path)
        if call == "lstat" and checked_paths.count(log) == 4:
            swap()
        return real(path)

    def open_after_swap(path, *args, **kwargs):
        if call == "open" and path == log and log.is_file() and not log.is_symlink():
            swap()
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(os, "open", open_after_swap)
    result = take_new_files(inbox, ready)
    assert list(result.quarantined) == ["a.log"]
    assert result.taken == {}
    assert "hunter2" not in "".join(
        file.read_text() for file in (inbox / "_set_aside").glob("*.why")
    )


def test_a_dangling_link_does_not_stop_a_bulk_backfill(folders, tmp_path):
    from include.orchestration.backfill_plan import take_inventory  # imports Airflow

    settings = load_settings({"TIDEMARK_HOME": str(tmp_path / "var")})
    inbox = inbox_path(settings, "access_log")
    inbox.mkdir(parents=True)
    (inbox / "a.log").symlink_to(tmp_path / "gone")
    write_old_file(inbox / "caf\udce9.log", TEXT)
    inventory = take_inventory(settings, "run", dry_run=False)
    assert (list(inventory["set_aside"]), inventory["lines"]) == (["a.log"], 1000)


def test_folders_and_hard_links_of_taken_files_are_left_alone(folders):
    inbox, ready = folders
    (inbox / "folder").mkdir()
    write_old_file(inbox / "a.log", TEXT)
    assert list(take_new_files(inbox, ready).taken) == ["a.log"]
    (inbox / "_backup").hardlink_to(inbox / "a.log")  # `cp -al`
    result = take_new_files(inbox, ready)
    assert (result.taken, result.skipped, result.quarantined) == ({}, {}, {})
    assert (inbox / "folder").is_dir()


def test_a_quarantine_folder_that_is_a_link_is_not_used(folders, tmp_path):
    inbox, ready = folders
    (tmp_path / "elsewhere").mkdir()
    (inbox / "_set_aside").symlink_to(tmp_path / "elsewhere")
    write_old_file(inbox / "bad.log", b"PK\x03\x04" + b"\0" * 100)
    write_old_file(inbox / "good.log", TEXT)
    result = take_new_files(inbox, ready)
    assert list(result.taken) == ["good.log"]
    assert "it stays in the inbox" in result.quarantined["bad.log"]
    assert (inbox / "bad.log").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["bad.log", "bad.log.why"])
def test_a_link_inside_the_quarantine_is_not_followed(folders, secret, name):
    inbox, ready = folders
    (inbox / "_set_aside").mkdir()
    (inbox / "_set_aside" / name).symlink_to(secret)
    write_old_file(inbox / "bad.log", b"PK\x03\x04" + b"\0" * 100)
    take_new_files(inbox, ready)
    assert secret.read_bytes() == SECRET
    assert "it is a zip archive" in (inbox / "_set_aside" / "bad.log.2.why").read_text()
    assert (inbox / "_set_aside" / "bad.log.2").is_file()


def test_a_ready_folder_that_is_a_link_is_refused(folders, tmp_path):
    inbox, ready = folders
    (tmp_path / "elsewhere").mkdir()
    ready.symlink_to(tmp_path / "elsewhere")
    write_old_file(inbox / "a.log", TEXT)
    with pytest.raises(NotADirectoryError, match="is a symbolic link"):
        take_new_files(inbox, ready)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", [*COMPRESSORS, "log"])
def test_a_file_swapped_in_during_the_inspection_is_not_taken(folders, kind, monkeypatch):
    inbox, ready = folders
    log, compress = inbox / f"a.log.{kind}", COMPRESSORS.get(kind, bytes)
    write_old_file(log, compress(TEXT))
    finish = Inspection.finish

    def swap(inspection, is_whole):
        part = inbox / "_bomb"
        write_old_file(part, compress(b"bomb\n" * 1000))
        part.replace(log)
        return finish(inspection, is_whole)

    monkeypatch.setattr(Inspection, "finish", swap)
    assert list(take_new_files(inbox, ready).taken) == [log.name]
    assert read_ready(ready) == TEXT


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_compressed_file_overwritten_while_read_waits_for_the_next_run(
    folders, kind, monkeypatch
):
    inbox, ready = folders
    log, compress = inbox / f"a.log.{kind}", COMPRESSORS[kind]
    write_old_file(log, compress(TEXT))
    feed = Inspection.feed

    def overwrite(inspection, block):
        log.write_bytes(compress(b"bomb\n" * 1000))
        return feed(inspection, block)

    monkeypatch.setattr(Inspection, "feed", overwrite)
    expected = {log.name: "it is being written; the next run takes it"}
    assert take_new_files(inbox, ready).skipped == expected
    assert (read_taken_files(ready), [*ready.iterdir()]) == ([], [])
    monkeypatch.undo()
    write_old_file(log, compress(TEXT))
    assert list(take_new_files(inbox, ready).taken) == [log.name]
    assert read_ready(ready) == TEXT


def test_an_incomplete_compressed_file_that_is_still_written_is_skipped(folders, monkeypatch):
    inbox, ready = folders
    log = inbox / "a.log.gz"
    write_old_file(log, gzip.compress(os.urandom(90_000))[:-1000])
    copy = take_module._copy_bytes

    def append(*args):
        copy(*args)
        with log.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(take_module, "_copy_bytes", append)
    result = take_new_files(inbox, ready)
    assert (list(result.skipped), result.quarantined) == (["a.log.gz"], {})


def test_a_log_that_grows_while_it_is_read_is_taken_as_it_was(folders, monkeypatch):
    inbox, ready = folders
    log, line = inbox / "a.log", f"{build_common_line()}\n".encode()
    write_old_file(log, TEXT)
    feed = Inspection.feed

    def append(inspection, block):
        with log.open("ab") as file:
            file.write(line * (len(block) // len(line) + 1))
        return feed(inspection, block)

    monkeypatch.setattr(Inspection, "feed", append)
    take_new_files(inbox, ready)
    assert read_ready(ready) == TEXT
    monkeypatch.undo()
    write_old_file(log, log.read_bytes())
    take_new_files(inbox, ready)
    assert b"".join(sorted(read_ready(ready).splitlines(True))) == b"".join(
        sorted(log.read_bytes().splitlines(True))
    )


def test_a_hole_in_a_compressed_file_takes_no_disk_space_in_ready(folders):
    inbox, ready = folders
    log = inbox / "a.log.gz"
    write_old_file(log, gzip.compress(TEXT))
    os.truncate(log, 4 << 20)  # zeros after a gzip member are allowed
    os.utime(log, (time.time() - 86400,) * 2)
    assert list(take_new_files(inbox, ready).taken) == ["a.log.gz"]
    (taken,) = ready.glob("[!.]*")
    assert taken.stat().st_size == 4 << 20
    assert taken.stat().st_blocks * 512 < 2 << 20
    assert read_ready(ready) == TEXT


# Takes files in a process of its own, which ends as if killed at the n-th call of a function.
KILLED = """
import os, pathlib, sys
from include.inbox import ledger, take
take.STABLE_SECONDS = 0.05
owner, name, call_number, when = sys.argv[3:]
owner = {"os": os, "Path": pathlib.Path, "ledger": ledger.Ledger}[owner]
real, calls = getattr(owner, name), 0
def call_or_exit(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(call_number) and when == "before":
        os._exit(9)
    result = real(*args, **kwargs)
    if calls == int(call_number):
        os._exit(9)
    return result
setattr(owner, name, call_or_exit)
take.take_new_files(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def run_killed_take(inbox, ready, *kill_point):
    command = [sys.executable, "-c", KILLED, str(inbox), str(ready), *kill_point]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == 9


@pytest.mark.parametrize(
    "kill_point",
    ["os fsync 1 before", "os fsync 2 before", "Path replace 1 before", "Path replace 1 after",
     "os fsync 3 before", "Path replace 2 before", "Path replace 2 after", "os fsync 4 before",
     "ledger add 1 before", "os fsync 5 before", "ledger add 1 after"],
)  # fmt: skip
@pytest.mark.parametrize(("kind", "is_grown"), [("log", False), ("log", True), ("gz", False)])
def test_a_run_killed_anywhere_is_finished_by_the_next_run(folders, kill_point, kind, is_grown):
    inbox, ready = folders
    log = inbox / f"a.log.{kind}"
    write_old_file(log, COMPRESSORS.get(kind, bytes)(TEXT))
    run_killed_take(inbox, ready, *kill_point.split())
    for record in read_taken_files(ready):
        assert (ready / record["ready"]).is_file(), "the ledger says more than there is"
        assert read_ready(ready) == TEXT
    new_lines = f"{build_common_line()}\n".encode() * is_grown
    if is_grown:
        write_old_file(log, TEXT + new_lines)
    take_new_files(inbox, ready)
    assert sorted(read_ready(ready).splitlines()) == sorted((TEXT + new_lines).splitlines())
    assert {record["ready"] for record in read_taken_files(ready)} == {
        path.name for path in ready.iterdir()
    }
    third_run = take_new_files(inbox, ready)
    assert (third_run.taken, third_run.skipped) == ({}, {})


def test_file_and_folder_are_synced_before_the_ledger_names_them(folders, monkeypatch):
    inbox, ready = folders
    write_old_file(inbox / "a.log.gz", gzip.compress(TEXT))
    events, fsync, replace = [], os.fsync, Path.replace

    def record_fsync(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        kind = "part" if path.suffix == ".part" else path.name
        fsync(handle)
        events.append(f"fsync {kind}")

    def record_rename(path, target):
        events.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_rename)
    take_new_files(inbox, ready)
    parent = ready.parent.name
    assert events == [
        "fsync part",  # the lines
        "fsync part", "rename", f"fsync {parent}",  # the mark of an unfinished file
        "rename", "fsync ready",
        "fsync ready.jsonl", f"fsync {parent}",
    ]  # fmt: skip


def test_a_record_after_a_torn_record_is_on_its_own_line(folders):
    inbox, ready = folders
    write_old_file(inbox / "a.log", TEXT)
    take_new_files(inbox, ready)
    ledger = ready.with_name("ready.jsonl")
    ledger.write_text(ledger.read_text()[:20])
    take_new_files(inbox, ready)
    assert [record["name"] for record in read_taken_files(ready)] == ["a.log"]
    assert take_new_files(inbox, ready).taken == {}


@pytest.mark.parametrize("name", STRANGE_NAMES.values(), ids=STRANGE_NAMES)
def test_a_file_with_a_strange_name_is_taken_and_printed_safely(folders, name):
    from include.orchestration.backfill_plan import format_inventory  # imports Airflow

    inbox, ready = folders
    write_old_file(inbox / name, TEXT)
    write_old_file(inbox / "ü.log", TEXT)  # a copy
    dry_run_result = take_new_files(inbox, ready, dry_run=True)
    result = take_new_files(inbox, ready)
    for each_result in (dry_run_result, result):
        assert list(each_result.taken) == [name]
        assert_printable(*each_result.format_lines(), format_inventory(
            {"files": each_result.records, "lines": 1, "first": None, "last": None, "seconds": 1, "bytes": 1}
        ).replace("\n", ""))  # fmt: skip
    assert inspect_file(inbox / name)["lines"] == 1000
    assert json.loads(ready.with_name("ready.jsonl").read_text().splitlines()[0])["name"] == name
    second_run = take_new_files(inbox, ready)
    assert (second_run.taken, second_run.skipped, second_run.quarantined) == ({}, {}, {})


@pytest.mark.parametrize("name", STRANGE_NAMES.values(), ids=STRANGE_NAMES)
@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"\0" * 100, b"\x1b[31mwhat\n" * 3])
def test_a_file_with_a_strange_name_is_quarantined(folders, name, data):
    inbox, ready = folders
    for _ in range(3):
        write_old_file(inbox / name, data)
        assert list(take_new_files(inbox, ready, dry_run=True).quarantined) == [name]
        result = take_new_files(inbox, ready)
        assert list(result.quarantined) == [name]
        assert_printable(*(line.partition("\n")[0] for line in result.format_lines()))
    moved = sorted((inbox / "_set_aside").iterdir())
    assert len(moved) == 6
    assert all(path.read_bytes() == data for path in moved if path.suffix != ".why")
    for path in moved:
        if path.suffix == ".why":
            assert_printable(*path.read_text().splitlines())
    assert list(take_new_files(inbox, ready).quarantined) == []


def test_long_names_with_a_common_start_do_not_collide_in_quarantine(folders):
    inbox, ready = folders
    for end in "ab":
        write_old_file(inbox / ("x" * 254 + end), b"PK\x03\x04" + end.encode() * 100)
    take_new_files(inbox, ready)
    assert len({path.name for path in (inbox / "_set_aside").iterdir()}) == 4


def assert_printable(*lines):
    for line in lines:
        assert line.isprintable()
        line.encode()


def test_inspect_file_does_not_follow_links(tmp_path, secret):
    (tmp_path / "a.log").symlink_to(secret)
    with pytest.raises(UnreadableFile, match="a symbolic link"):
        inspect_file(tmp_path / "a.log")


def test_inspect_file_reads_from_the_first_byte_and_refuses_other_files(tmp_path):
    (tmp_path / "a.log").write_bytes(b"192.0.2.7 [17/May/2015:23:30:00 +0000] 200\n")
    details = inspect_file(tmp_path / "a.log", "%h %t %>s")
    assert (details["lines"], details["first"]) == (1, "2015-05-17T23:30:00+00:00")
    (tmp_path / "b.txt").write_bytes(b"no log\n")
    with pytest.raises(UnreadableFile, match="in no known access-log format"):
        inspect_file(tmp_path / "b.txt")
