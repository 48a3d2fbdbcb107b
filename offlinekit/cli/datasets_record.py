"""`offlinekit datasets record`, `collect` and `levels`: policies recorded in an environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from offlinekit.cli.datasets_info import describe, open_dataset
from offlinekit.cli.options import debug_option, example, reader_options, usage
from offlinekit.cli.output import number, table
from offlinekit.cli.runs import find, load, make_env
from offlinekit.errors import UnsupportedError

if TYPE_CHECKING:
    import gymnasium

    from offlinekit.algos.dynamics import Dynamics
    from offlinekit.core.algo import Algo
    from offlinekit.datasets.mdp_dataset import MDPDataset
    from offlinekit.interfaces import PolicyLike


MODEL = "model:"
"""What precedes the run of a policy to record in its own model."""
MADE_UP = "made by a learned model, not recorded in an environment"


class Chosen(NamedTuple):
    """A recording: policy, environment and file."""

    policy: PolicyLike
    env: gymnasium.Env[Any, Any]
    facts: dict[str, Any]  # Kept with the dataset.


@click.command(
    epilog=example(
        "offlinekit datasets record maze2d-umaze",
        "offlinekit datasets record hopper-medium --policy-file hopper_medium-v2.hdf5 --out hopper.h5",
    )
)
@click.argument("name", type=click.STRING)
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: among the data]")
@click.option(
    "--steps", "n_steps", type=click.IntRange(min=1), help="Rows.  [default: as the published dataset has]"
)
@click.option("--seed", type=int, default=0, help="Of everything drawn.")
@click.option(
    "--score-episodes",
    type=click.IntRange(min=1),
    help="Episodes that score the behaviour.  [default: 100, or 10 for Atari]",
)
@click.option(
    "--policy-file", type=click.Path(path_type=Path), help="D4RL's file that carries the behaviour."
)
@debug_option
def record(name: str, out: Path | None, **settings: Any) -> None:
    """Record the stand-in NAME of a published dataset by its recipe; `recorded/NAME` then reads it.

    `offlinekit datasets list recorded` lists them.
    """
    from offlinekit.datasets import record as record_stand_in
    from offlinekit.datasets.recording.recipes import path_of

    with usage("NAME"):
        dataset = record_stand_in(name, out, **settings)
    describe(dataset)
    click.echo(f"\nWrote {out or path_of(name)}")


@click.command(
    epilog=example(
        "offlinekit datasets collect --env CartPole-v1 --policy random --steps 2000 --out random.h5",
        "offlinekit datasets collect --policy runs/... --epsilon 0.2 --steps 100000 --out noisy.h5",
        "offlinekit datasets collect --policy d4rl:hopper_medium-v2.hdf5 --steps 1000000 --out medium.h5",
        "offlinekit datasets collect --policy model:runs/MOPO_... --dataset pendulum-mixed --steps 2000 --out made.h5",
    )
)
@click.option("--policy", required=True, help="random, a run folder, a policy file, d4rl:FILE, or model:RUN.")
@click.option(
    "--env",
    "env_id",
    help="Gymnasium environment, or NAME?key=value.  [default: the policy's own]",
)
@click.option("--dataset", "starts", help="With model:RUN, whose first states episodes begin with.")
@reader_options()
@click.option("--steps", type=click.IntRange(min=1), required=True, help="Rows to record.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--epsilon", type=click.FloatRange(0, 1), default=0.0, help="Share of uniformly random actions."
)
@click.option(
    "--sample", is_flag=True, show_default=False, help="Draw a run's actions; else the greedy ones."
)
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option("--seed", type=int, default=0, help="Episode i starts from seed + i.")
@click.option(
    "--envs", "n_envs", type=click.IntRange(min=1), help="Environments side by side.  [default: up to 8]"
)
@click.option("--max-steps", type=click.IntRange(min=1), help="End episodes after so many steps.")
@click.option("--part-steps", type=click.IntRange(min=1), default=100_000, help="Rows of a part on disk.")
@click.option("--device", default="cpu", help="Of a run's networks: auto, cpu, cuda, cuda:1.")
@debug_option
def collect(
    policy: str,
    env_id: str | None,
    starts: str | None,
    options: dict[str, Any],
    steps: int,
    out: Path,
    sample: bool,
    which: str,
    device: str,
    **settings: Any,
) -> None:
    """Record the steps of a policy as a dataset file.

    d4rl:FILE is the SAC policy that D4RL's *_medium-v2 files carry. model:RUN is a policy that learned inside a model,
    recorded in that model: its rows are made up, and the file says so. After an interruption the same command goes on
    from the parts that lie beside OUT.
    """
    from offlinekit.datasets import collect as record

    if (starts is not None) != policy.startswith(MODEL):
        raise click.UsageError(
            "--dataset says where episodes in a model begin; give it together with --policy model:RUN, and only then"
        )
    if starts is not None:
        if env_id is not None:
            raise click.UsageError("--policy model:RUN is recorded in its own model; leave out --env")
        dataset = open_dataset("--dataset", starts, options)
        chosen = _in_model(policy.removeprefix(MODEL), dataset, which, sample, device)
    else:
        chosen = choose(policy, env_id, which, sample, device)
    with usage("--out"):
        dataset = record(
            chosen.policy, chosen.env, steps, out=out, name=out.stem, metadata=chosen.facts, **settings
        )
    chosen.env.close()
    describe(dataset)
    click.echo(f"\nWrote {out}")


@click.command(
    epilog=example("offlinekit datasets levels --env CartPole-v1 --rows 10000 --rounds 10 --out cartpole")
)
@click.option("--env", "env_id", required=True, help="Gymnasium environment.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write to."
)
@click.option("--rows", "n_rows", type=click.IntRange(min=1), default=1_000_000, help="Rows of each dataset.")
@click.option("--algo", "name", help="What learns.  [default: sac, or double_dqn for discrete actions]")
@click.option("--rounds", type=click.IntRange(min=1), default=100, help="How often its data grow.")
@click.option("--steps", type=click.IntRange(min=1), default=1_000, help="Environment steps a round.")
@click.option("--updates", type=click.IntRange(min=1), default=1_000, help="Updates a round.")
@click.option("--medium", type=float, default=1 / 3, show_default="1/3", help="Share of the way to the best.")
@click.option("--seed", type=int, default=0, help="Of everything.")
@debug_option
def levels(env_id: str, out: Path, name: str | None, seed: int, **settings: Any) -> None:
    """Train a policy online and record random, medium, medium-replay, medium-expert and expert.

    Medium is the first policy that came a third of the way from the random to the best return.
    """
    from offlinekit.algos import get_algo
    from offlinekit.datasets import MDPDataset
    from offlinekit.sweeps.skill_datasets import record_levels

    env = make_env(env_id, "--env")
    with usage("--algo"):
        algo = None if name is None else get_algo(name)(seed=seed)
    with usage("--medium"):
        files = record_levels(env, out, algo=algo, seed=seed, **settings)
    rows = []
    for level, path in files.items():
        dataset = MDPDataset.load(path)
        returns = number(float(dataset.episode_returns().mean()))
        rows.append((level, f"{len(dataset):,}", f"{dataset.n_episodes:,}", returns, str(path)))
    table(("level", "rows", "episodes", "mean return", "file"), rows)


def choose(policy: str, env_id: str | None, which: str, sample: bool, device: str) -> Chosen:
    """Makes the policy that `--policy` names, and the environment to record it in."""
    if policy == "random":
        from offlinekit.envs.callable_policies import RandomPolicy

        if env_id is None:
            raise click.UsageError(
                "a random policy needs an environment; give one by --env, such as Hopper-v4"
            )
        env = make_env(env_id, "--env")
        return Chosen(RandomPolicy(env.action_space), env, {"policy": policy})
    if policy.startswith("d4rl:"):
        return _of_d4rl(Path(policy.removeprefix("d4rl:")), env_id)
    from offlinekit.core.sharing import zoo

    with usage("--policy"):
        place = zoo.placed(Path(policy))
        if not place.exists():
            raise FileNotFoundError(
                f"expected random, d4rl:FILE, a run folder, a policy file or a name such as {zoo.EXAMPLE}, got "
                f"{policy!r}"
            )
    algo, env = load(find(place, which, "--policy"), env_id, device=device)
    return Chosen(_acting(algo, sample), env, _facts(policy, algo, sample))


def _in_model(policy: str, dataset: MDPDataset, which: str, sample: bool, device: str) -> Chosen:
    """Makes a policy and an environment of the model that it learned in."""
    import offlinekit
    from offlinekit.core.bases.model_based import ModelBased
    from offlinekit.training.model_based.model_env import ModelEnv

    with usage("--policy"):
        algo = offlinekit.load(find(Path(policy), which, "--policy").policy, device=device)
        if not isinstance(algo, ModelBased):
            raise UnsupportedError(
                f"{type(algo).__name__} learned in no model; give a run of MOPO, say, which did"
            )
    with usage("--dataset"):
        algo.check(dataset)
    facts = {"synthetic": True, "warning": MADE_UP, "first_states": dataset.name}
    env = ModelEnv(cast("Dynamics", algo.model), dataset)
    return Chosen(_acting(algo, sample), env, {**_facts(f"{MODEL}{policy}", algo, sample), **facts})


def _acting(algo: Algo, sample: bool) -> PolicyLike:
    """Returns what draws an algorithm's actions, or takes the greedy ones."""
    from offlinekit.core.units import GreedyActions, SampledPolicy

    if sample:
        return SampledPolicy(algo)
    return GreedyActions(algo) if not algo.is_stateful and algo.action_kind == "discrete" else algo


def _facts(policy: str, algo: Algo, sample: bool) -> dict[str, Any]:
    return {"policy": policy, "algorithm": type(algo).__name__, "updates": algo.grad_step, "sampled": sample}


def _of_d4rl(path: Path, given: str | None) -> Chosen:
    from offlinekit.datasets.families.d4rl_policy import TanhGaussianPolicy
    from offlinekit.datasets.sources import d4rl

    with usage("--policy"):
        policy = TanhGaussianPolicy.from_d4rl(path)
    name = d4rl.name_of(path)
    env_id = given or (None if name is None else d4rl.ENVIRONMENTS.get(name.split("-")[0]))
    if env_id is None:
        raise click.UsageError(f"{path} does not say its environment; give one by --env, such as Hopper-v4")
    row = {} if name is None else d4rl.table()[name]
    known = {f"reference_{end}_score": row[end] for end in ("min", "max") if end in row}
    env = None
    if given is None and name is not None and env_id == "Ant-v4":
        env = d4rl.ant_environment(name)  # With the contact forces that the policy was trained with.
    env = env or make_env(env_id, "--env")  # Says which package is missing.
    return Chosen(policy, env, {"policy": f"d4rl:{path.name}", **known})
