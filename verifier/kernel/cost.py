"""Counting what a check costs, step by step, so that "linear" is a number in the proof."""

from __future__ import annotations

from collections.abc import Callable

Observer = Callable[[str, int, int], None]


class Cost:
    """Operations on exact integers by step: a multiply-add, an addition or a comparison of two numbers counts one."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: dict[str, int] = {}

    def add(self, step: str, count: int) -> None:
        self.operations[step] = self.operations.get(step, 0) + count
