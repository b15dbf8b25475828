"""The same training on many devices: which rank holds which piece of the model, and what ranks tell each other.

Started plainly, a process is alone. Started by torchrun, ranks form a mesh of three dimensions:

    replicate   whole copies of the model (or of its shards); gradients are added up over them     DDP, or outer HSDP
    shard       each parameter, gradient and optimizer state is cut along its first dimension      FSDP2 (ZeRO-3)
    tensor      matrices are cut so that each rank computes with its own part of every layer       TP

replicate × shard ranks read different sequences; the ranks of one tensor group read the same. The engine is PyTorch's
own. What is ours is the order in which its parts are put together (`parallelize`), initial weights that are equal in
every layout, sums divided by the global count of tokens instead of averages of averages, and Muon on pieces of
matrices. Lessons 21 to 23 build each part by hand.
"""
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.experimental import implicit_replication
from torch.distributed.tensor.parallel import (ColwiseParallel, RowwiseParallel, SequenceParallel, loss_parallel,
                                               parallelize_module)  # fmt: skip
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from .accounting import memory
from .config import ModelConfig, TrainConfig, UserError
from .model import GPT, initial_values
from .optim import Muon, orthogonalize

MEET = timedelta(minutes=30)
"""How long ranks wait for each other until the second step is done: they load and compile at different speeds."""
DIMENSIONS = "replicate", "shard", "tensor"


# ---- where a rank stands ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """This rank's place among all. The default is a process that is alone."""

    mode: str = "none"
    """none, ddp (whole copies) or fsdp (pieces, with or without a tensor dimension)."""
    mesh: DeviceMesh | None = None
    """(replicate, shard, tensor)."""
    store: dist.Store | None = None
    """Where ranks leave notes for each other, such as how far they are."""
    sizes: tuple[int, int, int] = (1, 1, 1)
    place: tuple[int, int, int] = (0, 0, 0)
    """This rank's coordinates in the mesh."""
    device: str = ""
    """The device of this rank; empty: as the config says."""
    groups: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    """data: replicate × shard; model: shard × tensor, who hold one copy together; save: all, for notes and files."""

    @property
    def world(self) -> int:
        return math.prod(self.sizes)

    @property
    def rank(self) -> int:
        r, s, t = self.place
        return (r * self.sizes[1] + s) * self.sizes[2] + t

    @property
    def leads(self) -> bool:
        """Rank 0 writes the files and speaks."""
        return self.rank == 0

    @property
    def data_world(self) -> int:
        """How many slices a batch is cut into."""
        return self.sizes[0] * self.sizes[1]

    @property
    def data_rank(self) -> int:
        return self.place[0] * self.sizes[1] + self.place[1]

    def __str__(self):
        if self.mode == "none":
            return "one process"
        parts = zip(("copies", "shards", "tensor ranks"), self.sizes)
        return f"{self.mode} over {self.world} ranks: " + " × ".join(f"{n} {what}" for what, n in parts if n > 1)


def launched() -> bool:
    """Whether torchrun (or something that sets the same variables) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join_ranks(config: TrainConfig, model: ModelConfig, say: Callable[[str], None] = print) -> Layout:
    """Meet the other ranks and take a place in the mesh; alone without torchrun. UserError for sizes that do not fit.

    All ranks meet under a prefix of their own for each attempt: after a restart the old attempt's notes are still in
    the store, and whoever reads them waits for ranks that are gone.
    """
    world = int(os.environ.get("WORLD_SIZE", 1)) if launched() else 1
    sizes = mesh_sizes(config, model, world)
    if config.device != "cpu" and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    else:
        device = "cpu"
    mode = config.parallel
    if mode == "auto":
        mode, why = pick_mode(config, model, sizes, device)
        if int(os.environ.get("RANK", 0)) == 0:
            say(f"{mode}: {why}") if world > 1 else None
    if mode == "none":
        return Layout()
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", 0))
    if device != "cpu":
        if local >= torch.cuda.device_count():
            raise UserError(f"rank {rank} is number {local} on its host, which has {torch.cuda.device_count()} GPUs: "
                            f"start as many processes as GPUs (torchrun --nproc-per-node).")  # fmt: skip
        if not dist.is_nccl_available():
            raise UserError("this PyTorch was built without NCCL, through which GPUs talk: use --device cpu.")
        torch.cuda.set_device(device)
    store = meeting_point(rank, world)
    dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", store=store, rank=rank,
                            world_size=world, timeout=MEET)  # fmt: skip
    return place(mode, sizes, device, store)


def place(mode: str, sizes: tuple[int, int, int], device: str = "cpu", store: dist.Store | None = None) -> Layout:
    """The layout of ranks that have met: a mesh of these sizes, whose product is their number."""
    mesh = init_device_mesh(device.split(":")[0], sizes, mesh_dim_names=DIMENSIONS)
    groups = {"data": mesh["replicate", "shard"]._flatten("data").get_group(),
              "model": mesh["shard", "tensor"]._flatten("model").get_group(),
              "replicate": mesh["replicate"].get_group(),
              "save": dist.new_group(timeout=MEET)}  # fmt: skip
    return Layout(mode, mesh, store, sizes, tuple(mesh.get_coordinate()), device, groups)


def meeting_point(rank: int, world: int) -> dist.Store:
    """The store of this attempt. torchrun's agent serves one that outlives its ranks, unless it says otherwise."""
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", 29500))
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store = dist.TCPStore(host, port, world, is_master=rank == 0 and not served, timeout=MEET)
    except (RuntimeError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        raise UserError(f"rank {rank} found no place to meet at {host}:{port} ({why}): is the port taken, or the host "
                        f"out of reach? Choose another --master-port.") from None  # fmt: skip
    return dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def mesh_sizes(config: TrainConfig, model: ModelConfig, world: int) -> tuple[int, int, int]:
    """(replicate, shard, tensor), whose product is `world`; a UserError that says which number does not divide which.

    >>> mesh_sizes(TrainConfig(parallel="fsdp", replicate=2, tp=2), ModelConfig(heads=2, kv_heads=2), 8)
    (2, 2, 2)
    """
    tp, mode = config.tp, config.parallel
    if world == 1 and mode in ("ddp", "fsdp") and not launched():
        raise UserError(f"--parallel {mode} needs ranks: start it by torchrun, as in "
                        f"`torchrun --nproc-per-node 2 -m minigpt pretrain --parallel {mode} …`.")  # fmt: skip
    if world > 1 and mode == "none":
        raise UserError(f"torchrun started {world} processes, and --parallel none uses one: choose ddp or fsdp.")
    if tp > 1 and mode in ("none", "ddp"):
        raise UserError(f"--tp {tp} goes with --parallel fsdp; copies of the model are --replicate N there.")
    if tp < 1 or world % tp:
        raise UserError(f"--tp {tp} does not divide the {world} ranks.")
    for name in ("heads", "kv_heads", "mlp_width", "padded_vocab"):
        if getattr(model, name) % tp:
            raise UserError(f"--tp {tp} does not divide the model's {name} ({getattr(model, name)}).")
    if mode == "ddp":
        if config.replicate not in (0, world):
            raise UserError(f"--replicate {config.replicate}: under ddp each of the {world} ranks is a copy.")
        return world, 1, 1
    replicate = config.replicate or 1
    if world // tp % replicate:
        raise UserError(f"--replicate {replicate} does not divide the {world // tp} ranks that --tp {tp} leaves.")
    return replicate, world // tp // replicate, tp


def pick_mode(config: TrainConfig, model: ModelConfig, sizes: tuple, device: str) -> tuple[str, str]:
    """What `--parallel auto` means here, and why: whole copies where they fit, for they send the fewest bytes."""
    if math.prod(sizes) == 1:
        return "none", "one process"
    if sizes[2] > 1 or config.replicate:
        return "fsdp", "--tp and --replicate are dimensions of its mesh"
    need = memory(model, 1, "bf16" if device != "cpu" else "fp32")["total"]
    have = torch.cuda.mem_get_info(device)[1] if device != "cpu" else physical_memory() / int(
        os.environ.get("LOCAL_WORLD_SIZE", 1))  # fmt: skip
    shares = f"a copy and one sequence need {need / 2**30:.1f} GiB, a rank has {have / 2**30:.1f}"
    return ("ddp", f"{shares}, so each rank holds a copy") if need < 0.7 * have else ("fsdp", f"{shares}: shared out")


def physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30


def leave(layout: Layout) -> None:
    if layout.mode != "none" and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def together(layout: Layout) -> Iterator[None]:
    """A mistake that one rank finds inside stops all of them, with its sentence. No rank may wait for others inside."""
    error = None
    try:
        yield
    except UserError as found:
        error = found
    if layout.world == 1:
        if error is not None:
            raise error
        return
    for rank, said in enumerate(gathered(layout, str(error) if error else None)):
        if said is not None:
            raise UserError(said if rank == 0 else f"rank {rank}: {said}")


def gathered(layout: Layout, what) -> list:
    """A small plain object of every rank, by rank."""
    if layout.world == 1:
        return [what]
    found = [None] * layout.world
    dist.all_gather_object(found, what, group=layout.groups["save"])
    return found


def from_leader(layout: Layout, what):
    """What rank 0 has, on every rank."""
    return gathered(layout, what if layout.leads else None)[0]


def must_agree(layout: Layout, **facts) -> None:
    """UserError on all ranks, naming the first that differs from rank 0 in any of these and in what."""
    shown = {name: str(value) for name, value in facts.items()}
    everyone = gathered(layout, shown)
    for rank, other in enumerate(everyone):
        for name, value in other.items():
            if value != everyone[0][name]:
                raise UserError(f"rank {rank} has another {name} than rank 0: give all hosts the same command, data "
                                f"and packages. {differing(everyone[0][name], value)}")  # fmt: skip


def differing(ours: str, other: str) -> str:
    """The first place at which two texts differ."""
    at = len(os.path.commonprefix([ours, other]))
    around = slice(max(0, at - 30), at + 30)
    return f"Rank 0 has …{ours[around]}…, it has …{other[around]}…"


# ---- the model, in pieces --------------------------------------------------------------------------------------------


def parallelize(model: GPT, layout: Layout, *, compile: bool = False, activations: str = "keep",
                precision: str = "fp32") -> nn.Module:  # fmt: skip
    """Cut the model for this layout, in place, and return what computes the loss of a micro-batch.

    The order is fixed, since each step wraps what the one before it made: tensor parallel, recomputing activations,
    compile, then FSDP2 or DDP. With a layout of shards the model must be on the meta device: no rank ever holds all of
    it. `fill_weights` fills it.

    activations   keep all for backward; full: keep each block's input and compute the rest again; selective: keep
                  the results of matrix products and attention, recompute what is cheap
    precision     under bf16 FSDP gathers weights in bf16, and adds up gradients in fp32
    """
    if layout.sizes[2] > 1:
        apply_tensor_parallel(model, layout.mesh["tensor"])
    if activations != "keep":
        for block in model.blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, **RECOMPUTE[activations])
    if layout.mode == "none":
        return torch.compile(model, dynamic=False) if compile else model
    if compile:
        for block in model.blocks:
            block.compile(dynamic=False)
    if layout.mode == "ddp":
        return model  # wrapped by `replicate` when its weights are there
    mesh = layout.mesh["replicate", "shard"] if layout.sizes[0] > 1 else layout.mesh["shard"]
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if precision == "bf16" else None,
                                  reduce_dtype=torch.float32, cast_forward_inputs=False)  # fmt: skip
    for part in (*model.blocks, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)
        part.set_gradient_divide_factor(1.0)  # the loss is divided already, by the tokens of all ranks
        part.set_force_sum_reduction_for_comms(True)  # gloo cannot multiply while it adds
    return model


def replicate(model: GPT, layout: Layout) -> nn.Module:
    """Wrap a whole copy in DDP, whose buckets of gradients are added up, not averaged."""
    device = [torch.device(layout.device)] if layout.device != "cpu" else None
    wrapped = DistributedDataParallel(model, device_ids=device, process_group=layout.groups["replicate"],
                                      gradient_as_bucket_view=True, init_sync=False)  # fmt: skip

    def add_up(group, bucket):
        done = dist.all_reduce(bucket.buffer(), group=group, async_op=True).get_future()
        return done.then(lambda future: bucket.buffer())

    wrapped.register_comm_hook(layout.groups["replicate"], add_up)
    return wrapped


def keep_products(context, op, *args, **kwargs):
    """Selective recomputation: what took many FLOPs is kept."""
    kept = op in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default,
                  torch.ops.aten._scaled_dot_product_flash_attention.default,
                  torch.ops.aten._scaled_dot_product_efficient_attention.default,
                  torch.ops.aten._scaled_dot_product_cudnn_attention.default,
                  torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default)  # fmt: skip
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


RECOMPUTE = {"full": {}, "selective": {"context_fn": partial(create_selective_checkpoint_contexts, keep_products)}}


COLUMNS = "embed", "head", "attn.q", "attn.k", "attn.v", "mlp.up", "mlp.gate"
"""What tensor parallelism cuts along its first dimension: the vocabulary, the heads, the MLP's units."""
ROWS = "attn.out", "mlp.down"
"""What it cuts along its second."""


def apply_tensor_parallel(model: GPT, mesh: DeviceMesh) -> None:
    """Cut the matrices of every layer: first those that read the residual stream by their rows of output (each rank has
    some heads, some of the MLP's units, some of the vocabulary), then those that write to it by their input, after
    which one sum over ranks restores the stream (Shoeybi et al. 2019, section 3).

    The loss stays cut by vocabulary: no rank ever holds a row of all logits.
    """
    plan = {f"blocks.*.{name}": ColwiseParallel() for name in COLUMNS[2:]}
    plan |= {f"blocks.*.{name}": RowwiseParallel() for name in ROWS}
    plan |= {"embed": RowwiseParallel(input_layouts=Replicate()),
             "head": ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)}  # fmt: skip
    if model.config.activation != "swiglu":
        plan.pop("blocks.*.mlp.gate")
    if model.config.family == "modern":  # one gain for all heads: its gradient is a sum over ranks (heads: dimension 2)
        plan |= {f"blocks.*.attn.{name}": SequenceParallel(sequence_dim=2, use_local_output=True)
                 for name in ("q_norm", "k_norm")}  # fmt: skip
    parallelize_module(model, mesh, plan)
    model.tie()
    if model.config.tied:
        assert model.head.weight is model.embed.weight, "the head no longer shares the embedding's matrix"
    whole = model.forward

    def forward(*args, **kwargs):
        with implicit_replication(), loss_parallel():
            found = whole(*args, **kwargs)
        return found.full_tensor().clone() if isinstance(found, DTensor) else found  # FSDP wants no view

    model.forward = forward


def fill_weights(model: GPT, seed: int, device: str) -> None:
    """Give a model that is on the meta device its memory on `device`, and its weights: each is drawn whole from (seed,
    name), one at a time, and cut, so that every layout starts equal."""
    model.to_empty(device=device)
    model.tie()
    with torch.no_grad():
        for name, p in model.named_parameters():
            local_piece(p).copy_(own_piece(initial_values(model.config, name, p.shape, seed).to(device), p))


def local_piece(p: Tensor) -> Tensor:
    """What this rank holds of a parameter, as a plain tensor that shares its memory."""
    return p._local_tensor if isinstance(p, DTensor) else p


def own_piece(whole: Tensor, p: Tensor) -> Tensor:
    """Cut from a whole tensor what this rank holds of the parameter p."""
    if not isinstance(p, DTensor):
        return whole
    return distribute_tensor(whole, p.device_mesh, p.placements, src_data_rank=None)._local_tensor


def as_whole(local: Tensor, p: Tensor) -> Tensor:
    """The inverse of `local_piece`: a tensor of this rank's size as the whole that it is a piece of."""
    if not isinstance(p, DTensor) or local.shape != p._local_tensor.shape:
        return local
    return DTensor.from_local(local, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride())


# ---- one step --------------------------------------------------------------------------------------------------------


@contextmanager
def micro_step(forward: nn.Module, layout: Layout, last: bool, unsharded: bool = False) -> Iterator[None]:
    """Around the forward and backward pass of one micro-batch. DDP sends gradients in the last one only; FSDP in each,
    or with `unsharded` in the last, at the price of whole gradients in memory."""
    with ExitStack() as stack:
        if layout.mode == "ddp" and not last:
            stack.enter_context(forward.no_sync())
        if layout.mode == "fsdp":
            forward.set_requires_gradient_sync(last or not unsharded)
        yield


def backward_pass(loss: Tensor, layout: Layout) -> None:
    """The gradients of a loss. Under tensor parallelism plain tensors, such as the targets, count as equal copies."""
    if layout.sizes[2] == 1:
        loss.backward()
        return
    with implicit_replication(), loss_parallel():
        loss.backward()


def gradient_bytes(c: ModelConfig, mode: str, sizes: tuple[int, int, int], micro_steps: int = 1,
                   unsharded: bool = False) -> int:  # fmt: skip
    """Bytes of fp32 gradients that a rank hands to the collectives of its data group in one optimizer step.

    With N parameters as stored (rows that pad the vocabulary included) over copies × shards × tensor ranks:

        ddp     4 N, once a step, whatever the accumulation; a ring then sends 2 (n - 1) / n times that
        fsdp    4 N / tensor into a reduce-scatter for each micro-batch, or once a step with `unsharded`; with several
                copies of the shards, 4 N / (shards · tensor) into an all-reduce, as often

    What makes it exact: a first dimension is padded to a multiple of the shards, and tensor ranks each have all of what
    is not cut between them. (Sums of activations inside a tensor group are not gradients of weights, and not counted.)
    """
    copies, shards, tensor = sizes
    with torch.device("meta"):
        shapes = {name: list(p.shape) for name, p in GPT(c).named_parameters()}
    for name, shape in shapes.items() if tensor > 1 else ():
        module, _, kind = name.rpartition(".")
        if module.endswith(COLUMNS):
            shape[0] //= tensor
        elif module.endswith(ROWS) and kind == "weight":
            shape[1] //= tensor
    if mode == "ddp":
        return 4 * sum(map(math.prod, shapes.values()))
    padded = 4 * sum(-(-shape[0] // shards) * shards * math.prod(shape[1:]) for shape in shapes.values())
    return (1 if unsharded else micro_steps) * (padded * (shards > 1) + padded // shards * (copies > 1))


def hand_over(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Give the optimizers' plain tensors the gradients that backward left on the parameters they are pieces of.

    pairs: (parameter, its piece). Optimizers see plain tensors: an update works number by number, so it needs no
    DTensor, whose dispatch would cost more than the arithmetic.
    """
    for p, local in pairs:
        if p is not local:
            local.grad, p.grad = local_piece(p.grad), None


def gradient_norm(grads: list[tuple[Tensor, int]], layout: Layout) -> Tensor:
    """The norm of the whole gradient, () fp32, from this rank's pieces: (piece, ranks of a model group that hold the
    same piece). One sum over the ranks that hold one copy of the model together."""
    if layout.mode != "fsdp":
        return torch.nn.utils.get_total_norm([grad for grad, _ in grads])
    squares = torch.stack(torch._foreach_norm([grad for grad, _ in grads])).square()
    total = (squares / torch.tensor([n for _, n in grads], device=squares.device)).sum()
    dist.all_reduce(total, group=layout.groups["model"])
    return total.sqrt()


def copies_of(p: Tensor, layout: Layout) -> int:
    """On how many ranks of a model group the same piece of p lies: a norm's gain under TP is on all tensor ranks."""
    cut = isinstance(p, DTensor) and any(
        name == "tensor" and placement.is_shard()
        for name, placement in zip(p.device_mesh.mesh_dim_names or (), p.placements))  # fmt: skip
    return 1 if cut else layout.sizes[2]


class SharedMuon(Muon):
    """Muon whose matrices are spread over ranks. Each is orthogonalised on one rank only.

    Momentum works number by number, on pieces. Orthogonalising needs the whole matrix: its pieces go to one rank (where
    copies are whole, nothing need go), matrix i to rank i modulo n, and the result comes back in pieces, two exchanges
    in all for any number of matrices of one shape. `whole` maps each piece to the parameter that it is cut from.
    """

    def __init__(self, params, lr: float, momentum: float, weight_decay: float, *, whole: dict[Tensor, Tensor],
                 layout: Layout):  # fmt: skip
        super().__init__(params, lr, momentum, weight_decay)
        self.whole, self.layout = whole, layout

    def full_shape(self, p: Tensor) -> torch.Size:
        return self.whole[p].shape

    def orthogonalize(self, updates: list[Tensor], params: list[Tensor]) -> list[Tensor]:
        group = self.layout.groups["model" if self.layout.mode == "fsdp" else "replicate"]
        rank, n = dist.get_rank(group), dist.get_world_size(group)
        wholes = [self.whole[p] for p in params]  # of one shape, but perhaps cut along different dimensions
        if self.layout.mode == "fsdp":
            send = [updates[who::n] for who in range(n)]
            pieces = exchange(send, [[part_of(w, who, updates[0], self.layout) for w in wholes[rank::n]]
                                     for who in range(n)], group)  # fmt: skip
            mine = [torch.empty(w.shape, device=updates[0].device) for w in wholes[rank::n]]
            for who in range(n):
                for matrix, whole, its in zip(mine, wholes[rank::n], pieces[who]):
                    matrix[slices(whole, who, self.layout)] = its
        else:
            mine = updates[rank::n]
        done = orthogonalize(torch.stack(mine)).unbind() if mine else []
        back = exchange([[matrix[slices(whole, who, self.layout)].contiguous() for matrix, whole in
                          zip(done, wholes[rank::n])] for who in range(n)],
                        [[torch.empty_like(u) for u in updates[who::n]] for who in range(n)], group)  # fmt: skip
        result: list[Tensor] = [None] * len(updates)
        for who in range(n):
            result[who::n] = back[who]
        return result


def slices(p: Tensor, who: int, layout: Layout) -> tuple[slice, ...]:
    """Which part of the whole p the rank `who` of a model group holds: all of it, where copies are whole."""
    whole = [slice(0, size) for size in p.shape]
    if not isinstance(p, DTensor):
        return tuple(whole)
    _, shards, tensor = layout.sizes
    s, t = divmod(who, tensor)
    for name, placement in zip(p.device_mesh.mesh_dim_names, p.placements):
        if name == "tensor" and placement.is_shard():
            width = p.shape[placement.dim] // tensor  # `mesh_sizes` made sure that it divides
            whole[placement.dim] = slice(t * width, (t + 1) * width)
    start, stop = whole[0].start, whole[0].stop
    rows = -(-(stop - start) // shards)  # as torch.chunk: the last ones may be shorter, or empty
    whole[0] = slice(min(start + s * rows, stop), min(start + (s + 1) * rows, stop))
    return tuple(whole)


def part_of(p: Tensor, who: int, like: Tensor, layout: Layout) -> Tensor:
    """Room for what the rank `who` of a model group holds of p."""
    return like.new_empty([part.stop - part.start for part in slices(p, who, layout)])


def exchange(send: list[list[Tensor]], receive: list[list[Tensor]], group) -> list[list[Tensor]]:
    """All-to-all of lists of tensors: send[r] goes to rank r, receive[r] is filled with what r sends here."""
    flat = lambda lists: torch.cat([t.flatten() for tensors in lists for t in tensors] or [torch.empty(0)])
    sizes = lambda lists: [sum(t.numel() for t in tensors) for tensors in lists]
    some = next(t for tensors in (*send, *receive) for t in tensors)
    out = flat(send).to(some)
    into = torch.empty(sum(sizes(receive)), device=some.device, dtype=some.dtype)
    dist.all_to_all_single(into, out, sizes(receive), sizes(send), group=group)
    pieces = iter(into.split([t.numel() for tensors in receive for t in tensors]))
    return [[next(pieces).view(t.shape) for t in tensors] for tensors in receive]


def pieces_group(layout: Layout):
    """The ranks that hold one gradient in pieces, or None where each holds it whole."""
    return layout.groups["model"] if layout.mode == "fsdp" else None


def own_windows(windows: list[int], layout: Layout) -> list[int]:
    """This rank's part of the windows to evaluate; -1 fills up, so that all ranks make equally many forward passes.

    >>> own_windows([10, 11, 12], Layout(sizes=(2, 1, 1), place=(1, 0, 0)))
    [11, -1]
    """
    mine, most = windows[layout.data_rank :: layout.data_world], -(-len(windows) // layout.data_world)
    return mine + [-1] * (most - len(mine))


def add_up(found: dict[str, dict], names: list[str], layout: Layout) -> dict[str, dict]:
    """The counts {name: {"nats", "bytes", "tokens"}} of all ranks, added up."""
    if layout.world == 1:
        return found
    keys = "nats", "bytes", "tokens"
    table = torch.tensor([[found[name][key] if name in found else 0 for key in keys] for name in names],
                         dtype=torch.float64, device=layout.device)  # fmt: skip
    return {name: {"nats": nats, "bytes": int(size), "tokens": int(tokens)}
            for name, (nats, size, tokens) in zip(names, sum_of_ranks(table, layout).tolist())}  # fmt: skip


def sum_of_ranks(table: Tensor, layout: Layout) -> Tensor:
    """The sum over the ranks that read different sequences, on each of them; on the device it came from."""
    if layout.world == 1:
        return table
    total = table.to(layout.device)
    dist.all_reduce(total, group=layout.groups["data"])
    return total.to(table.device)


def eager(layout: Layout):
    """Evaluation and samples run uncompiled; with many ranks the blocks themselves are compiled."""
    return nullcontext() if layout.mode == "none" else torch.compiler.set_stance("force_eager")


@contextmanager
def by_parts(model: GPT, layout: Layout) -> Iterator[None]:
    """Inside, parts of the model may be called, not only all of it: FSDP gathers weights when it sees a module called,
    and what lies outside the blocks belongs to the model as a whole. Afterwards all is in pieces again, which without a
    backward pass FSDP itself does not see to, and without which nothing can be saved."""
    if layout.mode == "fsdp":
        model.unshard()
    try:
        yield
    finally:
        if layout.mode == "fsdp":
            model.reshard()


def copy_to_cpu(tensor: Tensor, into: Tensor | None = None) -> Tensor:
    """A copy of this rank's piece, which training cannot change; a DTensor stays one, and so is saved as a piece.
    `into`: an earlier copy, whose memory is used again."""
    if into is None:
        return as_whole(local_piece(tensor).detach().to("cpu", copy=True), tensor)
    local_piece(into).copy_(local_piece(tensor).detach())
    return into


# ---- what ranks tell each other --------------------------------------------------------------------------------------

FLAGS = "time limit", "cost limit", "interrupted", "save"


def agree(layout: Layout, loss: Tensor, flags: dict[str, bool]) -> tuple[Tensor, Tensor]:
    """One sum over all ranks a step: (the loss of the whole batch, () ; a count for each of FLAGS, how many ranks raise
    it). Both stay on the device, to be read when the next step is under way."""
    row = torch.cat([loss.detach().reshape(1).float() / layout.sizes[2],
                     torch.tensor([float(flags[name]) for name in FLAGS], device=loss.device)])  # fmt: skip
    if layout.world > 1:
        dist.all_reduce(row)
    return row[0], row[1:]


def decided(counts: Tensor | None) -> set[str]:
    """The flags that some rank raised."""
    return set() if counts is None else {name for name, n in zip(FLAGS, counts.tolist()) if n}


def some_rank(layout: Layout, raised: bool) -> bool:
    """Whether a rank raises this flag; all have to ask."""
    if layout.world == 1:
        return raised
    count = torch.tensor(float(raised), device=layout.device)
    dist.all_reduce(count)
    return count.item() > 0


def fingerprint(tensors: list[Tensor]) -> int:
    """A checksum of fp32 tensors: their words, added up as integers. A single bit that differs changes it."""
    total = 0
    for t in tensors:
        total = (total * 31 + int(t.detach().contiguous().view(torch.int32).sum(dtype=torch.int64))) % (1 << 62)
    return total


def check_copies(model: GPT, layout: Layout, step: int) -> None:
    """Raise if ranks that should hold the same weights do not, naming those outside the largest group of equals."""
    if layout.world == 1:
        return
    prints = gathered(layout, (layout.place, fingerprint([local_piece(p) for p in model.parameters()])))
    by_place: dict[tuple, dict[int, list[int]]] = {}
    for rank, (place, found) in enumerate(prints):
        by_place.setdefault(tuple(place[1:]), {}).setdefault(found, []).append(rank)
    for found in by_place.values():
        if len(found) > 1:
            *odd, most = sorted(found.values(), key=len)
            tie = len(odd[-1]) == len(most)  # of two, nobody can tell which one is right
            names = ", ".join(str(rank) for ranks in odd + [most] * tie for rank in ranks)
            what = "hold different weights" if tie else "holds other weights than its copies"
            raise RuntimeError(f"at step {step} rank {names} {what}: a memory error, or code that is not the same "
                               f"everywhere")  # fmt: skip


def name_stragglers(layout: Layout, waited: float, say: Callable[[str], None]) -> None:
    """Compare a small product of matrices, timed on each rank alone, and the seconds that each has waited for its data;
    say which rank is much slower than the middle one, since all others wait for it."""
    if layout.world == 1:
        return
    everyone = gathered(layout, (quick_product(layout.device), waited))
    if not layout.leads:
        return
    for what, times, least in (("computes", [a for a, _ in everyone], 0.0),
                               ("waits for its data", [b for _, b in everyone], 0.5)):  # fmt: skip
        middle = sorted(times)[(len(times) - 1) // 2]
        for rank, seconds in enumerate(times):
            if seconds > max(2 * middle, least):
                say(f"rank {rank} {what} {seconds / max(middle, 1e-9):.1f} times as long as the middle one: all wait "
                    f"for it")  # fmt: skip


def quick_product(device: str) -> float:
    """Seconds of the best of five products of small matrices on this rank's device."""
    a, best = torch.ones(384, 384, device=device), math.inf
    for _ in range(5):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return best


class StallWatch:
    """Ends this process when no step has finished for `patience` seconds, and says which ranks have not come so far.

    A collective that hangs would else hold all ranks for as long as somebody pays. Each rank leaves the number of its
    step in the store; a thread looks at the clock. Until the second step is done, MEET is the limit.
    """

    def __init__(self, layout: Layout, patience: float):
        self.layout, self.patience, self.step, self.steps_here = layout, patience, 0, 0
        self.since, self.doing, self.over = time.monotonic(), "start", threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        if layout.world > 1:
            self.thread.start()

    def beat(self, step: int, doing: str = "train") -> None:
        """Step `step` begins, or something else that takes its time."""
        if self.layout.world == 1:
            return
        self.step, self.doing, self.since, self.steps_here = step, doing, time.monotonic(), self.steps_here + 1
        self.layout.store.set(f"beat/{self.layout.rank}", json.dumps([step, doing]))

    def look(self) -> None:
        while not self.over.wait(min(1.0, self.patience / 4)):
            limit = self.patience if self.steps_here > 2 else MEET.total_seconds()
            if time.monotonic() - self.since > limit:
                print(self.verdict(limit), flush=True)
                os._exit(1)  # torchrun sees a rank that failed, and starts all of them again

    def verdict(self, limit: float) -> str:
        behind = []
        for rank in range(self.layout.world):
            with ExitStack():
                key = f"beat/{rank}"
                found = json.loads(self.layout.store.get(key)) if self.layout.store.check([key]) else [0, "start"]
                if found[0] < self.step or (found[0] == self.step and found[1] != self.doing):
                    behind.append(f"rank {rank} at step {found[0]} ({found[1]})")
        who = "; ".join(behind) or "no rank: all have come as far, so it is the network"
        return (f"minigpt: rank {self.layout.rank} has waited {limit:.0f} s in step {self.step} ({self.doing}). "
                f"Behind: {who}.")  # fmt: skip

    def close(self) -> None:
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()

