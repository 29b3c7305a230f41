"""The engine port, served by a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from backends.llm_serving.engine import Engine, EngineRequest, Listener, Report
from backends.llm_serving.errors import EngineFailed, InvalidRequest, Unavailable
from backends.openvino_genai.grammar import grammar_for
from backends.openvino_genai.loop import Cancel, Message, Stop
from backends.openvino_genai.wire import Failed, Ready

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 5.0
_ROOT = Path(__file__).resolve().parents[2]


class OpenVinoEngine(Engine):
    def __init__(self, version_folder: Path, python: str = sys.executable) -> None:
        self._version_folder = version_folder
        self._python = python
        self._sending = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._reader: threading.Thread | None = None
        self._closing = False

    def start(self, listener: Listener) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [self._python, "-m", "backends.openvino_genai.engine_process"]
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(self._version_folder)],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                cwd="/",
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
        params = request.params
        if params.extras:
            name, value = params.extras[0]
            raise InvalidRequest(
                f"sampling_parameters: this engine does not honour '{name}' (given {value}); "
                "leave it out"
            )
        if (params.logprobs or 0) > 1 or (params.logprobs == 1 and not params.greedy):
            raise InvalidRequest(
                "sampling_parameters: 'logprobs' must be 0 here, or 1 with temperature 0, "
                f"not {params.logprobs}: this engine reports the chosen token only"
            )
        if params.n > 1 and request.stream:
            raise InvalidRequest(
                f"sampling_parameters: 'n' must be 1 when stream is true, not {params.n}"
            )
        if params.structured is not None:
            grammar_for(params.structured)

    def submit(self, request: EngineRequest) -> None:
        self._send(request)

    def cancel(self, request_id: int) -> None:
        with contextlib.suppress(Unavailable):
            self._send(Cancel(request_id))

    def close(self) -> None:
        self._closing = True
        process = self._process
        with contextlib.suppress(Unavailable):
            self._send(Stop())
        if process is not None:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
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
            self._process.kill()
            self._process.wait()
