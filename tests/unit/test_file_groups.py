"""Which files of a landing are merged or removed, as decided from their list and the flags alone."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spark_jobs.landing.sink_log import NO_DAY, LandedFile
from spark_jobs.maintain_landing import group_files

DAY, NEXT_DAY = "2026-01-15", "2026-01-16"


def landed_files(day, *sizes, landed_on="2026-01-20"):
    at = round(datetime.fromisoformat(landed_on).replace(tzinfo=UTC).timestamp() * 1000)
    folder = Path("/data") / f"event_date={day or NO_DAY}"
    return [LandedFile(folder / f"part-{n}", size, at) for n, size in enumerate(sizes)]


def group(files, days_to_remove=(), undated_before="none", file_bytes=100):
    args = Namespace(undated_before=undated_before, file_bytes=file_bytes)
    return group_files({"log": files}, set(days_to_remove), args)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([10], 0), ([10, 10], 1), ([70, 70], 1), ([90, 90], 0), ([10] * 3, 1),
        ([50] * 4, 2), ([60] * 4, 2), ([65] * 4, 0), ([500, 500], 0),
    ],
)  # fmt: skip
def test_files_of_a_day_are_merged_if_at_most_half_of_them_remain(sizes, count):
    (files_of_day,) = group(landed_files(DAY, *sizes))
    assert files_of_day.target_file_count == count
    assert files_of_day.is_changed is bool(count)


def test_files_of_different_days_and_logs_are_not_merged():
    files = [*landed_files(DAY, 10), *landed_files(NEXT_DAY, 10), *landed_files(None, 10)]
    groups = group_files(
        {"1": files, "2": landed_files(DAY, 10)}, set(), Namespace(undated_before="none", file_bytes=100)
    )  # fmt: skip
    assert [(g.log, g.day, len(g.files)) for g in groups] == [
        ("1", DAY, 1), ("1", NEXT_DAY, 1), ("1", "undated, landed on 2026-01-20", 1), ("2", DAY, 1),
    ]  # fmt: skip
    assert not any(g.is_changed for g in groups)


def test_a_day_that_is_removed_is_not_merged():
    files = [*landed_files(DAY, 10, 10), *landed_files(NEXT_DAY, 10, 10)]
    removed, kept = group(files, [DAY])
    assert (removed.day, removed.is_removed, removed.target_file_count) == (DAY, True, 0)
    assert (kept.day, kept.is_removed, kept.target_file_count) == (NEXT_DAY, False, 1)


def test_undated_lines_are_removed_only_if_they_were_landed_before_the_given_day():
    files = [
        *landed_files(None, 10, landed_on="2026-01-19"),
        *landed_files(None, 10, landed_on="2026-01-20"),
        *landed_files(DAY, 10, landed_on="2026-01-19"),
    ]
    for undated_before, is_removed in (
        ("2026-01-20", [True, False, False]),
        ("none", [False, False, False]),
    ):
        assert [g.is_removed for g in group(files, undated_before=undated_before)] == is_removed
