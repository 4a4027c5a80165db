"""Where a moved lake has its old place written, its new one is put. Without Spark."""

from pathlib import Path

import pytest

from include.errors import SetupError
from include.lake.relocate import relocate_lake
from include.settings import load_settings

OLD, OTHER = "/var/old home", "/var/old home 2"
AS_URI = OLD.replace(" ", "%20")
# File under the lake -> what stands in it, as Spark, Airflow and the jobs write a path.
WRITTEN = {
    "landing/access_log/files/data/_spark_metadata/0": f'v1\n{{"path":"file://{AS_URI}/lake/a.parquet"}}\n',
    "landing/access_log/files/checkpoint/sources/0/3": f'{{"path":"file:{AS_URI}/lake/ready/a%20b.log"}}\n',
    "landing/access_log/files/query.json": f'{{"source": "text:{OLD}/lake/ready"}}',
    "summary/access_log/2026-01-15/summary.json": f'{{"landing": "{OLD}/lake/landing"}}',
    "../airflow/airflow.cfg": f"sql_alchemy_conn = sqlite:///{OLD}/airflow/airflow.db\nlogs = {OLD}/logs\n",
}  # fmt: skip
OTHERS = {
    "landing/access_log/files/progress.jsonl": f'{{"landing": "{OTHER}/lake"}}\n',
    "reports/access_log/2026-01-15/report.json": f'{{"landing": "{OLD}/lake"}}',
    "runs/analyse_access_log/.run.json": f'{{"landing": "{OLD}/lake"}}',
}  # fmt: skip


def write(home, files):
    for name, text in files.items():
        path = home / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_notation_of_the_old_place_becomes_the_new_one_and_is_counted(tmp_path):
    home = tmp_path / "new home"
    (home / "lake").mkdir(parents=True)
    write(home, WRITTEN | OTHERS)
    crc = home / "lake/landing/access_log/files/checkpoint/sources/0/.3.crc"
    crc.write_bytes(b"of what stood there")
    settings = load_settings({"TIDEMARK_HOME": str(home)})
    assert relocate_lake(Path(OLD), settings) == len(WRITTEN)
    new, new_uri = str(home), str(home).replace(" ", "%20")
    for name, text in WRITTEN.items():
        expected = text.replace(f"{OLD}/", f"{new}/").replace(f"{AS_URI}/", f"{new_uri}/")
        assert (home / "lake" / name).read_text() == expected
    for name, text in OTHERS.items():
        assert (home / "lake" / name).read_text() == text
    assert not crc.exists(), "a checksum of the old text"
    assert relocate_lake(Path(OLD), settings) == 0, "it may be repeated"


def test_a_place_that_is_still_used_or_cannot_be_is_refused(tmp_path):
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
