"""Download and verify the jars that Spark does not ship: broker, Kafka connector and S3.

The download uses the Ivy that pyspark ships.
"""

import hashlib
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from include.errors import SetupError
from include.lake.landing_files import LandingFiles
from include.orchestration.java import find_java_home
from include.settings import Settings, load_settings

HERE = Path(__file__).parent
IVY_FILE, CHECKSUMS_FILE = HERE / "ivy.xml", HERE / "jars.sha256"


class JarSet(NamedTuple):
    """Configurations of ivy.xml that are downloaded to one folder, and the checksums of their jars."""

    confs: tuple[str, ...]
    checksums_file: Path


REQUIRED_JARS = JarSet(("broker", "connector"), CHECKSUMS_FILE)
# Hadoop's S3 file system with the whole AWS library: 670 MB, so only if a landing is stored in S3.
S3_JARS = JarSet(("s3",), HERE / "jars-s3.sha256")


def has_s3_landing(settings: Settings) -> bool:
    """Return whether landed data are, or will be, stored in S3."""
    landings = map(LandingFiles, settings.lake.glob("landing/*/*"))
    locations = [
        landing.read_data_location().get("at", "")
        for landing in landings
        if landing.progress.is_file()
    ]
    return any(location.startswith("s3a:") for location in (settings.data_location, *locations))


def ensure_all_jars(settings: Settings) -> None:
    """Download all jars that these settings need. Raises SetupError if that fails."""
    ensure_jars(settings.jars)
    if has_s3_landing(settings):
        ensure_jars(settings.s3_jars, S3_JARS)


def ensure_jars(folder: Path, jar_set: JarSet = REQUIRED_JARS) -> None:
    """Download the jars of a set unless all are present with their recorded checksums.

    Raises:
        SetupError: A jar is still missing or has another checksum. The old folder is unchanged.
    """
    if not find_wrong_jars(folder, jar_set):
        return
    (ivy,) = (find_pyspark_home() / "jars").glob("ivy-*.jar")
    new_folder = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new_folder, ignore_errors=True)
    new_folder.mkdir(parents=True)
    java = str(find_java_home() / "bin" / "java")
    retrieved = f"{new_folder}/[conf]/[artifact]-[revision].[ext]"
    command = [java, "-jar", str(ivy), "-ivy", str(IVY_FILE), "-confs", *jar_set.confs]
    command += ["-types", "jar", "bundle", "-retrieve", retrieved]
    process = subprocess.run(command, capture_output=True, text=True, cwd=new_folder, check=False)
    if wrong := find_wrong_jars(new_folder, jar_set):
        is_any_missing = any(reason == "missing" for reason in wrong.values())
        tail = "\n".join(process.stdout.splitlines()[-8:]) if is_any_missing else ""
        examples = ", ".join(f"{name} ({reason})" for name, reason in list(wrong.items())[:5])
        raise SetupError(
            f"{len(wrong)} jars do not match {jar_set.checksums_file.name}: {examples}. "
            + (
                "Check the network connection and run it again"
                if is_any_missing
                else "Delete the cached jars in ~/.ivy2 and run it again; never use a changed jar"
            )
            + (f"\n{tail}" if tail else "")
        )
    shutil.rmtree(folder, ignore_errors=True)
    new_folder.replace(folder)


def find_wrong_jars(folder: Path, jar_set: JarSet = REQUIRED_JARS) -> dict[str, str]:
    """Return jar -> `missing` or `changed` for every jar without its recorded checksum."""
    wrong = {}
    for line in jar_set.checksums_file.read_text().splitlines():
        expected, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file():
            wrong[name] = "missing"
            continue
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != expected:
                wrong[name] = "changed"
    return wrong


def list_connector_jars(folder: Path) -> list[Path]:
    return sorted((folder / "connector").glob("*.jar"))


def find_version_mismatches() -> list[str]:
    """Return a message for each version mismatch of pyspark, its client, its own jars and the connector."""
    spark, client = version("pyspark"), version("pyspark-client")
    mismatches = []
    if spark != client:
        mismatches.append(
            f"pyspark is {spark} but pyspark-client is {client}, and both install into the same folder; "
            f"run `make setup` to install the locked pair"
        )
    cores = list((find_pyspark_home() / "jars").glob("spark-core_*.jar"))
    if [core.stem.rpartition("-")[2] for core in cores] != [spark]:
        mismatches.append(
            f"pyspark is {spark} but ships {[core.name for core in cores]}; run `make setup`"
        )
    connector = f"spark-sql-kafka-0-10_2.13-{spark}.jar"
    if f"connector/{connector}" not in CHECKSUMS_FILE.read_text():
        mismatches.append(
            f"pyspark is {spark}, which needs {connector}; change ivy.xml and jars.sha256"
        )
    return mismatches


def find_pyspark_home() -> Path:
    """Return the folder of pyspark without importing it, with symbolic links resolved."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SetupError("pyspark is not installed; run `make setup`")
    return Path(spec.origin).resolve().parent


if __name__ == "__main__":  # for containers; elsewhere `make setup` and `make up` call it
    ensure_all_jars(load_settings())
