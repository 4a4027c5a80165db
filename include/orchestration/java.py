"""Find a Java that Spark 4.2 and Kafka 4.4 support: 17 or 21."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from include.errors import SetupError

SUPPORTED_VERSIONS = (17, 21)
REMEDY = (
    "install it, for example with `apt-get install openjdk-17-jre-headless` (Debian, Ubuntu) or "
    "`brew install openjdk@17`, or set JAVA_HOME to an installed one"
)


def find_java_home() -> Path:
    """Return the home of a supported Java: JAVA_HOME, else `java` in PATH, else an installed one.

    Raises:
        SetupError: There is none. The message lists the versions found and what to do.
    """
    candidates = []
    if os.environ.get("JAVA_HOME"):
        candidates.append(Path(os.environ["JAVA_HOME"]))
    if java := shutil.which("java"):
        candidates.append(Path(java).resolve().parent.parent)
    for folder in ("/usr/lib/jvm", "/Library/Java/JavaVirtualMachines"):
        candidates += sorted(Path(folder).glob("*")) + sorted(Path(folder).glob("*/Contents/Home"))
    unsupported = {}
    for home in candidates:
        version = read_java_version(home)
        if version in SUPPORTED_VERSIONS:
            return home
        if version:
            unsupported[str(home)] = version
    versions = ", ".join(f"{version} in {home}" for home, version in unsupported.items()) or "none"
    raise SetupError(f"Java 17 or 21 is required; found: {versions}; {REMEDY}")


def read_java_version(home: Path) -> int | None:
    """Return the major version of the Java in `home`; None if there is no Java that runs."""
    java = home / "bin" / "java"
    if not java.is_file():
        return None
    try:
        output = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=20, check=False
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', output)
    return int(match[1]) if match else None
