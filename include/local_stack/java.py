"""Find a Java that Spark 4.2 and Kafka 4.3 run on: 17 or 21."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from include.local_stack.processes import StackError

SUPPORTED = (17, 21)
REMEDY = (
    "install one, for example `apt-get install openjdk-17-jre-headless` (Debian, Ubuntu) or "
    "`brew install openjdk@17`, or set JAVA_HOME to one"
)


def java_home() -> Path:
    """JAVA_HOME if it is a fitting Java, else the one of `java` in PATH, else one installed.

    Raises StackError that names what was found and the remedy.
    """
    candidates = []
    if os.environ.get("JAVA_HOME"):
        candidates.append(Path(os.environ["JAVA_HOME"]))
    if found := shutil.which("java"):
        candidates.append(Path(found).resolve().parent.parent)
    for folder in ("/usr/lib/jvm", "/Library/Java/JavaVirtualMachines"):
        candidates += sorted(Path(folder).glob("*")) + sorted(Path(folder).glob("*/Contents/Home"))
    seen = {}
    for home in candidates:
        version = java_version(home)
        if version in SUPPORTED:
            return home
        if version:
            seen[str(home)] = version
    what = ", ".join(f"{version} in {home}" for home, version in seen.items()) or "none"
    raise StackError(f"Java 17 or 21 is needed; found: {what}; {REMEDY}")


def java_version(home: Path) -> int | None:
    """The major version of the Java in `home`; None if there is none that runs."""
    java = home / "bin" / "java"
    if not java.is_file():
        return None
    try:
        told = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=20, check=False
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', told)
    return int(match[1]) if match else None
