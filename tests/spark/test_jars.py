"""Jars are taken only as they are recorded. Ivy is a program of Java's; no Spark session."""

import pytest

from include.errors import SetupError
from include.orchestration.jars import JarSet, ensure_jars, list_wrong_jars


@pytest.fixture
def jars(tmp_path):
    """A folder with a good and a changed jar, and a set that asks for a third one besides."""
    folder, sums = tmp_path / "jars", tmp_path / "sums"
    folder.mkdir()
    (folder / "good.jar").write_bytes(b"")
    (folder / "changed.jar").write_bytes(b"other")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    names = ("good", "changed", "gone")
    sums.write_text("".join(f"{empty}  {name}.jar\n" for name in names))
    return folder, JarSet(("no-such-configuration",), sums)


def test_a_jar_that_is_gone_or_changed_is_known(jars):
    assert list_wrong_jars(*jars) == {"changed.jar": "changed", "gone.jar": "missing"}


def test_jars_that_cannot_be_brought_are_named_and_the_old_ones_stay(java, jars):
    folder, wanted = jars
    with pytest.raises(
        SetupError, match=r"3 jars .* good.jar \(missing\).*Check the network connection"
    ):
        ensure_jars(folder, wanted)
    assert sorted(path.name for path in folder.iterdir()) == ["changed.jar", "good.jar"]


def test_jars_that_are_as_recorded_are_not_brought_again(jars):
    folder, wanted = jars
    wanted.checksums_file.write_text(wanted.checksums_file.read_text().splitlines()[0] + "\n")
    ensure_jars(folder, wanted)
    assert (folder / "good.jar").read_bytes() == b""
