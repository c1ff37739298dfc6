"""Weights, gradients and their alignment, measured on networks that are actually trained."""
