"""Check a certificate of the inconsistency theorem, with nothing but Python and mpmath.

    python -m proofs_check.certificate.verify FILE

Setting. Interpolation on the grid Z^d/n with a kernel phi(x/h), phihat its Fourier transform. As
n -> infinity with c = h n fixed, the risk in units of the noise variance tends to SNR B(c) + V(c),

    V(c) = mean over theta in [0,1]^d of sum_l r_l(theta)^2,
    B(c) = 1 - 2 r_0(0) + sum_l r_l(0)^2,
    r_l(theta) = phihat(c(theta+l)) / sum_m phihat(c(theta+m)),    l, m in Z^d.

Theorem (claim ridgeless.adaptive). Hypothesis: phihat > 0 is radial and decreasing, and its
elasticity -d log phihat / d log|xi| is nondecreasing in |xi|; so it is for Gaussian, Laplace,
Matern and Cauchy. Then V is nondecreasing and B is nonincreasing in c.
Proof. As c grows, phihat(cx)/phihat(cy) grows for |x| < |y|: the shares r_l(theta) concentrate, the
sum of their squares grows. And B = (E1^2 + E2)/(1 + E1)^2, with E1 = sum of rho_l over l != 0, E2
that of rho_l^2, rho_l = phihat(cl)/phihat(0) <= 1; B grows with E1 (as E2 <= E1) and with E2, and
both fall as c grows.

What a certificate proves. B(hi) + V(lo) bounds B + V from below on [lo, hi], B(a) does for c <= a
and V(z) for c >= z. If the boxes cover [a, z], the least bound is a kappa > 0 with
SNR B(c) + V(c) >= kappa min(SNR, 1) for all c > 0 and all SNR > 0, because the left side is at
least min(SNR, 1) (B + V). Every bound is recomputed here, in interval arithmetic.

Bounds of the method "closed form" are B and V themselves (claims ridgeless.laplace, .cauchy,
.gaussian). The method "jensen" bounds V from below: with tau = c^d, E = int phi^2 and psi =
(phi * phi)/E, Jensen's inequality for 1/x^2 in V = int phihat(c xi)^2 / S(xi)^2 d xi, where
S(xi) = sum_m phihat(c(xi+m)) = (1/tau) sum_k phi(k/c) e^{-2 pi i k.xi}, gives

    V >= tau E / (sum_k phi(k/c) psi(k/c))^2,    k in Z^d,

and B from below by partial sums of E1 and E2. Lattice sums run over |k|_infinity <= 8; at most
2d(2j+1)^{d-1} points have |k|_infinity = j, which bounds the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import ceil, factorial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from mpmath.ctx_iv import MPIntervalContext

FORMAT = "agop-theory certificate, version 1"
CLAIM = "ridgeless.inconsistency"
STATEMENT = (
    "For each kernel below, every SNR > 0 and every bandwidth c > 0 in grid spacings, the limiting "
    "risk of kernel interpolation in units of the noise variance satisfies "
    "SNR*B(c) + V(c) >= lower*min(SNR, 1), where lower > 0."
)
THEOREM = (
    "ridgeless.adaptive: if the spectral density is radial and decreasing and its elasticity is "
    "nondecreasing in |xi|, then V is nondecreasing and B is nonincreasing in c. So B + V is at "
    "least B(hi) + V(lo) on a box [lo, hi], B(end) to the left and V(start) to the right."
)
EXPECTED: Mapping[tuple[str, int, str | None], str] = {
    ("laplace", 1, None): "closed form",
    ("laplace", 2, None): "jensen",
    ("laplace", 3, None): "jensen",
    ("gaussian", 1, None): "closed form",
    ("gaussian", 2, None): "closed form",
    ("gaussian", 3, None): "closed form",
    ("cauchy", 1, None): "closed form",
    ("cauchy", 2, None): "jensen",
    ("cauchy", 3, None): "jensen",
    ("matern", 1, "3/2"): "jensen",
    ("matern", 1, "5/2"): "jensen",
}
"""The kernels that a certificate must hold, in this order, and their methods."""

MAX_CHARACTERS = 4_000_000
REACH = 8  # lattice sums run over |k|_infinity <= REACH

Interval: TypeAlias = Any  # mpmath is untyped
Bound: TypeAlias = Callable[[Fraction], Interval]

_iv = MPIntervalContext()  # not mpmath.iv, whose precision anyone may change
_iv.dps = 40
# mpmath does not prove that its exponential rounds outwards in the very last place.
_GUARD = _iv.mpf(10) ** -25
_STEP = _iv.mpf(10) ** -12


class RejectedError(ValueError):
    """The certificate does not prove what it says."""


# --- B and V of one kernel ----------------------------------------------------------------------


def bounds_of(kernel: str, dimension: int, nu: str | None) -> tuple[Bound, Bound]:
    """Return B and V, or lower bounds of them, as functions of c with interval values."""
    if kernel == "gaussian":
        return (lambda c: _gaussian_b(c, dimension)), (lambda c: _gaussian_v(c) ** dimension)
    if kernel == "cauchy":
        if dimension == 1:
            return _cauchy_line_b, _cauchy_line_v
        return (lambda c: _cauchy_b(c, dimension)), (lambda c: _cauchy_v(c, dimension))
    if kernel == "laplace" and dimension == 1:
        return _laplace_line_b, _laplace_line_v
    p = {None: 0, "3/2": 1, "5/2": 2}[nu]
    return (lambda c: _matern_b(c, p, dimension)), (lambda c: _matern_v(c, p, dimension))


def _interval(x: Fraction) -> Interval:
    return _iv.mpf(x.numerator) / x.denominator


def _laplace_line_v(c: Fraction) -> Interval:
    """V = coth(s)/s - csch(s)^2 with s = 1/c, in w = e^{-2s}."""
    s = _interval(1 / c)
    w = _iv.exp(-2 * s)
    return (1 + w) / (1 - w) / s - 4 * w / (1 - w) ** 2


def _laplace_line_b(c: Fraction) -> Interval:
    """B = 1 - (3/2) tanh(s/2)/(s/2) + sech(s/2)^2/2 with s = 1/c, in w = e^{-s}."""
    s = _interval(1 / c)
    w = _iv.exp(-s)
    return 1 - 3 * (1 - w) / (1 + w) / s + 2 * w / (1 + w) ** 2


def _tanh_pi(c: Fraction) -> Interval:
    w = _iv.exp(-2 * _iv.pi * _interval(c))
    return (1 - w) / (1 + w)


def _cauchy_line_v(c: Fraction) -> Interval:
    """V = t(1 - t/(2 pi c)) with t = tanh(pi c)."""
    t = _tanh_pi(c)
    return t * (1 - t / (2 * _iv.pi * _interval(c)))


def _cauchy_line_b(c: Fraction) -> Interval:
    """B = (1 - t)^2 (1 + t/2)."""
    t = _tanh_pi(c)
    return (1 - t) ** 2 * (1 + t / 2)


# Gaussian: theta functions of nome q = e^{-1/(2c^2)}, with k = theta_2^2/theta_3^2, K = (pi/2)
# theta_3^2, K' = K/(2 pi c^2) and (K - E)/K = theta_4''/(theta_4 theta_3^4), all at z = 0.


@lru_cache(maxsize=8)
def _thetas(c: Fraction) -> tuple[Interval, Interval, Interval, Interval]:
    """Return theta_2, theta_3, theta_4 and theta_4'', the derivative in z, at z = 0."""
    rate = -_interval(1 / (8 * c * c))
    count = 3 + ceil(12 * c)
    q = [_iv.exp(4 * n * n * rate) for n in range(count)]  # q^{n^2}
    half = [_iv.exp((2 * n + 1) ** 2 * rate) for n in range(count)]  # q^{(n+1/2)^2}
    return (
        2 * _with_rest(half),
        2 * _with_rest(q) - 1,
        2 * _with_rest([(-1) ** n * x for n, x in enumerate(q)]) - 1,
        8 * _with_rest([(-1) ** (n + 1) * n * n * x for n, x in enumerate(q)]),
    )


def _with_rest(terms: Sequence[Interval]) -> Interval:
    """Sum a series of `_thetas`, whose terms from the last one on fall at least by half.

    For n > 12c and c < 10 the quotient of two terms is at most (1+1/n)^2 e^{-(2n+1)/(2c^2)} < 1/2.
    """
    return sum(terms[:-1]) + _iv.mpf([-2, 2]) * terms[-1]


def _gaussian_v(c: Fraction) -> Interval:
    """V in one dimension: sqrt(pi/((1+k)K')) (1 + (K-E)/(kK))/2, and sqrt(K') = theta_3/(2c)."""
    theta2, theta3, theta4, curvature = _thetas(c)
    if (theta4 > 0) is not True:
        _reject(f"c = {c} is beyond the reach of the theta series")
    k = (theta2 / theta3) ** 2
    deficit = curvature / (theta4 * theta3**4)
    return _interval(c) * _iv.sqrt(_iv.pi / (1 + k)) / theta3 * (1 + deficit / k)


def _gaussian_b(c: Fraction, d: int) -> Interval:
    """B = 1 - 2 r^d + e^d, where r = r_0(0) and e = sum_l r_l(0)^2 belong to d = 1.

    Poisson: sum_l phihat(cl) = theta_3(q)/c and, as phi*phi = sqrt(pi) e^{-x^2/4}, sum_l
    phihat(cl)^2 = sqrt(pi) theta_3(sqrt q)/c. And theta_3(sqrt q)^2 = theta_3^2 + theta_2^2.
    """
    theta2, theta3, _, _ = _thetas(c)
    r = _interval(c) * _iv.sqrt(2 * _iv.pi) / theta3
    e = _interval(c) * _iv.sqrt(_iv.pi * (theta3**2 + theta2**2)) / theta3**2
    return 1 - 2 * r**d + e**d


@lru_cache(maxsize=8)
def _shells(d: int, reach: int) -> tuple[tuple[Interval, int], ...]:
    """Return (r, number of k in Z^d with |k| = r) for 0 < |k|_infinity <= reach."""
    squares = (sum(x * x for x in k) for k in product(range(-reach, reach + 1), repeat=d))
    counts = sorted(Counter(squares).items())
    return tuple((_iv.sqrt(_iv.mpf(square)), count) for square, count in counts if square)


def _lattice_sum(d: int, radial: Callable[[Interval], Interval], reach: int = REACH) -> Interval:
    """Sum of radial(|k|) over 0 < |k|_infinity <= reach."""
    return sum(count * radial(r) for r, count in _shells(d, reach))


def _b_from_sums(e1: Interval, e2: Interval) -> Interval:
    """B >= (e1^2 + e2)/(1 + e1)^2 for lower bounds e2 <= e1 of E2 and E1."""
    if (e2 <= e1) is not True:
        _reject("c is beyond the reach of the lattice sums")
    return (e1**2 + e2) / (1 + e1) ** 2


def _cauchy_mass(d: int) -> Interval:
    """phihat(0) = pi^{(d+1)/2}/Gamma((d+1)/2)."""
    return 2 * _iv.pi if d == 2 else _iv.pi**2


def _cauchy_v(c: Fraction, d: int) -> Interval:
    """Jensen's bound; psi is phi at half the radius, E = phihat(0)/2^d.

    The rest of the sum: phi psi <= (2c^2/j^2)^{d+1} where |k|_infinity = j.
    """
    scale = _interval(c)

    def radial(r: Interval) -> Interval:
        x = (r / scale) ** 2
        base = (1 + x) * (1 + x / 4)
        return 1 / (base**2 if d == 3 else base * _iv.sqrt(base))

    rest = 2 * d * 3 ** (d - 1) * (2 * scale**2) ** (d + 1) / ((d + 2) * _iv.mpf(REACH) ** (d + 2))
    return scale**d * _cauchy_mass(d) / 2**d / (1 + _lattice_sum(d, radial) + rest) ** 2


def _cauchy_b(c: Fraction, d: int) -> Interval:
    """B from rho_l = e^{-2 pi c |l|}."""
    rate = -2 * _iv.pi * _interval(c)
    e1 = _lattice_sum(d, lambda r: _iv.exp(rate * r))
    e2 = _lattice_sum(d, lambda r: _iv.exp(2 * rate * r))
    return _b_from_sums(e1, e2)


# Matern with nu = p + 1/2, Laplace for p = 0: phi = P_p(z) e^{-z}, z = sqrt(2 nu)|x|. phi * phi is
# Matern again, with 2 nu + d/2 for nu and the same z. For Laplace in d = 2 that is 2, and 5/2
# serves as an upper bound: the Matern function 2^{1-nu}/Gamma(nu) z^nu K_nu(z) is the mean of
# e^{-z^2/(4T)} with T ~ Gamma(nu), which grows with nu.


@lru_cache(maxsize=16)
def _polynomial(p: int) -> tuple[Fraction, ...]:
    """Coefficients of P_p, from the constant on: p!/(2p)! (2p-i)!/((p-i)! i!) 2^i."""
    scale = Fraction(factorial(p), factorial(2 * p))
    return tuple(
        scale * factorial(2 * p - i) * 2**i / (factorial(p - i) * factorial(i))
        for i in range(p + 1)
    )


@lru_cache(maxsize=16)
def _product(p: int, q: int) -> tuple[Fraction, ...]:
    """Coefficients of P_p P_q."""
    left, right = _polynomial(p), _polynomial(q)
    terms = [Fraction(0)] * (p + q + 1)
    for i, j in product(range(p + 1), range(q + 1)):
        terms[i + j] += left[i] * right[j]
    return tuple(terms)


@lru_cache(maxsize=16)
def _intervals(coefficients: tuple[Fraction, ...]) -> tuple[Interval, ...]:
    return tuple(_interval(a) for a in coefficients)


def _at(coefficients: tuple[Fraction, ...], z: Interval) -> Interval:
    """Value of a polynomial."""
    total = _iv.mpf(0)
    for coefficient in reversed(_intervals(coefficients)):
        total = total * z + coefficient
    return total


@lru_cache(maxsize=16)
def _volume(coefficients: tuple[Fraction, ...], rate: int, p: int, d: int) -> Interval:
    """Integral over R^d of (polynomial in z) e^{-rate z}, z = sqrt(2p+1)|x|."""
    sphere = {1: _iv.mpf(2), 2: 2 * _iv.pi, 3: 4 * _iv.pi}[d]
    powers = (
        a * factorial(i + d - 1) / Fraction(rate) ** (i + d) for i, a in enumerate(coefficients)
    )
    return sphere * _interval(sum(powers, Fraction(0))) / _iv.sqrt(_iv.mpf(2 * p + 1)) ** d


def _matern_v(c: Fraction, p: int, d: int) -> Interval:
    """Jensen's bound; from |k|_infinity = j to j + 1 the rest falls at least by `ratio`."""
    q = 2 if d == 2 else 2 * p + (d + 1) // 2
    s = _iv.sqrt(_iv.mpf(2 * p + 1)) / _interval(c)
    coefficients = _product(p, q)

    def radial(r: Interval) -> Interval:
        return _at(coefficients, s * r) * _iv.exp(-2 * s * r)

    j = REACH + 1
    ratio = (_iv.mpf(j + 1) / j) ** (p + q + d - 1) * _iv.exp(-2 * s)
    if (ratio < 1) is not True:
        _reject("c is beyond the reach of the lattice sums")
    rest = 2 * d * (2 * j + 1) ** (d - 1) * radial(_iv.mpf(j)) / (1 - ratio)
    energy = _volume(_product(p, p), 2, p, d)
    return _interval(c) ** d * energy / (1 + _lattice_sum(d, radial) + rest) ** 2


def _matern_b(c: Fraction, p: int, d: int) -> Interval:
    """B from 1 + E1 = sum_k phi(k/c)/(c^d phihat(0)) by Poisson, and E2 over |l|_infinity <= 2."""
    scale = _interval(c)
    s = _iv.sqrt(_iv.mpf(2 * p + 1)) / scale
    spread = 1 + _lattice_sum(d, lambda r: _at(_polynomial(p), s * r) * _iv.exp(-s * r))
    e1 = spread / (scale**d * _volume(_polynomial(p), 1, p, d)) - 1
    decay = 2 * p + 1 + d  # rho_l^2 = (1 + (2 pi |l|/s)^2)^{-decay}
    e2 = _lattice_sum(d, lambda r: (1 + (2 * _iv.pi * r / s) ** 2) ** -decay, reach=2)
    return _b_from_sums(e1, e2)


# --- one kernel's entry -------------------------------------------------------------------------


def check_entry(entry: object) -> Fraction:
    """Return kappa, the bound that an entry proves.

    Raises:
        RejectedError: The entry is malformed or does not prove its bound; the message says why.
    """
    keys = ("kernel", "dimension", "nu", "method", "lower", "left", "right", "boxes")
    fields = _object(entry, keys, "entry")
    kernel = (fields["kernel"], fields["dimension"], fields["nu"])
    if not _known(kernel) or fields["method"] != EXPECTED[kernel]:
        _reject(f"{_short((*kernel, fields['method']))} is not one of the expected kernels")
    left = _object(fields["left"], ("end", "bound"), "left")
    right = _object(fields["right"], ("start", "bound"), "right")
    boxes = _boxes(fields["boxes"])
    _check_cover(_edge(left["end"]), boxes, _edge(right["start"]))
    B, V = (lru_cache(maxsize=4)(bound) for bound in bounds_of(*kernel))
    proved = [_agree(left["bound"], B(_edge(left["end"])), "left")]
    for number, (lo, hi, bound) in enumerate(boxes):
        proved.append(_agree(bound, B(hi) + V(lo), f"box {number} of {kernel!r}"))
    proved.append(_agree(right["bound"], V(_edge(right["start"])), "right"))
    lower = _number(fields["lower"], "lower")
    if lower != min(proved) or lower <= 0:
        _reject(f"lower is {fields['lower']}; the least of the bounds is {float(min(proved))}")
    return lower


def _known(kernel: tuple[object, object, object]) -> bool:
    """Whether the triple is expected, with the right types: True is not the dimension 1."""
    return type(kernel[1]) is int and any(kernel == known for known in EXPECTED)


def _boxes(boxes: object) -> list[tuple[Fraction, Fraction, object]]:
    if not isinstance(boxes, list) or not boxes:
        _reject("boxes is not a list of at least one box")
    if not all(isinstance(box, list) and len(box) == 3 for box in boxes):
        _reject("a box is not a list [lo, hi, bound]")
    return [(_edge(lo), _edge(hi), bound) for lo, hi, bound in boxes]


def _check_cover(
    start: Fraction, boxes: Sequence[tuple[Fraction, Fraction, object]], end: Fraction
) -> None:
    """Check that the boxes cover [start, end] without a gap."""
    reached = start
    for number, (lo, hi, _) in enumerate(boxes):
        if lo != reached or not lo < hi:
            _reject(f"box {number} is [{lo}, {hi}]; it must begin at {reached} and have a length")
        reached = hi
    if reached != end:
        _reject(f"the boxes end at {reached}, the right part begins at {end}")


def _agree(stated: object, value: Interval, where: str) -> Fraction:
    """Return the stated bound if it is the recomputed value, rounded down to 12 decimals."""
    bound = _number(stated, f"bound of {where}")
    x = _interval(bound)
    if (x + _GUARD <= value) is not True:
        _reject(f"{where}: the bound {stated} is larger than the recomputed {value}")
    if (x + _STEP + _GUARD >= value) is not True:
        _reject(f"{where}: the bound {stated} is not the recomputed {value} rounded down")
    return bound


def _number(text: object, where: str) -> Fraction:
    """Read a decimal number below 10 exactly; no exponents, signs or names of non-numbers."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]\.[0-9]{1,12}", text):
        _reject(f"{where} is {_short(text)}; a string such as '0.25', at most 12 decimals, allowed")
    return Fraction(text)


def _edge(text: object) -> Fraction:
    edge = _number(text, "an edge")
    if edge < Fraction(1, 100):
        _reject(f"an edge is {text}; edges of at least 0.01 are allowed")
    return edge


# --- the whole certificate ----------------------------------------------------------------------


def verify(text: str) -> dict[tuple[str, int, str | None], Fraction]:
    """Return kappa for every kernel of a certificate.

    Raises:
        RejectedError: The certificate does not prove what it says; the message says why.
    """
    entries = check_frame(text)["entries"]
    return {kernel: check_entry(entry) for kernel, entry in zip(EXPECTED, entries, strict=True)}


def check_frame(text: str) -> dict[str, Any]:
    """Return the parsed certificate after all checks but those of each entry's numbers.

    Raises:
        RejectedError: It is no JSON, or has unknown parts, other kernels, or another digest.
    """
    try:
        return _check_frame(_parse(text))
    except RecursionError:
        raise RejectedError("it is nested too deeply") from None


def _check_frame(parsed: object) -> dict[str, Any]:
    keys = ("format", "claim", "statement", "theorem", "snr", "entries", "sha256")
    document = _object(parsed, keys, "the certificate")
    known = {"format": FORMAT, "claim": CLAIM, "statement": STATEMENT, "theorem": THEOREM}
    for key, value in {**known, "snr": "1"}.items():
        if document[key] != value:
            _reject(f"{key} is {_short(document[key])}; it must be {value!r}")
    if document["sha256"] != digest(document):
        _reject("sha256 is not the digest of the certificate")
    _check_kernels(document["entries"])
    return document


def digest(document: Mapping[str, object]) -> str:
    """SHA-256 of everything but the key sha256, as JSON with sorted keys and no spaces."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _check_kernels(entries: object) -> None:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _reject("entries is not a list of objects")
    kernels = [(e.get("kernel"), e.get("dimension"), e.get("nu")) for e in entries]
    if kernels != list(EXPECTED):
        _reject(f"the kernels are not the {len(EXPECTED)} expected ones in their order")


def _parse(text: str) -> object:
    if len(text) > MAX_CHARACTERS:
        _reject(f"it has more than {MAX_CHARACTERS} characters")
    try:
        return json.loads(
            text, object_pairs_hook=_without_twins, parse_float=_no_float, parse_constant=_no_float
        )
    except RejectedError:
        raise
    except ValueError as error:
        raise RejectedError(f"it is not JSON: {error}") from None


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        _reject("an object has the same key twice")
    return fields


def _no_float(text: str) -> NoReturn:
    _reject(f"the number {_short(text)} is not written as a string")


def _object(value: object, keys: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _reject(f"{where} is {_short(value)}; an object is allowed")
    if set(value) != set(keys):
        _reject(f"{where} has the keys {_short(sorted(value))}; it must have {sorted(keys)}")
    return value


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _reject(reason: str) -> NoReturn:
    raise RejectedError(reason)


def check_file(path: Path) -> int:
    """Check a file and report: 0 if it proves what it says, 1 if not, 3 if it cannot be read."""
    try:
        with path.open("rb") as file:
            proved = verify(file.read(4 * MAX_CHARACTERS + 4).decode("utf-8"))
    except OSError as error:
        sys.stderr.write(f"cannot read {path}: {error.strerror}\n")
        return 3
    except (RejectedError, UnicodeDecodeError) as error:
        sys.stdout.write(f"rejected: {error}\n")
        return 1
    for (kernel, dimension, nu), lower in proved.items():
        name = kernel if nu is None else f"{kernel} {nu}"
        sys.stdout.write(f"{name:<11} d = {dimension}   kappa = {float(lower):.12f}\n")
    sys.stdout.write(f"verified: {CLAIM}. {STATEMENT}\n")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run `check_file` on the one argument; 3 if the call makes no sense."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m proofs_check.certificate.verify FILE\n")
        return 3
    return check_file(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
