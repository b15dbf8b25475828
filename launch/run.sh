#!/usr/bin/env bash
# One command for a paid machine: check it, prepare the data, train until the run is done whatever happens on the way,
# export, copy the result home, and end the machine.
#
#   RUN=runs/big DATA=data/web NPROC=8 launch/run.sh --preset gpt2-124m --parallel ddp --save-every 15m
#
# On several hosts start the same line on each; they need one disk for RUN and DATA, and HOST. What is given is read
# from the environment; all arguments are flags of `python -m minigpt pretrain`.
#
#   RUN        the run folder                                   DATA      the data folder; empty: --text says what to read
#   PREPARE    flags of `prepare`, to make DATA if need be      NPROC     processes on this host (default: its GPUs, or 1)
#   NNODES     hosts (default 1)                                HOST      address of the host where they meet: the endpoint
#   PORT       where it listens (29500)                         ADDR      this host's address, if the route to HOST is not it
#   TRIES      starts without a new checkpoint, or without new data, before giving up (3; on several hosts 10, of about a
#              minute each)
#   COPY_HOME  a command that copies $RUN, such as  rsync -a "$RUN/" me@home:big/
#   ON_DONE    a command for the very end, such as  sudo shutdown -h now ; $OUTCOME says how the run ended
#   PREFLIGHT  flags of `doctor --gpu`                          PAUSE     seconds between two starts (5)
#   PYTHON     the interpreter
#
# Exit: 0 done; 1 ended, and trying again is no use; 2 a setting is missing; 75 stopped by a signal, saved: start it
# again. ON_DONE follows 0 and 1, but never a copy that failed. No setting here is a secret; keys stay in the environment.
set -uo pipefail

say() { echo "run.sh: $*" >&2; }
die() { say "$*"; exit 2; }

[ -n "${RUN:-}" ] || die "RUN, the run folder, is missing"
here=$(cd "$(dirname "$0")/.." && pwd)
export RUN PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
DATA=${DATA:-} NNODES=${NNODES:-1} HOST=${HOST:-} PORT=${PORT:-29500} PAUSE=${PAUSE:-5} ADDR=${ADDR:-}
TRIES=${TRIES:-$((NNODES > 1 ? 10 : 3))}
[ -n "${PYTHON:-}" ] || { [ -x "$here/.venv/bin/python" ] && PYTHON="$here/.venv/bin/python"; } || PYTHON=python3
gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU')
NPROC=${NPROC:-$((gpus > 0 ? gpus : 1))}

# ---- who we are ------------------------------------------------------------------------------------------------------

leads=1
if [ "$NNODES" -gt 1 ]; then
    [ -n "$HOST" ] || die "NNODES=$NNODES needs HOST, the address of the host where all meet"
    # the address from which packets to HOST would leave; connecting a UDP socket sends none
    read -r meet mine < <("$PYTHON" -c '
import socket, sys
meet = socket.gethostbyname(sys.argv[1])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((meet, 1))
    print(meet, s.getsockname()[0])' "$HOST" 2>/dev/null) || die "HOST=$HOST is not an address that this host can reach"
    ADDR=${ADDR:-$mine}
    case $ADDR in 127.*) die "HOST=$HOST is this host's loopback: give the address that the other hosts see" ;; esac
    [ "$ADDR" = "$meet" ] || leads=0
fi
mkdir -p "$RUN" || die "cannot make $RUN"
if command -v flock >/dev/null; then
    exec 9>"${TMPDIR:-/tmp}/minigpt-$(echo "$(cd "$RUN" && pwd) $ADDR" | cksum | cut -d' ' -f1).lock"
    flock -n 9 || die "another run.sh is at work in $RUN on this host"
fi

# ---- asking the run folder -------------------------------------------------------------------------------------------

# Stock torchrun does not re-form when a whole host is lost. So each start of all hosts together is an attempt of its own
# with a number, which is the rendezvous id: nobody meets what an earlier one left behind. Whoever starts, or sees its
# torchrun end, asks for the next one; the others see that, and follow.
newest() { cat "$RUN/attempt" 2>/dev/null || echo 0; }
next_attempt() {
    local found
    found=$(newest)
    if [ "$found" -le "$attempt" ]; then
        found=$((attempt + 1))
        echo "$found" >"$RUN/.attempt.$$" && mv "$RUN/.attempt.$$" "$RUN/attempt"
    fi
    attempt=$found
}
outcome() { # done | retry | why it ended
    "$PYTHON" -c '
import json, sys
try:
    s = json.load(open(sys.argv[1] + "/status.json"))
except (OSError, ValueError):
    s = {}
print("done" if s.get("status") == "done" else "retry" if s.get("retry", True) else f"""{s.get("status")}: {s.get("reason")}""")' "$RUN"
}
checkpoint() { cat "$RUN/checkpoints/latest" 2>/dev/null || echo none; }

# ---- before the first step -------------------------------------------------------------------------------------------

stopping='' child=''
trap 'stopping=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT

# Wait until the process that was just started ends, and set `code`; it is told to when we are to stop, or when another
# host has asked for the next attempt.
attend() {
    child=$!
    [ -z "$stopping" ] || kill -TERM "$child"
    while kill -0 "$child" 2>/dev/null; do
        if [ "$NNODES" -gt 1 ] && [ "$attempt" -gt 0 ] && [ "$(newest)" -gt "$attempt" ]; then
            kill -TERM "$child" 2>/dev/null
        fi
        sleep 1
    done
    wait "$child"
    code=$?
    child=''
}

again() { # after a failure, with what there was before it and what there is now: whether to try again, after a pause
    [ "$1" = "$2" ] || tries=0
    tries=$((tries + 1))
    [ -n "$stopping" ] || [ "$tries" -ge "$TRIES" ] || sleep "$PAUSE"
    [ -z "$stopping" ] || { say "stopped by a signal; the same command goes on"; exit 75; }
    [ "$tries" -lt "$TRIES" ]
}

prepared() { cksum "$DATA/journal.json" 2>/dev/null; }

prepare() { # what may pass (no network, no memory) is tried again; a mistake is not
    local tries=0 before_it
    until [ -e "$DATA/manifest.json" ]; do
        before_it=$(prepared)
        # shellcheck disable=SC2086 # several flags
        "$PYTHON" -m minigpt prepare --out "$DATA" ${PREPARE:-} 9>&- &
        attend
        [ "$code" != 0 ] || return 0
        say "prepare ended with $code"
        [ "$code" != 2 ] || { ended='a mistake in PREPARE (above)'; return 1; }
        again "$before_it" "$(prepared)" || { ended="gave up after $TRIES starts of prepare"; return 1; }
    done
}

before() { # the checks and the data, where the run has not begun yet
    [ "$(checkpoint)" = none ] || return 0
    "$PYTHON" -m minigpt doctor | sed "/^$/,\$d" >&2 || say "the doctor has something to mend (above); going on"
    if [ -n "$DATA" ] && [ "$leads" = 1 ]; then prepare || return 1; fi
    until [ -z "$DATA" ] || [ -e "$DATA/manifest.json" ] || [ -n "$stopping" ]; do # the endpoint makes it
        if [ "$SECONDS" -gt 1800 ] && [ -z "$(find "$DATA" -mmin -30 -print -quit 2>/dev/null)" ]; then
            say "nobody has written to $DATA for half an hour"
            return 1
        fi
        sleep 2
    done
    if [ "$gpus" -gt 0 ]; then
        # shellcheck disable=SC2086 # several flags
        "$PYTHON" -m minigpt doctor --gpu ${PREFLIGHT:-} >&2 || return 1
    else
        say "no nvidia-smi here, so no pre-flight of GPUs"
    fi
}

# ---- train -----------------------------------------------------------------------------------------------------------

start() { # one torchrun, until it ends
    local where=(--standalone --max-restarts=3)
    [ "$NNODES" = 1 ] || where=(--nnodes="$NNODES" --max-restarts=0 --rdzv-backend=c10d --rdzv-endpoint="$HOST:$PORT"
        --rdzv-id="attempt-$attempt" --rdzv-conf="is_host=$leads,join_timeout=60" --local-addr="$ADDR")
    "$PYTHON" -m torch.distributed.run "${where[@]}" --nproc-per-node="$NPROC" -m minigpt pretrain \
        ${DATA:+--data "$DATA"} --out "$RUN" --resume "$@" 9>&- & # ranks that outlive us must not hold the lock
    attend
    say "torchrun ended with $code"
}

train() { # sets `ended`
    local tries=0 before_it
    attempt=$(newest)
    while :; do
        next_attempt
        before_it=$(checkpoint)
        say "start $attempt on $NPROC x $NNODES, from checkpoint $before_it"
        start "$@"
        ended=$(outcome)
        # ranks return 0 for what the program itself decides, and a mistaken flag is found before there is a status
        [ "$code" != 0 ] || [ -e "$RUN/status.json" ] || ended='a mistake in the command (above)'
        [ "$ended" = retry ] || return 0
        [ "$(newest)" -le "$attempt" ] || tries=$((tries - 1)) # another host has cut this start short
        again "$before_it" "$(checkpoint)" || break
    done
    ended="gave up after $TRIES starts without a new checkpoint"
}

attempt=0 code=0 ended='the checks before the run failed'
before && { [ -z "$stopping" ] || exit 75; } && train "$@"
say "$RUN: $ended"

# ---- afterwards ------------------------------------------------------------------------------------------------------

if [ "$leads" = 1 ]; then
    [ "$ended" != "done" ] || "$PYTHON" -c '
import sys
from minigpt import Run, UserError, to_hf
run = Run.load(sys.argv[1])
try:
    to_hf(run.model, run.tokenizer, run.folder / "export")
except UserError as error:
    print(f"run.sh: not exported: {error}", file=sys.stderr)' "$RUN"
    for try in 1 2 3; do
        [ -n "${COPY_HOME:-}" ] || break
        bash -c "$COPY_HOME" && break
        [ "$try" -lt 3 ] || { say "the copy failed, so this machine stays up with the only one: $RUN"; exit 1; }
        sleep "$PAUSE"
    done
fi
[ -z "${ON_DONE:-}" ] || OUTCOME=$ended bash -c "$ON_DONE"
[ "$ended" = "done" ]
