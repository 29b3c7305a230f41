"""The engine's own process: OpenVINO GenAI holds Python's lock for the whole of a step.

In Triton's stub no request would be read and no answer sent meanwhile. Run as
`python -m backends.openvino_genai.engine_process FD VERSION_FOLDER`; it ends when the other end
of the socket FD does.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from backends.llm_serving.engine import Report
from backends.llm_serving.errors import LlmError
from backends.llm_serving.trace import Trace
from backends.llm_serving.wire import Failed, Message, Ready, Stop
from backends.openvino_genai.detokenizer import detokenizer_for
from backends.openvino_genai.genai_pipeline import GenAiPipeline
from backends.openvino_genai.loop import Channel, Loop
from backends.openvino_genai.settings import load_settings


class SocketChannel(Channel):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def receive(self, *, wait: bool) -> list[Message]:
        messages: list[Message] = []
        try:
            while self._connection.poll(None if wait and not messages else 0):
                messages.append(self._connection.recv())
        except (EOFError, OSError):
            messages.append(Stop())
        return messages

    def send(self, report: Report) -> None:
        self._connection.send(report)


def main(descriptor: int, version_folder: Path) -> None:
    # Ctrl-C and a stop of the whole group reach this process too; its end is the socket's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = Connection(descriptor)
    try:
        settings, folder = load_settings(version_folder)
        # Before the engine starts its threads, which inherit it.
        os.nice(settings.niceness)
        pipeline = GenAiPipeline(settings, folder)
        detokenizer = detokenizer_for(pipeline.vocabulary(), pipeline.decode)
    except (LlmError, RuntimeError, ValueError) as error:
        connection.send(Failed(str(error)))
        return
    connection.send(Ready())
    trace = Trace(settings.trace)
    loop = Loop(pipeline, SocketChannel(connection), detokenizer, settings.coalescing, trace)
    try:
        loop.run()
    except BrokenPipeError:
        return
    except RuntimeError as error:
        connection.send(Failed(str(error)))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
