"""What lies beside a policy file: its card, policy.onnx.md, and its rule of rows, policy.onnx.seen.safetensors."""

from __future__ import annotations

import warnings
from pathlib import Path

from offlinekit.datasets.download import sha256_of
from offlinekit.io import read_small

CARD = ".md"
RULE = ".seen.safetensors"
"""Behind the name of a policy file; earlier versions put both in place of its suffix, one for all formats."""


def card_path(policy: Path) -> Path:
    """Returns where the card of a policy file is written."""
    return policy.with_name(policy.name + CARD)


def rule_path(policy: Path) -> Path:
    """Returns where the rule of seen rows of a policy file is written."""
    return policy.with_name(policy.name + RULE)


def card_of(policy: Path) -> Path:
    """Returns the card of a policy file, maybe of an earlier version; where it belongs, if there is none."""
    card, earlier = card_path(policy), policy.with_suffix(CARD)
    return earlier if not card.is_file() and earlier.is_file() else card


def rule_of(policy: Path) -> Path | None:
    """Returns the rule of a policy file, of an earlier version if its card is; None without one."""
    if (rule := rule_path(policy)).is_file():
        return rule
    earlier = policy.with_suffix(RULE)
    return earlier if not card_path(policy).is_file() and earlier.is_file() else None


def describes(card: Path, policy: Path) -> bool:
    """Returns whether a card is that of a policy file as it is now."""
    return card.is_file() and sha256_of(policy).encode() in read_small(card)


def remove_outdated(policy: Path, *, has_rule: bool) -> None:
    """Removes what described the file that a policy replaces, and warns if a rule goes without a new one.

    Args:
        policy: File, with its new card beside it.
        has_rule: Whether its new rule lies beside it too.
    """
    rules = [] if has_rule else [rule_path(policy)]
    earlier = policy.with_suffix(CARD)
    if earlier != card_path(policy) and _names(earlier, policy.name):
        earlier.unlink()
        rules.append(policy.with_suffix(RULE))
    gone = [rule for rule in rules if rule.is_file()]
    for rule in gone:
        rule.unlink()
    if gone and not has_rule:
        warnings.warn(
            f"{gone[0]} was the rule of the policy that {policy.name} held before, and is removed; export with "
            "dataset= (--dataset) to have one of this policy",
            stacklevel=4,
        )


def _names(card: Path, name: str) -> bool:
    """Returns whether a card, as `write_card` writes it, is of a file of a name."""
    return card.is_file() and f"| name | {name} |".encode() in read_small(card)
