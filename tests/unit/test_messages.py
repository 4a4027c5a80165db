"""Messages of Kafka that carry lines: how they are split, and which id a line gets."""

from itertools import product

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from include.log_formats.messages import is_heartbeat, split_messages
from producers.access_log.log_file import Line
from producers.access_log.produce import build_message


def split(*messages):
    """Split (key, value) pairs; return (line_id, line) pairs."""
    keys, values = zip(*messages, strict=True)
    frame = pl.DataFrame({"key": keys, "value": values}, {"key": pl.Binary, "value": pl.Binary})
    return split_messages(frame).select("line_id", "line").rows()


def test_messages_of_one_or_many_lines_give_the_same_line_ids():
    text = b"a\nbb\xff\n\xc3\xa4\xc3\xa4cc\n\nd"
    lines, start = [], 100
    for line in text.split(b"\n"):
        lines.append((f"log:{start}", line))
        start += len(line) + 1
    assert split((b"log:100", text)) == lines
    assert split(*[(line_id.encode(), line) for line_id, line in lines]) == lines
    assert [line_id for line_id, _ in lines] == [
        "log:100",
        "log:102",
        "log:106",
        "log:113",
        "log:114",
    ]


def test_every_line_of_a_message_is_restored_even_an_empty_one():
    messages, expected = [], []
    for count in (1, 2, 3, 4):
        for texts in product([b"", b"a", b"\xff\r"], repeat=count):
            start, lines = 0, []
            for text in texts:
                lines.append(Line(start, text, len(text) + 1))
                start += lines[-1].size
            log_id = f"log{len(messages)}"
            messages.append(build_message(log_id, lines)[:2])
            expected += [(f"{log_id}:{line.start}", line.text) for line in lines]
    assert len(messages) == 3 + 9 + 27 + 81
    assert split(*messages) == expected


def test_messages_of_any_producer_are_split_into_lines():
    cases = [
        ((None, b"no key"), [(None, b"no key")]),
        ((b"web1", b"constant key"), [(None, b"constant key")]),
        ((b"", b"x"), [(None, b"x")]),
        ((b":7", b"x"), [(None, b"x")]),
        ((b"web1:", b"x"), [(None, b"x")]),
        ((b"web1:-7", b"x"), [(None, b"x")]),
        ((b"web1:" + b"9" * 19, b"x"), [(None, b"x")]),
        ((b"a:b:7", b"x\n"), [("a:b:7", b"x")]),
        ((b"k:8", None), [("k:8", b"")]),
        ((b"k:9", b""), [("k:9", b"")]),
        ((b"k:10", b"\n"), [("k:10", b"")]),
        ((b"k:11", b"\n\n"), [("k:11", b""), ("k:12", b"")]),
        ((b"\xff:1", b"one\r\ntwo\r\n"), [("\ufffd:1", b"one\r"), ("\ufffd:6", b"two\r")]),
    ]
    for message, lines in cases:
        assert split(message) == lines, message
    assert split(*[message for message, _ in cases]) == [
        line for _, lines in cases for line in lines
    ]


def test_every_line_has_the_other_columns_of_its_message():
    messages = pl.DataFrame(
        {"key": [None, None], "value": [b"a\nb", b"c"], "partition": [1, 0], "offset": [7, 9]},
        {"key": pl.Binary, "value": pl.Binary, "partition": pl.Int32, "offset": pl.Int64},
    )
    rows = split_messages(messages)
    assert rows.select("line", "partition", "offset").rows() == [
        (b"a", 1, 7),
        (b"b", 1, 7),
        (b"c", 0, 9),
    ]
    assert split_messages(messages.clear()).rows() == []


lines = st.binary(max_size=9).map(lambda text: text.replace(b"\n", b""))
log_files = st.lists(st.lists(lines, min_size=1, max_size=60), min_size=1, max_size=5)


@given(log_files, st.integers(0, 2**40), st.booleans())
def test_the_id_of_a_line_is_its_place_in_the_log(files, begin, ends_with_newline):
    messages, expected = [], []
    for number, texts in enumerate(files):
        content = b"".join(text + b"\n" for text in texts)
        starts = [
            begin + len(b"".join(text + b"\n" for text in texts[:n])) for n in range(len(texts))
        ]
        value = content if ends_with_newline or not texts[-1] else content[:-1]
        messages.append((f"log{number}:{begin}".encode(), value))
        expected += [
            (f"log{number}:{start}", text) for start, text in zip(starts, texts, strict=True)
        ]
    assert split(*messages) == expected


def test_a_heartbeat_has_the_key_of_one_and_no_value():
    cases = [(b"log:heartbeat", None, True), (b"a:b:heartbeat", None, True), (b"log:heartbeat", b"a", False),
             (b"log:heartbeat", b"", False), (b"log:7", None, False), (b"heartbeat", None, False),
             (b"log:heartbeat ", None, False), (None, None, False)]  # fmt: skip
    keys, values, expected = zip(*cases, strict=True)
    messages = pl.DataFrame({"key": keys, "value": values}, {"key": pl.Binary, "value": pl.Binary})
    assert is_heartbeat(messages).to_list() == list(expected)
