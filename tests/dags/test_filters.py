"""Filters of a summary: the name of their folder and the statuses they accept."""

import re

import pytest

from include.errors import InvalidInput
from include.orchestration.filters import get_filter_folder
from include.reporting.web_app import NAME_PATTERN
from spark_jobs.summarise_access_log import Filter

NO_FILTER = {"only_path": None, "only_host": None, "only_status": None, "humans_only": False}


def test_without_a_filter_there_is_no_folder():
    assert get_filter_folder(NO_FILTER) == get_filter_folder(NO_FILTER | {"only_path": ""}) == ""


def test_every_filter_has_its_own_folder():
    filters = [
        NO_FILTER | {"only_path": path, "humans_only": humans_only}
        for path in ("/blog/*", "/blog/", "/blog/?", "../../etc", "é" * 300, "é" * 301)
        for humans_only in (True, False)
    ]
    names = [get_filter_folder(options) for options in filters]
    assert len(set(names)) == len(filters)
    assert names == [get_filter_folder(dict(options)) for options in filters]
    for name in names:
        assert re.fullmatch(r"filtered/[A-Za-z0-9=._-]{1,160}", name)
        assert all(NAME_PATTERN.fullmatch(part) for part in name.split("/")), (
            "or Airflow would not serve it"
        )
        assert ".." not in name.split("/")


@pytest.mark.parametrize("status", ["", "404", "100", "599", "4xx", "1xx", "5xx"])
def test_a_filter_accepts_a_status_or_a_class_of_statuses(status):
    assert Filter(status=status).as_dict() == (
        {"path": "", "host": "", "status": status, "humans_only": False} if status else None
    )


@pytest.mark.parametrize(
    "status", ["4", "40", "4x", "xx4", "600", "099", "6xx", "4xx5", "404 ", "4XX"]
)
def test_an_invalid_status_is_refused(status):
    with pytest.raises(
        InvalidInput, match=rf"--only-status {status!r}: expected a status \(404\) or a class"
    ):
        Filter(status=status)
