"""Training: the optimisers' steps against steps by hand, and what is recorded on the way."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from numerics.alignment import SpeedLimitedSGD, centred_nfa, layer_matrices, mlp, uncentred_nfa
from numerics.alignment.chain import ChainTask, train_on_chain
from numerics.alignment.data import chain_monomial, classification, digits
from numerics.alignment.protocol import PAPER_C, draw_uniform, train_as_in_paper_c
from numerics.alignment.speed_limited import layer_groups
from numerics.alignment.training import mean_squared_error, train_sgd


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(seed=0, **options):
    return mlp([4, 6, 5, 1], "tanh", generator=seed, **options)


def sample(n=23, seed=0):
    data = chain_monomial(n, 4, 2, np.random.default_rng(seed))
    return torch.tensor(data.inputs), torch.tensor(data.targets)


def backward(model, n=23):
    inputs, targets = sample(n)
    model.zero_grad()
    loss = mean_squared_error(model(inputs), targets)
    loss.backward()
    return loss


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Speed-limited steps


@pytest.mark.parametrize("maximize", [False, True])
def test_a_step_is_the_one_written_by_hand(maximize):
    model = network(bias=True)
    speeds = {"0": 5.0, "4": 0.5}
    groups = layer_groups(model, speeds, default=2.0)
    optimiser = SpeedLimitedSGD(groups, lr=0.03, eps=0.2, maximize=maximize)
    backward(model)
    expected = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.numpy().copy()
        norm = math.sqrt(sum(float(g) ** 2 for g in gradient.ravel()))
        speed = {"0": 5.0, "2": 2.0, "4": 0.5}[name.split(".")[0]]
        sign = 1 if maximize else -1
        start = parameter.detach().numpy().copy()
        expected[name] = start + sign * 0.03 * speed * gradient / (norm + 0.2)
    optimiser.step()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), expected[name], rtol=1e-14)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_no_parameter_moves_faster_than_its_limit(size):
    weight = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    weight.grad = size * torch.ones_like(weight)
    SpeedLimitedSGD([{"params": [weight], "speed": 4.0}], lr=0.1, eps=0.1).step()
    norm = size * math.sqrt(6)
    assert float(weight.detach().norm()) == pytest.approx(0.4 * norm / (norm + 0.1), rel=1e-12)
    assert float(weight.detach().norm()) < 0.4


def test_a_zero_gradient_moves_nothing_and_none_is_passed_over():
    still, absent = (nn.Parameter(torch.ones(2)) for _ in range(2))
    still.grad = torch.zeros(2)
    SpeedLimitedSGD([still, absent], lr=1.0).step()
    assert torch.equal(still, torch.ones(2))
    assert torch.equal(absent, torch.ones(2))


def test_the_closure_is_evaluated_with_gradients_and_its_loss_returned():
    model = network()
    optimiser = SpeedLimitedSGD(model.parameters(), lr=0.05)
    before = backward(model)
    model.zero_grad()
    assert optimiser.step(lambda: backward(model)).item() == before.item()
    assert backward(model).item() < before.item()
    assert optimiser.step() is None


def test_a_run_that_is_saved_goes_on_as_if_it_had_not_stopped():
    def steps(model, optimiser, count):
        for _ in range(count):
            backward(model)
            optimiser.step()

    whole, half = network(), network()
    straight = SpeedLimitedSGD(layer_groups(whole, {"0": 3.0}), lr=0.02, eps=0.3)
    steps(whole, straight, 6)
    first = SpeedLimitedSGD(layer_groups(half, {"0": 3.0}), lr=0.02, eps=0.3)
    steps(half, first, 3)
    saved = copy.deepcopy((half.state_dict(), first.state_dict()))
    revived = network(seed=1)
    second = SpeedLimitedSGD(layer_groups(revived, {}), lr=1.0)
    revived.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    assert second.state_dict() == saved[1]
    steps(revived, second, 3)
    assert torch.equal(flat(revived), flat(whole))


def test_schedulers_change_the_rate():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimiser = SpeedLimitedSGD([weight], lr=1.0, eps=1e-12)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.5)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimiser.step()
        scheduler.step()
    assert weight.item() == pytest.approx(-1.75, rel=1e-9)


def test_hooks_and_copies_work_as_with_any_optimiser():
    model = network()
    optimiser = SpeedLimitedSGD(model.parameters(), lr=0.02)
    seen = []
    optimiser.register_step_post_hook(lambda *_: seen.append(1))
    backward(model)
    optimiser.step()
    assert seen == [1]
    assert copy.deepcopy(optimiser).param_groups[0]["speed"] == 1.0
    assert "speed: 1.0" in repr(optimiser)


def test_sparse_gradients_are_refused():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"a gradient with layout torch\.sparse_coo; dense"):
        SpeedLimitedSGD(table.parameters()).step()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_refused_and_nothing_moves(bad):
    model = network()
    optimiser = SpeedLimitedSGD(layer_groups(model, {}), lr=0.02)
    backward(model)
    model[2].weight.grad[0, 0] = bad
    before = flat(model)
    with pytest.raises(ValueError, match=r"the parameter 2, shape \(5, 6\), has norm (nan|inf)"):
        optimiser.step()
    assert torch.equal(flat(model), before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -1.0}, ValueError, r"lr = -1\.0 must be a finite number >= 0"),
        ({"lr": math.nan}, ValueError, "lr = nan must be"),
        ({"speed": -2.0}, ValueError, r"speed = -2\.0 must be a finite number >= 0"),
        ({"eps": 0.0}, ValueError, r"eps = 0\.0 must be a finite number > 0"),
        ({"eps": "small"}, TypeError, "eps = 'small' must be"),
        ({"maximize": 1}, TypeError, "maximize = 1 must be True or False"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        SpeedLimitedSGD(network().parameters(), **options)


def test_wrong_options_of_a_group_are_refused_too():
    model = network()
    with pytest.raises(ValueError, match=r"speed = -1\.0 must be"):
        SpeedLimitedSGD(layer_groups(model, {"0": -1.0}))
    with pytest.raises(ValueError, match="speeds names the layer '1'; layers with parameters: 0, "):
        layer_groups(model, {"1": 2.0})
    with pytest.raises(ValueError, match="empty parameter list"):
        SpeedLimitedSGD([])


def test_options_are_checked_again_at_every_step():
    model = network()
    optimiser = SpeedLimitedSGD(model.parameters(), lr=0.1)
    backward(model)
    optimiser.param_groups[0]["lr"] = math.nan
    before = flat(model)
    with pytest.raises(ValueError, match="lr = nan must be a finite number >= 0"):
        optimiser.step()
    assert torch.equal(flat(model), before)


def test_gradients_at_the_ends_of_the_floating_numbers():
    half = nn.Parameter(torch.zeros(12, dtype=torch.float16))
    half.grad = torch.full_like(half, 3e4)  # its norm is beyond half precision
    SpeedLimitedSGD([half], lr=0.1).step()
    assert half.detach().float().norm().item() == pytest.approx(0.1, rel=1e-2)
    still = nn.Parameter(torch.ones(3))
    still.grad = torch.zeros(3)
    SpeedLimitedSGD([still], lr=0.1, eps=1e-60).step()  # zero in single precision
    assert torch.equal(still.detach(), torch.ones(3))


def test_another_optimisers_state_leaves_our_options_at_their_defaults():
    model = network()
    optimiser = SpeedLimitedSGD(model.parameters(), lr=0.1, speed=3.0)
    optimiser.load_state_dict(torch.optim.SGD(model.parameters(), lr=0.5).state_dict())
    assert [optimiser.param_groups[0][name] for name in ("lr", "speed")] == [0.5, 3.0]
    backward(model)
    optimiser.step()


def test_shared_and_parametrised_weights_belong_to_one_layer():
    shared = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    shared[1].weight = shared[0].weight
    groups = layer_groups(shared, {"0": 2.0})
    assert [(g["layer"], len(g["params"])) for g in groups] == [("0", 2), ("1", 1)]
    SpeedLimitedSGD(groups, lr=0.1)
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    (group,) = layer_groups(normed, {"0": 2.0})
    assert (group["layer"], group["speed"], len(group["params"])) == ("0", 2.0, 3)


# Training


def by_hand(model, inputs, targets, lr, epochs, size, generator):
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(inputs), size):
            chosen = order[start : start + size]
            loss = ((model(inputs[chosen])[:, 0] - targets[chosen]) ** 2).sum() / 2
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= lr * gradient
            losses.append(float(loss.detach()))
    return losses


def test_training_is_plain_gradient_descent_on_shuffled_batches():
    inputs, targets = sample()
    model, twin = network(), network()
    training = train_sgd(
        model, inputs, targets, lr=0.01, epochs=3, batch_size=10, generator=seeded(4)
    )
    losses = by_hand(twin, inputs, targets, 0.01, 3, 10, seeded(4))
    np.testing.assert_allclose(training.batch_losses, losses, rtol=1e-12)
    np.testing.assert_allclose(flat(model).numpy(), flat(twin).numpy(), rtol=1e-12)
    assert training.steps_per_epoch == 3
    assert training.records == ()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    def run(seed):
        model = network()
        data = sample()
        training = train_sgd(
            model, *data, lr=0.01, epochs=2, batch_size=8, generator=seeded(seed), record_at=[3, 6]
        )
        return flat(model).numpy().tobytes(), training.batch_losses.tobytes(), training.records

    assert run(1) == run(1)
    assert run(1)[0] != run(2)[0]


def test_full_batches_need_no_size_and_the_order_does_not_matter():
    ends = []
    for seed in (1, 2):
        model = network()
        train_sgd(model, *sample(), lr=0.01, epochs=5, generator=seeded(seed))
        ends.append(flat(model).numpy())
    np.testing.assert_allclose(*ends, rtol=1e-10)


def test_the_rate_may_depend_on_the_epoch():
    model, twin = network(), network()
    train_sgd(model, *sample(), lr=lambda e: 0.0 if e else 0.01, epochs=3, generator=seeded())
    train_sgd(twin, *sample(), lr=0.01, epochs=1, generator=seeded())
    assert torch.equal(flat(model), flat(twin))


def test_records_are_what_the_measuring_functions_say():
    inputs, targets = sample()
    held_out = sample(9, seed=1)
    model = network(bias=True)
    start, passed = copy.deepcopy(model), []
    training = train_sgd(
        model, inputs, targets, lr=0.01, epochs=4, batch_size=12, generator=seeded(),
        record_at=[0, 3, 8], layers=["0", "2"], kind="pearson", test=held_out,
        loss=mean_squared_error, callback=lambda step, _: passed.append(step),
    )  # fmt: skip
    assert [r.step for r in training.records] == passed == [0, 3, 8]
    last = training.records[-1]
    for name, matrices in layer_matrices(model, inputs, ["0", "2"]).items():
        found, initial = last.layers[name], start.get_submodule(name).weight.detach()
        assert found.uncentred == pytest.approx(uncentred_nfa(matrices, kind="pearson"))
        assert found.centred == pytest.approx(centred_nfa(matrices, initial, kind="pearson"))
        assert found.moved == pytest.approx(
            float((matrices.weight - initial).norm() / matrices.weight.norm())
        )
    with torch.no_grad():
        assert last.loss == pytest.approx(float(((model(inputs)[:, 0] - targets) ** 2).mean()))
        errors = (model(held_out[0])[:, 0] - held_out[1]) ** 2
        assert last.test_loss == pytest.approx(float(errors.mean()))
    assert training.records[0].layers["0"].centred is None
    assert training.uncentred("0")[0].tolist() == [0, 3, 8]
    assert training.centred("0")[0].tolist() == [3, 8]
    assert training.centred("0")[1][-1] == last.layers["0"].centred


def test_the_centre_can_be_the_weights_after_the_first_epoch():
    inputs, targets = sample()
    model, kept = network(), {}

    def keep(step, current):
        kept[step] = current[0].weight.detach().clone()

    training = train_sgd(
        model, inputs, targets, lr=0.01, epochs=3, batch_size=12, generator=seeded(),
        record_at=[0, 2, 6], centre="first epoch", callback=keep,
    )  # fmt: skip
    assert [r.layers["0"].centred is None for r in training.records] == [True, True, False]
    matrices = layer_matrices(model, inputs, ["0"])["0"]
    assert training.records[-1].layers["0"].centred == pytest.approx(centred_nfa(matrices, kept[2]))


def test_runs_are_compared_at_equal_loss():
    training = train_sgd(
        network(), *sample(), lr=0.01, epochs=30, generator=seeded(), record_at=range(31)
    )
    losses = [r.loss for r in training.records]
    goal = (losses[0] + losses[-1]) / 2
    found = training.first_below(goal)
    assert found.loss <= goal < losses[found.step - 1]
    assert training.first_below(0.0) is None


def test_other_losses_outputs_dtypes_and_optimisers_are_taken():
    model = mlp([64, 8, 10], bias=True, dtype=torch.float32, generator=0)
    images = digits()
    training = train_sgd(
        model, images.inputs[:100], images.labels[:100], loss="cross_entropy", epochs=2,
        batch_size=25, optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        generator=seeded(), record_at=[0, 8],
    )  # fmt: skip
    assert training.records[1].loss < training.records[0].loss
    assert set(training.records[0].layers) == {"0", "2"}


def test_dropout_and_normalisation_are_as_they_were_after_a_record():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.1), nn.Linear(6, 1))
    model[2].eval()
    inputs, targets = (t.float() for t in sample())
    train_sgd(
        model, inputs, targets, lr=0.001, epochs=1, batch_size=8, generator=seeded(), record_at=[3]
    )
    assert [module.training for module in model] == [True, True, False, True]


def test_a_run_that_diverges_says_when():
    with pytest.raises(
        ArithmeticError, match=r"diverged: the loss is (inf|nan) at step \d+; lower"
    ):
        train_sgd(
            mlp([4, 6, 1], "quadratic", generator=0),
            *sample(), lr=10.0, epochs=50, generator=seeded(),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lr": None}, ValueError, "lr and optimizer: one of the two .* there are neither"),
        ({"optimizer": "sgd"}, ValueError, "lr and optimizer: one of the two .* there are both"),
        ({"lr": -0.1}, ValueError, r"lr = -0\.1 must be"),
        ({"epochs": -1}, ValueError, "epochs = -1 must be an integer >= 0"),
        ({"batch_size": 0}, ValueError, "batch_size = 0 must be"),
        ({"generator": 0}, TypeError, r"generator = 0 must be a torch\.Generator"),
        ({"record_at": [0, 9]}, ValueError, "record_at holds 9, training ends after 4 steps"),
        ({"record_at": [-1]}, ValueError, "record_at = -1 must be"),
        ({"centre": "mean"}, ValueError, "centre = 'mean' must be one of 'initialisation', 'first"),
        ({"kind": "angle"}, ValueError, "kind = 'angle' must be one of"),
        ({"layers": ["1"]}, ValueError, "'1'"),
        ({"loss": "mae"}, ValueError, "loss = 'mae' must be one of"),
        ({"targets": torch.zeros(5)}, ValueError, "there are 23 inputs and targets of shape"),
        ({"targets": torch.full((23,), math.nan)}, ValueError, "targets hold NaN or infinite"),
        ({"inputs": torch.zeros(0, 4).double()}, ValueError, "at least 1 sample"),
    ],
)
def test_wrong_arguments_are_refused_by_name(changes, error, message):
    inputs, targets = sample()
    arguments = {
        "inputs": inputs, "targets": targets, "lr": 0.01, "epochs": 2, "batch_size": 12,
        "generator": seeded(),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        train_sgd(network(), **(arguments | changes))


def test_weights_that_are_nan_are_refused():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"0\.weight.*NaN"):
        train_sgd(model, *sample(), lr=0.01, epochs=1, generator=seeded())


# Protocols


def test_the_mean_squared_error_is_torchs():
    outputs, targets = (torch.randn(7, 3, generator=seeded(s)).double() for s in (0, 1))
    assert float(mean_squared_error(outputs, targets)) == pytest.approx(
        float(nn.functional.mse_loss(outputs, targets)), rel=1e-14
    )


@pytest.fixture(scope="module")
def small_run():
    split = classification(digits(), 300, 100, np.random.default_rng(0))
    protocol = replace(PAPER_C, hidden=(16, 16), epochs=4, batch_size=100, record_every=2)
    model, training = train_as_in_paper_c(split, seeded(), protocol)
    return split, protocol, model, training


def test_paper_cs_settings():
    assert PAPER_C.hidden == (256, 256, 256, 256, 256)
    assert (PAPER_C.lr, PAPER_C.first_lr, PAPER_C.epochs) == (2.0, 1e-4, 150)
    assert (PAPER_C.batch_size, PAPER_C.record_every, PAPER_C.kind) == (128, 25, "pearson")


def test_paper_cs_protocol_is_sgd_with_a_slow_first_epoch(small_run):
    split, _, model, training = small_run
    generator = seeded()
    twin = mlp([64, 16, 16, 10], generator=generator)
    draw_uniform(twin, generator)
    inputs, targets = torch.tensor(split.train.inputs), torch.tensor(split.train.targets)
    for epoch in range(5):
        descent = torch.optim.SGD(twin.parameters(), lr=2.0 if epoch else 1e-4)
        for chosen in torch.split(torch.randperm(300, generator=generator), 100):
            descent.zero_grad()
            nn.functional.mse_loss(twin(inputs[chosen]), targets[chosen]).backward()
            descent.step()
    np.testing.assert_allclose(flat(model).numpy(), flat(twin).numpy(), rtol=1e-9, atol=1e-12)
    assert [r.step for r in training.records] == [3, 9, 15]
    assert set(training.records[0].layers) == {"0", "2"}


def test_after_the_slow_epoch_the_layers_have_moved_a_little_and_are_aligned(small_run):
    first = small_run[3].records[0].layers
    assert all(0 < layer.moved < 1e-3 for layer in first.values())
    assert all(layer.centred > layer.uncentred for layer in first.values())


def test_weights_start_uniform_in_torchs_default_range():
    model = mlp([50, 400, 1], generator=0)
    draw_uniform(model, seeded())
    weight = model[0].weight.detach() * math.sqrt(50)
    assert weight.abs().max() < 1
    assert float(weight.var()) == pytest.approx(1 / 3, rel=0.03)
    other = mlp([50, 400, 1], generator=1)
    draw_uniform(other, seeded())
    assert torch.equal(flat(model), flat(other))


def test_the_protocol_refuses_targets_that_are_no_classes():
    data = chain_monomial(20, 4, 2, np.random.default_rng(0))
    split = replace(classification(digits(), 20, 0), train=data)
    with pytest.raises(ValueError, match=r"targets have shape \(20,\), must be \(n, C\)"):
        train_as_in_paper_c(split, seeded())


def test_runs_on_a_chain_share_everything_but_the_optimiser():
    task = ChainTask(n=60, batch_size=20, steps=6, record_every=3, hidden=(8,))

    def run(make):
        return train_on_chain(task, make, np.random.default_rng(3))

    slow, fast, plain, again = (
        run(make)
        for make in (
            lambda m: SpeedLimitedSGD(m.parameters(), lr=0.01),
            lambda m: SpeedLimitedSGD(layer_groups(m, {"0": 5.0}), lr=0.01),
            lambda m: torch.optim.SGD(m.parameters(), lr=0.01),
            lambda m: SpeedLimitedSGD(m.parameters(), lr=0.01),
        )
    )
    assert slow.records == again.records
    assert slow.records[0] == fast.records[0] == plain.records[0]
    assert slow.batch_losses[0] == fast.batch_losses[0] == plain.batch_losses[0]
    assert slow.records[-1] != fast.records[-1]
    assert [r.step for r in slow.records] == [0, 3, 6]
    assert task.last == "2"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ChainTask(n=50, batch_size=20), ValueError, "batch_size = 20 must divide n = 50"),
        (lambda: ChainTask(n=60, batch_size=20, steps=4), ValueError, "steps = 4 must be a mult"),
        (lambda: ChainTask(record_every=0), ValueError, "record_every = 0 must be"),
        (lambda: replace(PAPER_C, hidden=()), ValueError, r"hidden = \(\) must hold at least one"),
        (lambda: replace(PAPER_C, hidden=(4, 0)), ValueError, "hidden = 0 must be"),
        (lambda: replace(PAPER_C, record_every=0), ValueError, "record_every = 0 must be"),
        (lambda: replace(PAPER_C, epochs=1.5), TypeError, r"epochs = 1\.5 must be an integer"),
    ],
)
def test_wrong_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def run(model, inputs=None, targets=None, **changes):
    given = sample()
    inputs, targets = (
        given[0] if inputs is None else inputs,
        given[1] if targets is None else targets,
    )
    options = {"lr": 1e-3, "epochs": 2, "batch_size": 10, "generator": seeded(), **changes}
    return train_sgd(model, inputs, targets, **options)


def test_dropout_is_seeded_and_the_global_generator_is_left_alone():
    def dropping():
        model = network()
        return nn.Sequential(*model[:2], nn.Dropout(0.5), *model[2:])

    random = torch.get_rng_state()
    first = run(dropping()).batch_losses
    assert torch.equal(random, torch.get_rng_state())
    torch.rand(3)
    assert np.array_equal(run(dropping()).batch_losses, first)
    torch.set_rng_state(random)


def test_gradients_switched_off_outside_training():
    expected = run(network()).batch_losses
    for off in (torch.no_grad(), torch.inference_mode()):
        model = network()
        with off:
            assert np.array_equal(run(model).batch_losses, expected)


def test_optimisers_that_need_the_loss_again_and_networks_without_linear_layers():
    model = network()
    searching = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    losses = run(model, lr=None, batch_size=None, optimizer=searching).batch_losses
    assert losses[-1] < losses[0]
    convolutional = nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 4), nn.Flatten()
    ).double()
    assert len(run(convolutional).batch_losses) == 6


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"lr": None, "optimizer": torch.optim.SGD(network(1).parameters())}, ValueError,
         "optimizer holds no parameter of this model"),
        ({"record_at": 3}, TypeError, "record_at = 3 must be a sequence of steps"),
        ({"test": (1,)}, ValueError, "test holds 1 objects, must be inputs and targets"),
        ({"loss": lambda f, y: None}, TypeError, "loss returned NoneType, must be a real tensor"),
        ({"loss": lambda f, y: f}, ValueError, r"loss has shape \(10, 1\), must be one number"),
        ({"targets": ["a"] * 23}, TypeError, "targets have dtype <U1, must be real numbers"),
    ],
)  # fmt: skip
def test_more_wrong_arguments_are_refused_by_name(changes, error, match):
    with pytest.raises(error, match=match):
        run(network(), **changes)


def test_models_that_cannot_be_trained_or_recorded_are_refused():
    with pytest.raises(ValueError, match="the loss is not differentiable: it is detached"):
        run(network().requires_grad_(False))
    with pytest.raises(ValueError, match="the model has no parameters: Flatten"):
        run(nn.Flatten())
    silent = network()
    nn.init.zeros_(silent[4].weight)
    with pytest.raises(ValueError, match="layer '0' at step 0, A = AGOP, B = NFM: A is zero"):
        run(silent, record_at=[0])
