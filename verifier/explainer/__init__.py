"""The explainer: a certificate for a folded circuit (untrusted; float64, numpy only)."""

from verifier.explainer.explanation import Figures, describe, explain, figures

__all__ = ["Figures", "describe", "explain", "figures"]
