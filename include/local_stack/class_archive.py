"""A class-data archive: Spark's classes as the JVM wants them, so that a job starts in less time.

Made at set-up by running two jobs on a few lines, for exactly this Java and these jars: the file's name
says which, so a changed Java or jar finds none, and starts as without. Java's own switches:
https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from include.local_stack.jars import pyspark_home
from include.local_stack.java import java_home
from include.package import package_jobs
from include.settings import PROJECT, Settings

# Few cores: one collector thread. Spark's generated methods are long, and Java leaves methods over
# 8,000 bytes to its interpreter unless it is told not to.
JAVA_OPTIONS = "-XX:+UseSerialGC -XX:-DontCompileHugeMethods -Djava.net.preferIPv4Stack=true"
# The quick compiler alone starts sooner; what the other makes is twice as fast after some seconds.
SHORT_JOB = "-XX:TieredStopAtLevel=1"
LINES = PROJECT / "include" / "local_stack" / "sample.log"
SECONDS = 300


def archive(settings: Settings) -> Path | None:
    """Where the archive of this Java and these jars is, or is to be; None without a Java."""
    home = os.environ.get("JAVA_HOME") or _java_in_path()
    release = Path(home or "") / "release"
    if not release.is_file():
        return None
    jars = sorted((pyspark_home() / "jars").glob("*.jar"))
    # As the JVM compares them: it takes an archive only if each jar has the same size and time.
    about = [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in jars]
    text = "\n".join([release.read_text(), *about])
    name = f"classes-{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsa"
    return settings.jars.resolve() / name


def java_options(settings: Settings, *, long: bool = False) -> str:
    """What every driver's JVM is started with; from the archive, if there is one."""
    options = JAVA_OPTIONS if long else f"{JAVA_OPTIONS} {SHORT_JOB}"
    found = archive(settings)
    if found is None or not found.is_file():
        return options
    # What is wrong with an archive is no matter for a user: the JVM goes on without it.
    return (
        f"{options} -Xshare:auto -XX:SharedArchiveFile={found} -Xlog:disable -Xlog:all=error:stderr"
    )


def ensure_archive(settings: Settings) -> bool:
    """Make the archive unless it is there, in about a minute. False if that failed.

    Nothing depends on it, so a failure stops nobody.
    """
    os.environ.setdefault("JAVA_HOME", str(java_home()))
    target = archive(settings)
    if target is None or target.is_file():
        return target is not None
    with tempfile.TemporaryDirectory(prefix="tidemark-classes-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        shutil.copy(LINES, folder / "in" / "sample.log")
        made = folder / "classes.jsa"
        command = [
            str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]",
            "--conf", "spark.ui.enabled=false", "--driver-memory", settings.driver_memory,
            "--conf", f"spark.driver.extraJavaOptions={JAVA_OPTIONS} -XX:ArchiveClassesAtExit={made}",
            "--py-files", str(package_jobs(settings.job_zip)),
            str(PROJECT / "spark_jobs" / "warm_up.py"), "--source", str(folder / "in"),
            "--sink", str(folder / "out"),
        ]  # fmt: skip
        env = os.environ | {"PYTHONPATH": str(PROJECT), "PYSPARK_PYTHON": sys.executable,
                            "SPARK_HOME": str(pyspark_home()), "SPARK_LOCAL_IP": "127.0.0.1"}  # fmt: skip
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode or not made.is_file():
            return False
        for old in target.parent.glob("classes-*.jsa"):
            old.unlink()
        part = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(made, part)
        part.replace(target)
    return True


def _java_in_path() -> str | None:
    found = shutil.which("java")
    return str(Path(found).resolve().parent.parent) if found else None
