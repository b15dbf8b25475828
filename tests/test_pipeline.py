"""A crawl whose truth is known → `prepare` → tokens: what is kept and removed, by whom and after how many kills."""
import doctest
import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import data_report, mixture
from minigpt.config import DataConfig, UserError
from minigpt.mixture import mix, shares_in_tokens
from minigpt.prepare import open_data, prepare
from minigpt.shards import MANIFEST, write_shards
from minigpt.text import pages, pipeline
from minigpt.text.contamination import find_copies, index_items
from minigpt.text.crawl import make_crawl, overlap
from minigpt.text.dedup import drop_exact, drop_near, find_duplicates, fingerprint, signatures
from minigpt.text.quality import fit_quality
from minigpt.text.sources import Document, builtin, usable_domains
from minigpt.text.steps import Statistics
from minigpt.tokenizer import train_bpe

for module in ("warcio", "trafilatura", "ftfy", "py3langid"):
    pytest.importorskip(module)
from test_pages import many, warc  # noqa: E402

ITEMS = [(f"q{i}", text) for i, text in enumerate((
    "Which of the three lamps at the harbour gate burned longest on the night when the grey ferry came home late?",
    "A baker sells nine loaves before noon and twice as many after it; how many loaves did she sell on that day?"))]
ENGLISH_TEXT = {"clean", "exact", "near", "mirror", "template"}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """(folder of WARC files, {id: truth})"""
    folder = tmp_path_factory.mktemp("crawl") / "made"
    made = make_crawl(builtin(usable_domains(["speeches"])[0]), folder, 29, 2_400_000, items=ITEMS, file_size=400_000)
    lines = [line for name in made["files"]
             for line in (folder / name.replace("warc.gz", "truth.jsonl")).open(encoding="utf-8")]
    (folder / "questions.jsonl").write_text("".join(json.dumps({"q": {"any": [text]}}) + "\n" for _, text in ITEMS))
    return folder, {truth["id"]: truth for truth in map(json.loads, lines)}


def flags(crawl, out, **other):
    options = {"text": crawl, "out": out, "tokenizer": "gpt2", "decontaminate": f"{crawl}/questions.jsonl"} | other
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", *str(value).split())]


def command(*args, **options):
    return [sys.executable, "-m", "minigpt", "prepare", *flags(*args, **options)]


def ran(*args, **options):
    return subprocess.run(command(*args, **options), capture_output=True, text=True)


def content(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in Path(folder).rglob("*") if path.is_file()}


def documents(folder):
    """The texts of a data folder, decoded from its tokens."""
    tokenizer, manifest = open_data(folder)
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            tokens = np.fromfile(folder / shard["file"], manifest["dtype"])
            for piece in np.split(tokens, np.flatnonzero(tokens == manifest["eot"]))[1:]:
                yield tokenizer.decode(piece[1:].tolist())


@pytest.fixture(scope="module")
def made(crawl, tmp_path_factory):
    """A data folder made of the crawl by two processes."""
    out = tmp_path_factory.mktemp("made") / "data"
    done = ran(crawl[0], out)
    assert done.returncode == 0, done.stderr
    return out


def test_docstrings():
    assert all(doctest.testmod(module).failed == 0 for module in (pipeline, mixture, data_report))


# ---- what is left ---------------------------------------------------------------------------------------------------


def test_what_is_kept_and_removed_against_the_truth(crawl, made):
    truth, texts = crawl[1], list(documents(made))
    order = {page.id: page.text for page in pages.mend(pages.read_warc([crawl[0]], Statistics()), Statistics())}
    of_text = {}
    for id, html in order.items():  # by what trafilatura itself makes of the page
        of_text.setdefault(fingerprint(pipeline.mask(pages.main_text(html))[0]), id)
    kept = [of_text[fingerprint(text)] for text in texts]
    kinds = Counter(truth[id]["kinds"][0] for id in kept)
    assert len(kept) > 60 and sum(kinds[kind] for kind in ENGLISH_TEXT) > 0.94 * len(kept), kinds  # by rules alone
    assert all(truth[id]["language"] == "en" for id in kept)
    alike = [truth[id] for id in kept if truth[id]["cluster"] is not None and (truth[id]["similarity"] or 1) >= 0.7]
    clusters = Counter(page["cluster"] for page in alike if page["kinds"][0] != "template")  # those are not so alike
    assert sum(count - 1 for count in clusters.values()) <= 0.03 * len(kept), clusters.most_common(3)
    wanted = {t["cluster"] or id for id, t in truth.items() if t["kinds"][0] == "clean" and len(t["text"]) > 600
              and t["language"] == "en" and not {"contamination", "truncated"} & set(t["kinds"])}
    found = {truth[id]["cluster"] or id for id in kept}
    assert len(wanted & found) > 0.85 * len(wanted) > 50, (len(wanted), len(wanted & found))
    planted = {id for id, t in truth.items() if "contamination" in t["kinds"]}
    assert planted and not planted & set(kept)
    index = index_items([text for _, text in ITEMS])
    assert not any(find_copies(text, index) for text in texts)
    personal = [(id, t["text"][start:end]) for id, t in truth.items() if id in kept
                for start, end, label in t["text_spans"] if label.startswith("pii:")]
    by_id = dict(zip(kept, texts))
    assert len(personal) > 10 and sum(value in by_id[id] for id, value in personal) <= 0.05 * len(personal)
    assert any("<EMAIL>" in text for text in texts)
    sizes = [overlap(by_id[id], truth[id]["text"]) for id in kept]
    same, ours, theirs = map(sum, zip(*sizes))
    assert same / ours > 0.95 and same / theirs > 0.95


def test_the_manifest_accounts_for_every_document_and_byte(crawl, made):
    manifest = json.loads((made / MANIFEST).read_text())
    steps = manifest["cleaning"]
    assert list(steps) == ["read", "mend", "extract", "language", "rules", "personal data", "exact duplicates",
                           "near duplicates", "contamination", "kept"]
    before = None
    for step in steps.values():
        assert step["documents"] == step["kept"] + sum(step["removed"].values())
        assert before is None or step["documents"] == before["kept"]
        assert before is None or step is steps["mend"] or step["bytes"] == before["kept_bytes"]
        before = step
    assert steps["read"]["documents"] == len(crawl[1])
    assert steps["read"]["bytes"] == sum(t["spans"][-1][1] for t in crawl[1].values())
    assert steps["contamination"]["removed"]["contaminated"] >= 1
    splits = manifest["splits"].values()
    assert sum(split["documents"] for split in splits) == before["kept"]
    assert sum(split["bytes"] for split in splits) == before["kept_bytes"]
    assert sum(len(text.encode()) for text in documents(made)) == before["kept_bytes"]
    assert {path.name for path in made.iterdir()} == {
        "manifest.json", "settings.json", "cleaning.json", "data_report.html", "tokenizer",
        *(shard["file"] for split in splits for shard in split["shards"])}


def test_the_report_can_be_read_anywhere(made):
    from lxml import html

    steps, text = json.loads((made / "cleaning.json").read_text()), (made / "data_report.html").read_text("utf-8")
    page = html.fromstring(text)
    assert len(text) < 300_000
    assert not page.xpath("//@src | //link | //a[@href]")
    assert not re.search("https?:|url\\(|@import", html.tostring(page.find("head")).decode())
    assert page.xpath("//svg") and all(svg.get("aria-label") for svg in page.xpath("//svg"))
    cells = {" ".join(row.xpath("./td/text()")) for row in page.xpath("//table[1]//tr")}
    for step in steps.values():
        for reason, count in step["removed"].items():
            assert f"removed: {reason} {count:,} {step['removed_bytes'][reason]:,}" in cells
    shown = {note.text for note in page.xpath("//p[@class='note']")}
    chosen = {id for name, step in steps.items() for reason, found in step["samples"].items() if step["removed"] or
              name == "kept" for _, id, _ in found}
    assert chosen <= shown and len(chosen) > 20
    assert not any(re.search(r"[\w.]+@[\w-]+\.example", sample[2]) for step in steps.values()
                   for found in step["samples"].values() for sample in found)
    excerpt = next(sample[2] for sample in steps["kept"]["samples"]["kept"])
    assert excerpt in [pre.text for pre in page.xpath("//pre")]


def test_samples_cannot_break_the_page(made, tmp_path):
    shutil.copytree(made, tmp_path / "data")
    steps = json.loads((made / "cleaning.json").read_text())
    steps["kept"]["samples"] = {"<b>": [["0", "<script>x</script>", "</pre><img src=x onerror=alert(1)>\0"]]}
    (tmp_path / "data/cleaning.json").write_text(json.dumps(steps))
    text = data_report.write_data_report(tmp_path / "data").read_text("utf-8")
    assert "<img" not in text and "<script>x" not in text and "\0" not in text


# ---- however it is run ----------------------------------------------------------------------------------------------


def in_one_process(folder, config):
    """The documents that are left, by the steps one after the other over all files at once, in memory."""
    statistics = {}
    stream = pages.read_warc([folder], Statistics())
    first = list(pipeline.pass_through(stream, pipeline.of_each_page(config), statistics))
    unequal = list(drop_exact(first, Statistics()))
    groups = find_duplicates(signatures(d.text for d in unequal), config.near)
    items = index_items(list(pipeline.read_questions(config.decontaminate)))
    left = [d.text for d in drop_near(unequal, groups, Statistics()) if not find_copies(d.text, items)]
    return left, statistics


def test_any_number_of_workers_and_slices_gives_what_one_process_gives(crawl, made, tmp_path):
    folder = crawl[0]
    config = DataConfig((str(folder),), decontaminate=(f"{folder}/questions.jsonl",))
    texts, statistics = in_one_process(folder, config)
    assert sorted(documents(made)) == sorted(texts)
    steps = json.loads((made / "cleaning.json").read_text())
    for name, step in statistics.items():
        assert (step.documents, step.kept_bytes, step.removed) == tuple(
            steps[name][key] for key in ("documents", "kept_bytes", "removed"))
    prepared = dict(config=DataConfig((str(folder),), tokenizer="gpt2", decontaminate=config.decontaminate),
                    vocab_size=4096, say=lambda _: None)  # fmt: skip
    for workers in (1, 5):
        prepare(folder=tmp_path / f"{workers}", workers=workers, **prepared)
    for number in (3, 1, 2):  # as if on three machines, whose parts are then brought together
        assert prepare(folder=tmp_path / f"slice{number}", workers=1, shard=(number, 3), **prepared) == (None, {})
        if number != 3:
            shutil.copytree(tmp_path / f"slice{number}/cleaning/parts", tmp_path / "slice3/cleaning/parts",
                            dirs_exist_ok=True)
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "slice3/cleaning/parts").iterdir()}
    assert len(parts) == 6
    seen = []
    prepare(folder=tmp_path / "slice3", **prepared | {"say": seen.append})
    assert not any(".warc.gz" in line for line in seen)  # none was made again
    expected = {name: data for name, data in content(made).items() if name != "data_report.html"}
    for name in ("1", "5", "slice3"):
        assert content(tmp_path / name) == expected, name


def test_kill_9_redoes_no_finished_file(crawl, made, tmp_path):
    out, done = tmp_path / "data", {}
    parts = out / "cleaning/parts"
    for target in (1, 3, 5):
        process = subprocess.Popen(command(crawl[0], out), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if parts.exists() and sum(path.suffix != ".tmp" for path in parts.iterdir()) >= target:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (out / MANIFEST).exists()
        time.sleep(0.5)  # its processes see that it is gone
        now = {path.name: path.stat().st_mtime_ns for path in parts.iterdir() if path.suffix != ".tmp"}
        assert len(now) >= target and done.items() <= now.items()
        done = now
    assert ran(crawl[0], out).returncode == 0
    assert content(out) == content(made)


@pytest.fixture(scope="module")
def parts(crawl, tmp_path_factory):
    """All parts of the crawl, not joined yet."""
    out = tmp_path_factory.mktemp("parts")
    for number in (1, 2):
        assert ran(crawl[0], out / "data", shard=f"{number}/2", workers=1).returncode == 0
    assert {path.name for path in (out / "data").iterdir()} == {"settings.json", "cleaning"}
    return out / "data"


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_kill_at_each_rename_of_the_end(crawl, made, parts, tmp_path, moment):
    """The process that joins dies at the n-th rename: what is on the disk changes there."""
    code = f"""if True:
        import os, sys
        from minigpt.__main__ import main
        count, replace = 0, os.replace
        def dying(*args):
            global count
            count += 1
            if count == {moment}:
                os.kill(os.getpid(), 9)
            replace(*args)
        os.replace = dying
        sys.exit(main(sys.argv[1:]))
    """
    out = tmp_path / "data"
    shutil.copytree(parts, out)
    args = ["prepare", *flags(crawl[0], out)]
    killed = subprocess.run([sys.executable, "-c", code, *args], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    again = ran(crawl[0], out)
    assert again.returncode == 0, again.stderr
    assert content(out) == content(made)


def test_other_settings_do_not_go_on_with_it(crawl, tmp_path, capfd):
    from minigpt.__main__ import main

    assert main(["prepare", *flags(crawl[0], tmp_path / "data", shard="1/6", workers=1)]) == 0
    for change in ({"near": 0.9}, {"languages": "de"}, {"rules": "c4"}, {"text": f"{crawl[0]}/crawl-00001.warc.gz"}):
        assert main(["prepare", *flags(crawl[0], tmp_path / "data", **change)]) == 2
        assert "made with other settings" in capfd.readouterr().err


def test_the_classifier_is_a_step(crawl, tmp_path, made):
    good = list(documents(made))
    bad = [" ".join(random.Random(i).sample(text.split(), 60)) for i, text in enumerate(good)]
    weights = fit_quality(good[::2], bad)
    np.save(tmp_path / "weights.npy", weights)
    one = str(crawl[0] / "crawl-00000.warc.gz")
    settings = dict(folder=tmp_path / "data", vocab_size=300, workers=1, say=lambda _: None)
    _, manifest = prepare(DataConfig((one,), tokenizer="gpt2", rules=(), classifier=str(tmp_path / "weights.npy"),
                                     languages=(), near=0, mask=False), **settings)  # fmt: skip
    assert list(manifest["cleaning"]) == ["read", "mend", "extract", "classifier", "exact duplicates", "kept"]
    assert set(manifest["cleaning"]["classifier"]["removed"]) == {"classifier"}
    np.save(tmp_path / "weights.npy", np.zeros(3))
    for bad in (tmp_path / "weights.npy", tmp_path / "none.npy", __file__):
        with pytest.raises(UserError, match="weights of a classifier|cannot be read"):
            pipeline.load_weights(Path(bad))


def test_the_same_answers_as_trafilatura_itself(crawl):
    """In a process of its own, without the shortcut."""
    code = f"""if True:
        import hashlib, sys
        from minigpt.text import pages
        from minigpt.text.steps import Statistics
        if sys.argv[1] == "slow":
            pages.by_attributes = lambda xpath: xpath
        for page in pages.read_warc([{str(crawl[0])!r}], Statistics()):
            print(hashlib.sha256(pages.main_text(page.text).encode("utf-8", "replace")).hexdigest())
    """
    slow, fast = (subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True).stdout
                  for how in ("slow", "fast"))
    assert slow == fast and slow.count("\n") == len(crawl[1])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_by_attributes_is_the_expression(data):
    """On random trees, for every expression that is replaced."""
    tags, words = ("div", "p", "span", "section", "article", "main", "h1", "ul", "o:p", "x-y", "td"), (
        "post", "entry-content", "sidebar", "comments", "content", "menu", "main", "story", "cookie", "infinite-scroll",
        "a hidden b", "\x02nav", "reply-1", "hello", "é")  # fmt: skip
    names = ("id", "class", "role", "style", "@click", "data-x", "aria-hidden", "itemprop")
    pieces = data.draw(st.lists(st.tuples(st.sampled_from(tags), st.lists(st.tuples(
        st.sampled_from(names), st.sampled_from(words)), max_size=3), st.booleans()), min_size=1, max_size=14))
    markup = "<html><body>" + "".join(
        f"<{tag} {' '.join(f'{name}={value!r}' for name, value in attributes)}>text{f'</{tag}>' * closes}"
        for tag, attributes, closes in pieces)
    compare(markup)


def compare(markup):
    from lxml import html
    from trafilatura import xpaths

    tree = html.fromstring(markup)
    pages.main_text("<p>")  # from here on the lists are the fast ones
    for fast in (*xpaths.OVERALL_DISCARD_XPATH, *xpaths.RAW_TREE_PRUNE_XPATH, *xpaths.REMOVE_COMMENTS_AND_LISTS_XPATH):
        assert fast(tree) == fast.xpath(tree), (markup, fast.xpath.path)
    for fast in xpaths.BODY_XPATH:  # of which the first one counts
        assert list(fast(tree))[:1] == fast.xpath(tree)[:1], (markup, fast.xpath.path)


def test_by_attributes_asks_again_where_it_matters_what_lies_below():
    for inside in ("", "<h1>Title</h1>", "<p>text<h1>Title</h1></p>"):
        compare(f"<html><body><div class='infinite-scroll'>{inside}</div><div id='mvp-post-add-box'>{inside}</div>")


# ---- mixture --------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=3), st.floats(0.001, 1), min_size=1, max_size=6), st.integers(0, 10**12))
def test_shares_in_tokens(shares, total):
    total_share = sum(shares.values())
    found = shares_in_tokens(shares, total)
    assert sum(found.values()) == total
    assert all(abs(found[name] - share / total_share * total) <= 1 + 1e-12 * total for name, share in shares.items())


@pytest.fixture
def three(tmp_path):
    """Text of three domains: a (40 documents), b (10), c (5)."""
    rng = random.Random(3)
    for name, count in (("a", 40), ("b", 10), ("c", 5)):
        (tmp_path / "text" / name).mkdir(parents=True)
        for i in range(count):
            words = " ".join(rng.choices("the river told a story to old trees".split(), k=rng.randrange(20, 90)))
            (tmp_path / "text" / name / f"{i:02d}.txt").write_text(f"{name}{i:02d} {words}")
    return tmp_path / "text"


def mixed(text, out, **other):
    options = dict(vocab_size=300, workers=1, most_tokens=0, say=lambda _: None)
    data = {name: other.pop(name) for name in ("mixture", "max_epochs") if name in other}
    return prepare(DataConfig((str(text),), val_fraction=0.1, **data), out, **options | other)


@pytest.mark.parametrize("tokens", [0, 3001])
def test_shares_are_exact_and_repetition_is_whole_passes(three, tmp_path, tokens):
    _, plain = mixed(three, tmp_path / "plain")
    tokenizer, manifest = mixed(three, tmp_path / "mixed", mixture="a=.5,b=.3,c=.2", most_tokens=tokens, max_epochs=20)
    have = {name: counts["tokens"] for name, counts in plain["splits"]["train"]["domains"].items()}
    total = tokens or sum(have.values())
    found = {name: counts["tokens"] for name, counts in manifest["splits"]["train"]["domains"].items()}
    assert manifest["splits"]["train"]["tokens"] == total == sum(found.values())
    assert all(abs(found[name] - share * total) < 1 for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.2))), found
    assert manifest["splits"]["val"] == plain["splits"]["val"]
    assert not (tmp_path / "mixed/unmixed").exists() and open_data(tmp_path / "mixed")[1] == manifest
    texts = list(documents(tmp_path / "mixed"))
    names = Counter(text[:3] for text in texts if len(text) > 40)
    held = {text[:3] for text in list(documents(tmp_path / "plain"))[-plain["splits"]["val"]["documents"]:]}
    for domain in "abc":  # no document is seen twice more than another
        times = [names[name] for name in names if name[0] == domain and name not in held]
        epochs = manifest["mixture"][domain]["epochs"]
        assert epochs == found[domain] / have[domain]
        assert set(times) <= {int(epochs) - 1, int(epochs), int(epochs) + 1}, (domain, times)
    train = texts[: manifest["splits"]["train"]["documents"]]
    assert sum(len(tokenizer.encode(text)) + 1 for text in train) >= 0.95 * total  # re-encoding a cut text may differ
    halves = [Counter(text[0] for text in half) for half in (train[: len(train) // 2], train[len(train) // 2 :])]
    assert all(abs(halves[0][d] - halves[1][d]) <= 0.3 * len(train) for d in "abc"), halves  # spread, not in blocks


def test_a_mixture_over_several_shards(tmp_path):
    """By the closed formula: token k of a domain is token k modulo what there is."""
    texts = [Document(f"{d}{i}", d, f"{d} " * (3 + i % 7)) for d in "ab" for i in range(30)]
    tokenizer = train_bpe(["a b"], 257, ("<|endoftext|>",))
    write_shards(tmp_path / "whole", texts, tokenizer, is_val=lambda d: d.id == "a3", shard_tokens=90, by_domain=True)
    tokenizer.save(tmp_path / "mixed/tokenizer/tokenizer.json")
    manifest = mix(tmp_path / "whole", tmp_path / "mixed", tokenizer, {"a": 0.75, "b": 0.25}, 4, 1234, shard_tokens=100)
    streams = {}
    for name in ("whole", "mixed"):
        files = json.loads((tmp_path / name / MANIFEST).read_text())["splits"]["train"]["shards"]
        assert len(files) > 5
        tokens = np.concatenate([np.fromfile(tmp_path / name / shard["file"], "<u2") for shard in files])
        pieces = np.split(tokens, np.flatnonzero(tokens == tokenizer.eot))[1:]
        streams[name] = {d: np.concatenate([p for p in pieces if ord(d) in p]) for d in "ab"}
    for domain, size in shares_in_tokens({"a": 0.75, "b": 0.25}, 1234).items():
        expected = np.resize(streams["whole"][domain], size)
        found = streams["mixed"][domain]
        assert abs(len(found) - size) <= 1 and (found[: size - 1] == expected[: len(found)][: size - 1]).all()
    assert sum(shard["bytes"] for shard in manifest["splits"]["train"]["shards"]) == 1234 - \
        manifest["splits"]["train"]["documents"]


@pytest.mark.parametrize("asked, sentence", [
    (dict(mixture="a=.5,b=.3"), r"add up to 0\.8, not to 1"), (dict(mixture="a=.5,b=.6"), "add up to 1.1"),
    (dict(mixture="a=1,b"), "is not understood"), (dict(mixture="a=x"), "is not understood"),
    (dict(mixture="a=1.5,b=-.5"), "one share above 0"), (dict(mixture="a=.5,a=.5"), "one share above 0"),
    (dict(mixture="a=nan"), "one share above 0"), (dict(mixture="a=.5,z=.5"), "names z, but the text .* is of a, b, c"),
    (dict(mixture="a=.1,c=.9"), r"tokens of c, which has .* epochs, and --max-epochs is 4: lower"),
    (dict(mixture="a=1", tokens=10**6), "--max-epochs is 4"), (dict(mixture="a=1", max_epochs=0.5), "is 0.5"),
    (dict(mixture="a=1", max_epochs=-1), "must be above 0"), (dict(near=2), "--near is a similarity"),
    (dict(rules="gopher bad"), "no rules 'bad'"), (dict(shard="3/2"), "--shard 3/2 is not understood"),
    (dict(shard="1/2"), "there is none in --text"),
])
def test_impossible_wishes_are_one_sentence(three, tmp_path, capfd, asked, sentence):
    from minigpt.__main__ import main

    argv = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", *str(value).split())]
    assert main(["prepare", "--text", str(three), "--out", str(tmp_path / "out"), "--vocab-size", "300", *argv]) == 2
    error = capfd.readouterr().err
    assert re.search(sentence, error) and error.count("\n") == 1 and not (tmp_path / "out" / MANIFEST).exists()


def test_the_most_tokens_that_it_names_are_possible(three, tmp_path, capfd):
    with pytest.raises(UserError) as found:
        mixed(three, tmp_path / "out", mixture="a=.1,c=.9")
    most = int(re.search(r"--tokens (\d+) at most", str(found.value))[1])
    _, manifest = mixed(three, tmp_path / "out", mixture="a=.1,c=.9", most_tokens=most)
    assert 3.99 < manifest["mixture"]["c"]["epochs"] <= 4 and manifest["splits"]["train"]["tokens"] == most


# ---- bad input ------------------------------------------------------------------------------------------------------


def article(number, more=b""):
    """A page that passes every rule, different from every other."""
    rng = random.Random(number)
    words = [f"{a}{b}" for a in "bal cor dun fen gar hol".split() for b in "ter mis ton vel ka".split()]
    lines = [" ".join(["The", *rng.sample(words, 7), "of the", rng.choice(words), "and that was", "with them."])
             for _ in range(14)]
    return f"https://a.example/{number}", b"<html><body><article>" + b"".join(
        f"<p>{line}</p>".encode() for line in lines) + more + b"</article></body></html>"


def test_trouble_of_every_kind_in_one_crawl(tmp_path):
    folder = tmp_path / "crawl"
    folder.mkdir()
    good = [article(i) for i in range(12)]
    (folder / "0.warc.gz").write_bytes(warc(good[:4]))
    broken = warc(good[4:6]) + b"\x1f\x8b\x08 no member" * 50 + warc([article(99)])[:-300] + warc(good[6:8])
    (folder / "1.warc.gz").write_bytes(broken)
    huge = article(50)[1].replace(b"</article>", b"<p>word " * 6_500_000)
    (folder / "2.warc").write_bytes(b"junk" * 100 + warc([("https://a.example/huge", huge), *good[8:9]], gz=False))
    nested = b"<html><body>" + b"<div>" * 100_000 + b"The keeper lit the lamp. " * 30
    odd = [("https://a.example/nested", nested), ("https://a.example/none", b"<html><body><img></body></html>"),
           ("https://a.example/empty", b""), (good[9][0], good[9][1].replace(b"<p>", b"<p>\0").replace(b"T", b"T\0"))]
    (folder / "3.warc.gz").write_bytes(warc(odd))
    latin = "<p>" + "The café of the señor was naïve and that façade with them. " * 6 + "</p>"
    wrong = [(url, page.replace(b"</article>", latin.encode("latin-1") + b"</article>")) for url, page in good[10:11]]
    (folder / "4.warc.gz").write_bytes(warc(wrong, type="text/html; charset=utf-8"))
    same = {"warc": {"WARC-Record-ID": "<urn:uuid:12345678-1111-4222-8333-123456789abc>"}}
    twice = [warc([(good[0][0], page)], **same) for _, page in (good[11], article(77))]
    (folder / "5.warc.gz").write_bytes(b"".join(twice))
    (folder / "6.warc.gz").write_bytes(warc([(good[0][0], article(78)[1])], **same))  # the same id in another file
    (folder / ".hidden.warc.gz").write_bytes(b"not read")
    (folder / "notes.txt").write_text("not a part of the crawl")
    done = ran(folder, tmp_path / "data", decontaminate=folder / "notes.txt", rules="c4")
    assert done.returncode == 0 and not done.stderr, done.stderr
    texts = "\n".join(documents(tmp_path / "data"))
    for number in [*range(12), 77, 78]:
        sentence = re.search(rb"<p>(.*?)</p>", article(number)[1])[1].decode()
        assert sentence in texts, number
    assert "café of the señor was naïve" in texts and "\0" not in texts and "not a part" not in texts
    steps = json.loads((tmp_path / "data/manifest.json").read_text())["cleaning"]
    read, counts = steps["read"], steps["read"]["counts"]
    assert counts["broken"] == 3 and counts["capped"] == 1 and counts["nul"] == 1 and counts["charset"] == 1
    assert counts["repeated"] == 1 and read["documents"] == 4 + 4 + 2 + 4 + 1 + 2 + 1
    assert steps["extract"]["removed"]["no text"] >= 2


@pytest.mark.parametrize("name, data, sentence", [
    ("a.warc.gz", b"not a crawl at all", "a.warc.gz holds no WARC record"),
    ("a.warc", b"", "a.warc holds no WARC record"),
    ("a.warc.gz", warc(many(3)), r"no page of the crawl is left .* gopher|rule|fineweb"),
    ("a.warc.gz", warc([("https://a.example/", b"<html></html>")]), r"no page of the crawl .*no text \(1\)"),
])
def test_crawls_without_anything_are_one_sentence(tmp_path, name, data, sentence):
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / name).write_bytes(data)
    (tmp_path / "crawl/questions.jsonl").write_text("")
    done = ran(tmp_path / "crawl", tmp_path / "out")
    assert done.returncode == 2 and re.search(sentence, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_questions_that_cannot_be_read(tmp_path):
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl/a.warc.gz").write_bytes(warc([article(i) for i in range(3)]))
    (tmp_path / "crawl/questions.jsonl").write_text('{"a": 1}\n{"b": \n')
    done = ran(tmp_path / "crawl", tmp_path / "out")
    assert done.returncode == 2 and "questions.jsonl:2 is not a line of JSON" in done.stderr, done.stderr
    done = ran(tmp_path / "crawl", tmp_path / "out2", languages="english", decontaminate="")
    assert done.returncode == 2 and "'english' is none that can be told" in done.stderr, done.stderr


def test_memory_stays_flat(tmp_path):
    """60 pages of a megabyte through one process: its memory is that of a few pages, not of all."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc; getrusage would tell the largest of the process that starts this one")
    line = "<p>The lamp {} of the harbour was lit and that was seen with joy by them.</p>"
    filler = "".join(map(line.format, range(12_000)))
    data = b"".join(warc([(f"https://a.example/{i}", article(i, filler.encode())[1])]) for i in range(60))
    (tmp_path / "a.warc.gz").write_bytes(data)
    code = ("import re, sys; from pathlib import Path; from minigpt.config import DataConfig\n"
            "from minigpt.text.pipeline import clean_file\n"
            "clean_file(Path(sys.argv[1]), Path(sys.argv[2]), DataConfig())\n"
            "print(int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.warc.gz"), str(tmp_path / "part")],
                          capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300, done.stdout
