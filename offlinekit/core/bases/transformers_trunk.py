"""Trunks made by the package transformers from a configuration: its architectures, with random weights.

Nothing is downloaded and no code of others runs: model types are those of a list, and a configuration holds plain
values alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor, nn

from offlinekit.errors import did_you_mean, require
from offlinekit.nn.transformer import KeyValues, attention_bias
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import map_tree

if TYPE_CHECKING:
    from offlinekit.core.bases.token_transformer import TokenConfig

PlainValue: TypeAlias = "bool | int | float | str | None"
MODEL_TYPES = ("gpt2", "gpt_neox", "llama", "mistral", "phi", "qwen2", "qwen3")
"""Decoders whose features at a token depend on it and on those before alone, which a test shows of each."""
GIVEN = {
    "hidden_size": "width",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "max_position_embeddings": "max_length",
}
"""Names of configurations that hyperparameters decide."""


def check_trunk(trunk: object) -> None:
    """Checks the configuration of a trunk, without the package.

    Raises:
        TypeError: For anything but a mapping with a model type and plain values.
        ValueError: For an unknown model type, or a name that is not the configuration's to set.
    """
    if trunk is None:
        return
    if not isinstance(trunk, Mapping):
        raise TypeError(
            f"trunk must be a configuration such as {{'model_type': 'gpt2'}} or None, got {trunk!r}"
        )
    kind = trunk.get("model_type")
    if kind not in MODEL_TYPES:
        raise ValueError(
            f"trunk must have a 'model_type' of {list(MODEL_TYPES)}, got {kind!r}{did_you_mean(str(kind), MODEL_TYPES)}"
        )
    for name, value in trunk.items():
        if name in GIVEN:
            raise ValueError(
                f"trunk must leave out {name!r}, which {GIVEN[name]} decides; set {GIVEN[name]}={value!r}"
            )
        if not isinstance(name, str) or name.startswith("_") or name in ("auto_map", "attn_implementation"):
            raise ValueError(f"trunk must hold settings of the architecture, got {name!r}; leave it out")
        if "drop" in name and value:
            raise ValueError(
                f"trunk must be without dropout, whose draws no seed of the algorithm decides, got {name}={value!r}; "
                "leave it out"
            )
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise TypeError(f"trunk must hold numbers, texts and flags, got {name}={value!r}")


class TransformersTrunk(nn.Module):
    """Observations [B, K, ...] -> features [B, K, W], by a model of the package transformers.

    What was computed of the tokens before is not kept: their embeddings are, and all is computed anew.

    Args:
        config: The front.
        trunk: Of the model, as `check_trunk` takes it.
        embedding: Of observations, [M, ...] -> [M, W].

    Raises:
        MissingExtraError: Without the package.
        ValueError: For a configuration of which the package makes no model, or that sets what hyperparameters decide.
    """

    def __init__(self, config: TokenConfig, trunk: Mapping[str, PlainValue], embedding: nn.Module) -> None:
        super().__init__()
        self.embedding, self.max_length = embedding, config.max_length
        self.model = _model(config, trunk)

    def forward(self, observations: TensorTree, valid: Tensor, past: KeyValues | None = None) -> Tensor:
        """Returns the features [B, K, W]; arguments as of `TokenTransformer`."""
        n_new = valid.shape[1]
        flat = map_tree(lambda leaf: leaf.flatten(0, 1), observations)
        tokens = self.embedding(flat).unflatten(0, valid.shape)
        if past is not None:
            tokens = past.extended(0, tokens.unsqueeze(1), tokens.unsqueeze(1))[0].squeeze(1)
            valid = past.with_masks(valid)
        places = (valid.long().cumsum(1) - 1).clamp(0, self.max_length - 1)
        bias = attention_bias(valid, valid.shape[1])
        made = self.model(
            inputs_embeds=tokens, attention_mask=bias.unsqueeze(1), position_ids=places, use_cache=False
        )
        features: Tensor = made.last_hidden_state
        return features[:, -n_new:]


def _model(config: TokenConfig, trunk: Mapping[str, PlainValue]) -> nn.Module:
    """Makes the model, without a table of tokens of its own."""
    transformers = require("transformers", "transformers")
    sizes = {name: getattr(config, own) for name, own in GIVEN.items()}
    others = {
        "intermediate_size": 4 * config.width,
        "num_key_value_heads": config.n_heads,
        "head_dim": config.width // config.n_heads,
    }
    marks = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    try:
        known = transformers.AutoConfig.for_model(trunk["model_type"]).to_dict()
        if unknown := sorted(trunk.keys() - known.keys()):
            raise ValueError(f"there is no setting {unknown[0]!r}{did_you_mean(unknown[0], known)}")
        made = transformers.AutoConfig.for_model(
            **{**others, **marks, **trunk, **sizes}, vocab_size=1, attn_implementation="eager"
        )
        if idle := [name for name, value in trunk.items() if getattr(made, name) != value]:
            raise ValueError(f"hyperparameters decide {idle[0]!r}: {', '.join(GIVEN.values())}")
        for name in [name for name in known if "drop" in name]:
            setattr(made, name, 0.0)
        model: nn.Module = transformers.AutoModel.from_config(made, trust_remote_code=False)
    except Exception as error:  # Each architecture checks its configuration in its own way.
        raise ValueError(f"transformers makes no model of trunk={dict(trunk)!r}: {error}") from error
    model.set_input_embeddings(nn.Identity())  # type: ignore[operator]  # Every model of the list has it.
    return model
