"""Make Kafka topics that are missing: `python -m producers.topics access-log`."""

from typing import Annotated

import typer

from include.settings import load_settings
from producers.kafka_client import ProducerError, ensure_topics


def main(
    topics: Annotated[list[str], typer.Argument(help="names of the topics")],
    servers: Annotated[str, typer.Option(help="bootstrap servers; default from settings")] = "",
) -> None:
    """Make the topics that are not there yet, with the partitions that the settings name."""
    settings = load_settings()
    try:
        ensure_topics(
            servers or settings.kafka_servers, topics, settings.partitions, settings.replication
        )
    except ProducerError as error:
        typer.echo(f"topics: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
