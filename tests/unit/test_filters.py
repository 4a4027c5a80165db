"""What a filter's folder is called."""

import re

import pytest

from include.errors import InvalidInput
from include.orchestration.filters import get_filter_folder
from include.reporting.web_app import NAME_PATTERN
from spark_jobs.summarise_access_log import Filter

NOTHING = {"only_path": None, "only_host": None, "only_status": None, "humans_only": False}


def test_no_filter_has_no_folder():
    assert get_filter_folder(NOTHING) == get_filter_folder(NOTHING | {"only_path": ""}) == ""


def test_a_filter_has_one_folder_and_no_two_share_it():
    filters = [
        NOTHING | {"only_path": path, "humans_only": people}
        for path in ("/blog/*", "/blog/", "/blog/?", "../../etc", "é" * 300, "é" * 301)
        for people in (True, False)
    ]
    names = [get_filter_folder(one) for one in filters]
    assert len(set(names)) == len(filters)
    assert names == [get_filter_folder(dict(one)) for one in filters]
    for name in names:
        assert re.fullmatch(r"filtered/[A-Za-z0-9=._-]{1,160}", name)
        assert all(NAME_PATTERN.fullmatch(part) for part in name.split("/")), (
            "or Airflow would not serve it"
        )
        assert ".." not in name.split("/")


@pytest.mark.parametrize("status", ["", "404", "100", "599", "4xx", "1xx", "5xx"])
def test_a_filter_names_a_status_or_a_class(status):
    assert Filter(status=status).as_dict() == (
        {"path": "", "host": "", "status": status, "humans_only": False} if status else None
    )


@pytest.mark.parametrize(
    "status", ["4", "40", "4x", "xx4", "600", "099", "6xx", "4xx5", "404 ", "4XX"]
)
def test_a_filter_of_no_status_is_refused_with_what_is_one(status):
    with pytest.raises(
        InvalidInput, match=rf"--only-status {status!r}: expected a status \(404\) or a class"
    ):
        Filter(status=status)
