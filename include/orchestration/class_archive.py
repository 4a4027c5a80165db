"""Create and use an archive of Spark's Java classes (class data sharing), so that a job starts faster.

The archive is created at set-up by running two jobs on a few lines. It fits exactly one Java and one set of
jars, and its file name contains their checksum. After a change of Java or jars no archive is found, and jobs
start without one. Java's options:
https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from include.orchestration.jars import find_pyspark_home
from include.orchestration.java import find_java_home
from include.orchestration.package import package_jobs
from include.settings import PROJECT, Settings

# Few cores: one garbage collector thread. Spark generates long methods, and by default Java only
# interprets methods over 8,000 bytes.
JAVA_OPTIONS = "-XX:+UseSerialGC -XX:-DontCompileHugeMethods -Djava.net.preferIPv4Stack=true"
# The quick compiler (C1) alone starts sooner; code from the other one (C2) is twice as fast after some
# seconds.
SHORT_JOB_OPTIONS = "-XX:TieredStopAtLevel=1"
SAMPLE_LOG = PROJECT / "include" / "local_stack" / "sample.log"
TIMEOUT_SECONDS = 300


def resolve_archive_path(settings: Settings) -> Path | None:
    """Return the path of the archive for this Java and these jars, existing or not; None without Java."""
    home = os.environ.get("JAVA_HOME") or _find_java_in_path()
    release = Path(home or "") / "release"
    return settings.jars.resolve() / _name_archive(release) if release.is_file() else None


@cache  # every task of every DAG file asks for it
def _name_archive(release: Path) -> str:
    jars = sorted((find_pyspark_home() / "jars").glob("*.jar"))
    # The JVM compares the same values: it accepts an archive only if each jar has its size and time.
    jar_states = [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in jars]
    text = "\n".join([release.read_text(), *jar_states])
    return f"classes-{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsa"


def build_java_options(settings: Settings, *, is_long_job: bool = False) -> str:
    """Return the options for a driver's JVM, with the class archive if it exists.

    Args:
        is_long_job: Use the compiler that starts slower and produces faster code.
    """
    options = JAVA_OPTIONS if is_long_job else f"{JAVA_OPTIONS} {SHORT_JOB_OPTIONS}"
    archive = resolve_archive_path(settings)
    if archive is None or not archive.is_file():
        return options
    # The JVM continues without a damaged archive, so its warnings are switched off.
    return f"{options} -Xshare:auto -XX:SharedArchiveFile={archive} -Xlog:disable -Xlog:all=error:stderr"


def ensure_archive(settings: Settings) -> bool:
    """Create the archive if it is missing; this takes about a minute.

    Returns:
        False if it could not be created. Jobs then start without it.
    """
    os.environ.setdefault("JAVA_HOME", str(find_java_home()))
    target = resolve_archive_path(settings)
    if target is None or target.is_file():
        return target is not None
    with tempfile.TemporaryDirectory(prefix="tidemark-classes-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        shutil.copy(SAMPLE_LOG, folder / "in" / "sample.log")
        archive = folder / "classes.jsa"
        command = [
            str(Path(sys.executable).with_name("spark-submit")),
            "--master",
            "local[2]",
            "--conf",
            "spark.ui.enabled=false",
            "--driver-memory",
            settings.driver_memory,
            "--conf",
            f"spark.driver.extraJavaOptions={JAVA_OPTIONS} -XX:ArchiveClassesAtExit={archive}",
            "--py-files",
            str(package_jobs(settings.job_zip)),
            str(PROJECT / "spark_jobs" / "warm_up.py"),
            "--source",
            str(folder / "in"),
            "--sink",
            str(folder / "out"),
        ]
        env = os.environ | {
            "PYTHONPATH": str(PROJECT),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_HOME": str(find_pyspark_home()),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        try:
            process = subprocess.run(
                command, env=env, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if process.returncode or not archive.is_file():
            return False
        for old in target.parent.glob("classes-*.jsa"):
            old.unlink()
        part = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(archive, part)
        part.replace(target)
    return True


def _find_java_in_path() -> str | None:
    java = shutil.which("java")
    return str(Path(java).resolve().parent.parent) if java else None
