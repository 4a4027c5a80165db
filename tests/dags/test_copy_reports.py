"""Copy reports to another location: changed files are copied, removed files are removed there, too."""

import json
import os

import pytest

from include.reporting import sync_reports
from include.reporting.sync_reports import copy_reports


@pytest.fixture
def lake(tmp_path, airflow_home):
    """The reports folder, a function that writes reports, and one that copies them.

    `copy` returns its counts (copied, removed) and the files that the target then has.
    """
    reports, target = tmp_path / "reports", tmp_path / "www" / "reports"

    def write(files):
        for name, text in files.items():
            path = reports / name
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}")
            part.write_text(text)
            part.replace(path)

    def copy(address=None):
        counts = copy_reports(
            reports, address or target.as_uri(), tmp_path / "runs" / "copied.json"
        )
        target_files = {
            p.relative_to(target).as_posix(): p.read_text()
            for p in target.rglob("*")
            if p.is_file()
        }
        return counts, target_files

    return reports, write, copy


DAY = {"access_log/2026-01-15/index.html": "a page", "access_log/2026-01-15/report.json": "{}",
       "access_log/index.html": "all days"}  # fmt: skip


def test_published_files_are_copied_once(lake):
    _, write, copy = lake
    write(DAY)
    assert copy() == ((3, 0), DAY)
    assert copy() == ((0, 0), DAY)


def test_changed_files_are_copied_and_removed_files_are_removed(lake):
    reports, write, copy = lake
    write(DAY | {"access_log/2026-01-14/index.html": "old"})
    copy()
    write({"access_log/index.html": "one day"})
    (reports / "access_log" / "2026-01-14" / "index.html").unlink()
    write({"access_log/.half": "not published", "access_log/.2026-01-13.99/index.html": "draft"})
    assert len(list(reports.rglob(".2026*/index.html"))) == 1
    assert copy() == ((1, 1), DAY | {"access_log/index.html": "one day"})


def test_a_failed_copy_resumes_with_the_missing_files(lake, tmp_path):
    _, write, copy = lake
    write(DAY | {"clickstream/index.html": "clicks"})
    blocking_file = tmp_path / "www" / "reports" / "clickstream"
    blocking_file.parent.mkdir(parents=True)
    blocking_file.write_text("a file, where a folder should be")
    with pytest.raises(OSError, match="clickstream"):
        copy()
    record = json.loads((tmp_path / "runs" / "copied.json").read_text())
    assert set(record["files"]) == set(DAY), "pages that list others come last"
    blocking_file.unlink()
    assert copy() == ((1, 0), DAY | {"clickstream/index.html": "clicks"})


def test_a_new_target_gets_every_file(lake, tmp_path):
    _, write, copy = lake
    write(DAY)
    copy()
    counts, _ = copy((tmp_path / "other").as_uri())
    assert counts == (3, 0)
    assert (tmp_path / "other" / "access_log" / "index.html").read_text() == "all days"


def test_symlinks_are_not_copied(lake, tmp_path):
    reports, write, copy = lake
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key.html").write_text("secret")
    write(DAY)
    (reports / "key.html").symlink_to(tmp_path / "private" / "key.html")
    (reports / "access_log" / "key.html").symlink_to("../../private/key.html")
    (reports / "access_log" / "private").symlink_to(tmp_path / "private")
    (reports / "access_log" / "twice.html").symlink_to("index.html")
    assert copy() == ((3, 0), DAY)


def test_a_file_replaced_by_a_symlink_is_never_copied(lake, tmp_path, monkeypatch):
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


@pytest.mark.parametrize("address", ["nowhere://bucket/x", "s3://aws_default@bucket/reports"])
def test_an_unsupported_address_is_refused_with_the_remedy(lake, address):
    _, write, copy = lake
    write(DAY)
    with pytest.raises(
        ValueError, match=f"TIDEMARK_REPORT_COPY={address}.*file:///srv/www/reports"
    ):
        copy(address)


def test_a_web_server_can_read_the_copy_whatever_the_umask(tmp_path):
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
