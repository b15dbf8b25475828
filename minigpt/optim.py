"""Optimizers and the learning-rate schedule: AdamW from torch, Muon by hand, and who gets which parameter."""
import math

import torch
from torch import Tensor, nn

from .config import OptimConfig


def learning_rate(step: int, steps: int, config: OptimConfig, decay_start: int | None = None) -> float:
    """The learning rate of `step` (0-based) as a fraction of its peak: a function of the step only.

    Linear warm-up over the first `warmup` of the steps, then by `schedule`: "constant"; "cosine" down to `final_lr`
    (Loshchilov & Hutter 2017); or "wsd": stable, then linear down to `final_lr` (Hägele et al. 2024), which starts at
    `decay_start` (default: so that `decay` of the steps remain).

    >>> c = OptimConfig(warmup=0.1, decay=0.5, final_lr=0.0)
    >>> [round(learning_rate(s, 10, c), 2) for s in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    warmup = round(config.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    start = first_decay_step(steps, config) if decay_start is None else decay_start
    progress = min(1.0, max(0.0, (step - start) / max(1, steps - start)))
    shape = 1 - progress if config.schedule == "wsd" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.final_lr + (1 - config.final_lr) * shape


def first_decay_step(steps: int, config: OptimConfig) -> int:
    """The first step at which the learning rate falls; from then on the length of a run is fixed."""
    share = {"constant": 1.0, "cosine": config.warmup, "wsd": 1 - config.decay}[config.schedule]
    return round(share * steps)


def parameter_groups(model: nn.Module, config: OptimConfig) -> dict[str, dict[str, Tensor]]:
    """Every trainable parameter, by name, in exactly one of three groups.

    matrices: the 2-D weights inside the blocks, for Muon or for AdamW with weight decay; embeddings: token and position
    tables and the head, AdamW; vectors: norms and biases, AdamW without weight decay.
    """
    groups: dict[str, dict[str, Tensor]] = {"matrices": {}, "embeddings": {}, "vectors": {}}
    for name, p in model.named_parameters():
        kind = "vectors" if p.ndim < 2 else "matrices" if name.startswith("blocks.") else "embeddings"
        groups[kind][name] = p
    placed = [id(p) for group in groups.values() for p in group.values()]
    assert sorted(placed) == sorted({id(p) for p in model.parameters()}), "a parameter is in no group, or in two"
    return groups


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of each matrix (N, rows, columns) towards 1, by Newton-Schulz iteration in fp32.

    Each step applies the odd polynomial a x + b x³ + c x⁵ to the singular values, with coefficients chosen for speed
    rather than for a fixed point at 1: they end up between about 0.7 and 1.2, which serves as well (Jordan et al. 2024,
    "Muon").
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # the products below are then of the smaller side
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # all singular values are now at most 1
    for _ in range(steps):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """MomentUm Orthogonalized by Newton-Schulz (Jordan et al. 2024), for matrices.

    The update is Nesterov momentum with its singular values set to about 1: every direction that the gradient names
    moves equally far. It is scaled by sqrt(max(1, rows / columns)), and weight decay is decoupled. Matrices of one
    shape are orthogonalised in one batch.
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.found_inf: Tensor | None = None  # () fp32, 1.0: skip this step; torch's fused AdamW reads it too

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(self.full_shape(p), []).append(p)
            for shape, params in by_shape.items():
                grads, lr = [p.grad for p in params], group["lr"]
                buffers = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in params]
                if self.found_inf is not None:  # skip without asking the host: nothing moves, and nothing is NaN
                    grads = [torch.where(self.found_inf > 0, m, g) for g, m in zip(grads, buffers)]
                    lr = lr * (1 - self.found_inf)
                torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
                updates = self.orthogonalize(torch._foreach_lerp(grads, buffers, group["momentum"]), params)
                torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
                torch._foreach_mul_(updates, -lr * math.sqrt(max(1.0, shape[0] / shape[1])))
                torch._foreach_add_(params, updates)

    def full_shape(self, p: Tensor) -> torch.Size:
        """Shape of the matrix that p is, or is a piece of: see parallel.SharedMuon."""
        return p.shape

    def orthogonalize(self, updates: list[Tensor], params: list[Tensor]) -> list[Tensor]:
        """The updates of matrices of one shape, orthogonalised."""
        return list(orthogonalize(torch.stack(updates)).unbind())


def build_optimizers(
    model: nn.Module, config: OptimConfig, piece=lambda p: p, muon=Muon
) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices if the config says so. Param groups remember their peak rate as `peak_lr`.

    On many ranks `piece` gives the part of a parameter that this rank moves, and `muon` puts parts together.
    """
    groups = {kind: [piece(p) for p in params.values()] for kind, params in parameter_groups(model, config).items()}
    matrices = groups.pop("matrices")
    adamw = [dict(params=groups["embeddings"], weight_decay=0.0), dict(params=groups["vectors"], weight_decay=0.0)]
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        optimizers.append(muon(matrices, config.matrix_lr, config.momentum, config.weight_decay))
    else:
        adamw[0]["weight_decay"] = config.weight_decay
        adamw.append(dict(params=matrices, weight_decay=config.weight_decay))
    optimizers.append(torch.optim.AdamW(adamw, config.lr, (config.beta1, config.beta2), eps=1e-10, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers
