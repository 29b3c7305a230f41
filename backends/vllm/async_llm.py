"""vLLM's AsyncLLM behind the loop's port. Imported only in the engine's process."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import vllm
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import PrometheusStatLogger

from backends.llm_serving.engine import EngineRequest
from backends.llm_serving.errors import InvalidRequest, SettingsError
from backends.vllm.answer import Collector
from backends.vllm.loop import Client, Counts, EngineDied
from backends.vllm.sampling import vllm_lora, vllm_params
from backends.vllm.settings import VllmModel

OnStep = Callable[[Counts], None]


class StepLogger(PrometheusStatLogger):
    """Tells of each step. vLLM adds its own Prometheus logger unless there is one of the kind,

    and that one would spend time in every step on metrics that nobody reads here.
    """

    def __init__(self, vllm_config: Any, engine_indexes: list[int] | None = None) -> None:  # noqa: ARG002
        self.on_step: OnStep = lambda _: None
        self._of_each: dict[int, Counts] = {}

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,  # noqa: ARG002
        mm_cache_stats: Any = None,  # noqa: ARG002
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            self._of_each[engine_idx] = Counts(
                scheduler_stats.num_running_reqs,
                scheduler_stats.num_waiting_reqs,
                scheduler_stats.kv_cache_usage,
            )
        every = self._of_each.values()
        self.on_step(
            Counts(
                sum(one.running for one in every),
                sum(one.waiting for one in every),
                max((one.kv_usage for one in every), default=0.0),
            )
        )

    def log_engine_initialized(self) -> None:
        pass

    def log(self) -> None:
        pass

    def record_sleep_state(self, is_awake: int, level: int) -> None:
        pass

    def record_admission_rejection(self, reason: str) -> None:
        pass


class AsyncLlmClient(Client):
    def __init__(self, model: VllmModel) -> None:
        """Returns when the engine is up; raises SettingsError and what vLLM raises."""
        self._loras = model.loras
        arguments = _engine_args(model)
        self._llm = AsyncLLM.from_engine_args(arguments, stat_loggers=[StepLogger])
        self._tokenizing = replace(
            self._llm.renderer.default_cmpl_tok_params,
            add_special_tokens=model.serving.add_special_tokens,
        )
        for child in multiprocessing.active_children():
            _make_nice(child.pid, model.serving.niceness)

    def on_step(self, tell: OnStep) -> None:
        manager = self._llm.logger_manager
        for one in manager.stat_loggers if manager is not None else ():
            if isinstance(one, StepLogger):
                one.on_step = tell

    async def add(self, request: EngineRequest) -> Collector:
        try:
            params = vllm_params(request)
            lora = vllm_lora(request.params, self._loras)
            prompts = [{"prompt": request.prompt}]
            [prompt] = await self._llm.renderer.render_cmpl_async(prompts, self._tokenizing)
            collector: Collector = await self._llm.add_request(
                str(request.request_id), prompt, params, lora_request=lora
            )
        except EngineDeadError as error:
            raise EngineDied("vLLM's core process has ended") from error
        except (VLLMClientError, ValueError, TypeError) as error:
            raise InvalidRequest(f"the engine refuses this request: {error}") from None
        return collector

    async def abort(self, request_ids: Iterable[int]) -> None:
        await self._llm.abort([str(one) for one in request_ids])

    def is_dead(self) -> bool:
        return bool(self._llm.errored)

    def close(self) -> None:
        self._llm.shutdown(timeout=0)


def _engine_args(model: VllmModel) -> AsyncEngineArgs:
    known = [one.name for one in fields(AsyncEngineArgs)]
    unknown = sorted(model.engine_args.keys() - set(known))
    if unknown:
        raise SettingsError(
            f"model.json: vLLM {vllm.__version__} has no engine argument '{unknown[0]}'"
        )
    return AsyncEngineArgs(**{"disable_log_stats": True, **model.engine_args})


def _make_nice(pid: int | None, niceness: int) -> None:
    """All threads of a process: on Linux each has its own."""
    for task in Path(f"/proc/{pid}/task").iterdir() if niceness else ():
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(task.name), niceness)
