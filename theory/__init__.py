"""What is true: closed forms, their derivations and their certified values.

Each paper is one subpackage (`theory.ridgeless`, …). Importing `theory` loads nothing: SymPy,
mpmath and python-flint come in when a formula is first asked for.
"""
