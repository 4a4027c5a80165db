"""Files of the lake are replaced atomically, and a torn JSON record loses only itself."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.lake.files import (
    append_record,
    open_replacement,
    read_records,
    replace_file,
    replace_files,
)
from include.settings import PROJECT


def test_replacing_a_file_creates_its_folder(tmp_path):
    path = tmp_path / "new" / "state.json"
    replace_file(path, "old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


def test_text_that_utf8_cannot_encode_is_escaped_so_that_json_reads_it(tmp_path):
    replace_file(tmp_path / "a", json.dumps("é\udc80", ensure_ascii=False))
    assert (tmp_path / "a").read_bytes() == b'"\xc3\xa9\\udc80"'
    assert json.loads((tmp_path / "a").read_text()) == "é\udc80"


def test_a_replaced_file_gets_the_requested_permissions(tmp_path):
    path = tmp_path / "secret"
    path.touch(mode=0o644)
    replace_file(path, "password", permissions=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_error_leaves_the_old_file_and_no_other_file(tmp_path):
    path = tmp_path / "log"
    path.write_text("old")

    def fill():
        with open_replacement(path) as file:
            file.write(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "log"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from include.lake.files import open_replacement\n"
        "with open_replacement(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], cwd=PROJECT, check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    leftovers = [file.name for file in tmp_path.iterdir() if file.name != "log"]
    assert [name[0] for name in leftovers] == ["."], "what is left is hidden from readers"


def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    replace_file(pipe, "text")
    assert reader.communicate(timeout=10)[0] == b"text"
    assert pipe.is_fifo()
    replace_file(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()


def test_files_are_replaced_only_after_all_of_them_are_written(tmp_path):
    folder = tmp_path / "day"
    replace_files({"numbers.json": "1", "index.html": "old"}, folder)
    with pytest.raises(AttributeError):
        replace_files({"numbers.json": "2", "index.html": None}, folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "numbers.json": "1", "index.html": "old"
    }  # fmt: skip
    (folder / "other.csv").touch()
    replace_files({"numbers.json": "3", "index.html": "new"}, folder)
    assert (folder / "other.csv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["day"]
    assert (folder / "index.html").read_text() == "new"


def test_records_are_read_in_order_and_a_missing_file_has_none(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    assert list(read_records(path)) == []
    for number in range(3):
        append_record(path, {"n": number, "text": "\u2028 two\nlines"})
    assert [record["n"] for record in read_records(path)] == [0, 1, 2]
    assert len(path.read_text().splitlines()) == 3


@given(cut_at=st.integers(1, 60), earlier_records=st.integers(0, 3))
def test_a_record_torn_anywhere_loses_only_itself(tmp_path_factory, cut_at, earlier_records):
    path = tmp_path_factory.mktemp("torn") / "records.jsonl"
    for number in range(earlier_records):
        append_record(path, {"n": number})
    before = path.read_bytes() if earlier_records else b""
    torn = json.dumps({"n": "torn", "text": "é" * 10}).encode()
    path.write_bytes(before + torn[: min(cut_at, len(torn) - 1)])
    append_record(path, {"n": "next"})
    assert [record["n"] for record in read_records(path)] == [*range(earlier_records), "next"]


def test_concurrent_appends_lose_no_record(tmp_path):
    path = tmp_path / "records.jsonl"
    code = (
        "import sys; from pathlib import Path; from include.lake.files import append_record\n"
        "for n in range(100): append_record(Path(sys.argv[1]), {'who': sys.argv[2], 'n': n})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), writer_name], cwd=PROJECT)
        for writer_name in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    records = [(record["who"], record["n"]) for record in read_records(path)]
    assert sorted(records) == [(writer_name, n) for writer_name in "ab" for n in range(100)]
