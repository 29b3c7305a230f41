import json
from typing import Any

import mcp_types
import pytest

from orchestrator.adapters.mcp_tools.results import from_error, from_result
from orchestrator.domain.tools import Outcome, ToolResult, failure


def result(*blocks: mcp_types.ContentBlock, **fields: Any) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(content=list(blocks), **fields)


def text(said: str) -> mcp_types.TextContent:
    return mcp_types.TextContent(text=said)


def test_texts_are_joined() -> None:
    assert from_result(result(text("a"), text("b"))) == ToolResult(Outcome.OK, "a\nb")


@pytest.mark.parametrize(
    ("blocks", "structured"),
    [
        ((text('{"a": 1}'),), {"a": 1}),
        ((text("3"),), {"result": 3}),
        ((text("three"),), {"result": "three"}),
        ((text("1"), text("2")), {"result": [1, 2]}),
    ],
)
def test_structured_content_that_the_text_says_already_is_not_repeated(
    blocks: tuple[mcp_types.TextContent, ...], structured: Any
) -> None:
    said = from_result(result(*blocks, structured_content=structured)).content
    assert said == "\n".join(block.text for block in blocks)


def test_structured_content_is_added_when_the_text_is_another() -> None:
    said = from_result(result(text("done"), structured_content={"id": 7})).content
    assert said == 'done\n{"id": 7}'


def test_empty_structured_content_is_still_an_answer() -> None:
    assert from_result(result(structured_content=[])).content == "[]"


def test_resources_are_named_and_not_passed_on() -> None:
    blocks = (
        mcp_types.AudioContent(data="AAAA", mime_type="audio/wav"),
        mcp_types.ResourceLink(name="n", uri="file:///n", size=12, mime_type="text/plain"),
        mcp_types.EmbeddedResource(
            resource=mcp_types.TextResourceContents(uri="file:///t", text="größe")
        ),
        mcp_types.EmbeddedResource(
            resource=mcp_types.BlobResourceContents(uri="file:///b", blob="AAA=", mime_type="x/y")
        ),
    )
    assert from_result(result(*blocks)).content.splitlines() == [
        "[audio audio/wav, 3 bytes]",
        "[link to a resource file:///n text/plain, 12 bytes]",
        "[resource file:///t of unknown type, 7 bytes]",
        "[resource file:///b x/y, 2 bytes]",
    ]


def test_an_error_is_a_failure_even_without_words() -> None:
    assert from_result(result(text("no"), is_error=True)) == failure("no")
    assert "does not say why" in from_result(result(is_error=True)).content


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (mcp_types.INVALID_PARAMS, Outcome.FAILED),
        (mcp_types.INTERNAL_ERROR, Outcome.FAILED),
        (mcp_types.CONNECTION_CLOSED, Outcome.UNKNOWN),
        (mcp_types.REQUEST_TIMEOUT, Outcome.UNKNOWN),
    ],
)
def test_an_error_of_the_protocol_says_what_is_known_of_the_call(
    code: int, outcome: Outcome
) -> None:
    error = mcp_types.ErrorData(code=code, message="why")
    told = from_error(error)
    assert told.outcome is outcome
    assert "why" in json.loads(told.content)["error"]
