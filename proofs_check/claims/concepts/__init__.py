"""Paper A's slice: detecting and steering concepts."""

from . import aggregation, auc, bayes, control, detection, product, steering

CLAIMS = (
    *bayes.CLAIMS,
    *auc.CLAIMS,
    *aggregation.CLAIMS,
    *steering.CLAIMS,
    *product.CLAIMS,
    *detection.CLAIMS,
    *control.CLAIMS,
)
