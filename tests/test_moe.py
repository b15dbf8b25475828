"""moe.py against a loop over experts, the dense MLP, and the mixture of Qwen3-MoE in transformers."""
import copy
import math
from dataclasses import replace

import pytest
import torch

from minigpt.accounting import parameter_breakdown, parameters
from minigpt.config import ModelConfig, OptimConfig, UserError
from minigpt.model import GPT, MLP
from minigpt.moe import MoE, active_parameters, balance_loss, mixtures, sparse
from minigpt.optim import build_optimizers

CONFIG = ModelConfig(layers=3, width=20, heads=2, kv_heads=1, head_size=6, mlp_width=28, context=16, vocab_size=70)
B, T, E = 3, 11, 5


def shaken(config=CONFIG, experts=E, active=2, seed=0, **options):
    """A mixture whose weights are large enough that all of it matters."""
    mixture, draw = MoE(config, experts, active, **options), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in mixture.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * 0.4)
    return mixture


def states(seed=1, *shape):
    return torch.randn(*(shape or (B, T, CONFIG.width)), generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=2e-5):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def dense(mixture, config, number):
    """One of its experts, as the MLP of a dense model."""
    mlp = MLP(replace(config, mlp_width=mixture.up.shape[1]))
    with torch.no_grad():
        for name, p in mlp.named_parameters():
            part, kind = name.split(".")
            p.copy_(getattr(mixture, part)[number]) if kind == "weight" else p.zero_()
    return mlp


def loop(mixture, config, x):
    """Token by token and expert by expert."""
    experts = [dense(mixture, config, number) for number in range(mixture.experts)]
    y = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            probs = torch.softmax(mixture.router @ x[b, t], 0)
            best = probs.argsort(descending=True)[: mixture.active].tolist()
            total = sum(probs[i] for i in best) if mixture.active > 1 else 1.0
            for i in best:
                y[b, t] = y[b, t] + probs[i] / total * experts[i](x[b, t])
    return y


# ---- the layer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["swiglu", "gelu", "relu2"])
@pytest.mark.parametrize("active", [1, 2, E])
def test_equals_a_loop_over_experts(activation, active):
    config = replace(CONFIG, activation=activation)
    mixture, x = shaken(config, active=active, mlp_width=13), states()
    with torch.no_grad():
        close(mixture(x), loop(mixture, config, x))
    assert mixture.probs.shape == (B * T, E) and mixture.chosen.shape == (B * T, active)


@pytest.mark.parametrize("family, activation", [("modern", "swiglu"), ("gpt2", "gelu")])
def test_one_expert_is_the_dense_layer(family, activation):
    config = replace(CONFIG, family=family, activation=activation, kv_heads=2, head_size=10)
    mixture, x = shaken(config, experts=1, active=1), states()
    close(mixture(x), dense(mixture, config, 0)(x))


def qwen(mixture, active):
    """The same weights in transformers' block."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

    config = transformers.Qwen3MoeConfig(
        hidden_size=CONFIG.width, moe_intermediate_size=CONFIG.mlp_width, num_experts=E, num_experts_per_tok=active,
        norm_topk_prob=active > 1, hidden_act="silu", experts_implementation="eager",
    )  # fmt: skip
    block = Qwen3MoeSparseMoeBlock(config)
    with torch.no_grad():
        block.gate.weight.copy_(mixture.router)
        block.experts.gate_up_proj.copy_(torch.cat([mixture.gate, mixture.up], dim=1))
        block.experts.down_proj.copy_(mixture.down)
    return block


@pytest.mark.parametrize("active", [1, 2, 3])
def test_equals_qwen3_moe_and_so_do_all_gradients(active):
    mixture = shaken(active=active)
    theirs, weigh = qwen(mixture, active), states(2)
    x, x2 = states().requires_grad_(), states().requires_grad_()
    y, y2 = mixture(x), theirs(x2)
    close(y, y2)
    (y * weigh).sum().backward()
    (y2 * weigh).sum().backward()
    close(x.grad, x2.grad, 1e-4)
    close(mixture.router.grad, theirs.gate.weight.grad, 1e-4)
    close(torch.cat([mixture.gate.grad, mixture.up.grad], 1), theirs.experts.gate_up_proj.grad, 1e-4)
    close(mixture.down.grad, theirs.experts.down_proj.grad, 1e-4)
    assert mixture.router.grad.abs().max() > 1e-3  # also with one active: its weight is not made 1


def test_experts_without_tokens_get_no_gradient_and_no_error():
    mixture, x = shaken(active=1), states()
    with torch.no_grad():
        mixture.router.zero_()
        mixture.router[3] = 50.0
    x = x.abs()  # every token goes to expert 3
    mixture(x).sum().backward()
    assert (mixture.chosen == 3).all()
    assert mixture.up.grad[3].abs().max() > 0 and mixture.up.grad[[0, 1, 2, 4]].abs().max() == 0


def test_a_token_does_not_depend_on_its_neighbours():
    mixture, x = shaken(), states()
    with torch.no_grad():
        close(mixture(x)[1:2, 4:5], mixture(x[1:2, 4:5]), 1e-5)


def test_another_rule_of_choosing():
    class Last(MoE):
        def choose(self, probs):
            return torch.full((len(probs), 1), self.experts - 1)

    mixture = Last(CONFIG, E, 1)
    mixture.load_state_dict(shaken(active=1).state_dict())
    x = states()
    with torch.no_grad():
        weight = torch.softmax(x @ mixture.router.T, -1)[..., -1:]
        close(mixture(x), weight * dense(mixture, CONFIG, E - 1)(x))


def test_bf16_routes_in_fp32():
    """Under autocast, and with weights that are bf16 themselves, the choice is that of fp32 on the same numbers."""
    mixture, x = shaken(), states()
    with torch.no_grad():
        exact = mixture(x)
        probs = mixture.probs
        with torch.autocast("cpu", torch.bfloat16):
            y = mixture(x)
        assert y.dtype == torch.bfloat16
        close(mixture.probs, probs, 1e-6)
        assert (y - exact).abs().max() < 0.03 * exact.abs().max()
        half = copy.deepcopy(mixture).bfloat16()
        y = half(x.bfloat16())
        rounded = torch.softmax(x.bfloat16().float() @ half.router.float().T, -1)
        assert y.dtype == torch.bfloat16 and half.probs.dtype == torch.float32
        close(half.probs, rounded.flatten(0, 1), 1e-6)
        assert (y - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_refuses_impossible_numbers():
    for experts, active in ((4, 0), (4, 5), (0, 0)):
        with pytest.raises(UserError, match="active must be from 1"):
            MoE(CONFIG, experts, active)


# ---- the balance loss ------------------------------------------------------------------------------------------------


def routed(probs, chosen):
    mixture = MoE(CONFIG, probs.shape[1], chosen.shape[1])
    mixture.probs, mixture.chosen = probs, chosen
    return mixture


def test_balance_loss_by_hand():
    chosen = torch.tensor([[0], [0], [0], [1]])
    close(balance_loss(routed(torch.tensor([[0.6, 0.4]]).expand(4, 2), chosen)), torch.tensor(1.1))
    even = torch.full((6, 3), 1 / 3)
    close(balance_loss(routed(even, torch.tensor([[0, 1], [1, 2], [2, 0]] * 2))), torch.tensor(1.0))
    for k in (1, 2):  # k experts take everything
        probs = torch.tensor([[1 / k] * k + [0.0] * (6 - k)]).expand(4, 6)
        close(balance_loss(routed(probs, torch.arange(k).expand(4, k))), torch.tensor(6 / k))


def test_balance_loss_is_that_of_transformers_averaged_over_layers():
    pytest.importorskip("transformers")
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    layers = torch.nn.ModuleList(shaken(active=2, seed=seed) for seed in range(3))
    for number, layer in enumerate(layers):
        layer(states(number))
    logits = [layer.probs.log() for layer in layers]
    one_by_one = [load_balancing_loss_func((logit,), E, 2) for logit in logits]
    close(balance_loss(layers), torch.stack(one_by_one).mean() / 2)  # theirs counts visits per token, ours shares


def test_following_the_balance_loss_evens_the_visits_out():
    """Its gradient moves a lopsided router towards 1, and the busiest expert comes down with it."""
    mixture, x = shaken(active=1), states(1, 64, 3, CONFIG.width)
    with torch.no_grad():
        mixture.router[2] += 0.3
        x += 0.5
    busiest = []
    for _ in range(60):
        mixture.zero_grad()
        mixture(x)
        loss = balance_loss(mixture)
        loss.backward()
        busiest.append(torch.bincount(mixture.chosen.flatten()).max() / len(mixture.chosen))
        with torch.no_grad():
            mixture.router -= 0.2 * mixture.router.grad
    assert mixture.up.grad is None or mixture.up.grad.abs().max() == 0
    assert busiest[0] > 0.6 and busiest[-1] < 0.4 and loss < 1.2


def test_balance_loss_needs_a_mixture_that_has_routed():
    with pytest.raises(UserError, match="no mixture"):
        balance_loss(GPT(CONFIG))
    with pytest.raises(UserError, match="nothing has been routed"):
        balance_loss(sparse(GPT(CONFIG), E, 2))


# ---- in a model ------------------------------------------------------------------------------------------------------


def test_sparse_model_runs_trains_and_can_be_copied():
    model = sparse(GPT(CONFIG), E, 2)
    tokens = torch.randint(CONFIG.vocab_size, (B, T + 1), generator=torch.Generator().manual_seed(3))
    (optimizer,) = build_optimizers(model, OptimConfig(optimizer="adamw", steps=9))
    losses = []
    for _ in range(9):
        optimizer.zero_grad()
        loss = model(tokens[:, :-1], tokens[:, 1:]) + 0.01 * balance_loss(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2 and abs(losses[0] - math.log(CONFIG.vocab_size) - 0.01) < 0.1
    assert all(p.grad is not None for p in model.parameters())
    twin = copy.deepcopy(model)  # although autograd's tensors hang on it
    close(twin(tokens), model(tokens))
    assert twin.blocks[0].mlp.probs is not None and copy.deepcopy(model).blocks[0].mlp.probs is None


def test_weights_depend_on_seed_name_and_number_only():
    few, many, other = (sparse(GPT(CONFIG), n, 2, seed) for n, seed in ((3, 0), (E, 0), (3, 1)))
    for name, p in few.named_parameters():
        if ".mlp." in name:
            assert torch.equal(p, many.get_parameter(name)[:3]) and not torch.equal(p, other.get_parameter(name))
    drawn = [p for m in mixtures(many) for n, p in m.named_parameters() if n in ("up", "gate")]
    assert all(abs(p.std() / 0.02 - 1) < 0.05 for p in drawn)
    assert abs(torch.cat([m.down for m in mixtures(many)]).std() * math.sqrt(6) / 0.02 - 1) < 0.05
    assert torch.equal(many.embed.weight, GPT(CONFIG).embed.weight)  # the rest stays as it was
    zero = sparse(GPT(replace(CONFIG, zero_init=True)), 3, 2)
    assert all(not m.down.any() and m.up.any() for m in mixtures(zero))


def test_meta_device_builds_any_size():
    with torch.device("meta"):
        model = GPT(ModelConfig(layers=2, width=1024, heads=16, kv_heads=8, mlp_width=3072, vocab_size=50257))
    sparse(model, experts=128, active=8, mlp_width=768)
    assert all(p.is_meta for p in model.parameters()) and model.blocks[0].mlp.up.shape == (128, 768, 1024)


@pytest.mark.parametrize("tied", [True, False])
def test_active_parameters(tied):
    config = replace(CONFIG, tied=tied)
    assert active_parameters(GPT(config)) == parameters(config)
    model = sparse(GPT(config), E, 2, mlp_width=13)
    rest = parameters(config) - parameter_breakdown(config)["mlp"] + config.layers * E * config.width
    one = config.layers * 3 * 13 * config.width
    assert active_parameters(model) == rest + 2 * one
    assert sum(p.numel() for p in model.parameters()) == rest + E * one + 58 * config.width * (1 if tied else 2)
