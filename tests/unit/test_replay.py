"""Reading a log file line by line and sending it: bounded memory, batches and rate limit."""

import bz2
import gzip
import os
import tracemalloc

import pytest

from include.contracts import MAX_LINE_BYTES
from producers.access_log.log_file import Line, UnreadableLogFile, read_lines, read_log_id
from producers.access_log.produce import (
    MAX_BATCH_BYTES,
    batch_lines,
    build_message,
    limit_rate,
)

TEXT = b"first line\nsecond \xff line\n\nlast"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_a_log_reads_the_same_whatever_its_compression_and_name(tmp_path, compress):
    file = tmp_path / "log.of-any-name"
    file.write_bytes(compress(TEXT))
    assert list(read_lines(file)) == [
        Line(0, b"first line", 11), Line(11, b"second \xff line", 14), Line(25, b"", 1),
        Line(26, b"last", 4),
    ]  # fmt: skip


def test_the_log_id_survives_compression_renaming_and_growth(tmp_path):
    plain, packed = tmp_path / "access.log", tmp_path / "access.log.1.gz"
    plain.write_bytes(TEXT)
    packed.write_bytes(gzip.compress(TEXT + b" is longer now\n"))
    assert read_log_id(plain) == read_log_id(packed)
    other = tmp_path / "other.log"
    other.write_bytes(b"another first line\n")
    assert read_log_id(plain) != read_log_id(other)


def test_a_too_long_line_is_cut_but_has_its_full_size_in_bounded_memory(tmp_path):
    file = tmp_path / "log"
    size = 60 * MAX_LINE_BYTES
    with file.open("wb") as out:
        for _ in range(60):
            out.write(b"x" * MAX_LINE_BYTES)
        out.write(b"\nshort\n")
    tracemalloc.start()
    first, second = read_lines(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(first.text), first.size) == (MAX_LINE_BYTES + 1, size + 1)
    assert second == Line(size + 1, b"short", 6)
    assert peak < 10 * MAX_LINE_BYTES


def test_a_line_of_the_maximum_length_is_not_cut(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"x" * MAX_LINE_BYTES + b"\ny\n")
    first, second = read_lines(file)
    assert (len(first.text), first.size, second.text) == (MAX_LINE_BYTES, MAX_LINE_BYTES + 1, b"y")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_truncated_archive_is_refused_before_its_first_line(tmp_path, compress):
    file = tmp_path / "log.packed"
    file.write_bytes(compress(os.urandom(50_000))[:-200])
    with pytest.raises(UnreadableLogFile, match="damaged.*No line was sent"):
        next(read_lines(file))


def test_a_folder_or_missing_file_is_refused_by_name(tmp_path):
    for path, message in [(tmp_path, "is a folder"), (tmp_path / "no", "there is no file")]:
        with pytest.raises(UnreadableLogFile, match=message) as error:
            next(read_lines(path))
        assert str(path) in str(error.value)


def test_an_empty_file_has_no_lines(tmp_path):
    (tmp_path / "log").touch()
    assert list(read_lines(tmp_path / "log")) == []


def test_batches_are_limited_in_lines_and_bytes():
    lines = [Line(n * 10, b"123456789", 10) for n in range(7)]
    assert [len(batch) for batch in batch_lines(lines, 3)] == [3, 3, 1]
    large_lines = [Line(0, b"x" * 500_000, 500_001), Line(500_001, b"y" * 500_000, 500_001)]
    assert [len(batch) for batch in batch_lines(large_lines, 100)] == [1, 1]
    assert MAX_BATCH_BYTES < 1_048_576


def test_a_message_has_its_place_in_the_log_as_key_and_as_ledger_entry():
    lines = [Line(0, b"one", 4), Line(4, b"two", 5), Line(9, b"", 1)]
    assert build_message("id", lines[1:2]) == (b"id:4", b"two", (4, 5, 1))
    assert build_message("id", lines[1:]) == (b"id:4", b"two\n\n", (4, 6, 2))
    assert build_message("id", lines) == (b"id:0", b"one\ntwo\n\n", (0, 10, 3))


def test_a_cut_line_is_a_batch_of_its_own():
    cut_line = Line(10, b"x" * (MAX_LINE_BYTES + 1), 3_000_000)
    lines = [Line(0, b"123456789", 10), cut_line, Line(3_000_010, b"y", 2)]
    assert [len(batch) for batch in batch_lines(lines, 100)] == [1, 1, 1]


def test_a_rate_limit_delays_lines(monkeypatch):
    pauses, now = [], [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "time.sleep", lambda seconds: (pauses.append(seconds), now.__setitem__(0, now[0] + seconds))
    )
    assert len(list(limit_rate([Line(0, b"", 1)] * 11, rate=5))) == 11
    assert sum(pauses) == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "FIFO"])
def test_strict_mode_reads_only_a_regular_file_with_one_name(tmp_path, kind):
    secret, path = tmp_path / "secret", tmp_path / "inbox" / "access.log"
    secret.write_text("root:x:0:0\n")
    path.parent.mkdir()
    assert [line.text for line in read_lines(secret, strict=True)] == [b"root:x:0:0"]
    if kind == "symbolic link":
        path.symlink_to(secret)
    elif kind == "hard link":
        path.hardlink_to(secret)
    else:
        os.mkfifo(path)
    for read in (read_log_id, lambda file, strict: next(read_lines(file, strict=strict))):
        with pytest.raises(UnreadableLogFile, match="not a regular file with one name") as error:
            read(path, strict=True)
        assert "x:0:0" not in str(error.value)
