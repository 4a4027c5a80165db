"""The jars beside Spark: the broker's, the connector's, those for S3; by the Ivy that pyspark ships."""

import hashlib
import json
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from include.local_stack.java import java_home
from include.local_stack.processes import StackError
from include.settings import Settings, load_settings

HERE = Path(__file__).parent
IVY_FILE, SUMS_FILE = HERE / "ivy.xml", HERE / "jars.sha256"


class JarSet(NamedTuple):
    """Configurations of ivy.xml that are brought into one folder, and the sums of what they bring."""

    confs: tuple[str, ...]
    sums: Path


NEEDED = JarSet(("broker", "connector"), SUMS_FILE)
# Hadoop's file system of S3, with the whole of Amazon's library: 670 MB, so only for who asks for it.
FOR_S3 = JarSet(("s3",), HERE / "jars-s3.sha256")


def needs_s3(settings: Settings) -> bool:
    """Whether landed data are to lie in S3, or some do."""
    begun = [
        progress.with_name("data_at")
        for progress in settings.lake.glob("landing/*/*/progress.jsonl")
    ]
    there = [json.loads(kept.read_text())["at"] for kept in begun if kept.is_file()]
    return any(at.startswith("s3a:") for at in (settings.landing_data, *there))


def ensure_all_jars(settings: Settings) -> None:
    """Bring all jars that these settings need; raises StackError."""
    ensure_jars(settings.jars)
    if needs_s3(settings):
        ensure_jars(settings.s3_jars, FOR_S3)


def ensure_jars(folder: Path, of: JarSet = NEEDED) -> None:
    """Bring the jars unless they are all there and as recorded; raise StackError otherwise."""
    if not wrong_jars(folder, of):
        return
    (ivy,) = (pyspark_home() / "jars").glob("ivy-*.jar")
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    java = str(java_home() / "bin" / "java")
    retrieved = f"{fresh}/[conf]/[artifact]-[revision].[ext]"
    command = [java, "-jar", str(ivy), "-ivy", str(IVY_FILE), "-confs", *of.confs]
    command += ["-types", "jar", "bundle", "-retrieve", retrieved]
    done = subprocess.run(command, capture_output=True, text=True, cwd=fresh, check=False)
    if wrong := wrong_jars(fresh, of):
        missing = any(why == "missing" for why in wrong.values())
        tail = "\n".join(done.stdout.splitlines()[-8:]) if missing else ""
        listed = ", ".join(f"{name} ({why})" for name, why in list(wrong.items())[:5])
        raise StackError(
            f"{len(wrong)} jars are not what {of.sums.name} records: {listed}. "
            + ("Is the network reachable? Run it again" if missing else
               "Delete the cached ones in ~/.ivy2 and run it again; never use a changed jar")
            + (f"\n{tail}" if tail else "")
        )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)


def wrong_jars(folder: Path, of: JarSet = NEEDED) -> dict[str, str]:
    """Jar -> `missing` or `changed`, for every jar that is not as recorded; empty if all are."""
    wrong = {}
    for line in of.sums.read_text().splitlines():
        expected, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file():
            wrong[name] = "missing"
            continue
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != expected:
                wrong[name] = "changed"
    return wrong


def connector_jars(folder: Path) -> list[Path]:
    return sorted((folder / "connector").glob("*.jar"))


def version_mismatches() -> list[str]:
    """What does not fit together: pyspark, pyspark-client, Spark's own jars and the connector."""
    spark, client = version("pyspark"), version("pyspark-client")
    found = []
    if spark != client:
        found.append(
            f"pyspark is {spark} but pyspark-client is {client}, and both write into one folder: "
            f"`make setup` installs the locked pair"
        )
    cores = list((pyspark_home() / "jars").glob("spark-core_*.jar"))
    if [core.stem.rpartition("-")[2] for core in cores] != [spark]:
        found.append(f"pyspark is {spark} but ships {[core.name for core in cores]}: `make setup`")
    wanted = f"spark-sql-kafka-0-10_2.13-{spark}.jar"
    if f"connector/{wanted}" not in SUMS_FILE.read_text():
        found.append(f"pyspark is {spark}, which needs {wanted}: change ivy.xml and jars.sha256")
    return found


def pyspark_home() -> Path:
    """Where pyspark lies, without importing it; one path, however the environment is reached."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise StackError("pyspark is not installed; run `make setup`")
    return Path(spec.origin).resolve().parent


if __name__ == "__main__":  # in a container; elsewhere `make setup` and `make up` do it
    ensure_all_jars(load_settings())
