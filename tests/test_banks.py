"""Every bank that is written, against the bars of the course."""
import json
import math
import random
import time

import pytest

from minigpt.classroom import bank, lessons, proof
from minigpt.classroom.check import cases_of, examine, known, mutated

BANKS = [id for id in lessons.STEMS if bank.load(id).exercises]
EXERCISES = [f"{id}.{function}" for id in BANKS for function in bank.load(id).exercises]


def exercise_of(name):
    lesson, _, function = name.partition(".")
    return bank.load(lesson).exercises[function]


def answerable(question) -> bool:
    """Has it a text, a reason, and an answer that can be typed: a finite number or a word?"""
    answer = question.answer
    fits = math.isfinite(answer) if isinstance(answer, (int, float)) else isinstance(answer, str) and answer.strip()
    return bool(question.text.strip() and question.why.strip() and fits and question.tolerance >= 0)


def vary(make, seeds=200) -> bool:
    """Are the questions of many seeds answerable, the same for the same seed, and not always the same one?"""
    made = [make(random.Random(seed)) for seed in range(seeds)]
    assert all(map(answerable, made))
    assert made[:9] == [make(random.Random(seed)) for seed in range(9)]
    return len({question.text for question in made}) > seeds // 20


@pytest.mark.parametrize("lesson", BANKS)
def test_mutants_are_named_and_variants_accepted(lesson):
    start = time.process_time()
    found = proof.self_test([lesson])
    assert proof.reached(found), json.dumps(found, indent=1)
    assert time.process_time() - start < 60, "seconds of one core; 10 on a quick machine"


@pytest.mark.parametrize("name", EXERCISES)
def test_what_a_mutant_replaces_is_there_once(name):
    ids = [mutant.id for mutant in exercise_of(name).mutants]
    assert len(set(ids)) == len(ids)
    for mutant in exercise_of(name).mutants:
        assert not mutant.misconception.endswith(".") and "?" in mutant.question, mutant.id  # it completes a sentence
        assert not mutant.right or lessons.exercise(name).solution.count(mutant.right) == 1, mutant.id
        assert mutated(name, mutant) != lessons.exercise(name).solution


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_takes_a_fifth_of_a_second(name):
    assert cases_of(exercise_of(name)), "an exercise without a case accepts everything"
    answers = known(name, exercise_of(name).mutants[0].id).function, known(name).function
    examine(name, answers[0])  # the mutants are computed once
    assert max(min(examine(name, answer).seconds for _ in range(4)) for answer in answers) <= 0.2


@pytest.mark.parametrize("name", EXERCISES)
def test_the_twin_of_an_exercise_varies(name):
    assert vary(exercise_of(name).twin)


@pytest.mark.parametrize("lesson", BANKS)
def test_recall_varies(lesson):
    assert bank.load(lesson).recall
    for make in bank.load(lesson).recall:
        assert vary(make), make.__name__


@pytest.mark.parametrize("lesson", BANKS)
def test_predictions_can_be_computed(lesson):
    for id, prediction in bank.load(lesson).predictions.items():
        assert id.startswith(f"{lesson}.") and prediction.text.strip() and prediction.why.strip(), id
        if prediction.truth:
            truth = prediction.truth()
            numbers = truth if isinstance(truth, (list, tuple)) else [truth]
            assert all(isinstance(n, str) or math.isfinite(n) for n in numbers), id


def test_these_tests_can_fail():
    question = bank.Question("What is 2 + 2?", 4, "add")
    assert answerable(question) and not vary(lambda rng: question)
    for bad in (dict(answer=math.nan), dict(answer=""), dict(answer=None), dict(text=" "), dict(why="")):
        assert not answerable(question._replace(**bad))
    with pytest.raises(AssertionError):
        vary(lambda rng: question._replace(answer=random.random()))  # not a function of its seed
