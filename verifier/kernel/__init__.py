"""The trusted kernel: flint, exact integers of numpy and scipy.sparse, and the standard library. `check` is the one
way in."""

from verifier.kernel.check import Checked, Evidence, check
from verifier.kernel.conclusion import Conclusion, Dyadic
from verifier.kernel.reasons import Reason, Rejected

__all__ = ["Checked", "Conclusion", "Dyadic", "Evidence", "Reason", "Rejected", "check"]
