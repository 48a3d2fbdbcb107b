"""Adam and AdamW of ours give the numbers of torch.optim, and none of it is imported for them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from offlinekit.training.optimizers import make_optimizer

SHAPES = [(3, 2), (2,), (4,)]
PEERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


def draw(generator):
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


@pytest.mark.parametrize("name", list(PEERS))
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_those_of_torch(name, decay):
    generator = torch.Generator().manual_seed(0)
    ours = [p.requires_grad_() for p in draw(generator)]
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    groups = [(ours[:2], decay), (ours[2:], 0.0)]
    optimizer = make_optimizer(name, groups, 1e-2)
    options = [{"params": theirs[:2], "weight_decay": decay}, {"params": theirs[2:], "weight_decay": 0.0}]
    peer = PEERS[name](options, lr=1e-2)
    for step in range(5):
        rate = 1e-2 / (1 + step)
        optimizer.learning_rate = rate
        for group in peer.param_groups:
            group["lr"] = rate
        gradients = draw(generator)
        if step == 2:  # A parameter that the loss does not reach keeps its value and its count of steps.
            gradients[1] = None
        optimizer.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        peer.step()
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", list(PEERS))
def test_state_goes_over_to_another_optimizer(name):
    generator = torch.Generator().manual_seed(0)
    first = [p.requires_grad_() for p in draw(generator)]
    optimizer = make_optimizer(name, [(first, 0.0)], 1e-2)
    optimizer.step(draw(generator))
    second = [p.detach().clone().requires_grad_() for p in first]
    other = make_optimizer(name, [(second, 0.0)], 1e-2)
    other.load_state_tensors({name: value.clone() for name, value in optimizer.state_tensors().items()})
    gradients = draw(generator)
    for one in (optimizer, other):
        one.step(gradients)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert name == "sgd" or optimizer.state_tensors()


def test_the_state_of_a_missing_parameter_is_an_error():
    optimizer = make_optimizer("adam", [([torch.zeros(2, requires_grad=True)], 0.0)], 1e-2)
    with pytest.raises(KeyError):
        optimizer.load_state_tensors({"0.step": torch.zeros(())})


@pytest.mark.slow
def test_training_imports_neither_torch_optim_nor_the_compiler():
    code = (
        "import sys; from offlinekit.algos import TD3PlusBC; from offlinekit.testing import small_dataset\n"
        "TD3PlusBC(seed=0, device='cpu').fit(small_dataset('continuous'), 20, out=None, progress=False)\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
