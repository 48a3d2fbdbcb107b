"""Base of language models, front and implementation: whole dialogues as batches, acting token by token."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, TypeAlias, cast, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offlinekit.core.algo import Algo
from offlinekit.core.bases.text_decoding import PLAIN, Conversation, Decoding, respond
from offlinekit.core.bases.token_transformer import LanguageModel, TokenEmbedding, TokenTransformer
from offlinekit.core.bases.transformers_trunk import PlainValue, TransformersTrunk, check_trunk
from offlinekit.core.hyperparameters import Count, Interval, OneRow, Positive, Steps
from offlinekit.core.impl import Impl
from offlinekit.datasets.families.dialogue_columns import IS_ACTION
from offlinekit.envs.text.token_space import TokenSpace, TokenWindow, tokenizer_in
from offlinekit.envs.text.tokenizers import AGENT_BEGIN, AGENT_END, PAD, SPECIALS, Tokenizer
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.fields import Check
from offlinekit.nn.encoders import embedding_encoder
from offlinekit.nn.losses import floored, select_actions
from offlinekit.nn.random import derive
from offlinekit.nn.transformer import KeyValues, init_small
from offlinekit.sampling.loss_weights import weights_of
from offlinekit.sampling.windows import TrajectorySampler
from offlinekit.types import Array, first_leaf, map_tree, row_parts

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.sampling.batch import TensorTree, TrajectoryBatch

Pasts: TypeAlias = MutableMapping[str, KeyValues]
"""What trunks have computed of the tokens so far, by the name of the trunk."""
STATE_STEPS = "state_steps"
"""Column: how many rows on the next state lies in which the agent acts; 0 if none was recorded."""
EPISODES_AT_ONCE = 64


class Spoken(NamedTuple):
    """The memory of an episode."""

    seen: TensorTree  # Its observations, the last `max_length` of them, [T, ...].
    pasts: dict[str, KeyValues]  # What trunks have computed of them, a batch of one each.
    updates: int  # Of the networks that computed it.


class TextModel(Algo):
    """A causal transformer that chooses the next token of a dialogue; it acts by `as_stateful`."""

    learning_rate: Annotated[Positive, "Of all networks."] = 1e-4
    max_length: Annotated[Count, "Tokens of the longest dialogue, marks included."] = 128
    n_layers: Annotated[Count, "Blocks of each transformer."] = 2
    n_heads: Annotated[Count, "Heads of its attention; a divisor of the width."] = 4
    width: Annotated[Count, "Numbers of a token."] = 128
    dropout: Annotated[float, Interval("[0, 1)"), "Share of tokens' numbers and of attention dropped."] = 0.0
    trunk: Annotated[
        dict[str, PlainValue] | None,
        Check(check_trunk, "configuration | None"),
        "Of a model of the package transformers, such as {'model_type': 'gpt2'}; None is our own.",
    ] = None
    warmup_steps: Annotated[Steps, "First updates, in which the learning rate grows from 0."] = 100
    batch_size: Annotated[Count, "Dialogues in a minibatch."] = 64
    history_length: Annotated[OneRow, "Always 1: the model reads whole dialogues."] = 1

    sampler_options: ClassVar[tuple[str, ...]] = ("max_length",)

    def check_together(self) -> None:
        """Checks that heads divide the width, that no steps are joined, and that dropout is ours alone."""
        if self.width % self.n_heads:
            raise ValueError(f"n_heads must divide width={self.width}, got {self.n_heads}")
        if self.trunk is not None and self.dropout:
            raise ValueError(f"dropout must be 0 with a trunk of transformers, got {self.dropout}")
        if self.n_step != 1:
            raise ValueError(f"n_step must be 1, got {self.n_step}: dialogues hold single tokens")

    def check(self, dataset: MDPDataset) -> None:
        """Checks that the algorithm can learn from a dataset.

        Raises:
            UnsupportedError: As every algorithm, for dialogues of more than `max_length` tokens, and for a scaler of
                tokens, which are numbers of a table.
        """
        built = None if self._impl is None else self._impl.observation_space
        given = getattr(dataset, "observation_space", None)
        if isinstance(built, TokenSpace) and isinstance(given, TokenSpace) and built != given:
            raise UnsupportedError(
                f"this {type(self).__name__} was built for text of another tokenizer, {built.tokenizer}, than that of "
                f"{dataset.name!r}, {given.tokenizer}; read the file by its own: tokenizer=algo.tokenizer"
            )
        super().check(dataset)
        if isinstance(dataset.observation_space, TokenSpace) and self.observation_scaler is not None:
            raise UnsupportedError(
                f"{type(self).__name__} reads tokens of {dataset.name!r} by their numbers, which cannot be scaled; "
                f"observation_scaler must be None, got {self.observation_scaler!r}"
            )
        longest = int(dataset.episode_lengths().max())
        if longest > self.max_length:
            raise UnsupportedError(
                f"{type(self).__name__} takes episodes of up to max_length={self.max_length} rows, but "
                f"{dataset.name!r} has one of {longest}; set max_length={longest} or more, or leave long ones out: "
                f"dataset[dataset.episode_lengths() <= {self.max_length}]"
            )

    def make_sampler(
        self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any
    ) -> TrajectorySampler:
        """Makes what draws whole episodes of the dataset, all equally likely.

        Raises:
            UnsupportedError: For priorities.
        """
        if settings.pop("priorities", None) is not None:
            raise UnsupportedError(
                f"{type(self).__name__} learns from whole dialogues, whose losses are those of many rows; rows cannot "
                "be drawn by them, so leave out priorities"
            )
        return TrajectorySampler(
            dataset,
            **{
                "context": int(dataset.episode_lengths().max()),
                "batch_size": self.batch_size,
                "device": self.impl.device,
                "seed": derive(self.seed or 0, "batches"),
                "scaling": self.scaling,
                "anchor": "episode",
                "frame_stack": self.frame_stack,
                "frame_pad": self.frame_pad,
                "needs": (*self.impl.needed, *needs),
                "columns": state_columns(dataset),
                "owner": type(self.impl).__name__,
                **settings,
            },
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of its text.

        Raises:
            NotFittedError: Without networks.
            UnsupportedError: If its observations are no text.
        """
        return tokenizer_in(self.impl.observation_space, "tokenizer")

    @overload
    def respond(self, dialogues: str, **options: Any) -> str: ...

    @overload
    def respond(self, dialogues: Sequence[Conversation], **options: Any) -> list[str]: ...

    def respond(self, dialogues: str | Sequence[Conversation], **options: Any) -> str | list[str]:
        """Returns what the agent says next.

        Args:
            dialogues: A prompt; or several dialogues, each a prompt, turns of text and reward, None for what the
                environment said, or `{"prompt": ...}` or `{"dialogue": turns}`, whose last answer is given anew.
            options: Those of `Decoding`: `method` "greedy", "sample" or "beam", `temperature`, `top_k`, `top_p`,
                `beta`, `n_beams` and `max_tokens`.

        Returns:
            A text, or one for each dialogue.

        Raises:
            NotFittedError: Without networks.
            UnsupportedError: If its observations are no text, and for `beta` of a model without values.
            DatasetError: For text that the tokenizer does not have, or a dialogue as long as `max_length`.
        """
        decoding, impl = Decoding(**options), cast("TextModelImpl", self.impl)
        given = [dialogues] if isinstance(dialogues, str) else dialogues
        if not isinstance(given, Sequence):
            raise TypeError(f"respond takes a prompt, or a list of dialogues, got {dialogues!r}")
        with torch.no_grad():
            answers = respond(impl, given, decoding)
        return answers[0] if isinstance(dialogues, str) else answers

    def episode_batches(self, dataset: MDPDataset) -> Iterator[TrajectoryBatch]:
        """Yields the episodes of a dataset in order, several at a time.

        Raises:
            UnsupportedError: For data that it could not learn from either, such as text of another tokenizer.
        """
        self.check(dataset)
        sampler = self.make_sampler(dataset)
        for part in row_parts(dataset.episode_starts, EPISODES_AT_ONCE):
            yield sampler.gather(torch.from_numpy(part).to(self.impl.device))

    def predict_rows(self, dataset: MDPDataset) -> Array:
        """Returns the greedy actions in all rows, int64 [N], each after what the data say before it."""
        impl = cast("TextModelImpl", self.impl)
        with torch.no_grad():
            parts = [
                impl.scores(batch.observations, batch.valid).argmax(-1)[batch.valid].cpu().numpy()
                for batch in self.episode_batches(dataset)
            ]
        return np.concatenate(parts)


class TextModelImpl(Impl):
    """A language model `policy` over whole dialogues; the memory of an episode is its tokens, their keys and values."""

    config: TextModel
    has_value: ClassVar[bool] = False
    is_stateful: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = (IS_ACTION, STATE_STEPS)
    policy: LanguageModel

    def build(self) -> None:
        """Makes the language model."""
        self.policy = LanguageModel(self.make_trunk(), self.config.width, self.n_actions)

    def make_trunk(self) -> TokenTransformer | TransformersTrunk:
        """Makes a transformer over tokens; over other observations behind a linear map or the encoder."""
        trunk, embedding = self.config.trunk, self.make_embedding()
        if trunk is None:
            return TokenTransformer(self.config, embedding, self.random)
        return TransformersTrunk(self.config, trunk, embedding)

    def make_embedding(self) -> nn.Module:
        """Makes the embedding of observations: a table for tokens, else linear, behind an encoder if there is one."""
        space, width = self.observation_space, self.config.width
        if isinstance(space, TokenSpace):
            return TokenEmbedding(space.n, width).apply(init_small)
        return self.make_network(width, encoder=embedding_encoder(self.config.encoder, space))

    # What the model says.

    def logits(self, observations: TensorTree, valid: Tensor, pasts: Pasts | None = None) -> Tensor:
        """Returns the logits of the language model at each step [B, K, A], those of illegal actions at a floor.

        Args:
            observations: [B, K, ...].
            valid: bool [B, K], False at padding.
            pasts: What was computed of the steps before, to go on from; these are appended to it.
        """
        return floored(self.policy(observations, valid, past_of(pasts, "policy")), observations)

    def log_probs(self, batch: TrajectoryBatch) -> Tensor:
        """Returns the log-probabilities of the data's tokens [B, K]."""
        log_probs = self.logits(batch.observations, batch.valid).log_softmax(-1)
        return select_actions(log_probs.flatten(0, 1), batch.actions.flatten()).view_as(batch.rewards)

    def advantages(
        self, observations: TensorTree, valid: Tensor, pasts: Pasts | None = None
    ) -> Tensor | None:
        """Returns min Q - V of each action at each step [B, K, A]; None for a model without values."""
        return None

    def scores(
        self,
        observations: TensorTree,
        valid: Tensor,
        pasts: Pasts | None = None,
        decoding: Decoding = PLAIN,
    ) -> Tensor:
        """Returns what greedy actions maximise and drawn ones are the softmax of, [B, K, A]: log pi + beta (Q - V)."""
        log_probs = decoding.log_probs(self.sayable(self.logits(observations, valid, pasts)))
        beta = self.beta if decoding.beta is None else decoding.beta
        advantages = self.advantages(observations, valid, pasts)
        return log_probs if advantages is None else log_probs + beta * advantages

    @property
    def beta(self) -> float:
        """Weight of the advantages in decoding."""
        return 0.0

    def sayable(self, logits: Tensor) -> Tensor:
        """Returns logits [..., A] without marks that an agent cannot say, all but the end of its utterance."""
        if not isinstance(self.observation_space, TokenSpace):
            return logits
        numbers = torch.arange(logits.shape[-1], device=logits.device)
        return logits.masked_fill((numbers < len(SPECIALS)) & (numbers != AGENT_END), -torch.inf)

    # Acting.

    def take_steps(
        self, observations: TensorTree, rewards: Tensor, memories: Sequence[Spoken | None], sample: bool
    ) -> tuple[Tensor, Sequence[Spoken]]:
        """Returns the actions after the newest observations, and what was seen in each episode so far."""
        seen: list[TensorTree] = []
        for number, memory in enumerate(memories):
            newest = map_tree(lambda leaf, i=number: leaf[i : i + 1], observations)
            seen.append(newest if memory is None else map_tree(self._joined, memory.seen, newest))
        known = [memory for memory in memories if memory is not None and self._goes_on(memory)]
        pasts: dict[str, KeyValues] = {}
        if len(known) == len(memories):
            pasts = {name: KeyValues.joined([past.pasts[name] for past in known]) for name in known[0].pasts}
            window, valid = first_steps(observations)
        else:
            window, valid = padded(seen)
        scores = self.scores(window, valid, pasts)[:, -1]
        parts = {name: past.split() for name, past in pasts.items()}
        kept = [
            Spoken(part, {name: rows[i] for name, rows in parts.items()}, self.grad_step)
            for i, part in enumerate(seen)
        ]
        return (self.random.categorical(scores) if sample else scores.argmax(-1)), kept

    def _goes_on(self, memory: Spoken) -> bool:
        """Returns whether what was computed of an episode still holds: not once its first steps are forgotten."""
        return memory.updates == self.grad_step and len(first_leaf(memory.seen)) < self.config.max_length

    def _joined(self, old: Tensor, new: Tensor) -> Tensor:
        return torch.cat([old, new])[-self.config.max_length :]

    @property
    def exported_space(self) -> TokenWindow | None:
        """Dialogues so far, whose next tokens are the actions; None for observations that are no text."""
        space = self.observation_space
        return TokenWindow(space, self.config.max_length) if isinstance(space, TokenSpace) else None

    def exported_actions(self, observations: TensorTree) -> Tensor:
        """Returns the greedy tokens [B] behind dialogues [B, K, 1]."""
        leaf = first_leaf(observations)
        return self.scores(leaf, leaf[..., 0] != PAD)[:, -1].argmax(-1)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the greedy actions, each observation taken for the first of an episode."""
        return self._first_scores(observations).argmax(-1)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns drawn actions, each observation taken for the first of an episode."""
        return self.random.categorical(self._first_scores(observations))

    def _first_scores(self, observations: TensorTree) -> Tensor:
        return self.scores(*first_steps(observations))[:, 0]


def first_steps(observations: TensorTree) -> tuple[TensorTree, Tensor]:
    """Returns observations [B, ...] as windows of one step, and the masks of these."""
    leaf = first_leaf(observations)
    valid = torch.ones((len(leaf), 1), dtype=torch.bool, device=leaf.device)
    return map_tree(lambda part: part.unsqueeze(1), observations), valid


def past_of(pasts: Pasts | None, name: str) -> KeyValues | None:
    """Returns the past of a trunk, an empty one at first; None if none is kept."""
    return None if pasts is None else pasts.setdefault(name, KeyValues())


def padded(episodes: Sequence[TensorTree]) -> tuple[TensorTree, Tensor]:
    """Returns trees of [T, ...] as one of [B, K, ...], padded on the left, and where steps are, bool [B, K]."""
    lengths = [len(first_leaf(episode)) for episode in episodes]
    longest = max(lengths)

    def joined(*parts: Tensor) -> Tensor:
        blank = [(0, 0)] * (parts[0].ndim - 1)
        pads = [[n for pair in (*blank, (longest - len(part), 0)) for n in pair] for part in parts]
        return torch.stack([F.pad(part, pad) for part, pad in zip(parts, pads, strict=True)])

    device = first_leaf(episodes[0]).device
    padding = longest - torch.tensor(lengths, device=device)
    return map_tree(joined, *episodes), torch.arange(longest, device=device) >= padding.unsqueeze(1)


def state_columns(dataset: MDPDataset) -> dict[str, Array]:
    """Returns the columns of text: which actions are the agent's, and how far the next state is; both [N].

    States are rows in which the agent acts, and the last row of a recording that was cut when the agent was to speak,
    whose token is `<a>`. Rows of loss weight 0 are no actions to learn from. In data without `is_action` all actions
    are the agent's.

    Raises:
        DatasetError: If no action is left to learn from.
    """
    is_action = np.asarray(dataset.extras.get(IS_ACTION, np.ones(len(dataset))), np.bool_)
    last = np.repeat(dataset.episode_ends, dataset.episode_lengths()) - 1
    rows = np.arange(len(dataset))
    following = np.append(np.where(is_action, rows, len(dataset))[1:], len(dataset))
    following = np.minimum.accumulate(following[::-1])[::-1]
    # An ended MDP has no state behind its last action. Of a recording that was cut V holds in a last row of the agent's
    # alone: no loss trains it where the environment speaks.
    in_state = ~dataset.terminals[last] & _agent_is_next(dataset)[last]
    steps = np.where(following <= last, following - rows, np.where(in_state, last - rows, 0))
    weights = weights_of(dataset)
    learned = is_action if weights is None else is_action & (weights > 0)
    if not learned.any():
        raise DatasetError(
            "there is no token of the agent to learn from: the extra column is_action, and weights if there are any, "
            "leave none; give some of the agent's tokens a positive weight"
        )
    return {IS_ACTION: learned, STATE_STEPS: steps}


def _agent_is_next(dataset: MDPDataset) -> Array:
    """Returns in which rows the token of text begins an utterance of the agent, bool [N]."""
    if not isinstance(dataset.observation_space, TokenSpace):
        return np.zeros(len(dataset), np.bool_)
    begins: Array = np.asarray(dataset.observations)[:, 0] == AGENT_BEGIN
    return begins
