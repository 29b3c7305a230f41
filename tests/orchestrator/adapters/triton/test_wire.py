import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from orchestrator.adapters.triton.wire import Outputs, texts


def _outputs(name: str, raw: bytes, *shape: int) -> Outputs:
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name=name, shape=shape)
    response.raw_output_contents.append(raw)
    return Outputs(response)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_strings_come_back_as_they_went(values: list[str]) -> None:
    raw = texts("TEXT", values, len(values), 1).data
    outputs = _outputs("TEXT", raw, len(values), 1)
    assert [value.decode() for value in outputs.strings("TEXT")] == values
    assert outputs.string_rows("TEXT") == [[value.encode()] for value in values]


def test_floats_come_in_rows() -> None:
    raw = bytes.fromhex("0000803f 00000040 00004040 00008040")
    assert _outputs("E", raw, 2, 2).float_rows("E") == [(1.0, 2.0), (3.0, 4.0)]


def test_an_output_that_is_missing_is_a_key_error() -> None:
    outputs = _outputs("E", b"", 1)
    assert "F" not in outputs
    with pytest.raises(KeyError):
        outputs.strings("F")
