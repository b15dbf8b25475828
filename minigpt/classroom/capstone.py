"""Milestone II: a GPT that is made of your own parts, and that follows minigpt's step for step.

    parts = collect("gpt2")                          # yours where they pass, else the course's
    model = own_gpt(parts, config("gpt2"), seed=0)   # GPT's weights under GPT's names, your parts around them
    found = follow("gpt2")                           # 20 steps of both: text, forward, loss, clip, schedule, AdamW

`python -m minigpt milestone 2` does this and says whether the milestone is reached.
"""
import json as json_
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tyro

from ..config import ModelConfig, OptimConfig, UserError
from . import lessons
from .hints import mine

FAMILIES = {
    "gpt2": ("04.attention", "05.layer_norm", "05.mlp", "05.block"),
    "modern": ("04.attention", "06.rms_norm", "06.rope", "06.swiglu", "05.block"),
}
TRAINING = ("02.encode_by_rank", "05.next_token_loss", "08.clip", "08.schedule", "08.adamw_step")
"""What feeds and moves the model, in both families."""
CLOSE = 1e-5
"""Two losses nearer than this are taken for the same: both add up the same numbers, in another order."""
STEPS, CONTEXT, SEQUENCES, VOCAB_SIZE = 20, 24, 6, 320


class Part(NamedTuple):
    """A function of an exercise, and whose it is."""

    name: str
    function: Callable
    yours: bool
    said: str
    """Empty, or why the course's own stands in for yours."""

    @property
    def required(self) -> bool:
        """Whether the milestone asks for it: the core exercises of the lessons on the core route."""
        route = lessons.lesson(self.name.split(".")[0]).route
        return route == "core" and "core" in lessons.exercise(self.name).flags


class Followed(NamedTuple):
    """Two runs from the same weights over the same text: the loss at each step."""

    own: list[float]
    engine: list[float]

    @property
    def difference(self) -> float:
        """The largest at any step; inf if a loss is not finite."""
        gaps = [abs(a - b) for a, b in zip(self.own, self.engine, strict=True)]
        return max(gap if gap < float("inf") else float("inf") for gap in gaps)


def collect(family: str = "gpt2", only: Callable[[str], Callable] = mine) -> dict[str, Part]:
    """The parts of a family by the name of their function, {"attention": Part(…), …}: yours, or the course's.

    only: gives your function for an exercise, or raises UserError with the reason why there is none.
    """
    from .check import reference

    found = {}
    for name in (*FAMILIES[family], *TRAINING):
        try:
            part = Part(name, only(name), True, "")
        except UserError as error:
            part = Part(name, reference(name), False, str(error))
        found[name.split(".")[1]] = part
    return found


def config(family: str) -> ModelConfig:
    """A model that 20 steps need a second or two for; in `modern`, two query heads share each key and value head."""
    shape = dict(width=32, heads=4, head_size=8, mlp_width=72, context=CONTEXT, vocab_size=VOCAB_SIZE)
    if family == "gpt2":
        return ModelConfig("gpt2", 2, kv_heads=4, activation="gelu", norm_eps=1e-5, **shape)
    return ModelConfig("modern", 2, kv_heads=2, **shape)


def own_gpt(parts: dict[str, Callable], config: ModelConfig, seed: int = 0):
    """A GPT with minigpt's weights under minigpt's names, whose blocks compute with `parts`, functions by their name.

    Called like minigpt's: tokens (B, T) → logits (B, T, V), or with targets the loss.
    """
    import torch

    from ..model import GPT

    attention, block = parts["attention"], parts["block"]

    def norm(m, x):
        if config.family == "gpt2":
            return parts["layer_norm"](x, m.weight, m.bias, config.norm_eps)
        return parts["rms_norm"](x, m.weight, config.norm_eps)

    def heads_of(m, x):
        return x.view(*x.shape[:2], -1, config.head_size) if m is None else norm(m, heads_of(None, x))

    def attend(a, x):
        """Attention of one layer, from the stream (B, T, C) and back; what is not a part is matrices and axes."""
        B, T, _ = x.shape
        modern = config.family == "modern"
        q, k = heads_of(a.q_norm if modern else None, a.q(x)), heads_of(a.k_norm if modern else None, a.k(x))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), heads_of(None, a.v(x)).transpose(1, 2)  # (B, H or K, T, D)
        if modern:
            q, k = (parts["rope"](t, torch.arange(T), config.rope_base) for t in (q, k))
            k, v = (t.repeat_interleave(config.heads // config.kv_heads, dim=1) for t in (k, v))
        mixed, _ = attention(q, k, v, torch.ones(T, T, dtype=torch.bool).tril())
        return a.out(mixed.transpose(1, 2).reshape(B, T, -1))

    def think(m, x):
        if config.family == "gpt2":
            return parts["mlp"](x, m.up.weight.T, m.up.bias, m.down.weight.T, m.down.bias)
        return parts["swiglu"](x, m.gate.weight.T, m.up.weight.T, m.down.weight.T)

    class OwnGPT(GPT):
        def hidden(self, tokens, *unused):
            x = self.embed(tokens)
            if config.family == "gpt2":
                x = x + self.position(torch.arange(tokens.shape[1]))
            for b in self.blocks:
                x = block(x, lambda x: norm(b.norm1, x), lambda x: attend(b.attn, x),
                          lambda x: norm(b.norm2, x), lambda x: think(b.mlp, x))  # fmt: skip
            return norm(self.norm, x)

    return OwnGPT(config, seed)


def follow(family: str = "gpt2", parts: dict[str, Callable] | None = None, steps: int = STEPS) -> Followed:
    """Train minigpt's GPT with torch's AdamW, and one of `parts` with their own; the same start, the same text.

    parts: functions by name, default those of `collect`. UserError where a part fails inside the model, or hands on
    numbers that no gradient can pass through.
    """
    import torch

    from ..model import GPT
    from ..optim import build_optimizers, learning_rate

    parts = parts or {name: part.function for name, part in collect(family).items()}
    rates = OptimConfig(optimizer="adamw", steps=steps, lr=3e-3, warmup=0.2, decay=0.5, final_lr=0.1, clip=0.5)
    ids, texts = text(parts["encode_by_rank"])
    engine = GPT(config(family), seed=1)
    (optimizer,) = build_optimizers(engine, rates)
    own, state = own_gpt(parts, config(family), seed=1), {}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    decay = {name: decay[id(p)] for name, p in engine.named_parameters()}
    losses = Followed([], [])
    for step in range(steps):
        starts = torch.arange(SEQUENCES)[:, None] * CONTEXT + step * SEQUENCES * CONTEXT
        index = (starts + torch.arange(CONTEXT)) % (len(texts) - 1)
        loss = engine(texts[index][:, :-1], texts[index][:, 1:])
        loss.backward()
        losses.engine.append(loss.item())
        torch.nn.utils.clip_grad_norm_(engine.parameters(), rates.clip)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
        optimizer.step()
        optimizer.zero_grad()

        try:
            losses.own.append(own_step(own, parts, ids[index], state, step, rates, decay))
        except UserError:
            raise
        except Exception as error:  # whatever a learner's function may raise
            raise UserError(f"one of the parts fails inside the model, at step {step}: {type(error).__name__}: "
                            f"{str(error).splitlines()[0] if str(error) else 'no message'}.") from error  # fmt: skip
    return losses


def own_step(own, parts, tokens, state: dict, step: int, rates: OptimConfig, decay: dict[str, float]) -> float:
    """One step of training with the parts alone, on tokens (B, T); returns the loss. `state`: AdamW's, by name."""
    import torch

    loss = parts["next_token_loss"](own(tokens), tokens)
    own.zero_grad()
    loss.backward()
    named = dict(own.named_parameters())
    if unmoved := [name for name, p in named.items() if p.grad is None]:
        raise UserError(f"no gradient reaches {unmoved[0]}: a part takes numbers out of the graph (.item(), .detach(), "
                        "numpy), or leaves an argument out.")  # fmt: skip
    grads, _ = parts["clip"]([p.grad for p in named.values()], rates.clip)
    warm, fall = (round(share * rates.steps) for share in (rates.warmup, rates.decay))
    lr = rates.lr * parts["schedule"](step, rates.steps, warm, fall, rates.final_lr)
    with torch.no_grad():
        for (name, p), grad in zip(named.items(), grads, strict=True):
            new, state[name] = parts["adamw_step"](p.detach().clone(), grad, state.get(name), lr,
                                                   (rates.beta1, rates.beta2), 1e-10, decay[name])  # fmt: skip
            p.copy_(new)
    return loss.item()


def text(encode_by_rank: Callable):
    """Two tensors (N,) int64 that should be equal: the ids of one text by `encode_by_rank`, and by the engine.

    The text is the source of minigpt's model, which every installation has.
    """
    import regex
    import torch

    from ..tokenizer import train_bpe

    whole = Path(__file__).parents[1].joinpath("model.py").read_text(encoding="utf-8")[:9000]
    tokenizer = train_bpe([whole], VOCAB_SIZE)
    id_of, known, ids = {token: id for id, token in tokenizer.vocab.items()}, {}, []
    for chunk in regex.findall(tokenizer.pattern, whole):
        if chunk not in known:
            known[chunk] = [id_of[bytes(token)] for token in encode_by_rank(chunk.encode(), list(tokenizer.merges))]
        ids += known[chunk]
    own, engine = torch.tensor(ids), torch.tensor(tokenizer.encode(whole))
    if not torch.equal(own, engine):
        raise UserError("your 02.encode_by_rank cuts the text into other tokens than the engine does.")
    return own, engine


def milestone_verb(number: tyro.conf.Positional[int], json: bool = False) -> int:
    """Put your own parts together: 2 is a GPT made of them, trained beside minigpt's.

    Args:
        number: Which milestone; 2 is the one that there is so far.
        json: Print one JSON object and nothing else.
    """
    if number != 2:
        raise UserError(f"there is no milestone {number} yet; 2 is a GPT of your own parts.")
    rows, reached = {}, False
    for family in FAMILIES:
        parts = collect(family)
        gap = follow(family, {name: part.function for name, part in parts.items()}, STEPS).difference
        missing = [part.name for part in parts.values() if part.required and not part.yours]
        rows[family] = {"difference": gap, "follows": gap <= CLOSE, "missing": missing,
                        "parts": {part.name: "yours" if part.yours else "the course's" for part in parts.values()}}
        reached = reached or (family == "gpt2" and gap <= CLOSE and not missing)
        if not json:
            print(sentences(family, parts, gap))
    if json:
        print(json_.dumps({"milestone": number, "reached": reached, "families": rows}))
    elif reached:
        print("Milestone II is reached: this GPT is yours.")
    else:
        left = rows["gpt2"]["missing"]
        todo = f"still to do: {', '.join(left)}" if left else "find the part that differs"
        print(f"Milestone II is not reached yet; {todo}.")
    return 0 if reached else 1


def sentences(family: str, parts: dict[str, Part], gap: float) -> str:
    """What was put together, whose each part is, and how near the two runs stay."""
    lines = [f"A GPT of the family {family}:"]
    for part in parts.values():
        whose = "yours" if part.yours else "the course's" + (" (a core exercise)" if part.required else "")
        lines.append(f"  {part.name:<20} {whose}")
    said = "follows minigpt's" if gap <= CLOSE else "does NOT follow minigpt's"
    lines.append(f"  It {said}: over {STEPS} steps the two losses differ by {gap:.0e} at most.\n")
    return "\n".join(lines)
