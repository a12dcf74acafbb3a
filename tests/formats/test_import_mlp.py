"""Networks with one hidden layer: one-hot, concatenated and added embeddings, with and without biases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import verifier
from benchmarks.synthetic import synthetic
from tests.formats.format_samples import PUBLISHED
from verifier.errors import InputError
from verifier.formats import import_file, import_model
from verifier.formats._check import _circuit_logits
from verifier.kernel.model_file import read_model as kernel_read
from verifier.model import FoldedCircuit

P, N, E = 6, 9, 4  # no prime
RELU = {"act_fn": "ReLU"}
FOLDED = ("with its embedding multiplied into its first layer",)


class OneHot(nn.Module):
    """Gromov's network, with ReLU in place of the square."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(2 * P, N, bias), nn.Linear(N, P, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))  # type: ignore[no-any-return]


class Concatenated(nn.Module):
    """Type D of Zhong et al."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.embed, self.unembed, self.l1 = nn.Embedding(P, E), nn.Embedding(P, N), nn.Linear(2 * E, N, bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.l1(self.embed(x).flatten(1))) @ self.unembed.weight.T


class Added(nn.Module):
    """Types A and X of Zhong et al."""

    def __init__(self, separate: bool, bias: bool = True) -> None:
        super().__init__()
        self.embed1 = nn.Embedding(P, E)
        if separate:
            self.embed2 = nn.Embedding(P, E)
        self.l1, self.unembed = nn.Linear(E, N, bias), nn.Embedding(P, N)

    def forward(self, x: Tensor) -> Tensor:
        second = getattr(self, "embed2", self.embed1)
        return torch.relu(self.l1(self.embed1(x[:, 0]) + second(x[:, 1]))) @ self.unembed.weight.T


class Chughtai(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shapes = {"W_x": (P, E), "W_y": (P, E), "W": (2 * E, N), "W_U": (N, P)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, x: Tensor) -> Tensor:
        stacked = torch.hstack((self.W_x[x[:, 0]], self.W_y[x[:, 1]]))  # type: ignore[index]
        return torch.relu(stacked @ self.W) @ self.W_U  # type: ignore[operator]


class TwoArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.net = nn.Embedding(P, E), nn.Sequential(nn.Linear(2 * E, N), nn.ReLU(), nn.Linear(N, P))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(torch.cat([self.emb(a), self.emb(b)], dim=-1))  # type: ignore[no-any-return]


MODULES: dict[str, Any] = {
    "one-hot": OneHot,
    "one-hot with biases": lambda: OneHot(bias=True),
    "concatenated": Concatenated,
    "concatenated, no bias": lambda: Concatenated(bias=False),
    "added": lambda: Added(separate=False),
    "added, no bias": lambda: Added(separate=False, bias=False),
    "added, separate": lambda: Added(separate=True),
    "Chughtai": Chughtai,
    "two arguments": TwoArguments,
}


def logits_of(module: nn.Module, a: int) -> Any:
    tokens = torch.stack([torch.full((P,), a), torch.arange(P)], dim=1)
    with torch.no_grad():
        if isinstance(module, OneHot):
            return module(nn.functional.one_hot(tokens, P).to(module.fc1.weight.dtype)).numpy()
        return (module(*tokens.T) if isinstance(module, TwoArguments) else module(tokens)).numpy()


@pytest.mark.parametrize("case", MODULES)
@pytest.mark.parametrize("double", [False, True])
def test_the_circuit_is_what_the_module_computes(case: str, double: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module: nn.Module = MODULES[case]()
    module = module.double() if double else module
    imported = import_model(module)
    assert isinstance(imported.model, FoldedCircuit)
    assert (imported.format, imported.model.p, imported.model.neurons) == ("mlp", P, N)
    assert imported.assumptions == (() if "one-hot" in case else FOLDED)
    assert imported.check is not None
    assert type(module).__name__ in imported.check.network
    for a in range(P):
        ours = _circuit_logits(imported.model, a)
        assert np.abs(ours - logits_of(module, a)).max() < (1e-13 if double else 1e-5)
    kernel_read(imported.encode())
    torch.save({"state_dict": module.state_dict(), "config": RELU, "loss": 0.1}, tmp_path / "m.pt")
    from_file = import_file(tmp_path / "m.pt")
    assert from_file.circuit_sha256 == imported.circuit_sha256
    assert from_file.model.provenance["source"]["name"] == "m.pt"  # type: ignore[index]
    assert from_file.dropped["loss"]


def test_a_table_without_an_embedding_and_bias_is_taken_as_it_is() -> None:
    module = OneHot()
    circuit = import_model(module.state_dict(), config=RELU).model
    assert isinstance(circuit, FoldedCircuit)
    assert circuit.A.dtype == np.float32
    first = module.fc1.weight.detach().numpy()
    assert np.array_equal(np.hstack([circuit.A, circuit.B]), first)
    assert circuit.S1 is None
    assert circuit.S2 is None


def test_another_activation_is_noticed_where_it_can_be_and_not_guessed_where_not() -> None:
    class Quadratic(OneHot):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.fc1(x.flatten(1)) ** 2)  # type: ignore[no-any-return]

    with pytest.raises(InputError, match="Quadratic: its forward pass gives logits that differ by"):
        import_model(Quadratic())
    with pytest.raises(InputError, match="the activation is not in the file; give the module itself, or a config"):
        import_model(Quadratic().state_dict())
    with pytest.raises(InputError, match="setting act_fn is 'quadratic'; only ReLU is supported"):
        import_model(OneHot().state_dict(), config={"act_fn": "quadratic"})
    assert import_model(OneHot()).notes == ("ReLU is what the module's own forward pass does",)
    assert import_model(Concatenated().state_dict(), config={"model_type": "D"}).assumptions == FOLDED


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in names}


def refusals() -> dict[str, tuple[dict[str, Tensor], dict[str, Any], str]]:
    one_hot, d, group = OneHot().state_dict(), Concatenated().state_dict(), Chughtai().state_dict()
    z = torch.zeros
    return {
        "bilinear": (without(group, "W"), {}, "tensor W is missing: a bilinear network has no ReLU"),
        "second hidden layer": (d | {"l2.weight": z(N, N)}, {}, "tensor l2.weight belongs to a second hidden layer"),
        "three layers": (one_hot | {"fc3.weight": z(P, P)}, {}, "tensor fc3.weight belongs to a second hidden layer"),
        "norm": (one_hot | {"norm.running_mean": z(N)}, {}, "tensor norm.running_mean is left over"),
        "no output layer": (without(d, "unembed.weight"), {}, "a hidden layer and an output layer are needed"),
        "width": (d | {"l1.weight": z(N, 3)}, {}, "the first layer has 3 inputs, neither 4 (embeddings added) nor 8"),
        "neurons": (one_hot | {"fc2.weight": z(P, N + 1)}, {}, "the last layer has 10 inputs, and the hidden layer 9"),
        "bias": (d | {"l1.bias": z(3)}, {}, "the bias of the first layer has the shape [3] for 9 outputs"),
        "p": (one_hot, {"p": 4}, "the first layer has 12 inputs, and two one-hot tokens modulo 4 have 8"),
        "p and embedding": (d, {"p": 7}, "the embeddings have the shapes [6, 4] and [6, 4], for p = 7"),
        "p and configuration": (d, {"p": 5, "config": RELU | {"C": 7}}, "p is 7 in the run's configuration, not 5"),
        "outputs": (one_hot | {"fc2.weight": z(4, N)}, {}, "4 outputs, fewer than p"),
        "half": ({k: v.half() for k, v in d.items()}, {}, "half precision is not supported"),
        "NaN": (
            d | {"l1.bias": z(N) * float("nan")},
            {},
            "tensor l1.bias has a value that is infinite",
        ),
        "products": ({k: v.double() * 1e200 for k, v in d.items()}, {}, "products too large for float64"),
        "attention": (d, {"attention": "1/2"}, "--attention does not apply: the network has no attention"),
        "layers": (d, {"config": RELU | {"n_layers": 2}}, "setting n_layers is 2"),
    }


@pytest.mark.parametrize("case", refusals())
def test_what_is_not_such_a_network_is_refused(case: str) -> None:
    state, options, rule = refusals()[case]
    with pytest.raises(InputError) as caught:
        import_model(state, **{"config": RELU, **options})
    assert rule in str(caught.value)


def test_tokens_to_spare_are_dropped() -> None:
    imported = import_model(Concatenated().state_dict(), config=RELU, p=4)
    assert imported.model.p == 4
    assert imported.model.outputs == P
    assert imported.dropped == {"embedding [4:]": "no input has such a token"}


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"the published checkpoints are not at {PUBLISHED}")
def test_the_published_network_of_type_d() -> None:
    imported = import_file(PUBLISHED / "model_7r4zst7evs.pt")
    assert (imported.model.p, imported.model.neurons, imported.model.outputs) == (59, 256, 59)
    assert imported.assumptions == FOLDED
    assert imported.check is not None
    assert (imported.check.correct, imported.check.own_correct) == (3481, 3481)
    assert imported.check.relative < 1e-12
    config = json.loads((PUBLISHED / "config_7r4zst7evs.json").read_text())
    kernel_read(imported.encode())
    with pytest.raises(InputError, match="the activation is not in the file"):
        import_file(PUBLISHED / "model_7r4zst7evs.pt", config=config | {"model_type": None})
    found = verifier.certify(PUBLISHED / "model_7r4zst7evs.pt")
    assert found.certified == 3481
    assert sum(found.conclusion.operations.values()) < found.conclusion.brute_force


def test_a_module_that_is_wrong_once_is_proved_right_everywhere_else_for_less_than_brute_force() -> None:
    """A one-hot MLP whose last neuron fires at one input alone, where it drowns the answer."""
    p, n, at = 59, 512, (7, 50)
    circuit = synthetic(p, n)
    spoiled = np.full((1, 2 * p), -1.0, dtype=np.float32)
    spoiled[0, [at[0], p + at[1]]] = 0.75
    drowning = np.zeros((p, 1), dtype=np.float32)
    drowning[3] = 100.0
    first, last = nn.Linear(2 * p, n + 1, bias=False), nn.Linear(n + 1, p, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(np.vstack([np.hstack([circuit.A, circuit.B]), spoiled])))
        last.weight.copy_(torch.from_numpy(np.hstack([circuit.W, drowning])))
    module = nn.Sequential(first, nn.ReLU(), last)
    found = verifier.certify(module, at_least=p * p - 1)
    assert found.proved
    assert (found.margins <= 0).sum() == 1
    assert found.margins[at] <= 0
    assert sum(found.conclusion.operations.values()) < found.conclusion.brute_force
    everything = verifier.certify(module)
    assert not everything.proved
    assert everything.wrong is not None
    ((a, b, right, answer, margin),) = everything.wrong.cells
    assert (a, b, right, answer) == (*at, 57, 3)
    assert margin > 100
    exact = everything.attempt.outcome.checked
    assert exact is not None
    assert exact.conclusion.accuracy.strategy == "exact"
    assert sum(exact.conclusion.operations.values()) < exact.conclusion.brute_force
