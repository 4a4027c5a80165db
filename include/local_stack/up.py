"""Bring the whole stack up: jars, broker, topics, Airflow; what can wait goes beside it."""

import time
from collections.abc import Callable

from rich.console import Console

from include.local_stack import airflow, broker
from include.local_stack.airflow import Api
from include.local_stack.class_archive import ensure_archive
from include.local_stack.doctor import examine
from include.local_stack.jars import ensure_all_jars
from include.local_stack.private_files import close_to_others
from include.local_stack.processes import StackError
from include.package import package_jobs
from include.settings import Settings


def bring_up(settings: Settings, says: Console) -> Api:
    """Start what does not run yet; give Airflow's API when all is ready. Raises StackError."""
    close_to_others(settings.home)
    in_the_way = [f for f in examine(settings) if f.remedy and not f.what.startswith("Jars")]
    if in_the_way:
        listed = "\n".join(f"  {f.what}: {f.found}. {f.remedy}" for f in in_the_way)
        raise StackError(f"This is in the way (`make doctor` shows all):\n{listed}")
    package_jobs(settings.job_zip)
    # Airflow takes longest to start, so it goes first, and the rest happens meanwhile.
    step(says, "Airflow started", lambda: airflow.start(settings))
    step(says, "jars in place", lambda: ensure_all_jars(settings))
    step(says, "Spark starts faster", lambda: ensure_archive(settings))
    if broker.is_local(settings):
        step(says, f"Kafka answers on port {settings.kafka_port}", lambda: broker.start(settings))
    step(says, "topics ready", lambda: broker.make_topics(settings))
    found: list[Api] = []
    step(says, "Airflow ready", lambda: found.append(airflow.wait(settings)))
    return found[0]


def step(says: Console, done: str, work: Callable[[], object]) -> None:
    """Do a part of it and say that it is done."""
    started = time.monotonic()
    with says.status(f"{done} …"):
        work()
    says.print(f"[green]✓[/] {done} [dim]{time.monotonic() - started:.0f} s[/]")
