"""`python -m producers.access_log`: make an access log, replay one, or follow a live one."""

import os
import signal
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from include.settings import load_settings, restrict_new_files
from producers.access_log.follow import follow as follow_log
from producers.access_log.generator import generate as generated_lines
from producers.access_log.generator import generated_log_id
from producers.access_log.produce import paced, produce
from producers.access_log.replay import Line, LogFileError, log_id, read_lines
from producers.kafka_client import ProducerError

app = typer.Typer(
    help="Make a web server's access log, replay one into Kafka, a file or the terminal, follow one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
says = Console(stderr=True, highlight=False)

To = Annotated[str, typer.Option(help="kafka:TOPIC, file:PATH or stdout")]
Servers = Annotated[str, typer.Option(help="Kafka's bootstrap servers; default from settings")]
PerMessage = Annotated[
    int, typer.Option("--lines-per-message", "-n", min=1, help="1: row by row; more: in batches")
]
Rate = Annotated[float, typer.Option(min=0, help="lines a second; 0: as fast as it can")]
Again = Annotated[bool, typer.Option("--again", help="send what was acknowledged before, too")]


@app.command()
def generate(
    count: Annotated[int, typer.Option(min=1, help="how many lines")] = 20_000,
    seed: Annotated[int, typer.Option(help="the same seed writes the same log")] = 1,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="the day they are of")] = (
        datetime(2026, 1, 15)
    ),
    damaged: Annotated[float, typer.Option(min=0, max=1, help="share of broken lines")] = 0.0005,
    to: To = "kafka:access-log",
    servers: Servers = "",
    lines_per_message: PerMessage = 1,
    rate: Rate = 0,
    again: Again = False,
) -> None:
    """Make one day of believable traffic (people, crawlers, scanners), always the same by seed."""
    lines = generated_lines(count, seed, day.date(), damaged)
    name = generated_log_id(count, seed, day.date())
    _send(lines, name, to, servers, lines_per_message, rate, again, count)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="a log: plain, .gz or .bz2")],
    to: To = "kafka:access-log",
    servers: Servers = "",
    lines_per_message: PerMessage = 1,
    rate: Rate = 0,
    again: Again = False,
) -> None:
    """Send the lines of a log file; a second run goes on where the first was acknowledged."""
    try:
        _send(read_lines(file), log_id(file), to, servers, lines_per_message, rate, again, None)
    except LogFileError as error:
        _fail(str(error), 2)


@app.command()
def follow(
    file: Annotated[Path, typer.Argument(help="a live log, plain; it may be rotated")],
    topic: Annotated[str, typer.Option(help="Kafka topic")] = "",
    servers: Servers = "",
    lines_per_message: PerMessage = 100,
) -> None:
    """Send what is written to a log, until Ctrl-C, and a heartbeat a minute: silence is known."""
    settings, stop = load_settings(), Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    topic = topic or settings.access_log_topic
    if file.is_dir():
        _fail(f"{file} is a folder; give one log file", 2)
    try:
        says.print(f"following {file} to topic {topic}; Ctrl-C ends it")
        done = follow_log(
            file, servers=servers or settings.kafka_servers, topic=topic, stop=stop,
            ledgers=settings.lake / "ledger", lines_per_message=lines_per_message,
            says=says.print,
        )  # fmt: skip
    except (ProducerError, OSError) as error:
        _fail(str(error), 1)
    says.print(f"{done.lines:,} lines in {done.messages:,} messages acknowledged by topic {topic}")


def _send(
    lines: Iterable[Line], name: str, to: str, servers: str, per_message: int, rate: float,
    again: bool, total: int | None,
) -> None:  # fmt: skip
    kind, _, where = to.partition(":")
    try:
        if to == "stdout":
            _write(lines, rate, sys.stdout.fileno())
        elif kind == "file" and where:
            _write_file(lines, rate, Path(where))
        elif kind == "kafka" and where:
            _publish(lines, name, where, servers, per_message, rate, again, total)
        else:
            _fail(f"--to {to!r} is not understood; use kafka:TOPIC, file:PATH or stdout", 2)
    except (ProducerError, ValueError) as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{to}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _fail("interrupted; run the same again to go on where it stopped", 130)


def _publish(
    lines: Iterable[Line], name: str, topic: str, servers: str, per_message: int, rate: float,
    again: bool, total: int | None,
) -> None:  # fmt: skip
    settings = load_settings()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
               MofNCompleteColumn(), TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=says, transient=True) as progress:
        task = progress.add_task(f"to {topic}", total=total)
        done = produce(
            lines, name, servers=servers or settings.kafka_servers, topic=topic,
            ledgers=settings.lake / "ledger", lines_per_message=per_message, rate=rate or None,
            again=again, progress=lambda count: progress.advance(task, count),
        )  # fmt: skip
    says.print(
        f"{done.lines:,} lines in {done.messages:,} messages acknowledged by topic {topic}, "
        f"{done.lines / max(done.seconds, 0.001):,.0f} lines/s; log {name}"
    )
    if done.before:
        says.print(f"{done.before:,} lines had been acknowledged before; --again sends them again")
    elif not done.lines:
        says.print("the log is empty: there was nothing to send")


def _write(lines: Iterable[Line], rate: float, descriptor: int) -> None:
    try:
        with os.fdopen(os.dup(descriptor), "wb") as out:
            for line in paced(lines, rate or None):
                out.write(line.text + b"\n")
                if rate:
                    out.flush()
    except BrokenPipeError:
        pass  # `| head` has seen enough


def _write_file(lines: Iterable[Line], rate: float, path: Path) -> None:
    """Under another name first: a reader never sees half a log."""
    part = path.with_name(f".{path.name}.part")
    written = 0
    try:
        with part.open("wb") as out:
            for line in paced(lines, rate or None):
                out.write(line.text + b"\n")
                written += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    says.print(f"{written:,} lines written to {path}")


def _fail(message: str, code: int) -> None:
    says.print(f"access_log: {message}", style="red", soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    restrict_new_files()
    app()
