"""`python -m producers.access_log`: generate an access log, send a log file, or follow a live log."""

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
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

from include.flag_values import parse_endpoint
from include.lake.files import open_replacement
from include.settings import load_settings, restrict_new_files
from producers.access_log.follow import follow_log
from producers.access_log.generator import build_generated_log_id, generate_lines
from producers.access_log.log_file import Line, UnreadableLogFile, read_lines, read_log_id
from producers.access_log.produce import limit_rate, produce_lines
from producers.kafka_client import KafkaRequestFailed
from producers.ledger import UnusableLedger

app = typer.Typer(
    help="Generate an access log, or send a log file to Kafka, a file or the terminal, or follow a live log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, highlight=False)

To = Annotated[str, typer.Option(help="kafka:TOPIC, file:PATH or stdout")]
Servers = Annotated[
    str, typer.Option(help="Kafka bootstrap servers; default: TIDEMARK_KAFKA_SERVERS")
]
PerMessage = Annotated[
    int,
    typer.Option(
        "--lines-per-message", "-n", min=1, help="lines in a message; 1: row by row, more: batches"
    ),
]
Rate = Annotated[float, typer.Option(min=0, help="maximum lines per second; 0: no limit")]
Resend = Annotated[
    bool, typer.Option("--resend", help="also send lines that Kafka has already acknowledged")
]


@dataclass(frozen=True)
class SendOptions:
    """Where lines go and how: the options that `generate` and `send` share."""

    to: str
    servers: str
    lines_per_message: int
    rate: float
    resend: bool


@app.command()
def generate(
    count: Annotated[int, typer.Option(min=1, help="number of lines")] = 20_000,
    seed: Annotated[int, typer.Option(help="the same seed generates the same log")] = 1,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="day of the lines, UTC")] = (
        datetime(2026, 1, 15)
    ),
    bad_share: Annotated[
        float, typer.Option(min=0, max=1, help="share of bad lines (cut off in the middle)")
    ] = 0.0005,
    to: To = "kafka:access-log",
    servers: Servers = "",
    lines_per_message: PerMessage = 1,
    rate: Rate = 0,
    resend: Resend = False,
) -> None:
    """Generate one day of realistic traffic: humans, crawlers, scanners. Same seed, same log."""
    lines = generate_lines(count, seed, day.date(), bad_share)
    log_id = build_generated_log_id(count, seed, day.date())
    options = SendOptions(to, servers, lines_per_message, rate, resend)
    _send_lines(lines, log_id, options, "the generated log", count)


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="log file: plain text, gz, bz2, zst or xz")],
    to: To = "kafka:access-log",
    servers: Servers = "",
    lines_per_message: PerMessage = 1,
    rate: Rate = 0,
    resend: Resend = False,
) -> None:
    """Send the lines of a log file. A second run continues after the last acknowledged line."""
    options = SendOptions(to, servers, lines_per_message, rate, resend)
    try:
        _send_lines(read_lines(file), read_log_id(file), options, f"the log {file}")
    except UnreadableLogFile as error:
        _exit_with_error(str(error), 2)


@app.command()
def follow(
    file: Annotated[Path, typer.Argument(help="live log file, plain text; rotation is followed")],
    topic: Annotated[str, typer.Option(help="Kafka topic; default: from settings")] = "",
    servers: Servers = "",
    lines_per_message: PerMessage = 100,
) -> None:
    """Send new lines of a live log until Ctrl-C, and a heartbeat every minute.

    The heartbeat distinguishes a silent site from a producer that does not run.
    """
    settings, stop = load_settings(), Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop.set())
    topic = topic or settings.access_log_topic
    if file.is_dir():
        _exit_with_error(f"{file} is a folder; give the path of one log file", 2)
    try:
        console.print(f"following {file} into topic {topic}; press Ctrl-C to stop")
        result = follow_log(
            file,
            servers=servers or settings.kafka_servers,
            topic=topic,
            stop=stop,
            ledgers=settings.lake / "ledger",
            lines_per_message=lines_per_message,
            notify=console.print,
        )
    except (KafkaRequestFailed, UnusableLedger) as error:
        _exit_with_error(str(error), 1)
    except OSError as error:
        _exit_with_error(f"the log {file}: {error.strerror or error}", 1)
    console.print(
        f"{result.lines:,} lines in {result.messages:,} messages acknowledged by topic {topic}"
    )


def _send_lines(
    lines: Iterable[Line],
    log_id: str,
    options: SendOptions,
    log_name: str,
    total: int | None = None,
) -> None:
    target = parse_endpoint(options.to)
    try:
        if options.to == "stdout":
            _write_descriptor(lines, options.rate, sys.stdout.fileno())
        elif target.kind == "file" and target.name:
            _write_file(lines, options.rate, Path(target.name))
        elif target.kind == "kafka" and target.name:
            _publish(lines, log_id, target.name, options, total)
        else:
            _exit_with_error(
                f"--to {options.to!r} is not understood; use kafka:TOPIC, file:PATH or stdout", 2
            )
    except (KafkaRequestFailed, UnusableLedger, ValueError) as error:
        _exit_with_error(str(error), 1)
    except OSError as error:
        name = log_name if target.kind == "kafka" else options.to
        _exit_with_error(f"{name}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _exit_with_error(
            "interrupted; run the same command again to continue where it stopped", 130
        )


def _publish(
    lines: Iterable[Line],
    log_id: str,
    topic: str,
    options: SendOptions,
    total: int | None,
) -> None:
    settings = load_settings()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"to {topic}", total=total)
        result = produce_lines(
            lines,
            log_id,
            servers=options.servers or settings.kafka_servers,
            topic=topic,
            ledgers=settings.lake / "ledger",
            lines_per_message=options.lines_per_message,
            rate=options.rate or None,
            resend=options.resend,
            progress=lambda count: progress.advance(task, count),
        )
    console.print(
        f"{result.lines:,} lines in {result.messages:,} messages acknowledged by topic {topic}, "
        f"{result.lines / max(result.seconds, 0.001):,.0f} lines/s; log {log_id}"
    )
    if result.already_acknowledged:
        console.print(
            f"{result.already_acknowledged:,} lines skipped: Kafka acknowledged them in an earlier run; "
            "--resend sends them again"
        )
    elif not result.lines:
        console.print("the log is empty: no lines sent")


def _write_descriptor(lines: Iterable[Line], rate: float, descriptor: int) -> None:
    try:
        with os.fdopen(os.dup(descriptor), "wb") as out:
            for line in limit_rate(lines, rate or None):
                out.write(line.text + b"\n")
                if rate:
                    out.flush()
    except BrokenPipeError:
        pass  # the reader closed the pipe, as `| head` does


def _write_file(lines: Iterable[Line], rate: float, path: Path) -> None:
    path.parent.stat()  # FileNotFoundError: a folder that is misspelt is not created
    written = 0
    with open_replacement(path) as out:
        for line in limit_rate(lines, rate or None):
            out.write(line.text + b"\n")
            written += 1
    console.print(f"{written:,} lines written to {path}")


def _exit_with_error(message: str, code: int) -> None:
    console.print(f"access_log: {message}", style="red", soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    restrict_new_files()
    app()
