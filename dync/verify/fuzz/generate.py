"""Random dynamic networks as Python source: what a user could have written, with control flow that depends on data.

    network ::= imports, result classes, submodules, Net, build(), inputs(), example_inputs()
    forward ::= statement*, return                  every statement belongs to one feature of FEATURES

A network is a pure function of (seed, features). Tensors are [B, D] float32 and stay bounded, so that backends are compared
on numbers of ordinary size. Names that a statement may use are tracked by kind, so that eager PyTorch runs every network.
"""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass, field

CORE = frozenset(
    {
        "if",
        "ternary",
        "logic",
        "early-return",
        "loop",
        "break",
        "item",
        "any-all",
        "argmax",
        "counter",
        "list",
        "dict",
        "dataclass",
        "namedtuple",
        "none",
        "submodule",
        "static-flag",
        "raise",
    }
)
"""Constructs that every capture must take."""

FEATURES = CORE | {
    "while",
    "range-item",
    "continue",
    "for-else",
    "try",
    "attribute",
    "buffer",
    "in-place",
    "alias",
    "mask-write",
    "nonzero",
    "switch",
    "closure",
    "walrus",
    "match",
    "input-mutation",
}


@dataclass(frozen=True)
class Network:
    """One generated network; `source` is a whole Python file with build(), inputs() and example_inputs()."""

    seed: int
    features: frozenset[str]
    source: str


@dataclass
class Scope:
    """Names in reach, by kind: mats float [B, D]; ints and floats Python numbers; lists of mats; `returns` allows early returns."""

    mats: list[str]
    ints: list[str] = field(default_factory=list)
    floats: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    owned: list[str] = field(default_factory=list)
    """Mats that are fresh storage of this function, so that writing them in place touches no input."""
    depth: int = 0
    loop: bool = False
    top: bool = True

    def inner(self, loop: bool | None = None) -> Scope:
        return Scope(
            list(self.mats),
            list(self.ints),
            list(self.floats),
            list(self.lists),
            list(self.owned),
            self.depth + 1,
            self.loop if loop is None else loop,
            self.top,
        )


def indent(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines] or ["    pass"]


class Writer:
    """Writes one network. Methods named after a feature return the lines of one statement."""

    def __init__(self, seed: int, features: frozenset[str], size: int) -> None:
        self.rng = random.Random(f"dync-fuzz-{seed}")
        self.features = features
        self.size = size
        self.count = 0
        self.subs: list[str] = []
        self.rows, self.width = self.rng.choice([(1, 6), (3, 6), (4, 8), (2, 5)])
        self.self_attributes: dict[str, str] = {}

    # -- small choices ------------------------------------------------------------------------------------------------
    def has(self, feature: str) -> bool:
        return feature in self.features

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def number(self, spread: float = 0.3) -> str:
        return repr(round(self.rng.gauss(0, spread), 3))

    def mat(self, s: Scope) -> str:
        return self.rng.choice(s.mats[-4:] if self.chance(0.7) else s.mats)

    def linear(self) -> str:
        name = f"lin{self.rng.randrange(3)}"
        self.self_attributes.setdefault(name, f"nn.Linear({self.width}, {self.width})")
        return f"self.{name}"

    def gate(self, ways: int) -> str:
        name = f"gate{ways}"
        self.self_attributes.setdefault(name, f"nn.Linear({self.width}, {ways})")
        return f"self.{name}"

    # -- expressions ---------------------------------------------------------------------------------------------------
    def value(self, s: Scope) -> str:
        """A bounded [B, D] expression."""
        a, b = self.mat(s), self.mat(s)
        forms = [
            f"torch.tanh({self.linear()}({a}))",
            f"torch.relu({self.linear()}({a})).clamp(max=2.0)",
            f"torch.tanh({a} + {b})",
            f"torch.tanh({a} * {b})",
            f"({a} - {b}) * 0.5",
            f"torch.sigmoid({a}) - 0.5",
            f"torch.where({a} > {self.number()}, {a}, {b})",
            f"{a}.clamp({-0.9}, {1.1})",
            f"{a} - {a}.mean(1, keepdim=True)",
            f"torch.softmax({a}, dim=-1)",
            f"{a}.flip(0)",
            f"{a}.roll(1, 1)",
            f"F.gelu({a})",
            f"torch.cat([{a}[:, :2], {b}[:, 2:]], 1)",
            f"{a} * {self.number(0.7)}",
            f"torch.tanh({a} * {b}.abs().max())",
            f"{a}.cumsum(1) * 0.25",
            f"{a}.sort(-1).values",
            f"-{a}",
            f"torch.maximum({a}, {b})",
        ]
        if s.ints:
            forms += [f"torch.tanh({a} + 0.1 * {self.rng.choice(s.ints)})"]
        if s.floats:
            forms += [f"torch.tanh({a} * {self.rng.choice(s.floats)})"] * 2
        if s.lists:
            chosen = self.rng.choice(s.lists)
            forms += [f"torch.stack({chosen}).mean(0)", f"{chosen}[-1]", f"sum({chosen}) / len({chosen})"]
        if self.subs and s.top:
            forms += [f"self.{self.rng.choice(self.subs)}({a})"] * 3
        return self.rng.choice(forms)

    def atom(self, s: Scope) -> str:
        """A condition over data (or, seldom, over a Python number)."""
        a, b = self.mat(s), self.mat(s)
        forms = [
            f"{a}.mean() > {self.number(0.15)}",
            f"{a}.sum() < {b}.sum()",
            f"{a}.abs().mean() > {abs(float(self.number(0.6)))}",
            f"{a}.norm() > {round(self.rng.uniform(0.3, 3.5), 3)}",
            f"({a} * {b}).mean() <= {self.number(0.1)}",
        ]
        if self.has("item"):
            forms += [
                f"{a}.mean().item() > {self.number(0.15)}",
                f"float({a}.max()) >= {round(self.rng.uniform(0, 1.2), 3)}",
                f"{a}[0, 0].item() < {self.number()}",
            ]
        if self.has("any-all"):
            forms += [
                f"({a} > {round(self.rng.uniform(0.4, 1.2), 3)}).any()",
                f"({a} > {round(self.rng.uniform(-1.2, -0.3), 3)}).all()",
                f"torch.any({a}.mean(1) > {self.number()})",
                f"not ({a}.abs() < {round(self.rng.uniform(0.5, 1.5), 3)}).all()",
            ]
        if self.has("argmax"):
            forms += [
                f"{self.gate(2)}({a}).mean(0).argmax() == {self.rng.randrange(2)}",
                f"{a}.softmax(-1).max() > {round(self.rng.uniform(0.2, 0.6), 3)}",
            ]
        if s.ints:
            forms += [f"{self.rng.choice(s.ints)} {self.rng.choice(['>', '<', '==', '>='])} {self.rng.randrange(3)}"]
        if s.floats:
            forms += [f"{self.rng.choice(s.floats)} {self.rng.choice(['>', '<='])} {self.number()}"] * 2
        if self.has("logic"):
            low = self.rng.gauss(-0.1, 0.1)
            forms += [f"{low:.3f} < {a}.mean() < {low + self.rng.uniform(0.05, 0.4):.3f}"]
        return self.rng.choice(forms)

    def condition(self, s: Scope) -> str:
        if self.has("logic") and self.chance(0.3):
            x, y = self.atom(s), self.atom(s)
            return self.rng.choice([f"{x} and {y}", f"{x} or {y}", f"not ({x})", f"({x} or {y}) and not ({self.atom(s)})"])
        return self.atom(s)

    # -- statements ----------------------------------------------------------------------------------------------------
    def assign(self, s: Scope) -> list[str]:
        expression = self.value(s)
        if self.chance(0.6):
            target = self.rng.choice([m for m in s.mats if m != "x"] or [self.fresh("h")])
        else:
            target = self.fresh("h")
        if target not in s.mats:
            s.mats.append(target)
        if target in s.owned:
            s.owned.remove(target)
        return [f"{target} = {expression}"]

    def if_(self, s: Scope) -> list[str]:
        lines = [f"if {self.condition(s)}:", *indent(self.body(s.inner()))]
        while self.chance(0.2):
            lines += [f"elif {self.condition(s)}:", *indent(self.body(s.inner()))]
        if self.chance(0.6):
            lines += ["else:", *indent(self.body(s.inner()))]
        if self.chance(0.25):  # a name that both branches define
            name = self.fresh("h")
            lines = [f"if {self.condition(s)}:", *indent([f"{name} = {self.value(s)}"]), "else:", *indent([f"{name} = {self.value(s)}"])]
            s.mats.append(name)
        return lines

    def ternary(self, s: Scope) -> list[str]:
        name = self.fresh("h")
        line = f"{name} = {self.value(s)} if {self.condition(s)} else {self.value(s)}"
        s.mats.append(name)
        return [line]

    def item(self, s: Scope) -> list[str]:
        a, name = self.mat(s), self.fresh("f")
        reads = ["{0}.mean().item()", "float({0}.max())", "{0}.abs().mean().item() * 2 - 0.5", "max({0}[0, 0].item(), 0.1)"]
        line = f"{name} = {self.rng.choice(reads).format(a)}"
        s.floats.append(name)
        return [line]

    def counter(self, s: Scope) -> list[str]:
        if not s.ints or self.chance(0.4):
            name = self.fresh("k")
            s.ints.append(name)
            return [f"{name} = {self.rng.randrange(3)}"]
        return [f"{self.rng.choice(s.ints)} += {self.rng.randrange(1, 3)}"]

    def list_(self, s: Scope) -> list[str]:
        if s.lists and self.chance(0.7):
            return [f"{self.rng.choice(s.lists)}.append({self.mat(s)})"]
        name = self.fresh("outs")
        s.lists.append(name)
        return [f"{name} = [{self.mat(s)}]"]

    def exit_tail(self, s: Scope) -> list[str]:
        """What an iteration does at its end: leave the loop, go on early, or return."""
        lines: list[str] = []
        if self.has("break") and self.chance(0.6):
            lines += [f"if {self.condition(s)}:", "    break"]
        if self.has("continue") and self.chance(0.3):
            lines = [f"if {self.condition(s)}:", "    continue", *lines]
        if self.has("early-return") and self.chance(0.3):
            lines += [f"if {self.condition(s)}:", f"    return {self.result(s)}"]
        return lines

    def loop(self, s: Scope) -> list[str]:
        name, stack = self.rng.choice([m for m in s.mats if m != "x"] or s.mats), f"layers{self.rng.randrange(2)}"
        layers = self.rng.choice([2, 3])
        self.self_attributes.setdefault(stack, f"nn.ModuleList([nn.Linear({self.width}, {self.width}) for _ in range({layers})])")
        inner, target = s.inner(loop=True), name if name != "x" else self.fresh("h")
        lines = [f"{target} = {name}"] * (target != name)
        if target not in s.mats:
            s.mats.append(target)
            inner.mats.append(target)
        if self.chance(0.5):
            index = self.fresh("i")
            inner.ints.append(index)
            lines += [f"for {index}, layer in enumerate(self.{stack}):"]
        else:
            lines += [f"for layer in self.{stack}:"]
        lines += indent([f"{target} = torch.tanh(layer({target}))", *self.body(inner, limit=2), *self.exit_tail(inner)])
        if self.has("for-else") and self.chance(0.3):
            lines += ["else:", *indent(self.body(s.inner(), limit=1))]
        return lines

    def while_(self, s: Scope) -> list[str]:
        k, inner = self.fresh("k"), s.inner(loop=True)
        target = self.rng.choice([m for m in s.mats if m != "x"] or [""]) or self.fresh("h")
        lines = [f"{k} = 0"]
        if target not in s.mats:
            lines += [f"{target} = x"]
            s.mats.append(target)
            inner.mats.append(target)
        inner.ints.append(k)
        test = self.rng.choice(
            [
                f"{target}.norm() > {round(self.rng.uniform(0.4, 2), 2)}",
                f"{target}.abs().max().item() > {round(self.rng.uniform(0.1, 0.8), 2)}",
            ]
        )
        lines += [
            f"while {k} < {self.rng.choice([2, 3, 4])} and {test}:",
            *indent(
                [
                    f"{target} = {target} * {round(self.rng.uniform(0.4, 0.9), 2)}",
                    f"{k} += 1",
                    *self.body(inner, limit=1),
                    *self.exit_tail(inner)[:2],
                ]
            ),
        ]
        s.ints.append(k)
        return lines

    def range_item(self, s: Scope) -> list[str]:
        n, inner, target = self.fresh("n"), s.inner(loop=True), self.fresh("h")
        a = self.mat(s)
        s.mats.append(target)
        s.ints.append(n)
        inner.mats.append(target)
        return [
            f"{n} = int(({a}.mean(0) > {self.number(0.2)}).sum().item()) % 4",
            f"{target} = {a}",
            f"for _ in range({n}):",
            *indent([f"{target} = torch.tanh({self.linear()}({target}))", *self.body(inner, limit=1)]),
        ]

    def raise_(self, s: Scope) -> list[str]:
        a, cls = self.mat(s), self.rng.choice(["ValueError", "RuntimeError", "ArithmeticError"])
        message = self.rng.choice(['"fuzz: too large"', '"fuzz: rejected", 3', f'f"fuzz: {self.rng.randrange(9)}"'])
        return [f"if {a}.abs().max() > {round(self.rng.uniform(1.0, 2.5), 2)}:", f"    raise {cls}({message})"]

    def try_(self, s: Scope) -> list[str]:
        a, target = self.mat(s), self.fresh("h")
        s.mats.append(target)
        return [
            "try:",
            f"    {target} = self.checked({a})",
            "except ValueError:",
            f"    {target} = {a} * 0.5",
            *(["else:", f"    {target} = {target} + 0.1"] if self.chance(0.3) else []),
        ]

    def attribute(self, s: Scope) -> list[str]:
        self.self_attributes.setdefault("calls", "0")
        if self.chance(0.4):
            name = self.fresh("k")
            s.ints.append(name)
            return [f"{name} = self.calls % 3"]
        return [f"if {self.condition(s)}:", "    self.calls += 1"] if self.chance(0.6) else ["self.calls = self.calls + 1"]

    def buffer(self, s: Scope) -> list[str]:
        self.self_attributes.setdefault("ema", "buffer")
        a, write = (
            self.mat(s),
            self.rng.choice(
                [
                    "self.ema.mul_(0.9).add_(0.1 * {0}.mean(0).detach())",
                    "self.ema.copy_({0}.mean(0))",
                    "self.ema = self.ema * 0.5 + {0}.mean(0)",
                ]
            ),
        )
        if self.chance(0.4):
            name = self.fresh("h")
            line = f"{name} = torch.tanh({a} + self.ema)"
            s.mats.append(name)
            return [line]
        return [f"if {self.condition(s)}:", "    " + write.format(a)] if self.chance(0.6) else [write.format(a)]

    def owned(self, s: Scope) -> tuple[str, list[str]]:
        if s.owned and self.chance(0.5):
            return self.rng.choice(s.owned), []
        name = self.fresh("w")
        line = f"{name} = {self.mat(s)}.clone()"
        s.mats.append(name)
        s.owned.append(name)
        return name, [line]

    def in_place(self, s: Scope) -> list[str]:
        w, lines = self.owned(s)
        a = self.mat(s)
        write = self.rng.choice(
            [
                f"{w}[:, 0] = {self.number()}",
                f"{w}.mul_(0.5)",
                f"{w}[0] = {a}[-1]",
                f"{w}[0].add_(0.25)",
                f"{w} += 0.1",
                f"{w}.clamp_(-0.5, 0.5)",
            ]
        )
        return [*lines, f"if {self.condition(s)}:", f"    {write}"] if self.chance(0.5) else [*lines, write]

    def alias(self, s: Scope) -> list[str]:
        w, lines = self.owned(s)
        view = self.fresh("v")
        lines += [f"{view} = {w}{self.rng.choice(['[:, :2]', '[0]', '.view(-1)', '.t()'])}"]
        lines += [f"if {self.condition(s)}:", f"    {view}.mul_({round(self.rng.uniform(-1, 1), 2)})"]
        return lines

    def mask_write(self, s: Scope) -> list[str]:
        w, lines = self.owned(s)
        a, m = self.mat(s), self.fresh("m")
        lines += [f"{m} = {a}.mean(1) > {self.number(0.2)}"]
        write = self.rng.choice(
            [
                [f"{w}[{m}] = {self.number()}"],
                [f"{w}[{m}] = torch.tanh({self.linear()}({w}[{m}]))"],
                [f"{w}[{a} > {self.number()}] *= 0.5"],
                [f"if {m}.any():", f"    {w}[{m}] = {a}[{m}] * 0.5"],
            ]
        )
        return lines + write

    def nonzero(self, s: Scope) -> list[str]:
        a, idx, n, out = self.mat(s), self.fresh("idx"), self.fresh("n"), self.fresh("h")
        lines = [
            f"{idx} = ({a}.mean(1) > {self.number(0.2)}).nonzero().squeeze(1)",
            f"{n} = {idx}.{self.rng.choice(['numel()', 'shape[0]', 'size(0)'])}",
        ]
        lines += self.rng.choice(
            [
                [
                    f"if {n} > 0:",
                    f"    {out} = {a}.index_add(0, {idx}, torch.tanh({self.linear()}({a}[{idx}])))",
                    "else:",
                    f"    {out} = {a}",
                ],
                [f"{out} = {a}.clone()", f"{out}[{idx}] = {a}[{idx}] * 0.5"],
                [f"{out} = {a} + 0.1 * {n}"],
            ]
        )
        s.mats.append(out)
        s.ints.append(n)
        return lines

    def switch(self, s: Scope) -> list[str]:
        self.self_attributes.setdefault("experts", f"nn.ModuleList([nn.Linear({self.width}, {self.width}) for _ in range(3)])")
        a, name = self.mat(s), self.fresh("h")
        lines = [f"{name} = torch.tanh(self.experts[int({self.gate(3)}({a}).mean(0).argmax())]({a}))"]
        s.mats.append(name)
        return lines

    def closure(self, s: Scope) -> list[str]:
        total, f, a = self.fresh("k"), self.fresh("bump"), self.mat(s)
        if not (s.depth == 0):
            return self.assign(s)
        lines = [
            f"{total} = 0",
            f"def {f}(t):",
            f"    nonlocal {total}",
            f"    if t.mean() > {self.number(0.2)}:",
            f"        {total} += 1",
            "        return t * 0.5",
            "    return t",
        ]
        name = self.fresh("h")
        lines += [f"{name} = {f}({f}({a}))"]
        s.mats.append(name)
        s.ints.append(total)
        return lines

    def walrus(self, s: Scope) -> list[str]:
        a, name, target = self.mat(s), self.fresh("f"), self.rng.choice([m for m in s.mats if m != "x"] or [""])
        if not target:
            return self.assign(s)
        line = [f"if ({name} := {a}.mean().item()) > {self.number(0.2)}:", f"    {target} = {target} * {name}"]
        s.floats.append(name)
        return line

    def match(self, s: Scope) -> list[str]:
        a, target = self.mat(s), self.fresh("h")
        body = [f"    case {i}:\n        {target} = {self.value(s)}" for i in range(2)]
        lines = [
            f"match int({self.gate(3)}({a}).mean(0).argmax()):",
            *"\n".join(body).splitlines(),
            "    case _:",
            f"        {target} = {self.value(s)}",
        ]
        s.mats.append(target)
        return lines

    def input_mutation(self, s: Scope) -> list[str]:
        if not s.top:
            return self.assign(s)
        return [f"if {self.condition(s)}:", f"    {self.rng.choice(['x.mul_(0.5)', 'x[:, 0] = 0.0', 'x += 0.1'])}"]

    def static_flag(self, s: Scope) -> list[str]:
        self.self_attributes.setdefault("wide", repr(self.chance(0.5)))
        target = self.rng.choice([m for m in s.mats if m != "x"] or [""]) or self.fresh("h")
        lines = ["if self.wide:", f"    {target} = {self.value(s)}", "else:", f"    {target} = {self.value(s)}"]
        if target not in s.mats:
            s.mats.append(target)
        return lines

    def early_return(self, s: Scope) -> list[str]:
        return [f"if {self.condition(s)}:", f"    return {self.result(s)}"]

    # -- results -------------------------------------------------------------------------------------------------------
    def leaf(self, s: Scope) -> str:
        forms = [self.mat(s)] * 3 + [f"{self.mat(s)}.mean()"]
        forms += [self.rng.choice(s.ints)] if s.ints else []
        forms += [self.rng.choice(s.floats)] if s.floats else []
        forms += [self.rng.choice(s.lists)] if s.lists else []
        forms += ["None"] if self.has("none") and self.chance(0.3) else []
        return self.rng.choice(forms)

    def result(self, s: Scope) -> str:
        if not s.top:
            return self.mat(s)
        forms = [self.mat(s), f"({self.mat(s)}, {self.leaf(s)})"]
        if self.has("list"):
            forms += ["[" + ", ".join(self.leaf(s) for _ in range(self.rng.randrange(1, 4))) + "]"]
        if self.has("dict"):
            forms += [
                f'{{"y": {self.mat(s)}, "exit": {self.leaf(s)}}}',
                f'{{"y": {self.mat(s)}, "parts": ({self.leaf(s)}, {self.leaf(s)})}}',
            ]
        if self.has("dataclass"):
            forms += [f"Result({self.mat(s)}, {self.leaf(s)})"]
        if self.has("namedtuple"):
            forms += [f"Pair({self.mat(s)}, {self.leaf(s)})"]
        if self.has("none"):
            forms += [f"({self.mat(s)}, None)"]
        return self.rng.choice(forms)

    # -- blocks ---------------------------------------------------------------------------------------------------------
    STATEMENTS = {
        "if": ("if_", 6),
        "ternary": ("ternary", 3),
        "item": ("item", 2),
        "counter": ("counter", 3),
        "list": ("list_", 2),
        "loop": ("loop", 3),
        "while": ("while_", 2),
        "range-item": ("range_item", 1),
        "raise": ("raise_", 1),
        "try": ("try_", 1),
        "attribute": ("attribute", 1),
        "buffer": ("buffer", 1),
        "in-place": ("in_place", 2),
        "alias": ("alias", 1),
        "mask-write": ("mask_write", 1),
        "nonzero": ("nonzero", 1),
        "switch": ("switch", 1),
        "closure": ("closure", 1),
        "walrus": ("walrus", 1),
        "match": ("match", 1),
        "input-mutation": ("input_mutation", 1),
        "static-flag": ("static_flag", 1),
        "early-return": ("early_return", 3),
    }
    COMPOUND = frozenset({"if", "loop", "while", "range-item", "closure", "match"})

    def statement(self, s: Scope) -> list[str]:
        names = [
            n
            for n in self.STATEMENTS
            if self.has(n) and not (s.depth >= 2 and n in self.COMPOUND) and not (s.depth >= 1 and n in ("while", "range-item"))
        ]
        weights = [self.STATEMENTS[n][1] for n in names]
        name = self.rng.choices(["assign", *names], [6, *weights])[0]
        return self.assign(s) if name == "assign" else getattr(self, self.STATEMENTS[name][0])(s)

    def body(self, s: Scope, limit: int = 3) -> list[str]:
        return [line for _ in range(self.rng.randint(1, limit)) for line in self.statement(s)]

    def module(self, name: str, size: int, top: bool) -> list[str]:
        self.self_attributes = {}
        s = Scope(["x"], top=top)
        lines = [f"h = torch.tanh({self.linear()}(x))"]
        s.mats.append("h")
        for _ in range(size):
            lines += self.statement(s)
        lines += [f"return {self.result(s)}"]
        init = ["super().__init__()"] + [
            f'self.register_buffer("{k}", torch.zeros({self.width}))' if v == "buffer" else f"self.{k} = {v}"
            for k, v in self.self_attributes.items()
        ]
        if top:
            init += [f"self.{sub} = {sub.capitalize()}()" for sub in self.subs]
        checked = (
            []
            if not self.has("try")
            else [
                "",
                "def checked(self, t):",
                f"    if t.abs().max() > {round(self.rng.uniform(0.6, 1.5), 2)}:",
                '        raise ValueError("fuzz: checked")',
                "    return torch.tanh(t)",
            ]
        )
        return [
            f"class {name}(nn.Module):",
            *indent(["def __init__(self):", *indent(init), "", "def forward(self, x):", *indent(lines), *checked]),
            "",
            "",
        ]

    def file(self) -> str:
        lines = [
            "from dataclasses import dataclass",
            "from typing import Any, NamedTuple",
            "",
            "import torch",
            "import torch.nn.functional as F",
            "from torch import nn",
            "",
            "",
        ]
        if self.has("namedtuple"):
            lines += ["class Pair(NamedTuple):", "    y: torch.Tensor", "    extra: Any", "", ""]
        if self.has("dataclass"):
            lines += ["@dataclass", "class Result:", "    y: torch.Tensor", "    extra: Any", "", ""]
        for i in range(self.rng.randrange(3) if self.has("submodule") else 0):
            lines += self.module(f"Sub{i}", self.rng.randint(1, 3), top=False)
            self.subs.append(f"sub{i}")
        lines += self.module("Net", self.size, top=True)
        seed = self.rng.randrange(10_000)
        lines += textwrap.dedent(f"""\
            def build():
                torch.manual_seed({seed})
                return Net().eval()


            def inputs():
                g = torch.Generator().manual_seed({seed})
                scales = [1.0, 0.1, 3.0, 0.5, 1.0, 2.0, 1.0, 0.3]
                shifts = [0.0, 0.0, 0.0, 0.5, -0.5, 1.0, -1.0, 0.2]
                return [(torch.randn({self.rows}, {self.width}, generator=g) * a + b,) for a, b in zip(scales, shifts)]


            def example_inputs():
                return inputs()[0]
            """).splitlines()
        return "\n".join(lines) + "\n"


def generate(seed: int, features: frozenset[str] = FEATURES, size: int | None = None) -> Network:
    """The network of `seed`. Each draws a random part of `features`, so that small combinations come up; `size` counts statements."""
    rng = random.Random(f"dync-fuzz-choice-{seed}")
    unknown = features - FEATURES
    if unknown:
        raise ValueError(f"unknown features: {', '.join(sorted(unknown))}")
    ordered = sorted(features)
    chosen = frozenset(rng.sample(ordered, rng.randint(min(3, len(ordered)), len(ordered)))) | ({"if"} & features)
    return Network(seed, chosen, Writer(seed, chosen, size or rng.randint(2, 7)).file())
