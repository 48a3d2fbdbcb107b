"""Fields: written once, checked at construction and at every assignment, in classes however they are made."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
import pytest

import offlinekit.algos as algos
from offlinekit.algos import IQL, SAC, TD3, TD3PlusBC
from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.core.algo import Algo
from offlinekit.fields import Count, Interval, NonNegative
from offlinekit.naming import register
from offlinekit.nn.encoders import register_encoder
from offlinekit.testing import check_algo


class Bare(SAC):
    """Without a decorator."""

    caution: Annotated[NonNegative, "Weight of the disagreement."] = 0.1
    sizes: Annotated[list[int], "Made anew for each."] = field(default_factory=lambda: [1])
    gamma = 0.5


@dataclass(kw_only=True, eq=False, repr=False)
class Decorated(SAC):
    """With the decorator of our own classes of before."""

    caution: Annotated[NonNegative, "Weight of the disagreement."] = 0.1
    sizes: Annotated[list[int], "Made anew for each."] = field(default_factory=lambda: [1])
    gamma = 0.5


@dataclass
class Plain(SAC):
    """With the decorator as most people write it."""

    caution: Annotated[NonNegative, "Weight of the disagreement."] = 0.1
    sizes: Annotated[list[int], "Made anew for each."] = field(default_factory=lambda: [1])
    gamma = 0.5


for front in (Bare, Decorated, Plain):
    del Algo.known[front.__name__]  # By the catalogue other files parametrize their tests.


@pytest.mark.parametrize("front", [Bare, Decorated, Plain])
def test_a_subclass_is_a_dataclass_however_it_is_written(front):
    assert (front().caution, front().sizes, front().gamma, front(caution=2).caution) == (0.1, [1], 0.5, 2.0)
    assert front().sizes is not front().sizes
    known = front.hyperparameters()
    assert known["caution"].meaning == "Weight of the disagreement."
    assert known["sizes"].meaning == "Made anew for each."
    assert (known["gamma"].default, known["gamma"].kind) == (0.5, "float in [0, 1]")
    assert known["gamma"].meaning == SAC.hyperparameters()["gamma"].meaning
    with pytest.raises(ValueError, match=r"caution must be in \[0, inf\), got -1"):
        front(caution=-1)
    assert front(caution=0.3).config["caution"] == 0.3


def test_a_class_that_is_decorated_again_has_its_new_fields():
    class Mine(SAC):
        caution: Annotated[NonNegative, "Of a user's own."] = 0.1

    del Algo.known["Mine"]
    assert Mine().caution == 0.1
    Mine.caution = 0.3
    dataclass(init=False, repr=False, eq=False)(Mine)
    assert Mine().caution == Mine.hyperparameters()["caution"].default == 0.3


class Careful(SAC):
    """Declares one field, gives another its default, and merely inherits the rest."""

    care: Annotated[NonNegative, "How much."] = 0.2
    tau = 0.1


@pytest.mark.parametrize("front", [Bare, Decorated, Plain])
def test_of_several_parents_the_first_that_declares_a_field_gives_its_default(front):
    class Both(Careful, front):
        """`gamma` and `sizes` are of the second parent, though the first has SAC's `gamma` as well."""

    class Again(Both):
        """Inherits all of it."""

    for one in (Both, Again):
        assert (one().gamma, one().tau, one().care, one().caution) == (0.5, 0.1, 0.2, 0.1)
        assert one().sizes == [1]
        assert one().sizes is not one().sizes
        assert one.hyperparameters()["gamma"].meaning == SAC.hyperparameters()["gamma"].meaning


def test_of_several_parents_the_first_that_declares_a_field_gives_its_type_and_factory():
    class Narrow(Bare):
        """A narrower range, and another factory."""

        caution: Annotated[float, Interval("[1, 2]"), "From 1 to 2."] = 1.5
        sizes: Annotated[list[int], "Two."] = field(default_factory=lambda: [1, 2])

    class Aside(Bare):
        """Nothing of its own."""

    class Both(Aside, Narrow):
        """As Narrow."""

    assert (Both().caution, Both().sizes) == (1.5, [1, 2])
    assert Both().sizes is not Both().sizes
    with pytest.raises(ValueError, match=r"caution must be in \[1, 2\], got 0.5"):
        Both(caution=0.5)


CELL = '''
{future}
from dataclasses import dataclass
from typing import Annotated
from offlinekit.algos import BC
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.core.hyperparameters import NonNegative

class {name}Impl(BCImpl):
    """Of the cell."""

{decorator}
class {name}(BC):
    """Clones carefully."""

    caution: Annotated[NonNegative, "How careful."] = 0.1
    impl_class = {name}Impl
'''


@pytest.mark.parametrize("decorator", ["", "@dataclass", "@dataclass(kw_only=True, eq=False, repr=False)"])
@pytest.mark.parametrize("future", ["", "from __future__ import annotations"])
def test_classes_that_exec_makes_hold_the_contract(future, decorator):
    name = f"Cell{len(future)}{len(decorator)}"
    names = {"__name__": "no_module_of_this_name"}
    for _ in range(2):  # A cell that runs twice replaces what it defined.
        exec(CELL.format(future=future, decorator=decorator, name=name), names)
    front = names[name]
    assert front.hyperparameters()["caution"].meaning == "How careful."
    assert front(caution=0.3).caution == 0.3
    check_algo(front)


def test_annotations_may_name_what_is_local():
    kind = Annotated[Count, "Local."]

    class Local(SAC):
        """Its annotation is text, and stands for a local name."""

        many: kind = 3

    assert Local.hyperparameters()["many"].kind == "int in [1, inf)"
    with pytest.raises(ValueError, match="many must be in"):
        Local(many=0)


FRONTS = [getattr(algos, name) for name in algos.__all__]
FRONTS = [front for front in FRONTS if isinstance(front, type) and issubclass(front, Algo)]


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.__name__)
def test_every_field_has_a_meaning_in_words(front):
    for name, one in front.hyperparameters().items():
        assert one.meaning.endswith("."), f"{name}: {one.meaning!r}"
        assert "noqa" not in one.meaning
        assert one.kind, name
        if "None" in one.meaning and name != "impl_class":
            assert getattr(front(**{name: None}), name) is None or name == "seed"


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("batch_size", -1, ValueError, r"batch_size must be in \[1, inf\), got -1"),
        ("expectile", 5.0, ValueError, r"expectile must be in \(0, 1\), got 5.0"),
        ("expectile", "high", TypeError, "expectile must be a number"),
        ("encoder", "mpl", ValueError, "did you mean 'mlp'"),
        ("critic_encoder", 5, TypeError, "encoder must be a name"),
        ("reward_scaler", "standart", ValueError, "did you mean 'standard'"),
        ("device", "gpu", ValueError, "device must be 'auto', 'cpu'"),
        ("bach_size", 3, AttributeError, "IQL has no 'bach_size'; did you mean 'batch_size'"),
        ("expectil", 0.9, AttributeError, "did you mean 'expectile'"),
        ("seeds", [1, 2], AttributeError, "did you mean 'seed'"),
    ],
)
def test_an_assignment_is_checked_as_the_constructor_is(name, value, error, message):
    algo = IQL(seed=0)
    with pytest.raises(error, match=message):
        setattr(algo, name, value)
    assert algo.config == IQL(seed=0).config
    assert not hasattr(algo, "bach_size")


def test_what_is_the_users_own_passes():
    class Noted(IQL):
        """Sets names that are near a hyperparameter's where a class may."""

        def __post_init__(self):
            super().__post_init__()
            self.betas = [1, 2]

        @property
        def gammas(self):
            """Settable, and no field."""
            return self._gammas

        @gammas.setter
        def gammas(self, value):
            self._gammas = value

    algo = Noted()
    algo.note, algo._batch_siz, algo.gammas, algo.betas = "mine", 1, [0.9], [3]
    assert (algo.note, algo._batch_siz, algo.gammas, algo.betas) == ("mine", 1, [0.9], [3])


@pytest.mark.parametrize("name", ["expectil", "expectlie", "bach_size"])
def test_a_default_of_a_misspelt_name_is_refused(name):
    with pytest.raises(AttributeError, match=r"Misspelt has no .*; did you mean '(expectile|batch_size)'"):
        type(IQL)("Misspelt", (IQL,), {name: 0.9, "__module__": __name__})
    assert "Misspelt" not in Algo.known


def test_a_default_that_all_would_share_is_refused_with_what_to_write():
    small = {"type": "mlp", "hidden_sizes": [8]}
    with pytest.raises(
        ValueError, match=r"Shared.encoder has a dict as its default.*write encoder = "
    ) as refused:
        type(IQL)("Shared", (IQL,), {"encoder": small, "__module__": __name__})
    remedy = eval(str(refused.value).partition(" = ")[2], {"dataclasses": dataclasses})

    class Apart(IQL):
        """With what the message says."""

        encoder = remedy

    assert Apart().encoder == small
    assert Apart().encoder is not Apart().encoder
    assert Apart.hyperparameters()["encoder"].default == small
    assert repr(Apart(seed=1)) == "Apart(seed=1)"
    younger = {name: value for name, value in Apart(seed=1).config.items() if name != "encoder"}
    assert Apart(seed=1).migrated(younger) == Apart(seed=1).config


def test_what_a_class_says_is_its_own_passes():
    class Own(IQL):
        """Names that are near a hyperparameter's, declared."""

        betas: ClassVar[tuple[float, ...]] = (1.0, 2.0)
        gammas: Annotated[float, "Another hyperparameter."] = 0.5
        _batch_siz = 3
        note = "mine"

        def seeds(self):
            """A method."""
            return [self.seed]

    assert (Own.betas, Own(gammas=0.9).gammas, Own._batch_siz, Own.note) == ((1.0, 2.0), 0.9, 3, "mine")
    assert Own(seed=4).seeds() == [4]


def test_numbers_of_numpy_are_plain_when_assigned():
    algo = TD3PlusBC()
    algo.batch_size, algo.alpha = np.int64(8), np.float32(2)
    assert (type(algo.batch_size), type(algo.alpha)) == (int, float)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_keep_their_fields_and_checks(again):
    algo = again(TD3(seed=1, tau=0.5))
    assert (algo.config, repr(algo)) == (TD3(seed=1, tau=0.5).config, "TD3(seed=1, tau=0.5)")
    with pytest.raises(AttributeError, match="did you mean 'tau'"):
        algo.taus = 1
    assert dataclasses.replace(algo, seed=2).config == TD3(seed=2, tau=0.5).config


# Names.


def test_a_name_of_another_module_is_refused_for_fronts_and_impls():
    with pytest.raises(
        ValueError, match=r"'IQL' belongs to offlinekit.algos.iql.IQL.*class IQL\(..., overwrite=True"
    ):
        type("IQL", (IQL,), {"__module__": __name__})
    with pytest.raises(ValueError, match=r"'IQLImpl' belongs to offlinekit.algos.torch.iql_impl.IQLImpl"):
        type("IQLImpl", (IQLImpl,), {"__module__": __name__})
    with pytest.raises(
        ValueError, match=r"'Iql' belongs to offlinekit.algos.iql.IQL"
    ):  # One name for the command line.
        type("Iql", (IQL,), {"__module__": __name__})
    assert Algo.known["IQL"] is IQL


def test_a_name_is_replaced_on_purpose():
    try:
        mine = type(IQL)("IQL", (IQL,), {"__module__": __name__}, overwrite=True)
        assert algos.get_algo("iql") is mine
    finally:
        Algo.known["IQL"] = IQL


def test_one_module_replaces_its_own():
    known = {}
    for value in (1, 2):
        register(known, "net", lambda value=value: value)
    assert known["net"]() == 2


def test_a_script_that_is_imported_again_is_one_module(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from offlinekit.algos import SAC\nclass MySAC(SAC): pass\nif __name__ == '__main__': import mine\n"
    )
    subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, check=True)


def test_a_factory_of_another_module_keeps_its_name():
    register_encoder("of-a-test")(lambda space: None)
    with pytest.raises(ValueError, match="'of-a-test' belongs to"):
        register_encoder("of-a-test")(copy.copy)
    register_encoder("of-a-test", overwrite=True)(copy.copy)
