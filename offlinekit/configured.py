"""Classes whose annotated fields are settings: checked at construction and at every assignment."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from abc import ABCMeta
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast, get_origin

from typing_extensions import dataclass_transform

from offlinekit.errors import nearest
from offlinekit.fields import Described, checked, kind_in_words, meaning_of
from offlinekit.ground.hints import answer
from offlinekit.ground.hints import hint as hint_at

NEAR = 0.8
"""Likeness from which an unknown name is taken for a misspelt field."""


class _InOnePiece(ABCMeta):
    """Makes an instance whose fields are all set and checked, or none."""

    if not TYPE_CHECKING:  # The type checker reads keywords and types from the fields.

        @property
        def __signature__(cls) -> inspect.Signature:
            """The keywords with their defaults, for `help`, notebooks and completion."""
            defaults = {name: default_of(field) for name, field in fields_of(cls).items() if field.init}
            kind, none = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
            return inspect.Signature(
                [
                    inspect.Parameter(name, kind, default=none if value is dataclasses.MISSING else value)
                    for name, value in defaults.items()
                ]
            )

        def __call__(cls, *args: object, **given: object) -> object:
            """Makes an instance; names come first, so that the message is ours and not the dataclass's."""
            if args:
                first = dataclasses.fields(cls)[0]
                example = f"{cls.__name__}({first.name}={default_of(first)!r})"
                learns = "; data come with fit" if hasattr(cls, "fit") else ""
                raise TypeError(f"{cls.__name__} takes keywords only, such as {example}{learns}")
            given = cls.current_names(given)
            check_names(cls, given)
            instance = super().__call__(**given)
            instance.check_together()
            instance.__dict__["_is_complete"] = True
            return instance


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
class Configured(metaclass=_InOnePiece):
    """A dataclass, by inheritance alone, whose fields are keywords with a range and a meaning.

    `expectile: Annotated[Fraction, "Of the value."] = 0.7` is all that there is to write. A subclass that gives
    a field another default need not repeat its type or its meaning. A class attribute of a field's name is
    its default.

    Raises:
        TypeError: For an unknown keyword, with the nearest, or a value of another type.
        ValueError: For a value out of range.
        AttributeError: For an unknown name that is near a field's, assigned to an instance or set by a subclass.
    """

    field_word: ClassVar[str] = "field"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        values = _own_values(cls)
        for name in values.keys() - inspect.get_annotations(cls).keys():
            ((current, converted),) = cls.current_names({name: values[name]}).items()
            if current != name:
                delattr(cls, name)
                setattr(cls, current, converted)
        cls.__annotations__ = _own_annotations(cls)
        _check_defaults(cls)
        for (
            name
        ) in cls.__annotations__:  # A dataclass takes a parent's value, but not a parent's `field(...)`.
            if isinstance(value := getattr(cls, name, None), dataclasses.Field):
                setattr(cls, name, copy.copy(value))
        declared = {n: copy.copy(v) for n, v in vars(cls).items() if isinstance(v, dataclasses.Field)}
        dataclasses.dataclass(kw_only=True, eq=False, repr=False, init=False)(cls)
        if "__init__" not in vars(cls):  # One for all, since a dataclass would compile one for each class.
            type.__setattr__(cls, "__init__", Configured.__init__)
        for name, field in declared.items():  # For a decorator that makes the class a dataclass once more.
            setattr(cls, name, field)
        for name in _own_values(cls).keys() - cls.__annotations__.keys():
            if not any(hasattr(base, name) for base in cls.__bases__):
                refuse_misspelt(cls, name)

    @classmethod
    def current_names(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns keywords by the names that fields have today."""
        return given

    def check_together(self) -> None:
        """Checks what must hold between fields, at construction and after every assignment.

        Raises:
            ValueError: For values that exclude each other.
        """

    def take_up(self, name: str, before: object) -> None:
        """Applies the new value of a field to what was made from it, or raises; then the earlier value stays.

        Args:
            name: Of the field.
            before: Its value until now.
        """

    if not TYPE_CHECKING:  # The type checker reads keywords from the fields, and would let any name pass.

        def __init__(self, **given: object) -> None:
            fields = fields_of(type(self))
            values = {name: given[name] if name in given else default_of(fields[name]) for name in fields}
            for name, value in values.items():
                if value is not dataclasses.MISSING:
                    setattr(self, name, value)
                elif fields[name].init:
                    raise TypeError(f"{type(self).__name__} needs {name}=, which has no default")
            if hasattr(self, "__post_init__"):
                self.__post_init__()

        def __getattr__(self, name: str) -> object:
            """Raises AttributeError for a name that there is not, with what is meant by it."""
            if meant := "" if name.startswith("_") else answer("attribute", name):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{meant}")
            return object.__getattribute__(self, name)  # Raises; of a property the error within it.

        def __setattr__(self, name: str, value: object) -> None:
            """Sets a field to a value that was checked, or an attribute of the user's own."""
            fields = fields_of(type(self))
            if name not in fields and "_is_complete" in self.__dict__:
                ((name, value),) = self.current_names({name: value}).items()
            field = fields.get(name)
            if field is None:
                self._check_own(name)
                super().__setattr__(name, value)
                return
            value, before = checked(name, value, field.type), self.__dict__.get(name)
            super().__setattr__(name, value)
            if "_is_complete" not in self.__dict__:
                return
            try:
                self.check_together()
                self.take_up(name, before)
            except Exception:
                super().__setattr__(name, before)
                raise

    def __delattr__(self, name: str) -> None:
        """Deletes an attribute of the user's own."""
        if name in fields_of(type(self)):
            raise AttributeError(
                f"{name} of a {type(self).__name__} cannot be deleted; set it to another value"
            )
        super().__delattr__(name)

    def _check_own(self, name: str) -> None:
        """Refuses a new attribute whose name is nearly a field's."""
        passes = name.startswith("_") or name in self.__dict__ or hasattr(type(self), name)
        if passes or "_is_complete" not in self.__dict__:
            return
        refuse_misspelt(type(self), name)
        if meant := answer(type(self).field_word, name, fields_of(type(self))):
            raise AttributeError(f"{type(self).__name__} has no {name!r}{meant}")
        self.refuse_foreign(name)

    def refuse_foreign(self, name: str) -> None:
        """Refuses a new attribute that means something elsewhere and would do nothing here; does nothing by default."""


def refuse_misspelt(cls: type[Any], name: str) -> None:
    """Raises AttributeError for the name of an attribute that is nearly a field's."""
    known = fields_of(cls)
    if not name.startswith("_") and (meant := nearest(name, known, NEAR) or _by_initials(name, known)):
        raise AttributeError(
            f"{cls.__name__} has no {name!r}; did you mean {meant!r}? "
            f"An attribute of your own may begin with an underscore: _{name}"
        )


def _by_initials(name: str, known: Iterable[str]) -> str | None:
    """Returns the name whose last words have these initials, such as "learning_rate" of "lr"."""
    if len(name) < 2:
        return None
    return next(
        (long for long in known if "".join(w[:1] for w in long.split("_")[-len(name) :]) == name), None
    )


def fields_of(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Returns the fields of a class by name; not to be changed."""
    declared = vars(cls).get("__dataclass_fields__")  # None of a class that is being made.
    kept_of, kept = vars(cls).get("_fields_by_name", (None, {}))
    if declared is not None and declared is kept_of:
        return cast("dict[str, dataclasses.Field[Any]]", kept)
    by_name = {field.name: field for field in dataclasses.fields(cls)}
    if declared is not None:  # Kept with the class, it lives no longer than that.
        setattr(cls, "_fields_by_name", (declared, by_name))  # noqa: B010
    return by_name


def default_of(field: dataclasses.Field[Any]) -> object:
    """Returns the default of a field, made anew if there is a factory."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def describe(cls: type[Any]) -> dict[str, Described]:
    """Returns the fields of a class that are keywords, those of its own first."""
    fields = {name: field for name, field in fields_of(cls).items() if field.init}
    own = [name for name in inspect.get_annotations(cls) if name in fields]
    ordered = [fields[name] for name in dict.fromkeys([*own, *fields])]
    return {
        f.name: Described(f.name, default_of(f), kind_in_words(f.type), meaning_of(f.type)) for f in ordered
    }


def check_names(cls: type[Any], names: Iterable[str]) -> None:
    """Checks that keywords are fields of a class.

    Raises:
        TypeError: For an unknown one; it suggests the nearest.
    """
    known = [name for name, field in fields_of(cls).items() if field.init]
    for name in names:
        if name not in known:
            meant = hint_at(cls.field_word, name, known) or f"; it has: {', '.join(sorted(known))}"
            raise TypeError(f"{cls.__name__} has no {cls.field_word} {name!r}{meant}")


def _own_annotations(cls: type[Any]) -> dict[str, Any]:
    """Returns the annotations of a class as objects, with what it does not repeat of its parents' fields.

    Of several parents the first in the method resolution order that declares a field gives its default, as it does for
    methods; a dataclass alone would take it from the first parent that merely inherits the field.
    """
    known: dict[str, dataclasses.Field[Any]] = {}
    taken: dict[str, dataclasses.Field[Any]] = {}
    for base in reversed(cls.__mro__[1:]):
        fields = vars(base).get("__dataclass_fields__", {})
        taken |= fields
        known |= {name: fields[name] for name in inspect.get_annotations(base) if name in fields}
    own = _resolved(cls)
    for name, hint in own.items():
        meaning = meaning_of(known[name].type) if name in known else ""
        if meaning and not meaning_of(hint):
            own[name] = Annotated[hint, meaning]
    values = _own_values(cls).keys() | {name for name, field in known.items() if taken[name] is not field}
    return {**own, **{name: field.type for name, field in known.items() if name in values - own.keys()}}


def _check_defaults(cls: type[Any]) -> None:
    """Refuses a field's default that all instances of a class would share and could change."""
    for name, hint in cls.__annotations__.items():
        value = vars(cls).get(name)
        if ClassVar not in (hint, get_origin(hint)) and type(value).__hash__ is None:
            kind = type(value).__name__
            raise ValueError(
                f"{cls.__name__}.{name} has a {kind} as its default, which all its instances would share; "
                f"write {name} = dataclasses.field(default_factory=lambda: {value!r})"
            )


def _own_values(cls: type[Any]) -> dict[str, Any]:
    """Returns what the body of a class sets that is neither a class nor a function, a property and so on."""
    return {n: v for n, v in vars(cls).items() if not isinstance(v, type) and not hasattr(v, "__get__")}


def _resolved(cls: type[Any]) -> dict[str, Any]:
    """Returns what annotations of a class stand for: text is looked up where the class statement stands.

    Modules would not do: a cell of a notebook and code that `exec` runs need not have one.
    """
    frame = _class_statement()
    names = {**frame.f_locals, **vars(cls)}

    def resolved(hints: dict[str, Any]) -> dict[str, Any]:
        alone = type("Alone", (), {"__annotations__": hints})
        return inspect.get_annotations(alone, globals=frame.f_globals, locals=names, eval_str=True)

    def one(name: str, hint: object) -> object:
        try:
            return resolved({name: hint})[name]
        except NameError:
            if "ClassVar" not in str(hint):
                raise
            return ClassVar  # It may name the class itself, or what is imported for the type checker alone.

    hints = inspect.get_annotations(cls)
    try:
        return resolved(hints)
    except NameError:
        return {name: one(name, hint) for name, hint in hints.items()}


def _class_statement() -> FrameType:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        frame.f_globals.get("__name__") in (__name__, "abc") or frame.f_code.co_name == "__init_subclass__"
    ):
        frame = frame.f_back
    if frame is None:
        raise RuntimeError("a class statement runs in a frame")
    return frame
