"""TD3+BC and IQL as single-file JAX programs are written: a process of `updates.py`, in an environment of its own.

Needs jax and optax. Data lie on the device, eight updates are one compiled call, all in float32. Threads are those
that XLA was started with, so the process answers only for the number that it was started for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from worker import random_data, serve

BATCH, UPDATES, SIZES = 256, 8, (256, 256)
ADAM = optax.adam(3e-4)
Tree = Any


def mlp(key: jax.Array, inputs: int, outputs: int) -> list[dict[str, jax.Array]]:
    """Returns the layers of a network."""
    sizes = (inputs, *SIZES, outputs)
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (a, b)) / np.sqrt(a), "b": jnp.zeros(b)}
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(layers: Tree, x: jax.Array) -> jax.Array:
    """Applies a network with ReLUs."""
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def critics(layers: Tree, s: jax.Array, a: jax.Array) -> jax.Array:
    """Applies two critics, stacked by vmap: [2, B]."""
    return jax.vmap(lambda one: apply(one, jnp.concatenate([s, a], -1))[:, 0])(layers)


def descend(loss: Callable[[Tree], jax.Array], params: Tree, state: Tree) -> tuple[Tree, Tree]:
    """Takes one step of Adam."""
    updates, state = ADAM.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


def follow(target: Tree, online: Tree) -> Tree:
    """Moves a target towards its online network."""
    return jax.tree.map(lambda t, o: t + 0.005 * (o - t), target, online)


def td3_plus_bc(agent: Tree, batch: dict[str, jax.Array], key: jax.Array, update_actor: bool) -> Tree:
    """Takes one update."""
    noise = jnp.clip(0.2 * jax.random.normal(key, batch["a"].shape), -0.5, 0.5)
    following = jnp.clip(jnp.tanh(apply(agent["target_pi"], batch["s2"])) + noise, -1, 1)
    target = batch["r"] + batch["d"] * critics(agent["target_q"], batch["s2"], following).min(0)

    def critic_loss(q: Tree) -> jax.Array:
        return jnp.square(critics(q, batch["s"], batch["a"]) - target).mean(1).sum()

    agent["q"], agent["q_state"] = descend(critic_loss, agent["q"], agent["q_state"])
    if not update_actor:
        return agent

    def actor_loss(pi: Tree) -> jax.Array:
        actions = jnp.tanh(apply(pi, batch["s"]))
        values = critics(agent["q"], batch["s"], actions)[0]
        scale = 2.5 / jax.lax.stop_gradient(jnp.abs(values).mean())
        return jnp.square(actions - batch["a"]).mean() - scale * values.mean()

    agent["pi"], agent["pi_state"] = descend(actor_loss, agent["pi"], agent["pi_state"])
    agent["target_pi"] = follow(agent["target_pi"], agent["pi"])
    agent["target_q"] = follow(agent["target_q"], agent["q"])
    return agent


def iql(agent: Tree, batch: dict[str, jax.Array], key: jax.Array, update_actor: bool) -> Tree:
    """Takes one update."""
    data = critics(agent["target_q"], batch["s"], batch["a"]).min(0)

    def value_loss(v: Tree) -> jax.Array:
        errors = data - apply(v, batch["s"])[:, 0]
        return (jnp.where(errors < 0, 0.3, 0.7) * jnp.square(errors)).mean()

    agent["v"], agent["v_state"] = descend(value_loss, agent["v"], agent["v_state"])
    weights = jnp.minimum(jnp.exp(3.0 * (data - apply(agent["v"], batch["s"])[:, 0])), 100.0)

    def actor_loss(pi: Tree) -> jax.Array:
        log_std = jnp.clip(pi["log_std"], -5, 2)
        errors = (batch["a"] - jnp.tanh(apply(pi["mean"], batch["s"]))) / jnp.exp(log_std)
        return (weights * (0.5 * jnp.square(errors) + log_std).sum(-1)).mean()

    agent["pi"], agent["pi_state"] = descend(actor_loss, agent["pi"], agent["pi_state"])
    target = batch["r"] + batch["d"] * apply(agent["v"], batch["s2"])[:, 0]

    def critic_loss(q: Tree) -> jax.Array:
        return jnp.square(critics(q, batch["s"], batch["a"]) - target).mean(1).sum()

    agent["q"], agent["q_state"] = descend(critic_loss, agent["q"], agent["q_state"])
    agent["target_q"] = follow(agent["target_q"], agent["q"])
    return agent


ALGOS = {"td3_plus_bc": td3_plus_bc, "iql": iql}


def make_agent(name: str, key: jax.Array, s: int, a: int) -> Tree:
    """Returns networks, targets and optimizer states."""
    keys = jax.random.split(key, 4)
    q = jax.vmap(lambda k: mlp(k, s + a, 1))(keys[:2])
    pi: Tree = mlp(keys[2], s, a)
    agent = {"q": q, "target_q": q, "q_state": ADAM.init(q)}
    if name == "iql":
        pi, v = {"mean": pi, "log_std": jnp.zeros(a)}, mlp(keys[3], s, 1)
        agent |= {"v": v, "v_state": ADAM.init(v)}
    else:
        agent["target_pi"] = pi
    return agent | {"pi": pi, "pi_state": ADAM.init(pi)}


def make(name: str, n: int = UPDATES) -> Iterator[int]:
    """Takes updates eight at a time; yields each eight."""
    rows = random_data(name)
    ends = rows["terminals"] | rows["timeouts"]
    columns = {
        "s": rows["observations"],
        "a": rows["actions"],
        "r": rows["rewards"],
        "s2": np.roll(rows["observations"], -1, 0),
        "d": 0.99 * ~ends,
    }
    data = {key: jnp.asarray(value, jnp.float32) for key, value in columns.items()}

    @partial(jax.jit, donate_argnums=0)
    def several(agent: Tree, key: jax.Array) -> tuple[Tree, jax.Array]:
        for i in range(UPDATES):
            key, draw, noise = jax.random.split(key, 3)
            index = jax.random.randint(draw, (BATCH,), 0, len(data["r"]))
            agent = ALGOS[name](agent, {k: v[index] for k, v in data.items()}, noise, i % 2 == 1)
        return agent, key

    agent = jax.tree.map(jnp.array, make_agent(name, jax.random.key(0), 11, 3))
    key = jax.random.key(1)
    while True:
        agent, key = several(agent, key)
        jax.block_until_ready(agent)
        yield UPDATES


if __name__ == "__main__":
    serve(make, lambda _: None)
