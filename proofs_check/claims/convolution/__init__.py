"""Paper D's slice: convolutional networks and recursive feature machines."""

CLAIMS = ()
