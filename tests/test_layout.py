"""The house: which packages are imported, what they load, and what the repository holds."""

import importlib
import re
import subprocess
import sys
import tomllib
import types
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


@pytest.mark.parametrize(
    "package",
    [
        "theory",
        "theory.ridgeless",
        "theory.alignment",
        "theory.rfm",
        "theory.convolution",
        "theory.collapse",
        "theory.concepts",
        "numerics",
        "numerics.alignment",
        "numerics.concepts",
        "figures",
    ],
)
def test_importing_a_package_loads_nothing_heavy(package):
    loaded = python(f"import sys, {package}; print(*sys.modules)").split()
    heavy = HEAVY if package != "figures" and package != "numerics" else HEAVY[:3] + HEAVY[5:7]
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


def test_formulas_of_alignment_need_no_torch():
    printed = python(
        "import sys; sys.modules['torch'] = None\n"
        "from theory.alignment import activation_kernel, alignment_bound, balanced_exponent, "
        "early_time, expected_alignment, high_dimensional_alignment, linear_modes\n"
        "net = early_time([[1, 0], [1, 1]], [1, 1], [[1, 0], [0, 1]], [1, 1], 'quadratic')\n"
        "print(alignment_bound(4), balanced_exponent(3, 1), round(net.centred_correlation, 6), "
        "round(high_dimensional_alignment(1.0, 'constant') ** 2 * 22, 12))"
    )
    assert printed.split() == ["0.8", "1/3", "1.0", "21.0"]


@pytest.mark.parametrize(
    "package",
    [
        "theory.ridgeless",
        "theory.alignment",
        "theory.rfm",
        "theory.convolution",
        "theory.collapse",
        "theory.concepts",
        "numerics.alignment",
        "numerics.rfm",
        "numerics.convolution",
        "numerics.collapse",
        "numerics.concepts",
    ],
)
def test_every_public_name_resolves_and_no_module_shadows_it(package):
    module = importlib.import_module(package)
    for file in sorted(Path(module.__file__).parent.glob("*.py")):
        importlib.import_module(f"{package}.{file.stem}" if file.stem != "__init__" else package)
    for name in module.__all__:
        assert not isinstance(getattr(module, name), types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = module.nonsense


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
