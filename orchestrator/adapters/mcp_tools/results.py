"""What a model is told of a call's answer: text, and of everything else its type and size."""

from __future__ import annotations

import json
from typing import Any

import mcp_types

from orchestrator.adapters.mcp_tools.wire import MAX_MESSAGE_BYTES, Fault
from orchestrator.domain.tools import Outcome, ToolResult, failure

_NAME_CHARS = 200


def from_result(result: mcp_types.CallToolResult) -> ToolResult:
    texts = [block.text for block in result.content if isinstance(block, mcp_types.TextContent)]
    parts = [_told(block) for block in result.content]
    structured = result.structured_content
    if structured is not None and not _carried(structured, texts):
        parts.append(json.dumps(structured, ensure_ascii=False))
    said = "\n".join(parts)
    if result.is_error:
        return failure(said or "the tool failed and does not say why")
    return ToolResult(Outcome.OK, said)


def from_error(error: mcp_types.ErrorData) -> ToolResult:
    """What an error says of the call; an error of the server's own is the tool's failure."""
    match error.code:
        case Fault.NOT_SENT | Fault.SESSION_LOST | Fault.BUSY:
            return failure(error.message, Outcome.TRANSIENT, retry_after_s=_wait(error.data))
        case Fault.OVERSIZE:
            most = f"{MAX_MESSAGE_BYTES} bytes, and no more is read: ask it for less"
            return failure(f"the tool ran, but answered with more than {most}")
        case Fault.UNREADABLE:
            return failure(f"the tool ran, but {error.message}")
        case Fault.BROKEN | Fault.SERVER_ERROR | mcp_types.CONNECTION_CLOSED:
            return failure(f"the call was cut off: {error.message}", Outcome.UNKNOWN)
        case mcp_types.REQUEST_TIMEOUT | mcp_types.PARSE_ERROR:
            return failure(error.message, Outcome.UNKNOWN)
        case _:
            return failure(error.message)


def _wait(data: Any) -> float:
    named = data.get("retry_after_s") if isinstance(data, dict) else None
    return float(named) if isinstance(named, (int, float)) and named > 0 else 0.0


def _told(block: mcp_types.ContentBlock) -> str:
    match block:
        case mcp_types.TextContent():
            return block.text
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return f"[{block.type} {block.mime_type[:_NAME_CHARS]}, {_decoded(block.data)} bytes]"
        case mcp_types.ResourceLink():
            size = "size unknown" if block.size is None else f"{block.size} bytes"
            return f"[link to a resource {_named(block.uri, block.mime_type)}, {size}]"
        case mcp_types.EmbeddedResource(resource=held):
            return f"[resource {_named(held.uri, held.mime_type)}, {_size(held)} bytes]"


def _size(held: mcp_types.TextResourceContents | mcp_types.BlobResourceContents) -> int:
    if isinstance(held, mcp_types.TextResourceContents):
        return len(held.text.encode("utf-8", "replace"))
    return _decoded(held.blob)


def _named(uri: object, mime_type: str | None) -> str:
    return f"{str(uri)[:_NAME_CHARS]} {(mime_type or 'of unknown type')[:_NAME_CHARS]}"


def _decoded(base64_text: str) -> int:
    return len(base64_text.rstrip("=")) * 3 // 4


def _carried(structured: Any, texts: list[str]) -> bool:
    """Whether the text blocks say the same already, as servers do for older clients."""
    if not texts:
        return False
    meant = [structured]
    if isinstance(structured, dict) and structured.keys() == {"result"}:
        meant.append(structured["result"])
    values = [_value(text) for text in texts]
    return any(one in (*values, *texts, values) for one in meant)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
