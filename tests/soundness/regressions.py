"""Inputs that once broke the kernel."""

from __future__ import annotations

from tests.strategies import ONE, Case


def huge_skip() -> tuple[bytes, bytes, bytes]:
    """Skips of ordinary size above neurons of 2^-100: beyond every lane."""
    A = [[x * 2.0**-100 for x in row] for row in ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])]
    W = [[1.5, 0.5, 0.5], [0.5, 1.5, 0.5]]
    S = [[1.25] * 3 for _ in range(3)]
    family = {
        "frequency": 1,
        "dc": 0,
        "profile": [[ONE, 0, ONE, 0]],
        "shells": [],
        "members": [[0, 1, 0], [1, 1, 1 << 31]],
    }
    certificate = {
        "format": "verifier-certificate/1",
        "p": 3,
        "neurons": 2,
        "cells": 4,
        "output_frequencies": [1],
        "critical_offsets": 2,
        "amplitude_exponent": -100,
        "families": [family],
        "outliers": [],
        "on": [],
        "off": [],
        "boxes": [{"frequency": 1, "whole": 0, "half": 0}],
    }
    return Case(3, A, A, W, S, S, False, certificate).files()
