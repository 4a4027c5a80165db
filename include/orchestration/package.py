"""Zip the modules that a Spark driver needs: `spark_jobs/`, and the part of `include/` that jobs import."""

import zipfile
from io import BytesIO
from pathlib import Path

from include.lake.files import replace_file
from include.settings import PROJECT, load_settings, restrict_new_files

# The modules of `include/` that jobs import on the driver and on executors.
JOB_MODULES = (
    "__init__.py",
    "broker_probe.py",
    "contracts.py",
    "errors.py",
    "flag_values.py",
    "kafka_login.py",
    "lake/__init__.py",
    "lake/files.py",
    "lake/landing_files.py",
    *(
        f"log_formats/{file.name}"
        for file in sorted((PROJECT / "include/log_formats").glob("*.py"))
    ),
    "panels.py",
    "summary/__init__.py",
    "summary/counts.py",
    "summary/geoip.py",
    "summary/incidents.py",
    "summary/count_panels.py",
    "summary/referrers.py",
    "summary/user_agents.py",
    "summary/visitors.py",
)


def package_jobs(target: Path) -> Path:
    """Write the zip if its content changed, and return its path. The same source gives the same bytes."""
    files = [*sorted((PROJECT / "spark_jobs").rglob("*.py"))]
    files += [PROJECT / "include" / name for name in JOB_MODULES]
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(str(file.relative_to(PROJECT)), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    if not target.is_file() or target.read_bytes() != packed.getvalue():
        replace_file(target, packed.getvalue())
    return target


if __name__ == "__main__":
    restrict_new_files()
    package_jobs(load_settings().job_zip)
