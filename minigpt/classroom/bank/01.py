"""Lesson 01, corpus."""
from . import Prediction

EXERCISES, RECALL = {}, ()
PREDICTIONS = {f"01.p{i}": Prediction("", (lambda: 0.095) if i == 4 else None, "") for i in range(1, 7)}
