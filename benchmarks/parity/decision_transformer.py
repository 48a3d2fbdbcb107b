"""Decision Transformer: outputs, loss and gradient of the transformer; d3rlpy's constants are set as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import d3rlpy
import torch
from common import Compared, loss_of
from d3rlpy.algos import DecisionTransformerConfig
from d3rlpy.torch_utility import TorchTrajectoryMiniBatch
from torch import Tensor, nn

from offlinekit.algos import DecisionTransformer
from offlinekit.sampling.batch import TrajectoryBatch
from offlinekit.testing import small_dataset

WINDOWS, CONTEXT, WIDTH, HEADS, LAYERS, TIMES = 7, 6, 16, 2, 2, 40
LOSS = "d3rlpy adds up over action dimensions and divides by all places of the windows, the padded ones too"
SIZES = {"width": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "context": CONTEXT, "max_timestep": TIMES}


def compare() -> Iterator[Compared]:
    """Yields outputs in the real steps, the loss, and loss and gradient over the same number of places."""
    ours, peers = make(DecisionTransformer, DecisionTransformerConfig)
    copy_transformer(ours.policy, peers._modules.transformer)
    batch = make_windows(padded=True)
    outputs = peers_outputs(peers, batch)
    yield Compared("actions", ours.best_of(ours.outputs(batch))[batch.valid], outputs[batch.valid])
    loss, theirs = loss_of(ours.compute_actor_loss(batch)), peers.compute_loss(as_peers(batch))
    yield Compared("actor loss", loss, theirs, LOSS)
    rescaled = theirs * batch.valid.numel() / batch.valid.sum() / batch.actions.shape[-1]
    yield Compared("actor loss, rescaled", loss, rescaled)
    yield Compared("actor gradient, rescaled", *gradients(ours, peers, loss, rescaled))


def make(
    front: Any, config: Any, ours: dict[str, Any] | None = None, peers: dict[str, Any] | None = None
) -> Any:
    """Makes implementations of one size without dropout; d3rlpy's norms and embeddings become as ours."""
    settings = {**SIZES, "dropout": 0.0, "return_scale": 1.0, "seed": 0, "device": "cpu", **(ours or {})}
    impl = front(**settings).build(small_dataset(front.action_kind)).impl.train()
    factory = d3rlpy.models.VectorEncoderFactory([WIDTH])
    names = ("actor_encoder_factory", "encoder_factory")
    given = {name: factory for name in names if name in config.__dataclass_fields__}
    algo = config(
        **given,
        num_heads=HEADS,
        num_layers=LAYERS,
        context_size=CONTEXT,
        max_timestep=TIMES,
        attn_dropout=0.0,
        resid_dropout=0.0,
        embed_dropout=0.0,
        **(peers or {}),
    ).create(device="cpu:0")
    algo.create_impl((4,), 3 if front.action_kind == "discrete" else 2)
    transformer = algo.impl._modules.transformer
    transformer._encoder = nn.Linear(4, WIDTH)  # d3rlpy's encoder ends with a ReLU.
    for module in transformer.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5  # GPT-2's; d3rlpy has 3e-3.
    generator = torch.Generator().manual_seed(1)
    for parameter in impl.policy.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return impl, algo.impl


def arranged(policy: Any, of: Callable[[nn.Parameter], Tensor]) -> list[Tensor]:
    """Returns what belongs to our parameters, such as their gradients, in the order of `peers_parameters`.

    Our keys have no bias: of d3rlpy's no output depends.
    """
    found: list[Tensor] = []
    for block in policy.transformer.blocks:
        attention = block.attention
        weights, biases = of(attention.inputs.weight).chunk(2), of(attention.inputs.bias).chunk(2)
        found += [weights[0], biases[0], of(attention.keys.weight), torch.zeros(WIDTH), weights[1], biases[1]]
        for module in (attention.outputs, block.mlp[0], block.mlp[2], *block.norms):
            found += [of(module.weight), of(module.bias)]
    for module in (policy.transformer.norm, policy.condition, policy.observation.mlp.layers[0]):
        found += [of(module.weight), of(module.bias)]
    for module in (policy.action, policy.head, *([policy.norm] if hasattr(policy, "norm") else [])):
        found += [of(parameter) for parameter in module.parameters()]
    return found


def peers_parameters(transformer: Any) -> list[nn.Parameter]:
    """Returns d3rlpy's parameters, but for those of positions."""
    modules: list[nn.Module] = []
    for block in transformer._gpt2._transformer:
        attention, mlp = block._attention, block._mlp
        modules += [attention._q, attention._k, attention._v, attention._proj, mlp._l1, mlp._l2]
        modules += [block._layer_norm1, block._layer_norm2]
    modules += [transformer._gpt2._layer_norm, transformer._rtg_embed, transformer._encoder]
    modules += [transformer._action_embed, transformer._output]
    modules += [transformer._embed_ln] if hasattr(transformer, "_embed_ln") else []
    return [parameter for module in modules for parameter in module.parameters()]


@torch.no_grad()
def copy_transformer(policy: Any, transformer: Any) -> None:
    """Copies our transformer; d3rlpy counts timesteps from 1."""
    for own, theirs in zip(arranged(policy, lambda p: p), peers_parameters(transformer), strict=True):
        theirs.copy_(own)
    if hasattr(policy, "norm"):
        transformer._position_encoding._embed.weight[1 : 1 + TIMES].copy_(policy.time.weight)


def gradients(ours: Any, peers: Any, loss: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both gradients, flat and in one order."""
    own = list(ours.policy.parameters())
    found = dict(zip(map(id, own), torch.autograd.grad(loss, own, retain_graph=True), strict=True))
    mine = arranged(ours.policy, lambda parameter: found[id(parameter)])
    other = torch.autograd.grad(theirs, peers_parameters(peers._modules.transformer), retain_graph=True)
    return torch.cat([g.flatten() for g in mine]), torch.cat([g.flatten() for g in other])


def make_windows(padded: bool, discrete: bool = False, ended: bool = False) -> TrajectoryBatch:
    """Makes random windows, padded on the left where asked; `ended` ones end the MDP in every third."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(WINDOWS, CONTEXT, *shape, generator=generator)

    lengths = torch.arange(WINDOWS) % CONTEXT + 1 if padded else torch.full((WINDOWS,), CONTEXT)
    valid = torch.arange(CONTEXT) >= CONTEXT - lengths[:, None]
    actions = torch.randint(3, (WINDOWS, CONTEXT), generator=generator) if discrete else normal(2).tanh()
    steps = torch.arange(CONTEXT) + torch.arange(WINDOWS)[:, None]
    terminals = torch.zeros_like(valid)
    terminals[::3, -1] = ended
    columns = [normal(4), actions, normal(), normal(), terminals, steps]
    blank = [
        torch.where(valid.view(*valid.shape, *[1] * (c.ndim - 2)), c, torch.zeros_like(c)) for c in columns
    ]
    return TrajectoryBatch(*blank, valid)  # type: ignore[arg-type]  # Of a list of columns.


def as_peers(batch: TrajectoryBatch) -> TorchTrajectoryMiniBatch:
    """Returns a batch as d3rlpy takes it."""
    discrete = batch.actions.ndim == 2
    return TorchTrajectoryMiniBatch(
        observations=batch.observations,
        actions=batch.actions.unsqueeze(-1) if discrete else batch.actions,
        rewards=batch.rewards.unsqueeze(-1),
        returns_to_go=batch.returns_to_go.unsqueeze(-1),
        terminals=batch.terminals.float().unsqueeze(-1),
        timesteps=(batch.timesteps + 1) * batch.valid,
        masks=batch.valid.float(),
        device="cpu:0",
    )


def peers_outputs(peers: Any, batch: TrajectoryBatch) -> Any:
    """Returns what d3rlpy's transformer gives."""
    given = as_peers(batch)
    return peers._modules.transformer(
        given.observations, given.actions, given.returns_to_go, given.timesteps, 1 - given.masks
    )
