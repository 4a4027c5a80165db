"""The inbox and the producer detect the same compressions, by content."""

import bz2
import gzip
import lzma
from contextlib import suppress
from io import BytesIO

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from include.compression import detect_compression, open_uncompressed
from include.errors import UnreadableFile
from producers.access_log.log_file import UnreadableLogFile, read_lines, read_log_id

TEXT = b"".join(b"192.0.2.7 - - line %d\n" % number for number in range(1000))
COMPRESSORS = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress,
    ".xz": lzma.compress,
}  # fmt: skip


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_the_producer_sends_the_same_lines_from_any_compression_and_name(tmp_path, suffix):
    log = tmp_path / "any.name"
    log.write_bytes(COMPRESSORS[suffix](TEXT))
    lines = list(read_lines(log))
    assert b"".join(line.text + b"\n" for line in lines) == TEXT
    assert [line.start for line in lines[:3]] == [0, 21, 42]
    plain = tmp_path / "plain.log"
    plain.write_bytes(TEXT)
    assert read_log_id(log) == read_log_id(plain), "a second run continues the plain log"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst", ".xz"])
def test_the_producer_refuses_a_damaged_file_before_it_sends_a_line(tmp_path, suffix):
    log = tmp_path / f"a.log{suffix}"
    log.write_bytes(COMPRESSORS[suffix](TEXT)[:-20])
    with pytest.raises(UnreadableLogFile, match="is damaged: .*No line was sent"):
        next(read_lines(log))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK\x03\x04" + bytes(100), "it is a zip archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "it is a 7z archive; unpack it"),
        ("192.0.2.7 - -\n".encode("utf-16"), "it is not a text file"),
    ],
)
def test_the_producer_refuses_other_archives_and_binary_files(tmp_path, data, reason):
    log = tmp_path / "a.log"
    log.write_bytes(data)
    with pytest.raises(UnreadableLogFile, match=f"a.log cannot be read: {reason}"):
        next(read_lines(log))


@given(text=st.binary(max_size=200), suffix=st.sampled_from(sorted(COMPRESSORS)[1:]))
def test_compressed_data_is_detected_and_read_back(text, suffix):
    file = BytesIO(COMPRESSORS[suffix](text))
    assert detect_compression(file) == suffix
    assert open_uncompressed(file).read() == text


@given(text=st.binary(max_size=20))
def test_a_file_is_plain_text_compressed_or_refused(text):
    file = BytesIO(text)
    if text[:4] in (b"PK\x03\x04", b"7z\xbc\xaf") or b"\0" in text[:6]:
        with suppress(UnreadableFile):
            assert detect_compression(file), "a zero byte in the head of a compressed file"
        return
    compression = detect_compression(file)
    assert file.tell() == 0
    assert compression or open_uncompressed(file).read() == text
