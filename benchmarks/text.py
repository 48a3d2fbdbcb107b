"""What offline RL for text learns where the optimum is known, in seeds: random walks and Wordle with twenty words.

    python benchmarks/text.py --seeds 3

Appends a row to benchmarks/results/text.csv as each run is done, and goes on from there when started again; `--speed`
compares tokens a second with a plain loop of PyTorch. One thread; a run takes some minutes.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from offlinekit.algos import ILQL, TextBC
from offlinekit.core.bases.text_model import TextModel
from offlinekit.datasets import MDPDataset, get_dataset, text_dataset
from offlinekit.envs.text import RandomWalks, Wordle, play, returns_of
from offlinekit.envs.text.wordle import WORDS

RESULTS = Path(__file__).parent / "results" / "text.csv"
COLUMNS = ("task", "policy", "seed", "measure", "value")
QUIET = {"out": None, "progress": False}
SIZES = {
    "random-walks": {"n_layers": 1, "n_heads": 2, "width": 48, "max_length": 20, "learning_rate": 2e-3},
    "wordle-20": {
        **{"n_layers": 1, "n_heads": 2, "width": 64, "max_length": 40, "batch_size": 32},
        "learning_rate": 3e-3,
    },
}
COMMON = {"lr_schedule": "cosine", "device": "cpu"}
VALUES = {
    "random-walks": {"expectile": 0.7, "alpha": 3e-3, "tau": 0.02},
    "wordle-20": {"expectile": 0.8, "alpha": 1e-2, "tau": 0.05},
}
STEPS = {"random-walks": (500, 4_000), "wordle-20": (1_500, 2_000)}
"""Updates of cloning, and of ILQL."""
N_WALKS = 80_000
BETAS = (0.0, 1.0, 4.0, 8.0, 16.0, 64.0)


def learned_from(task: str) -> MDPDataset:
    """Returns the data of a task, of random walks more than are packaged.

    Exact values are those of all walks, and the model sees the letters of a walk, not only the node it has come to: of
    20,000 walks many a history is there once, and values learn what came of that one.
    """
    walks = RandomWalks()
    if task == "random-walks":
        return text_dataset(walks.dialogues(N_WALKS), tokenizer=walks.tokenizer, name=task)
    return get_dataset(task)[0]


def learned(task: str, cloning: bool, seed: int) -> TextModel:
    """Returns a model that has learned a task."""
    dataset = learned_from(task)
    sizes = {**SIZES[task], **COMMON, "seed": seed}
    algo = TextBC(**sizes) if cloning else ILQL(**sizes, **VALUES[task])
    return algo.fit(dataset, STEPS[task][not cloning], **QUIET)


def walked(algo: TextModel, task: RandomWalks, **decoding: object) -> float:
    """Returns the mean optimality of the walks that a model says, one from each node."""
    starts = list(task.letters[1:])
    return float(
        np.mean(
            [task.optimality(s + t) for s, t in zip(starts, algo.respond(starts, **decoding), strict=True)]
        )
    )


def guessed(algo: TextModel, n_rounds: int = 1, **decoding: object) -> float:
    """Returns the mean number of guesses of a model over all secrets; seven where six were not enough."""
    games = [Wordle(secret=word) for _ in range(n_rounds) for word in WORDS]
    played = play(lambda dialogues: algo.respond(dialogues, max_tokens=1, **decoding), games)
    return 1.0 - float(returns_of(played).mean())


def value_errors(algo: ILQL, task: RandomWalks, n_walks: int = 500) -> dict[str, float]:
    """Returns how far V and Q are from exact ones, token by token, on walks that were not learned from.

    Visits are how often the data come to a letter at a place of the walk, which is what the exact values depend on.
    """
    exact = task.exact_values(algo.expectile, algo.gamma)
    walks = task.walks(n_walks, seed=99)
    rows = [{"prompt": w[0], "response": w[1:], "reward": task.worth(w)} for w in walks]
    visits = Counter(place for walk in task.walks(N_WALKS) for place in enumerate(walk, 1))
    errors: dict[str, list[float]] = {"V": [], "Q": []}
    seen: list[int] = []
    learned_values = token_values(algo, text_dataset(rows, tokenizer=algo.tokenizer))
    for walk, values, outputs in zip(walks, *learned_values, strict=True):
        nodes = [task.letters.index(letter) for letter in walk]
        states = [exact[node, length] for length, node in enumerate(nodes, 1)]
        actions = [
            *(algo.gamma * v for v in states[1:]),
            states[-1],
        ]  # The end of a walk earns what it is worth.
        errors["V"] += list(np.abs(values - states))
        errors["Q"] += list(np.abs(outputs - actions))
        seen += [visits[place] for place in enumerate(walk, 1)]
    measures = {"mean": np.mean, "99 % below": lambda e: np.quantile(e, 0.99), "largest": np.max}
    found = {f"error of {n}, {m}": float(f(e)) for n, e in errors.items() for m, f in measures.items()}
    found |= {f"visits of the largest error of {n}": float(seen[np.argmax(e)]) for n, e in errors.items()}
    return {**found, "visits, fewest": float(min(seen))}


def token_values(algo: ILQL, dataset: MDPDataset) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns V and the mean Q of the agent's tokens in each dialogue."""
    values, outputs = algo.value_rows(dataset)
    ends = dataset.episode_ends[:-1]
    parts = [np.split(column, ends) for column in (values, outputs, dataset.extras["is_action"])]
    chosen = list(zip(*parts, strict=True))
    return [v[own] for v, _, own in chosen], [q[own] for _, q, own in chosen]


def measures(task: str, seed: int) -> Iterator[tuple[str, str, float]]:
    """Yields policy, measure and value of the runs of one seed."""
    began = time.process_time()
    cloned, steered = (learned(task, cloning, seed) for cloning in (True, False))
    assert isinstance(steered, ILQL)
    yield "both", "CPU seconds", time.process_time() - began
    policies = {"cloning, greedy": (cloned, {}), "cloning, drawn": (cloned, {"method": "sample"})}
    policies |= {f"ILQL, beta {beta:g}": (steered, {"beta": beta}) for beta in BETAS}
    policies |= {
        f"ILQL, beta {beta:g}, drawn": (steered, {"beta": beta, "method": "sample"}) for beta in BETAS
    }
    policies["ILQL, beta 16, beam"] = (steered, {"beta": 16.0, "method": "beam"})
    for policy, (algo, decoding) in policies.items():
        n_rounds = 20 if "method" in decoding and decoding["method"] == "sample" else 1
        if task == "random-walks":
            rounds = [walked(algo, RandomWalks(), **decoding) for _ in range(n_rounds)]
            yield policy, "optimality", float(np.mean(rounds))
        elif "beam" not in policy:
            yield policy, "guesses", guessed(algo, min(n_rounds, 5), **decoding)
    if task == "random-walks":
        for measure, value in value_errors(steered, RandomWalks()).items():
            yield "ILQL", measure, value


def of_data(task: str) -> tuple[str, float, float]:
    """Returns the measure of a task, that of its data and the best there is."""
    if task == "random-walks":
        walks = RandomWalks()
        return "optimality", float(np.mean([walks.optimality(walk) for walk in walks.walks(5_000)])), 1.0
    dataset, _ = get_dataset(task)
    return "guesses", 1.0 - float(dataset.episode_returns().mean()), Wordle().optimum()


def speed(n_updates: int = 60) -> dict[str, float]:
    """Returns how many tokens, the environment's included, cloning reads in a CPU second, by us and by a plain loop."""
    dataset, _ = get_dataset("wordle-20")
    algo = TextBC(**{**SIZES["wordle-20"], **COMMON}, seed=0).build(dataset)
    sampler = algo.make_sampler(dataset)
    batches = [sampler.sample() for _ in range(n_updates)]
    n_tokens = sum(int(batch.valid.sum()) for batch in batches)
    algo.impl.train()
    found = {}
    for name, update in (("offlinekit", algo.impl.update), ("plain loop", plain_update(len(algo.tokenizer)))):
        update(batches[0])
        began = time.process_time()
        for batch in batches:
            update(batch)
        found[name] = n_tokens / (time.process_time() - began)
    return found


def plain_update(n_tokens: int):
    """Returns one update of a language model of the same size in PyTorch's own layers."""
    size = SIZES["wordle-20"]
    width, length = size["width"], size["max_length"]
    layer = torch.nn.TransformerEncoderLayer(
        width, size["n_heads"], 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    )
    layers = torch.nn.TransformerEncoder(layer, size["n_layers"], torch.nn.LayerNorm(width), False)
    table, places, head = (
        torch.nn.Embedding(n_tokens, width),
        torch.nn.Embedding(length, width),
        torch.nn.Linear(width, n_tokens, bias=False),
    )
    parameters = [p for module in (layers, table, places, head) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3)

    def update(batch) -> None:
        tokens, valid = batch.observations[..., 0].long(), batch.valid
        where = (valid.long().cumsum(1) - 1).clamp(min=0)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        padding = torch.zeros(valid.shape).masked_fill(~valid, -1e9)
        mixed = layers(table(tokens) + places(where), mask=mask, src_key_padding_mask=padding)
        chosen = batch.is_action & valid
        loss = F.cross_entropy(head(mixed)[chosen], batch.actions[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


@click.command()
@click.option("--seeds", default=3, help="Of each task.")
@click.option("--task", "tasks", multiple=True, default=list(SIZES), help="Only this task; may be repeated.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="The table.")
@click.option("--speed", "is_speed", is_flag=True, help="Compare tokens a second, and learn nothing.")
def main(seeds: int, tasks: list[str], results: Path, is_speed: bool) -> None:
    """Learns each task with each seed, and appends what came of it to the table."""
    torch.set_num_threads(1)
    if is_speed:
        click.echo("\n".join(f"{name:12} {rate:,.0f} tokens a second" for name, rate in speed().items()))
        return
    done = set()
    if results.exists():
        with results.open(newline="") as file:
            done = {(row["task"], int(row["seed"])) for row in csv.DictReader(file)}
    else:
        _append(results, [COLUMNS])
    for task in tasks:
        measure, data, best = of_data(task)
        if (task, -1) not in done:
            _append(
                results,
                [(task, "data", -1, measure, round(data, 4)), (task, "optimum", -1, measure, round(best, 4))],
            )
        for seed in range(seeds):
            if (task, seed) not in done:
                found = list(measures(task, seed))
                _append(
                    results, [(task, policy, seed, name, round(value, 4)) for policy, name, value in found]
                )
                click.echo(f"{task}, seed {seed}: " + "; ".join(f"{p}, {m}: {v:.3f}" for p, m, v in found))


def _append(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
