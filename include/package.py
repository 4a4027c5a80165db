"""Zip what a Spark driver needs of this project: `spark_jobs/`, and of `include/` what it may import."""

import os
import zipfile
from io import BytesIO
from pathlib import Path

from include.settings import PROJECT, load_settings, restrict_new_files


def package_jobs(target: Path) -> Path:
    """Write the zip, unless it already holds just this; the same source gives the same bytes."""
    files = [*sorted((PROJECT / "spark_jobs").rglob("*.py"))]
    files += [
        PROJECT / "include" / name
        for name in ("__init__.py", "contracts.py", "kafka_login.py", "log_formats.py")
    ]
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(str(file.relative_to(PROJECT)), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    if not target.is_file() or target.read_bytes() != packed.getvalue():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        part.write_bytes(packed.getvalue())
        part.replace(target)
    return target


if __name__ == "__main__":
    restrict_new_files()
    package_jobs(load_settings().job_zip)
