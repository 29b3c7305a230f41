"""What a tool can reach: names that lie, change their mind, or are not on the list."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestrator.adapters.http_tools import (
    HttpTool,
    HttpToolError,
    HttpTools,
    PinnedNetwork,
)
from orchestrator.domain.tools import Outcome
from tests.orchestrator.adapters.http_tools.serving import (
    HOST,
    TRUST,
    call,
    http_tool,
    said,
    serving,
    source,
)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], ["169.254.169.254"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]],
)
async def test_a_name_with_any_address_that_is_not_public_is_refused(
    addresses: Sequence[str],
) -> None:
    async with serving(said(200)) as server:
        tool = http_tool(f"http://{HOST}:{server.port}/")
        async with source(tool, addresses={HOST: addresses}, internal=False) as tools:
            result = await call(tools)
    assert result.outcome is Outcome.FAILED
    assert "not public" in result.content
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0x7f000001", "2130706433", "localhost"])
async def test_an_address_in_any_spelling_is_checked_as_it_is_resolved(host: str) -> None:
    async with serving(said(200)) as server:
        tool = http_tool(f"http://{host}:{server.port}/")
        network = PinnedNetwork()
        async with HttpTools([tool], network=network, hosts=[tool.origin[1]], trust=TRUST) as tools:
            result = await call(tools)
    assert result.outcome is Outcome.FAILED
    assert server.connections == 0


async def test_a_name_is_resolved_once_and_the_connection_made_to_what_was_checked() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async with serving(said(200, b"pinned")) as server:
        tool = http_tool(f"http://{HOST}:{server.port}/")
        allowed = {(HOST, server.port)}
        network = PinnedNetwork(internal=allowed, resolver=rebinding)
        async with HttpTools([tool], network=network, trust=TRUST) as tools:
            result = await call(tools)
    assert (result.content, asked) == ("pinned", [HOST])


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with serving(said(200, b"second")) as server:
        tool = http_tool(f"http://{HOST}:{server.port}/")
        async with source(tool, addresses={HOST: ["127.0.0.9", "127.0.0.1"]}) as tools:
            assert (await call(tools)).content == "second"


async def test_an_internal_host_is_internal_on_its_port_only() -> None:
    async with serving(said(200)) as server:
        tool = http_tool(f"http://{HOST}:{server.port}/")
        network = PinnedNetwork(internal={(HOST, server.port + 1)}, resolver=_loopback)
        async with HttpTools([tool], network=network, hosts=[HOST], trust=TRUST) as tools:
            assert (await call(tools)).outcome is Outcome.FAILED
    assert server.connections == 0


async def _loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key, cert = folder / f"{host}.key", folder / f"{host}.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made = ["openssl", "req", "-x509", "-nodes", "-days", "1", *curve]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*made, *names, *files], check=True, capture_output=True)
    serves = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(cert, key)
    return serves, ssl.create_default_context(cafile=str(cert))


async def test_the_certificate_is_checked_for_the_name_and_not_the_address(tmp_path: Path) -> None:
    serves, trusts = certificate(tmp_path, HOST)
    names: list[str | None] = []
    serves.sni_callback = lambda _, name, __: names.append(name)
    async with serving(said(200, b"private"), trust=serves) as server:
        tool = http_tool(f"https://{HOST}:{server.port}/")
        async with source(tool, trust=trusts) as tools:
            right = await call(tools)
        other = http_tool(f"https://other.test:{server.port}/")
        addresses = {"other.test": ["127.0.0.1"]}
        async with source(other, trust=trusts, addresses=addresses) as tools:
            wrong = await call(tools)
    assert right.content == "private"
    assert names == [HOST, "other.test"]
    assert wrong.outcome is Outcome.TRANSIENT
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        (http_tool("http://elsewhere.test/"), "'elsewhere.test:80' in tools.internal_hosts"),
        (http_tool("ftp://shop.test/"), "must be http:// or https://"),
        (http_tool("http:///x"), "must be http:// or https://"),
        (http_tool("http://shop.test:99999/"), "must be http:// or https://"),
        (http_tool("http://me:pw@shop.test/"), "put secrets in headers"),
        (http_tool("http://{host}.test/"), "only the path"),
        (http_tool("http://shop.test/?q={q}"), "only the path"),
        (http_tool("http://shop.test/{a b}"), "names no argument"),
        (http_tool("http://shop.test/{order}"), "{order} in its url must be a required"),
        (http_tool("http://shöp.test/"), "in ASCII"),
        (http_tool("http://shop.test/", method="TRACE"), "'TRACE' is none of"),
        (http_tool("http://shop.test/", headers={"Host": "a"}), "set by the service"),
        (http_tool("http://shop.test/", headers={"X Y": "a"}), "no name of a header"),
        (http_tool("http://shop.test/", headers={"X": "hunter2\r\nY: 1"}), "printable ASCII"),
    ],
)
def test_a_wrong_declaration_is_refused_with_a_sentence(tool: HttpTool, why: str) -> None:
    with pytest.raises(HttpToolError) as refused:
        HttpTools([tool], network=PinnedNetwork(), hosts=[HOST], trust=TRUST)
    assert why.replace("http:// or https://", "http://host/… or https://host/…") in str(
        refused.value
    )
    assert "'odd'" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_secret_hides_in_repr() -> None:
    tool = http_tool(f"http://{HOST}/", headers={"X": "hunter2"})
    assert "hunter2" not in repr(tool)
    assert tool.headers["X"] == SecretStr("hunter2")
