"""Pictures of what is true and of what happens: theory as lines, numerics as points, one axis.

`python -m figures [names] [--out DIR]` draws them. Importing `figures` loads nothing.
"""
