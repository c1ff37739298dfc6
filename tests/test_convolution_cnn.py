"""Small convolutional networks on digits: filter covariance and patch-AGOP become parallel."""

import dataclasses

import pytest
import torch
from torch import nn

from numerics.convolution.cnn import (
    DIGITS,
    RELU,
    accuracy,
    convolutional_network,
    train_on_digits,
)
from numerics.convolution.data import LabelledImages, digits_images

SEEDS = range(5)
"""None of those with which the protocol was fixed."""

ANSATZ = 0.7
SMALL = dataclasses.replace(DIGITS, filters=(4, 4), train=40, test=20, epochs=1)


def assert_ansatz(correlations):
    """Above 0.7 in every layer after training, and above the value before."""
    assert len(correlations) == 3
    for name, (before, after) in correlations.items():
        assert after > ANSATZ, name
        assert after > before, name


@pytest.fixture(scope="module")
def trained():
    return [train_on_digits(seed) for seed in SEEDS]


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("kind", ["cosine", "pearson"])
def test_training_aligns_filter_covariance_and_patch_agop(trained, power, kind):
    for network in trained:
        assert_ansatz(network.correlations(power=power, kind=kind))


def test_trained_layers_are_beyond_all_untrained_ones(trained):
    pairs = [pair for network in trained for pair in network.correlations().values()]
    assert max(before for before, _ in pairs) < min(after for _, after in pairs)


def test_trained_networks_tell_digits_apart(trained):
    assert min(network.test_accuracy for network in trained) > 0.9
    assert min(network.train_accuracy for network in trained) > 0.95


@pytest.mark.slow
def test_with_relu_correlations_begin_high_and_rise_on_average():
    """The first layer's is above 0.7 before training, so that single networks say little."""
    found = [train_on_digits(seed, RELU).correlations() for seed in SEEDS]
    for name in ("0", "2", "4"):
        before, after = zip(*(correlations[name] for correlations in found), strict=True)
        assert min(after) > ANSATZ
        assert sum(after) > sum(before)
    assert min(correlations["0"][0] for correlations in found) > ANSATZ


def test_a_seed_is_one_network_and_no_other_generator_moves():
    state = torch.get_rng_state()
    first, second, other = (train_on_digits(seed, SMALL) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    for p, q in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(p, q)
    assert not torch.equal(first.model[0].weight, other.model[0].weight)
    assert first.correlations() == second.correlations()


def test_what_was_measured_before_is_the_initial_network():
    found = train_on_digits(3, dataclasses.replace(SMALL, epochs=0))
    for before, after in found.correlations().values():
        assert before == after
    untrained = convolutional_network(
        (1, 4, 4), 10, activation="tanh", scale=0.7, generator=3, dtype=torch.float32
    )
    for p, q in zip(found.model.parameters(), untrained.parameters(), strict=True):
        assert torch.equal(p, q)


def test_layers_and_the_deviation_of_their_weights():
    model = convolutional_network((3, 40, 50), 30, side=5, scale=0.5, generator=1)
    assert model(torch.zeros(2, 3, 6, 7).double()).shape == (2, 30)
    for name, deviation in (("0", 0.5 / 75**0.5), ("2", 0.5 / 1000**0.5), ("6", 1 / 50**0.5)):
        weight = model.get_submodule(name).weight
        near = 4 / (2 * weight.numel()) ** 0.5
        assert float(weight.detach().std()) == pytest.approx(deviation, rel=near)
        assert model.get_submodule(name).bias is None
    single = convolutional_network(
        (3, 40, 50), 30, side=5, scale=0.5, generator=1, dtype=torch.float32
    )
    for p, q in zip(model.parameters(), single.parameters(), strict=True):
        assert torch.equal(p.float(), q)


def test_accuracy_counts_the_largest_output():
    images = digits_images(300)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    found = flat(images.images).argmax(1)
    assert accuracy(flat, LabelledImages(images.images, found, images.names)) == 1.0
    wrong = found.clone()
    wrong[:30] = (wrong[:30] + 1) % 10
    assert accuracy(flat, LabelledImages(images.images, wrong, images.names)) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (1,)}, r"channels = \(1,\)"),
        ({"channels": (1, 0)}, "channels = 0"),
        ({"outputs": 0}, "outputs = 0"),
        ({"side": 4}, "side = 4 must be odd"),
        ({"scale": -1.0}, r"scale = -1\.0"),
        ({"activation": "step"}, "activation = 'step'"),
    ],
)
def test_networks_that_cannot_be_are_refused(change, message):
    settings = {"channels": (1, 2), "outputs": 2, "generator": 0}
    with pytest.raises(ValueError, match=message):
        convolutional_network(**settings | change)


def test_too_many_images_are_refused():
    with pytest.raises(ValueError, match="samples = 2000 must be at most the 1797 digits"):
        train_on_digits(0, dataclasses.replace(DIGITS, train=1500))
