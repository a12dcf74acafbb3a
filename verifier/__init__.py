"""Certified logit bounds and accuracy for one-layer ReLU networks that compute modulo p.

import verifier
found = verifier.certify(model)   # a module, a state dict, tables, or a path
found.margins, found.wrong, found.save("certificates")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifier.api import Certification, certify, explain, verify
    from verifier.errors import InputError, VerifierError
    from verifier.formats import import_file, import_model
    from verifier.sweeps import sweep

__all__ = [
    "Certification",
    "InputError",
    "VerifierError",
    "__version__",
    "certify",
    "explain",
    "import_file",
    "import_model",
    "sweep",
    "verify",
]

__version__ = "0.2.0"

_HOMES = {
    "Certification": "verifier.api",
    "certify": "verifier.api",
    "explain": "verifier.api",
    "verify": "verifier.api",
    "InputError": "verifier.errors",
    "VerifierError": "verifier.errors",
    "import_file": "verifier.formats",
    "import_model": "verifier.formats",
    "sweep": "verifier.sweeps",
}
"""Where the public names live; imported on first use, so that `import verifier` stays light."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
