"""launch/run.sh: one command that checks, prepares, trains until it is done, exports, copies home and ends the machine.
On two hosts each is a network namespace of its own; what is killed are all of a host's processes."""
import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from test_parallel import FIXED, MODEL, data, losses, run, same_bits, weights  # noqa: F401  (data is a fixture)

import minigpt.__main__ as main_
from minigpt.checkpoint import list_checkpoints

ROOT = Path(__file__).parent.parent
LAUNCH = ROOT / "launch" / "run.sh"
pytestmark = pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="needs bash")


def launch(out: Path, *flags, before: tuple = (), **settings) -> dict:
    """What `subprocess.run` and `Popen` need to start launch/run.sh: args, env. `before` is put in front of it."""
    names = {"RUN": out, "PYTHON": sys.executable, "NPROC": 1, "PAUSE": 0.1} | settings
    env = {k: v for k, v in os.environ.items() if k not in ("COPY_HOME", "ON_DONE")}
    return {"args": [*before, "bash", str(LAUNCH), *MODEL, *FIXED, *map(str, flags)], "text": True,
            "env": env | {k: str(v) for k, v in names.items()} | {"OMP_NUM_THREADS": "1"}}  # fmt: skip


def launched(out: Path, *flags, **settings) -> subprocess.CompletedProcess:
    return subprocess.run(**launch(out, *flags, **settings), capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def once(data, tmp_path_factory) -> Path:  # noqa: F811
    """The whole way on one host: it prepares the data itself."""
    folder = tmp_path_factory.mktemp("launch")
    (folder / "text.txt").write_text("\n\n".join(f"the {n}th word of the day is {n * 7} " * 40 for n in range(60)))
    done = launched(folder / "run", "--steps", 12, DATA=folder / "data", NPROC=2,
                    PREPARE=f"--text {folder / 'text.txt'} --vocab-size 300 --workers 1",
                    COPY_HOME=f'cp -r "$RUN" {folder}/home', ON_DONE=f'echo "$OUTCOME" > {folder}/over')  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "said").write_text(done.stderr)
    return folder


def test_one_command_from_text_to_the_result_at_home(once):
    assert (once / "over").read_text() == "done\n"
    assert max(losses(once / "home")) == 12 and (once / "home" / "summary.json").exists()
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(once / "home" / "export")
    assert model.config.num_hidden_layers == 2
    assert "no nvidia-smi here" in (once / "said").read_text() or shutil.which("nvidia-smi")


def test_the_command_again_finds_all_done_and_keeps_the_only_copy(once):
    """Nothing is trained again; and if the copy fails, the result must not go down with the machine."""
    before = (once / "run" / "metrics.jsonl").read_bytes()
    again = launched(once / "run", "--steps", 12, DATA=once / "data", NPROC=2, COPY_HOME="exit 9",
                     ON_DONE=f"touch {once}/gone")  # fmt: skip
    assert "is complete" in again.stdout and (once / "run" / "metrics.jsonl").read_bytes() == before
    assert "Python" not in again.stderr, "a run that has begun needs no doctor"
    assert again.returncode == 1 and "the copy failed, so this machine stays up" in again.stderr
    assert not (once / "gone").exists()


@pytest.mark.parametrize("flags, outcome, starts", [
    (("--price", 1e7, "--max-cost", 0.001), "preempted: cost limit", 1),  # no use in going on
    (("--batch-tokens", 24 * 7), "failed: UserError: a batch of 7 sequences cannot be shared equally", 1),
    (("--tp", 3), "failed: UserError: --tp 3 does not divide the 2 ranks", 1),  # found before ranks meet
    (("--save-evry", 5), "failed: UserError: unknown flag --save-evry", 1),
])  # fmt: skip
def test_what_ends_a_run_that_is_not_done(once, tmp_path, flags, outcome, starts):
    """A machine that is paid for must not go on for ever, nor idle: it says why, copies what there is, and ends."""
    done = launched(tmp_path / "run", "--steps", 500, *flags, DATA=once / "data", NPROC=2, TRIES=2,
                    COPY_HOME=f'cp -r "$RUN" {tmp_path}/home', ON_DONE=f'echo "$OUTCOME" >{tmp_path}/over')  # fmt: skip
    assert done.returncode == 1 and (tmp_path / "home").is_dir(), done.stderr[-2000:]
    assert (tmp_path / "over").read_text().startswith(outcome)
    assert done.stderr.count("run.sh: start ") == starts


def test_a_signal_saves_and_the_same_command_goes_on(once, tmp_path):
    flags, settings = ("--steps", 60, "--save-every", 0), dict(DATA=once / "data", ON_DONE=f"touch {tmp_path}/gone")
    assert run(1, once, tmp_path / "calm", *flags).returncode == 0
    process = subprocess.Popen(**launch(tmp_path / "run", *flags, **settings), stderr=subprocess.PIPE)
    wait_for(lambda: max(losses(tmp_path / "run")) > 9, process)
    refused = launched(tmp_path / "run", *flags, **settings)  # a second one, by mistake
    assert refused.returncode == 2 or not shutil.which("flock")
    process.terminate()
    assert process.wait(60) == 75, process.stderr.read()[-2000:]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "preempted"
    assert not (tmp_path / "gone").exists() and len(list_checkpoints(tmp_path / "run" / "checkpoints")) == 1
    assert launched(tmp_path / "run", *flags, **settings).returncode == 0 and (tmp_path / "gone").exists()
    assert same_bits(weights(tmp_path / "calm", 60), weights(tmp_path / "run", 60))
    assert losses(tmp_path / "calm") == losses(tmp_path / "run")


@pytest.mark.parametrize("settings, sentence", [
    ({"RUN": ""}, "RUN, the run folder, is missing"),
    ({"NNODES": 2}, "NNODES=2 needs HOST"),
    ({"NNODES": 2, "HOST": "127.0.0.1"}, "HOST=127.0.0.1 is this host's loopback"),
    ({"NNODES": 2, "HOST": "no.such.host.invalid"}, "HOST=no.such.host.invalid is not an address"),
])  # fmt: skip
def test_settings_that_are_missing(tmp_path, settings, sentence):
    done = launched(tmp_path / "run", **settings)
    assert done.returncode in (1, 2) and sentence in done.stderr and "Traceback" not in done.stderr


STUB = """#!/usr/bin/env bash
# stands in for Python: prepare fails or hangs as told, and training is done at once
case "$*" in
    *"minigpt prepare"*)
        echo x >>"$RUN/prepared"
        {prepare}
        mkdir -p "$DATA"; touch "$DATA/manifest.json" ;;
    *"minigpt doctor"* | *to_hf*) ;;
    *distributed.run*) echo '{{"status": "done"}}' >"$RUN/status.json" ;;
    *) exec {python} "$@" ;;
esac
"""


@pytest.mark.parametrize("prepare, code, outcome, starts", [
    ('[ "$(wc -l <"$RUN/prepared")" -gt 2 ] || exit 1', 0, "done", 3),  # twice, then it works
    ("exit 1", 1, "gave up after 3 starts of prepare", 3),
    ("exit 2", 1, "a mistake in PREPARE", 1),
    # a part more each time: as many tries as it takes
    ('n=$(wc -l <"$RUN/prepared"); mkdir -p "$DATA"; echo $n >"$DATA/journal.json"; [ $n -gt 4 ] || exit 1', 0,
     "done", 5),
])  # fmt: skip
def test_prepare_is_tried_again_but_for_a_mistake(tmp_path, prepare, code, outcome, starts):
    done = launched(tmp_path / "run", **stubbed(tmp_path, prepare))
    assert done.returncode == code and (tmp_path / "over").read_text().startswith(outcome), done.stderr
    assert (tmp_path / "run" / "prepared").read_text().count("x") == starts


def test_a_signal_ends_prepare_and_keeps_the_machine(tmp_path):
    process = subprocess.Popen(**launch(tmp_path / "run", **stubbed(tmp_path, "exec sleep 60")), stderr=subprocess.PIPE)
    wait_for(lambda: (tmp_path / "run" / "prepared").exists(), process)
    process.terminate()
    assert process.wait(20) == 75 and "stopped by a signal" in process.stderr.read()
    assert not (tmp_path / "over").exists() and (tmp_path / "run" / "prepared").read_text().count("x") == 1


def stubbed(folder: Path, prepare: str) -> dict:
    """Settings with which launch/run.sh meets STUB in the place of Python."""
    (folder / "python").write_text(STUB.format(prepare=prepare, python=sys.executable))
    (folder / "python").chmod(0o755)
    return dict(PYTHON=folder / "python", DATA=folder / "data", ON_DONE=f'echo "$OUTCOME" >{folder}/over')


def wait_for(condition, *processes, limit: float = 240) -> float:
    """Seconds until condition() holds, which may raise until then; the processes must stay."""
    start = time.monotonic()
    while time.monotonic() - start < limit:
        with suppress(OSError, ValueError):
            if condition():
                return time.monotonic() - start
        for process in processes:
            assert process.poll() is None, process.stderr.read()[-3000:] if process.stderr else process.returncode
        time.sleep(0.02)
    raise AssertionError("it never came to that")


# ---- Slurm, SkyPilot, the page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code, requeued", [(75, True), (0, False), (1, False)])
def test_slurm_hands_the_signal_on_and_queues_again(tmp_path, code, requeued):
    """A stand-in for Slurm's programs, and for run.sh, which takes a moment to save when it is told to stop."""
    programs = {
        "bin/scontrol": f'[ $1 = requeue ] && touch {tmp_path}/requeued || printf "node7\\nnode8\\n"',
        "bin/srun": '[ "$1" = --kill-on-bad-exit=0 ] && shift; exec "$@"',
        "bin/scancel": '[ "$*" = "--signal=TERM 12" ] && kill -TERM "$(cat pid)"',
        "launch/run.sh": f'trap "sleep 0.4; exit {code}" TERM; echo "$HOST $NNODES $*" > said; echo $$ > pid\n'
                         "while :; do sleep 0.1; done",
    }  # fmt: skip
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "12",
           "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2", "RUN": "r"}  # fmt: skip
    command = ["bash", str(ROOT / "launch" / "slurm.sbatch"), "--steps", "5"]
    process = subprocess.Popen(command, env=os.environ | env, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "pid").read_text().strip(), process)
    assert (tmp_path / "said").read_text() == "node7 2 --steps 5\n"
    process.terminate()
    assert process.wait(20) == code, process.stderr.read()
    assert (tmp_path / "requeued").exists() == requeued


@pytest.mark.parametrize("missing", ["", "BUCKET", "PRICE", "MAX_COST"])
def test_skypilot_sets_a_price_and_a_limit(tmp_path, missing):
    """The lines that SkyPilot runs, with a stand-in for run.sh."""
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "run.sh").write_text('echo "$@"\n')
    run = (ROOT / "launch" / "skypilot.yaml").read_text(encoding="utf-8").partition("\nrun: |\n")[2]
    env = {"BUCKET": "s3://here", "PRICE": "24", "MAX_COST": "300", "FLAGS": "--depth 2", missing or "_": ""}
    done = subprocess.run(["bash", "-c", run], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | env | {"SKYPILOT_NUM_GPUS_PER_NODE": "8"})  # fmt: skip
    assert done.returncode == (2 if missing else 0)
    assert done.stdout == ("" if missing else "--mirror s3://here --price 24 --max-cost 300 --depth 2\n")


def command_lines(path: Path, start: str) -> list[list[str]]:
    """The arguments of every command in a file that contains `start`, continued lines joined; a variable counts as the
    value of the flag before it, 1, and is left out where there is none."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = [line.split(start, 1)[1].split("`")[0] for line in text.splitlines() if start in line]
    words = [shlex.split(line, comments=True) for line in found]
    return [["1" if word[0] == "$" else word for before, word in zip(["", *line], line)
             if word[0] != "$" or before.startswith("--")] for line in words]  # fmt: skip


PAGES = [ROOT / "docs" / "rent-a-gpu.md", *sorted((ROOT / "launch").iterdir())]
COMMANDS = [line for line in command_lines(PAGES[0], "-m minigpt ") if "…" not in line]
COMMANDS += [["pretrain", *line] for page in PAGES for script in ("run.sh", "slurm.sbatch")
             for line in command_lines(page, f"launch/{script} ") if line and line[0].startswith("--")]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_page_tells_of_commands_that_exist(words, monkeypatch):
    """Every flag and its value is one that the command line takes; nothing is run."""
    verb, *flags = words
    taken = []
    if verb == "pretrain":
        monkeypatch.setattr("minigpt.train.pretrain", lambda config, **others: taken.append(config) or sys.exit(0))
        monkeypatch.setattr(main_, "begin_to_prepare", lambda config: None)
    else:
        stub = functools.wraps(main_.VERBS[verb])(lambda *a, **k: taken.append(k) or sys.exit(0))
        monkeypatch.setitem(main_.VERBS, verb, stub)
    with pytest.raises(SystemExit) as ended:
        sys.exit(main_.main([verb, *flags]))
    assert taken and ended.value.code == 0


def test_the_page_names_what_is_there():
    page, script = PAGES[0].read_text(encoding="utf-8"), LAUNCH.read_text(encoding="utf-8").split("set -uo pipefail")
    (sky,) = (words for words in COMMANDS if "--mirror" in words)
    assert {"--price", "--max-cost"} <= {*sky}
    assert len(COMMANDS) > 12 and all(f"`{path.relative_to(ROOT)}`" in page for path in PAGES[1:])
    settings = re.findall(r"\b[A-Z]{2,}_?[A-Z]+\b", script[0])
    for name in {*settings} - {"OUTCOME"}:  # what is told of at the top is used below, and the other way round
        assert re.search(rf"\$\{{?{name}\b", script[1]), name
    assert {*re.findall(r"\$\{([A-Z_]+):?[-?]", script[1])} - {"PYTHONPATH", "OMP_NUM_THREADS", "TMPDIR"} <= {*settings}


# ---- two hosts -------------------------------------------------------------------------------------------------------


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)


class Host:
    """A network namespace with an address of its own, in which launch/run.sh can be started and killed."""

    def __init__(self, name: str, out: Path, *flags, **settings):
        self.name, self.process, self.log = name, None, open(out.with_suffix(f".{name}.log"), "a")
        self.start_line = launch(out, *flags, before=("ip", "netns", "exec", name), NNODES=2,
                                 GLOO_SOCKET_IFNAME="lan", **settings)  # fmt: skip

    def start(self) -> None:
        self.process = subprocess.Popen(**self.start_line, stdout=self.log, stderr=self.log)

    def pids(self) -> list[int]:
        return [int(p) for p in subprocess.run(["ip", "netns", "pids", self.name], capture_output=True,
                                               text=True).stdout.split()]  # fmt: skip

    def kill(self) -> None:
        """All at once, torchrun and ranks too, which have sessions of their own; nobody can say goodbye."""
        while found := self.pids():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        if self.process is not None:
            self.process.wait()

    def lose_power(self) -> None:
        """As `kill`, but the other host hears nothing of it, not even that the connections are closed."""
        ip(f"-n {self.name} link set lan down")
        self.kill()
        ip(f"-n {self.name} link set lan up")


@contextmanager
def two_hosts(out: Path, *flags, **settings):
    """The endpoint and the other host, at both ends of a cable; whatever happens, nothing of them stays."""
    tag = f"{os.getpid() % 10000}"
    names, addresses = [f"mg{tag}a", f"mg{tag}b"], ["10.213.7.1", "10.213.7.2"]
    hosts = [Host(name, out, *flags, HOST=addresses[0], PORT=29533, **settings) for name in names]
    try:
        for name in names:
            ip(f"netns add {name}")
        ip(f"link add lan netns {names[0]} type veth peer name lan netns {names[1]}")
        for name, address in zip(names, addresses):
            for command in (f"addr add {address}/24 dev lan", "link set lan up", "link set lo up"):
                ip(f"-n {name} {command}")
        yield hosts
    finally:
        for host in hosts:
            host.kill()
            host.log.close()
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)


@pytest.fixture(scope="module")
def namespaces():
    """Skip, with the reason, where namespaces cannot be made."""
    if not shutil.which("ip"):
        pytest.skip("network namespaces need the program ip (Linux)")
    name = f"mgtry{os.getpid() % 10000}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    if made.returncode:
        pytest.skip(f"network namespaces need root: {made.stderr.strip()}")


def steps(out: Path) -> int:
    return max(losses(out), default=0)


def starts(out: Path) -> list[int]:
    """The step of each start so far."""
    return [entry["step"] for entry in json.loads((out / "environment.json").read_text())]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "lose_power"])
def test_either_of_two_hosts_is_lost_and_comes_back(namespaces, data, tmp_path, end, capsys):  # noqa: F811
    """The other host, then the endpoint: brought back by the same command, the job goes on from its checkpoint within
    120 s, and ends with the bits of a run on one host that nobody disturbed."""
    flags, out = ["--steps", 160, "--save-every", 10, "--parallel", "fsdp"], tmp_path / "run"
    assert run(2, data, tmp_path / "calm", *flags).returncode == 0
    with two_hosts(out, *flags, DATA=data / "data") as hosts:
        for host in hosts:
            host.start()
        for host, step in zip(reversed(hosts), (25, 75)):
            wait_for(lambda: steps(out) >= step, *(h.process for h in hosts))
            getattr(host, end)()
            before, saved = len(starts(out)), int((out / "checkpoints" / "latest").read_text().removeprefix("step_"))
            assert saved > 0
            time.sleep(2)
            host.start()
            took = wait_for(lambda: len(starts(out)) > before and steps(out) > saved, *(h.process for h in hosts))
            with capsys.disabled():
                which = "endpoint" if host is hosts[0] else "other host"
                print(f"\n{which} ({end}): back at work {took:.0f} s after its return, from step {starts(out)[-1]}")
            assert took < 120 and starts(out)[-1] >= saved
        assert [host.process.wait(240) for host in hosts] == [0, 0]
    assert losses(out) == losses(tmp_path / "calm")
    assert same_bits(weights(out, 160), weights(tmp_path / "calm", 160))
