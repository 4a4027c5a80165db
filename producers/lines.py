"""Serve lines to whoever connects, as the socket source of Spark expects: `python -m producers.lines`.

From a file, or from the keyboard until Ctrl-D. What netcat does in the textbooks, without netcat.
"""

import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer


def serve(
    lines: Iterable[bytes], host: str, port: int, rate: float | None = None, hold: bool = False
) -> int:
    """Wait for one reader, send it `lines` (`rate` a second), close; give how many were sent.

    With `hold` it is the reader who closes. Port 0 lets the system choose. Raises OSError if the
    port is taken, or the reader has gone.
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
            if hold:
                print(f"{sent:,} lines sent; waiting until the reader leaves", file=sys.stderr)  # noqa: T201
                with suppress(ConnectionError):
                    reader.recv(1)
    return sent


def main(
    file: Annotated[Path | None, typer.Argument(help="a text file; none: the keyboard")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on")] = 9999,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    rate: Annotated[float, typer.Option(min=0, help="lines a second; 0: at once")] = 0,
) -> None:
    """Serve the lines of a file, or what you type, to the first reader that connects."""
    try:
        if file is not None and not file.is_file():
            raise OSError(f"there is no file {file}")
        sent = serve(_lines(file), host, port, rate or None, hold=file is not None)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (BrokenPipeError, ConnectionResetError):
        typer.echo("lines: the reader has gone", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        what = f"{host}:{port}: {error.strerror}; try another --port" if error.strerror else error
        typer.echo(f"lines: {what}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{sent:,} lines sent", err=True)


def _lines(file: Path | None) -> Iterator[bytes]:
    if file is None:
        yield from sys.stdin.buffer
    else:
        with file.open("rb") as opened:
            yield from opened


if __name__ == "__main__":
    typer.run(main)
