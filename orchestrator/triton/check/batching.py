"""Batching, the response cache, instances and warm-up: what a model may not combine."""

import shutil
from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2 as pb

from orchestrator.triton.check.folder import Model
from orchestrator.triton.check.problem import Problem
from orchestrator.triton.check.shapes import same_dims


def check_batching(model: Model) -> Iterator[Problem]:
    config = model.config
    if config.max_batch_size < 0:
        said = f"max_batch_size is {config.max_batch_size}: use 0 for a model without batches"
        yield model.problem(said, "max_batch_size")
    if config.HasField("dynamic_batching"):
        yield from _check_dynamic(model)
    if config.model_transaction_policy.decoupled and config.response_cache.enable:
        said = "is decoupled and has a response cache, which Triton refuses: remove one"
        yield model.problem(said, "response_cache", "enable")
    yield from _check_instances(model)
    for index, sample in enumerate(config.model_warmup):
        yield from _check_warmup(model, index, sample)


def _check_dynamic(model: Model) -> Iterator[Problem]:
    most, dynamic = model.config.max_batch_size, model.config.dynamic_batching
    if most == 0:
        said = "dynamic_batching does nothing while max_batch_size is 0: set it above 1"
        yield model.problem(said, "dynamic_batching")
    for index, size in enumerate(dynamic.preferred_batch_size):
        if most and not 0 < size <= most:
            said = f"preferred_batch_size {size} is not within 1 and max_batch_size {most}"
            yield model.problem(said, "dynamic_batching", "preferred_batch_size", index)
    levels, default = dynamic.priority_levels, dynamic.default_priority_level
    if (levels or default) and not 1 <= default <= levels:
        said = f"default_priority_level {default} is not within 1 and priority_levels {levels}"
        yield model.problem(said, "dynamic_batching", "default_priority_level")


def _check_instances(model: Model) -> Iterator[Problem]:
    groups = model.config.instance_group
    if groups and model.is_ensemble:
        yield model.problem("is an ensemble, which can have no instance_group", "instance_group")
        return
    for index, group in enumerate(groups):
        if group.count < 0:
            said = f"instance_group has a count of {group.count}: use 1 or more"
            yield model.problem(said, "instance_group", index, "count")
        if group.kind == pb.ModelInstanceGroup.KIND_CPU and group.gpus:
            said = f"instance_group is KIND_CPU and names gpus {list(group.gpus)}: remove one"
            yield model.problem(said, "instance_group", index, "gpus")
        if group.kind == pb.ModelInstanceGroup.KIND_GPU and shutil.which("nvidia-smi") is None:
            said = "instance_group is KIND_GPU, and a machine without a GPU does not load it"
            yield model.problem(said, "instance_group", index, "kind", warning=True)


def _check_warmup(model: Model, index: int, sample: pb.ModelWarmup) -> Iterator[Problem]:
    most, named = model.config.max_batch_size, f"warm-up {sample.name!r}"
    if sample.batch_size > max(most, 1):
        said = f"{named} has a batch of {sample.batch_size} and max_batch_size is {most}"
        yield model.problem(said, "model_warmup", index, "batch_size")
    inputs = {tensor.name: tensor for tensor in model.config.input}
    for name, tensor in inputs.items():
        if name not in sample.inputs and not tensor.optional:
            yield model.problem(f"{named} gives no input {name!r}", "model_warmup", index)
    lines = dict(model.place.entries("model_warmup", index, "inputs"))
    for name, given in sample.inputs.items():
        line = lines.get(name, 1)
        if name not in inputs:
            yield model.problem_at(line, f"{named} gives {name!r}, which is no input of the model")
            continue
        for said in _warmup_faults(model, inputs[name], given):
            yield model.problem_at(line, f"{named}, input {name!r}: {said}")


def _warmup_faults(model: Model, wanted: pb.ModelInput, given: pb.ModelWarmup.Input) -> list[str]:
    faults = []
    if given.data_type != wanted.data_type:
        types = [pb.DataType.Name(t) for t in (given.data_type, wanted.data_type)]
        faults.append(f"data_type is {types[0]} and the input's is {types[1]}")
    if not same_dims(given.dims, wanted.dims) or any(dim < 1 for dim in given.dims):
        faults.append(f"dims are {list(given.dims)} and the input's are {list(wanted.dims)}")
    file = given.input_data_file
    if not (file or given.zero_data or given.random_data):
        faults.append("has no data: set zero_data, random_data or input_data_file")
    if file and not (model.folder / "warmup" / file).is_file():
        faults.append(f"{model.folder / 'warmup' / file} does not exist")
    return faults
