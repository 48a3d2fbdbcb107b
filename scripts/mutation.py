"""Breaks of the package, by the name of the place and a pattern of what changes there.

    {"what": "highest critic for lowest", "in": "IQLImpl.data_values", "change": "_.amin(0)", "to": "_.amax(0)"}

`in` names a function, class, constant or field; `dqn_impl:build` where modules have the name in common, and
`dqn_impl:` all of a module. `change` occurs there once, or else `nth` says which time, from 1. An empty `to`
leaves out an argument, element, base or decorator; `pass` takes the place of a statement. `tests` names test files
other than the default ones.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from patterns import PatternError, Site, parse, sites, words


class MutationError(Exception):
    """A mutation that cannot be made, or a run that shows nothing."""


@dataclass(frozen=True)
class Place:
    """A named definition in a module.

    Attributes:
        module: Dotted.
        name: Qualified within the module; empty for the module itself.
        file: Of the module, relative to the repository.
        tree: Of the module.
        nodes: Several where a name is given again, as to the setter of a property.
    """

    module: str
    name: str
    file: Path
    tree: ast.Module
    nodes: list[ast.AST]

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"

    @cached_property
    def words(self) -> set[str]:
        """The names in it, by which to see quickly what cannot occur."""
        return words(self.nodes)


class Package:
    """The syntax trees of offlinekit, by name."""

    def __init__(self, root: Path) -> None:
        self.places: dict[str, list[Place]] = defaultdict(list)
        for path in sorted((root / "offlinekit").rglob("*.py")):
            file, tree = path.relative_to(root), ast.parse(path.read_text())
            module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
            names: dict[str, list[ast.AST]] = defaultdict(list, {"": [tree]})
            for name, node in _named(tree.body):
                names[name].append(node)
            for name, nodes in names.items():
                self.places[name].append(Place(module, name, file, tree, nodes))

    def find(self, address: str, pattern: list[ast.AST]) -> Place:
        """Returns the place of an address.

        Args:
            address: Of the form "name", "module:name" or "module:".
            pattern: What is looked for there; where else it occurs is told if there is no such place.

        Raises:
            MutationError: Where there is none, or more than one.
        """
        module, _, name = address.rpartition(":")
        same = self.places.get(name, [])
        found = [place for place in same if not module or f".{place.module}".endswith(f".{module}")]
        if not found:
            nearest = [*map(str, same), *get_close_matches(name, self.places)]
            raise MutationError(
                f"no {address}; nearest: {', '.join(nearest) or 'none'}; {self.found_in(pattern)}"
            )
        if len(found) > 1:
            raise MutationError(f"{address} is ambiguous: {', '.join(map(str, found))}")
        return found[0]

    def found_in(self, pattern: list[ast.AST]) -> str:
        """Says in which functions, constants and fields a pattern occurs."""
        every = (place for places in self.places.values() for place in places)
        leaves = (place for place in every if not isinstance(place.nodes[0], ast.Module | ast.ClassDef))
        needed = words(pattern)
        found = [str(place) for place in leaves if needed <= place.words and sites(pattern, place.nodes)]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return f"found in {', '.join(found[:3])}{more}" if found else "found nowhere"


def _named(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yields functions, classes, constants and fields in the body of a module or class with their names."""
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                yield prefix + name, node
                yield from _named(node.body, f"{prefix}{name}.")
            case (
                ast.FunctionDef(name=name)
                | ast.Assign(targets=[ast.Name(id=name)])
                | ast.AnnAssign(target=ast.Name(id=name))
            ):
                yield prefix + name, node


@dataclass(frozen=True)
class Mutation:
    """One break; see above.

    Attributes:
        algo: Whose tests must notice.
        what: The break, in words.
        place: Its address.
        change: Source of an expression or of statements.
        to: Source of what takes its place.
        nth: Which occurrence, from 1; 0 where there is one.
        tests: Test files to run in turn until one notices.
    """

    algo: str
    what: str
    place: str
    change: str
    to: str
    nth: int = 0
    tests: list[str] = field(default_factory=list)

    def apply(self, package: Package) -> tuple[Path, str]:
        """Returns the file that changes, relative to the repository, and its new source.

        Raises:
            MutationError: Where it is not clear what changes, or nothing does.
        """
        try:
            old, new = parse(self.change, self.to)
            place = package.find(self.place, old)
            return place.file, self._choose(old, place, package).source(new, place.tree)
        except (MutationError, PatternError) as error:
            raise MutationError(f"{self.algo}: {self.what}: {error}") from None

    def _choose(self, pattern: list[ast.AST], place: Place, package: Package) -> Site:
        found = sites(pattern, place.nodes)
        if len(found) == 1 and not self.nth:
            return found[0]
        if 0 < self.nth <= len(found) > 1:
            return found[self.nth - 1]
        if found:
            raise MutationError(
                f"{self.place} has {self.change!r} {len(found)} times; say more of it, or nth"
            )
        alike = (
            node for root in place.nodes for node in ast.walk(root) if isinstance(node, type(pattern[0]))
        )
        nearest = get_close_matches(self.change, map(ast.unparse, alike), n=1, cutoff=0.0) or ["none"]
        raise MutationError(
            f"{self.place} has no {self.change!r}; nearest in it: {nearest[0]}; {package.found_in(pattern)}"
        )


def load_mutations(path: Path) -> list[Mutation]:
    """Reads the mutations of one algorithm.

    Raises:
        MutationError: For a file that is no list of objects with the known keys.
    """
    default = [f"tests/algos/test_{path.stem}.py", "tests/nn/test_losses.py"]
    try:
        rows = json.loads(path.read_text())
        return [Mutation(path.stem, place=row.pop("in"), **{"tests": default, **row}) for row in rows]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MutationError(
            f"{path.name} must list objects of what, in, change, to (nth, tests): {error!r}"
        ) from None
