"""How the steps of an ensemble join: every tensor made once, used, and of one type."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tritonclient.grpc import model_config_pb2 as pb

from orchestrator.triton.check.folder import Model
from orchestrator.triton.check.problem import Problem
from orchestrator.triton.check.shapes import TensorType, tensor_type

SCHEDULING = "ensemble_scheduling"
Models = Mapping[str, Model]


@dataclass(frozen=True, slots=True)
class End:
    """One end of an edge: who makes or takes an ensemble tensor, and where that is written."""

    who: str
    type: TensorType | None
    line: int
    step: int | None = None


@dataclass(slots=True)
class Graph:
    made: dict[str, list[End]] = field(default_factory=dict)
    taken: dict[str, list[End]] = field(default_factory=dict)


def check_ensemble(model: Model, models: Models, unread: Collection[str]) -> Iterator[Problem]:
    """A step that calls one of the `unread` models is not checked against it."""
    config = model.config
    if not config.input or not config.output:
        yield model.problem("is an ensemble and must name its input and output tensors")
    steps = config.ensemble_scheduling.step
    if not steps:
        yield model.problem("has no step", SCHEDULING)
    graph = _outside(model)
    for index, step in enumerate(steps):
        other = models.get(step.model_name)
        if step.model_name not in unread:
            yield from _check_step(model, index, step, other)
        _add_step(graph, model, index, step, other)
    yield from _check_edges(model, graph)
    yield from _check_cycles(model, graph)


def _check_step(
    model: Model, index: int, step: pb.ModelEnsembling.Step, other: Model | None
) -> Iterator[Problem]:
    where = (SCHEDULING, "step", index)
    if other is None:
        said = f"step {index + 1} calls model {step.model_name!r}, which is in no repository"
        yield model.problem(said, *where, "model_name")
        return
    named = f"step {index + 1} ({other.name})"
    if step.model_version > 0 and step.model_version not in [int(v.name) for v in other.versions]:
        said = f"{named} wants version {step.model_version}, which does not exist"
        yield model.problem(said, *where, "model_version")
    yield from _check_limits(model, index, other)
    yield from _check_map(model, index, "input", {t.name for t in other.config.input}, other)
    yield from _check_map(model, index, "output", {t.name for t in other.config.output}, other)
    for tensor in other.config.input:
        if not tensor.optional and tensor.name not in step.input_map:
            yield model.problem(f"{named} is given no {tensor.name!r}", *where, "input_map")


def _check_limits(model: Model, index: int, other: Model) -> Iterator[Problem]:
    where, named = (SCHEDULING, "step", index, "model_name"), f"step {index + 1} ({other.name})"
    ours, theirs = model.config.max_batch_size, other.config.max_batch_size
    if 0 < theirs < ours:
        said = f"{named} takes batches of {theirs} and the ensemble of {ours}: make them fit"
        yield model.problem(said, *where)
    if other.config.model_transaction_policy.decoupled:
        said = f"{named} is decoupled, and no cancel reaches it through an ensemble"
        yield model.problem(f"{said}: call it directly", *where)
    elif model.config.response_cache.enable and not other.config.response_cache.enable:
        said = f"has a response cache and {named} has none: every step of it needs one"
        yield model.problem(said, "response_cache", "enable")


def _check_map(
    model: Model, index: int, side: str, known: set[str], other: Model
) -> Iterator[Problem]:
    seen: set[str] = set()
    for key, line in model.place.entries(SCHEDULING, "step", index, f"{side}_map"):
        if key in seen:
            said = f"step {index + 1} ({other.name}) maps its {side} {key!r} twice"
            yield model.problem_at(line, said)
        elif key not in known:
            names = ", ".join(sorted(known)) or "none"
            said = f"step {index + 1}: model {other.name!r} has no {side} {key!r}, only {names}"
            yield model.problem_at(line, said)
        seen.add(key)


def _outside(model: Model) -> Graph:
    """The ensemble's own inputs are made outside it, and its outputs taken there."""
    graph, batched = Graph(), model.config.max_batch_size > 0
    for index, given in enumerate(model.config.input):
        line = model.place.line_of("input", index)
        end = End("the ensemble's input", tensor_type(given, batched=batched), line)
        graph.made.setdefault(given.name, []).append(end)
    for index, wanted in enumerate(model.config.output):
        line = model.place.line_of("output", index)
        end = End("the ensemble's output", tensor_type(wanted, batched=batched), line)
        graph.taken.setdefault(wanted.name, []).append(end)
    return graph


def _add_step(
    graph: Graph, model: Model, index: int, step: pb.ModelEnsembling.Step, other: Model | None
) -> None:
    inputs = _types(other, other.config.input) if other else {}
    outputs = _types(other, other.config.output) if other else {}
    for mapped, types, side, ends in (
        (step.input_map, inputs, "input", graph.taken),
        (step.output_map, outputs, "output", graph.made),
    ):
        lines = dict(model.place.entries(SCHEDULING, "step", index, f"{side}_map"))
        for key, tensor in mapped.items():
            who = f"{side} {key!r} of step {index + 1} ({step.model_name})"
            end = End(who, types.get(key), lines.get(key, 1), index)
            ends.setdefault(tensor, []).append(end)


def _types(
    model: Model, tensors: Sequence[pb.ModelInput | pb.ModelOutput]
) -> dict[str, TensorType]:
    batched = model.config.max_batch_size > 0
    return {t.name: tensor_type(t, batched=batched) for t in tensors}


def _check_edges(model: Model, graph: Graph) -> Iterator[Problem]:
    for tensor, makers in graph.made.items():
        for again in makers[1:]:
            said = f"tensor {tensor!r} is made by {again.who} and by {makers[0].who}: rename one"
            yield model.problem_at(again.line, said)
        if tensor not in graph.taken:
            said = f"tensor {tensor!r}, {makers[0].who}, is used by nothing: remove it"
            yield model.problem_at(makers[0].line, said)
    for tensor, takers in graph.taken.items():
        source = graph.made.get(tensor, [None])[0]
        for taker in takers:
            if source is None:
                said = f"tensor {tensor!r}, {taker.who}, is made by no step and is no input"
                yield model.problem_at(taker.line, said)
            elif source.type and taker.type and not source.type.fits(taker.type):
                said = f"tensor {tensor!r} is {source.type} as {source.who}"
                yield model.problem_at(taker.line, f"{said} and {taker.type} as {taker.who}")


def _check_cycles(model: Model, graph: Graph) -> Iterator[Problem]:
    needs: dict[int, set[int]] = {}
    for tensor, takers in graph.taken.items():
        makers = {m.step for m in graph.made.get(tensor, [])[:1] if m.step is not None}
        for taker in takers:
            if taker.step is not None:
                needs.setdefault(taker.step, set()).update(makers)
    while free := [step for step, before in needs.items() if not before & needs.keys()]:
        for step in free:
            del needs[step]
    if needs:
        steps = " and ".join(str(step + 1) for step in sorted(needs))
        where = (SCHEDULING, "step", min(needs))
        yield model.problem(f"step {steps}: waits for what is made from its own output", *where)
