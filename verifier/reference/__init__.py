"""Independent references: brute force with proved rounding, exact and ball matrices, synthetic circuits (untrusted)."""
