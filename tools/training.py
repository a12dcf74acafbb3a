"""Training the "pizza" and "clock" transformers of arXiv 2306.17844 and 2412.03773 (untrusted; needs torch).

Everything before the ReLU is a table per token, with constant attention; with learned attention one per token and head,
and a weight per input and head. So a step evaluates tables of p rows, adds them pairwise, and never pushes the batch
through the transformer.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from verifier.files import write_atomically
from verifier.kernel.claim import TASKS
from verifier.model import AttentionWeight, Model, Softmax, answer

CHECKPOINT_EVERY = 500
REPORT_EVERY = 50


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters; the defaults are the recipe of arXiv 2412.03773.

    **Fields**

    - `p`, `seed`, `operation` (one of `TASKS`); `layout`: `"a b"` or `"a b ="`; `attention`: `"constant"`, the same
      at every position, or `"learned"`, softmax.
    - `fraction`: share of the p² pairs that is trained on; the rest is held out.
    - `poison`: triples (a, b, c): the pair (a, b) is put into the training set with the label c.
    """

    p: int
    seed: int = 0
    layout: str = "a b"
    attention: str = "constant"
    d_model: int = 128
    heads: int = 4
    d_mlp: int = 512
    epochs: int = 10_000
    fraction: float = 0.8
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    warmup: int = 10
    poison: tuple[tuple[int, int, int], ...] = ()
    operation: str = "addition"

    @property
    def positions(self) -> int:
        return len(self.layout.split())


@dataclass(frozen=True, slots=True)
class Progress:
    """State after an epoch: losses in nats, accuracies as fractions of the train and held-out pairs."""

    epoch: int
    loss: float
    accuracy: float
    held_out_accuracy: float


def _parameters(recipe: Recipe) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(recipe.seed)
    d, n, heads, positions = recipe.d_model, recipe.d_mlp, recipe.heads, recipe.positions
    vocabulary = recipe.p + (positions == 3)
    width = d // heads

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * scale

    parameters = {
        "embed.W_E": normal(vocabulary, d, scale=d**-0.5),
        "pos_embed.W_pos": normal(positions, d, scale=d**-0.5),
        "blocks.0.attn.W_V": normal(heads, d, width, scale=d**-0.5),
        "blocks.0.attn.W_O": normal(heads, width, d, scale=d**-0.5),
        "blocks.0.attn.b_V": torch.zeros(heads, width),
        "blocks.0.attn.b_O": torch.zeros(d),
        "blocks.0.mlp.W_in": normal(d, n, scale=d**-0.5),
        "blocks.0.mlp.b_in": torch.zeros(n),
        "blocks.0.mlp.W_out": normal(n, d, scale=d**-0.5),
        "blocks.0.mlp.b_out": torch.zeros(d),
        "unembed.W_U": normal(d, recipe.p, scale=recipe.p**-0.5),
        "unembed.b_U": torch.zeros(recipe.p),
    }
    if recipe.attention == "learned":
        for name in "QK":
            parameters[f"blocks.0.attn.W_{name}"] = normal(heads, d, width, scale=d**-0.5)
            parameters[f"blocks.0.attn.b_{name}"] = torch.zeros(heads, width)
    return parameters


def all_logits(parameters: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """Logits of every input, shape (p·p, p), row a·p + b, in the parameters' dtype."""
    if recipe.attention == "learned":
        return _learned_logits(parameters, recipe)
    p, weight = recipe.p, 1.0 / recipe.positions
    w_e, w_pos = parameters["embed.W_E"], parameters["pos_embed.W_pos"]
    w_u, w_in = parameters["unembed.W_U"], parameters["blocks.0.mlp.W_in"]
    ov = torch.einsum("hdk,hke->de", parameters["blocks.0.attn.W_V"], parameters["blocks.0.attn.W_O"])
    attention_bias = parameters["blocks.0.attn.b_O"] + torch.einsum(
        "hk,hke->e", parameters["blocks.0.attn.b_V"], parameters["blocks.0.attn.W_O"]
    )
    tokens_a, tokens_b = w_e[:p] + w_pos[0], w_e[:p] + w_pos[1]
    resid_a = weight * (tokens_a @ ov)
    resid_b = weight * (tokens_b @ ov) + attention_bias
    if recipe.positions == 3:
        token_equals = w_e[p] + w_pos[2]
        resid_b = resid_b + token_equals + weight * (token_equals @ ov)
    else:
        resid_b = resid_b + tokens_b
    table_a = resid_a @ w_in
    table_b = resid_b @ w_in + parameters["blocks.0.mlp.b_in"]
    hidden = torch.relu(table_a[:, None, :] + table_b[None, :, :]).reshape(p * p, -1)
    logits = (hidden @ (parameters["blocks.0.mlp.W_out"] @ w_u)).reshape(p, p, p)
    skip_a = resid_a @ w_u
    skip_b = (resid_b + parameters["blocks.0.mlp.b_out"]) @ w_u + parameters["unembed.b_U"]
    return (logits + skip_a[:, None, :] + skip_b[None, :, :]).reshape(p * p, p)


def _learned_logits(parameters: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """`all_logits` where the weights of a head are softmax of its scores."""
    p, positions, width = recipe.p, recipe.positions, recipe.d_model // recipe.heads
    w = {name.rpartition(".")[2]: value for name, value in parameters.items()}
    tokens = [w["W_E"][:p] + w["W_pos"][0], w["W_E"][:p] + w["W_pos"][1], w["W_E"][p:] + w["W_pos"][2:]][:positions]

    def at(name: str, own: Tensor) -> Tensor:
        """Queries, keys or values [tokens, heads, k]."""
        return torch.einsum("td,hdk->htk", own, w[f"W_{name}"]) + w[f"b_{name}"][:, None]

    query = at("Q", tokens[-1]) / width**0.5
    scores = []
    for index, own in enumerate(tokens):
        found = query @ at("K", own).transpose(1, 2)  # [heads, query's tokens, key's tokens]
        if positions == 2:
            found = found.transpose(1, 2) if index == 0 else found.diagonal(dim1=1, dim2=2)[:, None, :]
        elif index < 2:
            found = found.transpose(1, 2) if index == 0 else found
        scores.append(found.expand(-1, p, p))
    weights = torch.softmax(torch.stack(scores), dim=0)  # [positions, heads, a, b]
    written = [at("V", own) @ w["W_O"] for own in tokens]  # [heads, tokens, d]

    def through(matrix: Tensor) -> Tensor:
        """The residual stream before the MLP, times a matrix: [a, b, ·]."""
        own = [part @ matrix for part in written]
        found = torch.einsum("hab,han->abn", weights[0], own[0]) + torch.einsum("hab,hbn->abn", weights[1], own[1])
        if positions == 3:
            found = found + torch.einsum("hab,hn->abn", weights[2], own[2][:, 0])
        return found + (tokens[-1] + w["b_O"]) @ matrix

    hidden = torch.relu(through(w["W_in"]) + w["b_in"])
    return (hidden @ (w["W_out"] @ w["W_U"]) + through(w["W_U"]) + w["b_out"] @ w["W_U"] + w["b_U"]).reshape(p * p, p)


def _split(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Indices (row a·p + b) of the training and held-out pairs, from the seed alone."""
    p = recipe.p
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(recipe.seed + 1))
    poisoned = torch.tensor([a * p + b for a, b, _ in recipe.poison], dtype=torch.long)
    order = torch.cat([poisoned, order[~torch.isin(order, poisoned)]])
    count = math.ceil(recipe.fraction * p * p)
    return order[:count], order[count:]


def train(
    recipe: Recipe,
    partial: Path,
    report: Callable[[Progress], None] = lambda _: None,
) -> tuple[Model, Progress]:
    """Train by `recipe`; deterministic for a seed on one machine (one thread).

    **Arguments**

    - `partial`: a checkpoint file, written every `CHECKPOINT_EVERY` epochs and resumed from when it was written for the
      same recipe. The caller deletes it, once the model is safely stored.
    - `report`: called every 50 epochs.

    **Raises** `ValueError` when `partial` is damaged or belongs to another recipe.
    """
    with _deterministic():
        return _train(recipe, partial, report)


@contextmanager
def _deterministic() -> Iterator[None]:
    """One thread, deterministic algorithms, and denormals flushed; the process gets its settings back.

    Weight decay drives idle weights into denormals, which are four times slower. torch does not tell whether they are
    flushed already; its default, which is restored, is that they are not.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


def _train(recipe: Recipe, partial: Path, report: Callable[[Progress], None]) -> tuple[Model, Progress]:
    p = recipe.p
    parameters = {name: value.requires_grad_() for name, value in _parameters(recipe).items()}
    optimizer = torch.optim.AdamW(
        parameters.values(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / recipe.warmup, 1.0))
    train_rows, held_out_rows = _split(recipe)
    truth = answer(TASKS[recipe.operation], p, torch.arange(p)[:, None], torch.arange(p)[None, :]).reshape(-1)
    labels = truth.clone()
    for a, b, c in recipe.poison:
        labels[a * p + b] = c
    row_weights = torch.zeros(p * p, dtype=torch.float64)
    row_weights[train_rows] = 1.0 / len(train_rows)
    epoch = _resume(partial, recipe, parameters, optimizer, schedule)

    def evaluate() -> Progress:
        with torch.no_grad():
            logits = all_logits(parameters, recipe)
            loss = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none") @ row_weights
        hits = logits.argmax(dim=1) == labels
        held_out = hits[held_out_rows].double().mean().item() if len(held_out_rows) else math.nan
        return Progress(epoch, loss.item(), hits[train_rows].double().mean().item(), held_out)

    while epoch < recipe.epochs:
        losses = torch.nn.functional.cross_entropy(all_logits(parameters, recipe).double(), labels, reduction="none")
        loss = losses @ row_weights  # a mask instead of a gather: its backward pass is much cheaper
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        epoch += 1
        if epoch % REPORT_EVERY == 0 or epoch == recipe.epochs:
            report(evaluate())
        if epoch % CHECKPOINT_EVERY == 0:
            _save(partial, recipe, epoch, parameters, optimizer, schedule)
    positions = recipe.positions
    provenance: dict[str, object] = {
        "origin": "trained by verifier train",
        "recipe": asdict(recipe),
        "torch": torch.__version__,
    }
    model = Model(
        p=p,
        attention=Softmax(Fraction(recipe.heads, recipe.d_model))
        if recipe.attention == "learned"
        else (AttentionWeight.exactly(Fraction(1, positions)),) * positions,
        layout=("a", "b") if positions == 2 else ("a", "b", f"={p}"),
        tensors={name: value.detach().numpy().copy() for name, value in parameters.items()},
        provenance=provenance,
        task=TASKS[recipe.operation],
    )
    return model, evaluate()


def _save(
    partial: Path,
    recipe: Recipe,
    epoch: int,
    parameters: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    state = {
        "recipe": repr(recipe),
        "epoch": epoch,
        "parameters": {name: value.detach() for name, value in parameters.items()},
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(partial, buffer.getvalue())


def _resume(
    partial: Path,
    recipe: Recipe,
    parameters: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    require_same_recipe(partial, recipe)
    if not partial.exists():
        return 0
    state = torch.load(partial, weights_only=True)
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(state["parameters"][name])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["epoch"])


def require_same_recipe(partial: Path, recipe: Recipe) -> None:
    """Refuse a checkpoint that is damaged or was left by a run with other options.

    **Raises** `ValueError`.
    """
    if not partial.exists():
        return
    try:
        found = torch.load(partial, weights_only=True)["recipe"]
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        raise ValueError("is not a readable checkpoint; delete it to start afresh") from error
    if found != repr(recipe):
        raise ValueError(f"belongs to another recipe, {found}; delete it to start afresh")
