"""A wide and deep model that starts out computing what a trained narrow one computes.

After Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer" (ICLR 2016):
every channel, head and hidden unit is doubled and the weights that read them share their inputs;
added layers write nothing to the residual stream until training lets them.
"""

import torch

Weights = dict[str, torch.Tensor]

_NOISE = 0.02
_WRITERS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


def _layer_name(index: int, part: str) -> str:
    return f"model.layers.{index}.{part}"


def _split(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(out, in) → (2 out, 2 in): both copies of an input carry a random part of its weight."""
    rows = []
    for _ in range(2):
        part = 0.5 + _NOISE * torch.randn(weight.shape, generator=generator)
        rows.append(torch.cat([weight * part, weight * (1 - part)], dim=1))
    return torch.cat(rows, dim=0)


def _widen(name: str, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if "embed_tokens" in name or "lm_head" in name:
        return torch.cat([weight, weight], dim=1)
    if weight.ndim == 1:
        # Tied to the doubled embedding, the output would count every channel twice.
        factor = 0.5 if name == "model.norm.weight" else 1.0
        return torch.cat([weight, weight]) * factor
    return _split(weight, generator)


def grow(trained: Weights, *, layers: int, seed: int) -> Weights:
    """Weights of a model twice as wide as `trained`, with `layers` layers in all.

    The trained layers keep their order; the added ones are copies that follow each of them, as
    evenly as `layers` allows, and whose output projections are zero.
    """
    generator = torch.Generator().manual_seed(seed)
    depth = 1 + max(int(name.split(".")[2]) for name in trained if ".layers." in name)
    if layers < depth:
        raise ValueError(f"cannot grow {depth} layers to {layers}; give at least {depth}")
    grown = {
        name: _widen(name, weight.float(), generator)
        for name, weight in trained.items()
        if ".layers." not in name
    }
    for target in range(layers):
        source = target * depth // layers
        is_added = target > 0 and (target - 1) * depth // layers == source
        for name, weight in trained.items():
            if not name.startswith(_layer_name(source, "")):
                continue
            part = name.removeprefix(_layer_name(source, ""))
            wide = _widen(name, weight.float(), generator)
            if is_added and part in _WRITERS:
                wide = torch.zeros_like(wide)
            grown[_layer_name(target, part)] = wide
    return grown
