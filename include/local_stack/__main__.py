"""`python -m include.local_stack`: start, check and stop the broker and Airflow of this checkout."""

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

from include.errors import SetupError
from include.lake.relocate import relocate_lake
from include.local_stack import airflow, broker, cluster
from include.local_stack.demo import follow_run, run_demo
from include.local_stack.doctor import check_machine
from include.local_stack.processes import Service
from include.local_stack.up import bring_up
from include.orchestration.class_archive import ensure_archive
from include.orchestration.jars import ensure_all_jars
from include.orchestration.package import package_jobs
from include.settings import PROJECT, Settings, load_settings, restrict_new_files

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
stack_options = {"cluster": False}
console = Console(highlight=False, soft_wrap=True, width=max(100, Console().width))


@app.callback()
def select_stack(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="use the cluster of `make cluster-up`")
    ] = False,
) -> None:
    """Start, check and stop the broker and Airflow of this checkout, or its cluster."""
    restrict_new_files()
    stack_options["cluster"] = cluster


def _is_cluster() -> bool:
    return stack_options["cluster"]


def _make_command(target: str) -> str:
    return f"make {'cluster-' if _is_cluster() else ''}{target}"


@contextmanager
def _settings_or_exit() -> Iterator[Settings]:
    """Yield the settings; print an error as a message and exit, without a traceback."""
    try:
        settings = load_settings()
        yield cluster.cluster_settings(settings) if _is_cluster() else settings
    except (SetupError, ValueError) as error:
        console.print(f"\n{error}", style="red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(
            f"\ninterrupted. Started services keep running: `{_make_command('status')}` lists them, "
            f"`{_make_command('down')}` stops them"
        )
        raise typer.Exit(130) from None


@app.command()
def jars() -> None:
    """Download the jars of the broker and Spark's Kafka connector, and verify their checksums."""
    with _settings_or_exit() as settings:
        with console.status("downloading jars (about a minute the first time)"):
            ensure_all_jars(settings)
        with console.status("creating the Java class archive (about a minute the first time)"):
            ensure_archive(settings)
        package_jobs(settings.job_zip)


@app.command()
def up() -> None:
    """Start the Kafka broker and Airflow, and wait until both are ready."""
    with _settings_or_exit() as settings:
        api = _bring_up(settings)
        _print_access(settings, api)


@app.command()
def down() -> None:
    """Stop the services that `up` started, by process id. Data is kept."""
    with _settings_or_exit() as settings:
        local_services = (airflow.service(settings), broker.service(settings))
        stops = ((service.name, service.stop()) for service in local_services)
        for name, was_running in cluster.stop(settings) if _is_cluster() else stops:
            console.print(f"{name}: {'stopped' if was_running else 'was not running'}")


@app.command()
def status() -> None:
    """Show the state of each service and the last report. Exit code 1 if a service is down."""
    with _settings_or_exit() as settings:
        table = Table("Service", "State", "Address", "Log", box=None, header_style="dim")
        api = airflow.Api(settings)
        all_up = True
        for service, ready, address in _services(settings):
            process = service.process()
            # On the cluster, each process of Airflow is a service of its own.
            complete = _is_cluster() or service.is_complete()
            healthy = process is not None and complete and ready()
            all_up &= healthy
            state = (
                "[red]not running"
                if process is None
                else (
                    f"[green]ready[/], process {process.pid}"
                    if healthy
                    else f"[red]a child process has ended[/], process {process.pid}"
                    if not complete
                    else f"[yellow]not ready yet[/], process {process.pid}"
                )
            )
            table.add_row(service.name, state, address, service.log_file.name)
        console.print(table)
        console.print(f"logs: {settings.logs}")
        folder = settings.lake / "reports" / "access_log"
        days = sorted(
            path for path in folder.glob("*") if re.fullmatch(r"\d{4}-\d\d-\d\d", path.name)
        )
        console.print(
            f"reports: {len(days)} days" + (f", the last {days[-1].name}" if days else "")
        )
        if all_up:
            _print_access(settings, api)
        else:
            console.print(f"`{_make_command('up')}` starts the services that are down")
            raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Check this machine for what the stack needs, and print a remedy for each problem."""
    with _settings_or_exit() as settings:
        table = Table(box=None, show_header=False)
        problems = 0
        for finding in check_machine(settings):
            problems += bool(finding.remedy)
            mark = "[red]✗" if finding.remedy else "[green]✓"
            table.add_row(mark, finding.name, finding.state)
            if finding.remedy:
                table.add_row("", "", f"[red]{finding.remedy}")
        console.print(table)
        if problems:
            raise typer.Exit(1)


@app.command()
def demo(
    log: Annotated[
        Path | None, typer.Option(help="your log file; default: generated traffic")
    ] = None,
) -> None:
    """Start the stack and run the main job once, from a log to its reports."""
    with _settings_or_exit() as settings:
        if log is not None:
            _check_log(log)
        api = _bring_up(settings)
        run_demo(settings, api, log, console)
        _print_access(settings, api)
        console.print(
            f"[bold]{_make_command('down')}[/] stops the broker and Airflow; the reports are kept"
        )


@app.command()
def run(
    dag: Annotated[str, typer.Argument(help="DAG id")],
    conf: Annotated[str, typer.Argument(help="the DAG's parameters as a JSON object")] = "{}",
) -> None:
    """Trigger a DAG like the form of Airflow's web page, and show its tasks until the run ends."""
    with _settings_or_exit() as settings:
        api = airflow.Api(settings)
        try:
            parameters = json.loads(conf)
        except ValueError as error:
            raise SetupError(
                f'{conf!r} is not valid JSON ({error}); write an object like {{"name": "value"}}'
            ) from None
        if not api.is_healthy():
            raise SetupError(
                f"Airflow does not answer at {api.url}; start it with `{_make_command('up')}`"
            )
        follow_run(api, dag, api.trigger(dag, parameters), console)


@app.command("airflow", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def airflow_command(context: typer.Context) -> None:
    """Run Airflow's own command line with the stack's settings."""
    with _settings_or_exit() as settings:
        command = str(Path(sys.executable).with_name("airflow"))
        env = (cluster if _is_cluster() else airflow).environment(settings)
        raise typer.Exit(subprocess.run([command, *context.args], env=env).returncode)


@app.command("compose-env")
def compose_env(
    file: Annotated[Path, typer.Option(help="environment file that Docker Compose reads")] = PROJECT
    / ".env",
) -> None:
    """Add the secrets that docker-compose.yaml requires and the environment file lacks."""
    with _settings_or_exit():
        for name in cluster.write_compose_secrets(file):
            console.print(f"{name}: created")
        console.print(f"{file} has all secrets; start the cluster with `docker compose up --build`")


@app.command()
def relocate(old_home: Annotated[Path, typer.Argument(help="previous path of var/")]) -> None:
    """Replace the previous path in a lake's files, after its folder was moved."""
    with _settings_or_exit() as settings:
        changed = relocate_lake(old_home, settings)
        console.print(
            f"{changed} files changed: they now name {settings.home} instead of {old_home}"
        )


def _bring_up(settings: Settings) -> airflow.Api:
    return cluster.bring_up(settings, console) if _is_cluster() else bring_up(settings, console)


def _services(settings: Settings) -> list[tuple[Service, Callable[[], bool], str]]:
    """List the services in the order in which they start.

    Returns:
        Each service, a function that returns whether it is ready, and its address.
    """
    if _is_cluster():
        return cluster.services(settings)
    return [
        (
            broker.service(settings),
            lambda: broker.is_reachable(settings.kafka_port),
            settings.kafka_servers,
        ),
        (airflow.service(settings), airflow.Api(settings).is_healthy, airflow.Api(settings).url),
    ]


def _check_log(log: Path) -> None:
    if log.is_dir():
        raise SetupError(f"{log} is a folder; give one log file: make demo LOG=path/to/access.log")
    if not log.is_file():
        raise SetupError(
            f"there is no file {log}; check the path: make demo LOG=path/to/access.log"
        )
    if not log.stat().st_size:
        raise SetupError(f"{log} is empty; give a log with at least one line")


def _print_access(settings: Settings, api: airflow.Api) -> None:
    user, password = api.login()
    console.print(f"\nAirflow   {api.url}   user [bold]{user}[/], password [bold]{password}[/]")
    index = settings.lake / "reports" / "access_log" / "index.html"
    if index.is_file():
        console.print(f"Reports   {index}")


if __name__ == "__main__":
    app()
