"""Constrained decoding: only text that matches a regular expression.

At each step the tokens that could no longer lead to a match get probability 0, and the rest share what is left. The
model still chooses; it just cannot leave the pattern (Willard & Louf 2023, "Efficient Guided Generation for Large
Language Models", arXiv 2307.09702).
"""
from collections.abc import Callable, Sequence
from functools import lru_cache

import regex
import torch
from torch import Tensor

from .config import UserError
from .tokenizer import Tokenizer


def allowed_by(pattern: str, tokenizer: Tokenizer) -> Callable[[Sequence[int]], Tensor]:
    """A function (tokens so far) → (V,) bool: which tokens may follow so that the whole text can still match.

    <|endoftext|> may follow where the text is a match, and is all that may follow itself; give it to generate as a stop
    token: `generate(model, prompts, allowed=allowed_by(r"\\d\\d\\.", t), stop_tokens=[t.eot], max_tokens=9)`. A text
    that is cut off by max_tokens is only the beginning of a match.

    Whether a beginning can still become a match is what `regex` calls a partial match. Tokens are tried character by
    character along a tree, so that "12" is not asked about once "1" was refused. Tokens that are no whole characters
    are never allowed: a pattern can use what single tokens spell, which in any tokenizer is at least all of ASCII.
    """
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise UserError(f"the pattern {pattern!r} is not a regular expression: {error}.") from None
    tree = prefix_tree(tokenizer)

    @lru_cache(4096)
    def may_follow(text: str) -> Tensor:
        allowed = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
        allowed[tokenizer.eot] = compiled.fullmatch(text) is not None
        todo = [(text, tree)]
        while todo:
            begun, node = todo.pop()
            for character, (ids, children) in node.items():
                if compiled.fullmatch(begun + character, partial=True):
                    allowed[ids] = True
                    todo.append((begun + character, children))
        if not allowed.any():
            raise UserError(f"after {text!r} the pattern {pattern!r} needs a character that no token spells.")
        return allowed

    def allowed(tokens: Sequence[int]) -> Tensor:
        if tokenizer.eot in tokens:
            return torch.arange(tokenizer.vocab_size) == tokenizer.eot
        return may_follow(tokenizer.decode(list(tokens)))

    return allowed


def prefix_tree(tokenizer: Tokenizer) -> dict:
    """character → (ids of the tokens that end here, the tree below); a token's text is the way to it from the root."""
    root: dict = {}
    for id in range(len(tokenizer.vocab)):
        if id in tokenizer.special_tokens.values():
            continue
        try:
            text = tokenizer.vocab[id].decode()
        except UnicodeDecodeError:
            continue
        node, ids = root, []
        for character in text:
            ids, node = node.setdefault(character, ([], {}))
        ids.append(id)
    return root
