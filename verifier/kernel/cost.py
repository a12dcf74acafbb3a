"""Counting what a check costs, step by step, so that "linear" is a number in the proof."""

from __future__ import annotations

from collections.abc import Callable

Observer = Callable[[str, int, int], None]


class Cost:
    """Arithmetic operations by step: an operation on one ball, or on one exact fixed-point number (one lane).

    A packed operation on v lanes counts v.
    """

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: dict[str, int] = {}

    def add(self, step: str, count: int) -> None:
        self.operations[step] = self.operations.get(step, 0) + count
