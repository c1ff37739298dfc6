"""Certificates that others can check: `produce` writes them, `verify` checks them alone."""
