"""The training loop, as functions that a notebook can call one by one.

    t = setup(config)                       # data, model, optimizers; or all of them from a checkpoint
    while t.step < t.steps:
        batch = next_batch(t)
        loss = forward_backward(t, batch)
        norm = optimizer_step(t)
        t.step += 1
        evaluate_step(t)                    # whenever you like
        save(t)

`pretrain(config)` is this loop with a progress bar, a time limit, samples, and a report. Two runs with equal `model`,
`data` and `optim` walk through the same numbers: the batch is a function of the step, the learning rate is a function
of the step, and the random numbers of dropout are a function of the step, so that nothing but tensors and the step has
to be saved.

Under torchrun every rank runs the same functions; `parallel` says what each holds. Rank 0 writes the files and speaks.
"""
import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from . import __version__, checkpoint, mirror, parallel, report
from .accounting import largest_micro_batch, parameters, training_flops
from .config import ModelConfig, OptimConfig, RunConfig, UserError, check_reference, reference
from .evaluate import compressors, per_domain, to_bpb
from .files import write_atomic
from .sampling import generate
from .model import GPT
from .optim import build_optimizers, first_decay_step, learning_rate
from .parallel import Layout, local_piece, together
from .precision import Policy, be_deterministic, choose, isolate_compile_cache
from .prepare import check_vocabulary, open_data, prepare
from .probes import Item, item_tokens, probe, read_items
from .report import read_json, read_metrics
from .shards import Shards, check_tokenizer
from .tokenizer import Tokenizer

FLOPS_GUESS = 2e11
"""What a laptop computes in a second, to tell a run of seconds from one of hours before anything is measured."""
STATUS_EVERY = 10.0
"""Seconds between two writings of status.json."""
REHEARSAL = 8
"""Steps of the rehearsal that a time limit or an accelerator asks for; the first pays for compiling and is not
counted."""


class Diverged(Exception):
    """Training produced too many losses or gradients in a row that are not finite."""


class Interrupted(Exception):
    """A rank was asked to stop while all of them evaluated: there is no time to finish that."""


@dataclass
class Batch:
    """One optimizer step's tokens: micro-batches of (inputs, targets), each (micro_batch, T) int64, and the number of
    targets that count in the whole batch, on all ranks, by which the loss is divided."""

    step: int
    micro: list[tuple[Tensor, Tensor]]
    valid: int


@dataclass
class Training:
    """All that a step needs. The functions of this module move it forward."""

    config: RunConfig
    out: Path
    policy: Policy
    tokenizer: Tokenizer
    data: Shards
    val: Shards
    model: GPT
    forward: Callable
    """The model, compiled if the policy says so; evaluation and sampling use `model`."""
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    started: float
    micro_batch: int = 1
    steps: int = 0
    decay_start: int = 0
    step: int = 0
    """Optimizer steps done."""
    reserve: float = 2.0
    """Seconds of a time or cost limit to keep for the final evaluation and the report."""
    seconds_before: float = 0.0
    """Seconds that earlier starts of this run took."""
    skipped: Tensor | None = None
    """() fp32 on the device: steps in a row that were skipped because something was not finite."""
    batches: Any = None
    waited: float = 0.0
    """Seconds that this rank has waited for its data since its speed was last compared."""
    above: int = 0
    """Evaluations in a row that lay above the preset's published curve, by more than --stop-above."""
    layout: Layout = field(default_factory=Layout)
    saver: ThreadPoolExecutor | None = None
    """With ranks, the thread in which a checkpoint is written while training goes on."""
    saving: Future | None = None
    copies: dict[str, Tensor] = field(default_factory=dict)
    """What that thread writes."""
    choices: dict[str, tuple[list[Item], list]] = field(default_factory=dict)
    """Questions to ask during training, and their tokens, by the name of their file."""
    stop: Callable[[], bool] = lambda: False
    """Whether this process was asked to stop."""
    watch: parallel.StallWatch | None = None
    owed: bool = False
    """Whether the next start is to begin with the evaluation that follows step `step`: it was interrupted, or decides
    that the run ends there."""

    @property
    def pieces(self) -> list[tuple[Tensor, Tensor]]:
        """(parameter, what of it this rank holds and its optimizers move); one and the same tensor without shards."""
        if self.layout.mode != "none":
            return [(p, local_piece(p)) for p in self.model.parameters()]
        return [(p, p) for o in self.optimizers for group in o.param_groups for p in group["params"]]

    @property
    def sequences(self) -> int:
        """In a batch, over all ranks."""
        return self.config.optim.batch_tokens // self.config.model.context

    @property
    def rows(self) -> int:
        """In a batch, of this rank."""
        return self.sequences // self.layout.data_world

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, over all starts."""
        return self.seconds_before + time.perf_counter() - self.started


# ---- set-up ----------------------------------------------------------------------------------------------------------


def setup(config: RunConfig, started: float | None = None, say: Callable[[str], None] = print,
          layout: Layout = Layout()) -> Training:  # fmt: skip
    """Everything before the first step: data, model, optimizers, horizon; on resume, from the newest checkpoint."""
    started = time.perf_counter() if started is None else started
    out = Path(config.train.out)
    folder = Path(config.data.data or out / "data")
    with together(layout):
        earlier_seconds = Run(out).status.get("seconds", 0.0)
        if layout.leads:
            earlier = open_run_folder(out, config.train.resume)
            if earlier is not None:
                refuse_changes(earlier, config)
            if not config.data.data:
                prepare(config.data, folder, config.model.vocab_size, say=say)
    with together(layout):
        if not layout.leads and not any((out / name).exists() for name in ("status.json", "config.json")):
            raise UserError(f"{out} is not the folder that rank 0 sees: all hosts need one disk for --out.")
        tokenizer, manifest = open_data(folder)
        if layout.leads and earlier is not None:
            check_tokenizer(manifest, Run(out).tokenizer)
        elif layout.leads:
            tokenizer.save(out / "tokenizer" / "tokenizer.json")
        if config.data.data:  # else the vocabulary is one of its own text
            check_vocabulary(config, manifest)
        config = replace(config, model=replace(config.model, vocab_size=tokenizer.vocab_size))
        parallel.mesh_sizes(config.train, config.model, layout.world)  # the vocabulary is known only now
        check_reference(config)
        context = config.model.context
        if config.optim.batch_tokens % context:
            raise UserError(f"batch_tokens {config.optim.batch_tokens} must be a multiple of the context, {context}.")
        data, val = (Shards.open(folder, split, context=context) for split in ("train", "val"))
        choices = {Path(file).stem: (items := read_items("choices", file), item_tokens(tokenizer, items, context))
                   for file in config.train.choices}  # fmt: skip
        found = None
        if config.train.resume and layout.leads:
            found = checkpoint.find_latest(out / "checkpoints", warn=say)
        policy = choose(keep_choices(config, found), expected_seconds(config), config.model) if layout.leads else None
    parallel.must_agree(layout, torch=torch.__version__, minigpt=__version__, data=json.dumps(manifest, sort_keys=True),
                        config=json.dumps(dataclasses.asdict(replace(config, train=None)), sort_keys=True))  # fmt: skip
    found = parallel.from_leader(layout, found)
    policy = parallel.from_leader(layout, policy)
    policy = replace(policy, device=layout.device or policy.device)
    if policy.compile:
        isolate_compile_cache()
    say("; ".join([*policy.reasons, str(layout)] if layout.world > 1 else policy.reasons))
    be_deterministic(policy.device)
    with torch.device("meta"):
        model = GPT(config.model)
    policy.to_float8(model)
    options = dict(compile=policy.compile, activations=config.train.activations, precision=policy.precision)
    forward = parallel.parallelize(model, layout, **options)
    parallel.fill_weights(model, config.optim.seed, policy.device)
    if layout.mode == "ddp":
        forward = parallel.replicate(model, layout)
    with together(layout):
        if config.optim.start_from and found is None:
            put_weights(model, start_weights(config.optim.start_from, config.model, tokenizer))
    t = Training(
        config, out, policy, tokenizer, data, val, model, forward=forward,
        optimizers=make_optimizers(model, config.optim, layout), started=started,
        scaler=policy.grad_scaler(parallel.pieces_group(layout)), skipped=torch.zeros((), device=policy.device),
        layout=layout, choices=choices, saver=ThreadPoolExecutor(1, "save") if layout.mode != "none" else None,
    )  # fmt: skip
    t.micro_batch = min(parallel.gathered(layout, pick_micro_batch(t)))
    if found is not None:
        restore(t, *found)
    t.seconds_before = max(t.seconds_before, earlier_seconds)  # what was done after that checkpoint was paid for, too
    needs_horizon = not t.steps
    if needs_horizon:
        t.steps = config.optim.steps or -(-config.optim.tokens // config.optim.batch_tokens)
    if config.train.time_limit or t.policy.device != "cpu" or config.train.price:
        fit_to_machine(t, needs_horizon, say)
    if not t.steps:
        raise UserError("how long to train? Give --steps, --tokens or --time-limit.")
    if needs_horizon:
        t.decay_start = first_decay_step(t.steps, config.optim)
    t.batches = loader(t)
    if layout.leads:
        write_atomic(out / "config.json", config.to_json())  # last: what was refused until here is not a run yet
    return t


def loader(t: Training):
    """This rank's rows of every batch from step t.step on, read ahead."""
    return t.data.loader(t.config.optim.seed, t.step, t.sequences, t.layout.data_rank, t.layout.data_world)


def make_optimizers(model: GPT, config: OptimConfig, layout: Layout) -> list[torch.optim.Optimizer]:
    """As `build_optimizers`, for the pieces that this rank holds."""
    if layout.mode == "none":
        return build_optimizers(model, config)
    whole = {local_piece(p): p for p in model.parameters()}
    return build_optimizers(model, config, local_piece, partial(parallel.SharedMuon, whole=whole, layout=layout))


def open_run_folder(out: Path, resume: bool) -> RunConfig | None:
    """Create the run folder, or check that continuing in it was meant. Returns the config that is in it, if any."""
    file = out / "config.json"
    if file.exists():
        if not resume:
            raise UserError(f"there is already a run in {out}: add --resume to continue it, or choose another --out.")
        return RunConfig.from_json(file.read_text())
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "status.json", '{"status": "running", "retry": true}\n')
    except OSError as error:
        raise UserError(f"cannot write to the run folder {out} ({error.strerror}): choose another --out.") from None
    return None


HORIZON = ("steps", "tokens")
CHECKED_ELSEWHERE = (*HORIZON, "vocab_size")  # the tokenizer decides the size, and has a check of its own


def longer(before: OptimConfig, now: OptimConfig) -> bool:
    """Whether the length of the run was changed."""
    return any(getattr(before, f) != getattr(now, f) for f in HORIZON)


def refuse_changes(earlier: RunConfig, now: RunConfig) -> None:
    """On resume, whatever defines the result must be as it was; the horizon has a rule of its own in `restore`."""
    for part in ("model", "data", "optim"):
        before, after = getattr(earlier, part), getattr(now, part)
        for f in dataclasses.fields(before):
            a, b = getattr(before, f.name), getattr(after, f.name)
            if a != b and f.name not in CHECKED_ELSEWHERE:
                raise UserError(f"--resume cannot change {part}.{f.name} from {a!r} to {b!r}: use another --out.")


def keep_choices(config: RunConfig, found):
    """What `auto` chose at the first start stays, so that a resumed run computes as it did."""
    if found is None:
        return config.train
    chosen = {k: v for k, v in found[1]["chosen"].items() if getattr(config.train, k) == "auto"}
    return replace(config.train, **chosen)


def expected_seconds(config: RunConfig) -> float:
    """A guess at the length of the run, only to decide what is worth probing."""
    tokens = config.optim.steps * config.optim.batch_tokens or config.optim.tokens or math.inf
    return min(training_flops(config.model, tokens) / FLOPS_GUESS, config.train.time_limit or math.inf)


def start_weights(name: str, model: ModelConfig, tokenizer: Tokenizer) -> dict[str, Tensor]:
    """The weights of RUN or RUN@STEP, which must have been trained with the same tokenizer and shape."""
    run, _, step = name.partition("@")
    if Run.load(run).tokenizer.hash != tokenizer.hash or Run.load(run).config.model != model:
        raise UserError(f"{run} has another tokenizer or shape: add --tokenizer {run} and the flags of its model.")
    folder = Path(run) / "checkpoints"
    loaded = checkpoint.load_checkpoint(folder / f"step_{step:>06}") if step else checkpoint.load_latest(folder)
    if loaded is None:
        raise UserError(f"there is no checkpoint in {folder} to start from.")
    return loaded[0]


def put_weights(model: GPT, tensors: dict[str, Tensor]) -> None:
    """Copy whole weights `model.<name>` into a model, each rank its pieces."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            local_piece(p).copy_(parallel.own_piece(tensors[f"model.{name}"].to(p.device), p))


def pick_micro_batch(t: Training) -> int:
    """Sequences in one forward pass: as asked, or the most that the memory formula allows; divides the batch."""
    wanted = t.config.train.micro_batch
    if wanted == "auto":
        if t.policy.device.startswith("cuda"):
            free = torch.cuda.mem_get_info(t.policy.device)[0]
        else:
            free = parallel.physical_memory() // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        wanted = largest_micro_batch(t.config.model, free, t.policy.precision, t.config.optim.optimizer,
                                     math.prod(t.layout.sizes[1:]))  # fmt: skip
    return max(n for n in range(1, t.rows + 1) if t.rows % n == 0 and n <= max(1, wanted))


def fit_to_machine(t: Training, needs_horizon: bool, say: Callable[[str], None]) -> None:
    """Rehearse a few steps: halve the micro-batch until it fits in memory, and turn a time limit into a number of
    steps.

    The rehearsal runs real steps at learning rate 0 and then forgets the optimizer's state, so it leaves no trace.
    """
    while True:
        try:
            step_seconds, eval_seconds = rehearse(t)
            break
        except torch.cuda.OutOfMemoryError:
            if t.layout.world > 1:  # the others now wait in a collective that this rank has left
                raise UserError(f"{t.micro_batch} sequences at once do not fit into the GPU: give a smaller "
                                "--micro-batch, more shards, or --activations selective.") from None  # fmt: skip
            if t.micro_batch == 1:
                raise UserError("one sequence does not fit into the GPU: use a smaller model or context.") from None
            t.micro_batch = max(n for n in range(1, t.micro_batch // 2 + 1) if t.rows % n == 0)
            torch.cuda.empty_cache()
            say(f"out of memory: trying {t.micro_batch} sequences at once")
    c, context = t.config.train, t.config.model.context
    evaluation = eval_seconds * min(t.val.windows * context, c.eval_tokens)
    t.reserve += max(parallel.gathered(t.layout, eval_seconds * t.val.windows * context))
    if c.max_cost and (cost := t.reserve / 3600 * c.price) > c.max_cost:
        raise UserError(f"the final evaluation alone would cost about ${cost:,.2f}: raise --max-cost or hold out less.")
    if not (needs_horizon and c.time_limit):
        return say(forecast(t, step_seconds))
    left = c.time_limit - t.reserve - (time.perf_counter() - t.started)
    if c.eval_every:
        step_seconds += evaluation / c.eval_every
    else:
        left -= 20 * evaluation
    affordable = max(1, int(0.92 * left / step_seconds))  # 8 % for a machine that slows down
    affordable = min(parallel.gathered(t.layout, affordable))
    t.steps = min(t.steps, affordable) if t.steps else affordable
    say(f"{step_seconds:.3f} s a step: {t.steps:,} steps fit into the time limit")
    if c.price:
        say(forecast(t, step_seconds))


def forecast(t: Training, step_seconds: float) -> str:
    """What is to come, from a measured step."""
    seconds = (t.steps - t.step) * step_seconds
    price = f" and ${seconds / 3600 * t.config.train.price:,.2f}" if t.config.train.price else ""
    return (f"measured: {t.config.optim.batch_tokens / step_seconds:,.0f} tokens a second; {t.steps - t.step:,} steps "
            f"take {report.duration(seconds)}{price}, evaluations and checkpoints not counted")  # fmt: skip


def rehearse(t: Training) -> tuple[float, float]:
    """(seconds a step, seconds an evaluated token), measured on the first batch without changing a weight.

    The quickest step counts: should another program be busy just now, the whole run need not be planned for that.
    """
    batches, t.batches = t.batches, loader(t)
    saved, scaler = [(o, deepcopy(o.state_dict())) for o in t.optimizers if o.state], t.scaler.state_dict()
    batch, times = next_batch(t), []
    t.batches.close()
    t.batches = batches
    for _ in range(REHEARSAL):
        start = time.perf_counter()
        forward_backward(t, batch)
        optimizer_step(t, rate=0.0).item()  # reading a number waits for the device
        times.append(time.perf_counter() - start)
    for optimizer in t.optimizers:
        optimizer.state.clear()
    for optimizer, state in saved:
        optimizer.load_state_dict(state)
    t.scaler.load_state_dict(scaler)
    evaluate_step(t, 4096)  # the first is slow
    start = time.perf_counter()
    evaluate_step(t, 4096)
    return min(times[1:]), (time.perf_counter() - start) / min(4096, t.val.windows * t.config.model.context)


# ---- one step --------------------------------------------------------------------------------------------------------


def next_batch(t: Training) -> Batch:
    """The tokens of step t.step, on the device; a thread has read them ahead."""
    start = time.perf_counter()
    step, inputs, targets = next(t.batches)
    t.waited += time.perf_counter() - start
    valid = t.data.targets(t.data.batch(t.config.optim.seed, step, t.sequences))

    def to_device(array):
        tensor = torch.from_numpy(array)
        if t.policy.device.startswith("cuda"):
            tensor = tensor.pin_memory()  # so that the copy does not stop the host
        return tensor.to(t.policy.device, non_blocking=True).split(t.micro_batch)

    return Batch(step, list(zip(to_device(inputs), to_device(targets))), valid)


def forward_backward(t: Training, batch: Batch) -> Tensor:
    """Accumulate the gradients of the batch's mean loss; returns this rank's share of that loss, () fp32 on the device:
    the shares of all ranks add up to it.

    Each micro-batch contributes its *sum*, divided by the number of valid targets in the whole batch. Averaging the
    averages of micro-batches, or of ranks, would weigh a token by how few valid ones share its micro-batch.
    """
    if t.config.model.dropout:
        torch.manual_seed((t.config.optim.seed * 1_000_003 + batch.step) * t.layout.data_world + t.layout.data_rank)
    t.model.train()
    total = torch.zeros((), device=t.policy.device)
    for number, (inputs, targets) in enumerate(batch.micro, 1):
        last = number == len(batch.micro)
        with (parallel.micro_step(t.forward, t.layout, last, t.config.train.accumulate_unsharded),
              t.policy.attends()):  # fmt: skip
            with t.policy.autocast():
                loss = t.forward(inputs, targets, reduction="sum") / batch.valid
            parallel.backward_pass(t.scaler.scale(loss), t.layout)
        total += loss.detach()
    parallel.hand_over(t.pieces)
    return total


def optimizer_step(t: Training, rate: float | None = None) -> Tensor:
    """Clip, set the learning rate of step t.step (or `rate` times the peak), and update; returns the gradient norm, ().

    A gradient that is not finite leaves weights and optimizer as they are. The decision stays on the device, in the
    `found_inf` that torch's fused AdamW and our Muon understand, so that the host does not wait for it.
    """
    for optimizer in t.optimizers:
        t.scaler.unscale_(optimizer)
    norm = parallel.gradient_norm([(local.grad, parallel.copies_of(p, t.layout)) for p, local in t.pieces], t.layout)
    if t.config.optim.clip:
        torch.nn.utils.clip_grads_with_norm_([local for _, local in t.pieces], t.config.optim.clip, norm)
    found_inf = 1 - torch.isfinite(norm).float()
    if rate is None:
        rate = learning_rate(t.step, t.steps, t.config.optim, t.decay_start)
        t.skipped = (t.skipped + 1) * found_inf
    for optimizer in t.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        optimizer.found_inf, optimizer.grad_scale = found_inf, None
        optimizer.step()
        optimizer.zero_grad()
    if t.scaler.is_enabled():
        t.scaler.update()
    return norm


def evaluate_step(t: Training, most_tokens: int | None = None) -> dict[str, float]:
    """Bits per byte on held-out text: {"val_bpb": …, "val_loss": nats per token}, on at most `most_tokens` of it.

    The windows are spread evenly over the held-out text and are the same ones every time.
    """
    return total(evaluate_domains(t, most_tokens))


def evaluate_domains(t: Training, most_tokens: int | None = None) -> dict[str, dict]:
    """The same by domain: {domain: {"nats": …, "bytes": …, "tokens": …}}."""
    count = t.val.windows if most_tokens is None else min(t.val.windows, max(1, most_tokens // t.config.model.context))
    windows = [i * t.val.windows // count for i in range(count)]
    mine, rows = parallel.own_windows(windows, t.layout), max(1, 8192 // t.config.model.context)

    def read(group):
        alive(t, "evaluate")
        inputs, targets = t.val.read([max(w, 0) for w in group])
        targets[[w < 0 for w in group]] = -100
        return t.val.domains([max(w, 0) for w in group]), inputs, targets

    # by_parts: FSDP would keep the weights of the root whole after a forward without a backward, and save needs pieces
    with t.policy.autocast(), parallel.eager(t.layout), parallel.by_parts(t.model, t.layout):
        groups = (read(mine[i : i + rows]) for i in range(0, len(mine), rows))
        found = per_domain(t.model, groups, t.tokenizer.token_bytes)
    return parallel.add_up(found, sorted(set(t.val.domains(windows))), t.layout)


def choices_step(t: Training) -> dict[str, dict]:
    """Ask the multiple-choice questions of --choices: {file's name: {"accuracy", "interval", "chance", "items", …}}."""
    found = {}
    with t.policy.autocast(), parallel.eager(t.layout), parallel.by_parts(t.model, t.layout):
        for name, (items, rows) in t.choices.items():
            each = partial(alive, t, f"choices {name}")
            found[name] = probe(t.model, t.tokenizer, "choices", items, t.layout, rows, each)
    return {name: {key: value for key, value in row.items() if key != "groups"} for name, row in found.items()}


def alive(t: Training, doing: str) -> None:
    """Tell the other ranks, now and then in what may take long, that this one is at work. All call it equally often;
    Interrupted, on all of them, if one was asked to stop."""
    if t.watch is not None:
        t.watch.beat(t.step, doing)
    if parallel.some_rank(t.layout, t.stop()):
        raise Interrupted


def total(domains: dict[str, dict]) -> dict[str, float]:
    nats, size, tokens = (sum(counts[key] for counts in domains.values()) for key in ("nats", "bytes", "tokens"))
    return {"val_bpb": to_bpb(nats, size), "val_loss": nats / tokens}


def compress_domains(t: Training) -> dict[str, dict[str, float]]:
    """Bits per byte of gzip and xz on the same held-out bytes, by domain and for "all" of it; for up to 20 MB of it."""
    texts: dict[str, bytes] = {}
    splits = t.val.manifest["splits"]["val"]
    for index, shard in enumerate(splits["shards"] if splits["bytes"] <= 20e6 else []):
        ids = t.val.tokens(index)
        texts[shard["domain"]] = texts.get(shard["domain"], b"") + t.tokenizer.decode_bytes(ids[ids != t.tokenizer.eot])
    if len(texts) > 1:
        texts["all"] = b"".join(texts.values())
    return {domain: compressors(data) for domain, data in texts.items()}


def sample_step(t: Training, tokens: int = 120) -> str:
    """A piece of text as the model writes it now; the same random numbers every time, so that samples compare."""
    if t.layout.sizes[2] > 1:
        return "(no samples while each layer is spread over ranks: sample the finished run)"
    prompt = [t.tokenizer.eot, *t.tokenizer.encode(t.config.train.prompt)]
    with t.policy.autocast(), parallel.eager(t.layout), parallel.by_parts(t.model, t.layout):
        new = generate(t.model, [prompt], max_tokens=tokens, temperature=0.8, top_p=0.95, seed=t.config.optim.seed,
                       stop_tokens=[t.tokenizer.eot])  # fmt: skip
    return t.config.train.prompt + t.tokenizer.decode(new[0])


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def save(t: Training, wait: bool = True) -> Path:
    """Write a checkpoint of step t.step: all tensors, and in state.json all that is not a tensor.

    With ranks the tensors are copied, and written in a thread; `wait=False` returns at once. What goes wrong there
    is raised by the next save.
    """
    names = {id(local_piece(p)): (name, p) for name, p in t.model.named_parameters()}
    tensors = {f"model.{name}": p.detach() for name, p in t.model.named_parameters()}
    for optimizer in t.optimizers:
        for local, slots in optimizer.state.items():
            name, p = names[id(local)]
            tensors |= {f"optim.{name}.{slot}": parallel.as_whole(value, p) for slot, value in slots.items()}
    state = {
        "step": t.step, "steps": t.steps, "decay_start": t.decay_start, "seconds": t.seconds,
        "owed": t.owed, "skipped": float(t.skipped), "scaler": t.scaler.state_dict(), "data": data_hashes(t),
        "chosen": {"precision": t.policy.precision, "compile": "on" if t.policy.compile else "off"},
        "config": dataclasses.asdict(t.config),
    }  # fmt: skip
    folder, keep = t.out / "checkpoints", t.config.train.keep
    if t.layout.mode == "none":
        return checkpoint.save_checkpoint(folder, tensors, state, keep)
    saved(t)  # one at a time
    parallel.check_copies(t.model, t.layout, t.step)
    t.copies = {name: parallel.copy_to_cpu(tensor, t.copies.get(name)) for name, tensor in tensors.items()}
    t.saving = t.saver.submit(checkpoint.save_pieces, folder, t.copies, state, keep, t.layout.groups["save"])
    return saved(t) if wait else checkpoint.names_of(folder, state)[0]


def saved(t: Training) -> Path | None:
    """Wait for the checkpoint that is being written, if one is; OSError on all ranks if it could not be."""
    saving, t.saving = t.saving, None
    if saving is None:
        return None
    while t.watch is not None and wait([saving], timeout=1).not_done:
        t.watch.beat(t.step, "save")
    return saving.result()


def data_hashes(t: Training) -> list[str]:
    """What identifies the training tokens."""
    return [shard["sha256"] for shard in t.data.manifest["splits"]["train"]["shards"]]


def restore(t: Training, path: Path, state: dict) -> None:
    """Put a checkpoint back: weights, optimizer, step, horizon. Each rank reads its own pieces, whatever the layout was
    in which they were written."""
    named = dict(t.model.named_parameters())
    owner = {id(p): o for o in t.optimizers for group in o.param_groups for p in group["params"]}
    tensors = {f"model.{name}": p.detach() for name, p in named.items()}
    for key, shape, dtype in checkpoint.contents(path):
        if key.startswith("optim."):
            name, _, slot = key.removeprefix("optim.").rpartition(".")
            p, local = named[name], local_piece(named[name])
            like_p = shape == p.shape
            value = torch.zeros_like(local) if like_p else torch.zeros(shape, dtype=dtype, device=local.device)
            owner[id(local)].state.setdefault(local, {})[slot] = value
            tensors[key] = parallel.as_whole(value, p)
    checkpoint.read_into(path, tensors, t.layout.groups.get("save"))
    if state["data"] != data_hashes(t):
        raise UserError(f"--resume cannot change the data: {t.data.folder} holds other tokens than before.")
    if state["scaler"]:  # empty where it trained in another precision
        t.scaler.load_state_dict(state["scaler"])
    t.step, t.steps, t.decay_start = state["step"], state["steps"], state["decay_start"]
    t.owed = state.get("owed", False)
    t.seconds_before, t.skipped = state["seconds"], torch.tensor(state["skipped"], device=t.policy.device)
    now = t.config.optim
    if longer(RunConfig.from_json(json.dumps(state["config"])).optim, now):
        if t.step > t.decay_start:
            raise UserError(f"--resume cannot change the length of a run after its decay began (step {t.decay_start}).")
        t.steps = now.steps or -(-now.tokens // now.batch_tokens)
        t.decay_start = first_decay_step(t.steps, now)


def model_weights(tensors: dict[str, Tensor], model: GPT) -> dict[str, Tensor]:
    """The model's part of a checkpoint, as load_state_dict wants it (a tied head is stored once)."""
    weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    if model.config.tied:
        weights["head.weight"] = weights["embed.weight"]
    return weights


# ---- the loop --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run folder, opened for reading."""

    folder: Path

    @staticmethod
    def load(folder: str | Path) -> "Run":
        folder = Path(folder)
        if not (folder / "config.json").exists():
            raise UserError(f"{folder} is not a run folder: it has no config.json.")
        return Run(folder)

    @cached_property
    def config(self) -> RunConfig:
        return RunConfig.from_json((self.folder / "config.json").read_text())

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.folder / "tokenizer" / "tokenizer.json")

    @cached_property
    def model(self) -> GPT:
        """The newest checkpoint's weights, on the CPU, in evaluation mode."""
        loaded = checkpoint.load_latest(self.folder / "checkpoints")
        if loaded is None:
            raise UserError(f"there is no checkpoint in {self.folder} yet.")
        model = GPT(self.config.model)
        model.load_state_dict(model_weights(loaded[0], model))
        return model.eval()

    @cached_property
    def metrics(self) -> list[dict]:
        """The lines of metrics.jsonl."""
        return read_metrics(self.folder / "metrics.jsonl")

    @cached_property
    def summary(self) -> dict:
        """summary.json; a UserError while the run is not finished."""
        if not (self.folder / "summary.json").exists():
            raise UserError(f"the run in {self.folder} is not finished: continue it with --resume.")
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def status(self) -> dict:
        return read_json(self.folder / "status.json", {})


class Metrics:
    """Appends lines to metrics.jsonl. Numbers that are still on the device are read one step late, so that reading them
    does not make the host wait for the step that it has just started."""

    def __init__(self, t: Training):
        self.file, self.last, self.pending, self.writes = t.out / "metrics.jsonl", {}, None, t.layout.leads
        if not self.writes:
            return
        rows = [row for row in read_metrics(self.file) if row["step"] <= t.step and not row.get("final")]
        if t.owed:  # an earlier start has made up for it, and was killed before it could save
            rows = [row for row in rows if row["step"] < t.step or "train_loss" in row]
        write_atomic(self.file, "".join(json.dumps(row) + "\n" for row in rows))

    def log(self, row: dict | None) -> dict:
        """Write the row that waited, and let this one wait; returns the last row written."""
        if self.pending is not None:
            self.last = {k: float(v) if isinstance(v, Tensor) else v for k, v in self.pending.items()}
            self.write(self.last)
        self.pending = row
        return self.last

    def write(self, row: dict) -> None:
        if not self.writes:
            return
        with suppress(OSError), open(self.file, "a", encoding="utf-8") as file:  # a full disk: see try_to_save
            file.write(json.dumps(row) + "\n")


def pretrain(config: RunConfig, stop: Callable[[], bool] | None = None, *, started: float | None = None,
             say: Callable[[str], None] = print) -> Run:  # fmt: skip
    """Train until the horizon, a limit, or `stop()` returns True; leaves a run folder and returns it.

    `stop` is asked once a step, and now and then during an evaluation. `status.json` in the folder says how it ended:
    done; preempted (saved, run the same command again); failed, with the reason. Raises UserError, or Diverged after
    too many steps that were not finite.
    """
    try:
        layout = parallel.join_ranks(config.train, config.model, say)
    except UserError as error:
        report.refused(config.train.out, config.train.resume, error)
        raise
    try:
        return pretrain_rank(config, layout, stop, started, say if layout.leads else lambda sentence: None)
    finally:
        parallel.leave(layout)


def pretrain_rank(config: RunConfig, layout: Layout, stop, started, say) -> Run:
    """`pretrain`, for a rank that has met the others."""
    out = Path(parallel.from_leader(layout, config.train.out or time.strftime("runs/%Y-%m-%d_%H-%M-%S")))
    config = replace(config, train=replace(config.train, out=str(out)))
    run = Run(out)
    with together(layout):
        if config.train.mirror and layout.leads:
            mirror.bring_back(out, config.train.mirror, config.train.resume, say)
    if config.train.resume and run.status.get("status") == "done" and not longer(run.config.optim, config.optim):
        refuse_changes(run.config, config)
        say(f"the run in {out} is complete.")
        return run
    try:
        t = setup(config, started, say, layout)
    except UserError as error:
        report.refused(out, config.train.resume, error)
        raise
    write_status(t, "running", retry=True)  # what stays if this process is killed
    say(f"training {out}: {t.steps - t.step:,} steps of {t.config.optim.batch_tokens:,} tokens")
    if curve := reference(t.config):
        say(f"for comparison: {curve}")
    t.stop, t.watch = stop or t.stop, parallel.StallWatch(layout, config.train.stall)
    c = config.train
    copying = mirror.Mirror(out, c.mirror, c.keep) if c.mirror and layout.leads else None
    try:
        record_start(t)
        reason = loop(t, say)
        try:
            if reason != "interrupted":
                finish(t, reason)
        except Interrupted:  # all is saved, and the next start comes to this point again
            reason = "interrupted"
        finished = reason in (None, "target")
        write_status(t, "done" if finished else "preempted", reason or "", not finished and reason != "cost limit")
        if not finished:
            say(f"stopped at step {t.step:,} of {t.steps:,} ({reason}), saved; to go on: --out {out} --resume")
    except BaseException as error:
        retry = not isinstance(error, (UserError, Diverged))
        write_status(t, "failed", f"{type(error).__name__}: {error}", retry)
        if layout.world > 1 and isinstance(error, UserError):  # found by this rank alone: it must not end quietly
            raise RuntimeError(f"rank {layout.rank}: {error}") from error
        raise
    finally:
        t.watch.close()
        t.batches.close()
        if copying is not None:
            copying.finish(say)
    return run


def loop(t: Training, say: Callable[[str], None]) -> str | None:
    """Train; returns None at the horizon, else why it stopped. Saves before it returns.

    Ranks decide together: to stop and to save are flags in the one sum over ranks that each step makes, read when the
    next step is under way.
    """
    c, metrics, clock = t.config.train, Metrics(t), Clock(t)
    profile = start_profile(t, say)
    quiet = None if t.layout.leads else True
    bar = tqdm(total=t.steps, initial=t.step, unit="step", disable=quiet, dynamic_ncols=True)
    tell = bar.write if t.layout.leads else say
    saved_step, counts, alone = t.step or -1, None, t.layout.world == 1  # where it goes on it was saved
    reason = take_stock(t, metrics, tell) if t.owed else None
    while t.step < t.steps and reason is None:
        t.watch.beat(t.step)
        batch = next_batch(t)
        rate = learning_rate(t.step, t.steps, t.config.optim, t.decay_start)
        loss = forward_backward(t, batch)
        norm = optimizer_step(t)
        t.step += 1
        over = out_of_budget(t)
        due = clock.save_due(c.save_every)
        flags = {"interrupted": t.stop(), "time limit": over == "time limit", "cost limit": over == "cost limit",
                 "save": t.layout.leads and due}  # fmt: skip
        before = counts
        loss, counts = parallel.agree(t.layout, loss, flags)
        agreed = parallel.decided(counts if alone else before)
        if t.step % c.log_every == 0 or t.step == t.steps:
            row = metrics.log({
                "step": t.step, "tokens": t.step * t.config.optim.batch_tokens, "train_loss": loss,
                "lr": rate * t.config.optim.lr, "grad_norm": norm, "skipped": t.skipped,
                "seconds": round(t.seconds, 3), "tokens_per_second": clock.tokens_per_second(),
            })  # fmt: skip
            show_progress(t, bar, row)
            if row.get("skipped", 0) >= c.patience:
                raise Diverged(f"{c.patience} steps in a row were not finite: lower --lr and --matrix-lr, or use fp32")
            clock.tell_status()
        pause = time.perf_counter()
        t.watch.beat(t.step, "evaluate or save")
        if c.check_every and t.step % c.check_every == 0:
            parallel.check_copies(t.model, t.layout, t.step)
            parallel.name_stragglers(t.layout, t.waited, tell)
            t.waited = 0.0
        reason = take_stock(t, metrics, tell)
        if t.step < t.steps:
            reason = reason or next((flag for flag in parallel.FLAGS[:3] if flag in agreed), None)
        if (due if c.save_every.isdigit() else "save" in agreed) and t.step < t.steps and reason is None:
            metrics.log(None)  # a checkpoint of step s comes after every line of step s
            saved_step = try_to_save(t, tell, wait=False)
        if profile is not None:
            profile.step()
        clock.mark += time.perf_counter() - pause
    if profile is not None:
        profile.stop()
    metrics.log(None)
    bar.close()
    if saved_step != t.step:
        try_to_save(t, say)
    t.owed = False
    return reason


def take_stock(t: Training, metrics: Metrics, tell: Callable[[str], None]) -> str | None:
    """Evaluate, ask questions and write a sample, if step t.step is one after which they are due. Returns why training
    ends here, if it does: the target is reached, or an interruption, after which the next start begins with this."""
    c, last, rows, val, choices = t.config.train, t.step == t.steps, [], None, {}
    eval_every = c.eval_every or max(1, t.steps // 20)
    t.owed = True
    try:
        if t.step % eval_every == 0 and not last:
            rows.append(val := evaluate_step(t, c.eval_tokens))
        if t.choices and t.step % (c.choices_every or eval_every) == 0:
            rows.append({"choices": (choices := choices_step(t))})
        if c.samples and t.step % max(1, t.steps // c.samples) == 0 and not last:
            rows.append({"sample": sample_step(t)})
    except Interrupted:
        return "interrupted"
    t.owed = False
    if rows:
        metrics.log(None)
    for row in rows:
        metrics.write({"step": t.step, **row})
    for name, row in choices.items():
        tell(f"step {t.step:>6,}   {name} {row['accuracy']:.3f} (chance {row['chance']:.3f})")
    if val is None:
        return None
    tell(f"step {t.step:>6,}   val_bpb {val['val_bpb']:.4f}   {t.seconds:.0f} s")
    end_if_above(t, val["val_loss"], tell)
    t.owed = val["val_bpb"] <= c.target_bpb  # another start, after an interruption, is to find that as well
    return "target" if t.owed else None


def start_profile(t: Training, say: Callable[[str], None]):
    """torch's profiler for `--profile N` steps after three, or None. It writes trace.json (with many ranks one a rank),
    and says which operations took most of the device's time."""
    if not t.config.train.profile:
        return None
    from torch import profiler

    name = "trace.json" if t.layout.world == 1 else f"trace_rank{t.layout.rank}.json"

    def write(p):
        p.export_chrome_trace(str(t.out / name))
        key = "self_cuda_time_total" if t.policy.device.startswith("cuda") else "self_cpu_time_total"
        say(f"{p.key_averages().table(sort_by=key, row_limit=8, max_name_column_width=40)}\ntrace: {t.out / name}")

    plan = profiler.schedule(wait=2, warmup=1, active=t.config.train.profile, repeat=1)
    running = profiler.profile(schedule=plan, on_trace_ready=write)
    running.start()
    return running


class Clock:
    """Measures speed without the pauses for evaluation and saving, and tells when a checkpoint is due."""

    def __init__(self, t: Training):
        self.t, self.saved_step, self.step = t, t.step, t.step
        self.saved_at = self.told_at = self.mark = time.perf_counter()

    def tokens_per_second(self) -> float:
        """Since the last call; whoever pauses training moves `mark` by as much."""
        tokens, now = (self.t.step - self.step) * self.t.config.optim.batch_tokens, time.perf_counter()
        speed, self.mark, self.step = tokens / (now - self.mark), now, self.t.step
        return round(speed, 1)

    def save_due(self, every: str) -> bool:
        number, unit = (float(every[:-1]), every[-1]) if every[-1:] in ("s", "m") else (float(every), "")
        passed = time.perf_counter() - self.saved_at if unit else self.t.step - self.saved_step
        due = number > 0 and passed >= number * (60 if unit == "m" else 1)
        if due:
            self.saved_at, self.saved_step = time.perf_counter(), self.t.step
        return due

    def tell_status(self) -> None:
        """How far the run is, should it be killed, and how long it has taken."""
        if time.perf_counter() - self.told_at > STATUS_EVERY:
            write_status(self.t, "running", retry=True)
            self.told_at = time.perf_counter()


def show_progress(t: Training, bar: tqdm, row: dict) -> None:
    """Loss, speed, and with a price the dollars spent so far and in all; tqdm adds the time that is left."""
    bar.update(t.step - bar.n)
    shown = {"loss": f"{row.get('train_loss', float('nan')):.3f}", "tok/s": f"{row.get('tokens_per_second', 0):,.0f}"}
    if t.config.train.price:
        spent = t.seconds / 3600 * t.config.train.price
        shown["spent"] = f"${spent:.2f} of ${spent * t.steps / t.step:.2f}"
    bar.set_postfix(shown, refresh=False)


def out_of_budget(t: Training) -> str | None:
    """Why the run must end before its horizon, if it must."""
    c = t.config.train
    if c.time_limit and time.perf_counter() - t.started > c.time_limit - t.reserve:
        return "time limit"
    return "cost limit" if c.max_cost and (t.seconds + t.reserve) / 3600 * c.price > c.max_cost else None


def end_if_above(t: Training, val_loss: float, say: Callable[[str], None]) -> None:
    """Save, and raise Diverged, when val_loss is above the published curve by more than --stop-above for the second
    time in a row: one evaluation, on a part of the held-out text, may be bad luck. All ranks know the same val_loss."""
    limit = t.config.train.stop_above
    published = reference(t.config).at(t.step) if limit else None
    t.above = t.above + 1 if published is not None and not val_loss <= published + limit else 0
    if t.above == 2:
        try_to_save(t, say)
        raise Diverged(f"val_loss is {val_loss:.3f} at step {t.step:,}, where the published curve has {published:.3f}: "
                       f"more than {limit:g} above it, and at the evaluation before, too")  # fmt: skip


def try_to_save(t: Training, say: Callable[[str], None], wait: bool = True) -> int:
    """Save, and return the step; a full disk is said (-1), because it must not end a run that could go on."""
    try:
        save(t, wait)
        return t.step
    except OSError as error:
        say(f"could not save step {t.step} ({error.strerror or error}); training goes on, older checkpoints are intact")
        return -1


def finish(t: Training, reason: str | None) -> None:
    """The final evaluation on all held-out text, a last sample, summary.json and report.html."""
    metrics = Metrics(t)
    domains = evaluate_domains(t)
    sample = sample_step(t) if t.config.train.samples else ""
    found = total(domains)
    if not t.layout.leads:
        return
    metrics.write({"step": t.step, "final": True, **found})
    if sample:
        metrics.write({"step": t.step, "final": True, "sample": sample})
    speeds = sorted(row["tokens_per_second"] for row in read_metrics(metrics.file) if "tokens_per_second" in row)
    summary = {
        **found, "domains": {name: to_bpb(c["nats"], c["bytes"]) for name, c in domains.items()},
        "compressors": compress_domains(t), "steps": t.step, "tokens": t.step * t.config.optim.batch_tokens,
        "seconds": round(t.seconds, 2), "parameters": parameters(t.config.model),
        "device": t.policy.device, "precision": t.policy.precision, "compile": t.policy.compile,
        "tokens_per_second": speeds[len(speeds) // 2] if speeds else 0.0,
        "reason": reason or ("target" if found["val_bpb"] <= t.config.train.target_bpb else "horizon"),
    }  # fmt: skip
    try:
        write_atomic(t.out / "summary.json", json.dumps(summary, indent=1) + "\n")
        report.write(t.out)
    except OSError as error:
        raise UserError(f"the report could not be written ({error.strerror}): make room, then --resume.") from None


def write_status(t: Training, status: str, reason: str = "", retry: bool = False) -> None:
    """status.json is what a wrapper script reads: running, done, preempted or failed; why; and whether to try again."""
    if not t.layout.leads:
        return
    row = {"status": status, "reason": reason, "retry": retry, "step": t.step, "steps": t.steps, "seconds": t.seconds}
    with suppress(OSError):  # a full disk: see try_to_save
        write_atomic(t.out / "status.json", json.dumps(row) + "\n")


def git(*args: str) -> str | None:
    """What git says about the package's folder; None where there is no git."""
    with suppress(OSError):
        done = subprocess.run(["git", "-C", Path(__file__).parent, *args], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        return done.stdout.strip()


def record_start(t: Training) -> None:
    """Add an entry to environment.json: what ran, where, with which versions and effective settings."""
    if not t.layout.leads:
        return
    file = t.out / "environment.json"
    entries = read_json(file, [])
    entries.append({
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": sys.argv, "step": t.step,
        "commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain")),
        "python": platform.python_version(), "torch": torch.__version__, "minigpt": __version__,
        "host": platform.node(), "system": platform.platform(), "device": t.policy.device,
        "threads": torch.get_num_threads(), "precision": t.policy.precision, "compile": t.policy.compile,
        "attention": t.policy.attention, "micro_batch": t.micro_batch, "layout": str(t.layout),
        "tokenizer": t.tokenizer.hash, "data": data_hashes(t), "settings": dataclasses.asdict(t.config),
    })  # fmt: skip
    write_atomic(file, json.dumps(entries, indent=1) + "\n")
