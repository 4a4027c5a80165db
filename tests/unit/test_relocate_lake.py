"""Relocating a lake, without Spark: stored paths below the old home are rewritten."""

from pathlib import Path

import pytest

from include.errors import SetupError
from include.lake.relocate import relocate_lake
from include.settings import load_settings

OLD, OTHER = "/var/old home", "/var/old home 2"
OLD_URI = OLD.replace(" ", "%20")
# File below the lake -> its text, with paths as Spark, Airflow and the jobs write them.
FILES_WITH_PATHS = {
    "landing/access_log/files/data/_spark_metadata/0": f'v1\n{{"path":"file://{OLD_URI}/lake/a.parquet"}}\n',
    "landing/access_log/files/checkpoint/sources/0/3": f'{{"path":"file:{OLD_URI}/lake/ready/a%20b.log"}}\n',
    "landing/access_log/files/query.json": f'{{"source": "text:{OLD}/lake/ready"}}',
    "summary/access_log/2026-01-15/summary.json": f'{{"landing": "{OLD}/lake/landing"}}',
    "../airflow/airflow.cfg": f"sql_alchemy_conn = sqlite:///{OLD}/airflow/airflow.db\nlogs = {OLD}/logs\n",
}  # fmt: skip
UNCHANGED_FILES = {
    "landing/access_log/files/progress.jsonl": f'{{"landing": "{OTHER}/lake"}}\n',
    "reports/access_log/2026-01-15/report.json": f'{{"landing": "{OLD}/lake"}}',
    "runs/analyse_access_log/.run.json": f'{{"landing": "{OLD}/lake"}}',
}  # fmt: skip


def write_files(home, files):
    for name, text in files.items():
        path = home / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_notation_of_the_old_home_is_replaced_and_counted(tmp_path):
    home = tmp_path / "new home"
    (home / "lake").mkdir(parents=True)
    write_files(home, FILES_WITH_PATHS | UNCHANGED_FILES)
    crc = home / "lake/landing/access_log/files/checkpoint/sources/0/.3.crc"
    crc.write_bytes(b"of what stood there")
    settings = load_settings({"TIDEMARK_HOME": str(home)})
    assert relocate_lake(Path(OLD), settings) == len(FILES_WITH_PATHS)
    new, new_uri = str(home), str(home).replace(" ", "%20")
    for name, text in FILES_WITH_PATHS.items():
        expected = text.replace(f"{OLD}/", f"{new}/").replace(f"{OLD_URI}/", f"{new_uri}/")
        assert (home / "lake" / name).read_text() == expected
    for name, text in UNCHANGED_FILES.items():
        assert (home / "lake" / name).read_text() == text
    assert not crc.exists(), "a checksum of the old text"
    assert relocate_lake(Path(OLD), settings) == 0, "it may be repeated"


def test_an_old_home_that_is_relative_or_in_use_is_refused(tmp_path):
    home, old = tmp_path / "new", tmp_path / "old"
    settings = load_settings({"TIDEMARK_HOME": str(home)})
    with pytest.raises(SetupError, match="there is no lake in"):
        relocate_lake(old, settings)
    (home / "lake").mkdir(parents=True)
    with pytest.raises(SetupError, match="is not an absolute path"):
        relocate_lake(old.relative_to("/"), settings)
    (old / "lake").mkdir(parents=True)
    with pytest.raises(SetupError, match="still holds a lake"):
        relocate_lake(old, settings)
    assert relocate_lake(home, settings) == 0
