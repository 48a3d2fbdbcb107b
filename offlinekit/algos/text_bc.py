"""Behaviour cloning of text: a language model of what the agent says."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.torch.text_bc_impl import TextBCImpl
from offlinekit.core.bases.text_model import TextModel


class TextBC(TextModel):
    """Supervised fine-tuning of a language model on what the agent says in the data.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners".
    """

    family: ClassVar[str] = "TEXT"
    action_kind: ClassVar[str] = "discrete"
    paper: ClassVar[str] = "Radford et al. 2019"
    impl_class = TextBCImpl
