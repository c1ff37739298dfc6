"""Detecting and steering Gaussian concepts: exact laws of what probes and shifts do."""
