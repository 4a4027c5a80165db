"""Serve lines for Spark's socket source: `python -m producers.line_server`.

The lines come from a file, or from the keyboard until Ctrl-D. It replaces netcat of the textbooks.
"""

import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer


def serve_lines(
    lines: Iterable[bytes], host: str, port: int, rate: float | None = None, keep_open: bool = False
) -> int:
    """Wait for one reader, send it the lines, and close the connection.

    Args:
        lines: The lines, with or without a newline.
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose one.
        rate: Lines per second; None for no limit.
        keep_open: Wait until the reader closes the connection.

    Returns:
        The number of lines sent.

    Raises:
        OSError: The port is taken, or the reader closed the connection early.
    """
    with socket.create_server((host, port)) as server:
        host, port = server.getsockname()[:2]
        print(f"waiting for a reader at {host}:{port}", file=sys.stderr, flush=True)  # noqa: T201
        reader, _ = server.accept()
        sent = 0
        with reader:
            for line in lines:
                reader.sendall(line.rstrip(b"\n") + b"\n")
                sent += 1
                if rate:
                    time.sleep(1 / rate)
            if keep_open:
                print(f"{sent:,} lines sent; waiting until the reader disconnects", file=sys.stderr)  # noqa: T201
                with suppress(ConnectionError):
                    reader.recv(1)
    return sent


def main(
    file: Annotated[Path | None, typer.Argument(help="text file; default: the keyboard")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="port to listen on; 0: any free port")
    ] = 9999,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    rate: Annotated[float, typer.Option(min=0, help="maximum lines per second; 0: no limit")] = 0,
) -> None:
    """Serve the lines of a file, or what you type, to the first reader that connects."""
    try:
        if file is not None and not file.is_file():
            raise OSError(f"there is no file {file}; check the path")
        sent = serve_lines(_read_lines(file), host, port, rate or None, keep_open=file is not None)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (BrokenPipeError, ConnectionResetError):
        typer.echo("serve-lines: the reader disconnected before all lines were sent", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        message = (
            f"{host}:{port}: {error.strerror}; try another --port" if error.strerror else error
        )
        typer.echo(f"serve-lines: {message}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{sent:,} lines sent", err=True)


def _read_lines(file: Path | None) -> Iterator[bytes]:
    if file is None:
        yield from sys.stdin.buffer
    else:
        with file.open("rb") as lines:
            yield from lines


if __name__ == "__main__":
    typer.run(main)
