"""Sends its input back again and again, as a language model sends tokens."""

import threading
import time
from typing import Any

import triton_python_backend_utils as pb_utils

EVERY_S = 0.05
TICKS = 1200


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            sender = request.get_response_sender()
            threading.Thread(target=self._tick, args=(sender, x), daemon=True).start()

    def _tick(self, sender: Any, x: Any) -> None:
        for _ in range(TICKS):
            if sender.is_cancelled():
                break
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x)]))
            time.sleep(EVERY_S)
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
