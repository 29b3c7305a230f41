"""What a provider's refusals and broken connections are to the service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.adapters.provider_connection.context_length import TooLong, too_long
from orchestrator.adapters.provider_connection.scrubbing import named, scrubbed
from orchestrator.adapters.provider_connection.waits import asked_s, retry_after_s
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.errors import FleetError, InvalidInput, Remedy, Unavailable

log = logging.getLogger(__name__)

RATE_LIMITED = "RATE_LIMITED"
CONTENT_FILTERED = "CONTENT_FILTERED"

# Of an error inside of a stream, whose status was 200: Anthropic's names, then OpenAI's and vLLM's.
_STATUS_OF: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "server_overloaded": 503,
    "BadRequestError": 400,
    "NotFoundError": 404,
    "InternalServerError": 500,
}
_OUT_OF_MONEY = frozenset(
    {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"}
)
_NO_SUCH_MODEL = frozenset({"model_not_found", "DeploymentNotFound"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server answered instead of a stream, or inside of one.

    `code` and `kind` are the provider's names for it, `param` that of the wrong parameter, and
    `more` the error's other members. All but `status` may be missing, as in an HTML page.
    """

    status: int
    code: str = ""
    kind: str = ""
    message: str = ""
    param: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, status: int, error: object, headers: Mapping[str, str]) -> Refusal:
        """`error` is the JSON that says what is wrong; anything else counts as nothing said."""
        lower = {name.lower(): value for name, value in headers.items()}
        if not isinstance(error, Mapping):
            return cls(status=status, headers=lower)
        message = error.get("message")
        return cls(
            status=status,
            code=named(error.get("code")),
            kind=named(error.get("type")),
            message=message if isinstance(message, str) else "",
            param=named(error.get("param")),
            headers=lower,
            more=error,
        )

    @property
    def effective_status(self) -> int:
        if self.status >= 300:
            return self.status
        if self.code.isdecimal() and 400 <= int(self.code) < 600:
            return int(self.code)
        return _STATUS_OF.get(self.code) or _STATUS_OF.get(self.kind) or 500

    @property
    def name(self) -> str:
        return self.kind if self.code.isdecimal() else self.code or self.kind


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: `sent` is every text of it, `prompt_tokens` an estimate."""

    entry: ModelEntry
    sent: Sequence[str] = ()
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failures:
    """`secrets` are never in a message, whatever the provider writes; nor is what was sent."""

    provider: str
    secrets: Callable[[], Sequence[str]] = tuple
    clock: Callable[[], float] = time.time

    def refused(self, refusal: Refusal, asked: Asked) -> FleetError:
        model = asked.entry.name
        status, name = refusal.effective_status, refusal.name
        log.info("%s refused a request to %s: %d %s", self.provider, model, status, name)
        said = f"{self.provider} answered {status}" + (f" ({name})" if name else "")
        long = too_long(refusal.code or refusal.kind, refusal.message, refusal.more)
        if status == 413 or (long is not None and status < 500):
            return _too_long(long or TooLong(), asked, said)
        if name in _FILTERED:
            return filtered(model, self.provider)
        if name in _NO_SUCH_MODEL or status == 404:
            what = f"{said}: it does not know the model, or base_url is wrong"
            return unavailable(model, what, Remedy.TRY_ANOTHER)
        if status in (401, 403):
            what = f"{said}: it refuses the key, or the key this model"
            return unavailable(model, what, Remedy.TRY_ANOTHER)
        if status == 402 or name in _OUT_OF_MONEY:
            what = f"{said}: what is paid for is used up"
            return unavailable(model, what, Remedy.TRY_ANOTHER)
        if status == 429:
            return Unavailable(
                f"model {model} is limited: {said}, too many requests or tokens",
                reason=RATE_LIMITED,
                retry_after_s=retry_after_s(refusal.headers, self.clock()),
                remedy=Remedy.RETRY_HERE,
            )
        if status in (503, 529):
            what, wait = f"{said}: it is overloaded", self._wait(refusal)
            return unavailable(model, what, Remedy.TRY_ANOTHER, retry_after_s=wait)
        if status >= 500 or status in (408, 409, 425, 499):
            return unavailable(model, said, retry_after_s=self._wait(refusal))
        if status < 400:
            what = f"{said}: base_url leads elsewhere"
            return unavailable(model, what, Remedy.TRY_ANOTHER)
        why = scrubbed(refusal.message, [*asked.sent, *self.secrets()])
        return InvalidInput(f"model {model} refuses the request: {said}: {why}")

    def broken(self, model: str, what: str) -> Unavailable:
        return unavailable(model, f"{self.provider} {what}")

    def _wait(self, refusal: Refusal) -> float | None:
        """Of a failure that is not about limits, whose headers come with every answer."""
        return asked_s(refusal.headers, self.clock())


def unavailable(
    model: str,
    what: str,
    remedy: Remedy = Remedy.RETRY_HERE,
    *,
    retry_after_s: float | None = None,
) -> Unavailable:
    return Unavailable(
        f"model {model} is not available: {what}",
        reason="MODEL_UNAVAILABLE",
        retry_after_s=retry_after_s,
        remedy=remedy,
    )


def filtered(model: str, provider: str) -> InvalidInput:
    return InvalidInput(
        f"{provider} stopped the answer of {model}: its content filter found something",
        field="messages",
        reason=CONTENT_FILTERED,
    )


def _too_long(long: TooLong, asked: Asked, said: str) -> InvalidInput:
    """Where the server does not count the whole prompt, an estimate says how much is too much."""
    model, prompt, limit = asked.entry.name, long.prompt_tokens, long.limit_tokens
    if long.at_least or not prompt:
        prompt = max(prompt, asked.prompt_tokens)
    limit = limit or asked.entry.context_tokens
    if prompt <= limit:
        what = f"the prompt is longer than what {model} takes: {said}"
        return InvalidInput(what, field="messages", reason="CONTEXT_LENGTH")
    error = InvalidInput(
        f"the prompt has some {prompt} tokens; {model} takes up to {limit}: {said}",
        field="messages",
        reason="CONTEXT_LENGTH",
    )
    error.metadata |= {"prompt_tokens": str(prompt), "limit_tokens": str(limit)}
    return error
