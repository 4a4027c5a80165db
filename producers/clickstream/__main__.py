"""`python -m producers.clickstream`: publish click events, row by row or batch by batch."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from include.settings import load_settings, restrict_new_files
from producers.clickstream.events import events, first_second, replayed
from producers.clickstream.publish import messages_of, publish
from producers.kafka_client import ProducerError


class Mode(StrEnum):
    rows = "rows"
    batches = "batches"


def main(
    mode: Annotated[
        Mode, typer.Option(help="rows: one event a message; batches: arrays")
    ] = Mode.rows,
    count: Annotated[int, typer.Option(min=1, help="how many events")] = 600,
    seed: Annotated[int, typer.Option(help="the same seed makes the same events")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="events a message, with batches")] = 20,
    rate: Annotated[float, typer.Option(min=0, help="messages a second; 0: at once")] = 0,
    campaigns: Annotated[
        int, typer.Option(min=0, help="give each event an id and one of so many campaigns")
    ] = 0,
    faults: Annotated[
        float, typer.Option(min=0, max=1, help="share of messages that are no event, in between")
    ] = 0,
    start: Annotated[
        str, typer.Option(help="time of the first event, with its zone; now: this minute")
    ] = "2024-05-08T12:41:08Z",
    file: Annotated[
        Path | None, typer.Option(help="replay the events of this file, a JSON object a line")
    ] = None,
    to: Annotated[str, typer.Option(help="kafka:TOPIC or stdout; default: the mode's topic")] = "",
    servers: Annotated[str, typer.Option(help="bootstrap servers; default from settings")] = "",
) -> None:
    """Publish click events; both modes carry the same events for the same seed."""
    settings = load_settings()
    topics = {
        Mode.rows: settings.clickstream_topic,
        Mode.batches: settings.clickstream_batches_topic,
    }
    kind, _, topic = (to or f"kafka:{topics[mode]}").partition(":")
    try:
        found = replayed(file) if file else events(count, seed, first_second(start), campaigns)
        messages = messages_of(found, mode.value, batch_size, faults, seed)
        if to == "stdout":
            for message in messages:
                sys.stdout.write(message.decode() + "\n")
            return
        if kind != "kafka" or not topic:
            raise ValueError(f"--to {to!r} is not understood; use kafka:TOPIC or stdout")
        sent = publish(messages, servers or settings.kafka_servers, topic, rate or None)
    except (ProducerError, ValueError) as error:
        typer.echo(f"clickstream: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ValueError) else 1) from None
    except KeyboardInterrupt:
        typer.echo("clickstream: interrupted; what was sent stays", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{sent:,} messages acknowledged by topic {topic}", err=True)


if __name__ == "__main__":
    restrict_new_files()
    typer.run(main)
