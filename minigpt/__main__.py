"""python -m minigpt VERB: one thin function a verb; flags come from dataclasses and signatures."""
import argparse
import difflib
import inspect
import json as json_
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

STARTED = time.perf_counter()

import tyro  # noqa: E402  (after the clock: a time limit covers the whole command)

from .classroom.capstone import milestone_verb  # noqa: E402
from .classroom.doctor import doctor  # noqa: E402
from .classroom.grade import check_verb  # noqa: E402
from .classroom.hints import hint_verb, solution_verb, start_verb  # noqa: E402
from .classroom.progress import progress_verb  # noqa: E402
from .classroom.ready import ready_verb  # noqa: E402
from .classroom.review import review_verb  # noqa: E402
from .config import DataConfig, Passing, RunConfig, UserError, check_reference, depth, preset  # noqa: E402
from .report import refused  # noqa: E402


def pretrain(argv: list[str]) -> int:
    """Train a model on text: from a preset, or from one number (--depth)."""
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", default="tiny")
    chooser.add_argument("--depth", type=int)
    chosen, rest = chooser.parse_known_args(argv)
    about = "Flags change a preset (--preset NAME, default tiny) or a depth (--depth N); its own defaults are shown."
    rest = ["--start-from" if arg == "--from" else arg for arg in rest]
    try:
        default = preset(chosen.preset) if chosen.depth is None else depth(chosen.depth)
        config = parse(tyro.conf.OmitArgPrefixes[RunConfig], rest, "pretrain", default=default, description=about)
        if config.train.resume and not config.train.out:
            raise UserError("--resume needs --out, the run folder to continue in.")
        check_reference(config)
    except UserError as error:
        refused(*folder_named(rest), error)
        raise
    if not config.train.out:
        config = replace(config, train=replace(config.train, out=time.strftime("runs/%Y-%m-%d_%H-%M-%S")))
    preparing = None if from_torchrun() else begin_to_prepare(config)
    import torch._dynamo  # noqa: F401  (the first optimizer would import it, when there is nothing to wait for)

    from .train import Diverged, Run, pretrain

    if preparing is not None and preparing.wait():
        return preparing.returncode  # it has said why

    stopping = False

    def request_stop(number, frame):
        nonlocal stopping
        if stopping and number == signal.SIGINT and not from_torchrun():  # Ctrl-C twice: do not insist on saving
            raise KeyboardInterrupt
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    try:
        run = pretrain(config, stop=lambda: stopping, started=STARTED)
    except Diverged as error:
        if leads():
            print(f"minigpt: {error}.", file=sys.stderr)
        return 0 if from_torchrun() else 3
    if leads() and run.status.get("reason") != "interrupted":
        print_result(Run.load(run.folder))
    return 0 if from_torchrun() or run.status.get("status") == "done" else 75


def folder_named(argv: list[str]) -> tuple[str, bool]:
    """What flags that may be mistaken say of --out and --resume."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--out", nargs="?")
    return finder.parse_known_args(argv)[0].out or "", "--resume" in argv


def from_torchrun() -> bool:
    """Whether this process is one of torchrun's ranks; `parallel.launched` needs torch, which not every verb loads."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leads() -> bool:
    """Rank 0, or a process that is alone: the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def begin_to_prepare(config: RunConfig) -> subprocess.Popen | None:
    """Turn the text of a new run into tokens in a process of its own: it is done by the time that torch has loaded."""
    if config.data.data or (Path(config.train.out) / "config.json").exists():
        return None
    return subprocess.Popen([sys.executable, "-m", "minigpt.prepare", config.to_json(), f"{config.train.out}/data"])


def print_result(run) -> None:
    """The outcome on the terminal, as short as a person will read."""
    s = run.summary
    print(f"\n{s['parameters'] / 1e6:.1f} M parameters, {s['tokens'] / 1e6:.1f} M tokens, {s['seconds']:.0f} s: "
          f"{s['val_bpb']:.3f} bits per byte on held-out text")
    print("\n".join(f"  {domain:<12} {bpb:.3f}" for domain, bpb in s["domains"].items()))
    samples = [row["sample"] for row in run.metrics if "sample" in row]
    if samples:
        print(f"\nwhat it writes:\n{samples[-1].strip()}\n")
    print(f"report: {run.folder / 'report.html'}\nchat:   python3 course.py chat --run {run.folder}")


def prepare(
    out: str, text: tuple[str, ...] = (), domains: tuple[str, ...] = DataConfig.domains, val_text: str = "",
    tokenizer: str = "", vocab_size: int = 4096, tokens: int = 0, workers: int = 2, import_bin: tuple[str, ...] = (),
    languages: tuple[str, ...] = DataConfig.languages, rules: tuple[str, ...] = DataConfig.rules, classifier: str = "",
    mask: bool = True, near: float = DataConfig.near, decontaminate: tuple[str, ...] = (), shard: str = "1/1",
    mixture: str = "", max_epochs: float = DataConfig.max_epochs,
) -> int:  # fmt: skip
    """Turn text into a data folder: tokenizer, token shards, manifest. Given again, it goes on, or is done at once.

    Args:
        out: The data folder to make.
        text: Files, folders, http(s) addresses (#sha256=HEX checks one), hub:owner/name/path; empty: built-in domains.
        domains: Built-in domains to take, where no text is given.
        val_text: A file or folder to hold out; empty: documents chosen by a hash of their ids.
        tokenizer: gpt2, a tokenizer.json, or a run folder; empty: train one.
        vocab_size: Size of the tokenizer to train.
        tokens: Stop after the document that brings the training tokens (with <|endoftext|>) to this; 0: take all.
        workers: Processes.
        import_bin: Files of GPT-2 tokens to use where they are, instead of text: .bin of llm.c or of nanoGPT.
        languages: Of a crawl (.warc, .warc.gz): the languages to keep, as codes like en; none: all.
        rules: Of a crawl: whose rules of quality a page has to pass: gopher, c4, fineweb; none: no rules.
        classifier: Of a crawl: a .npy file with weights of fit_quality, by which a page has to be a good one.
        mask: Of a crawl: put <EMAIL> and so on in the place of personal data.
        near: Of a crawl: pages at least this similar are duplicates, and the first one stays; 0: equal ones only.
        decontaminate: Of a crawl: files of test questions; pages that hold a copy of one are left out.
        shard: Of a crawl: only clean files I, I + N, I + 2N, ... (I/N, from 1/N to N/N); a call without joins them.
        mixture: Shares of the training tokens by domain, like books=.5,drama=.5; the rest is left out.
        max_epochs: How often the mixture may repeat a domain.
    """
    from .prepare import import_bins, prepare

    if tokens < 0 or workers < 1:
        raise UserError("--tokens cannot be negative, and --workers must be at least 1.")
    if import_bin:
        if text or val_text or tokens or tokenizer not in ("", "gpt2"):
            raise UserError("--import-bin takes tokens that are ready, of GPT-2's tokenizer: it does not go with "
                            "--text, --val-text, --tokens or another --tokenizer.")  # fmt: skip
        import_bins(import_bin, Path(out))
    else:
        slice_of = re.fullmatch(r"(\d+)/(\d+)", shard)
        if not slice_of or not 1 <= int(slice_of[1]) <= int(slice_of[2]):
            raise UserError(f"--shard {shard} is not understood: write I/N, from 1/N to N/N.")
        config = DataConfig(text, domains, val_text, tokenizer=tokenizer, languages=languages, rules=rules, near=near,
                            classifier=classifier, mask=mask, decontaminate=decontaminate, mixture=mixture,
                            max_epochs=max_epochs)  # fmt: skip
        _, manifest = prepare(config, Path(out), vocab_size, workers, most_tokens=tokens,
                              shard=tuple(map(int, slice_of.groups())))  # fmt: skip
        if "cleaning" in manifest:
            from .data_report import write_data_report

            print(write_data_report(Path(out)))
    return 0


def evaluate(run: str, text: str = "", stride: int = 0, pairs: str = "", choices: str = "", cloze: str = "",
             json: bool = False) -> int:  # fmt: skip
    """Measure a run: bits per byte of its own held-out text or of a text of yours, or a probe of what it knows.

    Args:
        run: The run folder.
        text: A file or folder; empty: what the run held out.
        stride: Predict each token with at least context - stride tokens before it; 0: windows without overlap.
        pairs: A .jsonl file of minimal pairs, {"good", "bad", "phenomenon"}, or one of BLiMP.
        choices: A .jsonl file of questions, {"question", "options", "answer"}, or one of HellaSwag or ARC.
        cloze: A .jsonl file of ends to fill in, {"prefix", "answer", "group"}, or one of LAMBADA.
        json: Print one JSON object and nothing else.
    """
    from .evaluate import bits_per_byte
    from .text.sources import read_text
    from .train import Run

    loaded = Run.load(run)
    asked = {kind: file for kind, file in (("pairs", pairs), ("choices", choices), ("cloze", cloze)) if file}
    if asked:
        from .probes import as_text, probe, read_items

        if text or len(asked) > 1:
            raise UserError("one thing at a time: --text, --pairs, --choices or --cloze.")
        [(kind, file)] = asked.items()
        found = probe(loaded.model, loaded.tokenizer, kind, read_items(kind, file))
        if not json:
            found = as_text(found)
    elif text:
        whole = "\n\n".join(document.text for document in read_text([text]))
        key = "bits_per_byte_sliding" if stride else "bits_per_byte"
        bpb = bits_per_byte(loaded.model, loaded.tokenizer, whole, stride=stride or None)
        found = {key: bpb, "bytes": len(whole.encode())}
    else:
        found = {"val_bpb": loaded.summary["val_bpb"], "domains": loaded.summary["domains"]}
    print(json_.dumps(found) if json else "\n".join(f"{key}: {value}" for key, value in found.items()))
    return 0


def sample(
    run: str, prompt: str = "", max_tokens: int = 200, temperature: float = 0.8, top_k: int = 0, top_p: float = 0.95,
    min_p: float = 0.0, pattern: str = "", seed: int = 0, json: bool = False,
) -> int:  # fmt: skip
    """Let a run's model continue a prompt.

    Args:
        run: The run folder.
        prompt: The beginning; empty: the start of a document.
        max_tokens: Tokens to write at most.
        temperature: Below 1 more cautious, above 1 wilder, 0 always the likeliest token.
        top_k: Choose among the k likeliest tokens only; 0: all.
        top_p: Choose among the likeliest tokens that together have this probability.
        min_p: Leave out tokens less likely than this share of the likeliest one.
        pattern: A regular expression that the continuation must match, such as "[a-z]+, [a-z]+"; empty: any text.
        seed: The same seed gives the same text.
        json: Print one JSON object and nothing else.
    """
    from .constrained import allowed_by
    from .sampling import generate
    from .train import Run

    loaded = Run.load(run)
    tokens = [loaded.tokenizer.eot, *loaded.tokenizer.encode(prompt)]
    (new,) = generate(loaded.model, [tokens], max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
                      min_p=min_p, seed=seed, stop_tokens=[loaded.tokenizer.eot],
                      allowed=allowed_by(pattern, loaded.tokenizer) if pattern else None)  # fmt: skip
    text = loaded.tokenizer.decode(new)
    print(json_.dumps({"prompt": prompt, "text": text, "tokens": len(new)}) if json else prompt + text)
    return 0


def chat(run: str, max_tokens: int = 120, temperature: float = 0.8, seed: int = 0) -> int:
    """Write a line, and the run's model goes on from there. It was trained to continue text, not to answer.

    Args:
        run: The run folder.
        max_tokens: Tokens to write at most.
        temperature: Below 1 more cautious, above 1 wilder, 0 always the likeliest token.
        seed: Seeds the choices.
    """
    from .sampling import stream
    from .train import Run

    loaded = Run.load(run)
    print("Write the beginning of something; an empty line ends.")
    with suppress(EOFError, KeyboardInterrupt):
        for turn, line in enumerate(iter(lambda: input("> "), "")):
            tokens, shown, written = [loaded.tokenizer.eot, *loaded.tokenizer.encode(line)], "", []
            options = dict(max_tokens=max_tokens, temperature=temperature, top_p=0.95, seed=seed + turn)
            print(line, end="", flush=True)
            for token in stream(loaded.model, tokens, stop_tokens=[loaded.tokenizer.eot], **options):
                written.append(token)
                text = loaded.tokenizer.decode(written)
                if not text.endswith("\ufffd"):  # half a character: wait for the rest of it
                    print(text[len(shown) :], end="", flush=True)
                    shown = text
            print()
    return 0


def report(run: str) -> int:
    """Write report.html for a run again.

    Args:
        run: The run folder.
    """
    from . import report
    from .train import Run

    print(report.write(Run.load(run).folder))
    return 0


def follow(run: str, to: Literal["stdout", "tensorboard", "wandb"] = "stdout", notify: str = "") -> int:
    """Watch a run from a process of its own: pass its metrics on, and send a message when it ends or stands still.

    Args:
        run: The run folder; it may come later.
        to: Where the metrics go; tensorboard and wandb are packages of their own, whose keys come by the environment.
        notify: An address that takes a small JSON object by POST; empty: the environment's MINIGPT_NOTIFY, if set.
    """
    from .follow import follow

    follow(Path(run), to, notify or os.environ.get("MINIGPT_NOTIFY", ""))
    return 0


def bench(peer: str = "", only: str = "", json: bool = False) -> int:
    """Measure speed, as ratios to peers in the same run; takes some minutes.

    Args:
        peer: nanogpt=DIR, a folder with nanoGPT's source.
        only: Run only the benchmarks whose name contains this.
        json: Print one JSON object and nothing else.
    """
    from .bench import run_all

    name, _, folder = peer.partition("=")
    if peer and (name != "nanogpt" or not folder):
        raise UserError(f"--peer {peer!r} is not understood: write --peer nanogpt=DIR.")
    rows = run_all(Path(folder) if peer else None, only)
    if json:
        print(json_.dumps({"results": rows}))
    return 0


def redo(name: tyro.conf.Positional[str]) -> int:
    """Run an experiment again that a lesson has on record, and write its record; interrupted, it goes on later.

    Args:
        name: The experiment, like 02.vocabulary.
    """
    from .classroom.shelf import redo

    return redo(name)


def speedrun(argv: list[str]) -> int:
    """Compare a change of yours with the speedrun's reference, seed by seed: pretrain's flags, --file PY, --seeds N."""
    from .classroom.speedrun import REFERENCE, speedrun

    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--file", default="")
    chooser.add_argument("--seeds", default="3")
    chooser.add_argument("--json", action="store_true")
    chosen, rest = chooser.parse_known_args(argv)
    if not chosen.seeds.isdigit():
        raise UserError(f"--seeds {chosen.seeds} is not a number.")
    about = ("Compare a change of yours with the reference, the preset shakespeare, seed by seed. The flags change a "
             "setting; --file PY names code with change(training); --seeds N, 3 or more; --json.")  # fmt: skip
    entry = parse(tyro.conf.OmitArgPrefixes[RunConfig], rest, "speedrun", default=REFERENCE, description=about)
    say = (lambda line: print(line, file=sys.stderr)) if chosen.json else print
    found = speedrun(entry, chosen.file, int(chosen.seeds), say)
    if chosen.json:
        print(json_.dumps(found))
    return 0


def museum(k: tyro.conf.Positional[int] = -1, live: bool = False, experiment: str = "", png: str = "") -> int:
    """Broken training runs, by number: read the evidence, then name the cause. Without a number: what there is.

    Args:
        k: The exhibit; 0: the healthy run.
        live: Train it now, in a few seconds, instead of showing the record.
        experiment: Put one question to the run, such as same_twice.
        png: Also draw the curves into this file.
    """
    from .classroom import museum

    print(museum.visit(k, live, experiment, png))
    return 0


OF_THE_COURSE = (ready_verb, start_verb, check_verb, hint_verb, solution_verb, review_verb, progress_verb,
                 milestone_verb, speedrun, museum, redo)  # fmt: skip
VERBS = {
    verb.__name__.removesuffix("_verb"): verb
    for verb in (prepare, pretrain, evaluate, sample, chat, report, follow, bench, doctor, *OF_THE_COURSE)
}


def parse(what, argv: list[str], verb: str, **options):
    """tyro.cli, after naming the first unknown flag in one sentence."""
    if what is VERBS[verb]:  # its own signature; else the flags of a RunConfig
        names = [name.rstrip("_") for name in inspect.signature(what).parameters]
    else:
        names = ["preset", "depth", *(f.name for part in fields(RunConfig) for f in fields(part.default_factory))]
    flags = [f"--{name.replace('_', '-')}" for name in names]
    for flag in (arg.split("=")[0].replace("_", "-") for arg in argv if arg.startswith("--")):
        if flag.replace("--no-", "--") not in [*flags, "--help"]:
            near = difflib.get_close_matches(flag, flags, 1)
            hint = f"did you mean {near[0]}?" if near else f"see `minigpt {verb} --help`."
            raise UserError(f"unknown flag {flag}: {hint}")
    try:
        return tyro.cli(what, args=argv, prog=f"minigpt {verb}", **options)
    except SystemExit as ended:  # --help, or a mistake that tyro has told
        if not ended.code:
            raise
        raise UserError(f"these flags are not understood (above): see `minigpt {verb} --help`.") from None


def main(argv: list[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: minigpt VERB [flags]; minigpt VERB --help says more\n")
        for name, verb in VERBS.items():
            print(f"  {name:<10} {verb.__doc__.splitlines()[0]}")
        return 0
    verb, *rest = argv
    try:
        if verb not in VERBS:
            raise UserError(f"unknown verb {verb!r}: choose from {', '.join(VERBS)}.")
        if verb in ("pretrain", "speedrun"):  # their flags are a RunConfig's
            return VERBS[verb](rest)
        return parse(VERBS[verb], rest, verb)
    except UserError as error:
        if leads():
            print(f"minigpt: {error}", file=sys.stderr)
        return 0 if from_torchrun() else 75 if isinstance(error, Passing) else 2  # torchrun starts crashes again
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    code = main()
    if from_torchrun():  # threads that still wait would abort a rank whose interpreter goes away
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
