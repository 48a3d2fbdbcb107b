"""The formats of torch: ONNX, torch.export's .pt2 and TorchScript."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim, ExportedProgram

from offlinekit.core.export.exported_policy import ExportedPolicy, arguments
from offlinekit.errors import require
from offlinekit.types import Array

if TYPE_CHECKING:
    from gymnasium import spaces
    from torch import Tensor

    from offlinekit.types import ArrayTree


def traced(policy: ExportedPolicy) -> ExportedProgram:
    """Returns the policy as a graph without side effects, for batches of any size."""
    return functional(captured(policy))


def captured(policy: ExportedPolicy) -> ExportedProgram:
    """Returns the policy as the graph of what it calls, for batches of any size."""
    batch = Dim("batch", min=1)
    with torch.no_grad(), _quiet():
        program: ExportedProgram = torch.export.export(
            policy, policy.examples(), dynamic_shapes=(tuple({0: batch} for _ in policy.names),)
        )
    return program


def functional(program: ExportedProgram) -> ExportedProgram:
    """Returns a program whose operators change none of their arguments, without paths of source files."""
    with torch.no_grad(), _quiet():
        program = program.run_decompositions({})  # In-place operators become others, and no more.
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def write_torch_export(policy: ExportedPolicy, path: Path) -> None:
    """Writes torch.export's archive."""
    with path.open("wb") as file, _quiet():
        torch.export.save(traced(policy), file, extra_files={"offlinekit": json.dumps(policy.facts())})


def open_torch_export(path: Path, space: spaces.Space[Any]) -> Callable[[ArrayTree], Array]:
    """Returns what acts by an archive of torch.export."""
    with path.open("rb") as file, _quiet():
        return _acting(torch.export.load(file).module(), space)


def write_torchscript(policy: ExportedPolicy, path: Path) -> None:
    """Writes a traced TorchScript module."""
    with torch.no_grad(), _quiet(), path.open("wb") as file:
        notes = {"offlinekit": json.dumps(policy.facts())}
        torch.jit.save(torch.jit.freeze(_trace(policy)), file, _extra_files=notes)


def _trace(policy: ExportedPolicy) -> torch.jit.ScriptModule:
    trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace  # Not typed by torch.
    return trace(policy, policy.examples()).eval()


def open_torchscript(path: Path, space: spaces.Space[Any]) -> Callable[[ArrayTree], Array]:
    """Returns what acts by a TorchScript module."""
    with path.open("rb") as file, _quiet():
        read: Callable[..., torch.jit.ScriptModule] = torch.jit.load  # Not typed by torch.
        return _acting(read(file, map_location="cpu"), space)


def write_onnx(policy: ExportedPolicy, path: Path) -> None:
    """Writes an ONNX model; arguments and result are named, their first axis is "batch".

    Raises:
        MissingExtraError: Without the extra `onnx`.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx")
    with torch.no_grad(), _quiet():
        program: Any = torch.onnx.export(
            traced(policy), (), dynamo=True, verbose=False, input_names=policy.names, output_names=["actions"]
        )
        graph = program.model.graph
        for node in graph.all_nodes():
            node.metadata_props.clear()  # They hold the paths of source files.
        for value in (*graph.inputs, *graph.outputs):
            value.shape[0] = "batch"
        program.model.metadata_props.update(policy.facts())
        program.save(str(path), external_data=False)


def open_onnx(path: Path, space: spaces.Space[Any]) -> Callable[[ArrayTree], Array]:
    """Returns what acts by an ONNX model on one thread of the CPU."""
    runtime = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def act(observations: ArrayTree) -> Array:
        actions: Array = session.run(None, dict(zip(names, arguments(space, observations), strict=True)))[0]
        return actions

    return act


def _acting(module: Callable[..., Tensor], space: spaces.Space[Any]) -> Callable[[ArrayTree], Array]:
    def act(observations: ArrayTree) -> Array:
        with torch.no_grad():
            actions: Array = module(*map(torch.as_tensor, arguments(space, observations))).numpy()
        return actions

    return act


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses warnings of torch's exporters of their own deprecations; errors still come."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
