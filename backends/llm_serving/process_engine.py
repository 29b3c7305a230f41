"""The engine port, served by a process of its own."""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from backends.llm_serving.engine import Engine, EngineRequest, Listener, Report
from backends.llm_serving.errors import EngineFailed, Unavailable
from backends.llm_serving.process_group import kill_group
from backends.llm_serving.wire import Cancel, Failed, Message, Ready

START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 5.0
_ROOT = Path(__file__).resolve().parents[2]


class ProcessEngine(Engine):
    """Runs `python -m MODULE FD VERSION_FOLDER`.

    `check` refuses requests without asking the process; it raises InvalidRequest. The process has
    a group of its own, so that what it started ends with it.
    """

    def __init__(
        self,
        module: str,
        version_folder: Path,
        python: str,
        environment: Mapping[str, str] | None = None,
        check: Callable[[EngineRequest], None] | None = None,
    ) -> None:
        self._module = module
        self._version_folder = version_folder
        self._python = python
        self._check = check
        self._environment = environment or {}
        self._sending = threading.Lock()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._reader: threading.Thread | None = None
        self._closing = False

    def start(self, listener: Listener) -> None:
        ours, theirs = socket.socketpair()
        with theirs, self._starting:
            if self._closing:
                ours.close()
                raise EngineFailed("the engine did not start: it is being closed")
            command = [self._python, "-m", self._module]
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(self._version_folder)],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **self._environment, "PYTHONPATH": str(_ROOT)},
                cwd="/",
                process_group=0,
            )
        connection = Connection(ours.detach())
        self._await_ready(connection)
        self._connection = connection
        self._reader = threading.Thread(
            target=self._read, args=(connection, self._process, listener), name="engine-reader"
        )
        self._reader.daemon = True
        self._reader.start()

    def check(self, request: EngineRequest) -> None:
        if self._check is not None:
            self._check(request)

    def submit(self, request: EngineRequest) -> None:
        self._send(request)

    def cancel(self, request_id: int) -> None:
        with contextlib.suppress(Unavailable):
            self._send(Cancel(request_id))

    def close(self) -> None:
        """Takes no more than some seconds, whatever the process does."""
        with self._starting:
            self._closing = True
            process, connection = self._process, self._connection
        if process is not None:
            if connection is not None:
                _hang_up(connection)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT_S)
            self._end_process()
        if self._reader is not None:
            self._reader.join()

    def _await_ready(self, connection: Connection) -> None:
        try:
            answer = connection.recv() if connection.poll(START_TIMEOUT_S) else None
        except (EOFError, OSError):
            answer = Failed("its process ended before it was ready")
        if isinstance(answer, Ready):
            return
        reason = answer.reason if isinstance(answer, Failed) else "it did not come up in time"
        self._end_process()
        connection.close()
        raise EngineFailed(f"the engine did not start: {reason.strip()}")

    def _send(self, message: Message) -> None:
        with self._sending:
            if self._connection is None:
                raise Unavailable("the engine is down")
            try:
                self._connection.send(message)
            except OSError:
                raise Unavailable("the engine is down") from None

    def _read(
        self, connection: Connection, process: "subprocess.Popen[bytes]", listener: Listener
    ) -> None:
        reason = ""
        try:
            while True:
                message = connection.recv()
                if isinstance(message, Report):
                    listener.report(message)
                elif isinstance(message, Failed):
                    reason = message.reason.strip()
        except (EOFError, OSError):
            pass
        with self._sending:
            self._connection = None
        connection.close()
        if self._closing:
            return
        self._end_process()
        listener.died(reason or f"its process ended with code {process.returncode}")

    def _end_process(self) -> None:
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()


def _hang_up(connection: Connection) -> None:
    """The process hears it as Stop, and who is stuck writing to a full socket gets an error."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_WR)
