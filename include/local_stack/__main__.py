"""`python -m include.local_stack`: start, look at and end the broker and Airflow of this checkout."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from include.local_stack import airflow, broker, cluster
from include.local_stack.class_archive import ensure_archive
from include.local_stack.demo import follow, run_demo
from include.local_stack.doctor import examine
from include.local_stack.jars import ensure_all_jars
from include.local_stack.processes import Service, StackError
from include.local_stack.up import bring_up
from include.moving import relocated
from include.package import package_jobs
from include.settings import PROJECT, Settings, load_settings, restrict_new_files

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
chosen = {"cluster": False}
says = Console(highlight=False, soft_wrap=True, width=max(100, Console().width))


@app.callback()
def which(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="the one of `make cluster-up`")
    ] = False,
) -> None:
    """Start, look at and end the broker and Airflow of this checkout, or its cluster."""
    restrict_new_files()
    chosen["cluster"] = cluster


def _is_cluster() -> bool:
    return chosen["cluster"]


def _make(target: str) -> str:
    return f"make {'cluster-' if _is_cluster() else ''}{target}"


@contextmanager
def _told() -> Iterator[Settings]:
    """Errors as one sentence and an exit code, not as a traceback."""
    try:
        settings = load_settings()
        yield cluster.settings_of(settings) if _is_cluster() else settings
    except (StackError, ValueError) as error:
        says.print(f"\n{error}", style="red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        says.print(
            f"\ninterrupted. What was started goes on: `{_make('status')}`, `{_make('down')}`"
        )
        raise typer.Exit(130) from None


@app.command()
def jars() -> None:
    """Bring the broker's and the connector's jars, checked against their recorded sums."""
    with _told() as settings:
        with says.status("bringing jars (about a minute the first time)"):
            ensure_all_jars(settings)
        with says.status("making Spark start faster (about a minute the first time)"):
            ensure_archive(settings)
        package_jobs(settings.job_zip)


@app.command()
def up() -> None:
    """Start the Kafka broker and Airflow, and wait until both are ready."""
    with _told() as settings:
        api = _bring_up(settings)
        _how_to_look(settings, api)


@app.command()
def down() -> None:
    """End what `up` started, by its process id; data stays."""
    with _told() as settings:
        local = (airflow.service(settings), broker.service(settings))
        ends = ((service.name, service.stop()) for service in local)
        for name, ended in cluster.stop(settings) if _is_cluster() else ends:
            says.print(f"{name}: {'ended' if ended else 'was not running'}")


@app.command()
def status() -> None:
    """What runs, where, and what was reported last; exit code 1 if something is down."""
    with _told() as settings:
        table = Table("Service", "State", "Where", "Log", box=None, header_style="dim")
        api = airflow.Api(settings)
        all_up = True
        for service, ready, where in _services(settings):
            process = service.process()
            whole = _is_cluster() or service.is_whole()  # there each part is a service
            healthy = process is not None and whole and ready()
            all_up &= healthy
            state = "[red]not running" if process is None else (
                f"[green]ready[/], process {process.pid}" if healthy
                else f"[red]a part of it has ended[/], process {process.pid}" if not whole
                else f"[yellow]not ready yet[/], process {process.pid}"
            )  # fmt: skip
            table.add_row(service.name, state, where, service.log.name)
        says.print(table)
        says.print(f"logs: {settings.logs}")
        folder = settings.lake / "reports" / "access_log"
        days = sorted(
            path for path in folder.glob("*") if re.fullmatch(r"\d{4}-\d\d-\d\d", path.name)
        )
        says.print(f"reports: {len(days)} days" + (f", the last {days[-1].name}" if days else ""))
        if all_up:
            _how_to_look(settings, api)
        else:
            says.print(f"`{_make('up')}` starts what is down")
            raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """What is missing or in the way on this machine, each with its remedy."""
    with _told() as settings:
        table = Table(box=None, show_header=False)
        broken = 0
        for finding in examine(settings):
            broken += bool(finding.remedy)
            mark = "[red]✗" if finding.remedy else "[green]✓"
            table.add_row(mark, finding.what, finding.found)
            if finding.remedy:
                table.add_row("", "", f"[red]{finding.remedy}")
        says.print(table)
        if broken:
            raise typer.Exit(1)


@app.command()
def demo(
    log: Annotated[Path | None, typer.Option(help="a log of your own")] = None,
) -> None:
    """Run the main job once, from a log to its reports."""
    with _told() as settings:
        if log is not None:
            _check_log(log)
        api = _bring_up(settings)
        run_demo(settings, api, log, says)
        _how_to_look(settings, api)
        says.print(f"[bold]{_make('down')}[/] ends the broker and Airflow; the reports stay")


@app.command()
def run(
    dag: Annotated[str, typer.Argument(help="name of a DAG")],
    conf: Annotated[str, typer.Argument(help="its parameters as JSON")] = "{}",
) -> None:
    """Trigger a DAG as the web page's form does, and show its tasks until it has ended."""
    with _told() as settings:
        api = airflow.Api(settings)
        try:
            told = json.loads(conf)
        except ValueError as error:
            raise StackError(f'{conf!r} is no JSON ({error}); write {{"name": value}}') from None
        if not api.is_healthy():
            raise StackError(f"Airflow does not answer at {api.url}; start it with `{_make('up')}`")
        follow(api, dag, api.trigger(dag, told), says)


@app.command("airflow", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def airflow_command(context: typer.Context) -> None:
    """Airflow's own command line, with the stack's settings."""
    with _told() as settings:
        command = str(Path(sys.executable).with_name("airflow"))
        env = (cluster if _is_cluster() else airflow).environment(settings)
        raise typer.Exit(subprocess.run([command, *context.args], env=env).returncode)


@app.command("compose-env")
def compose_env(
    file: Annotated[Path, typer.Option(help="where Docker Compose reads them")] = PROJECT / ".env",
) -> None:
    """Write the secrets that docker-compose.yaml asks for and that are not there yet."""
    with _told():
        for name in cluster.write_compose_secrets(file):
            says.print(f"{name}: made")
        says.print(f"{file} is complete: `docker compose up --build`")


@app.command()
def relocate(old: Annotated[Path, typer.Argument(help="where var/ was")]) -> None:
    """Make a lake readable where it lies now, after its folder was moved."""
    with _told() as settings:
        changed = relocated(old, settings)
        says.print(f"{changed} files name {settings.home} instead of {old}")


def _bring_up(settings: Settings) -> airflow.Api:
    return cluster.bring_up(settings, says) if _is_cluster() else bring_up(settings, says)


def _services(settings: Settings) -> list[tuple[Service, Callable[[], bool], str]]:
    """What is started, in this order: the service, whether it answers, and where."""
    if _is_cluster():
        return cluster.services(settings)
    return [
        (broker.service(settings), lambda: broker.answers(settings.kafka_port), settings.kafka_servers),
        (airflow.service(settings), airflow.Api(settings).is_healthy, airflow.Api(settings).url),
    ]  # fmt: skip


def _check_log(log: Path) -> None:
    if log.is_dir():
        raise StackError(f"{log} is a folder; give one log file: make demo LOG=path/to/access.log")
    if not log.is_file():
        raise StackError(f"there is no file {log}: make demo LOG=path/to/access.log")
    if not log.stat().st_size:
        raise StackError(f"{log} is empty: there is nothing to analyse")


def _how_to_look(settings: Settings, api: airflow.Api) -> None:
    user, password = api.login()
    says.print(f"\nAirflow   {api.url}   user [bold]{user}[/], password [bold]{password}[/]")
    index = settings.lake / "reports" / "access_log" / "index.html"
    if index.is_file():
        says.print(f"Reports   {index}")


if __name__ == "__main__":
    app()
