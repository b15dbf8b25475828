"""minigpt: pre-train a language model and understand every part of it.

All public names come from here (`from minigpt import GPT, ModelConfig, pretrain`). They load on first use, so that
`python -m minigpt --help` does not wait for torch.
"""
import importlib

__version__ = "0.1.0"
_HOME = {
    "config": "ModelConfig DataConfig OptimConfig TrainConfig RunConfig UserError preset depth",
    "tokenizer": "Tokenizer train_bpe",
    "shards": "Shards write_shards",
    "model": "GPT KVCache attention",
    "optim": "build_optimizers Muon learning_rate",
    "accounting": "parameters flops_per_token memory mfu",
    "export": "from_hf to_hf",
    "sampling": "generate stream filter_logits",
    "speculative": "speculate",
    "constrained": "allowed_by",
    "batching": "Batcher Request",
    "moe": "MoE",
    "evaluate": "bits_per_byte",
    "train": "pretrain Run setup next_batch forward_backward optimizer_step evaluate_step save",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"minigpt.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'minigpt' has no attribute {name!r}")
