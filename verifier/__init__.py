"""Certified logit bounds and accuracy for one-layer ReLU transformers that add modulo p."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifier.formats import import_file, import_model

__all__ = ["__version__", "import_file", "import_model"]

__version__ = "0.1.0"

_HOMES = {"import_file": "verifier.formats", "import_model": "verifier.formats"}
"""Where the public names live; imported on first use, so that `import verifier` stays light."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
