"""Patch-AGOP of convolutional machines in closed form (paper D and this project)."""
