"""vLLM's front end in a process of its own, away from Triton's stub; its core has another one.

The stub then reads requests and sends answers while this process tokenizes and detokenizes, and
an engine that has to be started again takes nothing of the old one along. Run as
`python -m backends.vllm.engine_process FD VERSION_FOLDER`; it ends when the other end of the
socket FD does.
"""

import asyncio
import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from backends.llm_serving.errors import LlmError
from backends.llm_serving.process_group import kill_group
from backends.llm_serving.trace import Trace
from backends.llm_serving.wire import Failed, Message, Ready, Stop
from backends.vllm.loop import EngineDied, Loop
from backends.vllm.settings import VllmModel, load_model


def receive(connection: Connection) -> list[Message]:
    """What is there; gone peers send Stop."""
    messages: list[Message] = []
    try:
        while connection.poll(0):
            messages.append(connection.recv())
    except (EOFError, OSError):
        messages.append(Stop())
    return messages


async def serve(connection: Connection, model: VllmModel) -> None:
    # After the environment is checked: the import takes seconds.
    from backends.vllm.async_llm import AsyncLlmClient  # noqa: PLC0415

    client = AsyncLlmClient(model)
    try:
        trace = Trace(model.serving.trace)
        loop = Loop(client, connection.send, model.serving.coalescing, trace)
        client.on_step(loop.stepped)
        connection.send(Ready())
        events = asyncio.get_running_loop()
        events.add_reader(connection.fileno(), lambda: loop.take_in(receive(connection)))
        try:
            await loop.run()
        finally:
            events.remove_reader(connection.fileno())
    finally:
        # There is nothing to save, and vLLM's own way takes seconds.
        kill_group(os.getpid(), spare=os.getpid())
        client.close()


def main(descriptor: int, version_folder: Path) -> None:
    # Ctrl-C and a stop of the whole group reach this process too; its end is the socket's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = Connection(descriptor)
    try:
        asyncio.run(serve(connection, load_model(version_folder)))
    except Exception as error:  # noqa: BLE001
        # Whatever it is, the stub says it to whoever loads the model, or in the log.
        own = isinstance(error, EngineDied | LlmError)
        with contextlib.suppress(OSError):
            connection.send(Failed(str(error) if own else f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
