"""Reports are copied to another place: what changed, whole, and what went is gone there as well."""

import json
import os

import pytest

from include.reporting import sync_reports
from include.reporting.sync_reports import copy_reports


@pytest.fixture
def lake(tmp_path, airflow_home):
    """Writes report files; copies them; gives what the copy did and what lies there then."""
    reports, there = tmp_path / "reports", tmp_path / "www" / "reports"

    def write(files):
        for name, text in files.items():
            path = reports / name
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}")
            part.write_text(text)
            part.replace(path)

    def copy(place=None):
        done = copy_reports(reports, place or there.as_uri(), tmp_path / "runs" / "copied.json")
        found = {
            p.relative_to(there).as_posix(): p.read_text() for p in there.rglob("*") if p.is_file()
        }
        return done, found

    return reports, write, copy


DAY = {"access_log/2026-01-15/index.html": "a page", "access_log/2026-01-15/report.json": "{}",
       "access_log/index.html": "all days"}  # fmt: skip


def test_what_is_published_is_there_and_is_not_written_twice(lake):
    _, write, copy = lake
    write(DAY)
    assert copy() == ((3, 0), DAY)
    assert copy() == ((0, 0), DAY)


def test_what_changed_is_written_and_what_went_is_removed(lake):
    reports, write, copy = lake
    write(DAY | {"access_log/2026-01-14/index.html": "old"})
    copy()
    write({"access_log/index.html": "one day"})
    (reports / "access_log" / "2026-01-14" / "index.html").unlink()
    write({"access_log/.half": "not published", "access_log/.2026-01-13.99/index.html": "draft"})
    assert len(list(reports.rglob(".2026*/index.html"))) == 1
    assert copy() == ((1, 1), DAY | {"access_log/index.html": "one day"})


def test_a_copy_that_failed_goes_on_with_the_rest(lake, tmp_path):
    _, write, copy = lake
    write(DAY | {"clickstream/index.html": "clicks"})
    in_the_way = tmp_path / "www" / "reports" / "clickstream"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file, where a folder should be")
    with pytest.raises(OSError, match="clickstream"):
        copy()
    kept = json.loads((tmp_path / "runs" / "copied.json").read_text())
    assert set(kept["files"]) == set(DAY), "pages that list others come last"
    in_the_way.unlink()
    assert copy() == ((1, 0), DAY | {"clickstream/index.html": "clicks"})


def test_another_place_gets_all_of_it(lake, tmp_path):
    _, write, copy = lake
    write(DAY)
    copy()
    done, _ = copy((tmp_path / "other").as_uri())
    assert done == (3, 0)
    assert (tmp_path / "other" / "access_log" / "index.html").read_text() == "all days"


def test_a_link_out_of_the_reports_is_not_copied(lake, tmp_path):
    reports, write, copy = lake
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key.html").write_text("secret")
    write(DAY)
    (reports / "key.html").symlink_to(tmp_path / "private" / "key.html")
    (reports / "access_log" / "key.html").symlink_to("../../private/key.html")
    (reports / "access_log" / "private").symlink_to(tmp_path / "private")
    (reports / "access_log" / "twice.html").symlink_to("index.html")
    assert copy() == ((3, 0), DAY)


def test_a_file_that_became_a_link_is_removed_there_or_fails_while_it_is_copied(
    lake, tmp_path, monkeypatch
):
    reports, write, copy = lake
    (tmp_path / "key.html").write_text("secret")
    write(DAY)
    copy()
    page = reports / "access_log" / "index.html"
    listed = dict(sync_reports._list_published_files(reports))
    page.unlink()
    page.symlink_to(tmp_path / "key.html")
    rest = {name: text for name, text in DAY.items() if name != "access_log/index.html"}
    assert copy() == ((0, 1), rest)
    monkeypatch.setattr(sync_reports, "_list_published_files", lambda _: listed.items())
    with pytest.raises(OSError, match="access_log/index.html"):
        copy()


@pytest.mark.parametrize("place", ["nowhere://bucket/x", "s3://aws_default@bucket/reports"])
def test_an_address_that_nothing_serves_is_refused_with_the_remedy(lake, place):
    _, write, copy = lake
    write(DAY)
    with pytest.raises(ValueError, match=f"TIDEMARK_REPORT_COPY={place}.*file:///srv/www/reports"):
        copy(place)


def test_a_web_server_may_read_the_copy_whatever_the_umask_is(tmp_path):
    reports, target = tmp_path / "reports", tmp_path / "www" / "reports"
    (reports / "access_log" / "2026-01-15").mkdir(parents=True)
    (reports / "access_log" / "2026-01-15" / "index.html").write_text("page")
    before = os.umask(0o077)
    try:
        assert copy_reports(reports, f"file://{target}", tmp_path / "kept.json") == (1, 0)
    finally:
        os.umask(before)
    page = target / "access_log" / "2026-01-15" / "index.html"
    assert page.stat().st_mode & 0o777 == 0o644
    assert {folder.stat().st_mode & 0o777 for folder in page.parents[:4]} == {0o755}
