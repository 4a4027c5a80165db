"""The reports inside Airflow: only for who is logged in, only published files, no script ever.

Served under `/reports` by plugins/reports.py, which imports this when the first request comes: FastAPI
and Airflow's security take seconds that the scheduler and each task need not spend.
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

from include.contracts import LONGEST_RANGE
from include.lake import reports, summaries
from include.reporting.page import environment
from include.reporting.published import REPORTING_DAGS, pages_of_run
from include.settings import Settings, load_settings

# Without allow-same-origin a click inside a report would be sent without the login (its cookie is
# SameSite=Lax); nothing may run, so the origin is of no use to a hostile page. Measured in
# docs/decisions/0013.
SANDBOX = "sandbox allow-same-origin allow-downloads"
# Airflow shows the reports in a frame of its own origin; a page of any other site must not.
NOTHING_ELSE = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": f"{SANDBOX}; {NOTHING_ELSE}; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
WITH_FORM = {
    "Content-Security-Policy": f"{SANDBOX} allow-forms; {NOTHING_ELSE}; form-action 'self'"
}
TYPES = {".html": "text/html", ".json": "application/json", ".csv": "text/csv"}
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")  # a file or folder that reports have
RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")  # Airflow's own default
DAY = re.compile(r"\d{4}-\d\d-\d\d")
PERIOD = re.compile(r"\d{4}(-\d\d|-W\d\d)?")  # a year, a month, a week
RANGE = re.compile(rf"({DAY.pattern})_({DAY.pattern})")
NEWEST = 31  # days on the page; the others are in the list of all days
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
log = logging.getLogger(__name__)


def make_app() -> FastAPI:
    """The application. Each route asks for the login; what no route knows is the last one's."""
    # No OpenAPI pages: they would be routes that ask nobody who he is.
    app = FastAPI(
        title="Reports", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )  # fmt: skip
    app.middleware("http")(_with_headers)
    app.exception_handler(StarletteHTTPException)(_refused)
    of_run = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]
    read: dict[str, Any] = {"methods": ["GET", "HEAD"]}
    app.add_api_route("/", reports_page, **read)
    app.add_api_route("/run/{dag_id}/{run_id}", run_page, dependencies=of_run, **read)
    app.add_api_route("/access_log/range", range_form, **read)
    app.add_api_route("/{path:path}", file_page, methods=EVERY_METHOD)
    return app


def reports_page() -> Response:
    """What is published: days, longer periods, filtered reports; and the form for any range."""
    settings = load_settings()
    folder = reports(settings, "access_log")
    days = _pages(folder, DAY)
    filtered = {
        path.name: {
            "about": _headline(path, newest[0]).get("filter") if newest else None, "pages": newest
        }
        for path in sorted(folder.glob("filtered/[!.]*/"))
        if (newest := _pages(path))
    }  # fmt: skip
    text = environment().get_template("reports.html").render(
        days=[_headline(folder, day) for day in days[:NEWEST]],
        days_in_all=len(days), first=days[:7][-1] if days else "", last=days[0] if days else "",
        periods=_pages(folder, PERIOD), filtered=filtered,
        clickstream=_headline(reports(settings, "clickstream"), "."),
    )  # fmt: skip
    return HTMLResponse(text, headers=WITH_FORM)


def run_page(dag_id: str, run_id: str, request: Request) -> Response:
    """What a run has published: its page, the list of its pages, or why there is none."""
    settings, base = load_settings(), request.scope["root_path"]
    if not (NAME.fullmatch(dag_id) and RUN_ID.fullmatch(run_id)):
        raise HTTPException(404, "That is no DAG and run.")
    with create_session() as session:
        found = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        run = session.scalar(found)
        state, note = (str(run.state), run.note) if run else ("", None)
    if not run:
        raise HTTPException(404, f"There is no run {run_id} of {dag_id}.")
    try:
        pages = pages_of_run(settings, dag_id, run_id)
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        pages = []  # no file can have that name, so nothing was published under it
    if len(pages) == 1:
        return RedirectResponse(f"{base}/{pages[0]}/index.html", 303)
    links = {page.rpartition("/")[2]: f"{base}/{page}/index.html" for page in pages}
    says = f"This run has published {len(pages)} reports." if pages else _why_none(dag_id, state)
    return _message("Report of this run", [says, note or ""], base, links=links)


def range_form(
    request: Request,
    first: Annotated[str, Query(alias="from")] = "",
    last: Annotated[str, Query(alias="to")] = "",
) -> Response:
    """Send the form on to the range's own page, whose files lie beside it as a day's do."""
    days = _range(first, last)
    base = request.scope["root_path"]
    return RedirectResponse(f"{base}/access_log/{days[0]}_{days[1]}/index.html", 303)


def file_page(path: str, request: Request) -> Response:
    """A published file, or a file of a range that is made now. Everything else is 404."""
    if request.method not in ("GET", "HEAD"):
        raise HTTPException(405, "Reports can only be read.")
    path += "index.html" if path.endswith("/") else ""
    file = published_file(load_settings().lake / "reports", path)
    if file:
        with suppress(FileNotFoundError):  # it was removed or replaced meanwhile
            return _file(path, file.read_bytes())
    dataset, _, rest = path.partition("/")
    between, _, name = rest.partition("/")
    asked = RANGE.fullmatch(between)
    if dataset == "access_log" and asked and NAME.fullmatch(name):
        return _file(path, _range_file(load_settings(), *_range(*asked.groups()), name))
    raise HTTPException(404, "There is no such report.")


def published_file(root: Path, path: str) -> Path | None:
    """The file that `path` names under `root`, links followed; None unless it is one to be served.

    Names are those that reports have: none hidden, no backslash, no NUL, nothing that leads up. No
    file has a name that is too long for the disk, or lies behind links that lead in a circle.
    """
    parts = path.split("/")
    if not all(NAME.fullmatch(part) for part in parts) or Path(path).suffix not in TYPES:
        return None
    try:
        file = root.joinpath(*parts).resolve()
        return file if file.is_relative_to(root.resolve()) and file.is_file() else None
    except RuntimeError:  # Python's word for links that lead in a circle, until 3.13
        return None
    except OSError as error:
        if error.errno not in (ENAMETOOLONG, ELOOP):
            raise
        return None


def _file(path: str, content: bytes) -> Response:
    suffix = Path(path).suffix
    headers = {}
    if suffix == ".csv":  # called by day and panel: it leaves its folder
        name = "-".join(path.split("/")[-2:])
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(content, media_type=f"{TYPES[suffix]}; charset=utf-8", headers=headers)


def _range(first: str, last: str) -> tuple[date, date]:
    """Both as dates. Raises HTTPException 400 with what is wrong."""
    try:
        if not (DAY.fullmatch(first) and DAY.fullmatch(last)):
            raise ValueError
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise HTTPException(400, "Give both days as in 2026-01-15.") from None
    if begin > end:
        raise HTTPException(400, f"{first} is after {last}: exchange them.")
    if (end - begin).days >= LONGEST_RANGE:
        raise HTTPException(
            400, f"That is more than {LONGEST_RANGE:,} days: choose a shorter range."
        )
    return begin, end


def _range_file(settings: Settings, first: date, last: date, name: str) -> bytes:
    # Only here: they bring the libraries that merge panels and sketches.
    from include.reporting.page import render_range
    from include.reporting.ranges import range_of
    from include.reporting.report import files_of

    folder = summaries(settings, "access_log")
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    if not any((folder / day.isoformat() / "summary.json").is_file() for day in days):
        raise HTTPException(404, f"No day from {first} to {last} has been summarised.")
    try:
        report = range_of(folder, first, last)
    except ValueError as refused:
        raise HTTPException(404, str(refused)) from None
    if name == "index.html":
        return render_range(report).encode(errors="backslashreplace")
    text = files_of(report).get(name)
    if text is None:
        raise HTTPException(404, "There is no such file of a range.")
    return text.encode(errors="backslashreplace")


def _why_none(dag_id: str, state: str) -> str:
    if dag_id not in REPORTING_DAGS:
        return f"{dag_id} makes no report; these do: {', '.join(REPORTING_DAGS)}."
    if state in ("queued", "running"):
        return (
            f"This run is {state} and has published nothing yet. Open this tab again when it ends."
        )
    if state == "failed":
        return "This run failed before it published a report: the log of its red task ends with what to do."
    return "This run published no report: nothing was new, it only looked, or a check held the day back."


def _pages(folder: Path, names: re.Pattern[str] = NAME) -> list[str]:
    """Folders in `folder` that hold a page, the newest first."""
    found = [path.parent.name for path in folder.glob("[!.]*/index.html")]
    return sorted((name for name in found if names.fullmatch(name)), reverse=True)


def _headline(folder: Path, page: str) -> dict[str, Any]:
    """The top-level numbers of a page's report.json; only its name while that cannot be read."""
    path = folder / page / "report.json"
    try:
        return {"page": page, **_numbers(path, path.stat().st_mtime_ns)}
    except (OSError, ValueError):
        return {"page": page}


@lru_cache(maxsize=5_000)
def _numbers(path: Path, _written: int) -> dict[str, Any]:
    # Kept as long as the file is the same: it holds all panels, and the page needs a line of it.
    names = ("requests", "visitors", "unsuccessful", "bytes", "filter", "impressions", "clicks",
             "events")  # fmt: skip
    report = json.loads(path.read_text(encoding="utf-8"))
    return {name: report[name] for name in names if name in report}


def _message(
    title: str, says: list[str], base: str, status: int = 200, links: dict[str, str] | None = None
) -> Response:
    text = environment().get_template("message.html").render(
        title=title, says=[sentence for sentence in says if sentence], links=links or {},
        home=f"{base}/",
    )  # fmt: skip
    return HTMLResponse(text, status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    titles = {
        400: "That cannot be shown",
        401: "Log in first",
        403: "Not allowed",
        404: "Not there",
    }
    says = str(error.detail)
    if error.status_code == 401:
        says = "Reports are shown to who is logged in to Airflow: log in, and open this page again."
    title = titles.get(error.status_code, "Refused")
    return _message(title, [says], request.scope["root_path"], error.status_code)


async def _with_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    try:
        answer = await call_next(request)
    except Exception:
        log.exception("a report could not be shown: %s", request.url.path)
        says = "The report could not be shown; the log of Airflow's API server says why."
        answer = _message("Something went wrong", [says], request.scope["root_path"], 500)
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer
