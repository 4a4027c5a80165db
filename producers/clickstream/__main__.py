"""`python -m producers.clickstream`: publish click events, row by row or in batches."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from include.flag_values import parse_endpoint
from include.settings import load_settings, restrict_new_files
from producers.clickstream.events import generate_events, parse_start, read_events
from producers.clickstream.publish import encode_events, publish_messages
from producers.kafka_client import KafkaRequestFailed


class Mode(StrEnum):
    rows = "rows"
    batches = "batches"


def main(
    mode: Annotated[
        Mode, typer.Option(help="rows: one event per message; batches: an array per message")
    ] = Mode.rows,
    count: Annotated[int, typer.Option(min=1, help="number of events")] = 600,
    seed: Annotated[int, typer.Option(help="the same seed generates the same events")] = 1,
    batch_size: Annotated[
        int, typer.Option(min=1, help="events per message, in mode batches")
    ] = 20,
    rate: Annotated[
        float, typer.Option(min=0, help="maximum messages per second; 0: no limit")
    ] = 0,
    campaigns: Annotated[
        int,
        typer.Option(
            min=0, help="number of campaigns; each event gets an id and a campaign; 0: neither"
        ),
    ] = 0,
    bad_share: Annotated[
        float, typer.Option(min=0, max=1, help="bad messages to insert, as a share of the messages")
    ] = 0,
    start: Annotated[
        str, typer.Option(help="time of the first event with its time zone, or now (this minute)")
    ] = "2024-05-08T12:41:08Z",
    file: Annotated[
        Path | None,
        typer.Option(help="send the events of this file (a JSON object per line) instead"),
    ] = None,
    to: Annotated[str, typer.Option(help="kafka:TOPIC or stdout; default: the mode's topic")] = "",
    servers: Annotated[
        str, typer.Option(help="Kafka bootstrap servers; default: TIDEMARK_KAFKA_SERVERS")
    ] = "",
) -> None:
    """Publish click events. Both modes send the same events for the same seed."""
    settings = load_settings()
    topics = {
        Mode.rows: settings.clickstream_topic,
        Mode.batches: settings.clickstream_batches_topic,
    }
    target = parse_endpoint(to or f"kafka:{topics[mode]}")
    try:
        events = (
            read_events(file)
            if file
            else generate_events(count, seed, parse_start(start), campaigns)
        )
        messages = encode_events(events, mode.value, batch_size, bad_share, seed)
        if to == "stdout":
            for message in messages:
                sys.stdout.write(message.decode() + "\n")
            return
        if target.kind != "kafka" or not target.name:
            raise ValueError(f"--to {to!r} is not understood; use kafka:TOPIC or stdout")
        sent = publish_messages(
            messages, servers or settings.kafka_servers, target.name, rate or None
        )
    except (KafkaRequestFailed, ValueError) as error:
        typer.echo(f"clickstream: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ValueError) else 1) from None
    except KeyboardInterrupt:
        typer.echo("clickstream: interrupted; messages already sent stay in the topic", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{sent:,} messages acknowledged by topic {target.name}", err=True)


if __name__ == "__main__":
    restrict_new_files()
    typer.run(main)
