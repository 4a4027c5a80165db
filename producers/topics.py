"""Create missing Kafka topics: `python -m producers.topics`, or only some: `… access-log`."""

from typing import Annotated

import typer

from include.datasets import list_topics
from include.settings import load_settings
from producers.kafka_client import KafkaRequestFailed, ensure_topics


def main(
    topics: Annotated[
        list[str] | None, typer.Argument(help="topic names; default: those of all datasets")
    ] = None,
    servers: Annotated[
        str, typer.Option(help="Kafka bootstrap servers; default: TIDEMARK_KAFKA_SERVERS")
    ] = "",
) -> None:
    """Create the topics that do not exist. Partitions and replication come from the settings."""
    settings = load_settings()
    try:
        ensure_topics(
            servers or settings.kafka_servers,
            topics or list_topics(settings),
            settings.partitions,
            settings.replication,
        )
    except KafkaRequestFailed as error:
        typer.echo(f"topics: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
