"""Triton's HTTP control endpoints: liveness, the repository index, load and unload."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any

from orchestrator.triton.errors import ControlError

READY = "READY"


@dataclass(frozen=True, slots=True)
class ModelState:
    name: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Control:
    host: str
    port: int

    async def is_live(self, *, timeout_s: float) -> bool:
        return await self._succeeds("/v2/health/live", timeout_s)

    async def is_ready(self, *, timeout_s: float) -> bool:
        return await self._succeeds("/v2/health/ready", timeout_s)

    async def index(self, *, timeout_s: float = 5.0) -> list[ModelState]:
        """A model that was never tried has no state."""
        rows = await self._call("POST", "/v2/repository/index", timeout_s)
        return [ModelState(r["name"], r.get("state", ""), r.get("reason", "")) for r in rows]

    async def is_decoupled(self, model: str, *, timeout_s: float = 5.0) -> bool:
        config = await self._call("GET", f"/v2/models/{model}/config", timeout_s)
        return bool(config.get("model_transaction_policy", {}).get("decoupled", False))

    async def load(self, model: str, *, timeout_s: float) -> None:
        await self._call("POST", f"/v2/repository/models/{model}/load", timeout_s)

    async def unload(self, model: str, *, timeout_s: float) -> None:
        await self._call("POST", f"/v2/repository/models/{model}/unload", timeout_s)

    async def _succeeds(self, path: str, timeout_s: float) -> bool:
        try:
            status, _ = await asyncio.to_thread(self._request, "GET", path, timeout_s)
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    async def _call(self, method: str, path: str, timeout_s: float) -> Any:
        try:
            status, body = await asyncio.to_thread(self._request, method, path, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(
                f"Triton on port {self.port} did not answer {path} within {timeout_s:g} s: {error}"
            ) from error
        answer = _decoded(body)
        if status != http.HTTPStatus.OK:
            reason = answer.get("error", "") if isinstance(answer, dict) else ""
            raise ControlError(reason or f"Triton answered {path} with HTTP status {status}")
        return answer

    def _request(self, method: str, path: str, timeout_s: float) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return {}
