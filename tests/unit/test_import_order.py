"""Who may import whom: the arrows of the design, held for every file."""

import ast
import sys

import pytest

from include.settings import PROJECT
from tests.conftest import run_command

OURS = {"dags", "producers", "spark_jobs", "include", "plugins", "tests"}
MAY_IMPORT = {
    "include": {"include"},
    "producers": {
        "producers", "include.contracts", "include.datasets", "include.flag_values",
        "include.kafka_login", "include.lake.files", "include.settings",
    },
    "spark_jobs": {
        "spark_jobs", "include.broker_probe", "include.contracts", "include.errors",
        "include.flag_values", "include.kafka_login", "include.lake.files",
        "include.lake.landing_files", "include.log_formats", "include.panels", "include.summary",
    },
    "dags": {"include"},
}  # fmt: skip
# A package imports only packages before it.
ORDER = [
    "include.errors", "include.contracts", "include.flag_values", "include.broker_probe",
    "include.settings", "include.datasets", "include.panels", "include.kafka_login",
    "include.log_formats", "include.lake", "include.inbox", "include.summary",
    "include.reporting", "include.orchestration", "include.local_stack",
    "include.generate_docs",
    "spark_jobs.transforms", "spark_jobs.streaming", "spark_jobs.landing",
]  # fmt: skip
FILES = [file for folder in MAY_IMPORT for file in sorted((PROJECT / folder).rglob("*.py"))]


def imported(tree: ast.AST, inside_functions: bool) -> set[str]:
    """Modules of ours that a file imports: at its top level, or anywhere."""
    nodes = ast.walk(tree) if inside_functions else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in OURS}


def allowed(name: str, folder: str) -> bool:
    return any(name == may or name.startswith(f"{may}.") for may in MAY_IMPORT[folder])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_a_file_imports_only_what_its_folder_may(file):
    folder = file.relative_to(PROJECT).parts[0]
    # DAGs may use producers, but only inside a task: parsing must stay light.
    names = imported(ast.parse(file.read_text()), inside_functions=folder != "dags")
    assert not {name for name in names if not allowed(name, folder)}


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_packages_before_it(package):
    path = PROJECT / package.replace(".", "/")
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files
    for file in files:
        names = imported(ast.parse(file.read_text()), inside_functions=True)
        # Where a package is imported as `from include import x`, x is not in the module's name.
        assert not names & {"include", "spark_jobs"}, file
        others = {".".join(name.split(".")[:2]) for name in names} - {package}
        later = {name for name in others if ORDER.index(name) > ORDER.index(package)}
        assert not later, f"{file.relative_to(PROJECT)} imports {later}"


def test_every_package_has_its_place_in_the_order():
    found = {f"include.{path.stem}" for path in (PROJECT / "include").glob("[a-z]*")}
    found |= {
        f"spark_jobs.{path.parent.name}" for path in (PROJECT / "spark_jobs").glob("*/__init__.py")
    }
    assert found - set(ORDER) == {"include.log4j2"}


def test_one_module_alone_talks_to_kafka():
    users = [
        file.relative_to(PROJECT).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kafka")
        or (
            isinstance(node, ast.Import)
            and any(a.name.split(".")[0] == "kafka" for a in node.names)
        )
    ]
    assert set(users) == {"producers/kafka_client.py"}


def test_a_job_does_not_load_pandas():
    """PySpark would, at the first literal, and a job's start would take a second longer."""
    job = (
        "import sys; from spark_jobs.streaming import session\n"
        "def look():\n"
        "    import pyspark.testing.utils as looked_at\n"
        "    import pyarrow; assert len(pyarrow.array(['a'])) == 1\n"
        "    assert not looked_at.have_pandas and 'pandas' not in sys.modules\n"
        "    print('looked')\n"
        "session.run_job('look', look)"
    )
    done = run_command([sys.executable, "-c", job])
    assert (done.returncode, done.stdout.strip()) == (0, "looked"), done.stderr
