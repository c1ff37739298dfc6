"""A detector over the layers of a model: time against stacked linear probes and the bare machines.

2,000 samples, 6 layers of 384 dimensions, float32, default settings. Floor: as many fits of the
machine with the settings that were chosen, each on as many samples and rounds as its own, so that
what is left is the settings' contest, the vectors and the aggregators. Peer: scikit-learn's
`StackingClassifier` of a scaler and `LogisticRegression` for each layer, with as many folds; it
gives one vector per layer and no product of features. All run in turn in one process on as many
cores as threads; each figure is the least of its repetitions, in wall time and in CPU time.
"""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.workers import SERVE, Worker, least

REPETITIONS = 2
SECONDS = 60
"""The target of a fit, in wall time on two cores."""

CODE = (
    """
import json, sys, time
import numpy as np
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from numerics.concepts import rfm_probe
from numerics.concepts.detector import ConceptDetector
from numerics.concepts.targets import auc

torch.set_num_threads(int(sys.argv[1]))
n, layers, d = 2000, 6, 384
rng = np.random.default_rng(0)
y = np.arange(2 * n) % 2
stack = rng.normal(size=(2 * n, layers, d)).astype(np.float32)
stack *= ((1 + np.arange(d)) ** -0.5).astype(np.float32)
stack[:, :, :20] += 0.1 * np.linspace(0.5, 1, layers)[:, None] * (2 * y - 1)[:, None, None]
train, test = slice(0, n), slice(n, None)
fits = []

def timed(function):
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return [time.perf_counter() - wall, time.process_time() - cpu]

def detector(features):
    global model
    model = ConceptDetector(features=features, random_state=0)
    return timed(lambda: model.fit(stack[train], y[train]))

def recorded():
    '''What the winners of the contests are fitted to.'''
    inner = rfm_probe._fit
    def fit(X, target, parts, recipe):
        machine = inner(X, target, parts, recipe)
        if recipe.patience == rfm_probe.PATIENCE[1]:
            fits.append((X, target, parts, recipe))
        return machine
    rfm_probe._fit = fit
    detector("projections")
    rfm_probe._fit = inner
    return len(fits)

def floor():
    def run():
        for arguments in fits:
            rfm_probe._fit(*arguments)
    return timed(run)

def peer():
    global stacked
    probes = []
    for layer in range(layers):
        columns = make_column_transformer((StandardScaler(), slice(layer * d, (layer + 1) * d)))
        probes.append((str(layer), make_pipeline(columns, LogisticRegression(max_iter=1000))))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    stacked = StackingClassifier(probes, LogisticRegression(), cv=folds)
    return timed(lambda: stacked.fit(flat(train), y[train]))

def flat(part):
    return stack[part].reshape(-1, layers * d)

def areas():
    return [auc(s, y[test] == 1) for s in (
        model.decision_function(stack[test]), stacked.decision_function(flat(test)),
    )]
"""
    + SERVE
    + "\nserve()\n"
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("threads", [1, 2])
def test_detector_against_bare_machines_and_stacked_probes(threads):
    with Worker(sys.executable, CODE, threads=threads) as worker:
        assert worker("recorded") == 36
        own, predictions, floors, peers = [], [], [], []
        for _repetition in range(REPETITIONS):
            own.append(worker("detector", "projections"))
            floors.append(worker("floor"))
            peers.append(worker("peer"))
            predictions.append(worker("detector", "predictions"))
        areas = worker("areas")
    wall, cpu = least(own)
    figures = {
        "the same with predictions": least(predictions),
        "36 bare fits of the chosen machines": least(floors),
        "scikit-learn's stacked logistic probes": least(peers),
    }
    ratios = "; ".join(
        f"{wall / a:.2f} (wall) and {cpu / b:.2f} (CPU) times {name}, {a:.1f} s"
        for name, (a, b) in figures.items()
    )
    print(
        f"\n{threads} threads: a detector on 2,000 × 6 × 384 takes {wall:.1f} s (target "
        f"{SECONDS}), CPU {cpu:.1f} s: {ratios}. Held-out AUC {areas[0]:.3f}, scikit-learn's "
        f"{areas[1]:.3f}"
    )
    if threads == 2:
        assert wall <= SECONDS
