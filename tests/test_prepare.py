"""What is held out, what the tokenizer may see, and that a finished folder is kept."""
import json

import pytest

from minigpt.config import DataConfig, UserError, depth, preset, PRESETS, RunConfig
from minigpt.prepare import open_data, prepare, tokenizer_sample
from minigpt.shards import Shards
from minigpt.text.sources import Document, held_out

STORY = "Once there was a tree that stood beside the river {n} and it told {n} stories to the wind. "


def silent(_):
    pass


def decoded(folder, split, tokenizer) -> bytes:
    shards = Shards.open(folder, split, context=8)
    ids = [shards.tokens(i) for i in range(len(shards.manifest["splits"][split]["shards"]))]
    return b"".join(tokenizer.decode_bytes(x[x != tokenizer.eot]) for x in ids)


def many(tmp_path, count):
    file = tmp_path / "many.jsonl"
    rows = [{"id": f"doc{n}", "text": STORY.format(n=n) * 3} for n in range(count)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file, rows


def test_one_document_gives_its_last_tenth(tmp_path):
    text = "".join(STORY.format(n=n) for n in range(60)) + "é" * 40
    (tmp_path / "one.txt").write_text(text, encoding="utf-8")
    tokenizer, manifest = prepare(DataConfig(text=(str(tmp_path / "one.txt"),)), tmp_path / "data", 300, say=silent)
    cut = int(len(text) * 0.9)
    assert decoded(tmp_path / "data", "train", tokenizer) == text[:cut].encode()
    assert decoded(tmp_path / "data", "val", tokenizer) == text[cut:].encode()
    assert "last tenth" in manifest["split_rule"]
    assert not any("é".encode() in token for token in tokenizer.vocab.values())  # it never saw the end of the text


def test_many_documents_are_held_out_by_a_hash_of_their_id(tmp_path):
    file, rows = many(tmp_path, 200)
    tokenizer, manifest = prepare(DataConfig(text=(str(file),), val_fraction=0.1), tmp_path / "data", 300, say=silent)
    expected = [row["text"] for row in rows if held_out(row["id"], 0.1)]
    assert 5 < len(expected) < 45
    assert decoded(tmp_path / "data", "val", tokenizer) == "".join(expected).encode()
    assert manifest["splits"]["train"]["documents"] == 200 - len(expected)


def test_a_text_of_its_own(tmp_path):
    file, rows = many(tmp_path, 30)
    (tmp_path / "val.txt").write_text("Quite another text. " * 20)
    config = DataConfig(text=(str(file),), val_text=str(tmp_path / "val.txt"))
    tokenizer, manifest = prepare(config, tmp_path / "data", 300, say=silent)
    assert decoded(tmp_path / "data", "train", tokenizer) == "".join(row["text"] for row in rows).encode()
    assert decoded(tmp_path / "data", "val", tokenizer) == b"Quite another text. " * 20


def test_a_stream_larger_than_the_look_ahead_gives_the_same_shards(tmp_path):
    file, _ = many(tmp_path, 120)
    small = DataConfig(text=(str(file),), look_ahead_bytes=5000)
    tokenizer, manifest = prepare(small, tmp_path / "a", 300, say=silent)
    tokenizer.save(tmp_path / "tokenizer.json")
    whole = DataConfig(text=(str(file),), tokenizer=str(tmp_path / "tokenizer.json"))
    _, same = prepare(whole, tmp_path / "b", 300, say=silent)
    assert manifest["splits"]["train"]["shards"] == same["splits"]["train"]["shards"]


def test_a_finished_folder_is_kept_and_opened(tmp_path):
    file, _ = many(tmp_path, 30)
    config = DataConfig(text=(str(file),))
    tokenizer, manifest = prepare(config, tmp_path / "data", 300, say=silent)
    file.unlink()  # nothing is read again
    again, same = prepare(config, tmp_path / "data", 300, say=silent)
    with pytest.raises(UserError, match="other settings"):
        prepare(config, tmp_path / "data", 310, say=silent)
    assert same == manifest and again.hash == tokenizer.hash == open_data(tmp_path / "data")[0].hash


def test_workers_change_nothing(tmp_path):
    file, _ = many(tmp_path, 60)
    config = DataConfig(text=(str(file),))
    one, two = (prepare(config, tmp_path / str(n), 300, workers=n, say=silent)[0] for n in (1, 2))
    assert one.hash == two.hash


def test_the_sample_is_spread_over_the_documents():
    documents = [Document(f"d{n}", "x", "a" * 100) for n in range(1000)]
    sample = list(tokenizer_sample(documents, 20_000))
    assert 150 < len(sample) < 250 and max(int(d.id[1:]) for d in sample) > 900
    assert list(tokenizer_sample(documents, 10**9)) == documents


def test_blank_text_is_refused(tmp_path):
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(UserError):
        prepare(DataConfig(text=(str(tmp_path / "blank.txt"),)), tmp_path / "data", 300, say=silent)


# ---- config ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    assert RunConfig.from_json(preset(name).to_json()) == preset(name)


def test_an_unknown_field_is_named():
    with pytest.raises(UserError, match="'colour'"):
        RunConfig.from_json(preset("tiny").to_json().replace('"family"', '"colour"'))


def test_the_depth_dial_grows():
    from minigpt.accounting import parameters

    sizes = [parameters(depth(n).model) for n in (1, 2, 4, 8, 12, 24)]
    assert sizes == sorted(sizes) and 1e8 < sizes[4] < 2.5e8
    assert all(depth(n).optim.batch_tokens % depth(n).model.context == 0 for n in range(1, 40))
