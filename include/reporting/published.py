"""Which pages a run has published, and where they open inside Airflow.

Kept by run, beside its manifest: a day's report.json names only the last run that made it.
"""

import json
from pathlib import Path
from urllib.parse import quote, urlsplit

from airflow.sdk.configuration import conf

from include.settings import Settings

# Those whose runs may publish; a test holds it to the outlets of the DAGs.
REPORTING_DAGS = (
    "analyse_access_log", "analyse_clickstream", "backfill_access_logs", "replay_bad_lines",
)  # fmt: skip


def record_page(settings: Settings, dag_id: str, run_id: str, page: str) -> None:
    """Keep that the run published `page`: its folder under reports/, as `access_log/2026-01-15`."""
    path = _record(settings, dag_id, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:  # one short write: tasks of a backfill append at the same time
        file.write(json.dumps({"page": page}) + "\n")


def pages_of_run(settings: Settings, dag_id: str, run_id: str) -> list[str]:
    """The pages that the run published and that are still there, each once, in order."""
    path = _record(settings, dag_id, run_id)
    if not path.is_file():
        return []
    pages = {json.loads(line)["page"] for line in path.read_text().splitlines()}
    there = settings.lake / "reports"
    return sorted(page for page in pages if (there / page / "index.html").is_file())


def address(page: str) -> str:
    """Where Airflow's page *Reports* shows `page`; without a host: people reach it by several."""
    return f"{_prefix()}/plugin/reports{_prefix()}/reports/{page}/index.html"


def address_of_run(dag_id: str, run_id: str) -> str:
    """Where Airflow shows the tab *Report* of a run."""
    return f"{_prefix()}/dags/{dag_id}/runs/{quote(run_id, safe='')}/plugin/report"


def _prefix() -> str:
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def _record(settings: Settings, dag_id: str, run_id: str) -> Path:
    return settings.lake / "runs" / dag_id / f"{run_id}.pages.jsonl"
