"""Record the pages that a run publishes, and build their addresses inside Airflow.

The records are kept for each run, beside its manifest, because a day's report.json names only the last
run that wrote it.
"""

from pathlib import Path
from urllib.parse import quote, urlsplit

from include.datasets import DATASETS
from include.lake.files import append_record, read_records
from include.settings import Settings


def record_page(settings: Settings, dag_id: str, run_id: str, page: str) -> None:
    """Record that a run published `page`, a folder under `reports/` such as `access_log/2026-01-15`."""
    append_record(_get_pages_path(settings, dag_id, run_id), {"page": page})


def list_run_pages(settings: Settings, dag_id: str, run_id: str) -> list[str]:
    """List the pages that the run published and that still exist, sorted and without duplicates."""
    pages = {record["page"] for record in read_records(_get_pages_path(settings, dag_id, run_id))}
    folder = settings.lake / "reports"
    return sorted(page for page in pages if (folder / page / "index.html").is_file())


def list_reporting_dags() -> list[str]:
    """Return the ids of the DAGs that publish pages, sorted."""
    return sorted(dag_id for dataset in DATASETS for dag_id in dataset.reporting_dags)


def build_page_url(page: str) -> str:
    """Return the path of `page` in Airflow's *Reports*. It has no host: Airflow may be reached by several."""
    return f"{_get_base_path()}/plugin/reports{_get_base_path()}/reports/{page}/index.html"


def build_run_url(dag_id: str, run_id: str) -> str:
    """Return the path of a run's tab *Report* in Airflow."""
    return f"{_get_base_path()}/dags/{dag_id}/runs/{quote(run_id, safe='')}/plugin/report"


def _get_base_path() -> str:
    from airflow.sdk.configuration import conf  # two seconds, which publishing alone does not need

    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def _get_pages_path(settings: Settings, dag_id: str, run_id: str) -> Path:
    return settings.lake / "runs" / dag_id / f"{run_id}.pages.jsonl"
