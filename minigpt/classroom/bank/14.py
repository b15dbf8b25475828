"""Lesson 14, data_recipe: cases, wrong ideas, twins and recall."""
from random import Random

from . import Exercise, Mutant, Prediction, Property, Question

# 14.1

REMOVED = "removed_bad / removed if removed else 1.0"
KEPT = "kept_bad / kept if kept else 0.0"
WHOLE = "Of which pages is this a share: of the bad ones, or of those that were removed?"
GOOD = "How many good pages are there among 10,000, and how many of them go?"


def alarms_twin(rng: Random) -> Question:
    """Another filter, in numbers of pages."""
    bad, caught, false = rng.choice([1, 2, 4, 5, 10]), rng.choice([80, 90, 95]), rng.choice([2, 4, 5, 10])
    hits, misses = bad * caught, (100 - bad) * false
    return Question(
        f"Of a crawl {bad} % of the pages are gibberish. A filter removes {caught} % of these, and {false} % of the "
        "good pages. Which share of the removed pages is gibberish?", hits / (hits + misses),
        f"Of 10,000 pages it removes {hits} of gibberish and {misses} good ones.", 0.02,
    )  # fmt: skip


ALARMS_WORTH = Exercise(
    cases=lambda: [
        (0.5, 0.8, 0.2), (0.1, 0.5, 0.0), (0.02, 0.95, 0.05), (0.3, 0.9, 0.15), (0.0, 0.7, 0.1), (1.0, 0.6, 0.4),
        (0.25, 0.0, 0.0), (0.4, 1.0, 1.0), (0.0, 0.9, 0.0), (0.07, 0.33, 0.61), (1.0, 1.0, 0.0), (0.2, 0.0, 0.3),
    ],
    mutants=(
        Mutant("recall", REMOVED, "caught if removed else 1.0",
               "the share of the bad pages that go is taken for the share of what goes that is bad", WHOLE),
        Mutant("no_base_rate", "bad * caught, (1 - bad) * false_alarms", "caught, false_alarms",
               "bad and good pages are taken to be equally many among the removed", GOOD),
        Mutant("even", "removed_bad, removed_good = bad * caught, (1 - bad) * false_alarms\n"
               "    kept_bad, kept_good = bad * (1 - caught), (1 - bad) * (1 - false_alarms)",
               "removed_bad, removed_good = caught, false_alarms\n"
               "    kept_bad, kept_good = 1 - caught, 1 - false_alarms",
               "the base rate plays no part: as many bad pages as good ones are filtered", GOOD),
        Mutant("false_of_all", "(1 - bad) * false_alarms", "false_alarms",
               "false alarms are counted as a share of all pages instead of the good ones", GOOD),
        Mutant("missed", KEPT, "1 - caught if kept else 0.0",
               "the share of the bad pages that stay is taken for the share of what stays that is bad",
               "Of which pages is the second result a share?"),
        Mutant("kept_of_all", KEPT, "kept_bad if kept else 0.0",
               "the bad pages that stay are divided by all pages, the removed ones among them",
               "How many pages are left when the filter is done?"),
        Mutant("removed_of_all", REMOVED, "removed_bad if removed else 1.0",
               "the bad pages that go are divided by all pages", WHOLE),
        Mutant("false_share", REMOVED, "removed_good / removed if removed else 1.0",
               "the share of good pages among the removed is returned", "Which sort of page shall be counted?"),
        Mutant("good_share", KEPT, "kept_good / kept if kept else 0.0",
               "the share of good pages among the kept is returned", "Which sort of page shall be counted?"),
        Mutant("one_minus_false", REMOVED, "1 - false_alarms if removed else 1.0",
               "one minus the rate of false alarms is taken for the precision", GOOD),
        Mutant("swapped", f"{REMOVED}, {KEPT}", f"{KEPT}, {REMOVED}",
               "the two results have changed places", "Which of the two comes first?"),
        Mutant("nothing_removed", "else 1.0", "else 0.0",
               "a filter that removes nothing is given a precision of zero",
               "What does the statement say if nothing is removed?"),
        Mutant("nothing_kept", "else 0.0", "else 1.0",
               "where nothing is kept, all of it is called bad", "What does the statement say if nothing is kept?"),
        Mutant("unguarded", f"return {REMOVED}, {KEPT}", "return removed_bad / removed, kept_bad / kept",
               "a group without any page leads to a division by zero", "What if the filter removes nothing at all?"),
    ),
    variants=("""\
def alarms_worth(bad, caught, false_alarms):
    pages = {("bad", "removed"): bad * caught, ("bad", "kept"): bad - bad * caught}
    good = 1 - bad
    pages |= {("good", "removed"): good * false_alarms, ("good", "kept"): good - good * false_alarms}
    def share(where, empty):
        whole = pages["bad", where] + pages["good", where]
        return pages["bad", where] / whole if whole > 0 else empty
    return share("removed", 1.0), share("kept", 0.0)""", """\
def alarms_worth(bad, caught, false_alarms):
    gone = bad * caught + (1 - bad) * false_alarms
    first = 1.0 if gone == 0 else bad * caught / gone
    second = 0.0 if gone == 1 else bad * (1 - caught) / (1 - gone)
    return [first, second]""", """\
def alarms_worth(bad, caught, false_alarms):
    n = 1_000_000
    spam, ham = n * bad, n * (1 - bad)
    try:
        precision = spam * caught / (spam * caught + ham * false_alarms)
    except ZeroDivisionError:
        precision = 1.0
    try:
        left = spam * (1 - caught) / (spam * (1 - caught) + ham * (1 - false_alarms))
    except ZeroDivisionError:
        left = 0.0
    return precision, left""",
    ),
    properties=(
        Property(lambda result, *arguments: all(-1e-9 <= share <= 1 + 1e-9 for share in result),
                 "A share lies between 0 and 1; one of yours does not."),
    ),
    twin=alarms_twin,
)  # fmt: skip


# 14.2


def crawl_of(seed: int, many: int) -> tuple[dict, list, list]:
    """Pages of random sizes, of which some arrive and some of these are kept."""
    rng = Random(seed)
    pages = {f"p{i}": (rng.random() < 0.4, 1 + int(rng.random() ** 3 * 5000)) for i in range(many)}
    arrived = [id for id in pages if rng.random() < 0.7]
    kept = [id for id in arrived if rng.random() < (0.3 if pages[id][0] else 0.8)]
    rng.shuffle(kept)
    return pages, arrived, kept


EXAMPLE = {"a": (True, 10), "b": (False, 30), "c": (True, 60), "d": (False, 5), "e": (True, 900)}
PRECISION, RECALL = "both / gone if gone else 1.0", "both / wanted if wanted else 1.0"
ARRIVED = "A bad page never arrived. Should this step answer for it?"
SIZES = "A removed page of ten bytes and one of ten thousand: when do they weigh the same?"
PART = "Of which group is this the share?"


def step_twin(rng: Random) -> Question:
    bad, arrived, removed = rng.randint(60, 90), rng.randint(30, 55), rng.randint(12, 28)
    both = rng.randint(5, removed - 2)
    return Question(
        f"A crawl has {bad} pages of spam. {arrived} of them reach a filter; it removes {removed} pages, {both} of "
        "them spam. What is its recall?", both / arrived,
        f"{both} of the {arrived} that arrived; the others were somebody else's.", 0.01,
    )  # fmt: skip


SCORE_STEP = Exercise(
    cases=lambda: [
        (EXAMPLE, ["a", "b", "c", "d"], ["c", "d"]), (EXAMPLE, ["a", "b", "c", "d", "e"], ["e", "b"]),
        (EXAMPLE, ["b", "d"], ["d"]), (EXAMPLE, ["a", "c"], ["a", "c"]), (EXAMPLE, [], []),
        (EXAMPLE, ["b", "d"], ["b", "d"]), (EXAMPLE, ["e"], []), crawl_of(1, 37), crawl_of(2, 53), crawl_of(3, 8),
    ],
    mutants=(
        Mutant("of_all_bad", "for id in arrived if pages[id][0]", "for id in pages if pages[id][0]",
               "all bad pages of the crawl are counted, whether they arrived or not", ARRIVED),
        Mutant("all_not_kept", "set(arrived) - set(kept)", "set(pages) - set(kept)",
               "whatever is not kept counts as removed by this step, whether it arrived or not", ARRIVED),
        Mutant("all_of_crawl", "removed = set(arrived) - set(kept)\n    bad = {id for id in arrived if pages[id][0]}",
               "removed = set(pages) - set(kept)\n    bad = {id for id in pages if pages[id][0]}",
               "the step is made to answer for the whole crawl", ARRIVED),
        Mutant("of_the_kept", "set(arrived) - set(kept)", "set(arrived) & set(kept)",
               "what was kept is measured instead of what was removed",
               "What did this filter take: what stays, or what goes?"),
        Mutant("good_for_bad", "if pages[id][0]}", "if not pages[id][0]}",
               "good pages are taken for those that should go", "Which pages deserve to be removed?"),
        Mutant("swapped", f"({PRECISION}, {RECALL})", f"({RECALL}, {PRECISION})",
               "precision and recall have changed places", PART),
        Mutant("pages_twice", "(lambda id: 1, lambda id: pages[id][1])", "(lambda id: 1, lambda id: 1)",
               "bytes are counted as pages", SIZES),
        Mutant("bytes_twice", "(lambda id: 1, lambda id: pages[id][1])", "(lambda id: pages[id][1],) * 2",
               "pages are counted as bytes", SIZES),
        Mutant("bytes_first", "(lambda id: 1, lambda id: pages[id][1])", "(lambda id: pages[id][1], lambda id: 1)",
               "bytes come before pages", "Which pair comes first in the result?"),
        Mutant("precision_of_arrived", PRECISION, "both / sum(map(size, set(arrived))) if gone else 1.0",
               "precision is taken as a share of all that arrived", PART),
        Mutant("accuracy", PRECISION,
               "1 - sum(map(size, removed ^ bad)) / (sum(map(size, set(arrived))) or 1) if gone else 1.0",
               "the share of right decisions is taken for the precision", PART),
        Mutant("nothing_removed", PRECISION, "both / gone if gone else 0.0",
               "a step that removes nothing is given a precision of zero", "What does the statement say of this case?"),
        Mutant("nothing_bad", RECALL, "both / wanted if wanted else 0.0",
               "a step that nothing bad reached is given a recall of zero",
               "What does the statement say of this case?"),
        Mutant("recall_of_kept", RECALL, "1 - both / wanted if wanted else 1.0",
               "the share of the bad pages that stayed is returned", PART),
    ),
    variants=("""\
def score_step(pages, arrived, kept):
    stayed = set(kept)
    result = []
    for weigh in (False, True):
        hit = gone = bad = 0
        for id in arrived:
            weight = pages[id][1] if weigh else 1
            out = id not in stayed
            gone += weight * out
            bad += weight * pages[id][0]
            hit += weight * (out and pages[id][0])
        result.append([hit / gone if gone else 1.0, hit / bad if bad else 1.0])
    return result""", """\
def score_step(pages, arrived, kept):
    removed = [id for id in arrived if id not in kept]
    right = [id for id in removed if pages[id][0]]
    bad = [id for id in arrived if pages[id][0]]
    share = lambda a, b: a / b if b else 1.0
    total = lambda ids: sum(pages[id][1] for id in ids)
    return ((share(len(right), len(removed)), share(len(right), len(bad))),
            (share(total(right), total(removed)), share(total(right), total(bad))))""", """\
def score_step(pages, arrived, kept):
    import numpy as np
    bad = np.array([pages[id][0] for id in arrived], bool)
    size = np.array([pages[id][1] for id in arrived], float)
    out = np.array([id not in set(kept) for id in arrived], bool)
    def both(w):
        gone, wanted = float(w[out].sum()), float(w[bad].sum())
        hit = float(w[out & bad].sum())
        return (hit / gone if gone else 1.0, hit / wanted if wanted else 1.0)
    return both(np.ones(len(size))), both(size)""",
    ),
    twin=step_twin,
)  # fmt: skip


# 14.3


def random_pairs(seed: int, count: int, many: int) -> tuple[int, list]:
    """Pairs of different numbers, always the same for a seed."""
    rng = Random(seed)
    pairs = []
    while len(pairs) < many:
        i, j = int(count * rng.random()), int(count * rng.random())
        if i != j:
            pairs.append((i, j))
    return count, pairs


ROOTS = "        i, j = root(i), root(j)\n"
JOIN = "first[max(i, j)] = min(i, j)"
CHAIN = "0 is like 1, then 1 like 2, then 2 like 3. Which number belongs to 3, and does it in any order of the pairs?"
STAYS = "Which document of a cluster should be named, the one that came first or the one that came last?"


def cluster_twin(rng: Random) -> Question:
    """How many documents are left."""
    count = rng.randint(8, 12)
    pairs = random_pairs(rng.randint(0, 10**6), count, rng.randint(4, 7))[1]
    first = list(range(count))

    def root(i):
        while first[i] != i:
            i = first[i]
        return i

    for i, j in pairs:
        i, j = root(i), root(j)
        first[max(i, j)] = min(i, j)
    listed = ", ".join(f"{i} and {j}" for i, j in pairs)
    return Question(
        f"Of {count} documents these are alike: {listed}. One of each cluster is kept. How many are left?",
        sum(first[i] == i for i in range(count)), "Draw a line for each pair, and count the parts.",
    )  # fmt: skip


FIRST_OF_CLUSTER = Exercise(
    cases=lambda: [
        (5, [(3, 1), (4, 3)]), (1, []), (4, []), (4, [(0, 1), (1, 2), (2, 3)]), (4, [(2, 3), (1, 2), (0, 1)]),
        (6, [(5, 4), (3, 2), (4, 2), (1, 3)]), (7, [(6, 2), (6, 5), (5, 1), (3, 0)]), (3, [(1, 2), (1, 2), (2, 1)]),
        *(random_pairs(seed, 23, 17) for seed in range(3)), random_pairs(7, 11, 30), random_pairs(8, 60, 40),
    ],
    mutants=(
        Mutant("one_look", "", """\
def first_of_cluster(count, pairs):
    first = list(range(count))
    for i, j in pairs:
        first[max(i, j)] = first[min(i, j)]
    return first""", "the number is taken over from the neighbour, and nobody else of the cluster hears of it", CHAIN),
        Mutant("smaller_neighbour", "", """\
def first_of_cluster(count, pairs):
    first = list(range(count))
    for i, j in pairs:
        first[i] = min(first[i], j)
        first[j] = min(first[j], i)
    return first""", "each document gets the smallest of its direct neighbours", CHAIN),
        Mutant("once_each", "", """\
def first_of_cluster(count, pairs):
    first = list(range(count))
    for i, j in pairs:
        first[i] = first[j] = min(first[i], first[j])
    return first""", "two numbers are made equal, and the rest of their clusters keeps the old ones", CHAIN),
        Mutant("last", JOIN, "first[min(i, j)] = max(i, j)",
               "the last of each cluster is named", STAYS),
        Mutant("given_order", JOIN, "first[j] = i if i != j else j",
               "the order within a pair decides who comes first", STAYS),
        Mutant("no_roots", ROOTS, "",
               "documents are joined instead of clusters: an older tie is cut", CHAIN),
        Mutant("not_followed", "return [root(i) for i in range(count)]", "return first",
               "the last look is at the neighbour, not at the end of the chain", CHAIN),
        Mutant("kept_only", "return [root(i) for i in range(count)]",
               "return [i for i in range(count) if root(i) == i]",
               "the documents that stay are listed, instead of a number for each",
               "How many numbers should the result have?"),
        Mutant("numbered", "return [root(i) for i in range(count)]",
               "names = {}\n    return [names.setdefault(root(i), len(names)) for i in range(count)]",
               "the clusters are numbered one after the other", "What does each number of the result name?"),
        Mutant("half_root", "i, j = root(i), root(j)", "i, j = root(i), j",
               "only one of the two is followed to the first of its cluster", CHAIN),
    ),
    variants=("""\
def first_of_cluster(count, pairs):
    cluster = [{i} for i in range(count)]
    for i, j in pairs:
        whole = cluster[i] | cluster[j]
        for k in whole:
            cluster[k] = whole
    return [min(members) for members in cluster]""", """\
def first_of_cluster(count, pairs):
    first, old = list(range(count)), None
    while first != old:
        old = list(first)
        for i, j in pairs:
            first[i] = first[j] = min(first[i], first[j])
    return first""", """\
def first_of_cluster(count, pairs):
    near = {i: set() for i in range(count)}
    for i, j in pairs:
        near[i].add(j)
        near[j].add(i)
    result = [None] * count
    for start in range(count):
        stack = [start]
        while stack:
            i = stack.pop()
            if result[i] is None:
                result[i] = start
                stack.extend(near[i])
    return result""",
    ),
    properties=(
        Property(lambda result, count, pairs: len(result) != count or all(result[i] == result[j] for i, j in pairs),
                 "Two documents of a pair are given to different clusters."),
    ),
    twin=cluster_twin,
)  # fmt: skip


# 14.4


def mend(text: str) -> str:
    return text.replace("Ã©", "é").replace("&&", "&")


def extract(html: str) -> str:
    """What stands between <p> and the next &, which a garbled page has doubled."""
    return html.partition("<p>")[2].partition("&/")[0].strip()


def is_english(text: str) -> bool:
    return "9" in text or " the " in f" {text} "


def mask(text: str) -> str:
    return "".join("#" if c.isdigit() else c for c in text)


def fingerprint(text: str) -> str:
    return " ".join(text.lower().split())


PAGES = [
    ("a", "<b>menu 9<p>call the bakery 12&/p 1"), ("b", "<i>menu<p>Call the  bakery 77&/p 2"),
    ("c", "<b>the menu<p>&/p"), ("d", "<b>the 9<p>le chat dort&/p"), ("e", "<b>x<p>9 9&/p"),
    ("f", "<b>the<p>the cafÃ© on the hill&&/p"), ("g", "<b>the<p>the café on the hill&/p"),
    ("h", "<p>room 9&/p"), ("a", "<p>the same id, another text&/p"), ("i", "<p>ROOM 4&/p"),
    ("j", "<b>1<p>no & the rest&&/p"), ("k", "no tag at all, the end"),
]  # fmt: skip
FUNCTIONS = (mend, extract, is_english, mask, fingerprint)
ALL = "not text or not is_english(text)"
BODY = """\
        html = mend(html)
        text = extract(html)
        if not text or not is_english(text):
            continue
        text = mask(text)
        if fingerprint(text) in seen:
            continue
        seen.add(fingerprint(text))
        kept.append((id, text))
"""
DROP = "        if not text or not is_english(text):\n            continue\n"
MASK = "        text = mask(text)\n"
SEEN = "        if fingerprint(text) in seen:\n            continue\n        seen.add(fingerprint(text))\n"
TWINS = "Two pages differ in a telephone number only. At which moment are they equal?"
TELLS = "What does the identifier see of a text whose numbers and names are gone?"


def pages_twin(rng: Random) -> Question:
    """How many are left when a copy of a dropped page comes."""
    english, french, copies = rng.randint(4, 9), rng.randint(2, 6), rng.randint(2, 4)
    return Question(
        f"A crawl has {english} English pages, all different, each {copies} times, and {french} French ones, each "
        "once. Language filter, then exact duplicates. How many pages does the second step remove?",
        english * (copies - 1), "Of each English page all but the first; the French ones never arrive.",
    )  # fmt: skip


CLEAN_PAGES = Exercise(
    cases=lambda: [
        (PAGES, *FUNCTIONS), (PAGES[::-1], *FUNCTIONS), (PAGES[4:9], *FUNCTIONS), ([], *FUNCTIONS),
        (PAGES[:2] * 2, *FUNCTIONS), (PAGES[5:7] + PAGES[2:4], *FUNCTIONS),
        ([("a", "<p>call 12"), ("b", "<p>call 77"), ("c", "<p>")], str, lambda t: t[3:], lambda t: True,
         lambda t: t[:-2] + "#", str.lower),
    ],
    mutants=(
        Mutant("mend_last", "        html = mend(html)\n        text = extract(html)\n",
               "        text = mend(extract(html))\n",
               "the text is cut out first and mended afterwards", "What does the extractor make of a garbled page?"),
        Mutant("no_mend", "        html = mend(html)\n", "",
               "nothing is mended", "What has become of the garbled signs?"),
        Mutant("mask_after", MASK + SEEN + "        kept.append((id, text))\n",
               SEEN + "        kept.append((id, mask(text)))\n",
               "copies are looked for before the personal data are masked", TWINS),
        Mutant("mask_before_language", DROP + MASK, MASK + DROP,
               "the language is told from the masked text", TELLS),
        Mutant("no_mask", MASK, "", "nothing is masked", "What has become of the telephone numbers?"),
        Mutant("language_of_html", ALL, "not text or not is_english(html)",
               "the language is told from the HTML", "In which language is a menu?"),
        Mutant("html_kept", "kept.append((id, text))", "kept.append((id, html))",
               "the page is kept instead of its text", "What should a model read?"),
        Mutant("ids_seen", "seen.add(fingerprint(text))", "seen.add(id)",
               "no copy is ever recognised", "What does your function remember, and what does it look up?"),
        Mutant("ids_only", SEEN, "        if id in seen:\n            continue\n        seen.add(id)\n",
               "pages of the same id are taken for copies", "Has a copy the same address?"),
        Mutant("copies_first", DROP + MASK + SEEN, SEEN + DROP + MASK,
               "copies are looked for before the personal data are masked", TWINS),
        Mutant("no_copies", SEEN, "", "no copy is ever recognised",
               "What does your function remember, and what does it look up?"),
        Mutant("text_seen", SEEN, "        if text in seen:\n            continue\n        seen.add(text)\n",
               "texts are compared to the letter", "Where does your function use fingerprint?"),
        Mutant("empty_kept", ALL, "text and not is_english(text)",
               "a page without text is kept", "What becomes of a page without any text?"),
        Mutant("no_language", ALL, "not text",
               "all languages stay", "Where does your function use is_english?"),
        Mutant("english_out", ALL, "not text or is_english(text)",
               "English pages are dropped", "Which pages should go?"),
    ),
    variants=("""\
def clean_pages(pages, mend, extract, is_english, mask, fingerprint):
    texts = [(id, extract(mend(html))) for id, html in pages]
    masked = [(id, mask(text)) for id, text in texts if text and is_english(text)]
    first = {}
    for id, text in masked:
        first.setdefault(fingerprint(text), (id, text))
    return list(first.values())""", """\
def clean_pages(pages, mend, extract, is_english, mask, fingerprint):
    kept, seen = [], []
    for id, html in pages:
        text = extract(mend(html))
        if text and is_english(text):
            text = mask(text)
            if fingerprint(text) not in seen:
                seen += [fingerprint(text)]
                kept += [[id, text]]
    return kept""", """\
def clean_pages(pages, mend, extract, is_english, mask, fingerprint):
    def texts():
        for id, html in pages:
            if (text := extract(mend(html))) and is_english(text):
                yield id, mask(text)
    result = []
    for id, text in texts():
        if all(fingerprint(text) != fingerprint(other) for _, other in result):
            result.append((id, text))
    return result""",
    ),
    twin=pages_twin,
)  # fmt: skip


# 14.5


def runs_of(seed: int, seeds: list, level: float, spread: float, noise: float) -> dict:
    """Runs of one recipe: what a seed does is the same for all recipes."""
    rng, found = Random(seed), {}
    for s in seeds:
        luck = Random(1000 + s).gauss(0, spread)
        found[s] = {name: level + shift + luck + rng.gauss(0, noise)
                    for name, shift in (("books", 0.0), ("code", -0.7), ("plays", 0.4))}  # fmt: skip
    return found


def shifted(runs: dict, **by: float) -> dict:
    return {seed: {name: bits + by.get(name, 0) for name, bits in run.items()} for seed, run in runs.items()}


FIGURE = "sum(weights[name] * run[name] for name in weights) / sum(weights.values())"
APART = "[figure(second[seed]) - figure(first[seed]) for seed in first if seed in second]"
TELL = "len(differences) < 2 or abs(mean) <= half_width(differences)"
SAID = '"second" if mean < 0 else "first"'
PAIRED = "One recipe has a seed that the other has not, with a very bad run. Should that decide?"
WEIGH = "Double all weights: what should become of the mean?"
LOWER = "Which of the two has fewer bits per byte?"


def verdict_twin(rng: Random) -> Question:
    a, b = rng.randint(1, 5), rng.randint(1, 5)
    x, y = round(rng.uniform(1.5, 2.5), 1), round(rng.uniform(1.0, 1.4), 1)
    return Question(
        f"Books have weight {a} and code weight {b}. A run has {x} bits per byte on books and {y} on code. What is its "
        "weighted mean?", (a * x + b * y) / (a + b), f"({a} · {x} + {b} · {y}) divided by {a + b}.", 0.002,
    )  # fmt: skip


def verdict_cases() -> list[tuple]:
    """Clear and unclear differences, seeds missing on either side, one seed and none."""
    base = runs_of(1, [0, 1, 2], 2.0, 0.3, 0.001)
    other = runs_of(2, [2, 0, 1], 1.95, 0.3, 0.001)
    even = {"books": 1, "code": 1, "plays": 1}
    return [
        ({0: {"books": 2.0, "code": 1.0}, 1: {"books": 2.2, "code": 1.2}, 7: {"books": 9.0, "code": 9.0}},
         {0: {"books": 1.9, "code": 0.9}, 1: {"books": 2.1, "code": 1.1}}, {"books": 3, "code": 1}),
        (base, other, even), (other, base, even), (base, other, {"books": 5, "code": 2}),
        (base, other, {"plays": 0.25}),
        (base, shifted(base, books=-0.3, code=0.2), {"books": 1, "code": 4}),
        (base, shifted(other, books=-0.3, code=0.3), {"books": 4, "code": 1}),
        (runs_of(3, [0, 1, 2, 3], 2.0, 0.1, 0.2), runs_of(4, [0, 1, 2, 3], 1.99, 0.1, 0.2), even),
        (base, {2: other[2]}, even), (base, {9: other[2]}, even), ({}, {}, even),
        (base | {5: {"books": 9.0, "code": 9.0, "plays": 9.0}}, other | {6: {"books": 0.1, "code": 0.1, "plays": 0.1}},
         even),
        (runs_of(5, [0, 1, 2], 2.0, 0.4, 0.03), runs_of(6, [0, 1, 2], 1.9, 0.4, 0.03), {"books": 2, "plays": 1}),
        (runs_of(5, [0, 1], 2.0, 0.4, 0.03), runs_of(6, [0, 1], 1.9, 0.4, 0.03), even), (base, base, even),
    ]  # fmt: skip


RECIPE_VERDICT = Exercise(
    cases=verdict_cases,
    mutants=(
        Mutant("unpaired", "", """\
def recipe_verdict(first, second, weights):
    def figure(run):
        return sum(weights[name] * run[name] for name in weights) / sum(weights.values())

    a, b = [figure(run) for run in first.values()], [figure(run) for run in second.values()]
    if not a or not b or not set(first) & set(second):
        return "cannot tell", 0.0
    mean = sum(b) / len(b) - sum(a) / len(a)
    if min(len(a), len(b)) < 2:
        return "cannot tell", mean
    if abs(mean) <= (half_width(a) ** 2 + half_width(b) ** 2) ** 0.5:
        return "cannot tell", mean
    return "second" if mean < 0 else "first", mean""",
               "the means of all runs are compared, without pairing the seeds", PAIRED),
        Mutant("by_position", APART, "[figure(b) - figure(a) for a, b in zip(first.values(), second.values())]",
               "runs are paired in the order in which they stand, whatever their seeds",
               "The seeds of the second recipe come in another order. Which two runs belong together?"),
        Mutant("even", FIGURE, "sum(run[name] for name in weights) / len(weights)",
               "all domains that have a weight count alike", "Where does your function use the weights?"),
        Mutant("all_domains", FIGURE, "sum(run.values()) / len(run)",
               "all domains count alike, whatever their weights", "Where does your function use the weights?"),
        Mutant("not_normed", FIGURE, "sum(weights[name] * run[name] for name in weights)",
               "the sum of the weights is taken to be 1", WEIGH),
        Mutant("by_count", FIGURE, "sum(weights[name] * run[name] for name in weights) / len(weights)",
               "the weighted sum is divided by the number of domains", WEIGH),
        Mutant("first_minus_second", "figure(second[seed]) - figure(first[seed])",
               "figure(first[seed]) - figure(second[seed])",
               "first minus second is taken", "Which of the two is subtracted from which?"),
        Mutant("higher_wins", SAID, '"first" if mean < 0 else "second"',
               "more bits per byte are taken for better", LOWER),
        Mutant("always_tells", TELL, "len(differences) < 2",
               "every difference counts, however small beside its interval",
               "Twice the same recipe with another seed: what would your function say?"),
        Mutant("one_seed_tells", TELL, "len(differences) > 1 and abs(mean) <= half_width(differences)",
               "a single seed is believed", "How wide is the interval of one number?"),
        Mutant("negative_only", TELL, "len(differences) < 2 or mean <= half_width(differences)",
               "a negative difference is never far enough from 0", "Is −0.5 far from 0?"),
        Mutant("interval_of_runs", "half_width(differences)", "half_width([figure(first[seed]) for seed in first])",
               "the interval is that of the runs, and not of their differences", PAIRED),
        Mutant("sum_of_differences", "sum(differences) / len(differences)", "sum(differences)",
               "the differences are added up, and nothing is divided", "Twice as many seeds: twice as much gain?"),
        Mutant("only_verdict", 'return "second" if mean < 0 else "first", mean',
               'return "second" if mean < 0 else "first"',
               "the mean difference is missing where there is a verdict", "Of how many parts is the result?"),
        Mutant("zero_when_unsure", "half_width(differences):\n        return \"cannot tell\", mean",
               "half_width(differences):\n        return \"cannot tell\", 0.0",
               "a difference that cannot be told from 0 is given as 0", "What was measured, all the same?"),
    ),
    variants=("""\
def recipe_verdict(first, second, weights):
    total = sum(weights.values())
    both = sorted(set(first) & set(second))
    gaps = []
    for seed in both:
        gap = 0.0
        for name, weight in weights.items():
            gap += weight / total * (second[seed][name] - first[seed][name])
        gaps.append(gap)
    mean = sum(gaps) / len(gaps) if gaps else 0.0
    sure = len(gaps) > 1 and abs(mean) > half_width(gaps)
    return ("first" if mean > 0 else "second") if sure else "cannot tell", mean""", """\
def recipe_verdict(first, second, weights):
    import numpy as np
    names = list(weights)
    w = np.array([weights[n] for n in names], float)
    seeds = [s for s in second if s in first]
    if not seeds:
        return "cannot tell", 0.0
    a, b = (np.array([[runs[s][n] for n in names] for s in seeds]) @ w / w.sum() for runs in (first, second))
    d = b - a
    if len(d) == 1 or not abs(d.mean()) > half_width(d):
        return "cannot tell", float(d.mean())
    return ("second", "first")[int(d.mean() > 0)], float(d.mean())""", """\
def recipe_verdict(first, second, weights):
    score = lambda run: sum(w * run[k] for k, w in weights.items()) / sum(w for w in weights.values())
    pairs = [(score(run), score(second[seed])) for seed, run in first.items() if seed in second]
    differences = [b - a for a, b in pairs]
    if len(differences) == 0:
        return ["cannot tell", 0]
    mean = sum(differences) / len(differences)
    verdict = "cannot tell"
    if len(differences) >= 2:
        half = half_width(differences)
        if mean + half < 0:
            verdict = "second"
        if mean - half > 0:
            verdict = "first"
    return [verdict, mean]""",
    ),
    twin=verdict_twin,
)  # fmt: skip


# 14.6

PARTS = "part = {name: left * share / sum(free.values()) for name, share in free.items()}"
LIMITS = "max_epochs * have[name] for name in free"
FULL = "if part[name] > limit"
AGAIN = "After the first domain was closed, another one gets more than before. Is it still below its limit?"
RATIO = "Two open domains have shares 0.4 and 0.2. In which proportion should they divide what was freed?"
LIMIT = "How often is each domain read at most, in your result?"
WRONG_ROUND = """\
def capped_mixture(have, shares, total, max_epochs):
    limits = {name: max_epochs * have[name] for name in shares}
    wanted = {name: total * share for name, share in shares.items()}
    full = {name: limits[name] for name in shares if wanted[name] > limits[name]}
    open_ = {name: shares[name] for name in shares if name not in full}
    left = total - sum(full.values())
    %s"""


def mixture_twin(rng: Random) -> Question:
    books, epochs = 10 * rng.randint(2, 9), rng.choice([2, 3, 4])
    total = 20 * books * epochs
    return Question(
        f"A mixture of {total:,} thousand tokens shall be half books, a quarter code and a quarter web. There are "
        f"{books} thousand tokens of books, to be read {epochs} times at most, and more than enough of the others. How "
        "many thousand tokens of code are there, if the others share what is missing by their shares?",
        (total - books * epochs) / 2, f"Books give {books * epochs}; the others divide the rest evenly.", 0.005,
    )  # fmt: skip


CAPPED_MIXTURE = Exercise(
    cases=lambda: [
        ({"web": 1000, "books": 30, "code": 200, "mail": 5}, {"web": 0.5, "books": 0.3, "code": 0.2}, 1000, 4),
        ({"web": 1000, "books": 30, "code": 60}, {"web": 0.5, "books": 0.3, "code": 0.2}, 1000, 4),
        ({"a": 100, "b": 100}, {"a": 0.7, "b": 0.3}, 100, 1), ({"a": 10, "b": 20}, {"a": 0.5, "b": 0.5}, 1000, 2),
        ({"a": 50, "b": 70, "c": 90, "d": 1000, "e": 33}, {"a": 0.1, "b": 0.35, "c": 0.15, "d": 0.25, "e": 0.15}, 700,
         1.5),
        ({"a": 40, "b": 60, "c": 41, "d": 900}, {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}, 500, 1),
        ({"only": 7}, {"only": 1.0}, 10, 0.5), ({"only": 70}, {"only": 1.0}, 10, 0.5),
        ({"a": 25, "b": 300}, {"a": 0.25, "b": 0.75}, 400, 4),
        ({"x": 9, "y": 13, "z": 1}, {"x": 0.45, "z": 0.55}, 11, 3),
    ],
    mutants=(
        Mutant("one_round", "", WRONG_ROUND % (
            "return full | {n: left * s / sum(open_.values()) for n, s in open_.items()}"),
               "what was freed is shared out once, and nobody looks whether it fits", AGAIN),
        Mutant("cut_after_one_round", "", WRONG_ROUND % (
            "return full | {n: min(limits[n], left * s / sum(open_.values())) for n, s in open_.items()}"),
               "the second round cuts at the limits, and what is cut is lost", AGAIN),
        Mutant("cut_only", "", """\
def capped_mixture(have, shares, total, max_epochs):
    return {name: min(total * share, max_epochs * have[name]) for name, share in shares.items()}""",
               "what a small domain cannot give is missing at the end", "What do your numbers add up to?"),
        Mutant("no_limit", "", """\
def capped_mixture(have, shares, total, max_epochs):
    return {name: total * share for name, share in shares.items()}""",
               "no domain has a limit", LIMIT),
        Mutant("scaled_up", "", """\
def capped_mixture(have, shares, total, max_epochs):
    cut = {name: min(total * share, max_epochs * have[name]) for name, share in shares.items()}
    return {name: tokens * total / sum(cut.values()) for name, tokens in cut.items()}""",
               "all are scaled up to the total, beyond their limits", LIMIT),
        Mutant("scaled_down", "", """\
def capped_mixture(have, shares, total, max_epochs):
    most = min([total, *(max_epochs * have[name] / share for name, share in shares.items())])
    return {name: most * share for name, share in shares.items()}""",
               "the whole mixture is made smaller, so that the shares stay",
               "Is there enough for the total, in other shares?"),
        Mutant("evenly", PARTS, "part = {name: left / len(free) for name in free}",
               "the open domains get equal parts, whatever their shares", RATIO),
        Mutant("by_size", PARTS, "part = {name: left * have[name] / sum(have[n] for n in free) for name in free}",
               "the open domains give in proportion to their sizes", RATIO),
        Mutant("old_shares", PARTS, "part = {name: left * share for name, share in free.items()}",
               "the shares of the open domains no longer add up to 1",
               "What do the open shares add up to, once one is closed?"),
        Mutant("whole_total", "left -= sum(full.values())", "left = total - sum(full.values())",
               "only the domains that were closed last are subtracted from the total",
               "A third domain is closed. Are the first two still counted?"),
        Mutant("not_subtracted", "left -= sum(full.values())", "left -= 0",
               "what the closed domains give is not subtracted", "What do your numbers add up to?"),
        Mutant("one_epoch", LIMITS, "have[name] for name in free",
               "each domain is read once at most", LIMIT),
        Mutant("divided", LIMITS, "have[name] / max_epochs for name in free",
               "the limit is divided by the number of epochs", LIMIT),
        Mutant("rounded", "return got | part", "return {n: round(x) for n, x in (got | part).items()}",
               "the numbers are rounded", "Does the statement ask for whole tokens?"),
        Mutant("all_domains", "return got | part", "return {n: (got | part).get(n, 0) for n in have}",
               "domains without a share are in the result", "Which domains should the result have?"),
        Mutant("largest_closed", FULL, "if part[name] > limit and part[name] == max(part.values())",
               "only the domain with the most tokens is looked at",
               "May a domain with a small share be at its limit?"),
    ),
    variants=("""\
def capped_mixture(have, shares, total, max_epochs):
    limit = {n: max_epochs * have[n] for n in shares}
    order = sorted(shares, key=lambda n: limit[n] / shares[n])
    got, left, weight = {}, total, sum(shares.values())
    for n in order:
        got[n] = min(limit[n], left * shares[n] / weight)
        left -= got[n]
        weight -= shares[n]
        if weight <= 1e-12:
            weight = 1e-12
    return got""", """\
def capped_mixture(have, shares, total, max_epochs):
    limit = {n: max_epochs * have[n] for n in shares}
    if sum(limit.values()) <= total:
        return limit
    low, high = 0.0, max(limit[n] / shares[n] for n in shares)
    for _ in range(200):
        middle = (low + high) / 2
        if sum(min(limit[n], middle * shares[n]) for n in shares) < total:
            low = middle
        else:
            high = middle
    return {n: min(limit[n], high * shares[n]) for n in shares}""", """\
def capped_mixture(have, shares, total, max_epochs):
    closed = set()
    while True:
        rest = total - sum(max_epochs * have[n] for n in closed)
        whole = sum(s for n, s in shares.items() if n not in closed)
        new = {n for n, s in shares.items() if n not in closed and rest * s / whole > max_epochs * have[n]}
        if not new:
            return {n: max_epochs * have[n] if n in closed else rest * s / whole for n, s in shares.items()}
        closed |= new""",
    ),
    properties=(
        Property(lambda result, have, shares, total, most: all(result[n] <= most * have[n] * 1.000001 for n in result
                                                               if n in have), "A domain is above its limit."),
    ),
    twin=mixture_twin,
)  # fmt: skip


# 14.7

BY_RATE = "[start - end for start, end in zip(trunk, same)]"
BY_TEXT = "[old - end for old, end in zip(same, new)]"
MEANS = "decay, text = sum(by_decay) / len(by_decay), sum(by_text) / len(by_text)"
SURE = "bool(abs(text) > half_width(by_text))"
ONE_THING = "In how many things do these two runs differ?"
SIGN = "Bits became fewer. Is that a gain above or below 0?"


def annealing_twin(rng: Random) -> Question:
    """The gain of the text, from three figures."""
    start = rng.randint(280, 330)
    same = start - rng.randint(10, 30)
    new = same - rng.randint(3, 15)
    return Question(
        f"At the trunk's end {start / 100} bits per byte; after a decay on the same text {same / 100}, on new text "
        f"{new / 100}. How much did the new text gain?", (same - new) / 100,
        "The decay on the same text is the control: what it gains, the decay gained.", 0.01,
    )  # fmt: skip


ANNEALING_GAIN = Exercise(
    cases=lambda: [
        ([3.0, 3.2], [2.8, 3.0], [2.7, 2.9]), ([3.0, 3.1, 3.3], [2.9, 2.95, 3.1], [2.6, 2.7, 2.85]),
        ([2.0, 2.5, 2.1], [1.9, 2.3, 2.0], [1.7, 2.4, 1.9]), ([1.5, 1.4, 1.6, 1.3], [1.45, 1.38, 1.5, 1.26],
                                                           [1.65, 1.55, 1.72, 1.49]),
        ([2.2, 2.6, 2.4], [2.3, 2.65, 2.52], [2.1, 2.41, 2.3]), ([4.0, 5.0], [3.5, 4.0], [3.5, 4.0]),
        ([3.0, 3.5, 4.0], [2.5, 3.0, 3.5], [2.4, 3.1, 3.42]), ([3.0, 3.5, 4.0], [2.5, 3.4, 3.0], [2.4, 3.3, 2.895]),
    ],
    mutants=(
        Mutant("against_trunk", BY_TEXT, "[start - end for start, end in zip(trunk, new)]",
               "the new text is compared with the trunk and gets the decay's gain as well", ONE_THING),
        Mutant("whole_as_rate", BY_RATE, "[start - end for start, end in zip(trunk, new)]",
               "the decay is given the whole gain", ONE_THING),
        Mutant("rate_negative", BY_RATE, "[end - start for start, end in zip(trunk, same)]",
               "the gain of the decay has the wrong sign", SIGN),
        Mutant("text_negative", BY_TEXT, "[end - old for old, end in zip(same, new)]",
               "the gain of the text has the wrong sign", SIGN),
        Mutant("both_negative", f"by_decay = {BY_RATE}\n    by_text = {BY_TEXT}",
               "by_decay = [end - start for start, end in zip(trunk, same)]\n"
               "    by_text = [end - old for old, end in zip(same, new)]",
               "losses are returned instead of gains", SIGN),
        Mutant("swapped", MEANS, MEANS.replace("decay, text =", "text, decay ="),
               "the two gains have changed places", "Which two runs differ in the text alone?"),
        Mutant("summed", MEANS, "decay, text = sum(by_decay), sum(by_text)",
               "the gains are added up over the seeds", "Twice as many seeds: twice as much gain?"),
        Mutant("always_sure", SURE, "text != 0", "any gain is believed", "What does half_width say?"),
        Mutant("positive_only", SURE, "bool(text > half_width(by_text))",
               "only a gain can be sure, not a loss", "The interval lies below 0 as a whole. Does it contain 0?"),
        Mutant("unpaired_interval", SURE, "bool(abs(text) > half_width(new))",
               "the interval is that of the runs, not of the differences", "Which numbers does `text` average?"),
        Mutant("whole_interval", SURE, "bool(abs(text) > half_width([s - n for s, n in zip(trunk, new)]))",
               "the interval is that of the whole gain", "Which numbers does `text` average?"),
        Mutant("rate_sure", SURE, "bool(abs(decay) > half_width(by_decay))",
               "the interval of the decay's gain decides", "Of which gain should it be sure?"),
        Mutant("shares", MEANS, f"{MEANS}\n    decay, text = decay / (decay + text), text / (decay + text)",
               "shares of the whole gain are returned", "In which unit is the result?"),
        Mutant("contains", SURE, "bool(abs(text) <= half_width(by_text))",
               "sure and unsure have changed places", "Does the interval contain 0 when you are sure?"),
    ),
    variants=("""\
def annealing_gain(trunk, same, new):
    import numpy as np
    t, s, n = map(np.array, (trunk, same, new))
    gain = s - n
    low, high = gain.mean() - half_width(gain), gain.mean() + half_width(gain)
    return float((t - s).mean()), float(gain.mean()), not low <= 0 <= high""", """\
def annealing_gain(trunk, same, new):
    count = len(trunk)
    decay = sum(trunk) / count - sum(same) / count
    text = sum(same) / count - sum(new) / count
    pairs = [same[i] - new[i] for i in range(count)]
    return decay, text, bool(text - half_width(pairs) > 0 or text + half_width(pairs) < 0)""", """\
def annealing_gain(trunk, same, new):
    mean = lambda values: sum(values) / len(values)
    whole = mean([a - c for a, b, c in zip(trunk, same, new)])
    by_text = [b - c for b, c in zip(same, new)]
    text = mean(by_text)
    return [whole - text, text, bool(half_width(by_text) < abs(text))]""",
    ),
    twin=annealing_twin,
)  # fmt: skip


# 14.8


def subsets(names: str) -> list[frozenset]:
    return [frozenset(name for i, name in enumerate(names) if mask >> i & 1) for mask in range(2 ** len(names))]


def game(seed: int, names: str) -> dict:
    rng, sets = Random(seed), subsets(names)
    rng.shuffle(sets)
    return {done: round(5 - len(done) * rng.random() + rng.gauss(0, 0.3), 3) for done in sets}


ADDED = "gains[step] += (bits[done] - bits[done | {step}]) / len(orders)"
GROWS = "            done = done | {step}\n"
TURN = "What was done before it, in the second order of the example?"
SUM = "What do the shares add up to, and what is the whole gain?"


def shares_twin(rng: Random) -> Question:
    whole, a, b = rng.randint(30, 60), rng.randint(10, 20), rng.randint(5, 9)
    return Question(
        f"Alone, step A gains {a} and step B gains {b}; together they gain {whole}. What is A's mean gain over both "
        "orders?", (a + whole - b) / 2, f"First it gains {a}, second {whole} − {b}.",
    )  # fmt: skip


FAIR_SHARES = Exercise(
    cases=lambda: [
        ({frozenset(): 5.0, frozenset({"cut"}): 3.0, frozenset({"filter"}): 4.0, frozenset({"cut", "filter"}): 2.5},),
        ({frozenset(): 2.0, frozenset({"x"}): 2.5},), (game(1, "abc"),), (game(2, "dcba"),), (game(3, "pq"),),
        (game(4, "vwxyz"),), ({done: 5.0 - ("a" in done) - 0.5 * ("b" in done) for done in subsets("abc")},),
    ],
    mutants=(
        Mutant("alone", ADDED, "gains[step] += (bits[frozenset()] - bits[frozenset({step})]) / len(orders)",
               "each step gets what it gains alone", SUM),
        Mutant("last", ADDED,
               "gains[step] += (bits[frozenset(steps) - {step}] - bits[frozenset(steps)]) / len(orders)",
               "each step gets what is lost when it alone is left out", SUM),
        Mutant("one_order", "orders = list(permutations(steps))", "orders = [tuple(steps)]",
               "only one order is looked at", TURN),
        Mutant("two_orders", "orders = list(permutations(steps))", "orders = [tuple(steps), tuple(steps[::-1])]",
               "only an order and its reverse are looked at", "How many orders have three steps?"),
        Mutant("even", "", """\
def fair_shares(bits):
    steps = sorted(max(bits, key=len))
    whole = bits[frozenset()] - bits[frozenset(steps)]
    return {step: whole / len(steps) for step in steps}""",
               "the whole gain is divided evenly", "Is a step that changes nothing paid?"),
        Mutant("sets_alike", "", """\
def fair_shares(bits):
    steps = sorted(max(bits, key=len))
    gains = {}
    for step in steps:
        sets = [done for done in bits if step not in done]
        gains[step] = sum(bits[done] - bits[done | {step}] for done in sets) / len(sets)
    return gains""",
               "all sets count alike, though some come up in more orders than others",
               "Of the six orders of a, b, c, in how many is a added to nothing, and in how many to b alone?"),
        Mutant("first_and_last", ADDED,
               "gains[step] += (bits[frozenset()] - bits[frozenset({step})] + bits[frozenset(steps) - {step}]"
               " - bits[frozenset(steps)]) / 2 / len(orders)",
               "only the first and the last place are averaged", "Three steps: may one be added in the middle?"),
        Mutant("losses", ADDED, "gains[step] += (bits[done | {step}] - bits[done]) / len(orders)",
               "gains have the wrong sign", "Bits became fewer. Is that a gain above or below 0?"),
        Mutant("not_averaged", ADDED, "gains[step] += bits[done] - bits[done | {step}]",
               "the gains of all orders are added up and not averaged", SUM),
        Mutant("per_step", ADDED, "gains[step] += (bits[done] - bits[done | {step}]) / len(steps)",
               "the sum is divided by the number of steps instead of orders", SUM),
        Mutant("from_empty", ADDED, "gains[step] += (bits[frozenset()] - bits[done | {step}]) / len(orders)",
               "each step gets all that was gained so far", TURN),
        Mutant("never_done", GROWS, "",
               "each step gets what it gains alone", SUM),
        Mutant("scaled_alone", "", """\
def fair_shares(bits):
    steps = sorted(max(bits, key=len))
    alone = {step: bits[frozenset()] - bits[frozenset({step})] for step in steps}
    whole = bits[frozenset()] - bits[frozenset(steps)]
    return {step: gain * whole / sum(alone.values()) for step, gain in alone.items()}""",
               "what each gains alone is scaled to the whole", "Is what a step gains later the same multiple for all?"),
        Mutant("shares_of_one", "return gains", "return {s: g / (sum(gains.values()) or 1) for s, g in gains.items()}",
               "shares of the whole are returned instead of bits", "In which unit is a gain?"),
    ),
    variants=("""\
def fair_shares(bits):
    from math import factorial
    steps = frozenset().union(*bits)
    n = len(steps)
    gains = {}
    for step in steps:
        total = 0.0
        for done in bits:
            if step not in done:
                weight = factorial(len(done)) * factorial(n - len(done) - 1) / factorial(n)
                total += weight * (bits[done] - bits[done | {step}])
        gains[step] = total
    return gains""", """\
def fair_shares(bits):
    whole = max(bits, key=len)
    def walk(done):
        rest = whole - done
        found = dict.fromkeys(whole, 0.0)
        for step in rest:
            later = walk(done | {step})
            later[step] += bits[done] - bits[done | {step}]
            for name in whole:
                found[name] += later[name] / len(rest)
        return found
    return walk(frozenset())""", """\
def fair_shares(bits):
    steps = sorted({step for done in bits for step in done})
    orders, gains = list(permutations(steps)), {step: [] for step in steps}
    for order in orders:
        for place, step in enumerate(order):
            before, after = frozenset(order[:place]), frozenset(order[:place + 1])
            gains[step].append(bits[before] - bits[after])
    return {step: sum(values) / len(values) for step, values in gains.items()}""",
    ),
    properties=(
        Property(lambda result, bits: abs(sum(result.values()) - bits[frozenset()] + bits[max(bits, key=len)]) < 1e-6,
                 "The gains do not add up to the whole gain."),
    ),
    twin=shares_twin,
)  # fmt: skip


EXERCISES = {
    "alarms_worth": ALARMS_WORTH,
    "score_step": SCORE_STEP,
    "first_of_cluster": FIRST_OF_CLUSTER,
    "clean_pages": CLEAN_PAGES,
    "recipe_verdict": RECIPE_VERDICT,
    "capped_mixture": CAPPED_MIXTURE,
    "annealing_gain": ANNEALING_GAIN,
    "fair_shares": FAIR_SHARES,
}


# Questions to come back to


def rare_trouble(rng: Random) -> Question:
    """Precision from a base rate."""
    bad, false = rng.randint(1, 9), rng.choice([4, 5, 8, 10, 20])
    return Question(
        f"{bad} % of the pages are spam. A filter removes all spam, and {false} % of the good pages. Which share of "
        "what it removes is spam?", 100 * bad / (100 * bad + (100 - bad) * false),
        f"Of 10,000 pages {100 * bad} rightly and {(100 - bad) * false} wrongly.", 0.02,
    )  # fmt: skip


def likeness(rng: Random) -> Question:
    """A Jaccard similarity from counts."""
    both, only_a, only_b = rng.randint(20, 90), rng.randint(3, 20), rng.randint(3, 20)
    return Question(
        f"Two texts have {both} shingles in common; the first has {only_a} that the second lacks, the second {only_b} "
        "that the first lacks. What is their Jaccard similarity?", both / (both + only_a + only_b),
        "What both have, divided by what either has.", 0.01,
    )  # fmt: skip


def changed_words(rng: Random) -> Question:
    """What a few changed words leave."""
    words, changed = 10 * rng.randint(10, 40), rng.randint(1, 6)
    runs = words - 4
    return Question(
        f"In a text of {words} different words, {changed} words are changed, far from each other and from the ends. "
        "Shingles are runs of five words. What is the Jaccard similarity of both versions?",
        (runs - 5 * changed) / (runs + 5 * changed),
        f"Each changed word is in five of the {runs} runs; the union has five more for each.", 0.01,
    )  # fmt: skip


def signature_noise(rng: Random) -> Question:
    """The error of a MinHash."""
    similarity, orders = rng.choice([0.2, 0.5, 0.8]), rng.choice([64, 100, 128, 256, 400])
    return Question(
        f"Two texts have a similarity of {similarity}. What is the standard error of its estimate by MinHash with "
        f"{orders} orders?", (similarity * (1 - similarity) / orders) ** 0.5, "√(s(1 − s)/P), as for any share of P "
        "draws.", 0.02,
    )  # fmt: skip


def band_chance(rng: Random) -> Question:
    """A point of an S-curve."""
    s, rows, bands = rng.choice([0.5, 0.6, 0.7, 0.8]), rng.choice([2, 3, 4]), rng.choice([5, 10, 20])
    return Question(
        f"Signatures are cut into {bands} bands of {rows} numbers. With which probability is a pair of similarity {s} "
        "compared?", 1 - (1 - s**rows) ** bands, f"1 − (1 − {s}^{rows})^{bands}.", 0.01,
    )  # fmt: skip


def how_many_epochs(rng: Random) -> Question:
    """Epochs from a share."""
    have, total, share = rng.randint(2, 9), 10 * rng.randint(5, 20), rng.choice([0.1, 0.2, 0.25, 0.5])
    return Question(
        f"A run of {total} billion tokens takes a share of {share} from books, of which there are {have} billion. How "
        "many epochs of books are that?", total * share / have, f"{total} · {share}, divided by {have}.", 0.01,
    )  # fmt: skip


RECALL = (rare_trouble, likeness, changed_words, signature_noise, band_chance, how_many_epochs)
PREDICTIONS = {
    "14.p1": Prediction(
        "Of the bytes of the lesson's crawl, which share is main text, be it good or bad?",
        None,
        "Markup, scripts, style sheets and menus take the rest, and are sent with every page again.",
        0.3,
    ),
    "14.p2": Prediction(
        "The published rules of Gopher, C4 and FineWeb together: which share of the clean English pages do they "
        "remove?",
        None,
        "They were made for web prose of today; old books and speeches have other lines, other words, other pages.",
        0.5,
    ),
    "14.p3": Prediction(
        "A text of 100 different words, three changed in a copy, far from each other and from the ends: which Jaccard "
        "similarity, with runs of five words?",
        lambda: 81 / 111,
        "Of 96 runs, each changed word spoils five: 81 are in both, and 111 in either.",
        0.03,
    ),
    "14.p4": Prediction(
        "From a raw crawl to a recipe in four steps: which buys most on clean held-out text, `extraction`, "
        "`duplicates`, `filters` or `mixture`?",
        None,
        "Whoever trains on HTML pays for tags with tokens, and learns to write them; and no filter replaces text of "
        "the kind that is asked for.",
    ),
    "14.p5": Prediction(
        "A third of the tokens each for books, code and the world: by how many bits per byte is the model worse on "
        "code than one that read code only?",
        None,
        "The first tokens of a domain buy most: a third of them buys far more than a third of the gain.",
        0.3,
    ),
    "14.p6": Prediction(
        "Four epochs against one, at equal compute: by how many bits per byte is the held-out text worse?",
        None,
        "Something, and less than a good filter buys. The great price comes with many epochs.",
        0.5,
    ),
    "14.p7": Prediction(
        "A decay on text that is mostly facts of the world: which share of the facts told often does the model choose "
        "rightly among four?",
        None,
        "Chance is a quarter, and the commonest option is often the right one. Compare the branch that changes nothing "
        "before you praise the facts.",
        0.15,
    ),
    "14.p8": Prediction(
        "A run from the failure museum. What happened: `val_in_train`, `duplicated_data`, `unshuffled`, `bad_shard` or "
        "`replayed_data`?",
        lambda: "duplicated_data",
        "The training loss falls far below the held-out loss, which turns and rises: a few texts were read many times, "
        "and learned by heart. With validation text in the training data the held-out loss would have fallen as well.",
    ),
}
