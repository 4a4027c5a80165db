"""Start, find and end the processes of the local stack, by process id and start time (psutil).

A state file `<home>/run/<name>.json` names each process. A process id alone could have been given
to another program since; with its start time it cannot.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil


class StackError(Exception):
    """Something is in the way; the message says what and how to mend it."""


@dataclass(frozen=True)
class Service:
    """A process of the stack: its name, state file and log."""

    name: str
    home: Path

    @property
    def state(self) -> Path:
        return self.home / "run" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.home / "log" / f"{self.name}.log"

    def process(self) -> psutil.Process | None:
        """The running process, if it is still the one that was started."""
        try:
            kept = json.loads(self.state.read_text())
            process = psutil.Process(kept["pid"])
            same = abs(process.create_time() - kept["created"]) < 1
            return process if same and _lives(process.pid) else None
        except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
            return None

    def family(self) -> list[psutil.Process]:
        """It and all that it has started and that lives, also after it was killed."""
        leader = self.process()
        try:
            pid = json.loads(self.state.read_text())["pid"]
        except (OSError, ValueError, KeyError):
            return []
        if leader is None and _lives(pid):
            return []  # the process id is another program's by now
        members = {p.pid: p for p in leader.children(recursive=True)} if leader else {}
        for found in psutil.pids():
            if found not in members and found != pid and self._is_orphan(found, pid):
                members[found] = psutil.Process(found)
        living = [p for p in members.values() if _lives(p.pid)]
        return [leader, *living] if leader else living

    def _is_orphan(self, found: int, leader: int) -> bool:
        """Whether a process is of the session that `leader` began, and works where we start things.

        The session's number alone may be another's since the machine was started again.
        """
        try:
            return os.getsid(found) == leader and Path(psutil.Process(found).cwd()) == self.home
        except (OSError, psutil.Error):
            return False

    def is_whole(self) -> bool:
        """Whether it runs, and none of the processes that it has started itself has ended.

        Looks twice: one that has just ended may be about to be replaced.
        """
        gone = self._ended_parts()
        if gone:
            time.sleep(1.5)
            gone &= self._ended_parts()
        return self.process() is not None and not gone

    def _ended_parts(self) -> set[int]:
        process = self.process()
        children = process.children() if process else []
        return {child.pid for child in children if not _lives(child.pid)}

    def start(self, command: list[str], env: Mapping[str, str]) -> None:
        """Start it in a session of its own, so that Ctrl-C in the terminal does not reach it.

        What an earlier one left behind when it was killed is ended before.
        """
        self.stop()
        for folder in (self.home, self.state.parent, self.log.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.log, "ab", opener=partial(os.open, mode=0o600)) as log:
            started = subprocess.Popen(
                command, env=dict(env), cwd=self.home, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, umask=0o077,
            )  # fmt: skip
        process = psutil.Process(started.pid)
        state = {"pid": process.pid, "created": process.create_time(), "command": command[:3]}
        part = self.state.with_suffix(f".{os.getpid()}")
        part.touch(mode=0o600)
        part.write_text(json.dumps(state))
        part.replace(self.state)

    def wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until `ready`; StackError with the log's end if the process ends or time is up."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process() is None:
                raise StackError(f"{self.name} ended before {what}; its log says:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} runs, but after {seconds:.0f} s still no sign of: {what}; "
                    f"its log ({self.log}) says:\n{self.tail()}"
                )
            time.sleep(0.3)

    def tail(self, lines: int = 12) -> str:
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def stop(self, seconds: float = 20) -> bool:
        """End the process and all that it started; give whether there was something to end."""
        # All are looked for first: once the parent has gone they could not be told any more.
        family = self.family()
        for member in family:
            _send(member, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=seconds)
        for member in alive:
            _send(member, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5)
        self.state.unlink(missing_ok=True)
        return bool(family)


def listener(port: int) -> str | None:
    """Who listens on a TCP port of this machine, as `process 12 (java)`; None if it is free."""
    for _, taken, pid in listening():
        if taken == port:
            try:
                return f"process {pid} ({psutil.Process(pid).name()})"
            except (psutil.Error, TypeError):
                return "another user's process"
    return None


def listening() -> Iterator[tuple[str, int, int | None]]:
    """Address, port and process id (if it may be seen) of every listening TCP socket here."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            # Java listens on an IPv4 address with an IPv6 socket.
            address = connection.laddr.ip.removeprefix("::ffff:")
            yield address, connection.laddr.port, connection.pid


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
