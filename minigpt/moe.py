"""A mixture of experts in the place of a block's MLP: many MLPs, of which each token visits a few.

Letters as in model.py, and E experts, k of them active for a token, M the width of one, N = B * T tokens.

The experts hold E times the parameters of one MLP, and a token pays for k. What makes it hard is the choice: whatever
the router prefers is trained more, and so is preferred more, until most experts are never asked. `balance_loss` is the
usual remedy (Fedus et al. 2021, arXiv 2101.03961). With SwiGLU this is the layer of Mixtral and of Qwen3-MoE.

    model = sparse(GPT(config), experts=8, active=2)
    loss = model(tokens, targets) + 0.01 * balance_loss(model)
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig, UserError
from .model import GPT, named_normal


class MoE(nn.Module):
    """E MLPs without biases and a router that sends each token to `active` of them: (B, T, C) → (B, T, C).

    The weights of the experts are stacked, `up` (E, M, C), `down` (E, C, M), and for SwiGLU `gate` (E, M, C). They are
    not drawn here, `sparse` does that. After a forward pass `probs` (N, E) and `chosen` (N, k) say how it was routed.
    """

    def __init__(self, c: ModelConfig, experts: int, active: int, mlp_width: int | None = None):
        super().__init__()
        if not 1 <= active <= experts:
            raise UserError(f"active must be from 1 to the number of experts, {experts}, not {active}.")
        width = mlp_width or c.mlp_width
        self.experts, self.active, self.activation = experts, active, c.activation
        self.router = nn.Parameter(torch.empty(experts, c.width))
        if c.activation == "swiglu":
            self.gate = nn.Parameter(torch.empty(experts, width, c.width))
        self.up = nn.Parameter(torch.empty(experts, width, c.width))
        self.down = nn.Parameter(torch.empty(experts, c.width, width))
        self.probs: Tensor | None = None
        self.chosen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])  # (N, C)
        with torch.autocast(x.device.type, enabled=False):  # in bf16 two experts would often have the same score
            self.probs = torch.softmax(tokens.float() @ self.router.float().T, dim=-1)
        self.chosen = self.choose(self.probs)
        weights = self.probs.gather(1, self.chosen)  # (N, k)
        if self.active > 1:  # a single weight would always become 1, and the router would get no gradient
            weights = weights / weights.sum(-1, keepdim=True)
        # one place for each token and each expert that it visits, sorted so that every expert's places lie together
        order = self.chosen.flatten().argsort(stable=True)  # (N k,)
        loads = torch.bincount(self.chosen.flatten(), minlength=self.experts).tolist()
        batches = tokens[order // self.active].split(loads)
        matrices = [getattr(self, name).unbind() for name in ("up", "down", "gate") if hasattr(self, name)]
        y = torch.cat([self.expert(batch, *own) for batch, *own in zip(batches, *matrices)])
        y = y[order.argsort()].view(-1, self.active, x.shape[-1])  # back to the order of the tokens: (N, k, C)
        return (y * weights[..., None].to(y.dtype)).sum(1).view_as(x)

    def choose(self, probs: Tensor) -> Tensor:
        """(N, E) → (N, k) int64: the experts of each token. Another rule is another choose."""
        return probs.topk(self.active, dim=-1).indices

    def expert(self, x: Tensor, up: Tensor, down: Tensor, gate: Tensor | None = None) -> Tensor:
        """One MLP, as model.MLP computes it: (n, C) → (n, C), also for no tokens at all."""
        if gate is not None:
            return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
        x = F.linear(x, up)
        return F.linear(F.gelu(x, approximate="tanh") if self.activation == "gelu" else F.relu(x).square(), down)

    def __getstate__(self):  # autograd's tensors cannot be copied, and a copy has routed nothing
        return self.__dict__ | {"probs": None, "chosen": None}


def sparse(model: GPT, experts: int, active: int, seed: int = 0, mlp_width: int | None = None) -> GPT:
    """Put a mixture of experts in the place of every block's MLP, in place, and return the model.

    mlp_width   of one expert; default: that of the MLP it replaces, so that a token costs `active` times as much

    Every expert is drawn from (seed, its name, its number), like the weights of a GPT: the first experts of 8 and of 16
    are the same. What reads only the config, such as accounting and export, still describes the dense model.
    """
    c = model.config
    for layer, block in enumerate(model.blocks):
        old = block.norm2.weight
        block.mlp = MoE(c, experts, active, mlp_width).to(old.device)
        for name, p in block.mlp.named_parameters() if not old.is_meta else ():
            std = 0.02 if name != "down" else 0.0 if c.zero_init else 0.02 / math.sqrt(2 * c.layers)
            with torch.no_grad():
                for number, row in enumerate(p):
                    row.copy_(std * named_normal(seed, f"blocks.{layer}.mlp.{name}.{number}", row.shape))
    return model


def mixtures(model: nn.Module) -> list[MoE]:
    """The mixtures of a model, in the order of its layers; UserError if it has none."""
    if not (found := [m for m in model.modules() if isinstance(m, MoE)]):
        raise UserError("this model has no mixture of experts: make one with sparse(model, experts=8, active=2).")
    return found


def balance_loss(model: nn.Module) -> Tensor:
    """E · Σ f_i P_i of the last forward pass, averaged over the layers (Fedus et al. 2021, equations 4 to 6).

    f_i is the share of the visits that went to expert i, P_i the mean probability that the router gave it. Evenly used
    experts give 1, one that takes everything gives E (k of them E / k). Only P has a gradient: it presses hardest on
    the probability of what is used most.

    Example: shares (3/4, 1/4) at probabilities (0.6, 0.4) give 2 · (0.45 + 0.1) = 1.1.
    """
    losses = []
    for m in mixtures(model):
        if m.probs is None:
            raise UserError("nothing has been routed yet: call the model before balance_loss(model).")
        shares = torch.bincount(m.chosen.flatten(), minlength=m.experts) / m.chosen.numel()
        losses.append(m.experts * (shares * m.probs.mean(0)).sum())
    return torch.stack(losses).mean()


def active_parameters(model: GPT) -> int:
    """Parameters that a token meets: all but those of the experts it does not visit; counted as accounting does.

    Example: 8 experts of 100 parameters each, 2 active, beside 50 other parameters: 250 of 850.
    """
    c, idle = model.config, 0
    for m in model.modules():
        if isinstance(m, MoE):
            idle += (m.experts - m.active) * sum(p[0].numel() for name, p in m.named_parameters() if name != "router")
    padding = (c.padded_vocab - c.vocab_size) * c.width * (1 if c.tied else 2)
    return sum(p.numel() for p in model.parameters()) - padding - idle
