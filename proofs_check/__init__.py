"""The judge: claims, the evidence for them, and verdicts that are derived and never typed."""
