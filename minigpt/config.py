"""Every hyper-parameter of a run: four frozen dataclasses, the presets, and the depth dial.

A run is `RunConfig(model, data, optim, train)`. The first three define *what is computed*: two runs that agree in them
walk through the same numbers, so none of their fields may change when a run resumes. `train` says only *how, where and
for how long* it is computed, so all of it may. Nothing else in the package holds a hyper-parameter.

Units: sizes in tokens, times in seconds, learning rates per step. No torch here: `--help` must be instant.
"""
import dataclasses
import json
import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_type_hints


class UserError(Exception):
    """A mistake that the person at the keyboard can mend: printed as one sentence, with exit code 2."""


class Passing(UserError):
    """Nobody's mistake, and likely to pass, such as a network that is down: exit code 75, the same command goes on."""


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a GPT.

    Two families share one implementation. `gpt2`: LayerNorm, learned positions, biases, GELU (Radford et al. 2019).
    `modern`: RMSNorm, rotary positions, QK-norm, grouped-query attention, no biases; with `activation="swiglu"` and the
    other options at their defaults it is exactly Qwen3 (Yang et al. 2025).
    """

    family: Literal["gpt2", "modern"] = "modern"
    """Which of the two architectures."""
    layers: int = 4
    """Number of transformer blocks."""
    width: int = 256
    """Size of the residual stream."""
    heads: int = 4
    """Query heads."""
    kv_heads: int = 4
    """Key and value heads; fewer than `heads` is grouped-query attention, 1 is multi-query attention."""
    head_size: int = 64
    """Size of one head; heads * head_size need not equal the width."""
    mlp_width: int = 1024
    """Hidden size of the MLP."""
    context: int = 256
    """Longest sequence, in tokens."""
    vocab_size: int = 4096
    """Number of token ids: 256 bytes, the merges, and the special tokens. A run trains its tokenizer to this size, or
    takes the number from the tokenizer it is given."""
    tied: bool = True
    """Share one matrix between the token embedding and the output head."""
    activation: Literal["gelu", "swiglu", "relu2"] = "swiglu"
    """The MLP's nonlinearity; `swiglu` has three matrices, the other two have two."""
    rope_base: float = 10000.0
    """Base of the rotary frequencies (`modern` only)."""
    rope: Literal["plain", "linear", "yarn"] = "plain"
    """How the angles are changed for a context of rope_factor times the one trained on; see model.rope_frequencies."""
    rope_factor: float = 1.0
    """How many times longer `context` is than the one trained on (`linear` and `yarn` only)."""
    window: int = 0
    """Sliding window: how many tokens a token attends to, itself included; 0: all before it."""
    norm_eps: float = 1e-6
    """Added to the variance inside the norms; GPT-2 uses 1e-5, Qwen3 1e-6."""
    softcap: float = 0.0
    """Squash logits smoothly into ±softcap (Gemma 2); 0 is off."""
    zero_init: bool = False
    """Start the two projections that write into the residual stream at zero, so that a block begins as the identity."""
    dropout: float = 0.0
    """Probability of zeroing an activation on the residual branches while training; worth it only over many epochs."""

    def __post_init__(self):
        if self.heads % self.kv_heads:
            raise UserError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads}).")
        if self.head_size % 2:
            raise UserError(f"head_size ({self.head_size}) must be even: rotary positions turn pairs of dimensions.")
        if self.family == "gpt2" and (self.kv_heads != self.heads or self.heads * self.head_size != self.width):
            raise UserError("the gpt2 family needs kv_heads = heads and heads * head_size = width.")
        if (self.rope == "plain") != (self.rope_factor == 1) or self.rope_factor < 1:
            raise UserError(f"rope {self.rope!r} does not go with a rope_factor of {self.rope_factor}: linear and yarn "
                            "need one above 1, plain has 1.")  # fmt: skip
        if self.family == "gpt2" and self.rope != "plain":
            raise UserError("the gpt2 family has learned positions: rope does not apply to it.")
        if self.window < 0:
            raise UserError(f"window must be at least 0, not {self.window}; 0 is off.")
        for name in ("layers", "width", "heads", "kv_heads", "mlp_width", "context", "vocab_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}.")

    @property
    def padded_vocab(self) -> int:
        """Rows of the embedding in memory: vocab_size rounded up to a multiple of 64, which matrix hardware likes."""
        return -(-self.vocab_size // 64) * 64


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it becomes tokens."""

    text: tuple[str, ...] = ()
    """Files or folders to train on (.txt .md .py .html .jsonl .jsonl.gz .parquet; .warc, .warc.gz of a crawl, which is
    cleaned first); empty: the built-in domains."""
    domains: tuple[str, ...] = ("books", "drama", "speeches")
    """Built-in domains, used when no text and no data folder is given."""
    val_text: str = ""
    """A file or folder to validate on; empty: documents held out by a hash of their id (few: a tenth of each)."""
    data: str = ""
    """A folder made by `prepare`, instead of text."""
    tokenizer: str = ""
    """`gpt2`, a tokenizer.json, or a run folder; empty: train one on the text."""
    tokenizer_bytes: int = 12_000_000
    """About how much text, spread over the documents, to train the tokenizer on."""
    look_ahead_bytes: int = 256_000_000
    """How much text may be held in memory; larger corpora are streamed, with a tokenizer made from their beginning."""
    val_fraction: float = 0.05
    """Share of the documents to hold out, where there is no val_text."""
    languages: tuple[str, ...] = ("en",)
    """Of a crawl: the languages to keep, as codes like `en`; none: all."""
    rules: tuple[str, ...] = ("gopher", "c4", "fineweb")
    """Of a crawl: whose rules of quality a page has to pass."""
    classifier: str = ""
    """Of a crawl: a .npy file with weights of `fit_quality`, by which a page has to be a good one; empty: none."""
    mask: bool = True
    """Of a crawl: put <EMAIL> and so on in the place of personal data."""
    near: float = 0.7
    """Of a crawl: pages at least this similar are duplicates, and the first one stays; 0: equal ones only."""
    decontaminate: tuple[str, ...] = ()
    """Of a crawl: files of test questions; pages that hold a copy of one are left out."""
    mixture: str = ""
    """Shares of the training tokens by domain, like `books=.5,web=.5`; domains without one are left out."""
    max_epochs: float = 4.0
    """How often the mixture may repeat a domain; up to 4 times is nearly as good as new text (Muennighoff 2023)."""

    def __post_init__(self):
        if unknown := set(self.rules) - {"gopher", "c4", "fineweb"}:
            raise UserError(f"there are no rules {sorted(unknown)[0]!r}: choose from gopher, c4, fineweb.")
        if not 0 <= self.near <= 1:
            raise UserError(f"--near is a similarity: above 0 and at most 1, or 0 for off, not {self.near}.")
        if self.max_epochs <= 0:
            raise UserError(f"--max-epochs must be above 0, not {self.max_epochs}.")
        self.shares()

    def shares(self) -> dict[str, float]:
        """The mixture, {"books": 0.5, "web": 0.5}; a UserError if it is not one."""
        try:
            pairs = [part.split("=") for part in self.mixture.split(",") if self.mixture]
            found = {name.strip(): float(share) for name, share in pairs}
        except ValueError:
            raise UserError(f"--mixture {self.mixture!r} is not understood: write books=.5,drama=.5.") from None
        if pairs and (len(found) < len(pairs) or not all(share > 0 for share in found.values())):
            raise UserError(f"--mixture {self.mixture!r} needs one share above 0 for each domain it names.")
        if pairs and not abs(sum(found.values()) - 1) < 1e-6:
            raise UserError(f"the shares of --mixture {self.mixture!r} add up to {sum(found.values()):g}, not to 1.")
        return found


@dataclass(frozen=True)
class OptimConfig:
    """How the weights move, and for how long."""

    seed: int = 0
    """Seeds the initial weights, the order of the data and dropout."""
    start_from: str = ""
    """Take the initial weights from another run (RUN or RUN@STEP) instead of drawing them."""
    steps: int = 0
    """Optimizer steps; 0: taken from `tokens`, and from the time limit where there is one."""
    tokens: int = 0
    """Training tokens, an alternative to `steps`; 0: see steps."""
    batch_tokens: int = 8192
    """Tokens in one optimizer step over all devices; never changes with the machine."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """`muon`: Muon for the matrices inside the blocks, AdamW for the rest. `adamw`: AdamW for all."""
    lr: float = 3e-3
    """Peak AdamW learning rate."""
    matrix_lr: float = 0.02
    """Peak Muon learning rate."""
    momentum: float = 0.95
    """Muon's momentum."""
    beta1: float = 0.9
    """AdamW's decay of the mean of gradients."""
    beta2: float = 0.95
    """AdamW's decay of the mean of squared gradients."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices; vectors (norms, biases) have none."""
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    """Shape of the learning rate after warm-up; wsd: stable, then linear decay."""
    warmup: float = 0.02
    """Warm-up, as a fraction of the steps."""
    decay: float = 0.4
    """Decay phase of wsd, as a fraction of the steps."""
    final_lr: float = 0.0
    """Learning rate at the end, as a fraction of the peak."""
    clip: float = 1.0
    """Largest global gradient norm; 0 is off."""

    def __post_init__(self):
        if self.batch_tokens < 1:
            raise UserError(f"batch_tokens must be at least 1, not {self.batch_tokens}.")
        if self.steps < 0 or self.tokens < 0:
            raise UserError("steps and tokens cannot be negative.")
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise UserError(f"warmup ({self.warmup}) and decay ({self.decay}), shares of the run, exceed 1 together.")


@dataclass(frozen=True)
class TrainConfig:
    """Where, how and how long to compute; none of it changes what is computed, so all of it may change on resume."""

    out: str = ""
    """The run folder; empty: runs/<time>."""
    resume: bool = False
    """Continue from the newest checkpoint in `out`; start where there is none; do nothing if the run is complete."""
    device: str = "auto"
    """auto, cpu, cuda or mps. `auto` takes an accelerator if it works; a named device never falls back to another."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp8"] = "auto"
    """Type of the matrix products; weights and optimizer stay fp32. `auto` measures first, and never takes fp8."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; `auto` weighs a minute of compiling against the length of the run."""
    attention: Literal["auto", "torch", "flash", "cudnn", "efficient", "math"] = "auto"
    """The kernel for attention; `auto` times those of a GPU for this shape, `torch` leaves the choice to PyTorch."""
    parallel: Literal["auto", "none", "ddp", "fsdp"] = "auto"
    """What torchrun's ranks hold: ddp, each a copy of the model; fsdp, each a piece. `auto`: copies, if they fit."""
    replicate: int = 0
    """Copies of the sharded model, with fsdp: torchrun's ranks / (replicate * tp) shards each; 0: one copy."""
    tp: int = 1
    """Ranks that compute each layer together (tensor parallel), with fsdp."""
    accumulate_unsharded: bool = False
    """With fsdp, add up whole gradients over micro-batches, send them once: less traffic, 4 bytes a parameter more."""
    activations: Literal["keep", "selective", "full"] = "keep"
    """What of the forward pass to compute again in backward: nothing, all but products of matrices, or all."""
    stall: float = 180.0
    """Seconds without a step after which a rank gives up, so that torchrun starts all again."""
    check_every: int = 100
    """Steps between comparisons of the ranks: equal weights, equal speed; 0 is off."""
    micro_batch: int | Literal["auto"] = "auto"
    """Sequences in one forward pass of a rank; auto: the most that memory allows."""
    time_limit: float = 0.0
    """Seconds for the whole command, set-up and final evaluation included; 0: none. Fixes the number of steps."""
    target_bpb: float = 0.0
    """Stop as soon as val_bpb is at most this; 0 is off."""
    stop_above: float = 0.0
    """End a run whose val_loss stays this many nats above the published curve of its preset (exit code 3); 0 is off."""
    price: float = 0.0
    """Dollars an hour of this machine; shows what was spent and what is to come."""
    max_cost: float = 0.0
    """Stop before spending more dollars than this, counted over all restarts; 0 is off."""
    eval_every: int = 0
    """Steps between evaluations; 0: twenty times a run."""
    eval_tokens: int = 65_536
    """Most held-out tokens to evaluate on during training, always the same ones; the final evaluation takes all."""
    choices: tuple[str, ...] = ()
    """Files of multiple-choice questions (.jsonl, see `evaluate --choices`) to ask during training."""
    choices_every: int = 0
    """Steps between askings; 0: with every evaluation."""
    save_every: str = "120s"
    """Interval of checkpoints: steps (500), seconds (90s) or minutes (15m); 0: only at the end."""
    keep: int = 2
    """Checkpoints to keep."""
    mirror: str = ""
    """Folder or URL (s3://…, gs://…) of a second copy of the run; --resume starts from it where `out` is empty."""
    log_every: int = 1
    """Steps between lines of metrics.jsonl."""
    profile: int = 0
    """Steps to profile, soon after the start; writes trace.json for chrome://tracing or Perfetto; 0 is off."""
    samples: int = 5
    """How many times in a run to write a sample."""
    prompt: str = ""
    """What a sample starts with; empty: the start of a document."""
    patience: int = 50
    """Steps in a row with a loss or gradient that is not finite before giving up; each is skipped."""

    def __post_init__(self):
        if min(self.replicate, self.check_every) < 0 or self.tp < 1 or self.stall <= 0:
            raise UserError("--replicate and --check-every cannot be negative, --tp and --stall must be positive.")
        if self.stop_above < 0:
            raise UserError(f"--stop-above {self.stop_above} cannot be negative: it is a distance, in nats.")
        if self.max_cost and not self.price:
            raise UserError("--max-cost needs --price, the dollars an hour of this machine.")
        if not re.fullmatch(r"\d+(\.\d+)?[sm]?", self.save_every):
            raise UserError(f"--save-every {self.save_every} is not understood: write 500 (steps), 90s or 15m.")


@dataclass(frozen=True)
class RunConfig:
    """One pre-training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> "RunConfig":
        """The inverse of to_json; an unknown or missing field is a UserError."""
        return from_dict(RunConfig, json.loads(text))


def gpt2(layers: int, width: int) -> ModelConfig:
    """A published GPT-2 shape: heads of 64, an MLP of four times the width, a context of 1024 (Radford et al. 2019)."""
    return ModelConfig(
        "gpt2", layers, width, heads=width // 64, kv_heads=width // 64, mlp_width=4 * width, context=1024,
        vocab_size=50257, activation="gelu", norm_eps=1e-5,
    )  # fmt: skip


def modern(layers: int, width: int, context: int = 1024, vocab_size: int = 50257, **other) -> ModelConfig:
    """A Qwen3 shape with heads of 64 and a SwiGLU MLP of about 8/3 of the width, so that it has a GELU MLP's size."""
    heads = width // 64
    shape = dict(heads=heads, kv_heads=heads, mlp_width=round(width / 24) * 64, context=context, vocab_size=vocab_size)
    return ModelConfig("modern", layers, width, **(shape | other))


def depth(n: int) -> RunConfig:
    """One dial for everything: n layers of width 64 n, and data, batch and rates to match, at 20 tokens a parameter.

    The ratio of 20 is Hoffmann et al. 2022. The rates are those tuned at depth 2, AdamW's divided by the square root of
    the width; the batch grows with the square root of the tokens. Larger depths have not been tuned here.
    """
    if n < 1:
        raise UserError(f"--depth must be at least 1, not {n}.")
    model = modern(n, 64 * n, 256 if n < 6 else 1024, 4096 if n < 6 else 50257, tied=n < 12)
    tokens = 20 * (12 * n * model.width**2 + model.vocab_size * model.width)
    batch = 2 ** min(19, max(12, round(math.log2(tokens) / 2 + 1)))
    return RunConfig(
        model, DataConfig(tokenizer="" if n < 6 else "gpt2"),
        OptimConfig(tokens=tokens, batch_tokens=batch, lr=3e-3 * (128 / model.width) ** 0.5, matrix_lr=0.02),
    )  # fmt: skip


def recipe(model: ModelConfig, tokens: float, **optim) -> RunConfig:
    """Half a million tokens a step, GPT-2's vocabulary, as GPT-3 trained such sizes (Brown et al. 2020, table 2.1)."""
    return RunConfig(model, DataConfig(tokenizer="gpt2"), OptimConfig(tokens=int(tokens), batch_tokens=524288, **optim))


ADAMW = dict(optimizer="adamw", schedule="cosine", final_lr=0.1)
"""GPT-3's optimizer and schedule (appendix B)."""
PRESETS: dict[str, RunConfig] = {
    # the default run: about three minutes on two laptop cores
    "tiny": RunConfig(
        modern(2, 256, 256, 4096, heads=2, kv_heads=2, head_size=128),
        DataConfig(),
        OptimConfig(tokens=40_000_000, batch_tokens=4096),
        TrainConfig(time_limit=190, eval_tokens=16_384),
    ),
    # one megabyte of plays in seconds: a small model with the speed recipe reaches nanoGPT's CPU loss in 85 steps
    "shakespeare": RunConfig(
        ModelConfig(layers=2, width=64, heads=1, kv_heads=1, head_size=64, mlp_width=128, context=32, vocab_size=4096,
                    activation="relu2", zero_init=True),
        DataConfig(),
        OptimConfig(steps=85, batch_tokens=512, lr=0.015, matrix_lr=0.03, momentum=0.5),
        TrainConfig(eval_every=85, samples=1),
    ),  # fmt: skip
    # the same megabyte in two minutes, about four epochs: past nanoGPT's GPU loss
    "shakespeare-2m": RunConfig(
        modern(4, 192, context=128, vocab_size=2048),
        DataConfig(),
        OptimConfig(steps=400, batch_tokens=4096),
        TrainConfig(time_limit=113, eval_every=100, samples=3),
    ),
    "gpt2-124m": recipe(gpt2(12, 768), 10e9, lr=6e-4, **ADAMW),
    "gpt2-350m": recipe(gpt2(24, 1024), 10e9, lr=3e-4, **ADAMW),
    "gpt2-1.5b": recipe(gpt2(48, 1600), 30e9, lr=2e-4, **ADAMW),
    "modern-124m": recipe(modern(12, 768), 2.5e9, lr=3e-3),
    "modern-350m": recipe(modern(24, 1024), 7e9, lr=2e-3),
    "modern-1.5b": recipe(modern(32, 1920, context=2048, tied=False), 30e9, lr=1e-3),
}
"""Named runs. The larger ones are starting points from the literature; only the first two are tuned here."""


@dataclass(frozen=True)
class Curve:
    """A published val_loss (nats per token) over training steps. It says something about a run with the same shape,
    tokenizer and tokens a step, on the same data: on other text a loss may be anything."""

    data: str
    source: str
    points: tuple[tuple[int, float], ...]
    """(step, val_loss) in order."""

    def at(self, step: int) -> float | None:
        """Between two points, straight over the logarithm of the step; None before the first; the last one for ever.

        Example: points ((100, 5.0), (400, 4.0)): at(200) -> 4.5, at(99) -> None, at(900) -> 4.0
        """
        for (a, before), (b, after) in zip(self.points, self.points[1:]):
            if a <= step < b:
                return before + (after - before) * math.log(step / a) / math.log(b / a)
        return self.points[-1][1] if step >= self.points[-1][0] else None

    def __str__(self):
        step, loss = self.points[-1]
        return f"val_loss {loss} at step {step:,} on {self.data} ({self.source})"


LLM_C = "llm.c, as logged in KellerJordan/modded-nanogpt, records/track_"
REFERENCES: dict[str, Curve] = {
    "gpt2-124m": Curve("FineWeb", f"{LLM_C}1_short/2024-10-13_llmc", (
        (250, 6.1710), (500, 5.3743), (750, 4.7097), (1000, 4.3170), (1250, 4.1296), (1500, 4.0060), (2000, 3.8585),
        (2500, 3.7652), (3000, 3.6973), (4000, 3.6176), (4750, 3.5673), (6000, 3.5069), (8000, 3.4431), (10000, 3.3924),
        (12500, 3.3408), (15000, 3.3003), (17500, 3.2770), (19560, 3.2722))),
    "gpt2-350m": Curve("FineWeb", f"{LLM_C}2_medium/2025-01-18", (
        (250, 6.3097), (500, 5.5887), (750, 4.9040), (1000, 4.3734), (1250, 4.1307), (1500, 3.9782), (2000, 3.7884),
        (2500, 3.6737), (3000, 3.6014), (4000, 3.4925), (5000, 3.4190), (6500, 3.3493), (8000, 3.2969), (10000, 3.2461),
        (15000, 3.1648), (20000, 3.1129), (30000, 3.0387), (40000, 2.9812), (50000, 2.9405), (60000, 2.9282))),
}  # fmt: skip
"""Of presets; those of 524,288 tokens a step. None is known for the others, and none of these has been run here yet."""


def reference(config: RunConfig) -> Curve | None:
    """The published curve for a run of this shape, vocabulary and batch, if there is one."""
    like = (config.model, config.optim.batch_tokens)
    found = (n for n in REFERENCES if (PRESETS[n].model, PRESETS[n].optim.batch_tokens) == like)
    return REFERENCES.get(next(found, ""))


def check_reference(config: RunConfig) -> None:
    """UserError where --stop-above has no curve to go by."""
    if config.train.stop_above and reference(config) is None:
        raise UserError("--stop-above needs a published curve, and there is none for this model and batch: only for "
                        f"{' and '.join(REFERENCES)} as they are.")  # fmt: skip


def preset(name: str) -> RunConfig:
    """A named run: PRESETS[name], or a UserError that lists the names."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose from {', '.join(PRESETS)}.")
    return PRESETS[name]


def from_dict(cls, values: dict[str, Any]):
    """Build a (nested) config dataclass from plain JSON values."""
    hints = get_type_hints(cls)
    unknown = set(values) - set(hints)
    if unknown:
        raise UserError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}.")
    made = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(hints[name], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return cls(**made)
