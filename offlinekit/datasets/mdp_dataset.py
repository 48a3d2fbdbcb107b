"""MDPDataset: recorded transitions as columns, episodes as row ranges."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from offlinekit.datasets import episodes, schema, spaces, storage
from offlinekit.datasets.columns import EpisodeColumns, draw_masks
from offlinekit.datasets.draft import Draft, plain
from offlinekit.datasets.editing.concatenation import concatenate, warn_of_lost_extras
from offlinekit.datasets.findings import refuse_first
from offlinekit.datasets.formats.mapping import rows_of
from offlinekit.datasets.inspection import summary
from offlinekit.datasets.inspection.rules import action_faults
from offlinekit.datasets.transitions import Transitions, draw
from offlinekit.envs.atari import human_scores
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.ground.hints import hint
from offlinekit.ground.shares import share_of
from offlinekit.load_budget import budgeted
from offlinekit.tables.table_schema import TABLE_SCHEMA, TableSchema
from offlinekit.types import Array, leaves, rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.types import ArrayTree


class MDPDataset(EpisodeColumns):
    """Recorded steps of a Markov decision process, one row a step, checked when it is built.

    Row t holds the observation, the action taken on it and the reward that the action earned.
    `len(dataset)` counts rows; indexing and slicing choose episodes and give a dataset again, of views
    if the episodes are neighbours. Arrays of the right dtype are not copied, so do not write to them.

    Args:
        observations: [N, ...] or a dict or tuple of such; uint8 is kept, other numbers become float32.
        actions: Continuous float [N, A], or discrete of an integer dtype [N]; several as `action_space` has them.
        rewards: [N].
        terminals: [N], set where the MDP ended. It wins over a timeout at the same row.
        episode_terminals: [N], set at each episode's last row for any reason. If given, it alone says
            where episodes end; an end that is not a terminal is a timeout.
        timeouts: [N], set where only the recording ended. An end of the data that is neither is one.
        next_observations: As observations, the observation after each row. If it repeats the row below
            it is not kept. Without it the observation after an episode's last row is unknown.
        action_space: Of gymnasium, discrete or continuous, see docs/datasets.md. Undeclared: integers are
            Discrete(max + 1), floats an unbounded Box.
        create_mask: Whether to draw bootstrap masks.
        mask_size: Number of ensemble members the masks are for.
        observation_space: gymnasium Box, Dict or Tuple; taken from the observations if undeclared.
        seed: Of the masks.
        final_observations: As observations but [E, ...], after each episode's last row, in place of
            next_observations.
        final_known: [E], which of the final observations were recorded; all if not given.
        legal_actions: [N, A] of 0 and 1, which of the A discrete actions are possible at each row. They become
            the leaf "legal_actions" of the observations, which are a dict then: policies choose and value legal
            actions alone. Of given next or final observations they are such a leaf.
        behavior_log_probs: [N], of each action under the policy that chose it: natural logarithms of
            probabilities, or of densities over a Box.
        extras: Names to further columns [N, ...] of numbers or bytes, of any dtype, which stay with their
            rows.
        episode_extras: Names to columns [E, ...], which stay with their episodes.
        nonfinite: What happens to NaN and infinities: "refuse" raises with the first row, "drop" leaves out the
            episodes that hold them, with a warning.
        name: Of the dataset, in run folders and messages.
        metadata: Plain data kept with the dataset: `env_id`, `reference_min_score`,
            `reference_max_score` and anything else that JSON can hold.

    Attributes:
        observations, actions, rewards, terminals, timeouts: Columns; exactly one of terminals and timeouts
            is set at the last row of an episode, neither anywhere else.
        episode_starts, episode_ends: int64 [E], row ranges, the end exclusive.
        final_observations: Tree of [E, ...]; zeros where final_known is False.
        final_known: bool [E].
        next_observations: Tree of [N, ...], or None if the row below says it.
        observation_space, action_space: gymnasium spaces.
        behavior_log_probs: float32 [N], or None if the recording has none.
        masks: uint8 [N, mask_size] or None; 1 where a member may learn from a row, Bernoulli(1/2) each.
            A row may be for no member.
        extras, episode_extras, name, metadata: As given.

    Raises:
        DatasetError: For data that cannot be what they claim; names the field, the row and the remedy.
        UnsupportedError: For spaces of other kinds.
    """

    def episode_returns(self) -> Array:
        """Returns the undiscounted sum of rewards of each episode, float64 [E]."""
        return np.add.reduceat(self.rewards, self.episode_starts, dtype=np.float64)

    def episode_lengths(self) -> Array:
        """Returns the number of rows of each episode, int64 [E]."""
        return self.episode_ends - self.episode_starts

    def statistics(self) -> dict[str, Any]:
        """Returns counts and moments as plain data: rows, episodes, terminals, timeouts, return, length,
        reward, observations and actions.
        """
        return summary.describe(self)

    def __getitem__(self, key: slice | ArrayLike) -> MDPDataset:
        """Returns the episodes of an int, a slice, or an array of ints or booleans, as a dataset.

        Raises:
            IndexError: For an episode that is not there.
            DatasetError: If nothing is chosen, or if the numbers are those of rows.
        """
        chosen = episodes.chosen_episodes(key, self.n_episodes, len(self))
        index, ends = episodes.episode_rows(self.episode_starts, self.episode_ends, chosen)
        part = copy.copy(self)
        for name in schema.ROWS:
            column = getattr(self, name)
            setattr(part, name, None if column is None else rows_of(column, index))
        part.episode_ends = ends
        part.episode_starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        for name in schema.EPISODES:
            setattr(part, name, rows(getattr(self, name), chosen))
        return part

    def __iter__(self) -> Iterator[MDPDataset]:
        """Yields each episode as a dataset of one."""
        return (self[i] for i in range(self.n_episodes))

    def __reversed__(self) -> Iterator[MDPDataset]:
        """Yields each episode as a dataset of one, the last one first."""
        return (self[i] for i in reversed(range(self.n_episodes)))

    def split(
        self, fraction: float = 0.8, seed: int = 0, *, by: str | None = None
    ) -> tuple[MDPDataset, MDPDataset]:
        """Returns two datasets: a fraction of the episodes, and the others, each in recorded order.

        Args:
            fraction: Share of the episodes in the first, in (0, 1); each side gets at least one.
            seed: Of the draw.
            by: Column of `extras` or `episode_extras` of one number a row, such as times: the first dataset has the
                episodes that begin with the lowest. None draws them at random.

        Raises:
            ValueError: For a fraction outside (0, 1), or a column that there is not.
            DatasetError: For a dataset of one episode.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must be in (0, 1), got {fraction}")
        if self.n_episodes < 2:
            raise DatasetError("a split needs at least two episodes, got one; a dataset is split by episodes")
        n_first = min(max(round(share_of(fraction, self.n_episodes)), 1), self.n_episodes - 1)
        order = (
            np.random.default_rng(seed).permutation(self.n_episodes)
            if by is None
            else episodes.order_by(self, by)
        )
        first = np.zeros(self.n_episodes, np.bool_)
        first[order[:n_first]] = True
        return self[first], self[~first]

    def walk_forward(self, n_folds: int = 5, *, by: str) -> Iterator[tuple[MDPDataset, MDPDataset]]:
        """Yields pairs of datasets to learn from and to judge by: all episodes before a period, and that period.

        The episodes are cut into n_folds + 1 periods of equal numbers, the first of which is learned from alone.

        Args:
            n_folds: Number of pairs, at least 1.
            by: As for `split`.

        Raises:
            ValueError: For fewer episodes than periods, or a column that there is not.
        """
        if not 1 <= n_folds < self.n_episodes:
            raise ValueError(f"n_folds must be from 1 to {self.n_episodes - 1}, got {n_folds}")
        periods = np.array_split(episodes.order_by(self, by), n_folds + 1)
        for i in range(1, n_folds + 1):
            yield self[np.sort(np.concatenate(periods[:i]))], self[np.sort(periods[i])]

    def filter_episodes(self, keep: Callable[[MDPDataset], bool] | Any) -> MDPDataset:
        """Returns the episodes that a predicate or a mask keeps.

        Args:
            keep: A function of an episode (a dataset of one), or bool [E], such as
                `dataset.episode_returns() > 100`, which is the faster way.

        Raises:
            TypeError: For an array of another dtype, such as numbers 0 and 1.
            DatasetError: If none is kept.
        """
        mask = np.asarray([bool(keep(episode)) for episode in self] if callable(keep) else keep)
        if mask.dtype != np.bool_:
            raise TypeError(
                f"keep must be a function of an episode or bool [E], got {mask.dtype}; a mask of 0 and 1 becomes one "
                "by np.asarray(mask, bool), and episodes are chosen by their numbers as dataset[numbers]"
            )
        return self[mask]

    def concat(self, *others: MDPDataset) -> MDPDataset:
        """Returns the episodes of this dataset and then of the others; name and metadata are this one's.

        The behaviour's log-probabilities are kept if every dataset has them, and so are extras with rows of one shape,
        in the dtype that holds the numbers of all; a warning names extras that are left out.

        Raises:
            DatasetError: If spaces or mask sizes differ.
        """
        warn_of_lost_extras([self, *others])
        joined: MDPDataset = concatenate([self, *others])
        return joined

    def next_observations_at(self, index: ArrayLike) -> ArrayTree:
        """Returns the observations after rows `index` [B], a tree of [B, ...]; zeros where not recorded.

        Negative numbers count from the last row.

        Raises:
            IndexError: For a row that is not there.
        """
        index = episodes.row_numbers(index, len(self))
        if self.next_observations is not None:
            return rows(self.next_observations, index)
        return episodes.next_rows(self.observations, self.final_observations, self.episode_ends, index)

    def sample(self, batch_size: int, seed: int | np.random.Generator | None = None) -> Transitions:
        """Returns transitions drawn uniformly with replacement, for looking at; training has a sampler.

        A row whose next observation was not recorded is drawn only where the MDP ended with it.

        Args:
            batch_size: B, at least 1.
            seed: A seed, or a generator to go on with; None draws anew each time.

        Raises:
            ValueError: For a batch size below 1.
            DatasetError: If no row has a next observation.
        """
        return draw(self, batch_size, seed)

    @property
    def reference_scores(self) -> tuple[float, float] | None:
        """The returns that count as 0 and as 100, or None if they are unknown.

        They stand in the metadata; of a game of Atari they are those of random play and of a human tester.
        """
        low, high = (self.metadata.get(f"reference_{end}_score") for end in ("min", "max"))
        if low is None or high is None:
            env_id = self.metadata.get("env_id")
            return human_scores(env_id, self.metadata.get("env_kwargs")) if isinstance(env_id, str) else None
        return float(low), float(high)

    @property
    def schema(self) -> TableSchema | None:
        """What the columns of its table mean, if it was read by a schema; it stands in `metadata["table_schema"]`."""
        data = self.metadata.get(TABLE_SCHEMA)
        return None if data is None else TableSchema.from_json(data)

    @overload
    def normalized_score(self, returns: float) -> float: ...

    @overload
    def normalized_score(self, returns: Array) -> Array: ...

    def normalized_score(self, returns: float | Array) -> float | Array:
        """Returns 100 * (returns - min) / (max - min), 0 being a random and 100 an expert policy.

        Args:
            returns: A number or an array of undiscounted returns.

        Raises:
            UnsupportedError: If the metadata name no reference scores.
        """
        scores = self.reference_scores
        if scores is None:
            raise UnsupportedError(
                f"dataset {self.name!r} has no reference scores to normalise by; give it "
                "metadata={'reference_min_score': ..., 'reference_max_score': ...}"
            )
        score = 100.0 * (np.asarray(returns, np.float64) - scores[0]) / (scores[1] - scores[0])
        return float(score) if score.ndim == 0 else score

    def with_options(
        self,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        action_space: spaces.Space | None = None,
        mask_size: int | None = None,
        seed: int = 0,
    ) -> MDPDataset:
        """Returns a dataset of the same columns with another name, more metadata, another action space, or
        new bootstrap masks for mask_size ensemble members.

        Raises:
            DatasetError: For an action space that the actions, the legal actions or the log-probabilities do not fit,
                or metadata that JSON cannot hold.
        """
        changed = copy.copy(self)
        changed.name = self.name if name is None else name
        changed.metadata = plain({**self.metadata, **(metadata or {})})
        if action_space is not None:
            is_joint = isinstance(self.action_space, JointDiscrete)  # Its numbers are those of a dataset.
            space = spaces.held_of(action_space) if is_joint else action_space
            draft = Draft({**schema.columns_of(self), "action_space": space})
            refuse_first(action_faults(draft))
            assert draft.action_space is not None  # As there is no fault.
            changed.actions, changed.action_space = draft.columns["actions"], draft.action_space
        if mask_size is not None:
            changed.masks = draw_masks(len(self), mask_size, seed)
        return changed

    def save(self, path: str | Path, *, compress: bool = True) -> Path:
        """Writes the dataset as a file of offlinekit (HDF5), atomically, and returns its path.

        Args:
            path: Of the file.
            compress: Whether columns are compressed in chunks with checksums, or plain, for `open` to map.
        """
        return storage.save(self, Path(path), compress)

    @classmethod
    def load(cls, path: str | Path, *, max_bytes: int | None = None) -> MDPDataset:
        """Reads a dataset that `save` wrote.

        Args:
            path: Of the file.
            max_bytes: That its contents may take; None goes by its size, see docs/reliability.md.

        Raises:
            FileFormatError: For a damaged file or one of another format.
        """
        with budgeted(max_bytes):
            columns, masks = storage.read(Path(path))
        dataset = cls(**columns)
        dataset.masks = masks
        return dataset

    @classmethod
    def open(cls, path: str | Path, *, mmap: bool = True) -> MDPDataset:
        """Opens a dataset that `save(path, compress=False)` wrote and that may be larger than memory.

        Observations, actions and masks stay in the file and are read when they are used; their values are
        not checked again. `fit` draws minibatches from such a dataset block by block.

        Args:
            path: Of the file, which must stay as it is while the dataset is in use.
            mmap: False does as `load`.

        Raises:
            FileFormatError: For a damaged file, one of another format, or one written compressed.
        """
        if not mmap:
            return cls.load(path)
        columns, masks = storage.read(Path(path), mapped=True)
        dataset = cls.__new__(cls)
        dataset._adopt(columns, masks)
        return dataset

    if not TYPE_CHECKING:  # The type checker would let any name pass.

        def __getattr__(self, name: str) -> object:
            """Raises AttributeError for a name that there is not, with what is meant by it."""
            if meant := "" if name.startswith("_") else hint("dataset attribute", name, dir(self)):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{meant}")
            return object.__getattribute__(self, name)  # Raises; of a property the error within it.

    def __repr__(self) -> str:
        returns = summary.summarise(self.episode_returns())
        observations = ", ".join(f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in leaves(self.observations))
        ended = f"{int(self.terminals.sum()):,} terminal, {int(self.timeouts.sum()):,} timeout"
        return (
            f"MDPDataset({self.name!r}: {len(self):,} rows, {self.n_episodes:,} episodes ({ended}), "
            f"observations {observations}, actions {self.action_space}, "
            f"return {returns['mean']:.1f} +- {returns['std']:.1f})"
        )
