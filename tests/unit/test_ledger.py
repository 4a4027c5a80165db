"""The producer's ledger of acknowledged lines, from which a run resumes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.kafka_client import Acknowledgement
from producers.ledger import HEADER, Ledger, UnusableLedger

ENDS = {0: 1000, 1: 1000}
ACKNOWLEDGED = Acknowledgement((0, 10, 1), 0, 0)


def write_ledger(path, *entries):
    with Ledger(path) as ledger:
        for start, size, lines, partition, offset in entries:
            ledger.write(Acknowledgement((start, size, lines), partition, offset))
    return Ledger(path)


def test_only_acknowledgements_without_a_gap_count(tmp_path):
    ledger = write_ledger(tmp_path / "l.csv", (0, 10, 1, 0, 0), (10, 20, 2, 1, 0), (50, 5, 1, 0, 1))
    assert ledger.resume_position(ENDS) == (30, 3)


def test_acknowledgements_may_come_in_any_order(tmp_path):
    ledger = write_ledger(tmp_path / "l.csv", (10, 20, 2, 1, 0), (0, 10, 1, 0, 0))
    assert ledger.resume_position(ENDS) == (30, 3)


def test_lines_that_were_sent_twice_count_once(tmp_path):
    entries = [(0, 10, 1, 0, 0), (10, 20, 2, 1, 0)]
    ledger = write_ledger(tmp_path / "l.csv", *entries, *[(*e[:4], e[4] + 1) for e in entries])
    assert ledger.resume_position(ENDS) == (30, 3)


def test_a_torn_record_of_a_killed_run_is_ignored(tmp_path):
    path = tmp_path / "l.csv"
    write_ledger(path, (0, 10, 1, 0, 0))
    with path.open("a") as file:
        file.write("10,2")
    assert Ledger(path).resume_position(ENDS) == (10, 1)
    write_ledger(path, (10, 20, 2, 0, 1))
    assert Ledger(path).resume_position(ENDS) == (30, 3)
    assert path.read_text().count(HEADER) == 1


def test_a_recreated_topic_starts_from_the_first_line(tmp_path):
    ledger = write_ledger(tmp_path / "l.csv", (0, 10, 1, 0, 4))
    assert ledger.resume_position({0: 4, 1: 0}) == (0, 0)
    assert ledger.resume_position(None) == (0, 0)


def write_until_the_buffer_is_full(ledger):
    while True:
        ledger.write(ACKNOWLEDGED)


@pytest.mark.parametrize(
    "use",
    [lambda ledger: ledger.write(ACKNOWLEDGED), Ledger.flush, write_until_the_buffer_is_full],
    ids=["close", "flush", "write"],
)
def test_a_full_disk_names_the_file_of_the_ledger(tmp_path, use):
    path = tmp_path / "l.csv"
    path.symlink_to("/dev/full")
    with pytest.raises(UnusableLedger) as caught, Ledger(path) as ledger:
        use(ledger)
    assert str(caught.value) == (
        f"the ledger {path} cannot be used: No space left on device; correct this, then run it "
        "again: lines that are missing in the ledger are sent again"
    )


def test_a_ledger_that_cannot_be_opened_removed_or_read_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "l.csv"
    with pytest.raises(UnusableLedger, match=f"the ledger {path} cannot be used: "):
        write_ledger(path)
    with pytest.raises(UnusableLedger, match=f"the ledger {path} cannot be used: Not a directory"):
        Ledger(path).reset()
    path = tmp_path / "l.csv"
    path.symlink_to("/proc/self/mem")  # its first page cannot be read
    with pytest.raises(UnusableLedger, match=f"the ledger {path} cannot be used: Input/output"):
        Ledger(path).resume_position(ENDS)


def test_an_error_that_is_not_the_ledgers_is_passed_on(tmp_path):
    with pytest.raises(OSError, match="the log"), Ledger(tmp_path / "l.csv"):
        raise OSError("the log")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.randoms(), st.data())
def test_the_resume_position_never_exceeds_what_was_acknowledged(
    tmp_path_factory, sizes, random, data
):
    path = tmp_path_factory.mktemp("ledger") / "l.csv"
    entries, start = [], 0
    for size in sizes:
        entries.append((start, size, 1, 0, len(entries)))
        start += size
    acknowledged = data.draw(st.lists(st.sampled_from(entries), unique=True))
    random.shuffle(acknowledged)
    position, lines = write_ledger(path, *acknowledged).resume_position(ENDS)
    before = [entry for entry in entries if entry[0] < position]
    assert all(entry in acknowledged for entry in before)
    assert len(before) == lines
    following = [entry for entry in entries if entry[0] == position]
    assert not any(entry in acknowledged for entry in following)
