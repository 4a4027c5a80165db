"""Serve the published reports inside Airflow, to logged-in users only and without scripts.

plugins/reports.py serves this application under `/reports`. It imports this module at the first request:
importing FastAPI and Airflow's security takes seconds, which the scheduler and the tasks need not spend.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date, timedelta
from errno import ELOOP, ENAMETOOLONG
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from starlette.exceptions import HTTPException as StarletteHTTPException

from include.contracts import MAX_RANGE_DAYS
from include.datasets import ACCESS_LOG, DATASETS
from include.lake.paths import reports_path, summaries_path
from include.reporting.page import get_environment
from include.reporting.run_pages import list_reporting_dags, list_run_pages
from include.settings import Settings, load_settings

# Without allow-same-origin, a click inside a report would be sent without the login (its cookie is
# SameSite=Lax). No script may run, so a hostile page cannot make use of the origin. Measured in
# docs/decisions/0013.
SANDBOX = "sandbox allow-same-origin allow-downloads"
# Airflow shows the reports in a frame of its own origin. No other site may frame them.
CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": f"{SANDBOX}; {CONTENT_POLICY}; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FORM_HEADERS = {
    "Content-Security-Policy": f"{SANDBOX} allow-forms; {CONTENT_POLICY}; form-action 'self'"
}
MEDIA_TYPES = {".html": "text/html", ".json": "application/json", ".csv": "text/csv"}
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")  # files and folders of reports
RUN_ID_PATTERN = re.compile(r"[A-Za-z0-9_.~:+-]+")  # Airflow's default pattern
DAY_PATTERN = re.compile(r"\d{4}-\d\d-\d\d")
PERIOD_PATTERN = re.compile(r"\d{4}(-\d\d|-W\d\d)?")  # a year, a month, a week
RANGE_PATTERN = re.compile(rf"({DAY_PATTERN.pattern})_({DAY_PATTERN.pattern})")
MAX_DAYS_LISTED = 31  # on the start page; the list of all days has the others
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
log = logging.getLogger(__name__)


def make_app() -> FastAPI:
    """Create the application. Every route requires a login. The last route takes all other paths."""
    # No OpenAPI pages, because their routes would not require a login.
    app = FastAPI(
        title="Reports",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )
    app.middleware("http")(_add_headers)
    app.exception_handler(StarletteHTTPException)(_handle_http_error)
    run_access = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]
    read_only: dict[str, Any] = {"methods": ["GET", "HEAD"]}
    app.add_api_route("/", show_reports, **read_only)
    app.add_api_route("/run/{dag_id}/{run_id}", show_run, dependencies=run_access, **read_only)
    app.add_api_route("/access_log/range", redirect_to_range, **read_only)
    app.add_api_route("/{path:path}", serve_file, methods=ALL_METHODS)
    return app


def show_reports() -> Response:
    """Show the published days, longer periods and filtered reports, and the form for any range."""
    settings = load_settings()
    folder = reports_path(settings, ACCESS_LOG.name)
    days = _list_pages(folder, DAY_PATTERN)
    filtered = {
        path.name: {
            "about": _read_headline(path, pages[0]).get("filter") if pages else None,
            "pages": pages,
        }
        for path in sorted(folder.glob("filtered/[!.]*/"))
        if (pages := _list_pages(path))
    }
    text = (
        get_environment()
        .get_template("reports.html")
        .render(
            days=[_read_headline(folder, day) for day in days[:MAX_DAYS_LISTED]],
            days_in_all=len(days),
            first=days[:7][-1] if days else "",
            last=days[0] if days else "",
            periods=_list_pages(folder, PERIOD_PATTERN),
            filtered=filtered,
            others=[
                (
                    dataset,
                    _read_headline(reports_path(settings, dataset.name), "."),
                    _list_pages(reports_path(settings, dataset.name), DAY_PATTERN),
                )
                for dataset in DATASETS
                if dataset is not ACCESS_LOG
            ],
        )
    )
    return HTMLResponse(text, headers=FORM_HEADERS)


def show_run(dag_id: str, run_id: str, request: Request) -> Response:
    """Redirect to the page that a run has published, list its pages, or explain why there are none."""
    settings, base_path = load_settings(), request.scope["root_path"]
    if not (NAME_PATTERN.fullmatch(dag_id) and RUN_ID_PATTERN.fullmatch(run_id)):
        raise HTTPException(404, "Invalid DAG id or run id.")
    with create_session() as session:
        query = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        run = session.scalar(query)
        state, note = (str(run.state), run.note) if run else ("", None)
    if not run:
        raise HTTPException(404, f"There is no run {run_id} of {dag_id}.")
    try:
        pages = list_run_pages(settings, dag_id, run_id)
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        pages = []  # no file can have a name this long, so the run has published nothing
    if len(pages) == 1:
        return RedirectResponse(f"{base_path}/{pages[0]}/index.html", 303)
    links = {page.rpartition("/")[2]: f"{base_path}/{page}/index.html" for page in pages}
    sentence = (
        f"This run has published {len(pages)} reports."
        if pages
        else _explain_no_report(dag_id, state)
    )
    return _render_message("Report of this run", [sentence, note or ""], base_path, links=links)


def redirect_to_range(
    request: Request,
    first: Annotated[str, Query(alias="from")] = "",
    last: Annotated[str, Query(alias="to")] = "",
) -> Response:
    """Redirect the form to the page of the range, which has its files beside it like a day's page."""
    begin, end = _parse_range(first, last)
    base_path = request.scope["root_path"]
    return RedirectResponse(f"{base_path}/access_log/{begin}_{end}/index.html", 303)


def serve_file(path: str, request: Request) -> Response:
    """Serve a published file, or a file of a range that is built now. Any other path is 404."""
    if request.method not in ("GET", "HEAD"):
        raise HTTPException(405, "Reports are read-only: use GET or HEAD.")
    path += "index.html" if path.endswith("/") else ""
    file = find_published_file(load_settings().lake / "reports", path)
    if file:
        with suppress(FileNotFoundError):  # a run has just removed or replaced it
            return _build_file_response(path, file.read_bytes())
    dataset, _, rest = path.partition("/")
    folder_name, _, file_name = rest.partition("/")
    dates = RANGE_PATTERN.fullmatch(folder_name)
    if dataset == ACCESS_LOG.name and dates and NAME_PATTERN.fullmatch(file_name):
        begin, end = _parse_range(*dates.groups())
        return _build_file_response(
            path, _render_range_file(load_settings(), begin, end, file_name)
        )
    raise HTTPException(404, "There is no report at this address.")


def find_published_file(root: Path, path: str) -> Path | None:
    """Find the file `path` under `root`, and follow symbolic links.

    Returns:
        The resolved path. None if the file does not exist, may not be served or lies outside `root`. Only
        names that reports have are served: no hidden files, no backslash, no NUL, no `..`. None also for a
        name that is too long for the file system and for links that form a loop.
    """
    parts = path.split("/")
    if (
        not all(NAME_PATTERN.fullmatch(part) for part in parts)
        or Path(path).suffix not in MEDIA_TYPES
    ):
        return None
    try:
        file = root.joinpath(*parts).resolve()
        return file if file.is_relative_to(root.resolve()) and file.is_file() else None
    except RuntimeError:  # before Python 3.13, resolve() raises this for links that form a loop
        return None
    except OSError as error:
        if error.errno not in (ENAMETOOLONG, ELOOP):
            raise
        return None


def _build_file_response(path: str, content: bytes) -> Response:
    suffix = Path(path).suffix
    headers = {}
    if suffix == ".csv":  # a download leaves its folder, so its name has the day and the panel
        name = "-".join(path.split("/")[-2:])
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(content, media_type=f"{MEDIA_TYPES[suffix]}; charset=utf-8", headers=headers)


def _parse_range(first: str, last: str) -> tuple[date, date]:
    """Parse the first and last day of a range. Raises HTTPException 400 with the reason."""
    try:
        if not (DAY_PATTERN.fullmatch(first) and DAY_PATTERN.fullmatch(last)):
            raise ValueError
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise HTTPException(400, "Give both days as dates such as 2026-01-15.") from None
    if begin > end:
        raise HTTPException(400, f"{first} is after {last}: swap the two days.")
    if (end - begin).days >= MAX_RANGE_DAYS:
        raise HTTPException(
            400, f"The range has more than {MAX_RANGE_DAYS:,} days: choose a shorter one."
        )
    return begin, end


def _render_range_file(settings: Settings, first: date, last: date, name: str) -> bytes:
    # Imported here because these modules load the libraries that merge panels and sketches.
    from include.reporting.page import render_range
    from include.reporting.ranges import build_range_report
    from include.reporting.report import build_report_files

    folder = summaries_path(settings, ACCESS_LOG.name)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    if not any((folder / day.isoformat() / "summary.json").is_file() for day in days):
        raise HTTPException(
            404, f"No day from {first} to {last} has been summarised. Choose other days."
        )
    try:
        report = build_range_report(folder, first, last)
    except ValueError as error:
        raise HTTPException(404, str(error)) from None
    if name == "index.html":
        return render_range(report).encode(errors="backslashreplace")
    text = build_report_files(report).get(name)
    if text is None:
        raise HTTPException(404, f"The report of a range has no file {name}.")
    return text.encode(errors="backslashreplace")


def _explain_no_report(dag_id: str, state: str) -> str:
    reporting_dags = list_reporting_dags()
    if dag_id not in reporting_dags:
        return f"{dag_id} publishes no reports. These DAGs do: {', '.join(reporting_dags)}."
    if state in ("queued", "running"):
        return (
            f"This run is {state} and has published nothing yet. Open this tab again when it ends."
        )
    if state == "failed":
        return "This run failed before it published a report. Its failed task's log ends with the remedy."
    return (
        "This run published no report: there was nothing new, it was a dry run, or a check stopped "
        "the publication of the day."
    )


def _list_pages(folder: Path, pattern: re.Pattern[str] = NAME_PATTERN) -> list[str]:
    """List the names of the folders in `folder` that have a page, the newest first."""
    names = [path.parent.name for path in folder.glob("[!.]*/index.html")]
    return sorted((name for name in names if pattern.fullmatch(name)), reverse=True)


def _read_headline(folder: Path, page: str) -> dict[str, Any]:
    """Read the headline numbers of a page's report.json. Only the page's name if it cannot be read."""
    path = folder / page / "report.json"
    try:
        return {"page": page, **_read_headline_fields(path, path.stat().st_mtime_ns)}
    except (OSError, ValueError):
        return {"page": page}


@lru_cache(maxsize=5_000)
def _read_headline_fields(path: Path, _modified_ns: int) -> dict[str, Any]:
    # Cached until the file changes: it has all panels, and the page needs only a few of its numbers.
    names = ("filter", *(name for dataset in DATASETS for name in dataset.headline))
    report = json.loads(path.read_text(encoding="utf-8"))
    return {name: report[name] for name in names if name in report}


def _render_message(
    title: str,
    sentences: list[str],
    base_path: str,
    status: int = 200,
    links: dict[str, str] | None = None,
) -> Response:
    text = (
        get_environment()
        .get_template("message.html")
        .render(
            title=title,
            sentences=[sentence for sentence in sentences if sentence],
            links=links or {},
            home=f"{base_path}/",
        )
    )
    return HTMLResponse(text, status)


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    titles = {
        400: "Invalid request",
        401: "Login required",
        403: "Access denied",
        404: "Not found",
    }
    message = str(error.detail)
    if error.status_code == 401:
        message = (
            "You must be logged in to Airflow to see reports. Log in, then open this page again."
        )
    title = titles.get(error.status_code, "Request refused")
    return _render_message(title, [message], request.scope["root_path"], error.status_code)


async def _add_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    try:
        response = await call_next(request)
    except Exception:
        log.exception("failed to show the report %s", request.url.path)
        message = "The report could not be shown. The log of Airflow's API server has the reason."
        response = _render_message("Internal error", [message], request.scope["root_path"], 500)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
