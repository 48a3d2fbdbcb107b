"""The format of `offlinekit.deploy`: a policy's graph as named operations and tensors, in one safetensors file."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors.numpy import save_file
from torch.fx import Node
from torch.fx.node import map_arg

from offlinekit import deploy
from offlinekit.core.export.exported_policy import ExportedPolicy
from offlinekit.core.export.torch_formats import traced
from offlinekit.datasets.spaces import space_to_json
from offlinekit.envs.legal_actions import legal_choices
from offlinekit.errors import UnsupportedError
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree, Json

NAMES = {
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "_to_copy": "cast",
    "clamp_min": "maximum",
    "clamp_max": "minimum",
    "floor_divide": "floordiv",
    "split_with_sizes": "split",
    "sym_size": "size",
    "view": "reshape",
    "_unsafe_view": "reshape",
}
"""Operators of torch that are called otherwise there."""
FILLS = {"zeros": "full", "zeros_like": "full_like"}
SAME = {"clone", "contiguous", "alias", "detach", "lift_fresh_copy"}
"""Operators that change no number."""
NO_RESULT = {"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size"}
PYTHON: dict[object, str] = {
    operator.add: "add",
    operator.floordiv: "floordiv",
    operator.getitem: "getitem",
    operator.mul: "mul",
    operator.sub: "sub",
}
"""Operations of a graph on sizes and lists."""


def write(policy: ExportedPolicy, path: Path) -> None:
    """Writes the file.

    Raises:
        UnsupportedError: For a policy with an operation that `offlinekit.deploy` lacks.
    """
    program = Program(policy)
    choices = legal_choices(policy.observation_space, policy.action_space)
    description: dict[str, Any] = {
        "format": deploy.FORMAT,
        **policy.facts(),
        "observations": describe(policy.observation_space),
        **({"history": policy.history_length} if policy.history_length > 1 else {}),
        **({} if choices is None else {"choices": list(choices)}),
        **({"frames": policy.frame_stack, "frame_pad": policy.frame_pad} if policy.frame_stack > 1 else {}),
        "actions": space_to_json(policy.action_space),
        "operations": program.operations,
        "output": program.output,
        **({} if policy.schema is None else {"schema": policy.schema.to_json()}),
    }
    tensors = {str(i): tensor for i, tensor in enumerate(program.tensors)}
    description["sha256"] = deploy.digest(description, tensors)
    save_file(tensors, str(path), metadata={deploy.KEY: json.dumps(description)})


def open_policy(path: Path, _: spaces.Space[Any]) -> Callable[[ArrayTree], Array]:
    """Returns what acts by a file."""
    return deploy.NumpyPolicy.load(path).predict


def describe(space: spaces.Space[Any]) -> dict[str, Any]:
    """Returns the observations that a policy takes, as JSON."""
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "items": [[key, describe(part)] for key, part in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"kind": "tuple", "items": [[i, describe(part)] for i, part in enumerate(space.spaces)]}
    dtype = "uint8" if space.dtype == np.uint8 else "float32"
    return {"kind": "leaf", "shape": list(space.shape or ()), "dtype": dtype}


class Program:
    """The operations and tensors of a policy.

    Values are numbered: first the leaves of the observations, then the tensors, then what each operation gives.

    Args:
        policy: What to describe.
    """

    def __init__(self, policy: ExportedPolicy) -> None:
        program = traced(policy)
        nodes = list(program.graph.nodes)
        held = {**program.state_dict, **program.constants}
        signature = program.graph_signature
        lifted = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        placeholders = [node for node in nodes if node.op == "placeholder"]
        given = [node for node in placeholders if node.name not in lifted]
        constant = {node: held[lifted[node.name]] for node in placeholders if node.name in lifted}
        computed = _computed(nodes)
        constant |= {
            node: made for node, made in computed.items() if not computed.keys() >= node.users.keys()
        }
        self._numbers = {node: i for i, node in enumerate([*given, *constant])}
        self._n_given = len(self._numbers)
        self.tensors = [tensor.detach().contiguous().numpy() for tensor in constant.values()]
        self.operations: list[list[Any]] = []
        for node in nodes:
            if node.op == "call_function" and node not in computed:
                self._add(node, policy.name)
        outputs = next(node for node in nodes if node.op == "output").args[0]
        self.output = self._numbers[outputs[0]]

    def _add(self, node: Node, algorithm: str) -> None:
        name, arguments = _call(node)
        if name in NO_RESULT:
            return
        if name in SAME:
            self._numbers[node] = self._numbers[arguments[0]]
            return
        if name not in deploy.OPERATIONS:
            raise UnsupportedError(
                f"the policy of {algorithm} needs the operation {node.target}, which offlinekit.deploy has not; "
                "export it as onnx or torch-export"
            )
        self._numbers[node] = self._n_given + len(self.operations)
        self.operations.append([name, [self._plain(argument) for argument in arguments]])

    def _plain(self, argument: object) -> Json:
        """Returns an argument as JSON."""
        if isinstance(argument, Node):
            return {"value": self._numbers[argument]}
        if isinstance(argument, (list, tuple)):
            return [self._plain(part) for part in argument]
        if isinstance(argument, torch.dtype):
            return str(argument).removeprefix("torch.")
        if argument is None or isinstance(argument, (bool, int, float, str)):
            return argument
        return None  # Devices, layouts and memory formats.


def _computed(nodes: Sequence[Node]) -> dict[Node, torch.Tensor]:
    """Returns what operations give that `offlinekit.deploy` lacks, and that read no observation, such as a mask."""
    made: dict[Node, torch.Tensor] = {}
    for node in nodes:
        if (
            isinstance(node.target, torch._ops.OpOverload)
            and _call(node)[0] not in {*deploy.OPERATIONS, *SAME, *NO_RESULT}
            and all(argument in made for argument in node.all_input_nodes)
        ):
            made[node] = node.target(*map_arg(node.args, made.get), **node.kwargs)
    return made


def _call(node: Node) -> tuple[str, list[Any]]:
    """Returns the name of what a node calls, and all its arguments in order."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return PYTHON.get(target, str(target)), list(node.args)
    name = target.overloadpacket.__name__
    arguments = []
    for i, argument in enumerate(target._schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        value = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name, default)
        arguments.append(value)
    if name in FILLS:
        return FILLS[name], [arguments[0], 0.0, *arguments[1:]]
    return NAMES.get(name, name), arguments
