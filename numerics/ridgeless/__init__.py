"""Kernel regression with and without ridge on the torus R^d/Z^d, by brute force.

Nothing here knows a spectral density or an alias sum: kernels are sums over images, fits are linear
solves, risks are integrals of squared errors. (The FFT serves to multiply circulant matrices.)
"""

from .designs import grid, jittered_grid, uniform_design
from .high_precision import HighPrecisionRisk, exact_risk_mp, periodised_mp
from .interpolation import Fit, SingularSystemError, fit, kernel_matrix, predict
from .periodic import PeriodicKernel, periodised, truncation_error
from .profiles import Profile
from .risk import Risk, exact_risk
from .simulation import design_errors, design_risk, monte_carlo_risk, squared_errors

__all__ = [
    "Fit",
    "HighPrecisionRisk",
    "PeriodicKernel",
    "Profile",
    "Risk",
    "SingularSystemError",
    "design_errors",
    "design_risk",
    "exact_risk",
    "exact_risk_mp",
    "fit",
    "grid",
    "jittered_grid",
    "kernel_matrix",
    "monte_carlo_risk",
    "periodised",
    "periodised_mp",
    "predict",
    "squared_errors",
    "truncation_error",
    "uniform_design",
]
