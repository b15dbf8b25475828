"""Lesson 22, sharding: cases, and the wrong ideas that people have about it.

N parameters, n ranks. Where all ranks play in one process, a list has an entry for each of them.
"""
import random
from fractions import Fraction

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal

# 22.1


def devices_twin(rng: random.Random) -> Question:
    billions, device = rng.randint(2, 90), rng.choice([24, 40, 80, 141])
    activations = rng.randint(2, device // 2)
    return Question(
        f"{billions} billion parameters, trained with AdamW in fp32 and cut evenly over devices of {device} GB; the "
        f"activations of each device take {activations} GB. How many devices does it need at the least?",
        -(-16 * billions // (device - activations)),
        f"{16 * billions} GB to cut, and {device} - {activations} GB of room on each device; rounded up.",
    )  # fmt: skip


SIZES = ((3, 30, 6), (124, 4000, 100), (7000, 80000, 30000), (1, 16, 0), (3, 16, 0), (10, 50, 50), (10, 50, 60),
         (5, 41, 1), (5, 80, 0), (9, 47, 12), (13, 100, 35), (70, 300, 37), (1000, 4096, 96),
         (100, 60, 17), (30000, 203, 10))  # fmt: skip
UP = "return -(-16 * parameters // room)"
FOUR_NUMBERS = "Which numbers does AdamW's next step read, for one parameter, and how many bytes has each?"
TWICE = "You double the number of devices. Which of the bytes on each of them become fewer?"
LAST_PIECE = "Where does a model go that needs two and a half devices?"
NEVER = "What does a device without any room add, and what does the statement call the answer then?"
DEVICES_NEEDED = Exercise(
    cases=lambda: list(SIZES),
    mutants=(
        Mutant("weights_only", "-16 *", "-4 *",
               "only the weights are counted", FOUR_NUMBERS),
        Mutant("twelve", "-16 *", "-12 *",
               "a parameter has three numbers: its gradient, or one of AdamW's two means, is missing", FOUR_NUMBERS),
        Mutant("no_optimizer", "-16 *", "-8 *",
               "only weights and gradients are counted", FOUR_NUMBERS),
        Mutant("copies", "-16 *", "-18 *",
               "copies of the weights in bf16 are counted as well",
               "In which format does the statement say that everything is?"),
        Mutant("activations_cut", UP, "return -(-(16 * parameters + activations) // device)",
               "the activations are cut like the parameters", TWICE),
        Mutant("activations_cut_always", "", """\
def devices_needed(parameters, device, activations):
    return -(-(16 * parameters + activations) // device)""",
               "the activations are cut like the parameters, so that every model fits somewhere", TWICE),
        Mutant("weights_whole", "", """\
def devices_needed(parameters, device, activations):
    room = device - activations - 4 * parameters
    return None if room <= 0 else -(-12 * parameters // room)""",
               "every device keeps whole weights, and only the rest is cut",
               "Which of the three things that a parameter has does the statement except from the cutting?"),
        Mutant("state_only", "", """\
def devices_needed(parameters, device, activations):
    room = device - activations - 8 * parameters
    return None if room <= 0 else -(-8 * parameters // room)""",
               "only AdamW's state is cut, and weights and gradients are whole everywhere",
               "Which of the three things that a parameter has does the statement except from the cutting?"),
        Mutant("rounded_down", UP, "return 16 * parameters // room",
               "the number of devices is rounded down", LAST_PIECE),
        Mutant("rounded", UP, "return round(16 * parameters / room)",
               "the number of devices is rounded to the nearest one", LAST_PIECE),
        Mutant("not_rounded", UP, "return 16 * parameters / room",
               "a fraction of a device is rented", LAST_PIECE),
        Mutant("one_more", UP, "return 16 * parameters // room + 1",
               "one device is added even where the pieces fit exactly",
               "80 bytes on devices with room for 40: how many are needed?"),
        Mutant("activations_forgotten", "room = device - activations", "room = device",
               "the activations are forgotten",
               "What else lies in the memory of a device, beside its piece?"),
        Mutant("activations_added", "room = device - activations", "room = device + activations",
               "the activations make the device larger",
               "Do activations need room, or do they give some?"),
        Mutant("full_is_enough", "room <= 0", "room < 0",
               "a device that is full of activations is taken to have room", NEVER),
        Mutant("no_none", "", """\
def devices_needed(parameters, device, activations):
    return -(-16 * parameters // (device - activations))""",
               "nobody asks whether there is any room at all", NEVER),
        Mutant("zero", "return None", "return 0",
               "the answer for a model that never fits is zero devices", NEVER),
        Mutant("infinity", "return None", "return math.inf",
               "the answer for a model that never fits is a number", NEVER),
        Mutant("powers_of_two", UP, "n = 1\n    while 16 * parameters > n * room:\n        n *= 2\n    return n",
               "only powers of two are tried",
               "Does the statement say how many devices one may rent?"),
        Mutant("whole_parameters", UP, "each = room // 16\n    return -(-parameters // each) if each else None",
               "the bytes of a parameter are kept together on one device",
               "In the first example each device has room for 24 bytes: how many parameters lie on each of the two?"),
        Mutant("not_so_many", UP, "return next((n for n in range(1, 1025) if 16 * parameters <= n * room), None)",
               "the search ends at a number of devices that the statement does not name",
               "From which number of devices on does one more not help any longer?"),
        Mutant("two_at_least", UP, "return max(2, -(-16 * parameters // room))",
               "a single device is not considered",
               "What if everything fits on one?"),
    ),
    variants=("""\
def devices_needed(parameters, device, activations):
    if activations >= device:
        return None
    return math.ceil(16 * parameters / (device - activations))""", """\
def devices_needed(parameters, device, activations):
    n = 1
    while device > activations:
        if 16 * parameters <= n * (device - activations):
            return n
        n += 1
    return None""", """\
def devices_needed(parameters, device, activations):
    weights = gradients = 4 * parameters
    state = 2 * 4 * parameters
    free = max(0, device - activations)
    if not free:
        return None
    full, rest = divmod(weights + gradients + state, free)
    return full + (rest > 0)""",
    ),
    properties=(
        Property(lambda n, parameters, device, activations: n is None or n == int(n),
                 "There is no such thing as a part of a device."),
        Property(lambda n, parameters, device, activations: n is None
                 or 16 * parameters / n + activations <= device + 1e-9,
                 "On so many devices each would hold more than it can."),
    ),
    twin=devices_twin,
)  # fmt: skip


# 22.2


def stage_one_twin(rng: random.Random) -> Question:
    n, size = rng.randint(2, 8), rng.randint(3, 12)
    N, rank = n * size, rng.randrange(n)
    return Question(
        f"ZeRO, stage 1: {n} ranks, a vector of {N} parameters, numbered from 0 and cut into equal pieces in order. "
        f"Which is the number of the last parameter that rank {rank} (the first is rank 0) updates?",
        (rank + 1) * size - 1,
        f"A piece has {N} / {n} = {size} parameters; rank {rank} has number {rank * size} and the next {size - 1}.",
    )  # fmt: skip


def state_of(size: int):
    """The optimizers of all ranks: momentum, at a rate that differs between ranks; other lengths are refused."""
    memory = {}

    def update(rank, piece, grad):
        if piece.shape != (size,) or grad.shape != (size,):
            raise ValueError(f"this optimizer has the state of {size} parameters; it got a piece of {len(piece)} and a "
                             f"gradient of {len(grad)}")  # fmt: skip
        memory[rank] = 0.5 * memory.get(rank, torch.full((size,), 0.1 * (rank + 1))) + grad
        return piece - 0.1 * memory[rank]

    return update


def share_of(w, b):
    """A gradient that depends on the weights; whole vectors only."""
    if w.shape != b.shape:
        raise ValueError(f"the gradient is computed with all {len(b)} weights, and got {len(w)}")
    return torch.tanh(w) * b + b.square()


def stage_one_cases() -> list[tuple]:
    cases = []
    for i, (N, n) in enumerate(((6, 3), (8, 2), (15, 5), (12, 4), (10, 2), (9, 3))):
        w, b = normal(2200 + i, (N,), (n, N))
        cases.append(([w.clone() for _ in range(n)], list(b), share_of, state_of(N // n)))
    return cases


SHARES = "shares = [gradient(w, b) for w, b in zip(weights, batches)]"
SUMS = "sums = sum(shares).chunk(n)"
PIECES = "pieces = [w.chunk(n)[rank] for rank, w in enumerate(weights)]"
UPDATE = "pieces = [update(rank, piece, sums[rank]) for rank, piece in enumerate(pieces)]"
WHOLE = "whole = torch.cat(pieces)"
COPIES = "return [whole.clone() for _ in range(n)]"
WHOSE = "Rank 1's parameters: which ranks have seen data that says something about them?"
GATHER = "What must every rank hold before it can compute the next gradient in stage 1?"
OWN_NUMBER = "Which part of the weights belongs to rank 1, and which to rank 2?"
STAGE_ONE = Exercise(
    cases=stage_one_cases,
    mutants=(
        Mutant("own_share", SUMS, "sums = [share.chunk(n)[rank] for rank, share in enumerate(shares)]",
               "each rank updates its piece with its own share of the gradient alone", WHOSE),
        Mutant("one_share", SUMS, "sums = shares[0].chunk(n)",
               "only rank 0's share of the gradient is used", WHOSE),
        Mutant("last_share", SUMS, "sums = shares[-1].chunk(n)",
               "only the last rank's share of the gradient is used", WHOSE),
        Mutant("mean", SUMS, "sums = (sum(shares) / n).chunk(n)",
               "the shares are averaged, though they add up to the gradient",
               "What are shares called that add up to the whole, and by what must their sum be divided?"),
        Mutant("first_piece", PIECES, "pieces = [w.chunk(n)[0] for w in weights]",
               "every rank updates the first piece of the weights", OWN_NUMBER),
        Mutant("last_piece", PIECES, "pieces = [w.chunk(n)[-1] for w in weights]",
               "every rank updates the last piece of the weights", OWN_NUMBER),
        Mutant("gathered_too_late", f"{WHOLE}\n    {COPIES}", "return pieces",
               "each rank is left with its piece: nothing is gathered at the end", GATHER),
        Mutant("only_own_news", f"{WHOLE}\n    {COPIES}", "found = [w.clone() for w in weights]\n"
               "    for rank, w in enumerate(found):\n        w.chunk(n)[rank].copy_(pieces[rank])\n    return found",
               "each rank knows its own new piece, and of all others the old ones", GATHER),
        Mutant("one_copy", COPIES, "return [whole]",
               "only one rank gets the new weights", GATHER),
        Mutant("one_vector", COPIES, "return whole",
               "one vector is returned instead of one for each rank",
               "What does the list that comes back have an entry for?"),
        Mutant("stacked", WHOLE, "whole = torch.stack(pieces)",
               "the pieces become the rows of a matrix",
               "Which shape had the weights before they were cut?"),
        Mutant("backwards", WHOLE, "whole = torch.cat(pieces[::-1])",
               "the pieces are put together in the wrong order", OWN_NUMBER),
        Mutant("whole_update", f"{PIECES}\n    {UPDATE}\n    {WHOLE}\n    {COPIES}",
               "return [update(rank, w, sum(shares)) for rank, w in enumerate(weights)]",
               "every rank updates all parameters, for which its optimizer has no state",
               "How many parameters does the optimizer of one rank know in stage 1?"),
        Mutant("whole_gradient", "sums[rank])", "sum(shares))",
               "the optimizer gets a piece of the weights and the gradient of all of them",
               "Of how many parameters does a rank need the gradient?"),
        Mutant("one_optimizer", "update(rank, piece, sums[rank])", "update(0, piece, sums[rank])",
               "rank 0's optimizer updates the pieces of all ranks",
               "Who keeps the state that belongs to the second piece?"),
        Mutant("shifted", "sums[rank])", "sums[rank - 1])",
               "a piece is updated with the gradient of another one", OWN_NUMBER),
        Mutant("interleaved", SUMS, "sums = [sum(shares)[rank::n] for rank in range(n)]",
               "gradients are dealt out number by number, and weights in blocks",
               "Which numbers of the gradient belong to the parameters 0 and 1?"),
        Mutant("not_updated", UPDATE, "_ = [update(rank, piece, sums[rank]) for rank, piece in enumerate(pieces)]",
               "what the optimizer returns is thrown away",
               "Does `update` change a piece, or does it return a new one?"),
        Mutant("one_batch", "gradient(w, b) for", "gradient(w, batches[0]) for",
               "every rank works on the same part of the batch",
               "What is different on each rank when the gradients are computed?"),
        Mutant("gradient_of_pieces", f"{SHARES}\n    {SUMS}\n    {PIECES}",
               f"{PIECES}\n    shares = [gradient(w, b) for w, b in zip(pieces, batches)]\n    {SUMS}",
               "the gradient is computed with a piece of the weights",
               "Which weights does a forward pass need in stage 1?"),
        Mutant("in_place", f"{WHOLE}\n    {COPIES}", "for w in weights:\n        w.copy_(torch.cat(pieces))\n"
               "    return weights",
               "the old weights are overwritten",
               "What does the statement say about the old weights?"),
        Mutant("own_share_first_piece", f"{SUMS}\n    {PIECES}",
               "sums = [share.chunk(n)[rank] for rank, share in enumerate(shares)]\n"
               "    pieces = [w.chunk(n)[0] for w in weights]",
               "every rank updates the first piece of the weights, and with its own share of the gradient alone: two "
               "of the three wrong lines are still there", OWN_NUMBER),
        Mutant("own_share_not_gathered", f"{SUMS}\n    {PIECES}\n    {UPDATE}\n    {WHOLE}\n    {COPIES}",
               f"sums = [share.chunk(n)[rank] for rank, share in enumerate(shares)]\n    {PIECES}\n    {UPDATE}\n"
               "    return pieces",
               "each rank updates its piece with its own share alone, and nothing is gathered at the end: two of the "
               "three wrong lines are still there", WHOSE),
        Mutant("first_piece_not_gathered", f"{PIECES}\n    {UPDATE}\n    {WHOLE}\n    {COPIES}",
               f"pieces = [w.chunk(n)[0] for w in weights]\n    {UPDATE}\n    return pieces",
               "every rank updates the first piece of the weights, and nothing is gathered at the end: two of the "
               "three wrong lines are still there", OWN_NUMBER),
        Mutant("updated_by_all", UPDATE, "for rank in range(n):\n"
               "        pieces = [update(rank, piece, grad) for piece, grad in zip(pieces, sums)]",
               "every rank's optimizer updates every piece, one after the other",
               "How often is a parameter updated in one step?"),
    ),
    variants=("""\
def stage_one(weights, batches, gradient, update):
    n, size = len(weights), len(weights[0]) // len(weights)
    total = torch.stack([gradient(weights[r], batches[r]) for r in range(n)]).sum(dim=0)
    new = weights[0].clone()
    for r in range(n):
        mine = slice(r * size, (r + 1) * size)
        new[mine] = update(r, weights[r][mine], total[mine])
    return [new] * n""", """\
def stage_one(weights, batches, gradient, update):
    n = len(weights)
    chunks = [gradient(w, b).view(n, -1) for w, b in zip(weights, batches)]
    done = []
    for r in range(n):
        scattered = sum(share[r] for share in chunks)
        done.append(update(r, weights[r].view(n, -1)[r].clone(), scattered))
    return [torch.cat(done) for _ in range(n)]""", """\
def stage_one(weights, batches, gradient, update):
    n = len(weights)
    table = torch.stack([gradient(w, b) for w, b in zip(weights, batches)])      # (rank, parameter)
    sums = torch.einsum("rp->p", table).reshape(n, -1)
    rows = weights[0].reshape(n, -1)
    new = torch.stack([update(r, rows[r], sums[r]) for r in range(n)])
    return list(new.reshape(1, -1).expand(n, -1))""",
    ),
    properties=(
        Property(lambda out, weights, *_: len(out) == len(weights), "There is not one vector for each rank."),
        Property(lambda out, *_: all(torch.equal(w, out[0]) for w in out),
                 "After the step the ranks do not hold the same weights."),
    ),
    twin=stage_one_twin,
)  # fmt: skip


# 22.3


def bytes_held(stage: int, n: int) -> Fraction:
    """Bytes a parameter of weights, gradients and AdamW's state in fp32, on one of n ranks."""
    sizes = zip((4, 4, 8), (3, 2, 1))
    return sum((Fraction(size, n if stage >= first else 1) for size, first in sizes), Fraction(0))


def zero_twin(rng: random.Random) -> Question:
    stage, n, billions, micro = rng.randint(0, 3), rng.choice([2, 4, 8, 16]), rng.randint(1, 30), rng.randint(2, 6)
    passes = (2, 2, micro + 1, 3 * micro)[stage]
    return Question(
        f"ZeRO, stage {stage}, {billions} billion parameters in fp32 on {n} ranks, {micro} micro-batches in a step. "
        "How many GB (1e9 bytes) does a rank send in one optimizer step, around rings?",
        passes * 4 * billions * (n - 1) / n,
        f"{passes} passes of 4 · {billions} GB · {n - 1}/{n}.", 0.01,
    )  # fmt: skip


RUNS = ((12, 4, 5), (36, 3, 1), (40, 5, 2), (7, 1, 3), (640, 8, 16))
PASSES = "(2, 2, micro + 1, 3 * micro)"
CUT = '{"weights": 3, "gradients": 2, "state": 1}'
HELD = "held = sum(N * size[kind] / (n if stage >= cut_from[kind] else 1) for kind in size)"
SENT = "return held, passes * 4 * N * (n - 1) / n"
KEPT_GRADIENT = "Where would a rank of stage 2 or 3 add up whole gradients until the last micro-batch?"
FREED = "What happens to the weights of a part in stage 3, once it has computed forward?"
FIRST_CUT = "Which of the three lies idle for most of the step, so that stage 1 cuts it first?"
RING = "How much of a whole must come to a rank, or leave it, if it has its own part already?"
ZERO_BYTES = Exercise(
    cases=lambda: [(stage, *run) for run in RUNS for stage in range(4)],
    mutants=(
        Mutant("stage_1_three", PASSES, "(2, 3, micro + 1, 3 * micro)",
               "in stage 1 a whole sum of gradients is made, and then weights are gathered as well",
               "Which rank reads the sums of gradients that belong to other ranks' parameters?"),
        Mutant("all_reduce", PASSES, "(2, 3, 2 * micro + 1, 3 * micro)",
               "in stages 1 and 2 a whole sum of gradients is made, and then weights are gathered as well",
               "Which rank reads the sums of gradients that belong to other ranks' parameters?"),
        Mutant("stage_1_one", PASSES, "(2, 1, micro + 1, 3 * micro)",
               "in stage 1 nobody sends the new weights", "What does a rank know of other ranks' new weights?"),
        Mutant("stage_1_micro", PASSES, "(2, micro + 1, micro + 1, 3 * micro)",
               "in stage 1 gradients are sent in each micro-batch, though they are whole",
               "Where can gradients be added up in stage 1, and when must they be sent?"),
        Mutant("stage_2_once", PASSES, "(2, 2, 2, 3 * micro)",
               "in stage 2 gradients are sent once a step", KEPT_GRADIENT),
        Mutant("stage_2_weights_each", PASSES, "(2, 2, 2 * micro, 3 * micro)",
               "in stage 2 the weights are gathered in each micro-batch",
               "How often do weights change in one optimizer step?"),
        Mutant("stage_2_no_gather", PASSES, "(2, 2, micro, 3 * micro)",
               "in stage 2 nobody sends the new weights", "What does a rank know of other ranks' new weights?"),
        Mutant("stage_3_once", PASSES, "(2, 2, micro + 1, 3)",
               "stage 3 sends as much whatever the number of micro-batches", FREED),
        Mutant("stage_3_kept", PASSES, "(2, 2, micro + 1, 2 * micro)",
               "in stage 3 weights are kept from the forward to the backward pass", FREED),
        Mutant("stage_3_gathered_once", PASSES, "(2, 2, micro + 1, micro + 2)",
               "in stage 3 weights are gathered for all micro-batches of a step together", FREED),
        Mutant("stage_3_gradients_once", PASSES, "(2, 2, micro + 1, 2 * micro + 1)",
               "in stage 3 gradients are sent once a step", KEPT_GRADIENT),
        Mutant("stage_3_updated", PASSES, "(2, 2, micro + 1, 3 * micro + 1)",
               "in stage 3 new weights are gathered after the update, too",
               "When does stage 3 fetch weights, and has it a place to keep them between two steps?"),
        Mutant("plain_each", PASSES, "(2 * micro, 2, micro + 1, 3 * micro)",
               "plain data parallel training sends gradients in each micro-batch",
               "When are gradients needed on other ranks: at each micro-batch, or at the update?"),
        Mutant("plain_one", PASSES, "(1, 2, micro + 1, 3 * micro)",
               "a sum that everyone gets is counted as one pass",
               "Of which two collectives is a ring's sum made?"),
        Mutant("all_micro", PASSES, "(2 * micro, 2 * micro, 2 * micro, 3 * micro)",
               "everything is sent in each micro-batch, in every stage",
               "Where can whole gradients be added up, and how often do weights change in a step?"),
        Mutant("no_micro", PASSES, "(2, 2, 2, 3)",
               "micro-batches make no difference in any stage", KEPT_GRADIENT),
        Mutant("weights_first", CUT, '{"weights": 1, "gradients": 2, "state": 3}',
               "the weights are cut first and the state last", FIRST_CUT),
        Mutant("gradients_first", CUT, '{"weights": 3, "gradients": 1, "state": 2}',
               "the gradients are cut first", FIRST_CUT),
        Mutant("weights_in_2", CUT, '{"weights": 2, "gradients": 2, "state": 1}',
               "stage 2 cuts the weights as well", "What does stage 3 cut that stage 2 does not?"),
        Mutant("gradients_in_3", CUT, '{"weights": 3, "gradients": 3, "state": 1}',
               "stage 2 leaves the gradients whole", "What does stage 2 cut that stage 1 does not?"),
        Mutant("weights_never", CUT, '{"weights": 4, "gradients": 2, "state": 1}',
               "stage 3 leaves the weights whole", "What does stage 3 cut that stage 2 does not?"),
        Mutant("one_each", "stage >= cut_from", "stage == cut_from",
               "each stage cuts one thing only, and the others become whole again",
               "What becomes of the state in stage 2: does it stay cut?"),
        Mutant("all_cut", HELD, "held = 16 * N / (n if stage else 1)",
               "everything is cut as soon as anything is", "What is whole on every rank in stage 1?"),
        Mutant("one_mean", '"state": 8', '"state": 4',
               "AdamW keeps one number a parameter", "Which two running means does AdamW keep?"),
        Mutant("master", '"state": 8', '"state": 12',
               "a master copy is counted as well",
               "Which format have the weights here, and what would a second copy be for?"),
        Mutant("no_gradients", '"gradients": 4', '"gradients": 0',
               "the gradients are not counted", "What else is there at the end of the backward pass?"),
        Mutant("bf16", SENT, "return held, passes * 2 * N * (n - 1) / n",
               "bf16 is sent", "Which format does the statement say for everything?"),
        Mutant("numbers", SENT, "return held, passes * N * (n - 1) / n",
               "the numbers that are sent are counted instead of their bytes", "How many bytes has a number in fp32?"),
        Mutant("whole_pass", SENT, "return held, passes * 4 * N",
               "a rank sends all N numbers in each pass", RING),
        Mutant("own_piece", SENT, "return held, passes * 4 * N / n",
               "a rank sends one piece in each pass", "A ring has n − 1 steps. What does a rank send in each of them?"),
        Mutant("to_each", SENT, "return held, passes * 4 * N * (n - 1)",
               "a rank sends everything to each of the others", RING),
        Mutant("all_ranks", SENT, "return held * n, passes * 4 * N * (n - 1)",
               "the bytes of all ranks are added up", "Of how many ranks does the statement ask?"),
        Mutant("swapped", SENT, "return passes * 4 * N * (n - 1) / n, held",
               "the two results come in the wrong order", "Which of the two should come first?"),
        Mutant("gathered_held", SENT, "return held + (4 * N if stage == 3 else 0), passes * 4 * N * (n - 1) / n",
               "in stage 3 whole weights are counted as held",
               "Of how much of the model are the weights whole in stage 3, and for how long?"),
    ),
    variants=("""\
def zero_bytes(stage, N, n, micro):
    held = {0: 16, 1: 8 + 8 / n, 2: 4 + 12 / n, 3: 16 / n}[stage] * N
    one_pass = 4 * (N - N // n)
    if stage < 2:
        return held, 2 * one_pass
    return held, one_pass * (micro + 1 if stage == 2 else 3 * micro)""", """\
def zero_bytes(stage, N, n, micro):
    weights = N // n if stage == 3 else N
    gradients = N // n if stage >= 2 else N
    means = 2 * (N // n if stage >= 1 else N)
    step = 4 * N * (n - 1) / n
    sent = 0.0
    for _ in range(micro):
        if stage == 3:
            sent += step + step             # forward, backward
        if stage >= 2:
            sent += step                    # reduce-scatter
    if stage < 2:
        sent += step                        # reduce-scatter of what has been added up
    if stage < 3:
        sent += step                        # all-gather: gradients in stage 0, weights in the others
    return 4 * (weights + gradients + means), sent""", """\
def zero_bytes(stage, N, n, micro):
    cut = [k < stage for k in range(3)]                # state, gradients, weights
    per = [8, 4, 4]
    held = sum(b / n if c else b for b, c in zip(per, cut)) * N
    reduces = micro if cut[1] else 1
    gathers = 2 * micro if cut[2] else 1
    return held, (reduces + gathers) * 4 * N * (1 - 1 / n)""",
    ),
    properties=(
        Property(lambda pair, stage, N, n, micro: pair[0] >= 16 * N / n - 1e-6,
                 "A rank holds less than its n-th of everything."),
        Property(lambda pair, stage, N, n, micro: n > 1 or pair[1] == 0,
                 "A rank that is alone sends something; to whom?"),
    ),
    twin=zero_twin,
)  # fmt: skip


# 22.4


def hide_twin(rng: random.Random) -> Question:
    tera, giga, n = rng.choice([100, 200, 400, 800]), rng.choice([25, 50, 100, 400]), rng.choice([2, 4, 8, 16])
    return Question(
        f"A rank computes {tera} TFLOP/s and receives {giga} GB/s; there are {n} ranks. Weights are gathered in bf16. "
        "From how many tokens a rank on does prefetch hide the gathers of the *forward* pass (2 FLOPs a parameter "
        "and token)?",
        tera * 1000 / giga * (n - 1) / n,
        f"2 · {n - 1}/{n} bytes a parameter at {giga} GB/s take as long as 2 FLOPs times that many tokens.", 0.01,
    )  # fmt: skip


MACHINES = ((100.0, 10.0, 2), (795e12, 450e9, 8), (795e12, 50e9, 64), (60.0, 8.0, 5, 4, 1), (60.0, 8.0, 5, 4, 4),
            (90.0, 4.0, 3, 2, 2), (70.0, 7.0, 7, 4, 2), (30.0, 60.0, 4, 1, 9))  # fmt: skip
SECONDS = "seconds = size * (n - 1) / n / network"
TOKENS = "needed.append(seconds * flops / work)"
OWN_PART = "Which part of a whole tensor does a rank have before anything is gathered?"
FASTER = "A processor twice as fast: does it need more tokens to hide the same network, or fewer?"
ONE_TOKEN = "How many FLOPs does one token cost with one parameter, forward and backward?"
TOKENS_TO_HIDE = Exercise(
    cases=lambda: list(MACHINES),
    mutants=(
        Mutant("all_of_it", SECONDS, "seconds = size / network",
               "a rank is taken to receive its own piece as well", OWN_PART),
        Mutant("own_only", SECONDS, "seconds = size / n / network",
               "a rank is taken to receive as much as its own piece", OWN_PART),
        Mutant("inverse_part", SECONDS, "seconds = size * n / (n - 1) / network",
               "the tensor is divided by the part that passes", OWN_PART),
        Mutant("from_each", SECONDS, "seconds = size * (n - 1) / network",
               "the traffic, or the tokens, of all ranks are counted together",
               "What passes over the network of *one* rank, and whose computing hides it?"),
        Mutant("twice", SECONDS, "seconds = 2 * size * (n - 1) / n / network",
               "each gather is counted as if it were a sum over all ranks",
               "Which collectives pass here, and is any of them made of two?"),
        Mutant("bits", SECONDS, "seconds = 8 * size * (n - 1) / n / network",
               "the network is taken to be given in bits",
               "In which unit does the statement give the network?"),
        Mutant("times_network", SECONDS, "seconds = size * (n - 1) / n * network",
               "bytes are multiplied by bytes a second",
               "A network twice as fast: how much longer do the bytes take?"),
        Mutant("work_forgotten", TOKENS, "needed.append(seconds * flops)",
               "the FLOPs that pass meanwhile are returned instead of tokens", ONE_TOKEN),
        Mutant("times_work", TOKENS, "needed.append(seconds * flops * work)",
               "FLOPs are multiplied by FLOPs a token", ONE_TOKEN),
        Mutant("forward_work", TOKENS, "needed.append(seconds * flops / 2)",
               "the backward pass is taken to cost no more than the forward pass", ONE_TOKEN),
        Mutant("whole_work", TOKENS, "needed.append(seconds * flops / 6)",
               "the traffic of each pass is hidden behind a whole step",
               "Which computing runs while the weights of the forward pass come?"),
        Mutant("inverse", TOKENS, "needed.append(work / (seconds * flops))",
               "the fraction is upside down", FASTER),
        Mutant("inverse_flops", TOKENS, "needed.append(seconds * work / flops)",
               "a faster processor is taken to need fewer tokens", FASTER),
        Mutant("flops_over_network", TOKENS, "needed.append(flops / network)",
               "bytes a parameter and FLOPs a token are taken to be equal",
               "What would change with gradients in bf16?"),
        Mutant("seconds", TOKENS, "needed.append(seconds)",
               "the seconds of the traffic are returned", "Does your result have the unit of tokens?"),
        Mutant("gather_only", "size * (n - 1)", "gather * (n - 1)",
               "the gradients' own traffic is forgotten", "What passes in the backward pass, beside weights?"),
        Mutant("reduce_only", "size * (n - 1)", "(gather if work == 2 else reduce) * (n - 1)",
               "in the backward pass no weights are gathered",
               "What passes in the backward pass, beside gradients?"),
        Mutant("per_rank", TOKENS, "needed.append(seconds * flops / work / n)",
               "the tokens are divided among the ranks, which each compute for themselves",
               "Whose computing hides the traffic of one rank?"),
        Mutant("rounded", TOKENS, "needed.append(round(seconds * flops / work))",
               "the number of tokens is rounded", "Does the statement ask to round?"),
        Mutant("rounded_up", TOKENS, "needed.append(math.ceil(seconds * flops / work))",
               "the number of tokens is rounded up", "Does the statement ask to round?"),
    ),
    variants=("""\
def tokens_to_hide(flops, network, n, gather=2, reduce=4):
    passing = (n - 1) / n
    return flops / network * passing * max(gather / 2, (gather + reduce) / 4)""", """\
def tokens_to_hide(flops, network, n, gather=2, reduce=4):
    P = 1e6                                            # of any size
    forward = gather * P * (1 - 1 / n) / network / (2 * P / flops)
    backward = (gather + reduce) * P * (1 - 1 / n) / network / (4 * P / flops)
    return forward if forward > backward else backward""", """\
def tokens_to_hide(flops, network, n, gather=2, reduce=4):
    low, high = 0.0, 1e15
    for _ in range(200):
        t = (low + high) / 2
        waits = (gather * (n - 1) / n / network > 2 * t / flops
                 or (gather + reduce) * (n - 1) / n / network > 4 * t / flops)
        low, high = (t, high) if waits else (low, t)
    return high""",
    ),
    properties=(
        Property(lambda tokens, *_: tokens > 0, "A number of tokens is positive."),
    ),
    twin=hide_twin,
)  # fmt: skip


# 22.5


def log_of(text: str) -> list[tuple]:
    """ "AB|BbAa": upper case gathers a part, lower case reduces it, and | begins the backward pass."""
    return [("backward", None) if c == "|" else ("gather" if c.isupper() else "reduce", c.upper()) for c in text]


def ahead_of(text: str) -> int:
    whole, most = set(), 0
    for c in text.partition("|")[2]:
        whole = whole | {c} if c.isupper() else whole - {c.upper()}
        most = max(most, len(whole))
    return max(0, most - 1)


def order_twin(rng: random.Random) -> Question:
    """A backward pass at random: parts are gathered up to a limit, and reduced in the same order."""
    parts = "VWXYZ"[-rng.randint(3, 5) :]
    backward, waiting, most = [], list(reversed(parts)), rng.randint(1, 3)
    whole: list[str] = []
    while waiting or whole:
        if waiting and len(whole) < most and (not whole or rng.random() < 0.7):
            whole.append(waiting.pop(0))
            backward.append(whole[-1])
        else:
            backward.append(whole.pop(0).lower())
    told = " ".join(backward)
    return Question(
        f"A backward pass, where a capital letter gathers a part and a small one reduces and frees it: {told}. How "
        "many parts are ahead of the one at work, at most?", ahead_of("|" + "".join(backward)),
        "Count the parts that are whole after each event; the most of them, less the one at work.",
    )  # fmt: skip


LOGS = ("AB|BbAa", "AB|BAba", "ABC|CcBbAa", "ABC|CBcAba", "ABCD|DCBdAcba", "A|Aa", "ABCDE|EeDdCBcbAa", "ABC|CBAcba",
        "HABC|hCcBbAa", "HABC|hCBcAba", "HABC|CBcAbah", "ABC|", "ABCDE|EDeCBdAcba", "HA|ah", "ABCD|DCdcBAba",
        "ABCDEF|FEfDedCBAcba")  # fmt: skip
AFTER = 'log[log.index(("backward", None)) + 1 :]'
AT_WORK = "Is the part at work ahead of itself?"
LAST_OR_MOST = "How full was the memory at the worst moment, and how full is it when the pass is over?"
FORWARD_TOO = "What in the log says that a part was freed in the forward pass?"
NAMES = "Which part is freed by the reduce of a part that was never gathered here?"
COUNTED = '''\
def order_of_events(log):
    waiting = most = 0
    for kind, part in {log}:
        waiting += {step}
        most = max(most, waiting)
    return {result}'''
ORDER_OF_EVENTS = Exercise(
    cases=lambda: [(log_of(text),) for text in LOGS],
    mutants=(
        Mutant("whole_log", AFTER, "log",
               "the forward pass is counted, in which nothing is ever freed", FORWARD_TOO),
        Mutant("forward", AFTER, 'log[: log.index(("backward", None))]',
               "the forward pass is counted, in which nothing is ever freed", FORWARD_TOO),
        Mutant("with_the_one_at_work", "max(0, most - 1)", "most",
               "the part at work is counted as well", AT_WORK),
        Mutant("minus_one", "max(0, most - 1)", "most - 1",
               "one is taken off even where nothing was gathered",
               "How many parts are ahead where no part was gathered?"),
        Mutant("at_the_end", "max(0, most - 1)", "max(0, len(whole) - 1)",
               "what is left when the pass is over is counted, not the most", LAST_OR_MOST),
        Mutant("yes_or_no", "max(0, most - 1)", "most > 1",
               "it is only said whether anybody asks early", "How would one see the difference between 1 and 2?"),
        Mutant("yes_as_number", "max(0, most - 1)", "int(most > 1)",
               "one part ahead is the most that is ever found", "May a run ask for two parts early?"),
        Mutant("kept_frees", "", COUNTED.format(log=AFTER, step='1 if kind == "gather" else -1',
                                                result="max(0, most - 1)"),
               "gathers and reduces are counted without looking at which part they are of", NAMES),
        Mutant("kept_frees_log", "", COUNTED.format(log="log", step='{"gather": 1, "reduce": -1, "backward": 0}[kind]',
                                                    result="max(0, most - 1)"),
               "the forward pass is counted as well, without looking at the parts", FORWARD_TOO),
        Mutant("start", "", """\
def order_of_events(log):
    back = log[log.index(("backward", None)) + 1 :]
    return max(0, sum(kind == "gather" for kind, _ in back[:2]) - 1)""",
               "only the first two events of the backward pass are looked at",
               "Must a run ask early at the very beginning, or may it begin to do so later?"),
        Mutant("before_first_reduce", "", """\
def order_of_events(log):
    back = [kind for kind, _ in log[log.index(("backward", None)) + 1 :]]
    first = back.index("reduce") if "reduce" in back else len(back)
    return max(0, first - 1)""",
               "only what comes before the first reduce is looked at",
               "Must a run ask early at the very beginning, or may it begin to do so later?"),
        Mutant("in_a_row", "", """\
def order_of_events(log):
    longest = run = 0
    for kind, _ in log[log.index(("backward", None)) + 1 :]:
        run = run + 1 if kind == "gather" else 0
        longest = max(longest, run)
    return max(0, longest - 1)""",
               "gathers in a row are counted",
               "A gather, a reduce, a gather: which parts may be whole all the time?"),
        Mutant("in_a_row_all", "", """\
def order_of_events(log):
    longest = run = 0
    for kind, _ in log[log.index(("backward", None)) + 1 :]:
        run = run + 1 if kind == "gather" else 0
        longest = max(longest, run)
    return longest""",
               "the longest row of gathers is taken, the part at work among them", AT_WORK),
        Mutant("difference", "", """\
def order_of_events(log):
    back = [kind for kind, _ in log[log.index(("backward", None)) + 1 :]]
    return max(0, back.count("gather") - back.count("reduce"))""",
               "what is left when the pass is over is counted, not the most", LAST_OR_MOST),
        Mutant("how_often", "", """\
def order_of_events(log):
    whole, early = set(), 0
    for kind, part in log[log.index(("backward", None)) + 1 :]:
        if kind == "gather":
            early += bool(whole)
            whole.add(part)
        else:
            whole.discard(part)
    return early""",
               "it is counted how often somebody asks early, not how far ahead",
               "Every block asks for the next one early. How many are ahead at any time?"),
        Mutant("never_freed", "whole.discard(part)", "pass",
               "nothing is ever freed", "What happens to a part when its gradients have gone?"),
        Mutant("kept_is_whole", "whole, most = set(), 0",
               'kept = {part for kind, part in log} - {None}\n'
               '    kept -= {part for kind, part in log[log.index(("backward", None)) :] if kind == "gather"}\n'
               "    whole, most = kept, 0",
               "a part that was kept from the forward pass counts as asked for early",
               "Who has asked for a part in the backward pass that was never freed?"),
        Mutant("remove", "whole.discard(part)", "whole.remove(part)",
               "every part is expected to have been gathered in the backward pass", NAMES),
        Mutant("last_only", "most = max(most, len(whole))", "most = len(whole) or most",
               "what is left when the pass is over is counted, not the most", LAST_OR_MOST),
    ),
    variants=("""\
def order_of_events(log):
    kinds = [kind for kind, _ in log]
    back = log[kinds.index("backward") + 1 :]
    gathered = {part: i for i, (kind, part) in enumerate(back) if kind == "gather"}
    reduced = {part: i for i, (kind, part) in enumerate(back) if kind == "reduce"}
    ahead = 0
    for part, i in gathered.items():
        others = [p for p, j in gathered.items() if p != part and j < i and reduced.get(p, len(back)) > i]
        ahead = max(ahead, len(others))
    return ahead""", """\
def order_of_events(log):
    begun, whole, sizes = False, [], [1]
    for kind, part in log:
        if kind == "backward":
            begun = True
        elif begun and kind == "gather":
            whole.append(part)
        elif begun and part in whole:
            whole.remove(part)
        sizes.append(len(whole))
    return max(sizes) - 1""", """\
def order_of_events(log):
    back = log[log.index(("backward", None)) + 1 :]
    fetched = {part for kind, part in back if kind == "gather"}
    step = torch.tensor([0, 0] + [(1 if kind == "gather" else -1) * (part in fetched) for kind, part in back])
    return max(0, int(step.cumsum(0).max()) - 1)""",
    ),
    properties=(
        Property(lambda ahead, *_: ahead >= 0, "A run cannot be ahead by less than nothing."),
        Property(lambda ahead, log: ahead <= len({part for _, part in log}),
                 "More parts are ahead than the model has."),
    ),
    twin=order_twin,
)  # fmt: skip


# 22.6


def plan_of(parameters, kept, inputs, device):
    for k in range(11):
        for recompute, activations in ((False, kept), (True, inputs)):
            if 16 * parameters / 2**k + activations <= device:
                return 2**k, recompute
    return None


def plan_twin(rng: random.Random) -> Question:
    """Sizes that always fit on some number of ranks."""
    billions, device = rng.randint(2, 70), rng.choice([24, 40, 80])
    kept = rng.randint(device // 3, device)
    inputs = rng.randint(1, device // 5)
    ranks, recompute = plan_of(billions, kept, inputs, device)
    return Question(
        f"{billions} billion parameters at 16 bytes, in powers of two of ranks with {device} GB each; the activations "
        f"of a rank take {kept} GB, or {inputs} GB with full recomputation. What is the smallest number of ranks on "
        "which it fits in one of the two ways?", ranks,
        f"With {inputs if recompute else kept} GB of activations, {16 * billions} / {ranks} GB more fit. On fewer "
        "ranks it does not fit, not even with recomputation.",
    )  # fmt: skip


PLANS = ((10, 40, 5, 200), (10, 50, 5, 200), (20, 50, 5, 200), (20, 250, 205, 200), (100, 40, 5, 250),
         (100, 60, 5, 250),
         (3, 20, 4, 5), (1000, 30, 10, 46), (1500, 30, 20, 45), (1000, 30, 20, 47), (1000000, 3, 1, 100),
         (1, 20, 3, 100),
         (1, 99, 3, 100), (3, 20, 4, 28), (5, 10, 2, 18), (1, 84, 30, 100), (64, 1, 0, 1), (64, 2, 0, 1),
         (6, 44, 4, 92))  # fmt: skip
WAYS = "[(False, kept), (True, inputs)]"
FITS = "16 * parameters / ranks + activations <= device"
TOKENS_OF_ITS_OWN = "Whose tokens are a rank's activations of, and do they become fewer with more ranks?"
COSTS_MOST = "What costs more, twice as many ranks or recomputation?"
ONLY_IF = "When is recomputation worth its time, according to the statement?"
NO_PLAN = "What does the statement say of a model that does not fit on 1024 ranks either?"
CHEAPEST_PLAN = Exercise(
    cases=lambda: list(PLANS),
    mutants=(
        Mutant("activations_divided", FITS, "(16 * parameters + activations) / ranks <= device",
               "the activations are divided by the ranks", TOKENS_OF_ITS_OWN),
        Mutant("inputs_divided", FITS,
               "(16 * parameters + recompute * inputs) / ranks + (not recompute) * kept <= device",
               "with recomputation the activations are divided by the ranks", TOKENS_OF_ITS_OWN),
        Mutant("nothing_divided", FITS, "16 * parameters + activations <= device",
               "nothing is divided by the ranks", "What does stage 3 cut into pieces?"),
        Mutant("recompute_first", WAYS, "[(True, inputs), (False, kept)]",
               "recomputation is used even where keeping everything fits", ONLY_IF),
        Mutant("always", WAYS, "[(True, inputs)]",
               "recomputation is used even where keeping everything fits", ONLY_IF),
        Mutant("never", WAYS, "[(False, kept)]",
               "recomputation never helps a plan to fit", "May a plan with fewer ranks take more time?"),
        Mutant("loops_swapped", "", """\
def cheapest_plan(parameters, kept, inputs, device):
    for recompute, activations in [(False, kept), (True, inputs)]:
        for ranks in [2**k for k in range(11)]:
            if 16 * parameters / ranks + activations <= device:
                return ranks, recompute
    return None""",
               "all numbers of ranks are tried without recomputation before any with it", COSTS_MOST),
        Mutant("recompute_all_first", "", """\
def cheapest_plan(parameters, kept, inputs, device):
    for recompute, activations in [(True, inputs), (False, kept)]:
        for ranks in [2**k for k in range(11)]:
            if 16 * parameters / ranks + activations <= device:
                return ranks, recompute
    return None""",
               "recomputation is used even where keeping everything fits", ONLY_IF),
        Mutant("one_more_rank_instead", "return ranks, recompute", """\
if recompute and 16 * parameters / ranks / 2 + kept <= device and ranks < 1024:
                    return 2 * ranks, False
                return ranks, recompute""",
               "twice as many ranks are preferred to recomputation", COSTS_MOST),
        Mutant("rounded_down", "16 * parameters / ranks", "16 * parameters // ranks",
               "the bytes of a rank are rounded down",
               "48 bytes on 32 ranks: do they fit if each has room for one?"),
        Mutant("weights_whole", FITS, "4 * parameters + 12 * parameters / ranks + activations <= device",
               "every rank keeps whole weights, and only the rest is divided",
               "Which of the 16 bytes does stage 3 leave whole?"),
        Mutant("state_only", FITS, "8 * parameters + 8 * parameters / ranks + activations <= device",
               "only AdamW's state is divided", "Which of the 16 bytes does stage 3 leave whole?"),
        Mutant("strict", "<= device", "< device",
               "a device may not be filled to the last byte", "What does the statement say of an exact fit?"),
        Mutant("ten", "range(11)", "range(10)",
               "1024 ranks are not tried", "Which is the largest k with 2**k up to 1024?"),
        Mutant("no_limit", "range(11)", "range(60)",
               "more than 1024 ranks are tried", "How many ranks can be rented?"),
        Mutant("not_one", "range(11)", "range(1, 11)",
               "one rank is not tried", "What if everything fits on one?"),
        Mutant("any_number", "[2**k for k in range(11)]", "range(1, 1025)",
               "numbers of ranks that are no powers of two are tried",
               "Which numbers of ranks can be rented?"),
        Mutant("weights_only", "16 * parameters", "4 * parameters",
               "only the weights are counted", "Which bytes a parameter does the statement name?"),
        Mutant("twelve", "16 * parameters", "12 * parameters",
               "a parameter has three numbers instead of four", "Which bytes a parameter does the statement name?"),
        Mutant("no_activations", FITS, "16 * parameters / ranks <= device",
               "the activations are forgotten", "What else lies on each rank?"),
        Mutant("both", WAYS, "[(False, kept), (True, kept + inputs)]",
               "recomputation never helps a plan to fit",
               "What is not kept any more when it is computed again?"),
        Mutant("difference", WAYS, "[(False, kept), (True, kept - inputs)]",
               "recomputation is taken to save the inputs",
               "What is kept with recomputation: the inputs, or the rest?"),
        Mutant("last_resort", "return None", "return 1024, True",
               "a plan is returned though it does not fit", NO_PLAN),
        Mutant("two_nones", "return None", "return None, None",
               "two values come back where there is no plan", NO_PLAN),
        Mutant("raises", "return None", 'raise ValueError("it does not fit")',
               "an error is raised where there is no plan", NO_PLAN),
        Mutant("only_ranks", "return ranks, recompute", "return ranks",
               "only the number of ranks is returned", "Which two things should come back?"),
        Mutant("swapped", "return ranks, recompute", "return recompute, ranks",
               "the two results come in the wrong order", "Which of the two should come first?"),
        Mutant("exponent", "return ranks, recompute", "return ranks.bit_length() - 1, recompute",
               "the exponent is returned instead of the number of ranks", "How many ranks are 2 to the third?"),
    ),
    variants=("""\
def cheapest_plan(parameters, kept, inputs, device):
    plans = [(2**k, recompute) for k in range(11) for recompute in (False, True)]
    fits = [(r, c) for r, c in plans if 16 * parameters <= r * (device - (inputs if c else kept))]
    return min(fits, default=None)""", """\
def cheapest_plan(parameters, kept, inputs, device):
    ranks = 1
    while ranks <= 1024:
        room = device - 16 * parameters / ranks
        if room >= min(kept, inputs):
            return ranks, not room >= kept
        ranks *= 2
    return None""", """\
def cheapest_plan(parameters, kept, inputs, device):
    def fewest(activations):
        return next((2**k for k in range(11) if 16 * parameters / 2**k <= device - activations), 2048)
    without, with_it = fewest(kept), fewest(inputs)
    if min(without, with_it) > 1024:
        return None
    return (with_it, True) if with_it < without else (without, False)""",
    ),
    properties=(
        Property(lambda plan, parameters, kept, inputs, device: plan is None
                 or 16 * parameters / plan[0] + (inputs if plan[1] else kept) <= device,
                 "Your plan does not fit on the device."),
        Property(lambda plan, parameters, kept, inputs, device: plan is not None
                 or 16 * parameters / 1024 + inputs > device,
                 "There is a plan that fits, and you found none."),
    ),
    twin=plan_twin,
)  # fmt: skip


# 22.7


def policy_twin(rng: random.Random) -> Question:
    N, n = 1000 * rng.randint(2, 90), rng.choice([2, 4, 8])
    size = rng.choice([2, 4])
    return Question(
        f"Stage 3, {N:,} parameters, {n} ranks, two micro-batches in a step. The log notes {4 * size * N:,} bytes of "
        "gathered tensors in this step, each counted whole. In which format are weights gathered, fp32 or bf16?",
        "fp32" if size == 4 else "bf16",
        f"Forward and backward in each of two micro-batches: 4 · {N:,} numbers, so {size} bytes each.",
    )  # fmt: skip


def policy_cases() -> list[tuple]:
    """All eight policies; the zeros that fill up, from none to nearly a tenth."""
    cases, extra = [], (1.0, 1.03, 1.09, 1.005, 1.06)
    for k in range(16):
        sizes = [4 if (k >> bit) % 2 else 2 for bit in range(3)]
        n, N = (2, 4, 8, 5)[k % 4], (1000, 3600, 8080, 400)[k // 4]
        held, gathered, reduced = (extra[(k + 2 * i) % 5] * size for i, size in enumerate(sizes))
        cases.append((round(held * N / n), round(gathered * 2 * N), round(reduced * N), N, n))
    return cases


SIZES_OF = "(held / (N / n), gathered / (2 * N), reduced / N)"
FORMATS = 'return tuple("bf16" if size < 3 else "fp32" for size in sizes)'
HOW_OFTEN = "How often does a weight pass through a gather in one step of stage 3, and a gradient through a reduce?"
PIECE = "How many of the N parameters does one rank keep?"
NEAR = "The measured bytes of a number are 2.06. Which format is that?"
THREE = "Are the formats of pieces, gathers and reduces one decision, or three?"
POLICY = Exercise(
    cases=policy_cases,
    mutants=(
        Mutant("gathered_once", "gathered / (2 * N)", "gathered / N",
               "weights are taken to be gathered once", HOW_OFTEN),
        Mutant("gathered_thrice", "gathered / (2 * N)", "gathered / (3 * N)",
               "weights are taken to be gathered three times", HOW_OFTEN),
        Mutant("reduced_twice", "reduced / N", "reduced / (2 * N)",
               "gradients are taken to be reduced twice", HOW_OFTEN),
        Mutant("gathered_once_reduced_twice", SIZES_OF, "(held / (N / n), gathered / N, reduced / (2 * N))",
               "weights are taken to be gathered once, and gradients to be reduced twice", HOW_OFTEN),
        Mutant("held_whole", "held / (N / n)", "held / N",
               "the bytes of a piece are divided by all parameters", PIECE),
        Mutant("own_part", SIZES_OF, "(held / (N / n), gathered * n / (2 * N), reduced * n / N)",
               "what passes is taken to be a rank's piece only",
               "Does the log count a tensor that is gathered as a piece, or whole?"),
        Mutant("without_own", SIZES_OF, "(held / (N / n), gathered * n / (n - 1) / (2 * N), reduced * n / (n - 1) / N)",
               "a tensor is taken to be counted without the rank's own piece",
               "Does the log count what passes over the network, or a tensor that is gathered whole?"),
        Mutant("swapped", FORMATS, 'a, b, c = ("bf16" if size < 3 else "fp32" for size in sizes)\n    return a, c, b',
               "gather and reduce have been swapped", "In which order should the three words come?"),
        Mutant("pieces_last", FORMATS,
               'a, b, c = ("bf16" if size < 3 else "fp32" for size in sizes)\n    return b, c, a',
               "the pieces come last", "In which order should the three words come?"),
        Mutant("pieces_as_gathered", SIZES_OF, "(gathered / (2 * N), gathered / (2 * N), reduced / N)",
               "the pieces are taken to be kept in the format in which they are gathered", THREE),
        Mutant("reduced_as_gathered", SIZES_OF, "(held / (N / n), gathered / (2 * N), gathered / (2 * N))",
               "gradients are taken to travel in the format of the weights", THREE),
        Mutant("master_always", SIZES_OF, "(4, gathered / (2 * N), reduced / N)",
               "the pieces are taken to be in fp32 without looking", THREE),
        Mutant("one_for_all", SIZES_OF, "[(held * n + gathered + reduced) / (4 * N)] * 3",
               "one format is found for all bytes together", THREE),
        Mutant("exactly_two", "size < 3", "size == 2",
               "the zeros that fill up are not expected", NEAR),
        Mutant("exactly_four", "size < 3", "size != 4",
               "only exactly 4 bytes are taken for fp32", NEAR),
        Mutant("below_two", "size < 3", "size < 2",
               "bf16 is looked for below 2 bytes", NEAR),
        Mutant("up_to_two", "size < 3", "size < 2.001",
               "the zeros that fill up are not expected", NEAR),
        Mutant("a_twentieth", "size < 3", "size < 2.1",
               "the zeros that fill up are not expected", NEAR),
        Mutant("up_to_four", "size < 3", "size < 4.001",
               "a number of 4 bytes is taken for bf16", "How many bytes has a number in bf16?"),
        Mutant("reversed", "size < 3", "size > 3",
               "the two formats are swapped", "How many bytes has a number in bf16?"),
        Mutant("bits", '"bf16" if', '"fp16" if',
               "the format is called fp16", "Which words does the statement ask for?"),
        Mutant("bytes", FORMATS, "return sizes",
               "bytes a number are returned instead of formats", "Which words does the statement ask for?"),
    ),
    variants=("""\
def policy(held, gathered, reduced, N, n):
    name = lambda size: {2: "bf16", 4: "fp32"}[2 * round(size / 2)]
    return name(held * n / N), name(gathered / N / 2), name(reduced / N)""", """\
def policy(held, gathered, reduced, N, n):
    words = []
    for measured, numbers in ((held, N / n), (gathered, 2 * N), (reduced, N)):
        off = {word: abs(measured - size * numbers) for word, size in (("fp32", 4), ("bf16", 2))}
        words.append(min(off, key=off.get))
    return tuple(words)""", """\
def policy(held, gathered, reduced, N, n):
    sizes = torch.tensor([held * n, gathered / 2, reduced]) / N
    return ["fp32" if wide else "bf16" for wide in (sizes > 3).tolist()]""",
    ),
    properties=(
        Property(lambda words, *_: len(words) == 3 and set(words) <= {"fp32", "bf16"},
                 "The result should be three words, each fp32 or bf16."),
    ),
    twin=policy_twin,
)  # fmt: skip


# 22.8


def clipped_twin(rng: random.Random) -> Question:
    a, b, scale = rng.choice([(3, 4, 5), (5, 12, 13), (8, 15, 17), (20, 21, 29), (7, 24, 25)])
    limit, k = rng.randint(1, 4), rng.randint(1, 6)
    return Question(
        f"Two ranks hold the two halves of a gradient, with norms of {k * a} and {k * b}. The whole is clipped to a "
        f"norm of {limit}. By which factor is each half multiplied?", min(1.0, limit / (k * scale)),
        f"Squares add up: the norm of the whole is {k * scale}. The factor is the same for both halves.", 0.01,
    )  # fmt: skip


def clipped_cases() -> list[tuple]:
    """Pieces of several shapes and lengths, empty ones too; copies; limits above and below the length."""
    cases = []
    kinds = (([(3, 2), (2, 2)], [False], 0.5), ([(5,), (4,), (0,)], [False, True], 1.5),
             ([(2, 3), (1, 3)], [True], 0.7),
             ([(6,)], [False, True], 2.0), ([(1,), (2,), (3,), (4,)], [True, False, True], 0.9),
             ([(3,), (3,)], [False, True, False], 99.0), ([(4,), (1,)], [False, False], 3.0),
             ([(2,), (2,), (1,)], [True], 50.0))  # fmt: skip
    for i, (shapes, copies, limit) in enumerate(kinds):
        whole = normal(2280 + i, *[(7 - k,) for k in range(len(copies))])
        pieces = []
        for rank, shape in enumerate(shapes):
            own = normal(100 * i + rank, *[shape] * len(copies))
            pieces.append([whole[k].clone() if copied else (k + 1) * own[k] for k, copied in enumerate(copies)])
        cases.append((pieces, copies, limit))
    ones = [[torch.tensor([3.0])], [torch.tensor([4.0])]]
    same = [[torch.tensor([5.0])], [torch.tensor([5.0])]]
    return [(ones, [False], 1.0), (ones, [False], 9.0), (same, [True], 1.0), (same, [True], 6.0), *cases]


ADD = "total += grad.square().sum().item() / (len(pieces) if copied else 1)"
FACTOR = "factor = min(1.0, limit / math.sqrt(total))"
SCALED = "return [[grad * factor for grad in of_rank] for of_rank in pieces]"
LENGTHS = "Halves of 3 and 4: is the whole 7 long?"
ONCE_EACH = "How often does a number occur in the one vector that every rank has?"
SHORT = "What should happen to a vector that is shorter than the limit?"
ONE_FACTOR = "If each piece is shortened by a factor of its own, in which direction does the whole point?"
CLIPPED_PIECES = Exercise(
    cases=clipped_cases,
    mutants=(
        Mutant("as_given", "", """\
def clipped_pieces(pieces, copies, limit):
    total = sum(grad.norm().item() for of_rank in pieces for grad in of_rank)
    return [[grad * (limit / total) for grad in of_rank] for of_rank in pieces]""",
               "none of the three faults is mended", LENGTHS),
        Mutant("lengths_add", f"{ADD}\n    {FACTOR}", "total += grad.norm().item() / (len(pieces) if copied else 1)\n"
               "    factor = min(1.0, limit / total)",
               "the lengths of the pieces are added up", LENGTHS),
        Mutant("lengths_and_copies", f"{ADD}\n    {FACTOR}", "total += grad.norm().item()\n"
               "    factor = min(1.0, limit / total)",
               "only the short vectors are mended; two of the three faults are left", LENGTHS),
        Mutant("lengths_and_short", f"{ADD}\n    {FACTOR}", "total += grad.norm().item() / (len(pieces) if copied else "
               "1)\n    factor = limit / total",
               "only the copies are mended; two of the three faults are left", LENGTHS),
        Mutant("copies_and_short", f"{ADD}\n    {FACTOR}", "total += grad.square().sum().item()\n"
               "    factor = limit / math.sqrt(total)",
               "only the squares are mended; two of the three faults are left", ONCE_EACH),
        Mutant("copies_counted", ADD, "total += grad.square().sum().item()",
               "a copy is counted once for each rank", ONCE_EACH),
        Mutant("copies_left_out", ADD,
               "total += 0.0 if copied else grad.square().sum().item()\n    total = total or 1e-30",
               "copies are left out of the length", ONCE_EACH),
        Mutant("copies_left_out_raises", ADD, "total += 0.0 if copied else grad.square().sum().item()",
               "copies are left out of the length", ONCE_EACH),
        Mutant("copies_of_first_added", "", """\
def clipped_pieces(pieces, copies, limit):
    total = sum(grad.square().sum().item() for of_rank in pieces for grad, c in zip(of_rank, copies) if not c)
    total += sum(grad.norm().item() for grad, c in zip(pieces[0], copies) if c)
    factor = min(1.0, limit / math.sqrt(total))
    return [[grad * factor for grad in of_rank] for of_rank in pieces]""",
               "squares of pieces and lengths of copies are added up", LENGTHS),
        Mutant("copies_root", "(len(pieces) if copied else 1)", "(math.sqrt(len(pieces)) if copied else 1)",
               "the square of a copy is divided by the root of the number of ranks", ONCE_EACH),
        Mutant("copies_squared", "(len(pieces) if copied else 1)", "(len(pieces) ** 2 if copied else 1)",
               "the square of a copy is divided by the square of the number of ranks", ONCE_EACH),
        Mutant("all_divided", "(len(pieces) if copied else 1)", "len(pieces)",
               "pieces are divided among the ranks as if they were copies",
               "Which of the gradients does a rank hold that others hold too?"),
        Mutant("by_copies", "(len(pieces) if copied else 1)", "(len(copies) if copied else 1)",
               "a copy is divided by the number of gradients instead of ranks",
               "How many ranks hold a copy?"),
        Mutant("pieces_divided", "(len(pieces) if copied else 1)", "(1 if copied else len(pieces))",
               "the pieces are divided by the number of ranks, and the copies are not",
               "Which of the gradients does a rank hold that others hold too?"),
        Mutant("lengthened", FACTOR, "factor = limit / math.sqrt(total)",
               "a short vector is made longer", SHORT),
        Mutant("never_shortened", "min(1.0,", "max(1.0,",
               "short vectors are made longer and long ones stay", SHORT),
        Mutant("no_root", "math.sqrt(total)", "total",
               "the root of the sum of squares is missing", "A vector (3, 4): is it 25 long?"),
        Mutant("root_of_all", "limit / math.sqrt(total)", "math.sqrt(limit / total)",
               "the root is taken of the limit as well", "In which unit is the limit: a length, or a square?"),
        Mutant("per_rank", "", """\
def clipped_pieces(pieces, copies, limit):
    found = []
    for of_rank in pieces:
        length = math.sqrt(sum(grad.square().sum().item() for grad in of_rank))
        factor = min(1.0, limit / length) if length else 1.0
        found.append([grad * factor for grad in of_rank])
    return found""",
               "each rank clips by the length of what it has itself", ONE_FACTOR),
        Mutant("per_tensor", "", """\
def clipped_pieces(pieces, copies, limit):
    cut = lambda grad: grad * min(1.0, limit / max(grad.norm().item(), 1e-30))
    return [[cut(grad) for grad in of_rank] for of_rank in pieces]""",
               "each piece is clipped by itself", ONE_FACTOR),
        Mutant("per_gradient", "", """\
def clipped_pieces(pieces, copies, limit):
    factors = []
    for i, copied in enumerate(copies):
        total = sum(of_rank[i].square().sum().item() for of_rank in pieces)
        factors.append(min(1.0, limit / math.sqrt(total / (len(pieces) if copied else 1))))
    return [[grad * factor for grad, factor in zip(of_rank, factors)] for of_rank in pieces]""",
               "each gradient is clipped by its own length, over all ranks", ONE_FACTOR),
        Mutant("longest_rank", "", """\
def clipped_pieces(pieces, copies, limit):
    total = max(sum(grad.square().sum().item() for grad in of_rank) for of_rank in pieces)
    factor = min(1.0, limit / math.sqrt(total))
    return [[grad * factor for grad in of_rank] for of_rank in pieces]""",
               "the length of the longest rank is taken for that of the whole", LENGTHS),
        Mutant("mean_of_ranks", FACTOR, "factor = min(1.0, limit / math.sqrt(total / len(pieces)))",
               "the squares are averaged over the ranks", "Do squares add up, or are they averaged?"),
        Mutant("element", SCALED, "return [[grad.clamp(-limit, limit) for grad in of_rank] for of_rank in pieces]",
               "each number is cut off at the limit", ONE_FACTOR),
        Mutant("copies_scaled", SCALED, "return [[grad * factor / (len(pieces) if copied else 1)\n"
               "             for grad, copied in zip(of_rank, copies)] for of_rank in pieces]",
               "the copies themselves are divided by the number of ranks",
               "What must hold for the copies after the clipping?"),
        Mutant("copies_not_clipped", SCALED, "return [[grad if copied else grad * factor\n"
               "             for grad, copied in zip(of_rank, copies)] for of_rank in pieces]",
               "copies are not clipped", "Do copies belong to the one vector?"),
        Mutant("copies_once", SCALED, "return [[grad * factor for grad, copied in zip(of_rank, copies)\n"
               "             if not copied or rank == 0] for rank, of_rank in enumerate(pieces)]",
               "copies come back on the first rank only", "What should every rank hold afterwards?"),
        Mutant("in_place", SCALED, "return [[grad.mul_(factor) for grad in of_rank] for of_rank in pieces]",
               "the gradients that were handed over are overwritten",
               "What does the statement say about the tensors?"),
        Mutant("flat", SCALED, "return [grad * factor for of_rank in pieces for grad in of_rank]",
               "the lists of all ranks are joined into one", "Which shape had the lists?"),
        Mutant("absolute", "grad.square().sum()", "grad.abs().sum()",
               "absolute values are added up instead of squares", "A vector (3, 4): how does 5 come about?"),
    ),
    variants=("""\
def clipped_pieces(pieces, copies, limit):
    once = [g.flatten() for rank, of_rank in enumerate(pieces) for g, c in zip(of_rank, copies) if rank == 0 or not c]
    length = torch.cat(once).norm()
    if length <= limit:
        return [[g.clone() for g in of_rank] for of_rank in pieces]
    return [[g * (limit / length) for g in of_rank] for of_rank in pieces]""", """\
def clipped_pieces(pieces, copies, limit):
    n = len(pieces)
    squares = torch.tensor([[g.double().pow(2).sum() for g in of_rank] for of_rank in pieces])
    share = torch.tensor([1 / n if copied else 1.0 for copied in copies], dtype=squares.dtype)
    factor = (limit / (squares @ share).sum().sqrt()).clamp(max=1.0).item()
    return [[g.mul(factor) for g in of_rank] for of_rank in pieces]""", """\
def clipped_pieces(pieces, copies, limit):
    norms = []
    for i, copied in enumerate(copies):
        if copied:
            norms.append(pieces[0][i].norm())
        else:
            norms += [of_rank[i].norm() for of_rank in pieces]
    length = max(math.hypot(*map(float, norms)), limit)
    return [[limit * g / length for g in of_rank] for of_rank in pieces]""",
    ),
    properties=(
        Property(lambda out, pieces, copies, limit: all(
            torch.equal(out[0][i], of_rank[i]) for of_rank in out for i, copied in enumerate(copies) if copied),
                 "Copies are not equal on all ranks any more."),
    ),
    twin=clipped_twin,
)  # fmt: skip


# 22.9


def ema_twin(rng: random.Random) -> Question:
    """Rows and two numbers of ranks, of which the old one is of no use."""
    old, new = rng.sample([2, 3, 4, 5, 6, 8], 2)
    rows = rng.randint(12, 60)
    row = rng.randrange(rows)
    return Question(
        f"A matrix of {rows} rows lies on {old} ranks, ⌈{rows} / {old}⌉ rows each; it is cut anew for {new} ranks in "
        f"the same way. Which new rank (the first is 0) gets row {row} (the first is 0)?", row // -(-rows // new),
        f"A new rank has {-(-rows // new)} rows; how it was cut before makes no difference.",
    )  # fmt: skip


def ema_cases() -> list[tuple]:
    """Old ranks with uneven pieces and with none; more new ranks than rows; rows that divide evenly and that do not."""
    cases = []
    layouts = (((3, 3, 3, 2), 3, 2, 0.9), ((3, 3, 3, 1), 4, 5, 0.75), ((1,), 3, 2, 0.5), ((3, 3, 1), 1, 4, 0.9),
               ((3, 2), 4, 3, 0.8), ((9,), 4, 2, 0.6), ((3, 1, 0), 2, 3, 0.95), ((0, 5, 1, 2), 3, 2, 0.7),
               ((2, 4), 6, 3, 0.99), ((4, 4, 2), 7, 1, 0.25), ((4, 4), 2, 3, 0.9))  # fmt: skip
    for i, (rows, new, C, beta) in enumerate(layouts):
        ema, weights = (list(whole.split(rows)) for whole in normal(2290 + i, (sum(rows), C), (sum(rows), C)))
        cases.append(([p.clone() for p in ema], [p.clone() for p in weights], beta, new))
    return cases


def own_memory(function, ema, weights, beta, new):
    """Each piece must have memory of its own: with views nothing would have been saved."""
    pieces = function(ema, weights, beta, new)
    for rank, piece in enumerate(pieces if isinstance(pieces, (list, tuple)) else []):
        if isinstance(piece, torch.Tensor) and piece.untyped_storage().nbytes() > piece.nbytes:
            alive = piece.untyped_storage().nbytes()
            raise ValueError(f"the piece of rank {rank} has {piece.nbytes} bytes and keeps {alive} alive: it is a view "
                             "of something larger")  # fmt: skip
    return pieces


MOVED = "moved = [beta * e + (1 - beta) * w for e, w in zip(ema, weights)]"
SIZE = "size, found = math.ceil(rows / new), []"
BOUNDS = "a, b = rank * size, (rank + 1) * size"
WHOLE_EMA = """\
def shard_the_ema(ema, weights, beta, new):
    whole = torch.cat([beta * e + (1 - beta) * w for e, w in zip(ema, weights)])
    size = -(-len(whole) // new)
    return {}"""
EVERY_ROW = "Add up the rows of all your pieces: how many should they be?"
FIVE_ON_FOUR = "5 rows on 4 ranks: how many does each get by the rule in the statement?"
FILE_OF_MY_NUMBER = "Which old ranks have the rows that new rank 1 is to hold?"
OF_THE_MEAN = "With beta = 0.999 the mean moves slowly. Which of the two gets the 0.999?"
SHARD_THE_EMA = Exercise(
    cases=ema_cases,
    use=own_memory,
    mutants=(
        Mutant("rounded_down", "math.ceil(rows / new)", "rows // new",
               "the rows of a rank are rounded down, and the last ones are lost", EVERY_ROW),
        Mutant("rest_to_last", BOUNDS, "size = rows // new\n        a, b = rank * size, "
               "(rank + 1) * size if rank < new - 1 else rows",
               "the rows of a rank are rounded down, and the last rank gets the rest", FIVE_ON_FOUR),
        Mutant("tensor_split", "", WHOLE_EMA.format("[piece.clone() for piece in whole.tensor_split(new)]"),
               "the rows are dealt out as evenly as possible", FIVE_ON_FOUR),
        Mutant("chunk", "", WHOLE_EMA.format("[piece.clone() for piece in whole.chunk(new)]"),
               "ranks that get no row are missing from the list",
               "How many entries must the list have, whatever they hold?"),
        Mutant("split", "", WHOLE_EMA.format("[piece.clone() for piece in whole.split(size)]"),
               "ranks that get no row are missing from the list",
               "How many entries must the list have, whatever they hold?"),
        Mutant("none", "", WHOLE_EMA.format("[whole[r * size : (r + 1) * size].clone() if r * size < len(whole) "
                                            "else None for r in range(new)]"),
               "a rank without rows gets no tensor",
               "What shape has a tensor of no rows with C columns?"),
        Mutant("one_more", "math.ceil(rows / new)", "rows // new + 1",
               "a rank gets one row more even where the rows divide evenly",
               "8 rows on 2 ranks: how many are on each?"),
        Mutant("padded", "found.append(torch.cat(mine))",
               "found.append(torch.nn.functional.pad(torch.cat(mine), (0, 0, 0, size - sum(map(len, mine)))))",
               "all pieces are filled up with zeros to the same length",
               "Are the zeros rows of the matrix? What would the next reader take them for?"),
        Mutant("own_number", "", """\
def shard_the_ema(ema, weights, beta, new):
    moved = [beta * e + (1 - beta) * w for e, w in zip(ema, weights)]
    return [moved[rank] if rank < len(moved) else moved[0][:0].clone() for rank in range(new)]""",
               "each new rank takes the piece of the old rank with its number", FILE_OF_MY_NUMBER),
        Mutant("own_number_loses", "for piece, begin in zip(moved, begins)]",
               "for k, (piece, begin) in enumerate(zip(moved, begins)) if k == rank] or [moved[0][:0]]",
               "each new rank looks for its rows only on the old rank with its number", FILE_OF_MY_NUMBER),
        Mutant("first_size", SIZE, "size, found = len(moved[0]), []",
               "new ranks get as many rows as the first old one had",
               "Does the number of rows of a new rank depend on how the matrix was cut before?"),
        Mutant("cut_in_place", "", """\
def shard_the_ema(ema, weights, beta, new):
    moved = [beta * e + (1 - beta) * w for e, w in zip(ema, weights)]
    cut = lambda piece, r: piece[r * -(-len(piece) // new) : (r + 1) * -(-len(piece) // new)]
    return [torch.cat([cut(piece, r) for piece in moved]) for r in range(new)]""",
               "every old piece is cut for all new ranks, so that the rows change their order",
               "In which order do the rows of the matrix come when the new pieces are joined?"),
        Mutant("dealt", "", WHOLE_EMA.format("[whole[r::new].clone() for r in range(new)]"),
               "rows are dealt out like cards",
               "In which order do the rows of the matrix come when the pieces are joined?"),
        Mutant("columns", "", """\
def shard_the_ema(ema, weights, beta, new):
    whole = torch.cat([beta * e + (1 - beta) * w for e, w in zip(ema, weights)])
    size = -(-whole.shape[1] // new)
    return [whole[:, r * size : (r + 1) * size].clone() for r in range(new)]""",
               "columns are cut instead of rows", "Along which dimension does the statement cut?"),
        Mutant("view", "", WHOLE_EMA.format("[whole[r * size : (r + 1) * size] for r in range(new)]"),
               "the pieces are views, which keep the whole matrix alive on every rank",
               "What does a slice of a tensor share with the tensor?"),
        Mutant("view_chunk", "", WHOLE_EMA.format("[*whole.split(size), *[whole[:0]] * new][:new]"),
               "the pieces are views, which keep the whole matrix alive on every rank",
               "What does a slice of a tensor share with the tensor?"),
        Mutant("everyone_whole", "found.append(torch.cat(mine))", "found.append(torch.cat(moved))",
               "every rank gets the whole mean", "What has been saved if every rank holds everything?"),
        Mutant("betas_swapped", MOVED, "moved = [(1 - beta) * e + beta * w for e, w in zip(ema, weights)]",
               "beta goes to the weights instead of the old mean", OF_THE_MEAN),
        Mutant("not_averaged", MOVED, "moved = [beta * e + w for e, w in zip(ema, weights)]",
               "the parts of the mean add up to more than one",
               "If mean and weights are equal, what should the new mean be?"),
        Mutant("weights_whole", MOVED, "moved = [e + (1 - beta) * w for e, w in zip(ema, weights)]",
               "the old mean does not fade", "If mean and weights are equal, what should the new mean be?"),
        Mutant("not_updated", MOVED, "moved = list(ema)",
               "the mean is moved and not updated", "What happens to the mean before it moves?"),
        Mutant("weights_moved", MOVED, "moved = list(weights)",
               "the weights are moved instead of their mean", "Whose rows should the new ranks hold?"),
        Mutant("half", MOVED, "moved = [(e + w) / 2 for e, w in zip(ema, weights)]",
               "mean and weights are averaged whatever beta is", "Where in your code does beta come in?"),
        Mutant("bias", MOVED, "moved = [(beta * e + (1 - beta) * w) / (1 - beta) for e, w in zip(ema, weights)]",
               "the mean is corrected as in Adam's first step",
               "Does the statement say that the mean began at zero?"),
        Mutant("in_place", MOVED, "moved = [e.mul_(beta).add_((1 - beta) * w) for e, w in zip(ema, weights)]",
               "the old mean is overwritten", "What does the statement say about the arguments?"),
        Mutant("begins_without_sum", "begins.append(begins[-1] + len(piece))",
               "begins.append(begins[-1] + len(moved[0]))",
               "all old ranks are taken to have as many rows as the first",
               "Which number has the first row of the last old rank?"),
        Mutant("one_row_early", BOUNDS, "a, b = rank * size, (rank + 1) * size - 1",
               "the last row of each piece is left out", EVERY_ROW),
        Mutant("overlap", BOUNDS, "a, b = rank * size, (rank + 1) * size + 1",
               "neighbours share a row", EVERY_ROW),
        Mutant("one_tensor", "return found", "return torch.cat(found)",
               "one tensor comes back instead of one for each rank",
               "What does the list that comes back have an entry for?"),
    ),
    variants=("""\
def shard_the_ema(ema, weights, beta, new):
    whole = torch.cat([torch.lerp(w, e, beta) for e, w in zip(ema, weights)])
    size = -(-len(whole) // new)
    return [whole[r * size : (r + 1) * size].clone() for r in range(new)]""", """\
def shard_the_ema(ema, weights, beta, new):
    rows = [beta * a + (1 - beta) * b for e, w in zip(ema, weights) for a, b in zip(e, w)]
    size, C = math.ceil(len(rows) / new), ema[0].shape[1]
    return [torch.stack(rows[r * size : (r + 1) * size]) if rows[r * size : (r + 1) * size] else torch.zeros(0, C)
            for r in range(new)]""", """\
def shard_the_ema(ema, weights, beta, new):
    counts = [len(e) for e in ema]
    starts = [sum(counts[:k]) for k in range(len(counts))]
    size = (sum(counts) + new - 1) // new
    result = []
    for r in range(new):
        begin, end = min(r * size, sum(counts)), min((r + 1) * size, sum(counts))
        piece = torch.empty(end - begin, ema[0].shape[1])
        for e, w, s in zip(ema, weights, starts):
            first, last = max(begin, s), min(end, s + len(e))
            if first < last:
                old = slice(first - s, last - s)
                piece[first - begin : last - begin] = beta * e[old] + (1 - beta) * w[old]
        result.append(piece)
    return result""", """\
def shard_the_ema(ema, weights, beta, new):
    mean = beta * torch.vstack(ema) + (1 - beta) * torch.vstack(weights)
    pieces = [piece.clone() for piece in mean.chunk(new)]
    return pieces + [mean.new_empty(0, mean.shape[1]) for _ in range(new - len(pieces))]""",
    ),
    properties=(
        Property(lambda pieces, ema, weights, beta, new: len(pieces) == new,
                 "There is not one piece for each new rank."),
        Property(lambda pieces, ema, *_: sum(map(len, pieces)) == sum(map(len, ema)),
                 "Together the new ranks do not hold as many rows as the matrix has."),
    ),
    twin=ema_twin,
)  # fmt: skip


EXERCISES = {
    "devices_needed": DEVICES_NEEDED,
    "stage_one": STAGE_ONE,
    "zero_bytes": ZERO_BYTES,
    "tokens_to_hide": TOKENS_TO_HIDE,
    "order_of_events": ORDER_OF_EVENTS,
    "cheapest_plan": CHEAPEST_PLAN,
    "policy": POLICY,
    "clipped_pieces": CLIPPED_PIECES,
    "shard_the_ema": SHARD_THE_EMA,
}


def bytes_of_a_stage(rng: random.Random) -> Question:
    stage, n = rng.randint(1, 3), rng.choice([2, 4, 5, 8, 10, 16, 32, 64])
    return Question(
        f"ZeRO, stage {stage}, AdamW in fp32 on {n} ranks. How many bytes of weights, gradients and optimizer state "
        "does a rank hold for each parameter of the model?", float(bytes_held(stage, n)),
        "Stage 1 cuts the 8 bytes of state, stage 2 the 4 of gradients too, stage 3 also the 4 of weights.", 0.01,
    )  # fmt: skip


def passes_of_a_stage(rng: random.Random) -> Question:
    stage, micro = rng.randint(1, 3), rng.randint(2, 9)
    return Question(
        f"ZeRO, stage {stage}, {micro} micro-batches in an optimizer step. How many passes of (n − 1)/n · N numbers "
        "does a rank send in this step?", (0, 2, micro + 1, 3 * micro)[stage],
        "Stage 1: gradients once, weights once. Stage 2 reduces in each micro-batch. Stage 3 gathers twice and reduces "
        "once in each.",
    )  # fmt: skip


def stuck_sum(rng: random.Random) -> Question:
    each, ranks = 2 ** rng.randint(0, 5), rng.choice([64, 128, 200, 300, 512, 600, 1000, 2000])
    return Question(
        f"{ranks} ranks hold {each}.0 each. The sum travels around a ring and is rounded to bf16 (8 bits of "
        "significand) after each rank. What is it at the end?", min(ranks, 256) * each,
        f"Up to 256 · {each} all sums are exact. From there another {each} is half of the distance to the next number, "
        "and is rounded away.",
    )  # fmt: skip


def independent_rows(rng: random.Random) -> Question:
    n, each = rng.choice([2, 4, 8]), rng.randint(3, 40)
    return Question(
        f"{n} ranks draw {each} rows each of a matrix with {n * each} rows and {n * each + 7} columns, all with the "
        "same seed. How many rows of the matrix are independent?", each,
        f"All ranks draw the same {each} rows.",
    )  # fmt: skip


def old_pieces(rng: random.Random) -> Question:
    """Rows of a new rank, among pieces of another size."""
    old, new, rows = rng.choice([3, 4, 6]), rng.choice([2, 5]), rng.randint(24, 80)
    size, rank = -(-rows // new), rng.randrange(2)
    first, last = rank * size, min((rank + 1) * size, rows) - 1
    before = -(-rows // old)
    return Question(
        f"A matrix of {rows} rows was written by {old} ranks, ⌈{rows} / {old}⌉ = {before} rows each (the last fewer), "
        f"and is read by {new}, ⌈{rows} / {new}⌉ = {size} rows each. From how many old pieces does rank {rank} read "
        "(the first is 0)?", last // before - first // before + 1,
        f"It needs rows {first} to {last}; old piece k has the rows from {before} k on.",
    )  # fmt: skip


def held_hybrid(rng: random.Random) -> Question:
    billions, shard, machines = rng.randint(1, 40), rng.choice([2, 4, 8]), rng.choice([2, 4, 16, 32])
    return Question(
        f"HSDP: {machines} machines with {shard} ranks each; pieces stay inside a machine. A model of {billions} "
        "billion parameters at 16 bytes: how many GB (1e9 bytes) of them does a rank hold?", 16 * billions / shard,
        f"Each machine has one whole copy in {shard} pieces; more machines make more copies, not smaller pieces.", 0.01,
    )  # fmt: skip


RECALL = (bytes_of_a_stage, passes_of_a_stage, stuck_sum, independent_rows, old_pieces, held_hybrid)
PREDICTIONS = {
    "22.p1": Prediction(
        "How many devices of 80 GB do the weights, gradients and AdamW state of the 70B fill, at the least? (A whole "
        "number.)",
        lambda: 14,
        "16 bytes for each of 69.0 billion parameters are 1,104 GB, which is 13.8 devices; and a part of a device is a "
        "device.",
    ),
    "22.p2": Prediction(
        "Plain data parallel training sends 2 (n − 1)/n · N numbers a step. How many times as many does a rank send in "
        "stage 1, and in stage 3? (A list of two numbers.)",
        lambda: [1.0, 1.5],
        "A ring's sum is a reduce-scatter and an all-gather. Stage 1 gathers weights in the place of gradients. Stage "
        "3 gathers weights twice and reduces once: three passes instead of two.",
    ),
    "22.p3": Prediction(
        "The same machine, and blocks with four times as many parameters. How many times as many tokens does a rank "
        "need to hide its traffic?",
        lambda: 1.0,
        "Bytes and FLOPs are both proportional to the parameters of the block, which cancel. Only the machine counts.",
    ),
    "22.p4": Prediction(
        "Full recomputation: how many times as many FLOPs of matrix products does a step need? (A step without it is a "
        "forward pass and a backward pass of twice its FLOPs.)",
        None,
        "A second forward pass would make it 4/3. It is a little less: the last product of each block is not computed "
        "again, for no gradient needs its result, and the head is in no block.",
        0.1,
    ),
    "22.p5": Prediction(
        "Each of 1,000 ranks has the gradient 1.0. The sum travels around a ring in bf16, rounded after each rank. "
        "What is it at the end?",
        lambda: 256.0,
        "After 256 the next number of bf16 is 258. 256 + 1 lies in the middle, and is rounded back to 256, every time.",
    ),
    "22.p6": Prediction(
        "Each of 4 ranks draws its 10 rows of a matrix of 40 by 48 with the same seed. How many of its rows are "
        "independent?",
        lambda: 10,
        "All ranks draw the same ten rows, and the matrix has each of them four times.",
    ),
}
