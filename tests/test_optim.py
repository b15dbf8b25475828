"""optim.py against formulas written out, singular value decompositions, and torch's own optimizers and schedulers."""
import doctest
import math
from dataclasses import replace

import pytest
import torch

from minigpt import optim
from minigpt.config import ModelConfig, OptimConfig
from minigpt.model import GPT
from minigpt.optim import Muon, build_optimizers, learning_rate, orthogonalize, parameter_groups

MODERN = ModelConfig(layers=2, width=40, heads=6, kv_heads=2, head_size=12, mlp_width=88, context=34, vocab_size=150)
GPT2 = ModelConfig(
    "gpt2", layers=2, width=48, heads=4, kv_heads=4, head_size=12, mlp_width=88, context=34, vocab_size=150,
    activation="gelu",
)  # fmt: skip
MODELS = pytest.mark.parametrize("config", [MODERN, replace(MODERN, tied=False), GPT2], ids=["tied", "untied", "gpt2"])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_docstring_examples():
    assert doctest.testmod(optim).failed == 0
    assert doctest.testmod(optim).attempted > 1


# ---- groups ----------------------------------------------------------------------------------------------------------


@MODELS
def test_each_parameter_in_exactly_one_group(config):
    model = GPT(config)
    groups = parameter_groups(model, OptimConfig())
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(dict(model.named_parameters()))
    matrices = 7 if config.family == "modern" else 6
    assert len(groups["matrices"]) == matrices * config.layers
    assert all(p.ndim == 2 and name.startswith("blocks.") for name, p in groups["matrices"].items())
    positions, head = config.family == "gpt2", not config.tied
    assert set(groups["embeddings"]) == {"embed.weight", *["position.weight"] * positions, *["head.weight"] * head}
    assert all(p.ndim == 1 for p in groups["vectors"].values())


@MODELS
@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_optimizers_hold_each_parameter_once_with_its_settings(config, kind):
    model, rates = GPT(config), dict(lr=0.01, matrix_lr=0.05, weight_decay=0.3)
    optimizers = build_optimizers(model, OptimConfig(optimizer=kind, beta1=0.8, beta2=0.9, momentum=0.7, **rates))
    held = [(p, o, g) for o in optimizers for g in o.param_groups for p in g["params"]]
    assert sorted(id(p) for p, _, _ in held) == sorted(id(p) for p in model.parameters())
    names = {id(p): name for name, p in model.named_parameters()}
    for p, optimizer, group in held:
        in_muon = kind == "muon" and p.ndim == 2 and names[id(p)].startswith("blocks.")
        assert isinstance(optimizer, Muon if in_muon else torch.optim.AdamW)
        assert group["lr"] == group["peak_lr"] == (0.05 if in_muon else 0.01)
        decays = in_muon or (kind == "adamw" and p.ndim == 2)
        assert group["weight_decay"] == (0.3 if decays else 0.0), names[id(p)]
        assert group["momentum"] == 0.7 if in_muon else group["betas"] == (0.8, 0.9)


def test_a_frozen_or_added_parameter_is_placed_too():
    """A parameter that a later lesson hangs into the model must not be lost."""
    model = GPT(MODERN)
    model.blocks[0].extra = torch.nn.Linear(5, 3)
    groups = parameter_groups(model, OptimConfig())
    assert "blocks.0.extra.weight" in groups["matrices"] and "blocks.0.extra.bias" in groups["vectors"]


# ---- AdamW -----------------------------------------------------------------------------------------------------------


def test_adamw_equals_its_formula():
    """Loshchilov & Hutter 2019, algorithm 2, in float64, for 20 steps with a moving learning rate."""
    model, c = GPT(GPT2), OptimConfig(optimizer="adamw", weight_decay=0.2, lr=0.01, beta1=0.85, beta2=0.93)
    (optimizer,) = build_optimizers(model, c)
    mine = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    m, v = ({name: torch.zeros_like(p) for name, p in mine.items()} for _ in range(2))
    for step in range(1, 21):
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * step / 20
        for name, p in model.named_parameters():
            p.grad = torch.randn_like(p)
            g, lr = p.grad.double(), 0.01 * step / 20
            m[name] = 0.85 * m[name] + 0.15 * g
            v[name] = 0.93 * v[name] + 0.07 * g * g
            update = (m[name] / (1 - 0.85**step)) / ((v[name] / (1 - 0.93**step)).sqrt() + 1e-10)
            decay = 0.2 if p.ndim == 2 else 0.0
            mine[name] = mine[name] - lr * decay * mine[name] - lr * update
        optimizer.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.double(), mine[name], rtol=0, atol=2e-6)


# ---- Muon ------------------------------------------------------------------------------------------------------------


def newton_schulz_by_svd(g, steps=5):
    """What the iteration must give: the same singular vectors, and each singular value sent through the polynomial."""
    u, s, vh = torch.linalg.svd(g.double(), full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ torch.diag(s) @ vh


@pytest.mark.parametrize("shape", [(4, 9, 31), (3, 31, 9), (2, 17, 17), (1, 1, 6)], ids=str)
def test_orthogonalize_is_the_polynomial_of_the_singular_values(shape):
    g = torch.randn(shape)
    x = orthogonalize(g)
    assert x.shape == shape
    for a, b in zip(g, x):
        torch.testing.assert_close(b.double(), newton_schulz_by_svd(a), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rows, columns", [(12, 40), (40, 12), (24, 24)])
def test_orthogonalize_keeps_directions_and_levels_lengths(rows, columns):
    """Singular values from 0.03 to 1 all land between 0.65 and 1.25, and the singular vectors stay."""
    n = min(rows, columns)
    u, v = torch.linalg.qr(torch.randn(rows, n))[0], torch.linalg.qr(torch.randn(columns, n))[0]
    x = orthogonalize((u * torch.logspace(-1.5, 0, n) @ v.T)[None] * 1e-3)[0]  # the overall size does not matter
    inside = u.T @ x @ v
    assert (inside - torch.diag(inside.diag())).abs().max() < 1e-3
    assert inside.diag().min() > 0.65 and inside.diag().max() < 1.25
    polar = u @ v.T
    assert (x * polar).sum() / (x.norm() * polar.norm()) > 0.98


def some_matrices(seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = [(9, 31), (31, 9), (9, 31), (17, 17), (9, 31)]  # three of one shape are stacked
    return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]


def test_muon_equals_a_plain_loop_over_matrices():
    parameters, lr, momentum, decay = some_matrices(), 0.03, 0.9, 0.15
    optimizer = Muon(parameters, lr, momentum, decay)
    mine, buffers = [p.detach().double().clone() for p in parameters], [0.0] * 5
    for step in range(6):
        for i, p in enumerate(parameters):
            p.grad = torch.randn_like(p) if (step, i) != (2, 3) else None  # a matrix without a gradient waits
            if p.grad is None:
                continue
            g = p.grad.double()
            buffers[i] = momentum * buffers[i] + (1 - momentum) * g
            nesterov = momentum * buffers[i] + (1 - momentum) * g
            scale = math.sqrt(max(1, p.shape[0] / p.shape[1]))
            mine[i] = mine[i] * (1 - lr * decay) - lr * scale * newton_schulz_by_svd(nesterov)
        optimizer.step()
    for p, expected in zip(parameters, mine):
        torch.testing.assert_close(p.double(), expected, rtol=0, atol=5e-5)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_muon_equals_torchs():
    """torch's iterates in bfloat16, with eight bits, so that the two agree to a few hundredths of each update."""
    ours, theirs = some_matrices(), some_matrices()
    settings = dict(lr=0.03, momentum=0.9, weight_decay=0.15)
    a, b = Muon(ours, **settings), torch.optim.Muon(theirs, nesterov=True, adjust_lr_fn="original", **settings)
    for _ in range(4):
        before = [p.detach().clone() for p in ours]
        for p, q in zip(ours, theirs):
            with torch.no_grad():
                q.copy_(p)  # each step from the same place: bfloat16's errors would add up
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step(), b.step()
        for p, q, old in zip(ours, theirs, before):
            assert (p - q).norm() < 0.05 * (p - old).norm()


def test_muon_skips_a_step_that_is_not_finite():
    parameters, twins = some_matrices(), some_matrices()
    a, b = Muon(parameters, 0.03, weight_decay=0.1), Muon(twins, 0.03, weight_decay=0.1)
    for bad in (0.0, 1.0, 0.0):
        for p, q in zip(parameters, twins):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
            if bad:
                p.grad[0, 0], p.grad[1, 1] = math.nan, math.inf
        a.found_inf = torch.tensor(bad)
        a.step()
        if not bad:
            b.step()
        for p, q in zip(parameters, twins):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-6)


# ---- schedule --------------------------------------------------------------------------------------------------------

STEPS = 200


def rates(config, decay_start=None):
    return [learning_rate(step, STEPS, config, decay_start) for step in range(STEPS)]


def torchs_rates(scheduler, steps, **settings):
    """The rates that a scheduler of torch's gives, from a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = scheduler(optimizer, **settings)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "constant"])
def test_warmup_is_linear_and_ends_at_the_peak(schedule):
    r = rates(OptimConfig(schedule=schedule, warmup=0.1))
    assert r[:20] == pytest.approx([(s + 1) / 21 for s in range(20)]) and r[20] == 1.0
    assert rates(OptimConfig(schedule=schedule, warmup=0.0))[0] == 1.0


def test_cosine_equals_torchs():
    expected = torchs_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 180, T_max=180, eta_min=0.1)
    assert rates(OptimConfig(schedule="cosine", warmup=0.1, final_lr=0.1))[20:] == pytest.approx(expected)


def test_wsd_is_flat_then_torchs_linear():
    config = OptimConfig(schedule="wsd", warmup=0.1, decay=0.3, final_lr=0.05)
    r = rates(config)
    assert r[20:140] == [1.0] * 120
    expected = torchs_rates(torch.optim.lr_scheduler.LinearLR, 60, start_factor=1.0, end_factor=0.05, total_iters=60)
    assert r[140:] == pytest.approx(expected)
    early = rates(config, decay_start=100)  # what a run decided at its start overrides the fraction
    assert early[100] == 1.0 > early[101] and early[199] == pytest.approx(0.05 + 0.95 * 0.01)


def test_constant_stays():
    assert set(rates(OptimConfig(schedule="constant", warmup=0.1))[20:]) == {1.0}


@pytest.mark.parametrize("schedule, largest_step", [("wsd", 1 / 40), ("cosine", math.pi / 2 / 160), ("constant", 0.0)])
def test_no_jump_at_any_boundary(schedule, largest_step):
    r = rates(OptimConfig(schedule=schedule, warmup=0.2, decay=0.2))
    allowed = max(largest_step, 1 / 41) + 1e-9
    assert all(abs(a - b) <= allowed for a, b in zip(r, r[1:])) and all(0 < x <= 1 for x in r)
    assert learning_rate(STEPS, STEPS, OptimConfig(schedule=schedule)) == (1.0 if schedule == "constant" else 0.0)
    assert learning_rate(3 * STEPS, STEPS, OptimConfig(schedule="wsd")) == 0.0
