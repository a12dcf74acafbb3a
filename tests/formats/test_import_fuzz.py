"""Random damage to what is imported: a refusal in one sentence, or the network itself."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import numpy as np
import pytest
import torch

from tests.formats.format_samples import Lens, as_torch, random_model, random_state
from tests.formats.test_import_mlp import MODULES
from verifier.errors import InputError
from verifier.formats import import_model, zhong
from verifier.formats._check import _circuit_logits
from verifier.kernel.model_file import read_model as kernel_read
from verifier.model import circuit_for, fold

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 5, 7, 10**30, 0.5, float("nan"), float("inf"), "", "relu", "x" * 1000, "59"),
    *([], [1], {}, {"p": 3}, (), set(), b"x", complex(1, 2), object(), np.float64(0.5), np.array([1, 2]), np.array(3)),
    *(torch.tensor(1.0), torch.tensor([1, 2])),
)
SETTINGS = [
    "p",
    "C",
    "n_layers",
    "act_fn",
    "normalization_type",
    "attention_rate",
    "attn_coeff",
    "uniform_attention",
    "use_end_of_sequence",
    "attn_scale",
    "use_attn_scale",
    "attn_scores_soft_cap",
    "d_model",
    "n_heads",
    "d_mlp",
    "eqn_sign",
    "diff_vocab",
    "funcs",
    "model_type",
    "use_linear",
    "dtype",
    "fn_name",
    "seq_len",
    "cfg",
    "positional_embedding_type",
]
OPTIONS: dict[str, tuple[Any, ...]] = {
    "attention": ("1/2", "1/2 1/2", "1", "2/5:3/5", "", "x", "1/3 1/3 1/3"),
    "layout": ("a b", "b a", "a", "a b =4", "a b+5", "a a", "=0 a b", ""),
    "p": (3, 4, 5, 6, 0, -1, 10**9),
    "form": ("native", "mlp", "folded", "zhong", "transformerlens", "?"),
    "round_weights": (True,),
}
NAMES = ("x", "", "A", "W", "W_x", "blocks.1.mlp.W_in", "embed2.weight", "fc3.weight")
DTYPES = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)


def samples() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    torch.manual_seed(0)
    state, config = zhong.to_state_dict(random_model(attention="1"))
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [(dict(random_state(keys=keys)), {}) for keys in (0.0, 0.1)]
    found += [(dict(as_torch(state)), config), (dict(as_torch(fold(random_model()).tensors)), {})]
    return found + [(dict(make().state_dict()), {"act_fn": "relu"}) for make in MODULES.values()]


def damaged(state: dict[str, Any], source: random.Random) -> None:
    name = source.choice(list(state))
    tensor = state[name]
    changes = (
        lambda: state.pop(name),
        lambda: state.update({name: tensor.reshape(-1)}),
        lambda: state.update({name: tensor[..., : max(0, tensor.shape[-1] - source.randrange(3))]}),
        lambda: state.update({name: tensor.to(source.choice(DTYPES))}),
        lambda: state.update({name: source.choice(VALUES)}),
        lambda: state.update({source.choice(NAMES): tensor}),
        lambda: state.update({name: tensor * source.choice((1e30, 1e-30, float("nan"), float("inf"), 0.0))}),
        lambda: state.update({name: tensor.unsqueeze(0)}),
    )
    if isinstance(tensor, torch.Tensor) and tensor.ndim:
        source.choice(changes)()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore")
def test_damage_is_refused_in_one_sentence_or_harmless(seed: int) -> None:
    source = random.Random(seed)
    originals = samples()
    imported = 0
    for _ in range(400):
        state, config = (dict(part) for part in source.choice(originals))
        for _ in range(source.choice((0, 1, 1, 2))):
            damaged(state, source)
        for _ in range(source.choice((0, 0, 1, 2))):
            config[source.choice(SETTINGS)] = source.choice(VALUES)
        options = {name: source.choice(values) for name, values in OPTIONS.items() if source.random() < 0.15}
        run = {"state_dict": state, "cfg": config, "loss": 1.0}
        with contextlib.suppress(InputError):
            result = import_model(run, **options)
            kernel_read(result.encode())
            imported += 1
    assert imported > 20


@pytest.mark.parametrize("seed", range(20))
def test_without_an_assumption_it_is_the_network(seed: int) -> None:
    """Attention of any strength, hooks, and other code: what is imported without a word computes the same."""
    source = random.Random(seed)
    keys = 10 ** source.uniform(-10, 1)
    hook = source.choice((None, None, 0.5, 0.5 + 10 ** source.uniform(-8, -1), 1.0))
    factor = source.choice((1.0, 1.0, 1 + 10 ** source.uniform(-8, -1)))

    class Odd(Lens):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return factor * super().forward(tokens)

    module = Odd(random_state(keys=keys, seed=seed), hook)
    for exact in (False, True):
        network = module.double() if exact else module
        for attention in (None, "1/2", "1"):
            with contextlib.suppress(InputError):
                imported = import_model(network, attention=attention)
                if imported.assumptions:
                    continue
                circuit, run = circuit_for(imported.model.task, imported.model)
                for a in range(5):
                    tokens = torch.stack([torch.full((5,), a), torch.arange(5)], dim=1)
                    with torch.no_grad():
                        theirs = network(tokens)[:, -1].double().numpy()
                    ours = _circuit_logits(circuit, a)
                    if run is not None:
                        ours = run(np.full(5, a), np.arange(5))[1]
                    tolerance = 1e-7 if exact else 1e-4
                    assert np.abs(theirs - ours).max() <= 1.01 * tolerance * np.abs(ours).max() + 1e-12, (keys, hook)
