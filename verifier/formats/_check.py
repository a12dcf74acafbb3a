"""What an import compares on every input: the source's own forward pass, and the model that is written.

The source is run as its format defines it, from its own weights in float64, with the softmax of its own queries and
keys; and where a live module was given, the module itself is run, in its own dtype. Logits are compared, not answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.formats._reading import Pattern, Reading
from verifier.formats._state import State
from verifier.formats.mlp import MlpReading
from verifier.model import FoldedCircuit, Position, Softmax, answer, fold, forward, input_tokens, softmax_attention

TOLERANCE = 1e-7
"""Of the largest logit, in float64. Rounding there is 1e-16 to 1e-12 of it, and rounding that logit to float32 once is
6e-8: what is smaller, no execution in float32 can show."""

MODULE_TOLERANCE = {"float32": 1e-4, "float64": TOLERANCE}
"""Of the largest logit, for a live module. Float32 forward passes of these networks differ from exact ones by 1e-7 to
1e-5 of it; another activation, a hook or a forgotten bias by more than this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """How the source's own forward pass compares with the imported model: measured, not proved.

    **Fields**

    - `inputs`: p². `network`: what was run.
    - `difference`: the largest difference of two corresponding logits. `scale`: the largest |logit|.
    - `correct`, `own_correct`: inputs whose largest logit, of all, is the task's answer: in the imported model, and
      in the source's own forward pass.
    - `attention`: the least and the greatest attention weight that the source's weights give; None without attention.
    - `agrees`: whether the two are the same but for rounding; when not, they differ in the attention alone.
    - `weights_agree`: the same of the source's weights, where a module was run.
    - `fixed_by_code`: a module was run, and is clearly nearer to the model than to its own weights.
    """

    inputs: int
    network: str
    difference: float
    scale: float
    correct: int
    own_correct: int
    attention: tuple[float, float] | None
    agrees: bool
    weights_agree: bool
    fixed_by_code: bool = False

    @property
    def relative(self) -> float:
        return _relative(self.difference, self.scale)


def _relative(difference: float, scale: float) -> float:
    return difference / scale if scale else difference


def compare(reading: Reading, state: State, rounded: bool, task: str) -> SelfCheck:
    """Run the networks on every input.

    Where the model holds intervals of attention, it is run with the pattern of the source, which must lie in them.

    **Arguments**

    - `rounded`: weights were rounded to float32 on request, which is no difference.
    - `task`: one of `TASKS`, whose right answers are counted.

    **Raises** `InputError` when the weights were misread, or when no attention explains what a module computes.
    """
    model, module, source = reading.model, state.module, state.source
    declared = () if isinstance(model.attention, Softmax) else model.attention
    circuit, native = (fold(model) if declared else None), forward(model)
    own_softmax = None if declared else softmax_attention(model)
    tensors = {name: tensor.astype(np.float64) for name, tensor in reading.tensors.items()}
    intervals = not all(weight.constant for weight in declared)
    fixed = Pattern(tuple(float(weight.middle) for weight in declared))
    pattern = reading.pattern or fixed
    least = np.array([float(weight.low) for weight in declared])
    most = np.array([float(weight.high) for weight in declared])
    # Of the model: from its source's weights run with its attention, with their own; and the module from both.
    misread = weights = apart = astray = outside = scale = 0.0
    low, high, correct, own_correct = np.inf, -np.inf, 0, 0
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the difference
        for a in range(model.p):
            tokens = input_tokens(model.positions, model.p, a)
            own, attention = reading.forward(tensors, tokens, pattern)
            if own_softmax is not None:
                ours, same = native(tokens, own_softmax(tokens))[1], own
            elif intervals or circuit is None:
                ours, same = native(tokens, attention)[1], own
                outside = np.maximum(outside, np.maximum(least - attention, attention - most).max())
            else:
                ours, same = _circuit_logits(circuit, a), reading.forward(tensors, tokens, fixed)[0]
            theirs = own if module is None else module.logits(tokens, model.outputs)
            misread, weights = _apart(misread, same, ours), _apart(weights, own, ours)
            apart, astray = _apart(apart, theirs, ours), _apart(astray, theirs, own)
            scale = max(scale, float(np.abs(ours).max()))
            low, high = min(low, float(attention.min())), max(high, float(attention.max()))
            correct += _correct(ours, a, model.p, task)
            own_correct += _correct(theirs, a, model.p, task)
    _require_read(misread, scale, source)
    agrees = weights_agree = bool(_relative(weights, scale) <= TOLERANCE and outside <= TOLERANCE)
    network = "the weights, in float64"
    if module is not None:
        network = f"{source} itself, in {module.dtype}"
        tolerance = MODULE_TOLERANCE["float32" if rounded else module.dtype]
        _require_explained(min(apart, astray), astray, scale, tolerance, source)
        # Both may be within the tolerance: then the nearer one is what the module computes.
        agrees = weights_agree or (_relative(apart, scale) <= tolerance and apart <= 2 * astray and outside == 0)
    sizes = (float(apart), scale, correct, own_correct)
    fixed_by_code = module is not None and bool(2 * apart < astray)
    return SelfCheck(model.p**2, network, *sizes, (low, high), agrees, weights_agree, fixed_by_code)


def compare_mlp(reading: MlpReading, state: State, task: str) -> SelfCheck:
    """The same for a network without attention.

    **Raises** `InputError` when the weights were misread, or a module computes something else.
    """
    circuit, module = reading.circuit, state.module
    p, positions = circuit.p, (Position("a", 0), Position("b", 0))
    misread = apart = scale = 0.0
    correct = own_correct = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for a in range(p):
            own, ours = reading.forward(a), _circuit_logits(circuit, a)
            theirs = own
            if module is not None:
                theirs = module.logits(input_tokens(positions, p, a), circuit.outputs, one_hot=p)
            misread, apart = _apart(misread, own, ours), _apart(apart, theirs, ours)
            scale = max(scale, float(np.abs(ours).max()))
            correct += _correct(ours, a, p, task)
            own_correct += _correct(theirs, a, p, task)
    _require_read(misread, scale, state.source)
    network = "the weights, in float64"
    if module is not None:
        network = f"{state.source} itself, in {module.dtype}"
        _require_explained(apart, apart, scale, MODULE_TOLERANCE[module.dtype], state.source)
    return SelfCheck(p * p, network, apart, scale, correct, own_correct, None, agrees=True, weights_agree=True)


def _require_read(misread: float, scale: float, source: str) -> None:
    if not _relative(misread, scale) <= TOLERANCE:
        rule = (
            f"differs from the original's weights, run in float64, by {_relative(misread, scale):.1e} of the largest"
            " logit, more than rounding explains"
        )
        raise InputError(source, "the imported model", rule)


def _require_explained(least: float, astray: float, scale: float, tolerance: float, source: str) -> None:
    if not _relative(least, scale) <= tolerance:
        rule = (
            f"gives logits that differ by {_relative(astray, scale):.1e} of the largest one from those of its own"
            " weights, more than rounding explains: its code does more than the weights say"
        )
        raise InputError(source, "its forward pass", rule)


def _apart(so_far: float, one: Floats, other: Floats) -> float:
    return float(np.maximum(so_far, np.abs(one - other).max()))  # keeps NaN, unlike max


def correct_inputs(reading: Reading, task: str) -> int:
    """How many inputs the source's network gets right."""
    p, total = reading.model.p, 0
    attention = reading.model.attention
    weights = () if isinstance(attention, Softmax) else attention
    fixed = Pattern(tuple(float(weight.middle) for weight in weights))
    with np.errstate(over="ignore", invalid="ignore"):
        for a in range(p):
            tokens = input_tokens(reading.model.positions, p, a)
            total += _correct(reading.forward(reading.tensors, tokens, reading.pattern or fixed)[0], a, p, task)
    return total


def _correct(logits: Floats, a: int, p: int, task: str) -> int:
    return int((logits.argmax(axis=1) == answer(task, p, a, np.arange(p))).sum())


def _circuit_logits(circuit: FoldedCircuit, a: int) -> Floats:
    """Logits of the inputs (a, b), shape (p, outputs)."""
    logits: Floats = circuit.W @ np.maximum(circuit.A[:, a, None].astype(np.float64) + circuit.B, 0.0)
    for skip, columns in ((circuit.S1, slice(a, a + 1)), (circuit.S2, slice(None))):
        if skip is not None:
            logits = logits + skip[:, columns]
    return logits.T
