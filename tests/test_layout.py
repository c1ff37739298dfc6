"""The house: which packages are imported, what they load, and what the repository holds."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("theory", "numerics", "proofs_check", "figures")
HEAVY = ("sympy", "mpmath", "flint", "scipy", "numpy", "torch", "matplotlib", "sklearn")
ALLOWED = {
    *PACKAGES,
    "tests",
    "pyproject.toml",
    "README.md",
    "Makefile",
    "constraints.txt",
    "CITATION.cff",
    "build",
}


def python(code: str) -> str:
    """Run code in a fresh interpreter, outside the checkout."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return run.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_the_checkouts(package):
    assert Path(importlib.import_module(package).__file__).parent == ROOT / package


def test_nothing_shadows_another_module():
    own = {path.stem for path in ROOT.iterdir() if not path.name.startswith(".")}
    clashes = own & (set(sys.stdlib_module_names) | set(HEAVY) | {"hypothesis", "pytest", "rich"})
    assert clashes == set()


def test_top_level_is_fixed():
    entries = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert entries - ALLOWED == set()


@pytest.mark.parametrize("package", ["theory", "theory.ridgeless", "numerics", "figures"])
def test_importing_a_package_loads_nothing_heavy(package):
    loaded = python(f"import sys, {package}; print(*sys.modules)").split()
    heavy = HEAVY if package.startswith("theory") else HEAVY[:3] + HEAVY[5:7]
    assert set(loaded) & set(heavy) == set()


def test_theory_needs_only_its_own_dependencies():
    blocked = ("torch", "matplotlib", "sklearn", "joblib", "rich", "hypothesis", "pytest")
    printed = python(
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from theory.ridgeless import Gaussian, Laplace, Cauchy, Matern, risk, limit_risk, "
        "spline_constant, null_threshold, optimal_bandwidth\n"
        "print(round(limit_risk(Laplace(), 1e9).estimation, 12), spline_constant(2), "
        "null_threshold(Cauchy()), optimal_bandwidth(Gaussian(), 0.5).null, "
        "round(risk(Matern(1.5), 8, 1e-4, {1: 1.0}, 1.0).total, 2))"
    )
    assert printed.split() == ["0.666666666667", "2/3", "1/3", "True", "1.0"]


def test_every_public_name_resolves():
    ridgeless = importlib.import_module("theory.ridgeless")
    assert all(getattr(ridgeless, name) is not None for name in ridgeless.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ridgeless.nonsense


def test_constraints_pin_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {re.fullmatch(r"([\w.-]+)==[\w.]+", line)[1].lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = {
        re.match(r"[\w-]+", requirement)[0].lower()
        for requirement in [*project["dependencies"], *(r for extra in extras for r in extra)]
    } - {project["name"]}
    assert needed <= pinned
