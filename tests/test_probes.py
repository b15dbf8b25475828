"""Probes against a loop over single tokens in float64, closed formulas, and a model whose answers are known."""
import doctest
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from minigpt import probes
from minigpt.config import ModelConfig, UserError
from minigpt.model import GPT
from minigpt.parallel import Layout
from minigpt.probes import Item, item_tokens, outcome, probe, read_items, score, wilson
from minigpt.tokenizer import train_bpe

TEXT = "The cat that the dogs see sleeps. Der Bär schläft — 東京 🐈. She knows a word, and he knows two. " * 4


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([TEXT], 300, ["<|endoftext|>"])


@pytest.fixture(scope="module", params=["gpt2", "modern"])
def model(request):
    shape = dict(layers=2, width=48, heads=3, kv_heads=3, head_size=16, mlp_width=40, context=40, vocab_size=300)
    model = GPT(ModelConfig(request.param, activation="gelu" if request.param == "gpt2" else "swiglu", **shape))
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:  # far from uniform
                p.mul_(8)
    return model


ITEMS = [
    Item("", ("The cat sleeps.", "The cat sleep. 🐈"), 0, "agreement"),
    Item("The cat that the", (" dogs see sleeps", " Bär", " 東京 — she knows two"), 2, "long"),
    Item("She knows a word, and he", (" knows", " know"), 1, "agreement"),
    Item("x" * 90 + " The cat that the dogs see", (" sleeps", " sleep now"), 0, "long"),  # longer than the context
]


def by_hand(model, tokenizer, prefix: str, option: str) -> tuple[float, int, bool]:
    """One token at a time, in float64."""
    model = in_float64(model)
    tokens, read = [tokenizer.eot, *tokenizer.encode(prefix + option)], 1 + len(tokenizer.encode(prefix))
    logprob, size, greedy = 0.0, 0, True
    for i in range(read, len(tokens)):
        first = max(0, len(tokens) - 1 - model.config.context)
        with torch.no_grad():
            logits = model(torch.tensor([tokens[first:i]]))[0, -1].double()
        logprob += torch.log_softmax(logits, -1)[tokens[i]].item()
        size += tokenizer.token_bytes[tokens[i]]
        greedy &= int(logits.argmax()) == tokens[i]
    return logprob, size, greedy


def in_float64(model):
    copy = GPT(model.config)
    copy.load_state_dict(model.state_dict())
    return copy.double().eval()


def test_scores_equal_one_token_at_a_time_in_float64(model, tokenizer, monkeypatch):
    whole = score(model, tokenizer, ITEMS, greedy=True)
    expected = [by_hand(model, tokenizer, item.prefix, option) for item in ITEMS for option in item.options]
    np.testing.assert_allclose(whole, np.array(expected, float), rtol=1e-5, atol=1e-4)
    assert len({round(x, 3) for x in whole[:, 0]}) == len(whole) and whole[:, 1].tolist()[-2:] == [7, 10]
    monkeypatch.setattr(probes, "BATCH_TOKENS", 1)  # one option at a time
    np.testing.assert_allclose(score(model, tokenizer, ITEMS), whole * [1, 1, 0], rtol=1e-5, atol=1e-4)


def test_ranks_share_the_work(model, tokenizer, monkeypatch):
    """What the ranks find adds up to what one process finds: here one after the other, with a sum that collects."""
    alone, shares = score(model, tokenizer, ITEMS), []
    monkeypatch.setattr(probes, "BATCH_TOKENS", 80)
    monkeypatch.setattr(probes, "sum_of_ranks", lambda table, layout: shares.append(table.numpy()) or table)
    for rank in range(4):  # nine options, one a batch: three ranks run out of work before the first
        score(model, tokenizer, ITEMS, Layout(sizes=(4, 1, 1), place=(rank, 0, 0)))
    assert all((share[:, 1] > 0).sum() < len(alone) for share in shares)
    np.testing.assert_allclose(sum(shares), alone, rtol=1e-5, atol=1e-4)


def test_options_share_what_is_read(tokenizer):
    """'see' + 's' may become one token: then the token before is scored too, for every option of the item."""
    word = max((v.decode("utf-8", "ignore") for v in tokenizer.vocab.values()), key=lambda v: v.isalpha() * len(v))
    item = Item(word[:-1], (word[-1], "-"))
    (joined, read), (apart, also) = item_tokens(tokenizer, [item], 40)
    assert len(joined) == 2 and apart[1] != joined[1]  # one token; the beginning alone is another
    assert read == also == 1
    assert [tokenizer.decode(tokens[read:]) for tokens in (joined, apart)] == [word, word[:-1] + "-"]


def test_a_long_end_is_not_punished_for_its_length():
    item, part = Item("", ("a", "abcdefg"), 1), np.array([[-2.0, 1, 0], [-3.0, 7, 0]])
    assert outcome("choices", item, part, 300) == {"accuracy": 1, "accuracy_sum": 0, "chance": 1 / 2}
    assert outcome("pairs", item, part, 300)["accuracy"] == 0


def test_a_model_that_knows(tokenizer):
    """A model without blocks predicts from the last token alone: planted weights make ' knows' follow ' he'."""
    model = GPT(ModelConfig(layers=1, width=32, heads=1, kv_heads=1, head_size=32, mlp_width=8, context=64,
                            vocab_size=300, tied=False, zero_init=True))  # fmt: skip
    he, knows = tokenizer.encode("and he")[-1], tokenizer.encode(" knows")[0]
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.weight[knows] = model.embed.weight[he] / model.embed.weight[he].norm() * 9
    item = Item("and he", (" know", tokenizer.decode([knows])), 1)
    assert probe(model, tokenizer, "choices", [item])["accuracy"] == 1
    found = probe(model, tokenizer, "cloze", [Item("and he", (tokenizer.decode([knows]),)), Item("and", (" he",))])
    assert found["accuracy"] == 0.5 and found["chance"] == 1 / 300


def test_chance_and_ties(tokenizer):
    """A model that knows nothing: every token costs ln V, so equal lengths tie, and a byte's cost decides the rest."""
    model = GPT(ModelConfig(layers=1, width=32, heads=1, kv_heads=1, head_size=32, mlp_width=8, vocab_size=300))
    with torch.no_grad():
        model.head.weight.zero_()
    same = Item("The", (" cat", " cat", " cat"), 1, "tie")
    found = probe(model, tokenizer, "choices", [same, Item("The", (" cat", " 東京"), 1, "bytes")])
    assert found["groups"]["tie"]["accuracy"] == pytest.approx(1 / 3) == found["groups"]["tie"]["chance"]
    n = len(tokenizer.encode(" cat"))
    assert score(model, tokenizer, [same])[0].tolist() == [pytest.approx(-n * math.log(300)), 4, 0]
    assert found["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2) and found["items"] == 2


def test_wilson_is_scipys():
    for right, n in ((0, 7), (3, 11), (50, 100), (999, 1000)):
        expected = stats.binomtest(right, n).proportion_ci(0.95, "wilson")
        np.testing.assert_allclose(wilson(right / n, n), expected, atol=1e-4)
    assert not doctest.testmod(probes).failed


READ = {
    "pairs": [
        ({"good": "a", "bad": "b", "phenomenon": "x"}, Item("", ("a", "b"), 0, "x")),
        ({"sentence_good": "a", "sentence_bad": "b", "UID": "anaphor", "field": "syntax"},
         Item("", ("a", "b"), 0, "anaphor")),
    ],
    "choices": [
        ({"question": "q", "options": ["a", " b"], "answer": 1}, Item("q", (" a", " b"), 1)),
        ({"ind": 4, "ctx": "He", "endings": ["a", "b", "c"], "label": "2"}, Item("He", (" a", " b", " c"), 2)),
        ({"question": {"stem": "q", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]},
          "answerKey": "B"}, Item("q", (" a", " b"), 1)),
    ],
    "cloze": [
        ({"prefix": "She is ", "answer": "here", "exposures": 16}, Item("She is ", ("here",), 0, "16")),
        ({"text": "They went to the sea"}, Item("They went to the", (" sea",))),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_formats(kind, tmp_path):
    file = tmp_path / "probe.jsonl"
    file.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row, _ in READ[kind]), encoding="utf-8")
    assert read_items(kind, file) == [item for _, item in READ[kind]]


@pytest.mark.parametrize("kind, line, words", [
    ("pairs", '{"good": "a"}', "line 2: there is no 'sentence_bad'"),
    ("pairs", '{"good": "a", "bad": ""}', "line 2 is not a question of pairs: texts must be strings"),
    ("pairs", '["a", "b"]', "line 2 is not a question"),
    ("choices", '{"question": "q", "options": ["a"], "answer": 1}', "answer 1 is none of its 1 options"),
    ("choices", '{"ctx": "q", "endings": ["a", "b"], "label": ""}', "line 2 is not a question"),
    ("choices", '{"question": "q"', "line 2 is not a question"),
    ("cloze", '{"prefix": "a"}', "line 2: there is no 'answer'"),
    ("cloze", '{"prefix": 3, "answer": "b"}', "line 2"),
])  # fmt: skip
def test_a_line_that_is_no_question_is_named(kind, line, words, tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps(READ[kind][0][0]) + "\n" + line + "\n")
    with pytest.raises(UserError, match="p.jsonl") as error:
        read_items(kind, tmp_path / "p.jsonl")
    assert words in str(error.value)


def test_no_file_no_question_and_an_option_that_is_too_long(tmp_path, tokenizer, model):
    with pytest.raises(UserError, match="cannot read .*nowhere"):
        read_items("pairs", tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="there is no question in"):
        read_items("pairs", tmp_path / "empty.jsonl")
    with pytest.raises(UserError, match="an option has .* tokens, more than the model's context of 40"):
        score(model, tokenizer, [Item("", ("🐈" * 60, "b"))])
