"""constrained.py: what comes out matches, and the model's preferences among what may follow are kept."""
import re

import pytest
import torch

from minigpt.config import ModelConfig, UserError
from minigpt.constrained import allowed_by
from minigpt.model import GPT
from minigpt.sampling import generate
from minigpt.tokenizer import END_OF_TEXT, train_bpe

TEXT = "on 2024-05-17 and 2023-11-02 they paid 12.50 and 1999.00 dollars; yes or no, perhaps yes. naïve café"
TOKENIZER = train_bpe([TEXT * 3], 256 + 40 + 2, [END_OF_TEXT, "<|other|>"])
CONFIG = ModelConfig(layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=48, context=40,
                     vocab_size=TOKENIZER.vocab_size)  # fmt: skip


@pytest.mark.parametrize("pattern, most", [
    (r"\d{4}-(0[1-9]|1[0-2])-[0-3]\d", 12), (r"yes|no|perhaps (yes|no)", 14), (r"[1-9]\d{0,3}\.\d\d", 9),
    (r"(café|naïve) \d", 9),
])  # fmt: skip
def test_1000_samples_match(pattern, most):
    model, prompts = GPT(CONFIG), [TOKENIZER.encode("on")] * 1000
    rows = generate(model, prompts, max_tokens=most, temperature=1.5, allowed=allowed_by(pattern, TOKENIZER),
                    stop_tokens=[TOKENIZER.eot])  # fmt: skip
    texts = [TOKENIZER.decode(row) for row in rows]
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert len(set(texts)) > (100 if "d{" in pattern else 2)


@pytest.mark.parametrize("pattern", [r"\d{4}-\d\d", r"(ab?c*)+", r"perhaps (yes|no)", r".{0,3}x", r"a(?=b).*"])
@pytest.mark.parametrize("begun", ["", "20", "2024", "a", "abc", "perhaps ", "zz"])
def test_a_token_is_allowed_if_some_text_that_begins_so_matches(pattern, begun):
    """Against the definition, tried on every token: one whole text of a list must begin with what there would be."""
    matching = ["2024-05", "1999-11", *(a + "-" + b for a in ("0000", "2020", "2012") for b in ("00", "17", "50"))]
    matching += [f"{y}-{m}" for y in range(1900, 2100) for m in ("02", "05", "11", "17", "23", "24", "50")]
    matching += ["a", "ac", "ab", "abc", "abcc", "aa", "abca", "abcac", "abcab", "ab yes", "abcan"]
    matching += ["perhaps yes", "perhaps no", "x"]
    matching += [t + "x" for t in ("z", "zz", "zzz", "20", "202", "a", "ab", "abc", "aa")]
    allowed = allowed_by(pattern, TOKENIZER)
    ids = TOKENIZER.encode(begun)
    compiled = re.compile(pattern)
    goal = [text for text in matching if compiled.fullmatch(text)]
    try:
        found = allowed(ids)
    except UserError:
        assert not any(text.startswith(begun) for text in goal)
        return
    assert found.shape == (TOKENIZER.vocab_size,) and found.dtype == torch.bool
    for id, token in TOKENIZER.vocab.items():
        if id == TOKENIZER.eot:
            assert found[id] == (compiled.fullmatch(begun) is not None)
        elif token and token.isascii() and any(text.startswith(begun + token.decode()) for text in goal):
            assert found[id], token
    assert not found[TOKENIZER.special_tokens["<|other|>"]]


def test_nothing_else_is_allowed():
    allowed = allowed_by(r"\d-\d", TOKENIZER)
    spelled = lambda mask: {TOKENIZER.vocab[i].decode() for i in mask.nonzero().flatten().tolist()}
    assert spelled(allowed([])) <= {*"0123456789", *(f"{d}-" for d in range(10))} and "0" in spelled(allowed([]))
    assert spelled(allowed(TOKENIZER.encode("5"))) <= {"-", *(f"-{d}" for d in range(10))}
    assert allowed(TOKENIZER.encode("5-5")).nonzero().tolist() == [[TOKENIZER.eot]]
    assert allowed([*TOKENIZER.encode("5-5"), TOKENIZER.eot]).nonzero().tolist() == [[TOKENIZER.eot]]


def test_the_rest_keeps_its_proportions():
    """Of yes and no each is drawn as often as the model says, given that it must be one of them."""
    tokenizer = train_bpe(["y n " * 9], 257, [END_OF_TEXT])
    config = ModelConfig(layers=1, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=40, context=8, vocab_size=257)
    model = GPT(config)
    with torch.no_grad():
        model.embed.weight *= 20
        logits = model(torch.tensor([[65]]))[0, -1, [ord("y"), ord("n")]]
    share = torch.softmax(logits, 0)[0].item()
    rows = generate(model, [[65]] * 3000, max_tokens=1, allowed=allowed_by("y|n", tokenizer))
    assert 0.05 < share < 0.95
    assert abs(sum(row == [ord("y")] for row in rows) / 3000 - share) < 4 * (share * (1 - share) / 3000) ** 0.5


def test_mistakes():
    with pytest.raises(UserError, match="is not a regular expression"):
        allowed_by("(", TOKENIZER)
    with pytest.raises(UserError, match="needs a character that no token spells"):
        allowed_by("ß", TOKENIZER)([])
