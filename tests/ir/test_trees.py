"""Round trips of value structures, and the messages when a structure is another one."""

import collections
import dataclasses
import enum
import subprocess
import sys
import types
from typing import NamedTuple

import pytest
import torch

from dync.errors import ArtifactError, GuardError
from dync.ir.binding import bind
from dync.ir.classes import exception, record_class
from dync.ir.flow import (
    DictTree,
    Input,
    Leaf,
    ListTree,
    OneOfTree,
    OpaqueTree,
    RecordTree,
    RowsTree,
    ScalarTree,
    Signature,
    TupleTree,
)
from dync.ir.interned import forgotten, intern, interned
from dync.ir.opaque import Opaque, from_opaque, to_opaque
from dync.ir.text import tree_text
from dync.ir.trees import build, match
from dync.ir.types import Ref, TensorType, Value, lit


class Pair(NamedTuple):
    left: object
    right: object


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: object
    b: int = 0

    def __post_init__(self):
        object.__setattr__(self, "b", self.b + 1)


@dataclasses.dataclass
class Mapped(collections.OrderedDict):
    logits: object = None
    loss: object = None

    def __post_init__(self):
        self.update((f.name, getattr(self, f.name)) for f in dataclasses.fields(self) if getattr(self, f.name) is not None)


class Color(enum.Enum):
    RED = 1


def ref(name):
    return Leaf(Ref(name))


HERE = __name__
RED = TupleTree((Leaf(lit(2)), OpaqueTree("enum", f"{HERE}:Color.RED")))
TREES = [
    (TupleTree((ref("x"), Leaf(lit(None)), ListTree((Leaf(lit(3)), ref("y"))))), ("X", None, [3, "Y"])),
    (DictTree((lit("a"), lit(1)), (ref("x"), TupleTree(()))), {"a": "X", 1: ()}),
    (DictTree((lit("a"),), (ref("x"),), "OrderedDict"), collections.OrderedDict(a="X")),
    (DictTree((lit("a"),), (ref("x"),), "defaultdict:list"), collections.defaultdict(list, a="X")),
    (RecordTree("namedtuple", f"{HERE}:Pair", ("left", "right"), (ref("x"), ref("y"))), Pair("X", "Y")),
    (RecordTree("mapping", f"{HERE}:Mapped", ("logits", "loss"), (ref("x"), Leaf(lit(None)))), Mapped("X")),
    (TupleTree((Leaf(lit(float("inf"))), OpaqueTree("torch.dtype", "torch.int8"))), (float("inf"), torch.int8)),
    (DictTree((RED, OpaqueTree("torch.dtype", "torch.int8")), (ref("x"), ref("y"))), {(2, Color.RED): "X", torch.int8: "Y"}),
    (DictTree((TupleTree((Leaf(lit(2)), Leaf(lit("a")))),), (Leaf(lit(None)),), "set"), {(2, "a")}),
]


@pytest.mark.parametrize("tree, value", TREES, ids=lambda v: type(v).__name__)
def test_build_and_match_are_inverse(tree, value):
    built = build(tree, {"x": "X", "y": "Y"}.__getitem__)
    assert built == value and type(built) is type(value)
    assert match(tree, value).items() <= {"x": "X", "y": "Y"}.items()


def test_texts_of_rows():
    """A text for each row: one of two constants, or one that is made of the row's numbers."""
    number, score = Leaf(Ref("0")), Leaf(Ref("1"))
    made = ScalarTree("add", (Leaf(lit("score ")), ScalarTree("format", (score, Leaf(lit(".2f"))))))
    tree = RowsTree("list", OneOfTree((number, Leaf(lit("none")), made)), ("number", "number"), (ref("which"), ref("scores")))
    assert tree_text(tree) == "list of ('none', 'score ' + format(1, '.2f'))[0] over rows of (which, scores)"
    found = build(tree, {"which": torch.tensor([1, 0, 1]), "scores": torch.tensor([0.5, 0.0, 0.25])}.__getitem__)
    assert found == ["score 0.50", "none", "score 0.25"]


def test_interned_texts_go_with_the_call():
    with forgotten():
        outer = intern("a")
        with forgotten():
            assert intern("a") == outer != (inner := intern("b")) and interned(inner) == "b"
        assert interned(outer) == "a" and intern("c") == inner


def test_defaultdict_keeps_its_factory():
    assert build(TREES[3][0], {"x": "X"}.__getitem__)["new"] == []


def test_a_dataclass_is_restored_as_it_was_not_initialised_again():
    tree = RecordTree("dataclass", f"{HERE}:Frozen", ("a", "b"), (ref("x"), Leaf(lit(5))))
    value = build(tree, {"x": 1}.__getitem__)
    assert type(value) is Frozen and value.b == 5 and match(tree, value) == {"x": 1}


@pytest.mark.parametrize("kind", ["namedtuple", "dataclass", "mapping"])
def test_a_class_that_is_not_loaded_gets_an_equivalent(kind):
    tree = RecordTree(kind, "not_loaded:Out.Inner", ("p", "q"), (ref("x"), Leaf(lit(2))))
    value = build(tree, {"x": 1}.__getitem__)
    assert (type(value).__name__, value.p, value.q) == ("Inner", 1, 2)
    assert type(build(tree, {"x": 1}.__getitem__)) is type(value)
    assert "not_loaded" not in sys.modules


def test_a_record_never_resolves_to_something_else():
    assert record_class("dataclass", "subprocess:Popen", ("args",)) is not subprocess.Popen
    assert record_class("namedtuple", f"{HERE}:Frozen", ("a", "b")) is not Frozen


def test_an_exception_class_is_found_or_made():
    assert type(exception("builtins:ValueError", ())) is ValueError
    assert type(exception("os:system", ())).__mro__[1] is Exception
    made = exception("elsewhere:Outer.HaltError", ("stop", 3), ("at",))
    assert type(made).__name__ == "HaltError"
    assert made.args == ("stop",)
    assert vars(made) == {"at": 3}


OPAQUE = [
    torch.float16,
    torch.device("cuda:1"),
    torch.Size([2, 3]),
    slice(1, None, 2),
    range(3),
    ...,
    b"\x00a",
    1 + 2j,
    complex("nan"),
    Color.RED,
]


@pytest.mark.parametrize("value", OPAQUE, ids=repr)
def test_opaque_constants_round_trip(value):
    back = from_opaque(to_opaque(value))
    assert type(back) is type(value) and repr(back) == repr(value)


def test_opaque_constants_without_their_library(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert from_opaque(OpaqueTree("torch.dtype", "torch.float16")) == Opaque("torch.dtype", "torch.float16")
    assert from_opaque(OpaqueTree("torch.Size", "(2, 3)")) == (2, 3)
    assert from_opaque(OpaqueTree("enum", "nowhere:Color.RED")) == Opaque("enum", "nowhere:Color.RED")


@pytest.mark.parametrize(
    "tree",
    [OpaqueTree("slice", "slice(1, open('x'))"), OpaqueTree("torch.dtype", "load"), OpaqueTree("what", "1"), OpaqueTree("bytes", "3+")],
)
def test_a_bad_constant_is_an_artifact_error(tree):
    with pytest.raises(ArtifactError, match=tree.kind):
        from_opaque(tree)


@pytest.mark.parametrize(
    "tree, value, message",
    [
        (ListTree((ref("x"),)), (1,), "argument 'args': tuple of 1 given, captured with list of 1"),
        (TupleTree((ref("x"), Leaf(lit(2)))), (1, 3), "'args[1]': int 3 given, fixed at capture as 2; name it in params to let it vary"),
        (TupleTree((Leaf(lit(1)),)), (True,), "argument 'args[0]': bool True given, fixed at capture as 1"),
        (DictTree((lit("a"), lit("b")), (ref("x"), ref("y"))), {"b": 1, "a": 2}, "captured with dict with keys ['a', 'b'] in this order"),
        (
            TupleTree((RecordTree("namedtuple", f"{HERE}:Pair", ("left", "right"), (ref("x"), ref("y"))),)),
            ((1, 2),),
            "argument 'args[0]': tuple given, captured with Pair",
        ),
        (TupleTree((ref("x"), ref("x"))), (1, 2), "argument 'args[1]': not the same object as 'x', which at capture it was"),
        (OpaqueTree("torch.dtype", "torch.int8"), torch.int16, "argument 'args': torch.int16 given, captured with torch.int8"),
    ],
)
def test_another_structure_says_where(tree, value, message):
    with pytest.raises(GuardError) as caught:
        match(tree, value)
    assert message in str(caught.value)


X = Value("x", TensorType("float32", ()))
SIGNATURE = Signature(
    ("x", "mode", "scale"),
    TupleTree((ref("x"), Leaf(lit("fast")))),
    DictTree((lit("z"),), (ref("z"),)),
    (Input(X, "x"),),
    defaults=(("mode", lit("fast")), ("scale", lit(None))),
)


@pytest.mark.parametrize(
    "args, kwargs", [((1, "fast"), {"z": 2}), ((1,), {"z": 2}), ((), {"mode": "fast", "x": 1, "z": 2}), ((1, "fast", None), {"z": 2})]
)
def test_arguments_bind_by_position_name_and_default(args, kwargs):
    assert bind(SIGNATURE, args, kwargs) == {"x": 1, "z": 2}


@pytest.mark.parametrize(
    "args, kwargs, message",
    [
        ((1,), {}, "argument 'z' is missing"),
        ((), {"z": 2}, "argument 'x' is missing"),
        ((1,), {"x": 1, "z": 2}, "argument 'x' is given twice"),
        ((1, "slow"), {"z": 2}, "argument 'mode': str 'slow' given, fixed at capture as 'fast'"),
        ((1, "fast", 3, 4), {"z": 2}, "4 positional arguments"),
        ((1,), {"z": 2, "scale": 4}, "argument 'scale': int 4 given, left out at capture, which fixed its default None"),
        ((1,), {"z": 2, "what": 4}, "argument 'what' was not given at capture; it had x, mode, z"),
    ],
)
def test_arguments_that_do_not_bind(args, kwargs, message):
    with pytest.raises(GuardError) as caught:
        bind(SIGNATURE, args, kwargs)
    assert message in str(caught.value)


def test_no_torch_is_imported():
    code = "import sys, dync.ir.trees, dync.ir.binding, dync.ir.trace; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd="/").returncode == 0


@pytest.mark.parametrize("base", [collections.OrderedDict, dict])
def test_dicts_of_ones_own_classes_are_of_these_or_of_their_like(base, monkeypatch):
    own = type("Own", (base,), {"__module__": "own_module", "shout": lambda self: "!"})
    module = types.ModuleType("own_module")
    module.Own = own
    monkeypatch.setitem(sys.modules, "own_module", module)
    tree = RecordTree("dict", "own_module:Own", ("tokens", "score"), (Leaf(Ref("t")), Leaf(lit(0.5))))
    made = build(tree, {"t": [1, 2]}.__getitem__)
    assert type(made) is own and made.shout() == "!" and list(made.items()) == [("tokens", [1, 2]), ("score", 0.5)]
    assert match(tree, made) == {"t": [1, 2]}
    with pytest.raises(GuardError, match=r"captured with Own\(tokens, score\)"):
        match(tree, own())
    monkeypatch.delitem(sys.modules, "own_module")
    like = build(tree, {"t": 3}.__getitem__)
    assert type(like).__name__ == "Own" and like == {"tokens": 3, "score": 0.5} and like.tokens == 3 and not hasattr(like, "more")
