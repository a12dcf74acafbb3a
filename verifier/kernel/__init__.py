"""The trusted kernel: flint and the standard library, nothing else. `check` is the one way in."""

from verifier.kernel.check import check
from verifier.kernel.conclusion import Conclusion, Dyadic
from verifier.kernel.reasons import Reason, Rejected

__all__ = ["Conclusion", "Dyadic", "Reason", "Rejected", "check"]
