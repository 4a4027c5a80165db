"""Start the whole stack: jars, Java class archive, broker, topics, Airflow."""

import time
from collections.abc import Callable

from rich.console import Console

from include.errors import SetupError
from include.lake.private_files import restrict_existing_files
from include.local_stack import airflow, broker
from include.local_stack.airflow import Api
from include.local_stack.doctor import check_machine
from include.orchestration.class_archive import ensure_archive
from include.orchestration.jars import ensure_all_jars
from include.orchestration.package import package_jobs
from include.settings import Settings


def bring_up(settings: Settings, console: Console) -> Api:
    """Start the services that are down and return Airflow's API when all are ready.

    Raises:
        SetupError: A check of `make doctor` found a problem, or a service does not start.
    """
    restrict_existing_files(settings.home)
    problems = [f for f in check_machine(settings) if f.remedy and not f.name.startswith("Jars")]
    if problems:
        problem_lines = "\n".join(f"  {f.name}: {f.state}. {f.remedy}" for f in problems)
        raise SetupError(
            f"Fix these problems first (`make doctor` shows all checks):\n{problem_lines}"
        )
    package_jobs(settings.job_zip)
    # Airflow takes longest to start, so it is started first and starts during the other steps.
    run_step(console, "Airflow started", lambda: airflow.start(settings))
    run_step(console, "Jars ready", lambda: ensure_all_jars(settings))
    run_step(console, "Java class archive created", lambda: ensure_archive(settings))
    if broker.is_local(settings):
        run_step(
            console,
            f"Kafka broker ready on port {settings.kafka_port}",
            lambda: broker.start(settings),
        )
    run_step(console, "Kafka topics ready", lambda: broker.make_topics(settings))
    ready_apis: list[Api] = []
    run_step(
        console, "Airflow ready", lambda: ready_apis.append(airflow.wait_until_ready(settings))
    )
    return ready_apis[0]


def run_step(console: Console, label: str, action: Callable[[], object]) -> None:
    """Run a step and print its label and duration."""
    started = time.monotonic()
    with console.status(f"{label} …"):
        action()
    console.print(f"[green]✓[/] {label} [dim]({time.monotonic() - started:.0f} s)[/]")
