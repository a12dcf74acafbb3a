"""The explainer: a certificate for a folded circuit (untrusted; float64, numpy only)."""

from verifier.explainer.explanation import describe, explain

__all__ = ["describe", "explain"]
