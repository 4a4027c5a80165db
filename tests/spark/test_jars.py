"""Only jars with their recorded checksum are used. Needs Java for Ivy, but no Spark session."""

import pytest

from include.errors import SetupError
from include.orchestration.jars import JarSet, ensure_jars, find_wrong_jars


@pytest.fixture
def jars(tmp_path):
    """A folder with a good and a changed jar, and a jar set that also lists a missing one."""
    folder, checksums_file = tmp_path / "jars", tmp_path / "sums"
    folder.mkdir()
    (folder / "good.jar").write_bytes(b"")
    (folder / "changed.jar").write_bytes(b"other")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    names = ("good", "changed", "gone")
    checksums_file.write_text("".join(f"{empty}  {name}.jar\n" for name in names))
    return folder, JarSet(("no-such-configuration",), checksums_file)


def test_missing_and_changed_jars_are_found(jars):
    assert find_wrong_jars(*jars) == {"changed.jar": "changed", "gone.jar": "missing"}


def test_a_failed_download_names_the_jars_and_keeps_the_existing_ones(java, jars):
    folder, jar_set = jars
    with pytest.raises(
        SetupError, match=r"3 jars .* good.jar \(missing\).*Check the network connection"
    ):
        ensure_jars(folder, jar_set)
    assert sorted(path.name for path in folder.iterdir()) == ["changed.jar", "good.jar"]


def test_jars_with_the_recorded_checksum_are_not_downloaded_again(jars):
    folder, jar_set = jars
    jar_set.checksums_file.write_text(jar_set.checksums_file.read_text().splitlines()[0] + "\n")
    ensure_jars(folder, jar_set)
    assert (folder / "good.jar").read_bytes() == b""
