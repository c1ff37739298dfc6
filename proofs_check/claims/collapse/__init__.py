"""Paper B's slice: the AGOP and deep neural collapse."""

CLAIMS = ()
