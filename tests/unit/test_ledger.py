from hypothesis import given
from hypothesis import strategies as st

from producers.kafka_client import Acknowledgement
from producers.ledger import HEADER, Ledger

ENDS = {0: 1000, 1: 1000}


def written(path, *entries):
    with Ledger(path) as ledger:
        for start, size, lines, partition, offset in entries:
            ledger.write(Acknowledgement((start, size, lines), partition, offset))
    return Ledger(path)


def test_what_was_acknowledged_without_a_gap_counts(tmp_path):
    ledger = written(tmp_path / "l.csv", (0, 10, 1, 0, 0), (10, 20, 2, 1, 0), (50, 5, 1, 0, 1))
    assert ledger.resume_position(ENDS) == (30, 3)


def test_acknowledgements_may_come_in_any_order(tmp_path):
    ledger = written(tmp_path / "l.csv", (10, 20, 2, 1, 0), (0, 10, 1, 0, 0))
    assert ledger.resume_position(ENDS) == (30, 3)


def test_a_line_that_a_killed_run_left_torn_is_no_acknowledgement(tmp_path):
    path = tmp_path / "l.csv"
    written(path, (0, 10, 1, 0, 0))
    with path.open("a") as file:
        file.write("10,2")
    assert Ledger(path).resume_position(ENDS) == (10, 1)
    written(path, (10, 20, 2, 0, 1))
    assert Ledger(path).resume_position(ENDS) == (30, 3)
    assert path.read_text().count(HEADER) == 1


def test_a_topic_that_was_made_anew_has_nothing_of_the_log(tmp_path):
    ledger = written(tmp_path / "l.csv", (0, 10, 1, 0, 4))
    assert ledger.resume_position({0: 4, 1: 0}) == (0, 0)
    assert ledger.resume_position(None) == (0, 0)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.randoms(), st.data())
def test_it_never_says_more_than_was_acknowledged(tmp_path_factory, sizes, random, data):
    path = tmp_path_factory.mktemp("ledger") / "l.csv"
    entries, start = [], 0
    for size in sizes:
        entries.append((start, size, 1, 0, len(entries)))
        start += size
    kept = data.draw(st.lists(st.sampled_from(entries), unique=True))
    random.shuffle(kept)
    reached, lines = written(path, *kept).resume_position(ENDS)
    before = [entry for entry in entries if entry[0] < reached]
    assert all(entry in kept for entry in before)
    assert len(before) == lines
    following = [entry for entry in entries if entry[0] == reached]
    assert not any(entry in kept for entry in following)
