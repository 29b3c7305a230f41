"""`fleet models list`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from google.protobuf.json_format import MessageToDict

from orchestrator.added_models import ModelStore
from orchestrator.cli.connection import address_option, call, resolve
from orchestrator.cli.model_server import triton_addresses
from orchestrator.cli.render import money, table
from orchestrator.cli.up import read_settings, say
from orchestrator.client import FleetClient
from orchestrator.domain.errors import FleetError
from orchestrator.model_composition import open_model_server
from orchestrator.ports.model_control import LoadState, ServedVersion
from orchestrator.rpc.pb.fleet.v1 import inference_pb2
from orchestrator.settings import Settings
from orchestrator.supervisor.record import runtime_folder
from orchestrator.triton.memory import model_memory

_COLUMNS = (
    *("MODEL", "PROVIDER", "STATE", "VERSIONS", "MEMORY"),
    *("CONTEXT", "CAN", "IN/M", "OUT/M"),
)


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@address_option
def list_models(as_json: bool, address: str | None) -> None:
    """List the models with state, versions, memory and prices.

    Prices are of a million tokens.

    MEMORY is what the model's processes hold on this machine: the proportional set size of its
    Python process and its engine, with what of the KV cache was ever used. Elsewhere it is not
    known, and the state is only whether the model answers.
    """
    settings = read_settings()
    here = resolve(address) == resolve(None)

    async def work(client: FleetClient) -> int:
        models = await client.models()
        served = await _served(settings) if here else {}
        memory = model_memory(runtime_folder(settings.home) / "triton") if here else {}
        added = set(ModelStore(settings.models_dir).names()) if here else set()
        shown = [_facts(model, served, memory, added) for model in models]
        if as_json:
            for facts in shown:
                click.echo(json.dumps(facts))
            return 0
        click.echo(table(_COLUMNS, [_row(facts) for facts in shown]))
        for facts in shown:
            if facts["reason"]:
                click.echo(f"{facts['name']}: {facts['reason']}")
        return 0

    call(address, work)


async def _served(settings: Settings) -> Mapping[str, Sequence[ServedVersion]]:
    """By model; empty while Triton does not answer."""
    found: dict[str, list[ServedVersion]] = {}
    async with open_model_server(triton_addresses(settings), {}, say) as (control, _):
        try:
            rows = await control.served()
        except FleetError:
            return {}
    for row in rows:
        found.setdefault(row.model, []).append(row)
    return found


def _facts(
    model: inference_pb2.ModelStatus,
    served: Mapping[str, Sequence[ServedVersion]],
    memory: Mapping[str, int],
    added: set[str],
) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(
        model, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    rows = served.get(model.name, ())
    state, reason = _state(rows, ready=model.ready, asked=bool(served))
    return {
        **shown,
        "state": state,
        "reason": reason,
        "versions": [row.version for row in rows if row.state is LoadState.READY],
        "memory_bytes": memory.get(model.name),
        "added": model.name in added,
    }


def _state(rows: Sequence[ServedVersion], *, ready: bool, asked: bool) -> tuple[str, str]:
    if not rows:
        missing = "missing" if asked and not ready else "not ready"
        return ("ready" if ready else missing), ""
    states = [row.state for row in rows]
    for state in (LoadState.LOADING, LoadState.UNLOADING, LoadState.FAILED, LoadState.READY):
        if state in states:
            reasons = "; ".join(row.reason for row in rows if row.state is state and row.reason)
            return state.value, reasons if state is LoadState.FAILED else ""
    return LoadState.UNLOADED.value, ""


def _row(facts: Mapping[str, Any]) -> tuple[str, ...]:
    memory = facts["memory_bytes"]
    return (
        facts["name"],
        facts["provider"],
        facts["state"],
        ", ".join(facts["versions"]) or "-",
        f"{memory / 2**20:.0f} MiB" if memory else "-",
        str(facts["context_tokens"]),
        ", ".join(sorted(facts["capabilities"])),
        money(int(facts["input_micros_per_million_tokens"])),
        money(int(facts["output_micros_per_million_tokens"])),
    )
