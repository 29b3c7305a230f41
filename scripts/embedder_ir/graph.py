import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

Weights = Mapping[str, npt.NDArray[Any]]
# openvino ships no types for its operators: a node is whatever an operator returns.
Node = Any


@dataclass(frozen=True)
class BertShape:
    hidden: int
    heads: int
    layers: int
    norm_epsilon: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "BertShape":
        if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
            raise ValueError(
                f"the embedder's graph is BERT with gelu, the package has "
                f"{config['model_type']} with {config['hidden_act']}"
            )
        return cls(
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            layers=config["num_hidden_layers"],
            norm_epsilon=config["layer_norm_eps"],
        )


def sentence_encoder(weights: Weights, shape: BertShape) -> ov.Model:
    """A BERT encoder, mean pooling and L2 normalisation in one graph, for packed rows.

    A row holds one text or several, one after the other; a token sees its own text only.
    Inputs, all I64[rows, length]: input_ids; position_ids, from 0 in each text; text_numbers, from
    1 in each row, 0 for padding. Output embedding: FP32[rows, most texts in a row, hidden].
    With one text a row, text_numbers is the usual attention mask.

    Architecture: Devlin et al. 2018 (BERT), Reimers and Gurevych 2019 (Sentence-BERT); packing as
    in Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination".
    """
    inputs = [
        ops.parameter([-1, -1], np.int64, name=name)
        for name in ("input_ids", "position_ids", "text_numbers")
    ]
    input_ids, position_ids, text_numbers = inputs
    state = _embed(weights, shape, input_ids, position_ids)
    bias = _attention_bias(text_numbers)
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}."
        attended = _attention(weights, prefix + "attention.", shape, state, bias)
        state = _norm(
            weights, prefix + "attention.output.LayerNorm.", shape, ops.add(attended, state)
        )
        inner = ops.gelu(_dense(weights, prefix + "intermediate.dense.", state), "erf")
        outer = _dense(weights, prefix + "output.dense.", inner)
        state = _norm(weights, prefix + "output.LayerNorm.", shape, ops.add(outer, state))

    embedding = _pool(state, text_numbers)
    embedding.output(0).set_names({"embedding"})
    for parameter in inputs:
        parameter.output(0).set_names({parameter.get_friendly_name()})
    return ov.Model([embedding], inputs, "embedder")


def _attention_bias(text_numbers: Node) -> Node:
    """0 between tokens of one text, else so low that the softmax gives 0, in bf16 as well."""
    same = ops.equal(
        ops.unsqueeze(text_numbers, _integers(1, 2)), ops.unsqueeze(text_numbers, _integers(1, 3))
    )
    return ops.select(same, np.float32(0), np.float32(-1e9))


def _integers(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def _embed(weights: Weights, shape: BertShape, input_ids: Node, position_ids: Node) -> Node:
    words = ops.constant(weights["embeddings.word_embeddings.weight"])
    # One sentence a row, so the token type is always 0: fold it into the positions.
    positions = ops.constant(
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    embedded = ops.add(
        ops.gather(words, input_ids, np.int64(0)), ops.gather(positions, position_ids, np.int64(0))
    )
    return _norm(weights, "embeddings.LayerNorm.", shape, embedded)


def _attention(weights: Weights, prefix: str, shape: BertShape, state: Node, bias: Node) -> Node:
    query, key, value = (
        _heads(shape, _dense(weights, f"{prefix}self.{part}.", state))
        for part in ("query", "key", "value")
    )
    scale = np.float32(1 / math.sqrt(shape.hidden // shape.heads))
    scores = ops.add(ops.multiply(ops.matmul(query, key, False, True), scale), bias)
    mixed = ops.matmul(ops.softmax(scores, -1), value, False, False)
    merged = ops.reshape(
        ops.transpose(mixed, _integers(0, 2, 1, 3)), _integers(0, 0, shape.hidden), True
    )
    return _dense(weights, prefix + "output.dense.", merged)


def _heads(shape: BertShape, projected: Node) -> Node:
    split = _integers(0, 0, shape.heads, shape.hidden // shape.heads)
    return ops.transpose(ops.reshape(projected, split, True), _integers(0, 2, 1, 3))


def _dense(weights: Weights, prefix: str, state: Node) -> Node:
    kernel = ops.constant(np.ascontiguousarray(weights[prefix + "weight"]))
    return ops.add(ops.matmul(state, kernel, False, True), weights[prefix + "bias"])


def _norm(weights: Weights, prefix: str, shape: BertShape, state: Node) -> Node:
    normal = ops.mvn(state, _integers(-1), True, shape.norm_epsilon, "inside_sqrt")
    scaled = ops.multiply(normal, weights[prefix + "weight"])
    return ops.add(scaled, weights[prefix + "bias"])


def _pool(state: Node, text_numbers: Node) -> Node:
    """The mean of each text's tokens, of length 1; zeros where a row has fewer texts."""
    most = ops.reduce_max(text_numbers, _integers(0, 1))
    numbers = ops.range(np.int64(1), ops.add(most, np.int64(1)), np.int64(1), "i64")
    belongs = ops.equal(
        ops.unsqueeze(text_numbers, _integers(1)), ops.unsqueeze(numbers, _integers(0, 2))
    )
    # The sum has the mean's direction, and its length is lost in the normalisation.
    total = ops.matmul(ops.convert(belongs, "f32"), state, False, False)
    return ops.normalize_l2(total, _integers(2), 1e-12, "max")
