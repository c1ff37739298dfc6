"""Concepts in the layers of a network: probes that detect them, shifts that steer them."""
