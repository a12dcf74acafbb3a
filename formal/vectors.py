"""Vectors: definitions of the formal development evaluated by Coq, so that Python can be compared with them.

    python formal/vectors.py              evaluate all and compare with formal/vectors.json
    python formal/vectors.py --record     write formal/vectors.json

Needs `formal/build.sh` to have run. The cases are made here from a fixed seed; `tests/test_formal.py` compares the
recorded values with the kernel, on machines without Coq too.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "formal"
RECORD = HERE / "vectors.json"
HEADER = """From Coq Require Import ZArith List.
From Formal Require Import IntegerSums Relu LemmaE LemmaB Circuit TheoremA TheoremL Rounding Binary Exhaustive.
Import ListNotations.
Open Scope Z_scope.
Definition nats (l : list Z) : list nat := map Z.to_nat l.
Definition zs (l : list nat) : list Z := map Z.of_nat l.
Definition at1 (l : list Z) (i : nat) : Z := nth i l 0.
Definition at2 (l : list (list Z)) (i j : nat) : Z := nth j (nth i l []) 0.
"""

Case = dict[str, Any]


def z(value: Any) -> str:
    """An integer, or lists of them, as Coq writes them."""
    return f"({value})" if isinstance(value, int) else "[" + "; ".join(map(z, value)) + "]"


def cases() -> list[tuple[Case, str]]:
    """Each case: what is recorded but for its value, and the Coq expression of that value (lists of integers)."""
    draw = random.Random(17)  # noqa: S311
    found: list[tuple[Case, str]] = []

    def case(definition: str, expression: str, **arguments: Any) -> None:
        found.append(({"definition": definition, **arguments}, expression))

    def numbers(count: int, size: int) -> list[int]:
        return [draw.randint(-size, size) for _ in range(count)]

    for p, k in ((2, 1), (5, 2), (7, 3), (9, 3), (12, 5), (13, 0)):
        case("LemmaE.order", f"zs (order {z(k)} {p})", p=p, k=k)
    for p, k, size in ((5, 2, 3), (7, 3, 2), (8, 3, 50), (11, 4, 1), (11, 5, 9)):
        a, b = numbers(p, size), numbers(p, size)
        case(
            "LemmaE.rank",
            f"map (fun t => Z.of_nat (rank {p} (at1 {z(a)}) (at1 {z(b)}) (order {z(k)} {p}) t)) (seq 0 {p})",
            p=p, k=k, a=a, b=b,
        )  # fmt: skip
        case(
            "LemmaE.events",
            f"[Z.of_nat (length (events {p} (at1 {z(a)}) (at1 {z(b)}) (order {z(k)} {p})))]",
            p=p, k=k, a=a, b=b,
        )  # fmt: skip
        case("LemmaE.argsort", f"zs (argsort (at1 {z(a)}) {p})", p=p, a=a)
    for p, k, n, size in ((4, 1, 3, 2), (5, 2, 4, 3), (6, 5, 3, 20)):
        a, b, w = [numbers(p, size) for _ in range(n)], [numbers(p, size) for _ in range(n)], numbers(n, 5)
        case(
            "LemmaE.event_sum",
            f"let s := event_sum (seq 0 {n}) {p} (at2 {z(a)}) (at2 {z(b)}) (at1 {z(w)}) {z(k)} in "
            f"map (fun a => map (s a) (seq 0 {p})) (seq 0 {p})",
            p=p, k=k, a=a, b=b, w=w,
        )  # fmt: skip
    for p, q, lanes in ((3, 3, 1), (4, 6, 2), (5, 5, 3)):
        u, row, omega = [numbers(lanes, 1 << 20) for _ in range(q)], numbers(q, 1 << 22), numbers(lanes, 1 << 22)
        term = f"{{| W := at1 {z(row)}; h := 1; LemmaB.ω := at1 {z(omega)} |}}"
        split = f"{lanes} {z(1 << 20)} (at2 {z(u)})"
        case(
            "LemmaB.V", f"map (V {split} {term}) (seq 0 {q})",
            p=p, q=q, lanes=lanes, u=u, row=row, omega=omega,
        )  # fmt: skip
        case("LemmaB.rest", f"[rest {p} {split} {term}]", p=p, q=q, lanes=lanes, u=u, row=row, omega=omega)
        if q > p:
            case("LemmaB.over", f"[over {p} {q} {split} {term}]", p=p, q=q, lanes=lanes, u=u, row=row, omega=omega)
    for n in (1, 4):
        most, ranges, slack, h = ([abs(x) for x in numbers(n, 99)] for _ in range(4))
        radii = [draw.randint(0, 9) for _ in range(4)]
        tail = f"(at1 {z(slack)}) (at1 {z(h)}) {' '.join(map(z, radii))}"
        case(
            "Circuit.κ_units", f"[κ_units (seq 0 {n}) (at1 {z(most)}) {tail}]", most=most, slack=slack, h=h, radii=radii
        )
        case(
            "Circuit.κ_d_units",
            f"[κ_d_units (seq 0 {n}) (at1 {z(ranges)}) {tail}]",
            ranges=ranges, slack=slack, h=h, radii=radii,
        )  # fmt: skip
    for value, bits in ((5, 1), (-5, 1), (7, 3), (-7, 3), (-8, 3), (123456789, 12), (-123456789, 12), (3, 0)):
        case("Rounding.shifted", f"[shifted {z(value)} {z(-bits)}]", number=value, bits=bits)
        if bits:
            case("Rounding.rounded", f"[rounded {z(value)} {z(bits)}]", number=value, bits=bits)
    for _ in range(4):
        x, y = numbers(2, 1 << 30), numbers(2, 1 << 30)
        pair = f"(let r := point_product 30 ({x[0]}, {x[1]}) ({y[0]}, {y[1]}) in [fst r; snd r])"
        case("Rounding.point_product", pair, x=x, y=y)
    for p, a, b, c in ((5, 3, 4, 1), (5, 0, 0, 0), (7, 6, 6, 2), (9, 1, 8, 5)):
        case(
            "TheoremL.ahead",
            f"zs [answer {p} {a} {b}; difference {p} {a} {b}; ahead {p} {a} {b} {c}]",
            p=p, a=a, b=b, c=c,
        )  # fmt: skip
    words = [
        0,
        0x80000000,
        1,
        0x807FFFFF,
        0x00800000,
        0x3F800000,
        0xBF000001,
        0x42F6E979,
        *(draw.randrange(0x7F800000) for _ in range(6)),
    ]
    for word in words:
        case(
            "Binary.decoded",
            f"[decoded 23 8 149 {z(word)}; Z.b2z (in_unit 23 8 149 {z(word)})]",
            mw=23,
            ew=8,
            word=word,
        )
    for word in (0x7F800000, 0xFF800000, 0x7FC00000):
        case("Binary.decoded", f"[0; Z.b2z (in_unit 23 8 149 {z(word)})]", mw=23, ew=8, word=word)
    for word in (0, 1, 0x3FF0000000000000, 0xC05EDD2F1A9FBE77, 0x7FEFFFFFFFFFFFFF):
        case(
            "Binary.decoded",
            f"[decoded 52 11 1074 {z(word)}; Z.b2z (in_unit 52 11 1074 {z(word)})]",
            mw=52,
            ew=11,
            word=word,
        )
    return found


def evaluate(expressions: list[str]) -> list[Any]:
    """What Coq computes them to.

    **Raises** `CalledProcessError` when Coq does not accept one.
    """
    text = HEADER + "\n".join(f"Eval vm_compute in ({x})." for x in expressions)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.v"
        path.write_text(text, encoding="utf-8")
        command = ["coqc", "-w", "none", "-Q", str(BUILD), "Formal", str(path)]
        output = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout  # noqa: S603
    answers = ("\n" + output).split("\n     = ")[1:]
    return [json.loads(x.split("\n     : ")[0].replace(";", ",")) for x in answers]


def computed() -> list[Case]:
    """All cases with the values that Coq finds now."""
    found = cases()
    values = evaluate([expression for _, expression in found])
    return [{**arguments, "value": value} for (arguments, _), value in zip(found, values, strict=True)]


def main() -> None:
    found = computed()
    if "--record" in sys.argv:
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in found)
        RECORD.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    if json.loads(RECORD.read_text(encoding="utf-8")) != found:
        sys.exit("formal: Coq computes other values than those in formal/vectors.json")
    print(f"formal: {len(found)} vectors, as recorded")


if __name__ == "__main__":
    main()
