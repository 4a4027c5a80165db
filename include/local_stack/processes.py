"""Start, find and stop the processes of the local stack.

The state file `<home>/run/<name>.json` has the process id and start time of each service. Both
together identify a process; the system may have given the process id alone to another program.
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

from include.errors import SetupError
from include.lake.files import replace_file


@dataclass(frozen=True)
class Service:
    """A service of the stack: one process and all processes that it starts."""

    name: str
    home: Path

    @property
    def state_file(self) -> Path:
        return self.home / "run" / f"{self.name}.json"

    @property
    def log_file(self) -> Path:
        return self.home / "log" / f"{self.name}.log"

    def process(self) -> psutil.Process | None:
        """Return the service's process, or None if it does not run."""
        try:
            state = json.loads(self.state_file.read_text())
            process = psutil.Process(state["pid"])
            is_same = abs(process.create_time() - state["created"]) < 1
            return process if is_same and _is_alive(process.pid) else None
        except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
            return None

    def process_tree(self) -> list[psutil.Process]:
        """Return the service's process and its living descendants, also after it was killed."""
        leader = self.process()
        try:
            pid = json.loads(self.state_file.read_text())["pid"]
        except (OSError, ValueError, KeyError):
            return []
        if leader is None and _is_alive(pid):
            return []  # the process id now belongs to another program
        members = {p.pid: p for p in leader.children(recursive=True)} if leader else {}
        for candidate in psutil.pids():
            if candidate not in members and candidate != pid and self._is_orphan(candidate, pid):
                members[candidate] = psutil.Process(candidate)
        living = [p for p in members.values() if _is_alive(p.pid)]
        return [leader, *living] if leader else living

    def _is_orphan(self, pid: int, leader_pid: int) -> bool:
        """Whether a process belongs to the leader's session and has this stack's home as its folder.

        The session id alone is not enough: after a restart of the machine it may be another's.
        """
        try:
            return os.getsid(pid) == leader_pid and Path(psutil.Process(pid).cwd()) == self.home
        except (OSError, psutil.Error):
            return False

    def is_complete(self) -> bool:
        """Whether the service runs and none of its direct child processes has ended.

        It checks twice, 1.5 s apart: the service may be about to replace an ended child.
        """
        ended = self._ended_children()
        if ended:
            time.sleep(1.5)
            ended &= self._ended_children()
        return self.process() is not None and not ended

    def _ended_children(self) -> set[int]:
        process = self.process()
        children = process.children() if process else []
        return {child.pid for child in children if not _is_alive(child.pid)}

    def start(self, command: list[str], env: Mapping[str, str]) -> None:
        """Start the service in a new session, so that Ctrl-C in the terminal does not reach it.

        Processes that a killed earlier one left behind are stopped first.

        Args:
            command: The program and its arguments.
            env: The whole environment of the process.
        """
        self.stop()
        for folder in (self.home, self.state_file.parent, self.log_file.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.log_file, "ab", opener=partial(os.open, mode=0o600)) as log:
            started = subprocess.Popen(
                command,
                env=dict(env),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        process = psutil.Process(started.pid)
        state = {"pid": process.pid, "created": process.create_time(), "command": command[:3]}
        replace_file(self.state_file, json.dumps(state), permissions=0o600)

    def wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until the service is ready.

        Args:
            ready: Returns whether the service is ready.
            seconds: Maximum time to wait.
            what: What is waited for, for the error message.

        Raises:
            SetupError: The process ended or the time is over; with the last lines of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process() is None:
                raise SetupError(
                    f"{self.name} ended while waiting for {what}. "
                    f"Last lines of {self.log_file}:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{self.name} runs, but is not ready after {seconds:.0f} s of waiting for {what}. "
                    f"Last lines of {self.log_file}:\n{self.tail()}"
                )
            time.sleep(0.3)

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of the log, indented."""
        text = self.log_file.read_text(errors="replace") if self.log_file.is_file() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def stop(self, seconds: float = 20) -> bool:
        """Stop the process and its descendants: SIGTERM, then SIGKILL after `seconds`.

        Returns:
            Whether any process was running.
        """
        # Find all of them first: without their parent they could not be found any more.
        processes = self.process_tree()
        for process in processes:
            _send_signal(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=seconds)
        for process in alive:
            _send_signal(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5)
        self.state_file.unlink(missing_ok=True)
        return bool(processes)


def find_listener(port: int) -> str | None:
    """Return the process that listens on a TCP port, as `process 12 (java)`; None if it is free."""
    for _, listening_port, pid in list_listening_sockets():
        if listening_port == port:
            try:
                return f"process {pid} ({psutil.Process(pid).name()})"
            except (psutil.Error, TypeError):
                return "another user's process"
    return None


def list_listening_sockets() -> Iterator[tuple[str, int, int | None]]:
    """Yield address, port and process id of each listening TCP socket of this machine.

    The process id is None if this user may not see it.
    """
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            # Java uses an IPv6 socket to listen on an IPv4 address.
            address = connection.laddr.ip.removeprefix("::ffff:")
            yield address, connection.laddr.port, connection.pid


def _send_signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
