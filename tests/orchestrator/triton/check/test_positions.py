"""The tree of positions agrees with protobuf's own parser on what is where."""

from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as pb

from orchestrator.triton.check.positions import locate

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
TENSORS = st.lists(
    st.builds(pb.ModelInput, name=NAMES, dims=st.lists(st.integers(-1, 9), max_size=3)), max_size=3
)
STEPS = st.lists(
    st.builds(
        pb.ModelEnsembling.Step,
        model_name=NAMES,
        model_version=st.integers(-1, 3),
        input_map=st.dictionaries(NAMES, NAMES, max_size=3),
    ),
    max_size=3,
)
CONFIGS = st.builds(
    pb.ModelConfig,
    max_batch_size=st.integers(1, 99),
    input=TENSORS,
    ensemble_scheduling=st.builds(pb.ModelEnsembling, step=STEPS),
)


@given(config=CONFIGS, short=st.booleans(), pointed=st.booleans())
def test_every_field_is_found_on_its_own_line(
    config: pb.ModelConfig, short: bool, pointed: bool
) -> None:
    text = "# a comment { [\n\n" + text_format.MessageToString(
        config, use_short_repeated_primitives=short, pointy_brackets=pointed
    )
    tree, lines = locate(text), text.split("\n")

    assert "max_batch_size" in lines[tree.line_of("max_batch_size") - 1]
    for index, tensor in enumerate(config.input):
        assert lines[tree.line_of("input", index) - 1].startswith("input")
        for position in range(len(tensor.dims)):
            assert "dims" in lines[tree.line_of("input", index, "dims", position) - 1]
    for index, step in enumerate(config.ensemble_scheduling.step):
        entries = tree.entries("ensemble_scheduling", "step", index, "input_map")
        assert len(entries) == len(step.input_map)
        assert all("key:" in lines[at - 1] if key else True for key, at in entries)


def test_the_line_of_something_missing_is_that_of_what_is_around_it() -> None:
    tree = locate("name: 'x'\ninput [\n  { name: 'a' },\n  { name: 'b' }\n]\n")
    assert tree.line_of("input", 1, "dims") == 4
    assert tree.line_of("input", 7) == 1
    assert tree.line_of("output") == 1


def test_texts_in_pieces_and_lists_over_lines_keep_their_places() -> None:
    tree = locate('input_map {\n  key: "a"\n    "b" # said in two\n  value: "c"\n}\nd: [1,\n2]')
    assert tree.entries("input_map") == [("ab", 2)]
    assert tree.line_of("d", 1) == 7
