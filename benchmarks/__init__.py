"""Timing the checker against brute force (docs/benchmarks.md): `make bench`. Not part of the installed package."""
