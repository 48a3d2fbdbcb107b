"""Language models as files for other programs: dialogues in, the next token out."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from small_text import TINY, talks

from offlinekit import deploy
from offlinekit.algos import ILQL, TextBC
from offlinekit.core.export import FORMATS
from offlinekit.core.export.exported_policy import ExportedPolicy, examples
from offlinekit.envs.text import TokenSpace
from offlinekit.envs.text.token_space import TokenWindow
from offlinekit.envs.text.tokenizers import AGENT_END, PAD, tokenizer_from_json

SEED = 3


def built(front):
    algo = front(**{**TINY, "width": 8, "n_heads": 2}).build(talks())
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in algo.impl.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return algo


def said(act, algo, prompt, most):
    """Returns what an exported policy says, token by token, as a program without offlinekit would do it."""
    tokens, answer = [1, *algo.tokenizer.encode(prompt), 2, 3], []
    while len(answer) < most:
        window = np.array([PAD] * (16 - len(tokens)) + tokens, np.float32)[None, :, None]
        (token,) = act(window)
        if token == AGENT_END:
            break
        tokens, answer = [*tokens, token], [*answer, token]
    return algo.tokenizer.decode(answer)


@pytest.mark.parametrize(
    ("front", "form"), [(TextBC, "torchscript"), (ILQL, "torchscript"), (TextBC, "numpy"), (ILQL, "numpy")]
)
def test_an_exported_model_says_what_the_model_says(front, form, tmp_path):
    algo = built(front)
    act = FORMATS[form].open(algo.export(tmp_path / "talk", form), algo.impl.exported_space)
    prompts = ["a", "ab", "", "bbab"]
    assert [said(act, algo, prompt, 4) for prompt in prompts] == algo.respond(prompts, max_tokens=4)
    assert len({said(act, algo, prompt, 4) for prompt in prompts}) > 1
    seen = examples(algo, 200)
    assert sorted({int(n) for n in (seen[..., 0] != PAD).sum(1)}) == list(range(1, 17))
    valid = torch.from_numpy(seen[..., 0] != PAD)
    wanted = algo.impl.scores(torch.from_numpy(seen), valid)[:, -1].argmax(-1)
    np.testing.assert_array_equal(act(seen), wanted)
    assert tokenizer_from_json(json.loads(ExportedPolicy(algo).facts()["tokenizer"])) == algo.tokenizer


@pytest.mark.slow
def test_onnx_holds_the_tokenizer(tmp_path):
    algo = built(ILQL)
    path = algo.export(tmp_path / "talk.onnx")
    act = FORMATS["onnx"].open(path, algo.impl.exported_space)
    assert [said(act, algo, prompt, 4) for prompt in ("a", "")] == algo.respond(["a", ""], max_tokens=4)
    facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert tokenizer_from_json(json.loads(facts["tokenizer"])) == algo.tokenizer


def test_a_numpy_policy_has_the_tokenizer_and_masks_computed_once(tmp_path):
    algo = built(TextBC)
    description, tensors = deploy.read(algo.export(tmp_path / "talk.safetensors"))
    assert tokenizer_from_json(json.loads(description["tokenizer"])) == algo.tokenizer
    # What each of 16 places may see: itself, and those before it. All numbers of tokens, and which of them are marks.
    masks = [tensor for tensor in tensors.values() if tensor.dtype == bool and tensor.shape == (16, 16)]
    assert sorted(mask.sum() for mask in masks) == [16, 16 * 17 / 2]
    names = {name for name, _ in description["operations"]}
    assert not names & {"ones", "tril", "eye", "arange"}


def test_drawn_windows_are_padded_on_the_left():
    window = TokenWindow(TokenSpace(talks().observation_space.tokenizer), 5)
    drawn = window.draw(np.random.default_rng(0), 200)[..., 0]
    assert window.shape == (5, 1)
    assert set(drawn.ravel()) == set(range(9))
    assert all((np.diff((row != PAD).astype(int)) >= 0).all() and row[-1] != PAD for row in drawn)
