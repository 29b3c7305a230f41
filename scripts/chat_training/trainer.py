"""The training loop: PyTorch, bfloat16 autocast, Muon for the matrices and AdamW for the rest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from .architecture import Size
from .attention import attend_in_blocks
from .batches import BatchSource, Sample, Stage, encode
from .conversation import Conversation
from .held_out import Scores
from .workers import Workers

_WARM_UP_STEPS = 30
_DECAY_FROM = 0.6  # of the time, and down to _FLOOR of the peak rate at its end
_FLOOR = 0.02
# Parts of the time at whose end each stage gives way to the next.
_STAGE_ENDS = ((Stage.COPY, 0.05), (Stage.BARE, 0.28), (Stage.SHORT, 0.38))


@dataclass(frozen=True)
class Plan:
    size: Size
    minutes: float
    seed: int
    device: str
    batch_tokens: int
    longest: int
    report_every_s: float
    checkpoint: Path
    unlearned: frozenset[str]
    from_nothing: bool = True


@dataclass(frozen=True)
class Outcome:
    steps: int
    tokens: int
    seconds: float
    loss: float


def _pad(samples: Sequence[Sample], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and assistant mask, both (rows, longest row); padding lies at the end."""
    longest = max(len(sample.ids) for sample in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    mask = torch.zeros(len(samples), longest, dtype=torch.bool)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        mask[row, : len(sample.mask)] = torch.tensor(sample.mask)
    return ids.to(device), mask.to(device)


def _assistant_logits(
    model: Any, ids: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, vocabulary) and targets (n) at the tokens the assistant writes."""
    # Rows are padded at the end, so causal attention alone hides the padding.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = mask[:, 1:]
    return model.lm_head(hidden[wanted]), ids[:, 1:][wanted]


def _optimizers(model: Any, size: Size) -> list[torch.optim.Optimizer]:
    matrices: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if is_matrix else others).append(parameter)
    rate = size.peak_learning_rate
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _rate(done: float, step: int) -> float:
    """The learning rate as a part of its peak, `done` being the part of the time that is over."""
    warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
    if done < _DECAY_FROM:
        return warm
    left = max(0.0, (1 - done) / (1 - _DECAY_FROM))
    return warm * (_FLOOR + (1 - _FLOOR) * left)


def _stage(done: float) -> Stage:
    return next((stage for stage, end in _STAGE_ENDS if done < end), Stage.FULL)


def score(
    model: Any, tokenizer: Tokenizer, conversations: Sequence[Conversation], device: str
) -> Scores:
    """Whether greedy decoding would write each assistant turn: its every token is the likeliest."""
    scores = Scores()
    model.eval()
    with torch.no_grad(), torch.autocast(device, dtype=torch.bfloat16):
        for conversation in conversations:
            ids, mask = _pad([encode(tokenizer, conversation)], device)
            logits, targets = _assistant_logits(model, ids, mask)
            hits = iter((logits.argmax(-1) == targets).tolist())
            end = tokenizer.token_to_id("<|im_end|>")
            turns: list[bool] = []
            right = True
            for target in targets.tolist():
                right = next(hits) and right
                if target == end:
                    turns.append(right)
                    right = True
            _tally(scores, conversation, turns)
    model.train()
    return scores


def _tally(scores: Scores, conversation: Conversation, turns: Sequence[bool]) -> None:
    outcome = iter(turns)
    for exchange in conversation.exchanges:
        for message in exchange.messages:
            if message["role"] == "assistant":
                scores.add(exchange.category, is_call="tool_calls" in message, right=next(outcome))


def train(
    model: Any,
    tokenizer: Tokenizer,
    plan: Plan,
    held_out: Sequence[Conversation],
    *,
    workers: Workers,
    say: Callable[[str], None],
) -> Outcome:
    model.to(plan.device).train()
    if plan.device == "cpu":
        attend_in_blocks(model)
    source = BatchSource(
        tokenizer,
        seed=f"{plan.seed}/{workers.rank}",
        tokens=plan.batch_tokens,
        longest=plan.longest,
        unlearned=plan.unlearned,
    )
    optimizers = _optimizers(model, plan.size)
    budget_s = plan.minutes * 60
    start = reported = time.monotonic()
    steps = tokens = tokens_then = 0
    smooth = 0.0
    while (done := workers.follow((time.monotonic() - start) / budget_s)) < 1:
        source.enter(_stage(done) if plan.from_nothing else Stage.FULL)
        batch = source.next_batch()
        loss = _step(model, optimizers, batch, plan, rate=_rate(done, steps), workers=workers)
        smooth = loss if not steps else 0.95 * smooth + 0.05 * loss
        steps, tokens = steps + 1, tokens + workers.count * sum(len(s.ids) for s in batch)
        if workers.leads and (now := time.monotonic()) - reported > plan.report_every_s:
            speed = (tokens - tokens_then) / (now - reported)
            scores = score(model, tokenizer, held_out, plan.device)
            say(
                f"{done * plan.minutes:5.1f} min step {steps} loss {smooth:.4f} "
                f"{speed:,.0f} tokens/s | {scores.line()}"
            )
            torch.save(model.state_dict(), plan.checkpoint)
            reported, tokens_then = time.monotonic(), tokens
    if workers.leads:
        torch.save(model.state_dict(), plan.checkpoint)
    return Outcome(steps, tokens, time.monotonic() - start, smooth)


def _step(
    model: Any,
    optimizers: Sequence[torch.optim.Optimizer],
    samples: Sequence[Sample],
    plan: Plan,
    *,
    rate: float,
    workers: Workers,
) -> float:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = plan.size.peak_learning_rate * rate
    ids, mask = _pad(samples, plan.device)
    with torch.autocast(plan.device, dtype=torch.bfloat16):
        logits, targets = _assistant_logits(model, ids, mask)
        loss = functional.cross_entropy(logits.float(), targets)
    loss.backward()
    workers.average_gradients(model.parameters())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())
