"""The import rules of the design, checked for every file."""

import ast
import sys

import pytest

from include.settings import PROJECT
from tests.conftest import run_command

OURS = {"dags", "producers", "spark_jobs", "include", "plugins", "tests"}
MAY_IMPORT = {
    "include": {"include"},
    "producers": {
        "producers", "include.compression", "include.contracts", "include.datasets", "include.errors",
        "include.flag_values", "include.kafka_login", "include.lake.files", "include.settings",
    },
    "spark_jobs": {
        "spark_jobs", "include.broker_probe", "include.contracts", "include.errors",
        "include.flag_values", "include.kafka_login", "include.lake.files",
        "include.lake.landing_files", "include.log_formats", "include.panels", "include.summary",
    },
    "dags": {"include"},
}  # fmt: skip
# A package imports only packages that come before it in this list.
ORDER = [
    "include.errors", "include.compression", "include.contracts", "include.flag_values",
    "include.broker_probe", "include.settings", "include.datasets", "include.panels", "include.kafka_login",
    "include.log_formats", "include.lake", "include.inbox", "include.summary",
    "include.reporting", "include.orchestration", "include.local_stack",
    "include.generate_docs",
    "spark_jobs.transforms", "spark_jobs.streaming", "spark_jobs.landing",
]  # fmt: skip
FILES = [file for folder in MAY_IMPORT for file in sorted((PROJECT / folder).rglob("*.py"))]


def list_imports(tree: ast.AST, inside_functions: bool) -> set[str]:
    """The project's modules that a file imports: at its top level, or anywhere in it."""
    nodes = ast.walk(tree) if inside_functions else tree.body
    modules = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {name for name in modules if name.partition(".")[0] in OURS}


def is_allowed(name: str, folder: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in MAY_IMPORT[folder])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_a_file_imports_only_what_its_folder_may_import(file):
    folder = file.relative_to(PROJECT).parts[0]
    # DAGs may use producers, but only inside a task: parsing must stay light.
    names = list_imports(ast.parse(file.read_text()), inside_functions=folder != "dags")
    assert not {name for name in names if not is_allowed(name, folder)}


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_packages_earlier_in_the_order(package):
    path = PROJECT / package.replace(".", "/")
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files
    for file in files:
        names = list_imports(ast.parse(file.read_text()), inside_functions=True)
        # `from include import x` would hide x from the check below.
        assert not names & {"include", "spark_jobs"}, file
        others = {".".join(name.split(".")[:2]) for name in names} - {package}
        later = {name for name in others if ORDER.index(name) > ORDER.index(package)}
        assert not later, f"{file.relative_to(PROJECT)} imports {later}"


def test_every_package_is_in_the_order():
    packages = {f"include.{path.stem}" for path in (PROJECT / "include").glob("[a-z]*")}
    packages |= {
        f"spark_jobs.{path.parent.name}" for path in (PROJECT / "spark_jobs").glob("*/__init__.py")
    }
    assert packages - set(ORDER) == {"include.log4j2"}


def test_only_one_module_imports_the_kafka_client():
    importers = [
        file.relative_to(PROJECT).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kafka")
        or (
            isinstance(node, ast.Import)
            and any(alias.name.split(".")[0] == "kafka" for alias in node.names)
        )
    ]
    assert set(importers) == {"producers/kafka_client.py"}


def test_a_job_does_not_load_pandas():
    """PySpark loads pandas at the first literal, which delays the start of a job by a second."""
    job = (
        "import sys; from spark_jobs.streaming import session\n"
        "def look():\n"
        "    import pyspark.testing.utils as looked_at\n"
        "    import pyarrow; assert len(pyarrow.array(['a'])) == 1\n"
        "    assert not looked_at.have_pandas and 'pandas' not in sys.modules\n"
        "    print('looked')\n"
        "session.run_job('look', look)"
    )
    result = run_command([sys.executable, "-c", job])
    assert (result.returncode, result.stdout.strip()) == (0, "looked"), result.stderr
