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
    """A BERT encoder, mean pooling over the mask, and L2 normalisation in one graph.

    input_ids, attention_mask: I64[batch, length] → embedding: FP32[batch, hidden].
    Architecture: Devlin et al. 2018 (BERT), Reimers and Gurevych 2019 (Sentence-BERT).
    """
    input_ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    attention_mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    mask = ops.convert(attention_mask, "f32")
    is_padding = ops.subtract(np.float32(1), mask)
    # Large enough that a padded position's weight is 0 after the softmax, in bf16 as well.
    bias = ops.unsqueeze(ops.multiply(is_padding, np.float32(-1e9)), _integers(1, 2))

    state = _embed(weights, shape, input_ids)
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}."
        attended = _attention(weights, prefix + "attention.", shape, state, bias)
        state = _norm(
            weights, prefix + "attention.output.LayerNorm.", shape, ops.add(attended, state)
        )
        inner = ops.gelu(_dense(weights, prefix + "intermediate.dense.", state), "erf")
        outer = _dense(weights, prefix + "output.dense.", inner)
        state = _norm(weights, prefix + "output.LayerNorm.", shape, ops.add(outer, state))

    embedding = _pool(state, mask)
    embedding.output(0).set_names({"embedding"})
    for parameter in (input_ids, attention_mask):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    return ov.Model([embedding], [input_ids, attention_mask], "embedder")


def _integers(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def _embed(weights: Weights, shape: BertShape, input_ids: Node) -> Node:
    words = ops.constant(weights["embeddings.word_embeddings.weight"])
    # One sentence a row, so the token type is always 0: fold it into the positions.
    positions = ops.constant(
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    length = ops.gather(ops.shape_of(input_ids), np.int64(1), np.int64(0))
    span = ops.range(np.int64(0), length, np.int64(1), "i64")
    embedded = ops.add(
        ops.gather(words, input_ids, np.int64(0)), ops.gather(positions, span, np.int64(0))
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


def _pool(state: Node, mask: Node) -> Node:
    column = ops.unsqueeze(mask, np.int64(2))
    total = ops.reduce_sum(ops.multiply(state, column), _integers(1))
    mean = ops.divide(total, ops.reduce_sum(column, _integers(1)))
    return ops.normalize_l2(mean, _integers(1), 1e-12, "max")
