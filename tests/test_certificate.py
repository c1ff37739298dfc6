"""The certificate: it verifies without the package, and no altered one does."""

import copy
import json
import math
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from scipy import special

from proofs_check.__main__ import main
from proofs_check.certificate import produce, verify
from proofs_check.certificate.verify import RejectedError
from theory.ridgeless import Cauchy, Laplace, Matern, limit_risk

CLAIM = "ridgeless.inconsistency"
FOREIGN = ("theory", "numerics", "figures", "flint", "sympy", "numpy", "scipy", "rich")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The genuine certificate, written by the command from another folder."""
    folder = tmp_path_factory.mktemp("certificate")
    command = [sys.executable, "-m", "proofs_check", "certificate", CLAIM, "--json", "c.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [file.name for file in folder.iterdir()] == ["c.json"]
    return folder / "c.json"


@pytest.fixture(scope="module")
def genuine(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module", autouse=True)
def _remembered():
    """Remember each recomputed bound, so that a hundred edited files cost little more than one."""
    original = verify.bounds_of

    @cache
    def bounds_of(*kernel):
        return tuple(cache(bound) for bound in original(*kernel))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "bounds_of", bounds_of)
        yield


def sealed(document):
    return {**document, "sha256": verify.digest(document)}


def examine(document, genuine):
    """Verify, sparing the entries that are untouched."""
    frame = verify.check_frame(json.dumps(document))
    for entry, untouched in zip(frame["entries"], genuine["entries"], strict=True):
        if entry != untouched:
            verify.check_entry(entry)


# --- the genuine one ----------------------------------------------------------------------------


def test_it_verifies_alone(path, genuine):
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({FOREIGN!r}))\n"  # None: importing it fails
        "from proofs_check.certificate.verify import main\n"
        "code = main(sys.argv[1:])\n"
        f"assert not any(m.split('.')[0] in {FOREIGN!r} and sys.modules[m] for m in sys.modules)\n"
        "assert 'proofs_check.certificate.produce' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "-c", script, path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"verified: {CLAIM}" in done.stdout
    assert done.stdout.count("kappa") == len(genuine["entries"]) == 11


def test_the_command_verifies_it(path, capsys):
    assert main(["verify", str(path)]) == 0
    assert "gaussian    d = 1   kappa = 0.6275" in capsys.readouterr().out


def test_kappa_is_near_the_infimum(genuine):
    lower = {(e["kernel"], e["dimension"]): float(e["lower"]) for e in genuine["entries"][:9]}
    for kernel, c in ((Laplace(), 0.405), (Cauchy(), 0.28)):
        name = type(kernel).__name__.lower()
        least = min(limit_risk(kernel, c * (1 + i / 100)).total(1.0) for i in range(-20, 21))
        assert 0.9998 * least < lower[name, 1] <= least
    assert all(0.1 < value < 1 for value in lower.values())


def test_it_is_small(path):
    assert path.stat().st_size < 1_000_000


# --- edits --------------------------------------------------------------------------------------


def shifted(text, by):
    return produce._text(Fraction(text) + Fraction(by), 12)


def amount(rng):
    sign = rng.choice((1, -1))
    return Fraction(sign * rng.choice((1, 3, 7)), 10 ** rng.choice((2, 4, 6, 9, 11, 12)))


def any_entry(document, rng):
    return rng.choice(document["entries"])


def long_entry(document, rng):
    return rng.choice([entry for entry in document["entries"] if len(entry["boxes"]) > 2])


def edit_bound(document, rng):
    box = rng.choice(any_entry(document, rng)["boxes"])
    box[2] = shifted(box[2], amount(rng))


def edit_end(document, rng):
    end = any_entry(document, rng)[rng.choice(("left", "right"))]
    key = rng.choice(sorted(end))
    end[key] = shifted(end[key], amount(rng))


def edit_lower(document, rng):
    entry = any_entry(document, rng)
    entry["lower"] = shifted(entry["lower"], amount(rng))


def open_gap(document, rng):
    box = rng.choice(any_entry(document, rng)["boxes"])
    side = rng.randrange(2)
    box[side] = shifted(box[side], amount(rng))


def move_edge(document, rng):
    boxes = long_entry(document, rng)["boxes"]
    i = rng.randrange(1, len(boxes))
    lo, hi = Fraction(boxes[i - 1][0]), Fraction(boxes[i][1])
    step = rng.choice((Fraction(1, 10**9), (hi - lo) / 1000, -(hi - lo) / 1000))
    edge = produce._text(Fraction(math.floor((Fraction(boxes[i][0]) + step) * 10**12), 10**12), 12)
    boxes[i - 1][1] = boxes[i][0] = edge


def remove_box(document, rng):
    boxes = any_entry(document, rng)["boxes"]
    del boxes[rng.choice((0, -1, rng.randrange(len(boxes))))]


def remove_box_and_follow(document, rng):
    """Leave out the first box and move the left end, so that there is no gap."""
    entry = long_entry(document, rng)
    del entry["boxes"][0]
    entry["left"]["end"] = entry["boxes"][0][0]


def merge_boxes(document, rng):
    boxes = long_entry(document, rng)["boxes"]
    i = rng.randrange(1, len(boxes))
    boxes[i - 1 : i + 1] = [[boxes[i - 1][0], boxes[i][1], rng.choice(boxes[i - 1 : i + 1])[2]]]


def repeat_box(document, rng):
    boxes = any_entry(document, rng)["boxes"]
    i = rng.randrange(len(boxes))
    boxes.insert(i, list(boxes[i]))


def swap_boxes(document, rng):
    boxes = long_entry(document, rng)["boxes"]
    i, j = rng.sample(range(len(boxes)), 2)
    boxes[i], boxes[j] = boxes[j], boxes[i]


def remove_entry(document, rng):
    del document["entries"][rng.randrange(len(document["entries"]))]


def repeat_entry(document, rng):
    entries = document["entries"]
    entries[rng.randrange(len(entries))] = copy.deepcopy(entries[0])
    entries.append(copy.deepcopy(entries[0]))


def swap_labels(document, rng):
    """Exchange the numbers of two kernels, which leaves the list of kernels as it was."""
    one, other = rng.sample(document["entries"], 2)
    for key in ("lower", "left", "right", "boxes"):
        one[key], other[key] = other[key], one[key]


def edit_label(document, rng):
    key, values = rng.choice(
        [
            ("kernel", ("laplace", "gaussian", "cauchy", "matern", "sinc", "", 1, None, [])),
            ("dimension", (0, 1, 2, 3, 4, -1, True, "1", None, {}, 10**30)),
            ("nu", ("1/2", "3/2", "5/2", "7/2", 1, [], "")),
            ("method", ("closed form", "jensen", "trust me", None)),
        ]
    )
    entry = any_entry(document, rng)
    entry[key] = rng.choice([v for v in values if (v, type(v)) != (entry[key], type(entry[key]))])


EDITS = (
    edit_bound,
    edit_end,
    edit_lower,
    open_gap,
    move_edge,
    remove_box,
    remove_box_and_follow,
    merge_boxes,
    repeat_box,
    swap_boxes,
    remove_entry,
    repeat_entry,
    swap_labels,
    edit_label,
)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_no_edit_survives(genuine, edit):
    rng = random.Random(edit.__name__)
    for _ in range(12):
        document = copy.deepcopy(genuine)
        edit(document, rng)
        assert document != genuine or edit is edit_label  # True == 1
        if document != genuine:
            with pytest.raises(RejectedError, match="sha256 is not the digest"):
                examine(document, genuine)
        with pytest.raises(RejectedError):
            verify.verify(json.dumps(sealed(document))) if edit is edit_label else examine(
                sealed(document), genuine
            )


@pytest.mark.parametrize("key", ["format", "claim", "statement", "theorem", "snr", "sha256"])
@pytest.mark.parametrize("value", ["", "2", None, 1, ["1"], "é"])
def test_the_frame_is_fixed(genuine, key, value):
    document = {**genuine, key: value}
    with pytest.raises(RejectedError, match=key):
        verify.check_frame(json.dumps(document if key == "sha256" else sealed(document)))


@pytest.mark.parametrize("where", ["top", "entry", "left", "right"])
def test_no_key_too_many_or_too_few(genuine, where):
    for change in ("add", "remove"):
        document = copy.deepcopy(genuine)
        entry = document["entries"][1]
        part = {"top": document, "entry": entry}.get(where) or entry[where]
        if change == "add":
            part["note"] = "believe me"
        else:
            del part["entries" if where == "top" else "lower" if where == "entry" else "bound"]
        with pytest.raises(RejectedError, match="has the keys"):
            examine(sealed(document), genuine)


@pytest.mark.parametrize(
    "number",
    ["nan", "inf", "-0.2", "+0.2", "1e999999", "0.2e0", "1/5", " 0.2", "0.2\n", "0,2", "٠.٢", "",
     "0.", "1", "0.1234567890123", "0" * 10**6, 0.2, 1, None, True, [], {}, float("nan"),
     float("inf"), 10**5000 if sys.get_int_max_str_digits() == 0 else 10**4000],
    ids=lambda number: ascii(number)[:12],
)  # fmt: skip
@pytest.mark.parametrize("place", ["lo", "bound", "lower", "end"])
def test_strange_numbers(genuine, number, place):
    document = copy.deepcopy(genuine)
    entry = document["entries"][1]
    part, key = {
        "lo": (entry["boxes"][0], 0),
        "bound": (entry["boxes"][0], 2),
        "lower": (entry, "lower"),
        "end": (entry["left"], "end"),
    }[place]
    part[key] = number
    with pytest.raises(RejectedError):
        examine(sealed(document), genuine)


@pytest.mark.parametrize("edge", ["0.0", "0.000000000001", "0.009", "0.01", "9.999999999999"])
def test_extreme_edges_are_refused_with_a_reason(genuine, edge):
    for entry in genuine["entries"]:
        for side, key in (("left", "end"), ("right", "start")):
            document = copy.deepcopy(entry)
            document[side][key] = edge
            document["boxes"][0 if side == "left" else -1][0 if side == "left" else 1] = edge
            with pytest.raises(RejectedError):
                verify.check_entry(document)


MALFORMED = {
    "empty": b"",
    "no json": b"kappa = 1",
    "cut": b'{"format": "agop-theory certi',
    "list": b"[]",
    "null": b"null",
    "number": b"1e999999",
    "not a number": b"NaN",
    "object": b"{}",
    "twins": b'{"format": "a", "format": "b"}',
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 990 + b"1" + b"}" * 990,
    "bytes": b"\xff\xfe\x00",
    "surrogate": b'{"format": "\\ud800"}',
    "digits": b"1" * 10_000,
    "long": b" " * 4_000_001,
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_rejected(tmp_path, capsys, content):
    file = tmp_path / "c.json"
    file.write_bytes(content)
    assert main(["verify", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("rejected: ")
    assert captured.err == ""


def test_nested_entries_are_rejected(genuine):
    for depth in range(100, 1000, 50):
        text = json.dumps(genuine["sha256"]).join(('{"entries":' + "[" * depth, "]" * depth))
        rest = {key: value for key, value in genuine.items() if key != "entries"}
        with pytest.raises(RejectedError):
            verify.verify(text + "," + json.dumps(rest)[1:])


# --- the commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "missing.json"],
        ["verify", "."],
        ["verify", "a", "b"],
        ["certificate"],
        ["certificate", CLAIM],
        ["certificate", "ridgeless.risk", "--json", "c.json"],
        ["certificate", CLAIM, "--json", "missing/c.json"],
    ],
)
def test_calls_that_make_no_sense(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 3
    assert capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_module_runs_by_itself(tmp_path):
    (tmp_path / "c.json").write_text("{}")
    module = [sys.executable, "-m", "proofs_check.certificate.verify"]
    for arguments, code in ((["c.json"], 1), ([], 3), (["missing"], 3), (["--help"], 3)):
        done = subprocess.run(module + arguments, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr


@pytest.mark.parametrize("failing", ["dump", "certificate", "replace"])
def test_nothing_half_written_remains(tmp_path, monkeypatch, failing):
    def fail(*arguments, **_):
        if failing == "dump":
            arguments[1].write('{"format": ')
        raise OSError("disk full")

    monkeypatch.setattr(produce, "certificate", lambda: {"format": "new"})
    owner = {"dump": produce.json, "certificate": produce, "replace": produce.Path}[failing]
    monkeypatch.setattr(owner, failing, fail)
    (tmp_path / "c.json").write_text("old")
    with pytest.raises(OSError, match="disk full"):
        produce.write_certificate(tmp_path / "c.json")
    assert [file.name for file in tmp_path.iterdir()] == ["c.json"]
    assert (tmp_path / "c.json").read_text() == "old"


# --- the verifier's formulas against the definitions --------------------------------------------


def interval(kernel, c):
    """B and V as floats, after a check that the intervals are narrow."""
    values = [bound(Fraction(c)) for bound in verify.bounds_of(*kernel)]
    assert all(value.delta < 1e-30 for value in values)
    return [float(value.mid) for value in values]


def shares(name, c, theta):
    """Σ_l φ̂(c(θ+l)) and Σ_l φ̂(c(θ+l))² up to φ̂(0), for an array θ."""
    l = np.arange(-20_000, 20_001)  # noqa: E741 (the papers' letter)
    x = c * (theta[:, np.newaxis] + l)
    if name == "laplace":
        density = 1 / (1 + (2 * np.pi * x) ** 2)
        beyond = 2 / ((2 * np.pi * c) ** 2 * (l[-1] + 0.5))  # the rest, as an integral
        return density.sum(axis=1) + beyond, (density**2).sum(axis=1)
    exponent = 2 * np.pi * np.abs(x) if name == "cauchy" else 2 * (np.pi * x) ** 2
    return np.exp(-exponent).sum(axis=1), np.exp(-2 * exponent).sum(axis=1)


@pytest.mark.parametrize("name", ["laplace", "cauchy", "gaussian"])
@pytest.mark.parametrize("c", ["0.15", "0.4", "0.9"])
def test_closed_forms_against_the_definition(name, c):
    B, V = interval((name, 1, None), c)
    (total,), (squares,) = shares(name, float(c), np.zeros(1))
    own, energy = 1 / total, squares / total**2
    assert abs(B - (1 - 2 * own + energy)) < 1e-10
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total, squares = shares(name, float(c), (1 + nodes) / 4)  # θ in [0, ½]: even about both ends
    assert abs(V - weights @ (squares / total**2) / 2) < 1e-9
    if name == "gaussian":
        for d in (2, 3):
            B_d, V_d = interval((name, d, None), c)
            assert abs(V_d - V**d) < 1e-14
            assert abs(B_d - (1 - 2 * own**d + energy**d)) < 1e-10


def matern(nu, z):
    return 2 * (z / 2) ** nu * special.kv(nu, z) / special.gamma(nu)


def family(name, d, nu):
    """φ(r) and φ̂(ρ) of a kernel, by their definitions."""
    if name == "cauchy":
        s = (d + 1) / 2
        mass = np.pi**s / special.gamma(s)
        return (lambda r: (1 + r * r) ** -s), (lambda x: mass * np.exp(-2 * np.pi * x))
    v = 0.5 if nu is None else int(nu[0]) / 2
    mass = (2 * np.pi / v) ** (d / 2) * special.gamma(v + d / 2) / special.gamma(v)
    return (
        lambda r: matern(v, np.sqrt(2 * v) * r),
        lambda x: mass * (1 + 2 * (np.pi * x) ** 2 / v) ** -(v + d / 2),
    )


def convolution(density, d, r):
    """(φ*φ)(x) = ∫ φ̂(ξ)² e^{2πi x·ξ} dξ with |x| = r, by quadrature on 1200 panels."""
    nodes, weights = np.polynomial.legendre.leggauss(10)
    x = (np.arange(1200)[:, np.newaxis] * 0.05 + (1 + nodes) * 0.025).ravel()
    wave = {
        1: lambda: 2 * np.cos(2 * np.pi * r * x),
        2: lambda: 2 * np.pi * x * special.j0(2 * np.pi * r * x),
        3: lambda: 4 * np.pi * x * x * np.sinc(2 * r * x),
    }[d]()
    return float(np.tile(weights * 0.025, 1200) @ (density(x) ** 2 * wave))


JENSEN = [key for key, method in verify.EXPECTED.items() if method == "jensen"]


@pytest.mark.parametrize("kernel", JENSEN, ids=str)
def test_jensen_bounds_against_quadrature(kernel):
    """τE/(Σ φψ)² with E and ψ from the spectral density."""
    name, d, _ = kernel
    c, (phi, density) = 0.25, family(*kernel)
    energy = convolution(density, d, 0.0)
    total = 1.0
    for square, count in Counter(
        sum(x * x for x in k) for k in verify.product(range(-6, 7), repeat=d) if any(k)
    ).items():
        r = math.sqrt(square) / c
        psi = convolution(density, d, r) / energy
        if (name, d) == ("laplace", 2):  # the bound that the verifier uses in its place
            assert psi <= matern(2.5, r) + 1e-9
            psi = matern(2.5, r)
        total += count * phi(r) * psi
    value = c**d * energy / total**2
    _, V = interval(kernel, "0.25")
    slack = 1e-5 if name == "cauchy" else 1e-8  # Cauchy: the bound of what lies beyond
    assert (1 - slack) * value < V < (1 + 1e-8) * value


@pytest.mark.parametrize("kernel", JENSEN, ids=str)
def test_jensen_bounds_lie_below_and_near(kernel):
    name, d, nu = kernel
    true = {"laplace": Laplace, "cauchy": Cauchy}.get(name, lambda d: Matern(int(nu[0]) / 2, d))(d)
    for c in (0.2, 0.3, 0.45):
        B, V = interval(kernel, str(c))
        risk = limit_risk(true, c)
        assert 0.99 * risk.approximation < B <= risk.approximation * (1 + 1e-9)
        assert 0.65 * risk.estimation < V <= risk.estimation * (1 + 1e-9)
