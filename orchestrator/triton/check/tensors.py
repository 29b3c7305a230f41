"""A model's own inputs and outputs, and the labels of its outputs."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tritonclient.grpc import model_config_pb2 as pb

from orchestrator.triton.check.folder import Model
from orchestrator.triton.check.problem import Problem
from orchestrator.triton.check.shapes import ANY, element_count


def check_tensors(model: Model) -> Iterator[Problem]:
    yield from _check_side(model, "input", model.config.input)
    yield from _check_side(model, "output", model.config.output)
    for index, output in enumerate(model.config.output):
        if output.label_filename:
            yield from _check_labels(model, index, output)


def _check_side(
    model: Model, side: str, tensors: Sequence[pb.ModelInput | pb.ModelOutput]
) -> Iterator[Problem]:
    names: set[str] = set()
    for index, tensor in enumerate(tensors):
        if not tensor.name:
            yield model.problem(f"{side} number {index + 1} has no name", side, index)
        elif tensor.name in names:
            yield model.problem(f"{side} {tensor.name!r} is there twice", side, index, "name")
        names.add(tensor.name)
        yield from _check_shape(model, side, index, tensor)


def _check_shape(
    model: Model, side: str, index: int, tensor: pb.ModelInput | pb.ModelOutput
) -> Iterator[Problem]:
    said = f"{side} {tensor.name!r}"
    if tensor.data_type == pb.TYPE_INVALID:
        yield model.problem(f"{said} has no data_type", side, index)
    if not tensor.dims:
        yield model.problem(f"{said} has no dims", side, index)
    for position, dim in enumerate(tensor.dims):
        if dim == 0 or dim < ANY:
            wrong = f"{said} has a dimension of {dim}: use 1 or more, or -1 for any"
            yield model.problem(wrong, side, index, "dims", position)
    if not tensor.HasField("reshape"):
        return
    dims, shape = list(tensor.dims), list(tensor.reshape.shape)
    if dims.count(ANY) != shape.count(ANY) or _fixed_part(dims) != _fixed_part(shape):
        wrong = f"{said} has dims {dims} and is reshaped to {shape}: another number of elements"
        yield model.problem(wrong, side, index, "reshape")


def _fixed_part(dims: Sequence[int]) -> int | None:
    return element_count([dim for dim in dims if dim != ANY])


def _check_labels(model: Model, index: int, output: pb.ModelOutput) -> Iterator[Problem]:
    where = ("output", index, "label_filename")
    file = model.folder / output.label_filename
    if not file.is_file():
        yield model.problem(f"label_filename {str(file)!r} does not exist", *where)
        return
    labels = file.read_text(encoding="utf-8").splitlines()
    count = element_count(output.dims)
    if count is not None and len(labels) != count:
        said = f"{file} has {len(labels)} labels and output {output.name!r} has {count} values"
        yield model.problem(f"{said}: one label a line, as many as values", *where)
    for line, label in enumerate(labels, 1):
        if not label.strip():
            yield Problem(file, line, "is an empty label")
    twice = sorted(label for label, times in Counter(labels).items() if times > 1 and label)
    if twice:
        yield Problem(file, 1, f"has the label {twice[0]!r} twice, and models are bound by label")
