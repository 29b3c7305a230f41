"""Tensor types and dimensions, as a caller of the model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as pb

ANY = -1


@dataclass(frozen=True, slots=True)
class TensorType:
    """`dims` has the batch dimension first, as ANY, where the model batches."""

    data_type: int
    dims: tuple[int, ...]

    def __str__(self) -> str:
        return f"{pb.DataType.Name(self.data_type)} [{', '.join(map(str, self.dims))}]"

    def fits(self, other: "TensorType") -> bool:
        """A dimension of -1 fits any other, and is checked when the request comes."""
        return self.data_type == other.data_type and same_dims(self.dims, other.dims)


def tensor_type(tensor: pb.ModelInput | pb.ModelOutput, *, batched: bool) -> TensorType:
    """A reshape is between Triton and the backend: callers see `dims`."""
    return TensorType(tensor.data_type, ((ANY,) if batched else ()) + tuple(tensor.dims))


def same_dims(left: Sequence[int], right: Sequence[int]) -> bool:
    return len(left) == len(right) and all(
        a == b or ANY in {a, b} for a, b in zip(left, right, strict=True)
    )


def element_count(dims: Sequence[int]) -> int | None:
    """None where a dimension is variable."""
    count = 1
    for dim in dims:
        if dim == ANY:
            return None
        count *= dim
    return count
