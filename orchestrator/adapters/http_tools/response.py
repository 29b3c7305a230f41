"""What a response says became of the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime

from orchestrator.domain.tools import Effect, Outcome, ToolResult, failure

_MAX_SAID_CHARS = 2_000
_CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252"}
_TEXT_ENDINGS = ("json", "xml", "javascript", "x-www-form-urlencoded", "yaml", "x-ndjson")


@dataclass(frozen=True, slots=True)
class Reply:
    """`headers` have names in lower case; `cut` says that the body was longer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False


def result_of(reply: Reply, *, effect: Effect, method: str) -> ToolResult:
    status = reply.status
    if 200 <= status < 300:
        return ToolResult(Outcome.OK, _said(reply) or f"done (HTTP {status})")
    if 300 <= status < 400:
        # 303 sends a client on to read what came of a request that was carried out.
        seen = Outcome.UNKNOWN if status == 303 and method != "GET" else Outcome.FAILED
        return failure(f"HTTP {status}: it redirects, which is not followed", seen)
    wait_s = retry_after_s(reply.headers)
    why = f"HTTP {status}: {_said(reply)[:_MAX_SAID_CHARS]}".rstrip(": ")
    if status == 429 or (status == 503 and wait_s is not None):
        return failure(why, Outcome.TRANSIENT, retry_after_s=wait_s or 0.0)
    if status >= 500:
        once = effect is Effect.AT_MOST_ONCE
        return failure(why, Outcome.UNKNOWN if once else Outcome.TRANSIENT)
    return failure(why)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The Retry-After header: seconds, or a date that is compared with the server's own."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
        said = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, (until.replace(tzinfo=UTC) - said.replace(tzinfo=UTC)).total_seconds())


def _said(reply: Reply) -> str:
    content = Message()
    content["Content-Type"] = reply.headers.get("content-type") or "text/plain"
    encoding = reply.headers.get("content-encoding", "identity").lower()
    kind = content.get_content_type()
    if not reply.body:
        return ""
    textual = kind.startswith("text/") or kind.endswith(_TEXT_ENDINGS)
    if not textual or encoding not in ("", "identity"):
        form = kind if encoding in ("", "identity") else f"{kind}, {encoding}"
        return f"[{len(reply.body)} bytes of {form}, not shown]"
    charset = str(content.get_content_charset("utf-8"))
    text = reply.body.decode(charset if charset in _CHARSETS else "utf-8", errors="replace")
    return f"{text}\n[the response is longer and was cut here]" if reply.cut else text
