"""The output lemma: what each neuron writes, split into the output frequencies and a bounded rest (docs/theory.md §4).

For output frequencies J, W[i][c] = m_i + Σ_j Re(ω_ij·e(jc/p)) + V[i][c] for c < p. The coefficients ω are the
kernel's own rounded least-squares fit. Any values would be sound in logits and margins, because V is recomputed
exactly from them; `network_error` alone (docs/theory.md §3) rests on how near they are to the Fourier coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from verifier.kernel.balls import integer_product
from verifier.kernel.cost import Cost
from verifier.kernel.limits import OUT_BITS, TABLE_BITS
from verifier.kernel.packing import pack, require_capacity, unpack
from verifier.kernel.tables import circle

ROUGH_BITS = 20  # of the table the fit uses; it only has to be nearly optimal


@dataclass(frozen=True, slots=True)
class Split:
    """One row of outputs (a neuron's, or a skip's) split by the output lemma, in units of the row's `scale`.

    **Fields**

    - `omega`: (re, im) of ω_j for j in J; `size`: upper bounds of |ω_j|.
    - `rest`: upper bound of the range over c < p of V.
    - `over`: lower bound of the least, over c < p and outputs c' >= p, of m + V[c] − W[c']; 0 if there are no such
      outputs.
    """

    omega: tuple[tuple[int, int], ...]
    size: tuple[int, ...]
    rest: int
    over: int


@dataclass(frozen=True, slots=True)
class Splitter:
    """Tables for splitting rows of q outputs at the frequencies J; `drop` bits fewer than the row's units."""

    p: int
    frequencies: tuple[int, ...]
    drop: int

    def split(self, rows: list[list[int]], cost: Cost, step: str) -> list[Split]:
        """Split every row (q integers below 2^26) into `Split`s in units 2^drop times coarser than the rows'.

        For drop >= 8 each part of an ω is within 1.51 units of that of the Fourier coefficient: one unit for the
        quotient rounded down and 2·2^26·(2^-20 + 2^-30) <= 0.51·2^8 for the rough table.
        """
        p, drop = self.p, self.drop
        cosines, sines = circle(p).cosines, circle(p).sines
        shift = TABLE_BITS - ROUGH_BITS
        orders = [[j * c % p for c in range(p)] for j in self.frequencies]
        rough = [
            value
            for c in range(p)
            for order in orders
            for value in (cosines[order[c]] >> shift, -sines[order[c]] >> shift)
        ]
        width = 2 * len(orders)
        sums = integer_product([x for row in rows for x in row[:p]], rough, len(rows), p, width)
        divisor = p << (ROUGH_BITS - 1 + drop)
        waves = [(pack(cosines[m] for m in order), pack(-sines[m] for m in order)) for order in orders]
        result = []
        for index, row in enumerate(rows):
            fit = [x // divisor for x in sums[index * width : (index + 1) * width]]
            result.append(self._split_row(row, fit, waves))
        cost.add(step, len(rows) * p * (2 * width + 4))
        return result

    def _split_row(self, row: list[int], fit: list[int], waves: list[tuple[int, int]]) -> Split:
        """Output lemma for one row.

        The packed rest is off by at most Σ(|re| + |im|) table units per entry, added to both ends of its range.
        """
        p, lift = self.p, TABLE_BITS - self.drop
        slack = sum(map(abs, fit)) + 1
        require_capacity((max(map(abs, row)) << lift) + (slack << TABLE_BITS), "output weights")
        rest = pack(row[:p]) << lift
        for (cosine, sine), re, im in zip(waves, fit[::2], fit[1::2], strict=True):
            rest -= re * cosine + im * sine
        values = unpack(rest, p)
        low, high = min(values) - slack, max(values) + slack
        beyond = row[p:]
        over = (low - (max(beyond) << lift)) >> TABLE_BITS if beyond else 0
        omega = tuple(zip(fit[::2], fit[1::2], strict=True))
        return Split(
            omega=omega,
            size=tuple(isqrt(re * re + im * im) + 1 for re, im in omega),
            rest=-((low - high) >> TABLE_BITS),
            over=over,
        )


def drop_for(neurons: int) -> int:
    """How many bits the output coefficients leave out, so that sums over all neurons fit a lane."""
    return max(OUT_BITS - 18, OUT_BITS + neurons.bit_length() - 31)
