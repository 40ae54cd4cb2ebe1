"""Many small programs on containers, state, aliases, text, exceptions and generators, each against eager to the last bit.

Each is the body of a forward. State is compared after every call.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest
from programs.harness import capture, compare, load

from dync.errors import CaptureError
from dync.ir.verify import verify

HEAD = """import bisect, collections, contextlib, copy, dataclasses, enum, functools, heapq, itertools, math, random, types
from collections import namedtuple, deque, defaultdict, Counter, OrderedDict
from dataclasses import dataclass, field
import torch
from torch import nn
import torch.nn.functional as F

ATEN = torch.ops.aten
Pair = namedtuple("Pair", "a b")


class Kind(enum.Enum):
    A = 1
    B = "b"


class Named(str, enum.Enum):
    U = "u"
    V = "v"


@dataclass
class Box:
    value: object
    n: int = 0
    kept: list = field(default_factory=list)


class Result:
    shared = "of the class"
    __slots__ = ("value", "n", "__dict__")

    def __init__(self, value, n=0):
        self.value, self.n, self.parts = value, n, []

    def total(self):
        return self.value.sum() + self.n


class Hyp:
    def __init__(self, tokens, score): self.tokens, self.score = tokens, score


class Track:
    def __init__(self, pos, n=0): self.pos, self.n, self.kept = pos, n, []

    def hit(self): self.n += 1

    double = property(lambda self: self.n * 2)


class Memo:
    def __init__(self):
        self.last, self.at = None, None


class Node(Track):
    def __init__(self, pos, depth):
        super().__init__(pos * 2)
        self.depth = depth


@dataclass(frozen=True)
class Span:
    start: int
    end: int


class Out(OrderedDict):
    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(name)


def class_of(v):
    return type(v).__name__ if type(v) in (int, float, bool, list, tuple, dict) else "other"


def like(v):
    return [kind.__name__ for kind in (int, float, list, tuple, dict, set) if isinstance(v, kind)], v is True, v is False


def first_of(v):
    match v:
        case [a, *_]: return a
        case {"a": a}: return a
    return v


class Asking:
    def __init__(self, v): self.kind = class_of(v)

    def __call__(self, v): return self.named(v)

    def named(self, v): return class_of(v) == self.kind


CUTS = {"head": lambda t, k: t[: int(k)].sum() if k > 0 else t.sum(), "tail": lambda t, k=2: t[-k:] if t.max() > 1 else t * k}


class Model(nn.Module):
    @staticmethod
    def inputs(seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(3, generator=generator) * 1.5
        n = torch.tensor([(1, 2), (-1, 3), (0, 0), (2, 2), (3, 1), (4, 0), (2, -1), (0, 4)][seed % 8])
        r = torch.tensor([(1.5, 2.25), (-0.5, 0.75), (0.0, 0.5), (2.0, -3.0), (0.25, 0.25)][seed % 5])
        return x, n, r

    def __init__(self):
        super().__init__()
        self.register_buffer("buf", torch.arange(3.0))
        self.register_buffer("steps", torch.tensor(0))
        self.count, self.cache, self.log, self.table, self.marks = 0, None, [], {}, set()
        self.act = lambda t: t * 2 if t.sum() > 0 else t - 1
        self.lin, self.picks = nn.Linear(3, 3), {"b", ("d", 1)}

    def forward(self, x, n, r):
        i, j = n[0].item(), n[1].item()
        f, g = r[0].item(), r[1].item()
        b = (x.sum() > 0).item()
"""
# Of x: float32 [3], two integers i and j, two floats f and g and a bool b, read from tensors, and a model with some state.
PROGRAMS = r"""
made = Result(x, i)
if b: made.value, made.extra = x * 2, "late"
made.parts.append(Result(r, made.total()))
return made, Result

if not self.table: self.table.update(a=x, b=x + 1, c=x + 2)
if b: self.table["a"] = self.table.pop("a")
return list(self.table), self.table[next(iter(self.table))]

if self.cache is None: self.cache = OrderedDict(a=x, b=x + 1, c=x + 2)
self.cache.move_to_end("a" if b else "c", last=i > 1)
return list(self.cache), next(iter(self.cache.values()))

if self.cache is None: self.cache = Result(x, i)
else: self.cache.value = self.cache.value + x
if b: self.cache.late = f
self.cache.n += 1
return self.cache.total(), hasattr(self.cache, "late")

made = Result(x, i)
if i > 2: raise ValueError("too many", made)
return made.n

out = types.SimpleNamespace(x=x, dtype=x.dtype, n=i + 1)
if i > 1: out.kept = [Result(x + j)]
return out if b else {"out": out}

y = x[x > 0]
print(f"{y.shape} {list(y.shape)!s} {(i, f)}", f"{ {'n': y.shape[0], 'at': [i, (j,)]} }")
assert len(y) != 2, f"{tuple(y.shape)} of {x.shape}: {[len(y), b]!r}"
return y

if b: self.marks.add("positive")
elif f > 0: self.marks.discard("positive")
return len(self.marks), "positive" in self.marks

y = x[x > 0]
try: return int(y), float(y)
except ValueError as e: return type(e) is ValueError

a = [x, x + 1, x + 2]
if b: a.pop()
if f > 0: a.pop(0)
return a[-1], len(a)

a = [x, x + 1, x + 2]
if b: del a[1]
else: a[1:2] = [x * 5, x * 6]
return a

a = [i, j, 3]
if b: a.sort()
else: a.sort(reverse=True)
return a, x

a = [i, j, 3]
a.sort(key=lambda v: -v)
return a

a = [3, 1, 2]
if b: a.sort(key=lambda v: -v)
return sorted(a, reverse=True), a

a = [1, 2, 3]
a[0] += i
a[-1] *= j
return a

a = [1, 2, 3, 2]
if i in a: return a.index(i), a.count(i)
return -1

a = [i, j, 2]
return a.index(2), a.count(2)

a = [i, j, 2]
a.remove(2)
return a

a = [1, 2, 3]
if b: a.remove(2)
return a

a = [1, 2, 3]
if b: a.reverse()
return a[::-1], a[1:], a[:-1]

a = [1, 2] if b else [3]
return a * 2, a + [i]

a = [[0] * 2 for _ in range(2)]
if b: a[0][1] = x
a[1][0] = i
return a

a = c = [x]
if b: c.append(x + 1)
return len(a), a

a = [x]
d = {"k": a}
if b: d["k"].append(x * 2)
a[0] = x + 3
return d

d = {}
if b: d["a"] = x
else: d["b"] = x + 1
d["c"] = i
return d

d = {"a": 1, "b": 2}
if b: d.pop("a")
d.update(c=i)
return d, list(d), list(d.items())

d = {"a": x}
d.setdefault("a", x + 1)
d.setdefault("b", x + 2)
if b: d.setdefault("c", []).append(i)
return d

d = {}
for k in ("u", "v", "u"):
    d[k] = d.get(k, 0) + i
return d

d = {1: x, 2: x + 1}
if i in d: return d[i]
return None

d = collections.defaultdict(list)
if b: d["a"].append(x)
d["b"].append(i)
return d

d = collections.defaultdict(int)
d["n"] += i
if b: d["m"] += 1
return dict(d)

d = collections.OrderedDict(a=1, b=2)
if b: d.move_to_end("a")
return d

s = set()
if b: s.add("a")
s.add("b")
return sorted(s)

s = {1, 2}
if i in s: return x
return x + 1

q = deque([x, x + 1], maxlen=2)
if b: q.append(x + 2)
return list(q)

p = Pair(x, i)
if b: p = p._replace(a=x + 1)
return p, p.a.sum(), p.b

p = Pair(x, i)
if b: p = Pair(p.b, p.a)
return p

o = Box(x)
if b: o.value = x * 2; o.n += i
return o

o = Box(x, 1)
if b: o = dataclasses.replace(o, n=j)
o.kept.append(i)
return o

a, *rest = [i, j, x] if b else [x, j]
return a, rest

head, *mid, last = [x, x + 1, x + 2, x + 3]
if b: mid.append(last)
return torch.stack(mid).sum(), head

def total(*v, scale=1): return sum(v) * scale
return total(*[i, j], scale=j), total(*(i,)), total(**{"scale": i})

return [*range(3), *[i, j]], {**{"a": i}, "b": j}, (*n.tolist(),)

return list(zip([i, j], "ab")), dict(zip("ab", [i, j])), list(enumerate([x, i], 1))

for k, (u, v) in enumerate(zip([x, x + 1], [i, j])):
    if u[0] > v: return k, v
return None

return list(reversed([i, j, 1])), sorted([i, j, 1], key=lambda v: -v)

return sorted([(f, "f"), (g, "g"), (0.0, "z")])

return sorted([x[0], x[1], x[2]], key=lambda t: t.item(), reverse=True)

return max([x, x + 1, -x], key=lambda t: t.sum()), min((f, g, 0.5), key=abs)

return any(v > 0 for v in [f, g]), all(v > i for v in (1, j)), sum(v > 0 for v in [f, g, i])

return max([], default=i), min((v for v in [i, j] if v > 1), default=None)

return sum([x, x + 1]), sum([[1], [i]], [])

self.count += 1
if b: self.count += i
return x * self.count

if self.cache is None: self.cache = x
elif b: self.cache = self.cache + x
else: self.cache = None
return self.cache

self.log.append(x)
if len(self.log) > 2: self.log.pop(0)
return sum(self.log)

if b: self.log.append(i)
if len(self.log) > 2: self.log.clear()
return len(self.log)

self.table["last"] = x
if b: self.table["best"] = self.table.get("best", x) + 1
return self.table["last"]

if b: self.table.clear()
else: self.table.setdefault("n", 0); self.table["n"] += 1
return len(self.table)

self.buf += x
if self.buf.sum() > 2: self.buf.zero_()
return self.buf * 1

if b: self.buf = self.buf + x
else: self.buf.mul_(0.5)
return self.buf.clone()

self.buf[0] = x[1]
if f > 0: self.buf[1:] = x[1:]
return self.buf.sum()

self.buf.copy_(x)
return self.buf

self.steps += 1
if self.steps % 2 == 0: return x
return -x

self.register_buffer("buf", x * 2)
return self.buf

self.steps = self.steps + 1
if self.steps > 2: self.steps = torch.zeros_like(self.steps)
return self.steps.item()

if b: self.extra = x
return getattr(self, "extra", None)

if not hasattr(self, "seen"): self.seen = 0
self.seen = self.seen + i
return self.seen

if b: self.mode = "train"
else: self.mode = "eval"
return self.mode

old, self.cache = self.cache, x
return old

self.best = max(getattr(self, "best", -1.0), f)
return self.best

with torch.no_grad():
    if b: self.lin.weight.mul_(0.5)
return self.lin(x)

self.pair = (self.buf, i)
if b: self.pair = (x, j)
return self.pair

self.box = Box(x)
if b: self.box.n += 1
return self.box.n

a = x[0]
y = x.clone()
v = y[0]
y += 1
return v, y

y = x.clone(); v = y[1:]
if b: v.add_(1)
else: y.mul_(2)
return v, y

y = x.clone().view(3, 1).expand(3, 2)
z = y.t()
if b: z = z.contiguous(); z += 1
return z, y

y = torch.zeros(2, 3); z = y.T
if b: y[0] = x
z[2, 1] = i
return y, z

y = torch.empty(3)
torch.add(x, 1, out=y)
if b: torch.mul(x, 2, out=y)
return y

if b: x += 1
return x

x[0] = 5
return x.sum()

if b: x[1:] += 1
else: x[:2] *= 2
return x

x.copy_(x * 2)
if b: x.zero_()
return x

x[x > 0] = 0
if b: x[0] = i
return x

y = x.clone()
y.index_put_((torch.tensor([0, 2]),), x[:2], accumulate=True)
if b: y.index_put_((n.clamp(0, 2),), torch.tensor(1.0))
return y

y, z = x, x + 1
if b: y, z = z, y
z += 1
return y, z

y = x.clone()
y[0], y[1] = y[1], y[0]
return y

y = x.clone()
y[0], y[1] = y[1].clone(), y[0].clone()
return y

y = x
y += 1
return x, y

y = x
y = y + 1
return x, y

a = [x.clone(), x.clone()]
for t in a: t += 1
if b: a[0] -= 1
return a

a = [x.clone()] * 2
a[0] += 1
return a[1]

a = list(x.clone().unbind(0))
a[0] = a[0] + 1
return torch.stack(a)

y = x.clone()
for v in y:
    if v > 0: v.mul_(2)
return y

y = x.clone(); w = y.view(-1)
if b: w = w.clone()
w.add_(1)
return y, w

y = x.detach(); y[0] = 1
return x

y = x.clone()
h = y[:2] if b else y[1:]
h.fill_(7)
return y

y = x.clone(); a = [y]
if b: a.append(y)
a[-1] += 1
return a

m = torch.zeros(3, 3)
for k in range(3):
    if x[k] > 0: m[k, :] = x
m.fill_diagonal_(1)
return m

m = torch.zeros(2, 3)
m[i % 2] = x
m[:, j % 3] += 1
return m

y = x.clone(); y[i % 3] += f
return y

y = x.clone(); y[n.clamp(0, 2)] = 0
return y

return f"{i}-{j}"

s = f"{i}"
if b: s += "!"
return s

s = "a"
for k in range(2):
    if x[k] > 0: s = s + str(k)
return s

d = {f"k{k}": k * i for k in range(3)}
return d[f"k{abs(j) % 3}"]

return f"{f:.3f} {i:>4} {b} {x[0].item():.1f}"

return "yes" if b else f"no {i}"

return {f"{'pos' if b else 'neg'}": x}

return "abc"[i % 3] + "z"

return ("a" if b else "b").upper() * 2

try:
    if b: raise ValueError("bad")
    y = x
except ValueError as e:
    y = x + 1
else:
    y = y * 2
finally:
    y = y if b else x - 1
return y

try:
    if i > 2: raise KeyError(i)
    return x
except KeyError as e:
    return e.args[0]

for k in range(3):
    try:
        if x[k] > 0: raise StopIteration
    except StopIteration:
        continue
    finally:
        self.count += 1
return x

try:
    assert b, "not b"
except AssertionError as e:
    return str(e)
return x

try:
    try:
        if b: raise ValueError("in")
    finally:
        self.count += 1
except ValueError:
    return self.count
return x

try:
    if b: raise ValueError("a")
except ValueError as e:
    raise RuntimeError("b") from e
return x

def check(v):
    if v < 0: raise ValueError(f"neg {v}")
    return v
try: y = check(i)
except ValueError: y = 0
return y

try: return [x, x + 1][i]
except IndexError: return x - 1

try: return {1: x}[i]
except KeyError: return x - 1

try: return 1 / i
except ZeroDivisionError: return None

try: y = math.sqrt(f)
except ValueError: y = -1.0
return y

with contextlib.suppress(ValueError):
    if b: raise ValueError
    x = x + 1
return x

class Ctx:
    def __enter__(self): return 1
    def __exit__(s, *a): self.count += 1; return True
with Ctx() as c:
    if b: raise KeyError("k")
    return x
return x * 3

def gen():
    s = 0
    while True:
        s = s + (yield s)
g2 = gen(); next(g2)
g2.send(i)
return g2.send(j)

def gen():
    for k in range(3):
        if x[k] > 0: yield x[k]
return sum(gen())

def gen():
    for k in range(3):
        if x[k] > 0: yield x[k]
return list(gen())

it = iter([x, x + 1, x + 2])
y = next(it)
if b: y = next(it)
return y, next(it)

k = 0
def bump():
    nonlocal k
    if x[0] > 0: k += i
    return k
bump(); bump()
return k

fs = [lambda v, k=k: v * k + i for k in range(3)]
return [h(j) for h in fs]

h = functools.partial(torch.add, alpha=i)
return h(x, x)

h = functools.partial(lambda p, q: p - q, i)
return h(j)

return functools.reduce(lambda p, q: p * q, [i, j, 2]), functools.reduce(torch.add, [x, x, x])

@functools.lru_cache(None)
def fib(k): return k if k < 2 else fib(k - 1) + fib(k - 2)
return fib(5) * i

k = 0
while k < 3:
    if x[k] > 0: break
    k += 1
else:
    return "none"
return k

for k in range(3):
    if x[k] > 1: break
else:
    k = -1
return k

if (y := x.sum()) > 0: return y
return -y

return (z := i + j) * z

return [w for v in (i, j) if (w := v * 2) > 2]

return 0 < i < j <= 4, f < g < 1

if 0 < x[0] < x[1]: return x
return -x

match i:
    case 0: return "zero"
    case 1 | 2: return "small"
    case k if k < 0: return "negative"
    case _: return i

match [i, j]:
    case [1, y]: return y
    case [y, z] if y > z: return z
    case [y, *_]: return y

match (b, i):
    case (True, 1): return x
    case (True, _): return x + 1
    case (False, k): return k

match Box(x, i):
    case Box(value=v, n=1): return v
    case Box(value=v, n=k): return v + k

match {"k": i, "x": x}:
    case {"k": 1}: return 1
    case {"k": k, **rest}: return k, list(rest)

match n.tolist():
    case [a, c] if a == c: return "same"
    case [0, c] | [c, 0]: return c
    case _: return "other"

match f:
    case float(): return "f"
    case int(): return "i"

match i:
    case int(v): return v + 1

for k in range(3):
    for m in range(3):
        if x[k] > x[m] + 1: return k, m
return None

def deep(y, k):
    if k == 0 or y.sum() > 3: return y
    return deep(y + 1, k - 1)
return deep(x, 3)

def halve(y): return y if y.numel() == 1 else halve(y[: y.numel() // 2]) + halve(y[y.numel() // 2:])
return halve(x)

return list(itertools.accumulate([i, j, 1]))

return list(itertools.chain([i], [j, x]))

return [p * q for p, q in itertools.product([i, 1], [j, 2])]

return list(itertools.dropwhile(lambda v: v < 3, [1, i, 2]))

return [(k, len(list(v))) for k, v in itertools.groupby([i, j, 1])]

return list(itertools.islice([i, j, 1], 2)), list(itertools.pairwise([i, j, 1]))

return [sum(c) for c in itertools.combinations([i, j, 1], 2)]

h = []
heapq.heappush(h, f); heapq.heappush(h, g); heapq.heappush(h, 0.5)
return heapq.heappop(h), h

h = [(f, 0), (g, 1)]
heapq.heapify(h)
return h[0]

return heapq.nlargest(2, [f, g, 0.0])

return [x, -x][b]

return ("neg", "pos")[f > 0], [1, 2][i > j]

a = []
for _ in range(abs(i)): a.append(x)
return torch.stack(a) if a else x

return x[n]

return x + torch.zeros(abs(i) + 1)

return torch.linalg.inv(torch.diag(x))

return torch.linalg.cholesky(torch.diag(x))

return torch.stack([x, torch.zeros(abs(i))])

return F.embedding(n, torch.ones(4, 2))

return torch.cat([x[None], torch.zeros(1, abs(j))])

return x.index_select(0, n)

return x.gather(0, n)

try: return x[i]
except IndexError: return x - 1

try: return x.view(2, i)
except RuntimeError: return x - 1

try: return torch.linalg.inv(torch.diag(x.relu()))
except RuntimeError: return x - 1

try:
    if b: y = x
    else: y = x * 2
    y = y + 1
finally:
    z = y + 1
return z

try: y = torch.linalg.inv(torch.diag(x.relu()) + torch.ones(3, 3) * 0)
except RuntimeError: y = x - 1
return y

try: return torch.linalg.cholesky(torch.diag(x))
except torch.linalg.LinAlgError as e: return x - 1

try: return torch.linalg.cholesky(torch.diag(x))
except ValueError: return x - 1

return torch.linalg.cholesky(torch.stack([torch.eye(3), torch.diag(x)]))

try: return torch.linalg.cholesky(torch.stack([torch.eye(3), torch.diag(x)]))
except KeyError as e: return x - 1

try: return torch.linalg.solve(torch.diag(x.relu()), x)
except RuntimeError as e: return str(e)[:5]

try: return x[i]
except ValueError: return x - 1

try: y = x.view(1, i)
except RuntimeError: y = x - 1
return y

try: return torch.zeros(i)
except RuntimeError: return x - 1

try: y = x + torch.zeros(abs(i) + 1)
except RuntimeError: y = x
return y

try: y = torch.cat([x[None], torch.zeros(1, abs(j))])
except RuntimeError: y = x
return y

match {"b": b, "t": x > 0}:
    case {"b": False}: return 1
    case {"b": True, "t": v} if v[0]: return v

return x.view(1, i)

return x.view(i, 3)

return b is True, (x[0] > 0).item() is False

def gen():
    for k in range(4):
        if x[k % 3] > k / 2: yield x[k % 3] * k
return sum(gen())

def gen():
    for k in range(4):
        if x[k % 3] > k / 2: yield x[k % 3] * k
return list(gen())

def gen():
    for k in range(4):
        if x[k % 3] > k / 2: yield x[k % 3] * k
s = 0
for v in gen(): s = s + v
return s

s, k = 0.0, 0
while True:
    s += f + 1
    k += 1
    if s > 3 or k > 10: break
return s, k

out = None
for k in range(abs(j)):
    out = x if out is None else out + x
return out

best, arg = -1.0, None
for k in range(3):
    v = x[k].item()
    if v > best: best, arg = v, k
return best, arg

best = max(range(3), key=lambda k: x[k].item())
return best

order = sorted(range(3), key=lambda k: x[k].item())
return order, [x[k] for k in order]

total = 0
for k, v in enumerate(x.tolist()):
    if v < 0: continue
    total += k * v
return total

for k in range(3):
    if x[k] < 0: continue
    for m in range(2):
        if x[k] > m + 0.5: break
    else:
        return k, "else"
    return k, m
return "none"

groups = defaultdict(list)
for k in range(3): groups[(x[k] > 0).item()].append(k)
return len(groups), groups[True]

def f1(v, acc=[]):
    acc.append(v)
    return acc
f1(i)
if b: f1(j)
return f1(0)

acc = []
def push(v): acc.append(v)
if b: push(x)
push(x + 1)
return acc

class Node:
    def __init__(s, v): s.v, s.next = v, None
head = Node(x)
if b: head.next = Node(x + 1)
t, m = 0, head
while m is not None: t = t + m.v; m = m.next
return t

class Acc:
    total = 0
    def __iadd__(s, v): s.total = s.total + v; return s
a = Acc()
a += x
if b: a += 1
return a.total

class P:
    def __init__(s): s._v = 0
    @property
    def v(s): return s._v
    @v.setter
    def v(s, q): s._v = q * 2
p = P()
if b: p.v = i
p.v = p.v + 1
return p.v

self.hist = getattr(self, "hist", []) + [i]
self.hist = self.hist[-2:]
return len(self.hist)

self.log[:] = [x, i] if b else []
return len(self.log)

l = [k * 2 for k in range(j * j)] + n.tolist()
if i in l: l.remove(i)
return l, l.count(j), l.index(j) if j in l else -1

l = [k * 2 for k in range(j * j)] + n.tolist()
try: return l.index(i), l.index(2 * i)
except ValueError as e: return str(e)

l = [("a" if v > 0 else "b", int(v > 1)) for v in x[x > -1]]
return ("a", 1) in l, l.count(("b", 0)), ("c", 0) in l, 3 in l

l = [Track(v, k) for k, v in enumerate(x[x > 0])]
if l and b:
    t = max(l, key=lambda t: t.pos.item())
    l.remove(t)
    return t in l, len(l), l.index(l[-1]) if l else None
return [t.n for t in l]

y = x[x > 0]
for k in range(i * i + j * j):
    hit = None
    for v in x[x.abs() > 0.5]:
        if v > y.mean(): hit = v
    if hit is None: y = torch.cat([y * 2, x[:1]])
    else: y = y + torch.arange(len(y)) * hit
return y

if b: self.log.append(x)
return sum(self.log, torch.zeros_like(x)), len(self.log)

self.log.append(i)
if sum(self.log) > 30: self.log = []
return sorted(self.log), self.log[-1:]

self.log.append((x.sum().item(), "odd" if i % 2 else "even", x))
self.log.sort(key=lambda e: -e[0])
self.log = self.log[:9]
return [kind for _, kind, _ in self.log], self.log[0][2] + 1

for k in range(j): self.log.append(k + i)
while len(self.log) > 12: self.log.pop(0)
return list(self.log)

if self.cache is None: self.cache = []
self.cache.append(x[x > 0])
if b and len(self.cache) > 3: self.cache = None
return torch.cat(self.cache or [x[:1]])

if self.cache is None: self.cache = deque()
self.cache.append(x.mean())
if len(self.cache) > 10: self.cache.popleft()
return torch.stack(list(self.cache)).max()

if self.cache is None: self.cache = {}
self.cache[i] = j
return len(self.cache), dict(self.cache)

if i not in self.table: self.table[i] = x * j
else: self.table[i] = self.table[i] + x
return self.table[i], len(self.table)

if b: self.table[i, j] = f
return self.table.get((j, i), 0.5)

seen = i in self.marks
if b: self.marks.add(i)
elif j in self.marks: self.marks.remove(j)
return seen, len(self.marks)

if self.cache is None: self.cache = OrderedDict()
if i in self.cache:
    self.cache.move_to_end(i)
    return self.cache[i]
self.cache[i] = x * i
if len(self.cache) > 3: self.cache.popitem(last=False)
return x

if self.cache is None: self.cache = Counter()
self.cache[i] += 1
self.cache.update([j, i])
return self.cache[i], self.cache.most_common(1)[0][1]

if self.cache is None: self.cache = defaultdict(lambda: torch.zeros(2))
self.cache[i] = self.cache[i] + x[:2]
return self.cache[i], sorted(self.cache)

hit = None
for t in self.log:
    if (t.pos - x).abs().sum() < 3: hit = t
if hit is None:
    hit = Track(x, len(self.log))
    self.log.append(hit)
hit.hit()
hit.kept.append(i)
self.log = [t for t in self.log if t.n < 9]
return [(t.n, len(t.kept)) for t in self.log]

if i not in self.table: self.table[i] = Track(x, j)
t = self.table[i]
t.pos = t.pos + 1
t.hit()
return t.pos, t.double, len(self.table)

if i not in self.table: self.table[i] = []
self.table[i].append(x.sum())
return len(self.table[i]), sum(self.table[i])

if self.cache is None: self.cache = []
t = Track(x, i)
self.cache.append(t)
if b: self.log.append(t)
for t in self.log: t.n += 1
if len(self.cache) > 4: self.cache.pop(0)
return [t.n for t in self.cache], [t.n for t in self.log]

self.log.append(Hyp(self.log[-1] if self.log else None, i))
total, at = 0, self.log[-1]
while at is not None: total, at = total + at.score, at.tokens
return total

self.log.append(Box(x, i))
best = max(self.log, key=lambda e: e.n)
best.n -= 1
best.kept.append(j)
return best.value + 1, [(e.n, e.kept) for e in self.log]

if self.cache is None: self.cache = deque(maxlen=12)
if b: self.cache.append((x, i))
else: self.cache.extend([(x + 1, j), (x, 0)])
return sum([k for _, k in self.cache]), torch.stack([v for v, _ in self.cache]).sum(0), self.cache.maxlen

if self.cache is None: self.cache = deque([i], maxlen=3)
else: self.cache = deque(list(self.cache) + [i], maxlen=3)
return list(self.cache), len(self.cache)

d = defaultdict(int) if b else defaultdict(float)
return d[i], d[3]

q = deque([i, x], maxlen=4 if b else None)
return q, deque([b])

d = deque(maxlen=3)
for v in x[x.abs() > 0.5]:
    if v > 0: d.append(v * 2)
    else: d.appendleft(v)
return list(d), len(d), d.maxlen

d = deque([k for k in range(j * j)], maxlen=4)
d.extend(n.tolist())
try: d.insert(0, i)
except IndexError as e: return str(e), list(d)
return list(d)

if self.cache is None: self.cache = deque(maxlen=9)
self.cache.append(i)
return type(self.cache) is deque, isinstance(self.cache, (list, tuple)), len(self.cache)

if i not in self.table: self.table[i] = []
self.table[i].append((x.sum(), "a" if b else "b", j))
return [kind for _, kind, _ in self.table[i]], sum([k for _, _, k in self.table[i]])

if b or not self.log: self.log.append(Track(x, i))
self.log[-1].kept.append((j, Kind.A if i > 1 else None))
return [(len(t.kept), t.kept[-1][0]) for t in self.log]

self.log.append(x)
if b: raise ValueError(len(self.log))
return len(self.log)

if len(self.log) == 2: self.log.reverse()
if len(self.log) < 2: self.log.append(x.sum())
return list(self.log)

self.table["n"] = self.table.get("n", 0) + 1
if self.table["n"] > 2: del self.table["n"]
return dict(self.table)

if b: self.table["x"] = x
elif "x" in self.table: return self.table["x"]
return x * 0

self.table.update(a=i, b=x)
return sorted(self.table)

d = self.table
d["k"] = d.get("k", 0) + (2 if b else 1)
return d["k"]

if self.cache is None: self.cache = (x, x)
k, v = self.cache
self.cache = (torch.cat([k, x])[-5:], v + 1)
return self.cache[0].shape[0], v

self.count, old = i, self.count
return old

if b: del self.cache; self.cache = x
else: self.cache = None
return self.cache

if hasattr(self, "tmp"): del self.tmp
elif b: self.tmp = x
return hasattr(self, "tmp")

self.lin.count = getattr(self.lin, "count", 0) + 1
return self.lin(x) * self.lin.count

self.lin.weight.data.mul_(0.9)
return self.lin(x)

self.lin.weight.data[0] = x
return self.lin(x)

with torch.no_grad(): self.lin.bias.copy_(x) if b else self.lin.bias.zero_()
return self.lin(x)

self.buf.lerp_(x, 0.5); m = self.buf
m += 1
return self.buf

self.buf = self.buf.clone(); old = self.buf
self.buf += x
return old

self.alias = self.buf
if b: self.alias += 1
return self.buf * 1

v = self.buf[1:]
v += i
if b: v.zero_()
return self.buf.sum()

self.buf[i % 3] = f
self.buf[1] += self.buf[0]
return self.buf.clone()

self.steps.add_(1)
if self.steps.item() > 2: self.steps.fill_(0)
return int(self.steps)

self.steps += 1
return x if self.steps.item() % 3 else x * 2

n_old = int(self.steps); self.steps.copy_(n[0])
return n_old

self._buffers["buf"] = x
return self.buf

setattr(self, "count" if b else "best", i)
return self.count

self.__dict__["count"] = self.count + i
return self.count

self.on = b and f > 0
return self.on

self.name = "a" if b else "b"
return self.name + "!"

self.last = f"{'p' if b else 'n'}"
return self.last

self.m = max(getattr(self, "m", 0), i)
self.lo, self.hi = min(f, getattr(self, "lo", 0.0)), max(f, getattr(self, "hi", 0.0))
return self.m, self.hi - self.lo

y = x.clone(); z = y
y = y + 1 if b else y
y += 1
return y, z

y = x.clone(); z = y[None]
z[0, 0] = i
y.mul_(2)
return z, y

y = torch.zeros(3, 3); r = y[1]; c = y[:, 1]
r += x
if b: c += 1
return y, r, c

y = torch.zeros(6); a, c = y.view(2, 3)
a.copy_(x); c.add_(a)
return y

y = torch.zeros(2, 3); a, c = y.unbind(0) if b else y.chunk(2)
a += 1
return y

y = torch.zeros(2, 3); p, q = y.split(1)
p += x; q -= x
return y

y = x.clone(); d = y.diagonal() if y.dim() > 1 else y[::2]
d.mul_(3)
return y

y = x.clone().expand(2, 3).clone(); y.t()[0] = 9
return y

y = x.reshape(3, 1); y += 1
return x

y = x.contiguous(); y += 1
return x

y = x.to(torch.float32); y[0] = 0
return x

y = x.flatten(); y[0] = 0
return x

y = x.float(); y.neg_()
return x, y is x

y = x.numpy(); y[0] = 3
return x

y = x.data; y += 1
return x

x, y = x + 1, x
y *= 2
return x, y

def inc(t): t += 1; return t
y = inc(x)
if b: y = inc(y)
return x, y

def swap(a, c): a.copy_(c)
y = x * 2; swap(x, y)
return x

z = x
for k in range(2):
    if x[k] > 0: z = z.clone(); z[k] = 0
return z, x

a = [x, x]
a[0] = a[0] + 1
a[1] += 1
return a, x

a = {"p": x, "q": x}
a["p"] += 1
if b: a["q"] = a["q"] * 2
return a

t = (x, x.clone())
t[0].add_(1)
if b: t[1].sub_(1)
return t

y = x.clone(); y.clamp_(min=0); w = y > 0
y[w] = y[w] * 2
return y, w

y = x.clone(); y.scatter_(0, n.clamp(0, 2), 9.0)
return y.index_fill(0, torch.tensor([i % 3]), 0)

y = x.clone(); torch.where(y > 0, y, y.neg(), out=y) if b else None
return y

y = x.clone(); torch.sum(x, 0, out=y[0])
return y

o = torch.empty(3); torch.sort(x, out=(o, torch.empty(3, dtype=torch.long)))
return o

y = x.sigmoid_() if b else x.tanh()
return x, y

y = F.relu(x, inplace=True)
return x, y

y = F.dropout(x, 0.5, training=False, inplace=True); y += 1
return x

y = x.masked_fill_(x > 0, 0) if i > 0 else x
return y, x

y = torch.zeros(4, 3); y[i % 4] += x; y[j % 4].sub_(x)
return y

y = x.repeat(2); v = y.view(2, 3)[i % 2]
v.fill_(f)
return y

s = [str(v) for v in range(3)]
return "-".join(s), "abc".replace("b", "x" if b else "y"), "a,b".split(",")

s = "pos" if b else "neg"
return s.startswith("p"), s[0], len(s), s in ("pos", "x"), s == "neg", {"pos": 1, "neg": 2}[s]

k = f"{i}:{j}"
return {"key": k, "n": i}

return f"{i:d}" + "/" + f"{f:6.2f}", f"{b!s}", f"{i!r:>5}"

return "{:.1f} {}".format(f, i), "{0}-{0}".format(i), "{a}".format(a=j)

msg = "low" if f < 0 else "mid" if f < 1 else "high"
raise ValueError(msg) if i < 0 else KeyError(msg)

if i > 2: raise ValueError(f"too big: {i}", i)
return i

if i > 2: raise IndexError
return i

class Stop(Exception):
    def __init__(s, value): super().__init__("stop"); s.value = value
try:
    for k in range(3):
        if x[k] > 0: raise Stop(x[k])
except Stop as e: return e.value
return x

try:
    for k in range(3):
        if x[k] > 1: raise ValueError(k)
        if x[k] < -1: raise KeyError(k)
except ValueError as e: return "v", e.args
except (KeyError, TypeError) as e: return "k", e.args
else: return "else"
finally: self.count += 1

def safe(g):
    try: return g()
    except ZeroDivisionError: return -1
return safe(lambda: 1 / i), safe(lambda: i // j), safe(lambda: f % g)

try:
    y = x
    if b: y = y + 1; raise ValueError
    y = y + 2
except ValueError:
    y = y + 4
return y

y = x
try:
    try:
        if b: raise ValueError("a")
    except KeyError: y = y + 1
    finally: y = y + 2
except ValueError: y = y + 4
return y

def f2():
    try: return x
    finally: self.count += 1
y = f2()
return self.count, y

try: y = self.missing
except AttributeError: y = x
return y

try: a, c = [x] if b else [x, x]
except ValueError: return "unpack"
return a + c

try: y = [x, x + 1].index(5) if b else 0
except ValueError: y = -1
return y

try: assert i > 0, f"bad {i}"
except AssertionError as e: return e.args[0]
return i

from contextlib import contextmanager
@contextmanager
def cm():
    self.count += 1
    try: yield self.count
    finally: self.count -= 3
with cm() as c:
    if b: x = x + c
    elif f > 0: return x
return x, self.count

def counter():
    c = 0
    def inc(by=1):
        nonlocal c
        c += by
        return c
    return inc
c = counter()
c()
if b: c(i)
return c(), c(2)

def make(k): return lambda t: t * k + i
fs = {k: make(k) for k in (1, 2)}
return fs[1](x), fs[2 if b else 1](x)

h = [lambda t: t, lambda t: t * 2, torch.relu][i % 3]
return h(x)

compose = lambda *fs: functools.reduce(lambda p, q: lambda t: q(p(t)), fs)
return compose(torch.sin, lambda t: t + i)(x)

@functools.wraps(torch.sin)
def deco(t): return torch.sin(t) if b else t
return deco(x)

from operator import itemgetter, attrgetter, mul
return itemgetter(1)([i, j]), mul(i, j), max([(i, 0), (j, 1)], key=itemgetter(0)), functools.reduce(mul, (i, j, 2))

it = iter([i, j, 3])
return [v for v in it if v > 1], list(it)

z = list(zip(*[(i, x), (j, x + 1)]))
return z

u = dict(sorted({"b": i, "a": j}.items()))
return u, list(u.values()), max(u, key=u.get)

u = {"a": i, "b": j}
return {k: v for k, v in u.items() if v > 0}

u = {"a": i}; w = u | {"b": j}
u |= {"a": 5}
return u, w

a, (c, *d) = i, [j, x, f]
return a, c, d

a = b = [i]; a += [j]
return b

a = [i, j, 4]
a[0], a[2] = a[2], a[0]
a[1:2] = []
return a

a = [[x], [x + 1]]
c = [r[:] for r in a]
if b: c[0].append(i)
a[1][0] = j
return a, c

a = [3, 1, 2]
m = min(a) if b else max(a); a.remove(m)
return a, sum(a) * i

p = Pair(a=i, b=[x])
p.b.append(p.a)
return p, p == Pair(i, p.b), p[0], p._asdict()["a"]

o = Box(x, i); o2 = o
if b: o2.n = 7
return o.n, o is o2, o.value

o = Box(i); o.kept += [j] if b else []
return o == Box(i, 0, [j]), repr(b)

if isinstance(i, bool): return 1
if isinstance(b, bool) and isinstance(f, float): return 2

q = i if i > 0 else None
return q is None, q or j, q and 5

return (i or j), (b and f), (not i), bool(f), i and f and "s"

return [i > 0, b][0], (i > 0) + b, sum([i > 0, b, f > 1]), (i > 0) is b, b == (f > 0)

t = x[0] > 0
if t and not b or f > 1: return 1
return t

t = (x > 0).any(); u = (x > 1).all()
return t & ~u, bool(t) and not bool(u), t.item() ^ b

def rec(t, d=0):
    if d >= 3 or t.sum() > 2: return [d, t]
    return rec(t + 0.5, d + 1)
return rec(x)

def rec(lo, hi):
    if hi - lo == 1: return x[lo]
    m = (lo + hi) // 2
    l, r = rec(lo, m), rec(m, hi)
    return l if l > r else r
return rec(0, 3)

def ack(m, k):
    if m == 0: return k + 1
    return ack(m - 1, k + 2) if x[m] > 0 else ack(m - 1, k)
return ack(2, i)

def even(k): return True if k == 0 else odd(k - 1)
def odd(k): return False if k == 0 else even(k - 1)
return even(4) if b else odd(3)

def walk(tree):
    if isinstance(tree, list): return [walk(t) for t in tree]
    return tree + 1 if b else tree
return walk([x, [i, [j]]])

y = self.__dict__.get("cache"); self.cache = x
return y

y = "tmp" in self.__dict__; self.tmp = i
return y

y = vars(self).get("cache", 5); self.cache = i
return y

self.lin.weight = nn.Parameter(self.lin.weight * 0.9)
return self.lin(x)

if b: self.lin.weight = nn.Parameter(self.lin.weight + 1)
return self.lin(x)

self.lin.weight.data.mul_(0.9).add_(x, alpha=0.1)
return self.lin(x)

self.lin.bias = None
return self.lin(x)

import copy
return copy.deepcopy(x), copy.deepcopy([x, i]), copy.copy(f)

y = getattr(self, "tmp", None)
if b: self.tmp = x
return y

return dataclasses.astuple(Box(x, i)), dataclasses.asdict(Box(i, j))

return repr(i), format(f, ".2f"), repr(b)

d = {}
d[b] = x; d[f > 0] = i
return d

y = torch.arange(abs(i) + 3)
s = torch.tensor(0)
for c in y.split(2): s = s + c.max()
return s

y = torch.arange(abs(i) + 1)
s = 0
for c in y.unbind(0): s = s * 2 + c.item()
return s

y = torch.arange(abs(i) + 4.)
return F.max_pool1d(y[None, None], 2), F.avg_pool1d(y[None, None], 2)

y = torch.arange(abs(i) + 4.)
return y.unfold(0, 2, 1)

y = torch.arange(abs(i) + 4.).repeat(2, 1)
z = y.unfold(1, 3, 2)
z[:, 0] += 1
return y, z.mean(-1)

seen = set()
for t in n.tolist():
    if t in seen: x = x * 2
    seen.add(t)
return x, len(seen), sorted(seen)

seen = {i}
seen.add(j)
seen.add(3)
return seen, i in seen, 2 in seen, (i + 1) not in seen

d = {}
d[i] = 1.5; d[j] = f; d[i] = g
return d, list(d), list(d.values()), list(d.items())

c = Counter()
for k in (i, j, i + j, i): c[k] += 1
return c, c[7], len(c), c.most_common(), c.most_common(1)

d = {}
for k in (i, j, 2, i): d[k] = d.get(k, 0) + 1
return d, max(d, key=d.get), sum(d.values()), max(d.values()), min(d)

d = {i: x * 1, j: x + 1}
return d.get(2), d.get(i), d.get(9, x * 0), 2 in d

d = {i: 1, j: 2}
try:
    return d[2]
except KeyError as e:
    return e.args[0], len(d)

d = {i: 1, j: 2}
return d[2], d[i]

d = {i: 1, j: 2, 5: 3}
a = d.pop(i)
b2 = d.pop(2, -1)
d[i] = 9
return a, b2, d, list(d.keys())

s = {i, j}
t = {j, 2, i + 1}
return s | t, s & {2, i}, s - t, s <= t, s.isdisjoint({5, j}), s == {j, i}

s = {i, j}
s ^= {j, 5}
s.discard(99)
s.update([7])
return s, sum(s), max(s), min(s), sorted(s, reverse=True)

d = dict(zip(n.tolist(), (x * 2, x + 1)))
return d, n[0].item() in d

d = OrderedDict()
for k in (i, j, 1, i):
    if k in d: d.move_to_end(k)
    d[k] = k + 1
if len(d) > 2: d.popitem(last=False)
return d, list(d)

d = {}
k = 0
while k < 4:
    v = (x * k).sum().long().item()
    d[v] = k
    k += 1
return d, len(d)

seen = set()
while i not in seen and len(seen) < 5:
    seen.add(i)
    i = (i * i + j) % 7
return i, len(seen), sorted(seen)

grams = set()
toks = [i, j, i, j, 2]
for a, c in zip(toks, toks[1:]):
    if (a, c) in grams: x = x + 1
    grams.add((a, c))
return x, len(grams), sorted(grams)

d = {}
d[(i, j)] = x * 1
d[(j, i)] = x + 1
return d, d.get((1, 2)), (i, i) in d

d = {}
for k in range(abs(i) + abs(j)): d[k * k] = x + k
return d, sum(d.keys()), len(d)

d = {}
for k in range(abs(i) + abs(j)): d[k % 3] = d.get(k % 3, 0) + k
out = 0
for k, v in d.items(): out = out * 10 + k + v
return d, out

d = {i: 1, j: 2}
d.setdefault(i, 5)
d.setdefault(2, 7)
y = d.setdefault(3, 8)
return d, y

d = {i: x * 1}
y = d.setdefault(j, x + 1)
return d, y

d = {i: 1}
e = d.copy()
e[j] = 4
return d, e, isinstance(d, dict), isinstance({i}, set), type(e) is dict

c = Counter(n.tolist())
c.update([i, 2])
c.subtract([2, 2])
return c, c.total(), sum(c.values())

d = {i: 1, **{5: 3}}
d.update({7: 4, i: 9})
d |= {j: 6}
return d

d = dict.fromkeys(n.tolist())
return list(d), d, dict.fromkeys([i, j], 0)

d = {i: 3, j: 1, 4: 2}
return sorted(d.items(), key=lambda kv: kv[1]), sorted(d, key=d.get, reverse=True), sorted(d.items())

d = {}
if b: d[i] = x * 1
if f > 0: d[j] = x + 1
x = x * 1
if i in d: x = d[i]
return x, len(d), d

def visit(node, seen):
    if node in seen: return 0
    seen.add(node)
    return 1
s = set()
return visit(i, s) + visit(j, s) + visit(2, s), s

par = {k: k for k in range(5)}
a, c = i % 5, j % 5
while par[a] != a: a = par[a]
while par[c] != c: c = par[c]
par[a] = c
return par

self.table = {}
self.table[i] = x * 1
self.table[j] = x + 1
return self.table[i], len(self.table)

class Memo:
    def __init__(self): self.seen = {}
    def f(self, k):
        if k not in self.seen: self.seen[k] = k * k
        return self.seen[k]
m = Memo()
return m.f(i) + m.f(j) + m.f(2), len(m.seen)

a = [i, j, 2]
return sorted(a, key=lambda v: int(v)), max(a, key=lambda v: abs(int(v)))

d = defaultdict(float)
d[i] += f; d[j] += g; d[2] -= 1.0
return d, d[5], len(d), {v: k for k, v in {i: j, 4: i}.items()}

d = {i: 1, j: 2}
try:
    for k in d: d[k + 1] = 5
except RuntimeError as e: return d, e.args
return d

d = {i: (x * 2, 1), j: (x + 1, 2)}
y, k = d[i]
s = frozenset([i, j])
return y, k, d, d.popitem(), s, set(), {1, 2}, Counter("aab")

d = {1: x * 1, 2: x + 1}
s = {1, 2, 3}
s.discard(i)
if j in s: s.remove(j)
return d.get(i), d.get(j, x * 3), d.pop(i, None), len(d), s

kept = set()
for k in range(9):
    if x[k % 3] > k / 9: kept.add(k)
return sorted(kept), len(kept)

d = {}
if b: d[i] = True
if f > 0: d[j] = False
if i in d: del d[i]
return d, all(d.values()), any(d.values())

s = {i, j, 4}
return sorted(s, key=lambda v: -v), {4, 5} - s, {i} < s, 4 in s - {i}

d = {i: 1, j: 2}
k = next(iter(d))
e = {j: 2}
e[i] = 1
return d == e, d != {}, d == {1: 1, 2: 2}, k, d.pop(k), next(iter({}), None), set() == {i}, {} == {i: 1}

d = {i: 1.5}
try: a = next(iter(d.values()))
except StopIteration: a = 0
d.clear()
try: c = next(iter(d))
except StopIteration: c = -1
return a, c

s = set()
for k in range(3):
    s |= {i * k}
    s = s | {j + k}
return sorted(s)

v = [k for k, h in enumerate((x > 0).tolist() + (x > 1).tolist()) if h]
w = [-1] + v + [9]
return [*w, 7], w[1:]

v = [x]
for k in range(i): v.append(x[: k % 3 + 1] + k)
from torch.nn.utils.rnn import pad_sequence
return pad_sequence(v, batch_first=True), nn.utils.rnn.pad_sequence(v, padding_value=2.0), pad_sequence(v, True, padding_side="left")

v = []
for k in range(i): v.append(x[: k % 2 + 1])
try: return nn.utils.rnn.pad_sequence(v)
except RuntimeError as e: return str(e)

v, w, r = [x], [x[0]], [x[None]]
for k in range(i):
    v.append(x + k)
    w.append(x[1] * k)
    r.append(x.expand(2, 3))
return torch.vstack(v), torch.hstack(v), torch.vstack(w), torch.hstack(w), torch.vstack(r), torch.vstack([x, x])

class Ring:
    def __init__(self): self.n = 0
    def __len__(self): return self.n
r = Ring()
if b: r.n += 2
if f > 0: r.n += 1
try: s = len(r)
except ValueError as e: s = str(e)
r.n = i
try: t = len(r)
except ValueError as e: t = str(e)
return s, t, list(range(s))

m = torch.outer(x[x > 0], x[x > -1])
return m.fill_diagonal_(7.0), m.sum(), x[x > 0].expand(2, -1).clone().fill_diagonal_(f)

flag = i > 1
rows = torch.stack([x, x.flip(0)])
return rows.sort(dim=1, descending=i > 0), rows.argsort(dim=0, descending=flag), rows.std(1, correction=1, keepdim=f > 0)

out = Out(a=x, n=i)
if b: out["more"] = [f]
return out, Out(), {"in": Out(s=out.a.sum())}

rows = sorted([(x[k].item(), k) for k in range(3)], key=lambda t: t[0], reverse=b)
first, *rest = rows
values = [v for v, _ in rows]
values.sort(reverse=i > 0)
return first, [*rest, first], values

w = [k for k in range(5) if x[k % 3] > k / 9 - 0.5]
return w.index(w[0]) if w else None

path = [(i, j)]
while i > 0:
    i -= 1
    path.append((i, j))
return path[::-1], path[::2], path[::-2], path[-1:0:-1], path[-2::-1]

path = [x]
while i > 0:
    i -= 1
    path.append(x * i)
return torch.stack(path[::-1]), len(path[1::2])

return ", ".join([str(i), f"{j}", "k"]), "-".join(str(v) for v in (i, j)), "+".join(["a", "b"])

kept = [i, j]
if b: kept.append(3)
return "running({})".format(",".join(str(int(h)) for h in kept))

import enum
class Kind(enum.Enum):
    A = 0; B = 1; C = 2
k = Kind(i)
return k.name, x * k.value if k is not Kind.A else x

import enum
class Kind(enum.IntEnum):
    A = 0; B = 1; C = 2
    @classmethod
    def _missing_(cls, value): return cls.A if value < 0 else None
try: k = Kind(j)
except ValueError as e: return str(e)
return k + 1, Kind(b).name

c = abs(i) + 3
return F.one_hot(n.abs().clamp(max=2), c), F.one_hot(n.abs(), num_classes=c + 4).sum(0)

y = x[x > 0]
return y.new(torch.Size([2, 3])).zero_(), x.new(x.shape + (2,)).fill_(1), x.new(2, 2).zero_(), y.new(y.shape).zero_()

lo, hi = [max(0, min(int(v), 2)) for v in r.tolist()]
return x[lo:max(hi, lo + 1)]

lo, hi = [int(round(v)) for v in r.tolist()]
y = torch.arange(12.0).view(3, 4)
return y[:, max(0, min(lo, 3)):max(1, min(hi, 4))] * 2

y = x
for _ in range(2):
    k = (y > 0).sum().item()
    y = torch.cat([y, torch.zeros(k)])
    if f > 0: y = torch.cat([y, torch.ones(int(g * g))])
return y

return "{} {}".format([i, j], (i,))

return "%d of %s" % (i, j)

return "%d items" % i, "%.2f" % f

return str([i, j]), str((i, f)), str({"a": i})

return repr([i, j]), repr(i), repr({"a": f})

return "{:>5d}|{a:.3f}".format(i, a=f)

return format(i, "03d"), format(f, ".2f")

return str(Pair(i, j)), f"{Pair(i, f)}"

return f"{Box(i, j)}"

return "n=" + str(i) + "!" * 2, str(b)

s = f"{i}"
return s == "2", s in ("1", "2")

print([i, j], {"a": (f,)}, Pair(i, j))
return x

class Log:
    def __init__(self, n): self.n = n
    def __str__(self): return f"Log({self.n})"
    def __repr__(self): return "<%s>" % self.n
log = Log(i)
return str(log), f"{log}", f"{log!r}", str([log]), "{}".format((log, j))

return f"{[i, j]!s:>12}|{Pair(i, j)!r:<20}|{i!r:>4}"

return f"{str(i):>3}", f"{'a' if b else 'b'}{i}", f"{i:{3}d}"

return "%d of %-4s|%5d|%05.1f|%+d|%e|%%" % (i, j, i, f, j, g)

return "%(n)d and %(f).3f" % {"n": i, "f": f}, "%s" % i, "%s" % [i, j], "%d" % f, "%s:%s" % (Pair(i, j), b)

return "%s of %d" % (x.shape, len(x[x > 0])), "%.3f" % x.sum()

try:
    if i > 1: raise ValueError(f"bad {i}")
    if j > 1: raise RuntimeError("worse", j)
    if b: raise ArithmeticError(f)
except (ValueError, RuntimeError, ArithmeticError) as e:
    print("caught", e)
    return str(e), f"<{e}>", "{}".format(e), type(e).__name__
return "fine"

return "%s/%d" % ("a", i)

trace = []
for k in range(12):
    if x[k % 3] > k / 10 - 0.5:
        x = x * 0.9
        trace.append("skip")
    else:
        trace.append("run")
return x, trace

trace = []
for k in range(12):
    mode = "skip" if x[k % 3] > k / 10 - 0.5 else "run"
    if mode == "run": x = x * 0.9
    trace.append((k, mode))
return x, trace, trace[-1], trace[3][1] == "run"

trace = []
for k in range(8):
    if x[k % 3] > k / 10 - 0.5:
        x = x * 0.9
        trace.append(("skip", k, None))
    elif r[0] > k / 4:
        trace.append(("run", k, "deep"))
        trace.append(("again", i, None))
return x, trace, len(trace)

trace = []
while i > 0:
    trace.append("odd" if i % 2 else "even")
    i -= 1
out = 0
for t in trace:
    if t == "odd": out += 1
return out, trace, "odd" in trace, "none" in trace

trace = []
for k in range(8):
    if x[k % 3] > k / 10 - 0.5:
        x = x * 0.9
        trace.append(Kind.A)
    elif r[0] > k / 4: trace.append(Kind.B)
return x, [t.name for t in trace], trace[0] is Kind.A if trace else None

parent, size = list(range(5)), [1] * 5
def find(k):
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k
joined = 0
for a, c in [(0, i % 5), (2, (i + j) % 5), (3, 4)]:
    a, c = find(a), find(c)
    if a != c:
        if size[a] < size[c]: a, c = c, a
        parent[c] = a
        size[a] += size[c]
        joined += 1
return joined, parent, size

best = [0.0] * 4
count = [0 for _ in range(4)]
for k in range(9):
    at = (x * (k + 1)).sum().abs().long().item() % 4
    best[at] = max(best[at], x[k % 3].item())
    count[at] += 1
return best, count, max(count), count.index(max(count)), sum(best)

log = Result(x, i)
for k in range(10):
    if x[k % 3] > k / 10 - 0.5: log.parts.append((k, "hit"))
    elif r[0] > k / 4: log.parts.append((i, "other"))
return log.parts, len(log.parts), log.total()

log = Box(x)
for k in range(10):
    if x[k % 3] > k / 10 - 0.5: log.kept.append(k)
return log.kept, len(log.kept), log.n

given = []
log, other = Box(x, kept=given), Box(x, i)
for k in range(10):
    if x[k % 3] > k / 10 - 0.5: log.kept.append(k)
    else: other.kept.append(x * k)
return log, other.kept, given

labels = n.clamp(min=0)
return F.one_hot(labels, 5) * x[0], F.one_hot(labels.view(1, 2) + 1, num_classes=6 if b else 7)

for _ in range(12):
    x = self.act(self.lin(x))
return x

return CUTS["head"](x, n[0]) + CUTS["tail"](x).sum(), [f(x) for f in (self.act, lambda t: t.abs() if t[0] > 0 else t)]

scale = i
pick = lambda t: (y if (y := t * scale).sum() > 0 else t) if scale > 1 else (lambda: t + scale if g > 0 else t)()
for _ in range(10):
    x = pick(self.lin(x))
return x
if (3, 4) not in self.table: self.table[3, 4] = x
self.table[3, 4] = self.table[3, 4] + f
return self.table[3, 4], b

key = (tuple(x.shape), str(x.device), x.dtype)
if key not in self.table: self.table[key] = torch.arange(3.0) + j
if b: self.table[key] = self.table[key] * 2
return self.table[key] + x, key

made = {(1, "a"): x, Kind.A: i, x.dtype: f, x.shape: b, (1, (2, Kind.B)): None}
return made if b else made | {((),): r}

if b: self.marks.add((1, 2))
else: self.marks.discard((1, 2))
return set(self.marks), (1, 2) in self.marks, frozenset({(Kind.A, None)})

if b: self.table[Kind.A] = x
elif f > 0: self.table.pop(Kind.A, None)
return self.table.get(Kind.A), Kind.A in self.table, list(self.table)

self.picks.add("a" if b else "c")
return len(self.picks), "a" in self.picks, ("d", 1) in self.picks

self.picks.discard("b")
self.picks.add("a" if b else "e")
return set(self.picks), x

n, log = 0, []
done = False
while not done:
    x = x * 0.9
    n += 1
    log.append(Box(x, n))
    done = x.sum().item() > 1.5 or n >= 3
return x, n, [one.n for one in log]

n, going, kept = 0, True, []
while going:
    x = x * 0.5 + 0.1
    n += 1
    kept.append(Result(x, n))
    going = x.sum() < 0.2 and n < 4
return n, [one.total() for one in kept], going

import numpy as np
a = x.numpy()
made = np.concatenate([np.zeros(2, dtype=a.dtype), a]) if b else np.zeros(5, a.dtype)
return torch.from_numpy(made), a.dtype == np.float32, a.dtype.kind, np.ones_like(a, dtype=a.dtype), a.astype(made.dtype)

w = torch.arange(6.0).view(3, 2)
try: y = F.embedding(n, w)
except IndexError as e: y = str(e)
return y

try: return F.cross_entropy(x[None], n[:1])
except IndexError as e: return str(e)

try: return F.cross_entropy(x.repeat(2, 1), n, ignore_index=-1, reduction="none" if b else "sum")
except IndexError as e: return str(e)

w = x.repeat(2).view(3, 2)
try: return w[n], w[:, n.clamp(-2, 1)], w[n, n]
except IndexError as e: return type(e).__name__

w = x.repeat(2).view(3, 2)
try: return w[n]
except IndexError as e: return str(e)

w = x.clone()
try: w[n[:1]] = 5.0
except IndexError as e: return str(e), w
return w

try: return x.gather(0, n), x.scatter(0, n, 2.0), x.index_add(0, n, r)
except RuntimeError as e: return str(e)

try: return x.index_select(0, n), x.take(n), x.index_fill(0, n, 1.0)
except IndexError as e: return str(e)

try: return n // n.flip(0), n % 2
except RuntimeError as e: return str(e)

try: return torch.div(n, n.flip(0)), n[:0] // n[:1], torch.div(n, n.flip(0), rounding_mode="trunc")
except RuntimeError as e: return str(e)

try: return torch.bincount(n, minlength=3), torch.repeat_interleave(r, n)
except RuntimeError as e: return str(e)

try: return torch.multinomial(r, 1)
except RuntimeError as e: return str(e)

try: return F.one_hot(n, 3)
except RuntimeError as e: return type(e)

try: return F.binary_cross_entropy(r, r.clamp(0, 1))
except RuntimeError as e: return str(e)

out = x
for k in range(2):
    try: out = out + F.embedding(n[k], x.repeat(3, 1))
    except IndexError: continue
    out = out * 2
return out

y = x[x > 0]
try: return y[n], y.gather(0, n), y.index_copy(0, n, r)
except (IndexError, RuntimeError) as e: return type(e).__name__

y = x[x > 0]
return F.interpolate(x.view(1, 1, 3), size=len(y)), F.interpolate(y.view(1, 1, -1), scale_factor=0.4)

y = x[x > 0]
try: return F.interpolate(x.view(1, 1, 3), size=len(y))
except RuntimeError: return y

d = defaultdict(list)
d[i].append(x * 2)
d[j].append(x + 1)
return len(d), len(d[i]), d[j][0], d[7]

groups = defaultdict(list)
for k in range(3): groups[int(x[k].abs() * 3) % 4].append(x[k] * 2)
out = x.sum() * 0
for k, v in groups.items(): out = out + torch.stack(v).mean() * (k + 1)
return out, len(groups), groups[0]

groups = {}
for k in range(3):
    e = int(x[k].abs() * 3)
    if e not in groups: groups[e] = []
    groups[e].append(k)
return groups, sorted(groups)

groups, out = {}, torch.zeros(3)
for k, e in enumerate(((x.abs() * 3).long() % 4).tolist()): groups.setdefault(e, []).append(k)
for e, rows in groups.items(): out[rows] = x[rows] * (e + 1)
return out

hyps = []
while i < 3:
    hyps.append(Hyp([i, j], f))
    i += 1
    if hyps[-1].score > 0: hyps[-1].tokens.append(i)
return [h.tokens for h in hyps], hyps, len(hyps)

tracks, k = [], 0
while k < abs(i) + 1:
    tracks.append(Track(x[k % 3]))
    k += 1
best = tracks[0]
for t in tracks:
    if t.pos > best.pos: best = t
best.n += 5
best.kept.append(best.pos * 2)
for t in tracks:
    t.n += 1
    if t is best: t.kept.append(t.pos)
return [t.n for t in tracks], best.kept, tracks[-1] is best

a, c, d = [], [], {}
for k in range(abs(i) + 2):
    t = Track(x[k % 3] * 1)
    a.append(t)
    if t.pos > 0: c.append(t)
    d[k % 3] = t
for t in c: t.hit()
for k, t in d.items(): t.hit()
return [t.n for t in a], c[0].double if c else 0, len(c)

common, tracks, k = [], [], 0
while k < abs(i) + 1:
    mine = []
    tracks.append(Hyp(common if k % 2 else mine, k))
    mine.append(k)
    common.append(-k)
    k += 1
tracks[-1].tokens.append(77)
return [t.tokens for t in tracks], common, len(common)

import copy
boxes, spans, k = [], [], 0
while k < 3 and f > -1:
    h = Box(f + k)
    h.kept.append(k)
    other, c = dataclasses.replace(h, value=g, n=j), copy.copy(h)
    c.value = -1.0
    c.kept.append(9)
    boxes += [h, other, c]
    if x[k] > 0: spans.append(Span(k, k + i))
    k += 1
return [(h.value, h.n) for h in boxes], [h.kept for h in boxes], spans, len(spans), type(boxes[0]) is Box if boxes else None

todo, order = [Node(x, 0)], []
while todo and len(order) < 9:
    node = todo.pop(0)
    node.n += 1
    order.append(node)
    if node.depth < i and node.pos.sum() > -1: todo.append(Node(node.pos * 0.5, node.depth + 1))
    if node.depth < j: todo.append(Node(node.pos - 0.5, node.depth + 1))
return [o.depth for o in order], torch.stack([o.pos for o in order]), all(o.n == 1 for o in order), len(todo)

paths = [[i]]
while len(paths[-1]) < abs(j) + 1:
    paths.append(paths[-1] + [len(paths)])
paths[0].append(100)
last = paths[-1]
last += [200]
return paths, len(last), [len(p) for p in paths], sum(paths[0])

beams = [Hyp([0], 0.0)]
for step in range(3):
    new = []
    for h in beams:
        s, t = torch.log_softmax(x * (h.tokens[-1] + 1) + step, 0).topk(3)
        for m in range(3): new.append(Hyp(h.tokens + [t[m].item()], h.score + s[m].item()))
    new.sort(key=lambda h: h.score, reverse=True)
    beams = new[:3]
return [h.tokens for h in beams], [h.score for h in beams], beams[0]

y, z = torch.Tensor(3).fill_(f), torch.LongTensor(2).zero_()
if b: y = y + x
return y, z, torch.Tensor(x.size()).zero_(), x.new(2, 2).zero_(), torch.FloatTensor([1, 2])

best, at = None, -1
for k in range(i + j):
    if x[k % 3] > 0.5: best, at = x * k, k
return best, at

best = None
k = 0
while k < i * i + j:
    k += 1
    if x[k % 3] < 0 and best is None: best = (x * k, k)
    elif k == 5: best = None
return best

best = Result(None, i)
for k in range(i + j):
    if x[k % 3] < 0:
        if best.value is None: best.value = x * k
        else: best.value = best.value + 1
        best.parts.append(k)
return best.value, best.parts

state = "start"
for k in range(i + j):
    if state == "start" and x[k % 3] > 0: state = "inside"
    elif state == "inside" and x[k % 3] < 0: state = "end"; f = f + k
return state, f

last = None
for row in torch.arange(12.0).view(6, 2)[: i + j]:
    last = row.sum() if last is None or b else last * row.sum()
return last

prev = None
for k in range(i + j):
    cur = x[k % 3] > 0
    if cur: prev = (x if prev is None else prev + x)
    else: prev = None
    if prev is not None and prev.sum() > 3: break
return prev

self.buf.data += 0.5 * x
if b: self.lin.weight.data -= 0.25
self.steps.data.add_(1)
self.lin.bias.data *= 2
return self.lin(x), self.buf.sum()

y = x[x > 0]
rows = iter(y)
first = next(rows, None)
second = next(rows, f)
return first, second

it = iter(torch.split(x[x > -1], 1))
out = []
for k in range(2):
    try: out.append(next(it) * 2)
    except StopIteration: break
return out

parts = iter(x[x > 0].unbind(0))
total = f
for v in parts:
    total = total + v.item()
    if total > 1: break
return total, next(parts, None)

d, kept = {}, n[n > 0].tolist()
for k in kept: d[(k,)] = k + 1
return d.get(tuple(kept[-1:]), 0), tuple(kept[:1]) in d, tuple(kept) in d

d, kept = {}, n[n > 0].tolist()
for k in kept: d[(k, 1)] = x * k
return d[(*kept[:1], 1)] if kept and tuple(kept) in d else len(d)

kept = n[n > 0].tolist()
return {(2, 1): "both", (): "none", (3,): "three"}.get(tuple(kept), "other"), tuple(kept) in {(1, 2), (2,)}

seen, kept = set(), n[n > 0].tolist()
seen.add((i, j))
seen.add((j, i))
return tuple(kept) in seen, len(seen)

kept = n[n > 0].tolist()
names = {(): 0, (2, 2): 1, (3, 1): 2, (1, 2): 3, (4,): 4}
try:
    return names[tuple(kept)]
except KeyError:
    return x

kept = n[n > 0].tolist()
return torch.tensor([(k, k + 1) for k in kept])

kept = n[n > 0].tolist()
return torch.tensor([[k, k * 2] for k in kept]).reshape(-1, 2)

kept = r[r > 0].tolist()
return torch.tensor([[k, 1] for k in kept]), torch.tensor([k > 1 for k in kept])

kept = n[n > 0].tolist()
return torch.LongTensor(kept), torch.FloatTensor([k / 2 for k in kept]), torch.as_tensor(kept)

keep = []
for k in n.tolist():
    if k > 0: keep.append(k)
return torch.LongTensor(keep), torch.BoolTensor([k > 1 for k in keep])

keep = []
order = n[n >= 0]
while order.numel() > 0:
    keep.append(order[0].item())
    order = order[1:]
return torch.LongTensor(keep)

kept = r[r > 0].tolist()
rows = [[(k, 1), (k, 2)] for k in kept]
return torch.tensor(rows), torch.tensor([(True, i) for k in kept])

kept = n[n > 0].tolist()
rows = [[k] * 2 for k in kept]
if i > 1 and rows: rows[0].append(3)
try:
    made = torch.tensor(rows)
except ValueError: made = "ragged"
return made

kept = n[n > 0].tolist()
return x.new_tensor([[k, k] for k in kept]), torch.tensor([(k, 1.5) for k in kept], dtype=torch.int64)

kept = n[n > 0].tolist()
return torch.tensor([kept]), torch.tensor([kept, kept])

kept = n[n > 0].tolist()
return torch.Tensor([float(k) for k in kept])

kept = n[n > 0].tolist()
return torch.tensor([kept, kept], dtype=torch.float32), torch.tensor([[k > 1 for k in kept]]), torch.tensor(range(len(kept)))

kept = n[n > 0].tolist()
other = n[n > 1].tolist()
try: made = torch.tensor([kept, other])
except ValueError: made = None
return made

lengths = n.clamp(min=0).tolist()
return torch.arange(3).new(lengths), x.new([i, 2]), x.new(lengths).dtype, x.new((i, 2)), x.new(x.shape).shape

sizes = n[n > 0].tolist()
y = torch.arange(sum(sizes) * 2).view(-1, 2)
parts = torch.split(y, sizes, dim=0)
total = 0
for k in range(len(parts)):
    total = total + parts[k].sum() * (k + 1)
return total, parts[-1] if sizes else len(parts)

sizes = n[n > 0].tolist()
y = torch.arange(sum(sizes))
if b: y = y + 1
kept = []
for p in y.split(sizes): kept.append(p * 2)
return kept

sizes = n[n > 0].tolist()
try: made = list(x.split(sizes))
except RuntimeError: made = "they do not fit"
return made

sizes = n[n > 0].tolist()
y = torch.zeros(2, sum(sizes))
for k, p in enumerate(y.split(sizes, dim=1)): p += k + 1
return y

kept = n[n > 0].tolist()
return kept == [1, 2], kept == [], tuple(kept) == (2, 2), [kept] == [[1, 2]], (kept, 1) == ([4], 1), kept != [1, 2], kept == (1, 2)

kept = n[n > 0].tolist()
return kept in [[1, 2], []], (tuple(kept), 3) in [((1, 2), 3)], 2 in kept, [2] in [kept]

kept = n[n > 0].tolist()
return isinstance(kept, list), type(kept) is list, type(tuple(kept)) is tuple, type(deque(kept)) is deque, type(range(len(kept))) is range

kept = n[n > 0].tolist()
if kept == [2, 2] or kept == [1, 2]: return x
return kept

a, c = n[n > 0].tolist(), n[n > 1].tolist()
return a == c, a + c == c + a, a is c, len(a) > len(c)

kept = n[n > 0].tolist()
text = ["one", "two", "three", "four"]
names = [text[k - 1] for k in kept]
return names, "two" in names, names == ["two", "two"]

pairs = [(k, k > 1) for k in n[n > 0].tolist()]
return pairs == [(1, False), (2, True)], [v.item() for v in r if v > 0] == [1.5, 2.25]

kept = []
if b: kept = [i, j]
return "two" if kept == [2, 2] else "none" if kept == [] else kept

kept = n[n > 0].tolist()
return kept.copy() == kept, list(kept) is kept, any(k > 2 for k in kept), all(k > 1 for k in kept)

stop = [2, 1]
out = []
for k in n.tolist():
    out.append(k)
    if out[-2:] == stop: return "stopped"
return out

return class_of(i), class_of(f), class_of(b), class_of(x), like(i), like(b)

return [class_of(v) for v in (i + 1, x.shape[0], f * 2, i > 1)], Asking(i)(j), Asking(f)(i)

kept = n[n > 0].tolist()
return class_of(kept), class_of(tuple(kept)), like(kept), like(tuple(kept)), like(range(len(kept)))

parts = x[x > 0].split(2)
return class_of(parts), like(parts), type(parts) is tuple, isinstance(parts, (list, set))

d, s = {}, set()
for k in n[n > 0].tolist(): d[k] = 1; s.add(k)
return class_of(d), like(d), like(s), first_of({"a": i})

return type(n[n > 0].tolist()) is list

out = []
for k in range(abs(i) + 1):
    x = torch.tanh(x + k)
    out.append({"box": x, "score": x.sum().item(), "label": k})
return out

segments = []
k = 0
while k < j:
    segments.append({"start": k, "end": k + 1, "h": x * k})
    if f > 0 and len(segments) > 1:
        segments[-1]["end"] = k + 5
        segments[-2]["start"] += 1
    k += 1
best = max(segments, key=lambda d: d["end"]) if segments else {}
best["end"] = 77
kept = [d for d in segments if d["end"] > 3]
return len(kept), sum(d["start"] for d in segments), best.get("end"), [d["h"] for d in segments]

rows = []
for v in n[n > 0].tolist():
    d = dict(v=v, name="odd" if v % 2 else "even")
    d.update(v=v * 2)
    if "name" in d and "other" not in d and d.get("other") is None and isinstance(d, dict) and type(d) is dict and len(d) == 2:
        rows.append(d)
rows.sort(key=lambda d: -d["v"])
return [{**d, "more": 1} for d in rows], [len(list(d.keys())) for d in rows], [v for d in rows for k, v in d.items() if k == "v"]

rows, first = [], {"n": i, "in": {"ok": b, "at": []}}
for k in range(j):
    rows.append(first if k == 1 else {"n": k, "in": {"ok": k > i, "at": [k]}})
    rows[-1]["in"]["at"].append(k * 2)
    if rows[-1] is first: first["n"] += 10
if rows: rows[0]["in"]["ok"] = True
return rows, first["n"], sum(len(d["in"]["at"]) for d in rows), [d["in"]["ok"] for d in rows]

self.log.append({"step": len(self.log), "mean": x.mean().item(), "x": x})
if b and len(self.log) > 1: self.log[-2]["step"] = -1
return sum(e["mean"] for e in self.log), [e["step"] for e in self.log], self.log[0]["x"] + 1

rows = []
for k in range(j):
    d = {}
    d["k"] = k
    if b: d["k"] += 1
    d["x"] = x * k
    if "x" in d and len(d) == 2 and list(d)[0] == "k": d["last"] = k == i
    rows.append(d)
    d["x"] = d["x"] + 1
return rows, [d["k"] for d in rows if d["last"]]

rows = []
for k in range(j):
    d = {"k": k, "x": None if k % 2 else x * k}
    match d:
        case {"x": None}: rows.append(d)
        case {"k": at, "x": t}: rows.append({"k": -at, "x": t})
return [d["k"] for d in rows], [d["x"] is None for d in rows], rows[-1:]

out, st = [], [1, 2]
for k in range(j):
    for e in (st[:], st.copy(), copy.deepcopy(st), copy.copy(st), st[1:]):
        e.append(k)
        out.append(e)
    st.append(k * 2)
return out, st

out, now = [], {"k": i, "at": [j], "h": x}
for k in range(j):
    one = copy.deepcopy(now) if k % 2 else copy.copy(now)
    one["k"] += k; one["at"].append(k); one["h"] = one["h"] * k
    out.append(one)
    now["at"].append(-k)
return [d["at"] for d in out], [d["k"] for d in out], now["at"], sum(d["h"] for d in out)

seen = []
for k in range(j):
    x = torch.tanh(x + k)
    seen.append(k if x.sum() > f else None)
return seen, seen.count(None), None in seen, 2 in seen, seen == list(seen), seen[-1:] == [None], [v for v in seen if v is not None]

parts = []
for k in range(abs(i)):
    y = x[x > k / 3]
    parts.append(y if y.numel() > 1 else None)
if parts: parts[0] = None
return parts, [t.sum() for t in parts if t is not None], len(parts)

tracks = []
for k in range(j):
    if b or not tracks: tracks.append(Memo())
    one = tracks[-1]
    one.last = x * k if one.last is None else one.last + 1
    if k % 2: one.at = k if one.at is None else one.at + k
return [t.last for t in tracks], sum(0.5 if t.last is None else t.last.sum().item() for t in tracks), [t.at for t in tracks]

rows = []
for k in range(j):
    rows.append({"k": k, "of": (None, k) if k % 2 else (x * 2, k), "part": None if b else 0.5})
    if len(rows) > 1 and rows[-1]["part"] is None: rows[-2]["part"] = k / 2 if rows[-2]["part"] is None else None
return rows, [d["of"][0] is None for d in rows], [d["part"] for d in rows], [d["k"] if d["part"] is not None else -d["k"] for d in rows]

self.log.append(x * 1 if b else None)
self.table[i] = None if b else x.sum()
return len(self.log), sum(e is None for e in self.log), sum(1 for k in self.table if self.table[k] is None)

every, later, q = [], [], deque([0], maxlen=4)
for k in range(3):
    tokens = []
    while len(tokens) < 3 and (x * k).sum() > len(tokens) + f:
        tokens.append(len(tokens) + i)
    every.extend(tokens)
    later += tokens
    q.extend(tokens)
    later += [k]
x += 1
return every, later, q, x

for k in range(2):
    tokens = [m for m in range(3) if (x * m).sum() > f]
    self.log += tokens
    self.log.extend([m * 2 for m in n[n > 0].tolist()])
return self.log, len(self.log)

class Meter:
    def __init__(self): self.reads, self.kept = 0, 1
    def read(self): self.reads += 1; return self.kept
    def write(self, value): self.kept = value
    v = property(read, write)
m = Meter()
m.v += 2 if b else i
return m.kept, m.reads

rows = []
for k in range(j): rows.append({"k": k, "x": x * k})
if b: return rows[0]["none"] if rows else i
try: return rows[i]["none"]
except KeyError as error: return "no key", str(error), len(rows)

rows = []
for k in range(j):
    d = {}
    d["k"] = k if k != i else d["none"]
    rows.append(d)
return rows

d = {}
for k in range(j): d[(x * k).sum().long().item()] = x * k if k % 2 else None
return sum(0.5 if d[k] is None else d[k].sum().item() for k in d), len(d), [d[k] is None for k in d]

self.log = [None, x * 1] if self.count == 0 else self.log + [None if b else x * 2]
self.count += 1
return sum(t.sum() for t in self.log if t is not None), [t is None for t in self.log]

a = [k * 2 for k in range(abs(i))]
try:
    p, q = a
    return p + q, a
except ValueError as e: return str(e)

a = [(k, x * k) for k in range(abs(i))]
try:
    (p, y), = a
    return p, y
except ValueError as e: return str(e)

a = [k * 2 for k in range(abs(i))]
p, b = a * 2 + 3 * a, a
a *= 2
return b, p, a * 0, a * -1, a, [x * k for k in range(abs(j))] * 2

a = [k * 2 for k in range(abs(i))]
z = zip(a, a)
p = [v for v, _ in z]
return p, [v for v, _ in z]

a = [k * 2 for k in range(abs(i))]
return next(enumerate(a), None)

a = [k * 2 for k in range(abs(i))]
return next(filter(lambda v: v > 1, a), None)

a = [k * 2 for k in range(abs(i))]
return next(iter(a), None)

a = [k * 2 for k in range(abs(i))]
return next((v for v in a if v > 1), None)

a = [k * 2 for k in range(abs(i))]
return next(reversed(a), None)

a = [k * 2 for k in range(abs(i))]
g = (v + 1 for v in a)
a.extend(v * 3 for v in a[:2])
p = next(g, 0)
return p, list(g), list(g), a

a = [k * 2 for k in range(abs(i))]
it = iter(a)
p, q = next(it, -1), next(it, -2)
return p, q, [v for v in it], next(it, -3)

a, g = [k * 2 for k in range(abs(i))], reversed(range(abs(j)))
e = enumerate(zip(a, filter(None, a)), 1)
return [(m, v + w) for m, (v, w) in e], list(e), list(g), list(g), 4 in (v for v in a)

a = [k * 2 for k in range(abs(i))]
e = enumerate(a)
for _, v in e:
    if v > 2: break
return [v for _, v in e], next(e, None), [v for v in e]

a, s = [x * k for k in range(abs(i))], 0
z = zip(a, a)
for p, q in z:
    s = s + p.sum()
    if s > j: break
    for p, q in z: s = s + 1
return s, list(z)

a = [k * 2 for k in range(abs(i))]
m = map(lambda v: v + j if v else 9, a)
return list(m), list(m), sum(map(abs, a)), list(map(lambda p, q: p - q, a, a[1:])), max(map(float, a), default=-1.0)

a = [x * k for k in range(abs(i))]
m = map(torch.sum, a)
for v in m:
    if v > j: break
return v if a else x, [w + 1 for w in m], [p + q for p, q in map(lambda t: (t, t * 2), a)]

a = [k * 2 for k in range(abs(i))]
p, q, r = filter(None, a), itertools.accumulate(a), itertools.chain(a, [j])
a.append(7)
return list(p), list(q), list(r), list(p), functools.reduce(lambda s, v: s + v, range(abs(i)), 0), list(itertools.accumulate(range(abs(i))))

a = [k * 2 for k in range(abs(i))]
it = iter(a)
p = list(itertools.islice(it, 2))
try: return p, list(itertools.islice(a, i)), list(itertools.islice(range(abs(j)), 1, 3)), list(itertools.islice(a, 0, j, 2))
except ValueError as e: return str(e)

def both(*p): return p
a, b = [k * 2 for k in range(abs(i))], [x * k for k in range(abs(j))]
if len(a) == 2 and len(b) >= 2: return both(*zip(a, b)), both(*enumerate(a))
return len(a)

def both(*p): return p
a = [k * 2 for k in range(abs(i))]
e = enumerate(a)
if len(a) == 3:
    first = next(e)
    return first, both(*e), list(e)
return len(a)

y = x[x > 0]
return functools.reduce(torch.add, y, x.sum()), list(filter(lambda v: v > 1, y)), list(itertools.pairwise(y)), list(map(torch.exp, y))

a = [None] * 3
n = 0
while n < 3 and x[n] > j:
    a[n] = x * n; n += 1
try:
    return torch.stack(a), n
except TypeError as e:
    return str(e), n

a = [None] * 4
for k in range(abs(i)): a[k % 4] = x + k
b = [a[k] for k in range(abs(i))]
return torch.cat(b) if b else x, torch.stack(b, -1).sum() if b else 0

a = [None] * 4
for k in range(abs(i)): a[(k * j) % 4] = x + k
b = [v for v in a if v is not None]
return torch.vstack(b) if b else x, len(b)

t = 0 * x
for c in set((x * 2).int().tolist()): t = t * 0.5 + c
return t

s = {abs(int(v)) for v in x}
if j: s.add(7)
return tuple(enumerate(s)), sum(s)

s = set((x * 3).long().tolist() + [i, j])
out = []
for k in s:
    if k > i: out.append(x * k)
return torch.stack(out).sum(0) if out else x + 1, max(s, key=abs)

s = set((x * 3).long().tolist())
try:
    for k in s:
        if k > 0: s.add(k + 100)
except RuntimeError as e:
    return str(e)
return len(s)

s = set((x * 3).long().tolist())
s.add(i); s.discard(j)
return sum(s), len(s), sorted(s)

a = [k * 2 for k in range(abs(i))]
try:
    p, *q, r = a
    first, *rest = q
except ValueError as e:
    return str(e)
q.append(j)
return p, q, r, first, rest, sum(rest)

(a, b), *c = sorted(zip(x.tolist(), [i, j, 2]))
d, *e = x
[f, *g] = (i, j)
try:
    *h, k, l = [v for v in x if v > j]
except ValueError as err:
    return str(err), len(c)
return a, b, c, d, e, f, g, h, k, l

from collections import Counter
(v, n), *rest = Counter((x * 2).int().tolist()).most_common()
return v, n, len(rest), rest

try:
    a, *b = i if i > 0 else [j]
except TypeError as e:
    return str(e)
return a, b

from itertools import groupby
ids = (x * 2).int().tolist() + [i, i, j, j, j, 2]
return [k for k, _ in groupby(ids)], max(len(list(g)) for _, g in groupby(ids))

import itertools
a = [k // 2 for k in range(abs(i) * 2)]
out = []
for k, g in itertools.groupby(a, key=lambda v: v > j):
    if k: out.append(sum(g))
    else: out.extend(v * 10 for v in g)
return out, [list(g) for _, g in itertools.groupby(a)]

from itertools import groupby
rows = [(k % 2, x * k) for k in range(abs(i) + 1)]
t = 0 * x
for k, g in groupby(sorted(rows, key=lambda r: r[0]), lambda r: r[0]):
    t = t * 2 + torch.stack([v for _, v in g]).sum(0) * (k + 1)
return t

from itertools import groupby
ids = [i, j, i]
return [(k, list(g)) for k, g in groupby(ids)]

from itertools import groupby
a = [k // 2 for k in range(abs(i) + 2)]
g = iter([7])
for k, g in groupby(a): pass
return list(g)

from itertools import groupby
a = [k // 2 for k in range(abs(i) + 2)]
last = None; t = 0
for k, g in groupby(a):
    if last is not None: t += sum(last)
    last = g
return t

from itertools import groupby
a = [k // 2 for k in range(abs(i) + 2)]
it = groupby(a)
k, g = next(it)
k2, g2 = next(it, (None, None))
return list(g), k, k2

from itertools import groupby
a = [k // 2 for k in range(abs(i) + 3)]
found = any(sum(g) > j for _, g in groupby(a))
it = groupby(a)
first = next(it)[0]
return found, first, [(k, sum(g)) for k, g in it], {k: len(list(g)) for k, g in groupby(a)}

from itertools import groupby
seen = []
def key(v):
    seen.append(1)
    return v > 0
runs = [(k, len(list(g))) for k, g in groupby([1, 2, -1, -2, 3, 4], key)]
for k, g in groupby([i, j, i], key): runs.append((k, sum(g)))
return runs, len(seen)

a = [k * 2 for k in range(abs(i))]
return functools.reduce(lambda s, v: s * 2 + v, a, 1), list(filter(lambda v: v % 4, a)), list(filter(None, a))

a = [k * 2 + j for k in range(abs(i))]
try: return functools.reduce(lambda s, v: s * 2 + v, a)
except TypeError as e: return str(e)

a = [x * k for k in range(abs(i))]
return functools.reduce(torch.add, a, x), [v for v in filter(lambda v: v.sum() > 1, a)]

a = [(k * 7 + j) % 5 for k in range(abs(i))]
return list(itertools.accumulate(a)), list(itertools.accumulate(a, max, initial=3)), list(itertools.accumulate(a, lambda p, q: p * q))

a = [k * 2 for k in range(abs(i))]
return list(itertools.chain(a, [j], a)), list(itertools.islice(a, 2)), list(itertools.islice(a, 1, None)), list(itertools.pairwise(a))

a = [(k * 7 + j) % 5 for k in range(abs(i))]
return [v + w for v, w in itertools.pairwise(a)], sum(v for v in itertools.chain(a, [1, 2]))

a = [(k * 7 + j) % 5 for k in range(abs(i))]
return heapq.nlargest(2, a), heapq.nsmallest(2, a, key=lambda v: -v), heapq.nsmallest(-1, a), heapq.nlargest(9, a)

h = []
for k in range(abs(i) + 2): heapq.heappush(h, ((k * 7 + j) % 5, k))
first = heapq.heappop(h)
return first, h

h = [(k * 3 + j) % 7 for k in range(abs(i) * 2)]
heapq.heapify(h)
out = [heapq.heappushpop(h, j), heapq.heappushpop(h, 99)]
if h: out.append(heapq.heapreplace(h, 5))
return h, out

h = [(k * 3 + j) % 7 for k in range(abs(i))]
try: heapq.heapify(h); return heapq.heappop(h), h
except IndexError as e: return str(e)

a = sorted((k * 3 + j) % 7 for k in range(abs(i)))
return bisect.bisect(a, 3), bisect.bisect_left(a, j), bisect.bisect_right(a, f)

a = []
for k in range(abs(i)): bisect.insort(a, (k * 3 + j) % 7)
return a, bisect.bisect_left(a, -3, key=lambda v: -v)

a = [[k % 3, j] for k in range(abs(i))]
return a, max(a) if a else None

a, b = [k * 2 for k in range(abs(i))], [x * k for k in range(abs(j))]
return list(zip(a, b)), list(enumerate(a)), tuple(zip(a, a)), list(reversed(list(enumerate(b, 1)))), sorted(zip(a, a))

a, b, c = [1, j], [v for v in range(abs(i))], [v for v in range(abs(j))]
return b < c, b <= c, b > c, b >= c, b < b, (1, b) < (1, c)

a = n.tolist()
while sum(a) < 9 and a[-1] != 4: a.append(a[-1] + 1)
return a, len(a)

a = [x, -x, x * 2]
p = a.pop(abs(i) % 3)
a.insert(j % 3, p + 1)
return torch.stack(a), p

a = [f, g, 1.0]
try: return a.pop(i), a
except IndexError as e: return str(e)

a = [x, x + 1]
a.insert(i, x * 3)
return torch.stack(a)

best, rest = [], []
for k in range(abs(i)):
    v = [k, j]
    if k % 2: best.append((f * k, v))
    else: rest.append((g * k, v))
both = best + rest
both.sort(key=lambda e: e[0])
return [e[1] for e in both], best

d = {}
for v in (x * 3).long().tolist() + [i, j]:
    k = ["a", "b", "c"][v % 3]
    d[k] = d.get(k, 0) + v
return d, len(d), "c" in d, list(d.items())

d = {}
for k in range(abs(i) + abs(j)):
    name = ("p", "q")[(k * i) % 2]
    if name not in d: d[name] = x * k
    else: d[name] = d[name] + k
return d, sum(v.sum() for v in d.values()) if d else None

d = defaultdict(list)
for k in range(abs(i)):
    if (x * k).sum() > 1: d["up"].append(x * k)
    d["all"].append(k)
return len(d["up"]), d["all"], sorted(d)

s, seen = set(), []
for k in range(abs(i) + 2):
    name = ["u", "v", "w"][(k * j + k) % 3]
    if name in s: continue
    s.add(name)
    seen.append(name)
return seen, len(s), "w" in s, sorted(s, reverse=True)

c = Counter()
for k in range(abs(j) + abs(i)): c[("x", "y", "z")[(k * k + i) % 3]] += k
return c["y"], sum(c.values()), max(c, key=c.get) if c else None, sorted(c)

k = ["a", "b", "c", "d", "e"][abs(i + j) % 5]
if k not in self.table: self.table[k] = x + 1
return self.table[k], len(self.table), list(self.table)

d = {}
for k in range(abs(i) * 2): d[("p", "q", "r")[(k * j) % 3]] = k
return {key: v + 1 for key, v in d.items()}, {v: 1 for v in d.values()}

d = {}
for k in range(abs(i) + 2):
    name = ["a", "b", "c"][(k * j + k) % 3]
    d.setdefault(name, []).append(x * k)
return {key: torch.stack(v).sum(0) for key, v in d.items()}

a = [Named.U if k % 2 else Named.V for k in range(abs(i))]
d = {}
for k in range(abs(i) + 1): d[(Named.U, "v", Kind.A)[(k * j) % 3]] = k
return a.count(Named.U), "w" in a, d.get("z", 7), Kind.A in d, d.get("w"), list(d)

if self.cache is not None: x = x + len(self.cache["kept"])
self.cache = {"kept": list(x[x > 0])}
return x + 1

n = int((x > 0).sum())
torch._check(n > 1, lambda: f"too few: {n}")
return x * n

n = int((x > 0).sum())
try:
    torch._check_value(n % 2 == 0, lambda: "odd")
except ValueError as e:
    return x - 1, str(e)
return x * n

torch._check_tensor_all(x > -1, lambda: "below")
return x * 2

n = int((x > 0).sum())
torch._check_is_size(n)
torch._check_type(n != 2, lambda: f"not {n}")
return x[:n]

def check(c, m): torch._check_value(c, lambda: m)
n = int((x > 0).sum())
try: check(n < 3, f"{n} is more")
except ValueError as e: return x.sum(), e.args[0]
return x * n

torch._check(int((x > 0).sum()) > 2, "some text")
return x * 2

n = int((x > 0).sum())
torch._check_is_size(n)
if n != 2: return x + 1
return x[:n]

n = int((x > 0).sum())
torch._check_is_size(n, max=2)
return x[:n]

n = int((x > 0).sum())
torch._check_is_size(n)
if n < 2: return x + 1
return torch.zeros(n)

k = max(1, i)
z = [[0] * k for _ in range(2)]
z[0][0] = 5
return z

k = max(1, i)
z = [x] * k
return torch.stack(z)

seen = [False] * max(0, i)
for a in range(len(seen)):
    if a % 2 == j % 2: seen[a] = True
return seen, sum(seen)

dp = [0.0] * (max(i, 0) + 1)
dp[0] = f
for a in range(1, len(dp)):
    dp[a] = dp[a - 1] * 0.5 + g
return dp[-1], len(dp)

z = max(i, 0) * [i, j]
z.append(7)
return z, z.count(7)

z = [0] * i
z += [1, 2] * j
return z, len(z), torch.tensor(z)

rows = [[0] * max(j, 1)] * max(i, 1)
rows[0].append(3)
return rows

z = [(0, 1.5)] * max(i, 0)
return [a + b for a, b in z], bool(z)

k = max(1, i)
z = [None] * k
return len(z)

grid = [[0] * max(1, j) for _ in range(max(1, i))]
for a in range(max(1, i)):
    grid[a][0] = a
return sum(row[0] for row in grid)

z = [[]] * max(1, i)
return len(z)

return ["pad"] * 2 + ["x"] * int(b)

k = max(0, i)
y = torch.linspace(-1, 1, k)
return y

y = torch.linspace(0, f, steps=max(1, j), dtype=torch.float64)
return y * x.double()[0], y.shape[0]

return torch.logspace(0, g, max(1, i)), torch.logspace(0, 1, steps=max(1, i), base=2.0)

s = 1.0 + abs(f)
return F.interpolate(x[None, None], scale_factor=s), F.interpolate(x[None, None], scale_factor=s, mode="linear")

s = 1.0 + abs(f)
y = F.interpolate(torch.outer(x, x)[None, None], scale_factor=(s, 2.0), mode="bilinear", align_corners=False)
return y, y.shape[-2] > 6

k = max(1, i)
return F.interpolate(torch.outer(x, x)[None, None], scale_factor=k, mode="nearest")

y = torch.linspace(0, 1, i)
return y

y = torch.linspace(0, 1, max(1, i))
return x[0] * y[-1], torch.outer(y, x) if b else y.sum()

s = abs(g)
return F.interpolate(torch.outer(x, x)[None, None], scale_factor=s, mode="bicubic", align_corners=True)

return [0] * n[0]

xs = [0] * i
xs *= 2
ys = xs
ys *= max(0, j)
return xs, ys

return [0] * b + [1] * (i > 1)

return F.interpolate(x[None, None], scale_factor=1 + abs(f), mode="nearest-exact"), torch.linspace(0, 1, max(1, i), device="cpu")

y = torch.outer(x, x).view(1, 1, 3, 3).expand(1, 2, 3, 3).contiguous(memory_format=torch.channels_last)
z = F.interpolate(y, scale_factor=1 + abs(f), mode="bilinear")
return z.is_contiguous(), z.stride(1), z

y = F.interpolate(torch.outer(x, x)[None, None], scale_factor=(1 + abs(f), 1.0), mode="nearest", align_corners=None)
return y
import numpy as np
a = [x[0].sum(), x[1].sum(), x[0].max()]
return x * float(np.argmax(a))

import numpy as np
a = [x[0].sum().item(), x[1].sum().item()]
return x * float(np.mean(a)) if x.sum() > 0 else x * np.max(a)

import numpy as np
a = [x[0].sum(), x[1].sum()]
return x * float(np.array(a).mean())

import numpy as np
a = [x[0].sum(), x[1].sum()]
b = np.max(a)
return x if b > 1 else x + float(b)

import numpy as np
a = [float(x[0].sum()), float(x[1].sum()), 0.5]
return x * int(np.argmin(a)), np.std(a)

import numpy as np
a = (x[0].sum().item(), x[1].sum().item())
return x + torch.tensor(np.cumsum(a))[0].float()

import numpy as np
outs = [x, x * 2, x * 3]
conf = [o.softmax(-1).max() for o in outs]
best = np.argmax(conf)
return outs[best], best

import numpy as np
return x * float(np.exp(x.sum().item())), np.sqrt(abs(x.sum().item())) > 1

import numpy as np
a = []
for row in x:
    if row.sum() > 0:
        a.append(row.sum().item())
return np.mean(a) if len(a) > 0 else 0.0

import numpy as np
a = [x[0], x[1]]
return torch.from_numpy(np.stack(a)), torch.from_numpy(np.concatenate([x.numpy(), x.numpy()]))

import numpy as np
a = [r.sum().item() for r in x]
order = np.argsort(a)
return x[int(order[0])], np.maximum(a, [0.5] * len(a)).sum()

import numpy as np
a = [r.sum().item() for r in x]
return np.average(a), np.median(a), np.percentile(a, 50), np.prod(a), np.any(a), np.round(a, 2).tolist()

import numpy as np
a = x.numpy()
b = np.outer(a, a)
return np.median(a) > 0, np.quantile(a, 0.25), np.median(b, axis=1), np.median(b), np.median(a, keepdims=True)

y = x + 1
z = y[0:2]
y.data = x * 5
z.add_(1)
return y, z

y = x * 1
w = x * 2
y.data = w
y.mul_(3)
return y, w

y = x.clone()
y.unsqueeze_(1).unsqueeze_(0)
y.add_(1)
return y, y.shape[1]

y = x[x > 0]
y.unsqueeze_(0)
return y, torch.cat([y, y]).sum()

def joint(f, g):
    f.unsqueeze_(dim=1)
    g.unsqueeze_(dim=0)
    return torch.tanh(f + g)
h = joint(x + 1, x * 2)
n = 0
while h.sum() < 5 and n < 4:
    h = h + joint(x * 1, x + n)
    n += 1
return h, n

y = x + 1
z = y
items = [y]
y.unsqueeze_(0)
return z.dim(), items[0].shape[0], y if y.sum() > 0 else z * 2

y = x.clone()
if x[0] > 0:
    if x[1] > 0:
        y.unsqueeze_(0)
        return y
    return y * 2
y.unsqueeze_(1)
return y

out = x + 0
for k in range(3):
    out.data = out.data * (out > 0).float()
    out = torch.relu(out + k) if out.sum() > 0 else out.clone()
return out

items = []
if x.sum() > 0:
    y = x + 1
    items.append(y)
    y.unsqueeze_(0)
else:
    y = x.unsqueeze(0) * 2
    items.append(y)
return items[0], y

y = x + 1
v = y[0:1]
y.unsqueeze_(0)
v.mul_(5)
w = y.clone() if y.sum() > 2 else y * 3
return y, v, w

z = x.view(-1)
z.unsqueeze_(0)
z.add_(1)
return z if x.sum() > 0 else x * 1

def gen():
    for i in range(3):
        t = x * i
        t.unsqueeze_(1)
        yield t
total = 0
for t in gen():
    total = total + t if t.sum() > -1 else t
return total

try:
    y = x * 2
    y.unsqueeze_(0)
    if y.sum() > 1:
        raise ValueError("large")
    r = y + 1
except ValueError:
    r = y - 1
return r, y.dim()

k = 0
h = x * 1
while k < 3 and h.sum() > -5:
    t = h - 1
    t.unsqueeze_(0)
    u = t
    u.squeeze_(0)
    h = u + t
    k += 1
return h, k

n = (x > 0).sum()
text = f"{n.item()} box{'es' * (n > 1)}"
return x * 2, text

names = ["no", "yes"]
return x, names[x.sum() > 0], [10, 20][x[0] > 0]

k = "-" * (x.sum() > 0)
return x * len(k), k

y = x[1:]
y.data = y * 3
return x, y + 1

s = ""
for c in x.unique():
    n = (x == c).sum()
    s += f"{n} of {int(c)}{'s' * (n > 1)}, "
return s, x

chars = ["a", "b", "c", "d"]
text = ""
for i in range(6):
    k = int((x[i % 3] * (i + 1)).abs().item()) % 4
    text += chars[k]
return text

chars = "-abcd"
text, last = "", 0
for k in (x.abs() * 7).long().repeat(5):
    k = k.item() % 5
    if k != 0 and k != last:
        text += chars[k]
    last = k
return text

words = ["<s>", "the", "cat", "</s>"]
out, i = [], 0
k = 0
while k != 3 and i < 7:
    k = int((x.sum() * (i + 2)).abs().item()) % 4
    out.append(words[k])
    i += 1
return " ".join(out), len(out)

name = "low"
if x.sum() > 0:
    name = "high"
if x[0] > 1:
    name = name + "er"
if name == "higher":
    return x * 2
elif name.startswith("low"):
    return x - 1
return x

text = ""
while len(text) < int(x.abs().sum().item()) % 5:
    text = text + ("x" if x[0] > 0 else "yy")
return text, text.upper(), len(text)

mods = {"neg": torch.neg, "abs": torch.abs, "exp": torch.exp}
names = list(mods)
y = x
for i in range(5):
    f = names[int((y[0] * (i + 1)).abs().item()) % 3]
    if f == "exp" and y.abs().max() > 4:
        f = "neg"
    y = mods[f](y) + 0.5
return y

state = "start"
n = 0
while state != "done" and n < 9:
    if state == "start":
        state = "up" if x[n % 3] > 0 else "down"
    elif state == "up":
        state = "done" if x.sum() > 1 else "start"
    else:
        state = "up"
    n += 1
return state, n

log = ""
y = x
for i in range(int(x[0].abs().item() * 3) % 5):
    y = y * 0.5
    log += f"step {i}: {y.sum().item():.2f}\n"
print(log, end="")
return y, log

text = "ab"
if x[0] > 0:
    text += f"{x[1].item():.3f}"
if "b0" in text:
    return x
return x * 2, text.replace("a", "_"), f"<{text}>"

def label(v):
    if v > 1:
        return "big"
    return "small" if v > 0 else "negative"
return [label(v) for v in x], "/".join(label(v) for v in x)

words = ["<s>", "the", "cat", "sat", "on", "a", "mat", "dog", "ran", "</s>"]
out, i = [], 0
k = 0
while k != 9 and i < 60:
    k = int((x.sum() * (i + 2)).abs().item()) % 10
    out.append(words[k])
    i += 1
return " ".join(out), len(out)

chars = "abcdefghij"
text = ""
i = 0
while i < 60 and not text.endswith("jj"):
    text += chars[int((x.sum() * (i + 2)).abs().item()) % 10]
    i += 1
return text, i

s = ""
best = None
for i, v in enumerate(x[x > -1]):
    if best is None or v > best:
        best = v
        s = f"{i}:{v.item():.2f}"
return s, best

parts = [f"{v.item():.1f}" for v in x[x > 0]]
return ",".join(parts)

def step(s, v):
    return s + ("+" if v > 0 else "-")
s = ""
for i in range(9):
    s = step(s, x[i % 3] - i + 4)
return s, s.count("+") if False else s

key = "a"
if x[0] > 0:
    key = f"{'b' if x[1] > 0 else 'c'}"
table = {"a": x, "b": x * 2, "c": x * 3}
return table[key], key in table, table.get(key)

t = ""
for i in range(6):
    t = t + ("a" if x[i % 3] > 0 else "b") + ("c" if x[i % 3] > 1 else "")
m = {"a": x}
if t in m:
    return m[t]
return t.lower() == "abcabc", t[:2] if False else t

t = "x"
for i in range(20):
    t = "y" if t == "x" and x[i % 3] > 0 else "x"
return t

f = "a"
if x[0] > 0:
    f = "b"
for i in range(40):
    if x[i % 3] > i * 0.1:
        f = ["a", "b", "c"][int(x[1].abs().item() * i) % 3]
return {"a": 1}.get(f, 2), x, f in ("a", "b"), f in "abc", f in {"a", "c"}

t = ""
for i in range(6):
    t = t + ("a" if x[i % 3] > 0 else "b") + ("c" if x[i % 3] > 1 else "")
m = {"aaaaaa": x}
if t in m:
    return m[t]
return t.lower() == "abcabc", t.strip("a")

t = f"{x[0].item():.1f}"
if t:
    return x, t == t, t != "1.0", t + t == "0.10.1"
return x

t = ""
for i in range(12):
    t += "x" if x[i % 3] * (i - 5) > 0 else "yz"
return t[0], t[1:4], t[:-2], t[-1] == "z", t[len(t) // 2], t[int(x[0].abs().item()) % 3:]

t = ""
for i in range(3):
    t += "x" if x[i % 3] > 0 else ""
try:
    c = t[1]
except IndexError:
    c = "none"
return c, t

from types import SimpleNamespace
n = SimpleNamespace(name="")
for i in range(12):
    n.name += "x" if x[i % 3] * (i - 5) > 0 else "yz"
return n.name, len(n.name)

t = ["", 0]
for i in range(12):
    t[0] += "x" if x[i % 3] * (i - 5) > 0 else "yz"
    t[1] += len(t[0])
return t

m = "add"
for i in range(9):
    if x[i % 3] * (i - 4) > 0:
        m = "mul"
    elif x[i % 3] > 1:
        m = "sub"
return getattr(torch, m)(x, x)

keep = x[x > 0]
a, b = keep
return a - b

keep = x[x > 0]
a, b, c = keep * 2
return a - b + c

rows = x[x > 0].unsqueeze(1).repeat(1, 2)
try:
    a, b = rows
except ValueError:
    return x.sum()
return a * b

(a, b), c = torch.stack([x, x + 1], 1)[x > 0][:, :2][:2], x.sum()
return a + b + c

def pick(v):
    k = v[v > 0]
    if v.sum() > 1:
        return k, v.max()
    return k
ids, count = pick(x)
return ids, count

out = []
for i in range(int(x[0].item() * 2) % 4 + 1):
    y = x[x > i - 1]
    if y.sum() > 1:
        y = x[:2]
    out.append(y.unsqueeze(0) * (i + 1))
return torch.stack(out, 1), torch.cat(out, 0)

out = []
k = int(x.abs().sum().item()) % 3
while len(out) < k + 1:
    out.append(x[x > 0].unsqueeze(1).repeat(1, 3))
return torch.stack(out), torch.cat(out, 1), torch.cat(out, -1)

out = []
n = 0
while n < 4:
    out.append(x[x > n * x[0] - 1])
    n += int(x[1].item() > 0) + 1
return torch.stack(out)

out = []
n = 0
while n < 4:
    out.append(x[x > n * x[0] - 1][None, :, None].repeat(2, 1, 2))
    n += int(x[1].item() > 0) + 1
try:
    return torch.cat(out, 2)
except RuntimeError:
    return torch.cat(out, 1)

y = x * 2
y.data = y.data + 1
if x.sum() > 0:
    z = y * 3
else:
    z = y - 1
return z, y

y = x * 2
for i in range(3):
    y.data = y.data * (i + 1)
    if y.sum() > i:
        y = y + 1
    else:
        y = y * 0.5
    z = y.unsqueeze(0)
    z.squeeze_(0)
    if z.max() > 3:
        break
return z, y

y = x * 2
y.unsqueeze_(0)
a = y
if x[0] > 0:
    a = y + 1
elif x[1] > 0:
    y.squeeze_(0) if False else None
    a = y * 2
return a, y

def f(v):
    w = v * 2
    w.data = w.data.abs()
    if w.sum() > 1:
        return w
    return w + 1
return f(f(x) - 1)

import numpy as np
return torch.from_numpy(np.random.rand(3)), x

import numpy as np
return x * float(np.random.rand(1)), np.random.randn(2, 2).sum().item()

import numpy as np
p = np.random.permutation(5)
return x[torch.from_numpy(p) % 3], p

import numpy as np
i = np.random.choice(10, 4, replace=False)
return torch.as_tensor(i), x

import numpy as np
i = np.random.choice(3, p=x.softmax(0).numpy())
return x * i, i

import numpy as np
i = np.random.choice(3, 5, p=[0.2, 0.5, 0.3])
return x[i]

import numpy as np
i = np.random.choice(3, p=[x[0].sigmoid().item(), 0.5, 0.5])
return i

import numpy as np
n = np.random.binomial(4, 0.4)
k = np.random.poisson(2.0)
return x * n + k, np.random.beta(2.0, 1.0), np.random.exponential(), np.random.gamma(2.0), np.random.lognormal(), np.random.geometric(0.3)

a = [1, 2, 3, 4, 5, 6]
random.shuffle(a)
return a, x[a[0] % 3]

s = random.sample(range(10), 4)
return s, x[s[0] % 3]

return random.choices([10, 20, 30], k=5), random.sample([1.5, 2.5, 3.5], 2)

import numpy as np
noise = np.random.normal(0, 0.1, size=x.shape)
return x + torch.from_numpy(noise).float(), np.random.uniform(-1, 1, (2, 3))

import numpy as np
a = x.numpy().copy()
np.random.shuffle(a)
return torch.from_numpy(a)

import numpy as np
k = np.random.randint(0, 3, size=4)
return x[k], np.random.randint(5, size=(2,)), np.random.choice([3, 5, 7]), np.random.choice([3, 5, 7], 2)

import numpy as np
c = np.random.choice([k for k in range(4) if k % 2 == 0 or x[0] > 0])
return c, x * int(c)

import numpy as np
mask = np.random.random((2, 3)) < 0.5
return torch.from_numpy(mask), np.random.standard_normal()

t = (x * 3).int().tolist() + (x[x > 0] * 2).int().tolist()
k = t[-1]
return t.index(k, 1), t.index(k, -1), t.index(k, 0, 9)

t = []
i = 0
while i < int(x[0].abs().item() * 3) % 4 + 2:
    t.append(i % 3)
    i += 1
try:
    return t.index(1, 2)
except ValueError as e:
    return str(e)

import numpy as np
d = {0: [1], 1: []}
d[0].append(int(x.sum().abs()))
return {k: float(np.mean(v)) for k, v in d.items() if v}

import numpy as np
d = {0: [1], 1: []}
for i in range(int(x[0].abs().item()) + 1):
    d[0].append(int(x.sum().abs()))
return {k: float(np.mean(v)) for k, v in d.items() if v}, np.mean(d[0])

for p in self.lin.parameters():
    p.data = p.data * 0.9 + (0.1 if x.sum() > 0 else 0.2)
return self.lin(x)

for p in self.lin.parameters():
    p.data.mul_(0.9)
    p.data = p.data + p.data.abs().mean() * x[0].sign()
    p.data = p.data.clamp(-1, 1)
return self.lin(x)

n = int(x.abs().sum().item()) + 1
return torch.hann_window(n), torch.hamming_window(n, periodic=False), torch.tril_indices(n, n), torch.triu_indices(n, n + 1, offset=1)

k = int(x[0].abs().item()) % 3
return x.roll(k), torch.vander(x, k + 1), torch.bartlett_window(k + 2), x.repeat(2).unflatten(0, (2, 3))

return len(str(i))

self.lin.bias.data = self.lin.bias.data + 1
return self.lin(x)

y = x + 1
y.unsqueeze_(0)
if y.sum() > 0:
    y.squeeze_(0)
    y = y * 2
return y

y = x + 1
z = [y]
if y.sum() > 0:
    y.unsqueeze_(0)
return z[0].sum(0), y * 2

k = int(x[0].abs().item()) % 3 + 1
return F.avg_pool1d(x[None, None], k), F.max_pool1d(x[None, None], k, stride=1)

k = int(x[0].abs().item()) % 3 + 1
im = x.repeat(1, 2, 6, 3)
return F.avg_pool2d(im, k), F.max_pool2d(im, (k, 1), ceil_mode=True), F.avg_pool2d(im, kernel_size=k, stride=1, padding=k // 2)

y = x[x > -1]
n = int(x.abs().sum()) % 4 + 1
z = y.unsqueeze(1).repeat(1, 2)
return torch.tensor([z.shape] * n), torch.tensor([z.shape[-2:]] * 2), [z.shape] * n

y = x[x > -1]
z = y.unsqueeze(1).repeat(1, 2)
return torch.tensor([z.shape[:1]] * y.shape[0]), torch.tensor([tuple(z.shape)] * y.shape[0]), torch.tensor([[1, 2]] * len(y))

shapes = []
for i in range(int(x[0].abs() * 3) % 4 + 1):
    shapes.append(x[x > i - 2].shape)
return shapes, shapes[-1][0]

self.shapes = []
for i in range(int(x[0].abs() * 3) % 4 + 1):
    self.shapes.append(x[x > i - 2].shape)
return len(self.shapes)

t = "".join(chr(97 + k % 26) for k in (x * 9).int().tolist())
return t, chr(int(x.abs().sum()) + 65)

t = ""
for k in (x[x > -1] * 9).int().tolist():
    t += chr(ord("a") + k % 26)
return t.upper()

try:
    return chr(int(x[0] * 3))
except ValueError as e:
    return str(e)

t = "-".join("ab"[k % 2] for k in (x[x > -1] * 9).int().tolist() if k != 0)
return t, ",".join(f"{v.item():.1f}" for v in x[x > 0])

t = " ".join(str(k) for k in range(int(x.abs().sum()) % 4))
g = (chr(65 + k) for k in (x * 3).int().abs().tolist())
return t, "".join(g), "".join(g)

seen = []
h = self.lin.register_forward_hook(lambda m, a, o: seen.append(o))
y = self.lin(x)
h.remove()
return y, seen[0] * 2

cache = {}
def save(m, a, o):
    if m not in cache or o.shape[0] > 3:
        cache[m] = o
    else:
        cache[m] = torch.cat([cache[m], o])
    return cache[m]
hooks = [self.lin.register_forward_hook(save)]
for i in range(3):
    y = self.lin(x)
    if y.sum() > i:
        break
for h in hooks:
    h.remove()
return y

hooks = []
def install():
    hooks.append(self.lin.register_forward_hook(lambda m, a, o: o * 2))
if x.sum() > 0:
    install()
y = self.lin(x)
for h in hooks:
    h.remove()
return y

h = torch.zeros(3)
out = []
cum = x.new(3).zero_()
for i in range(int(x[0].abs().item() * 3) % 5 + 2):
    h = torch.tanh(h + x)
    cum += h
    out += [h]
return torch.stack(out), cum

out = []
y = torch.zeros(3).zero_()
i = 0
while i < int(x[0].abs().item() * 3) % 5 + 2:
    out.append(y)
    y = y + x
    i += 1
return torch.stack(out)

import numpy as np
grid = np.zeros((4, 4)).astype(int)
for v in x.numpy()[x.numpy() > -1]:
    k = int(abs(v) * 3) % 4
    grid[k, (k + 1) % 4] = 1
    if grid[k, k] == 0:
        grid[k - 1 if k else 0, :] = 2
return grid, grid.sum()

import numpy as np
pts = np.zeros((3, 3))
pts[0, :] = x.numpy()
pts[1, 1:] = (x.numpy() * 3)[:2]
order = np.argsort(-pts[0, :])
return pts[:, order], np.pad(pts, ((1, 1), (0, 0)), mode="constant")

import numpy as np
table = np.array([[1, 2], [3, 4]])
k = int(abs(x[0]) * 3) % 2
table[k] = table[k] * 10
return table, np.ones(2) * table[k]

import numpy as np
acc = np.empty(3, dtype=np.float32)
acc.fill(0.5)
acc[:] = acc + x.numpy()
return acc

import numpy as np
xs = np.where(x.numpy() > 0)[0]
if len(xs) == 0:
    return np.zeros((3, 0)), None
pts = np.zeros((3, len(xs)))
pts[0, :] = xs
pts[1, :] = x.numpy()[xs] * 2
return pts, xs

import numpy as np
n = int(x.abs().sum().item()) + 1
return np.ones(n, dtype=np.float32), np.full((n, 2), 0.5), np.arange(n), np.arange(1, n, 2), np.eye(n)

import numpy as np
if x.sum() > 0:
    return np.array([1, 2, 3]), np.ones((2, 2), dtype=np.float32), np.array([True])
return np.zeros(3, dtype=np.int32), x.numpy() * 2, np.float32(0.5)

import numpy as np
grid = np.zeros((4, 4)).astype(int)
k = int(x.abs().sum().item()) % 4
return grid[k % 2].sum() + k, grid

import numpy as np
a = x.numpy()[x.numpy() > -1]
total, out = 0.0, []
for v in a:
    total = total + v * 2
    out.append(float(v))
return total, out

import numpy as np
a = np.stack([x.numpy(), x.numpy() + 1], 1)[x.numpy() > -1]
s = x.numpy() * 0
for i, row in enumerate(a):
    s[i % 3] = row[0] * row[1]
return s, [r.sum() for r in a]

import numpy as np
a = x.numpy()[x.numpy() > -1]
b = np.argsort(-a)
best = 0
for k, v in zip(b, a):
    if v > 0.5:
        best = best + int(k)
return best, list(a)[:1] if len(a) else None

y = x[x > -1]
n = int(y.shape[0] / 2)
m = math.ceil(len(y) * 0.7)
return y[:n], y.repeat(4)[:m * 2].reshape(m, 2), torch.zeros(n, m), y[n - m:], round(len(y) / 3)

y = x.repeat(4)[x.repeat(4) > -1]
k = int(max(len(y) / 3 - 1, 0))
return y[:k].view(k, 1), torch.ones(int(abs(x[0].item())))

s = {"x1", "x2"}
s.discard(f"x{i}")
return sorted(s), len(s), "x1" in s

d = {"k1": x, "k2": x + 1}
try: del d[f"k{i}"]
except KeyError: return "none"
return d

t = "x"
for k in range(abs(i)): t += "y"
d = OrderedDict(x=1, xy=2, xyy=3)
if t in d: d.move_to_end(t)
s = {"x", "xy"}
if t in s: s.remove(t)
return list(d), sorted(s), d.get(t, 0)

t = "x" if b else "y"
s = set()
s.add(t)
d = {}
d[t] = x
d.setdefault("y", x + 1)
return sorted(s), d

t = f"n{i}"
return isinstance(t, str), isinstance(t, (int, str)), type(t) is str, type(t) == str, t.__class__ is str, type(t).__name__

t = "a"
for k in range(abs(i)): t += "b"
match t:
    case str(): return "text"
    case _: return "no"

t = f"n{i}"
def f(v):
    if isinstance(v, str): return v + "!"
    return v
return f(t), [f(v) for v in (t, i, "z")], {"k": t}, (t, [t]), f"{t:>6}"

return random.choice(x), random.choice(x[x > -9])

import numpy as np
a = np.random.choice(5, replace=False)
return int(a), np.random.choice([1, 2, 3], replace=False), random.random(), np.random.rand(), np.random.choice(3, 0)

out = []
for k in range(max(i, 0) + 1): out.append(x)
try: return torch.stack(out, 5)
except IndexError as e: return "no"

out = []
for k in range(max(i, 0)): out.append(x[: abs(j) % 3 + 1 + (k > 2)])
try: return torch.stack(out)
except RuntimeError: return "no"

t = f"n{i}"
return "abc".startswith(t), "an1b".find("b"), t * 2, 2 * t, t * abs(i), t < "n1", t >= "n0", max(t, "n1"), sorted([t, "n1"])

try: return 1 in f"{i}"
except TypeError: return "no"

try: return ",".join(str(v) if v > 0 else None for v in n.tolist())
except TypeError as e: return "no"

k = abs(i) % 3
return F.avg_pool1d(x[None, None], 2 * k + 1, 1, abs(j) % 3) if abs(j) % 3 <= k else x

y = x * 2
if b:
    z = y
else:
    z = x + 1
z = z * 1
z.data = x * 7
return y, z

import numpy as np
a = np.zeros((2, 2))
row = a[abs(i) % 2]
a[0, 0] = 1
return row, a

import numpy as np
a = np.zeros((3, 2))
a[abs(i) % 3][1] = 4
k = abs(j) % 3
a[k] += 1
return a, a[k, 1], a[[k, 0]]

import numpy as np
t = np.linspace(0, 1, 5)
return t[abs(i) % 5], t[np.array([abs(i) % 5, 1])]

return x * sum(type(v) is int for v in [i, 1, 2.0])

return x * sum(type(v) is int for v in [i])

return x * len([v for v in [i] if type(v) is int])

return x * sum(1 for v in (f, 1.0, i) if type(v) is float)

return x * sum(type(v) is bool for v in (b, True, i))

return x * sum(type(v) == int for v in [i, f, 1, 2.0, b])

return x * sum(isinstance(v, int) for v in [i, f, 1, 2.0, b])

return x * sum(type(v) in (int, bool) for v in [i, f, 1, 2.0, b])

return x * sum(v.__class__ is int for v in [i, f, 1, 2.0, b])

names = {int: 1, float: 2, bool: 5}
return x * sum(names[type(v)] for v in [i, f, 1, 2.0, b])

return x * sum(len(type(v).__name__) for v in [i, f, 1, 2.0, b])

def kind(v):
    return "int" if type(v) is int else "other"
return x, [kind(v) for v in [i, f, 1, 2.0, b]]

return x * sum(v is True for v in [b, True, False, 1 > 0])

return x, {type(v).__name__: v for v in [i, f, b]}

return x, list(filter(lambda v: type(v) is int, [i, f, 1, b]))

return x, sorted([3, i, 1], key=lambda v: (type(v).__name__, v))

return x, [t.__class__ is torch.Tensor for t in [x, x + 1]], [type(t) is nn.Parameter for t in (x,)]

return x * 2, type(x) is torch.Tensor, x.__class__ is torch.Tensor, type(x + 1) is torch.Tensor

return x * 2, type(x + 1).__name__, (x + 1).__class__.__name__

return x * 2, type(x + 1) == torch.Tensor

def kind(v):
    return "t" if type(v) is torch.Tensor else "other"
return x * 2, kind(x + 1), [kind(v) for v in (x, i)]

kind = lambda v: "t" if type(v) is int else "other"
return x * 2, kind(i), [kind(v) for v in (x, i)]

def kind(v):
    return "t" if type(v) is int else "other"
return x * 2, kind(i)

def outer(v):
    def kind(v):
        return "t" if type(v) is int else "other"
    return kind(v)
return x * 2, outer(i)

def gen(vs):
    for v in vs:
        if type(v) is int:
            yield v
return x * 2, list(gen([i, f, 1]))

a = ["", "q"]
for k in range(i):
    a[0] += "b"
return x + 1, a

ids = {id(self.lin): 1, id(self): 2}
return x * ids[id(self)] * i

y = torch.stack([x, x + 1, x * 2])
return y[y[:, 0] > 0].tolist()

y = torch.stack([x, x + 1, x * 2])
out = []
out.extend(y[y[:, 0] > 0].tolist())
out.extend(y[y[:, 1] < 0].tolist())
return out, len(out)

y = torch.stack([x, x + 1, x * 2])
m = x > 0
return y[:, m].tolist()

y = torch.stack([x, x + 1, x * 2])
m = x > 0
z = y[m][:, m]
return z.tolist(), len(z.tolist())

y = torch.stack([x, x + 1, x * 2])
rows = y[y[:, 0] > 0].tolist()
s = 0.0
for r in rows:
    s += r[0] + r[-1]
return x * s

y = torch.stack([x, x + 1, x * 2])
rows = y[y[:, 0] > 0].tolist()
if len(rows) > 0:
    return torch.tensor(rows), torch.FloatTensor(rows)
return x

y = torch.stack([x, x + 1, x * 2])
m = x > 0
rows = y[m][:, m].tolist()
if len(rows) > 0:
    return torch.tensor(rows)
return x

best = []
seqs = torch.zeros(3, 1).long()
k = 3
while k > 0 and len(best) < 6:
    nxt = (x * 3).long() % 5 + seqs.sum(1)[:3].sum()
    seqs = torch.cat([seqs, nxt[:len(seqs), None]], 1)
    done = [j for j in range(len(seqs)) if seqs[j, -1] % 3 == 0]
    live = list(set(range(len(seqs))) - set(done))
    if len(done) > 0:
        best.extend(seqs[done].tolist())
    k -= len(done)
    if k == 0 or seqs.shape[1] > 5:
        break
    seqs = seqs[live]
return best

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1])
return z[z[:, 0, 0] > 1].tolist()

return torch.stack([x, x + 1, x * 2])[:i % 3].tolist()

c = torch.stack([x, x + 1, x * 2, x]).chunk(i % 3 + 1, dim=0)
return len(c), c[0] * 2, list(c)

s = slice(i % 2, i % 2 + 2)
return x[s], torch.stack([x, x])[:, s], s.start

s = slice(max(0, i), None)
if b:
    s = slice(0, 1 + i % 2)
return x[s]

s = slice(0, 2)
k = 0
while k < i:
    s = slice(k % 2, k % 3 + 1)
    k += 1
return x[s]

import numpy as np
h = np.random.randint(-1, 2)
s = slice(max(0, h), h + 3)
t = slice(max(0, -h), -h + 3)
z = torch.zeros(3)
z[s] = x[t]
return z

y = torch.Tensor().resize_((2, 3)).zero_()
y[0] = x
return y

y = torch.zeros(0)
y.resize_(i % 3 + 1).fill_(2.0)
return y

y = x * 2
z = y
y.resize_(3, 1)
z += 1
return y, z, y is z

y = x.clone()
v = y[:2]
y.resize_(1, 3)
v += 1
return y, v

y = torch.empty(0)
y.resize_as_(x).copy_(x)
return y

y = torch.zeros(0)
if b:
    y.resize_(3).fill_(1.0)
return y, y.numel()

import numpy as np
n = i % 3 + 1
r = np.repeat(np.arange(n), 2)
m = torch.zeros(n, 3)
m[r, torch.arange(2 * n) % 3] = 1
return m

import numpy as np
m = torch.zeros(3, 3)
m[np.arange(3), x.argsort().numpy()] = 5
return m, m[np.arange(3), x.argsort()]

import numpy as np
k = x.argmax().item()
m = torch.zeros(3, 3)
m[np.array([0, k]), torch.tensor([1, 2])] = x[:2]
return m

y = x[x > 0]
z = torch.cat([c.sum(dim=0, keepdim=True) for c in y.chunk(i + 1)])
return z, len(y.chunk(i + 1))

n = i % 3 + 1
m = torch.zeros(n, 3)
m[torch.arange(n).repeat_interleave(2), torch.arange(2 * n) % 3] = 1
return m

n = i % 3 + 1
m = torch.zeros(n, 3)
m[torch.arange(n), torch.arange(n) % 3] = 1
return m

import numpy as np
n = i % 3 + 1
m = torch.zeros(n, 3)
m[np.arange(n), torch.arange(n) % 3] = 1
return m

import numpy as np
n = i % 3 + 1
m = torch.zeros(n, 3)
return m[np.arange(n), torch.arange(n) % 3], np.repeat(np.arange(n), 2)

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = z[z[:, 0, 0] > 1].tolist()
if len(out) == 0:
    return x
return torch.tensor(out[0])

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = z[z[:, 0, 0] > 1].tolist()
if len(out) == 0:
    return x
return out[0]

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = z[z[:, 0, 0] > 1].tolist()
return torch.tensor(out)

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = [[[v.item() for v in r] for r in m] for m in z[z[:, 0, 0] > 1]]
return out

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = [m.tolist() for m in z[z[:, 0, 0] > 1]]
return out

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = []
for m in z[z[:, 0, 0] > 1]:
    o2 = []
    for r in m:
        o3 = []
        for v in r:
            o3.append(v.item())
        o2.append(o3)
    out.append(o2)
return out

y = torch.stack([x, x + 1, x * 2])
return [m.tolist() for m in y[y[:, 0] > 1]]

a = []
q = []
k = 0
while k < i:
    a.append([f * k])
    q.append([[f + k]])
    k += 1
return a, q, x

a = []
q = []
for v in x[x > 0]:
    a.append([v.item()])
    q.append([v.item() * 2, 1.0])
r = x
if len(q) > 0:
    r = x * q[-1][0] + a[0][0]
return a, q, r

y = torch.stack([x, x + 1, x * 2])
z = torch.stack([y, y + 1, y - 1])
out = []
out.extend(z[z[:, 0, 0] > 1].tolist())
if len(out) == 0:
    return x
return torch.FloatTensor(out[0]), out[0]

import numpy as np
coor = np.zeros(shape=(3,), dtype=np.int32)
for j in range(3):
    c = np.floor((x.numpy()[j] - 0.5) / 2.0)
    coor[2 - j] = c
return torch.from_numpy(coor)

import numpy as np
grid = -np.ones(shape=(4, 4), dtype=np.int32)
coor = np.zeros(shape=(2,), dtype=np.int32)
p = x.abs().numpy()
n = 0
for j in range(3):
    coor[0] = p[j] % 4
    coor[1] = j % 2
    v = grid[coor[0], coor[1]]
    if v == -1:
        v = n
        n += 1
        grid[coor[0], coor[1]] = v
return torch.from_numpy(grid), n

a = x.numpy()
return torch.Tensor(a), torch.FloatTensor(a), torch.DoubleTensor(a.astype("float64")), torch.LongTensor(x.long().numpy())

idx = [[], []]
n = 0
for w in range(2):
    for j in range(3):
        if x[j] - w < 0:
            continue
        idx[0].append(j)
        idx[1].append(w)
        n = n + 1
t = torch.LongTensor(idx)
v = torch.FloatTensor([1.] * n)
return t, v

import numpy as np
m = np.zeros(5, dtype=np.float32)
np.add.at(m, (x.abs() * 7).long().numpy() % 5, x.numpy())
return torch.from_numpy(m)

s = abs(f) + 0.1
return torch.empty(3).uniform_(-s, s), torch.empty(3).normal_(f, s), torch.empty(2).exponential_(s)

y = x.clone()
v = y[:2]
v.uniform_(0.0, abs(f) + 1)
return y, v

s = abs(f) + 0.1
y = x.view(3, 1)
return F.huber_loss(x, x + 1, delta=s), F.margin_ranking_loss(x, x + 1, torch.ones(3), margin=s), torch.cdist(y, y, p=s)

s = min(abs(f), 0.9)
return F.cross_entropy(x.view(1, 3), torch.tensor([1]), label_smoothing=s), F.softshrink(x, s)

alphabet = "abcdefg"
chars = []
for k in range(3):
    if x[k] > 0:
        chars.append(alphabet[int(abs(x[k].item())) % 7])
return "".join(chars), x

a = []
for k in range(i):
    a.append([])
    a[k].extend([k] * k)
return a, x

import copy
import numpy as np
a = np.zeros(3)
a[0] = f
c = copy.deepcopy(a)
c[1] = 2
return a, c, x

import numpy as np
a = np.zeros(3)
a[0] = f
e = a.flatten()
e[1] = 8
g = a.astype(np.float64)
g[2] = 3
return a, e, g, a * np.float64(2), x.numpy() * np.float64(2)

import numpy as np
a = np.zeros(3, dtype=np.int32)
a[0] = i
return a / 2, a / np.int64(2), a // 2

a = x.numpy()
e = a.flatten()
e[0] = 4
return x * 1

return x, id(self.lin.weight) in {id(p) for p in self.parameters()}

rm, rv = torch.zeros(3), torch.ones(3)
F.batch_norm(torch.stack([x, x + 1]), rm, rv, training=True)
return rm, rv, rm[:2]

e = x[:1].expand(3)
try:
    e.add_(1)
except RuntimeError:
    return x + 1
return x

y = torch.stack([x] * (i % 3 + 2))[None, None]
a = F.interpolate(y, scale_factor=1.7, mode="bilinear")
return a, F.interpolate(y, size=(4, y.shape[2] * 2), mode="bicubic"), F.interpolate(y, size=(5, 5), mode="bilinear", align_corners=True)

y = x.repeat(i % 3 + 2)[None, None]
a = F.interpolate(y, scale_factor=0.5, mode="linear", recompute_scale_factor=True)
return a, F.interpolate(y, size=7, mode="linear"), F.interpolate(torch.outer(x, x)[None, None], size=(i % 4 + 1, 3), mode="bilinear")

v = [x.tolist()[k % 3] * k for k in range(8)]
w = sorted(v)
return w[0], len([a for a in v if -1 < a < 1]), w

v = torch.cat([x, x * 2, -x]).tolist()
w = sorted(v, key=abs, reverse=True)
return w[:3], [a for a in v if -1 < a < 1], [a for a in w if a > 0 or a < -1]

y = torch.stack([x * k for k in range(i % 3 + 2)]) + torch.arange(3) ** 2
return y.cov(), torch.cov(y, correction=0), y.corrcoef(), x.cov(), torch.corrcoef(x)

y = torch.outer(x, x)[:, x > 0] + torch.rand(1)
if y.shape[1] > 1: return y.cov()
return y.sum()

beams = [[[0], 0.0]]
for k in range(j):
    cand = []
    for seq, score in beams:
        for n in range(2): cand.append([seq + [n], score + x[n].item()])
    beams = sorted(cand, key=lambda c: c[1])[:2]
return beams, [len(b[0]) for b in beams], beams[0][1]

rows = []
for k in range(j): rows.append([k, x * k, "even" if k % 2 == 0 else "odd"])
if rows: rows[-1][0] = -1
return rows, [r[2] for r in rows], [len(r) for r in rows], [r[-3] for r in rows]

rows = []
k = 0
while k < j:
    rows.append([k, x * k])
    if f > 0 and len(rows) > 1:
        rows[-1][0] = k + 5
        rows[-2][0] += 1
    k += 1
return rows, sum(r[0] for r in rows)

rows = []
for k in range(j): rows.append([k, x * k])
for r in rows:
    a, h = r
    if a % 2: r[1] = h + 1
first = rows[0] if rows else [7, x]
first[0] = 9
return rows, first is (rows[0] if rows else None), first[1]

rows, kept = [], []
for k in range(j):
    r = [k, x + k]
    rows.append(r)
    kept.append(r)
    r[0] += 10
return rows, [a[0] for a in kept], [a is c for a, c in zip(rows, kept)]

rows = []
for k in range(j): rows.append([None if k % 2 else x * k, k])
return rows, [r[0] is None for r in rows], [type(r) is list for r in rows], [isinstance(r, (list, tuple)) for r in rows]

rows = []
for k in range(j): rows.append([k, x * k])
out = [r[:1] + [5] for r in rows]
copies = [r.copy() for r in rows] + [list(r) for r in rows] + [r[:] for r in rows]
for r in copies: r[0] = -2
return rows, out, copies

rows = []
for k in range(j): rows.append([k, "a" if b else "b"])
return [r == [0, "a"] for r in rows], [r != [0, "b", 1] for r in rows], [0 in r for r in rows]

rows = []
for k in range(j): rows.append([f * k, [k, k + 1]])
rows.sort(key=lambda r: -r[0])
for r in rows: r[1].append(7)
return rows, max(rows, key=lambda r: r[0])[1] if rows else None

self.log.append([len(self.log), x.mean().item(), x])
if b and len(self.log) > 1: self.log[-2][0] = -1
return sum(e[1] for e in self.log), [e[0] for e in self.log], self.log[0][2] + 1

rows = []
for k in range(j): rows.append([k, x * k])
try: return rows[0][i], len(rows)
except IndexError as error: return str(error), len(rows)

rows = []
for k in range(j): rows.append([k, x * k])
(n, t), *rest = rows if len(rows) > 1 else [[1, x], [2, x]]
return n, t, rest, [v for r in rows for v in r[:1]], [r + [2] for r in rows], [len(r * 2) for r in rows]

rows = []
for k in range(j): rows.append([k, x * k])
copies = [copy.deepcopy(r) for r in rows], copy.copy(rows)
return {r[0]: r for r in rows}, [(r, r[0]) for r in rows], torch.tensor([[r[0], 1] for r in rows]), copies

rows = []
for k in range(j): rows.append([k, x * k])
total = 0
for n, (a, c) in enumerate(rows): total = total + a * n
while rows:
    a, c = rows.pop()
    x = x + c
    if a == i: break
return x, total, rows

rows = []
for k in range(j):
    node = [k, x[0].item() * k, []]
    if rows: rows[-1][2].append(k)
    rows.append(node)
return rows, sum(len(r[2]) for r in rows)

rows = []
for k in range(j): rows.append([[k, k + 1], "s"])
rows = [r for r in rows if r[0][0] != i] + [[[9], "t"]]
rows[0], rows[-1] = rows[-1], rows[0]
rows.insert(1, [[], "u"])
rows.reverse()
return rows, [len(r[0]) for r in rows]

rows = []
for k in range(j): rows.append([x * 1, k, None])
for r in rows:
    if r[1] > 1: r[2] = r[1] * 2
return rows, [r[2] or 0 for r in rows]

heap = []
for k in range(j): heapq.heappush(heap, [x[k % 3].item(), k, x * 1])
return heap[0][1] if heap else None, len(heap)

rows = []
for k in range(j): rows.append([k, f * k])
rows.sort()
return rows, min(rows) if rows else None

rows = []
for k in range(j): rows.append([x[k % 3].item(), "a" if b else "b", k])
return sorted(rows, reverse=True)[:2], max(rows) if rows else None, [r < [0, "c", 1] for r in rows]

heap = [[f, 0]]
for k in range(j): heapq.heappush(heap, [x[k % 3].item(), k])
out = []
while heap:
    score, n = heapq.heappop(heap)
    out.append(n)
return out

self.rows = []
for k in range(j): self.rows.append([k, x * k, "t"])
return len(self.rows)

if self.n > 2: self.log = []
self.log.append([self.n, x[0].item() * 1.5, "high" if b else "low"])
self.n += 1
if len(self.log) > 2: self.log.pop(0)
return [r[2] for r in self.log], sum(r[1] for r in self.log)

stack = [[x, 0, "root"]]
out = []
while stack:
    h, depth, name = stack.pop()
    out.append(h.sum().item())
    if depth < 3 and h.sum() > depth:
        stack.append([h * 0.5, depth + 1, "left"])
        stack.append([h - 1, depth + 1, "right"])
return out

pairs = [[v, n] for n, v in enumerate(x.tolist()[:j])]
for p in pairs:
    if p[0] > f: p[1] = -p[1]; p[0] *= 2
best = max(pairs, key=lambda p: p[0], default=None)
return pairs, best

groups = {}
for k in range(j):
    key = k % 3
    if key not in groups: groups[key] = [0, x * 0]
    groups[key][0] += 1
    groups[key][1] = groups[key][1] + x * k
return groups, [g[0] for g in groups.values()]

queue = deque([[0, x]])
seen = 0
while queue and seen < j:
    d, h = queue.popleft()
    seen += 1
    if h.sum() > 0: queue.append([d + 1, h - 1])
    else: queue.appendleft([d + 1, h + 2])
return seen, [q[0] for q in queue]

v = x.tolist() + [f, f * 2]
L = [([i, i + 1], v[i], x * v[i]) for i in range(len(v))]
order = torch.tensor([t[1] for t in L], dtype=torch.float64).argsort(stable=True).tolist()
P = [L[i] for i in order]
return P[:3]

e = []
for k in range(j): e.append(k)
self.log.extend(e)
if len(self.log) > 4:
    r = list(self.log)
    self.log = []
    return r
return len(self.log)

e = []
for k in range(j): e.append(x * k)
self.log.extend(e)
return sum(t.sum() for t in self.log), len(e)

e = []
for k in range(j): e.append(k)
if b: self.log.extend(e)
else: self.log.clear()
return self.log[-1] if self.log else None

e = []
for k in range(j): e.append(k)
self.log.extend(e)
self.log.extend(t for t in e if t > 0)
del self.log[:-3]
return e

t = x[x > f]
return F.instance_norm(torch.stack([t, t])[None])

t = x[x > 0]
if t.numel() == 0: return None
return F.batch_norm(t[:, None], None, None, training=True)

if self.cache is None: self.cache = {}
self.cache[i] = [x * 1, [x + 1, i]]
return len(self.cache), [v[1][1] for v in self.cache.values()]

out, prev = [], [0.0, 0.0]
for cur in torch.stack([x, x + 1, x * f]).tolist():
    if cur[0] > f: out.append([prev[0], cur[1]])
    if prev[0] > 0: out.append(cur[:2])
    prev = cur
return out, prev

rows = torch.stack([x, x + 1, x * f]).tolist()
for c in (f, 0.5):
    kept, rows = rows, []
    for cur in kept:
        if cur[0] > c: rows.append([cur[0] / 2, cur[1]])
return rows

y, out = torch.zeros(3), []
for k in range(j):
    z = y * 2
    z += x
    out.append(z)
    y = z
return out, y

cell = nn.GRUCell(3, 3)
for w in cell.parameters(): torch.nn.init.constant_(w, 0.1)
h, out = torch.zeros(1, 3), []
for k in range(j):
    h = cell(x[None], h)
    out.append((k, h))
return out, h

y, out = torch.zeros(3), []
k = 0
while k < j:
    z = y.clone()
    z[k % 3] = k
    if x[k % 3] > 0: out.append(z)
    y = z
    k += 1
return out, y

lstm = nn.LSTMCell(3, 3)
for w in lstm.parameters(): torch.nn.init.constant_(w, 0.1)
h, c, out = torch.zeros(1, 3), torch.zeros(1, 3), []
while len(out) < abs(i) + 1 and h.sum() < 2:
    h, c = lstm(x[None] if b else h, (h, c))
    out.append(h[0])
return torch.stack(out), c

b_ = defaultdict(list)
for n, v in enumerate(x.tolist()): b_[int(v)].append(n)
return [(k, len(r)) for k, r in sorted(b_.items())]

rows = []
for k in range(j): rows.append((f * (k % 3) + k, x[:k % 3 + 1]))
rows = [r for r in rows if r[0] != 1]
rows.sort(key=lambda r: -r[0])
return rows, sorted(rows, key=lambda r: r[1].shape[0])

rows = []
for k in range(j): rows.append((k * f + k, x * k))
return sorted(rows)[:2]

rows = []
for k in range(j): rows.append(((k * 7) % 5, [k, k + 1]))
return sorted(rows, reverse=True), rows[::2], rows[::-1]

seqs = [(torch.zeros(1), 0.0)]
for row in torch.stack([x, x * f]):
    nxt = [(torch.cat([s, row[n:n + 1]]), c + row[n].item()) for s, c in seqs for n in range(3)]
    nxt.sort(key=lambda t: t[1], reverse=True)
    seqs = []
    for t in nxt[:2]:
        if t[1] > -2: seqs.append(t)
return seqs, len(seqs)

rows = []
for k in range(j): rows.append(x[:k % 3 + 1] + k)
rows.reverse()
return rows[::2], rows[1::2], rows[::-1]

rows = []
for k in range(j): rows.append((k, x[:k % 3 + 1] + k))
rows.reverse()
if b: rows = rows[3:0:-2]
return rows[::2], [t.shape[0] for _, t in reversed(rows)], list(reversed(rows))

o = []
for r in torch.stack([x, x * f, x - 1, x + f]):
    if r.sum() > 0: o.append((int(r.argmax()), r.mean().item()))
o.sort(key=lambda t: (t[0], -t[1]))
return dict(o)

o = []
for r in torch.stack([x, x * f, x - 1]):
    if r.sum() > 0: o.append(int(r.argmax()))
return set(o), len(set(o)), sorted(set(o)), Counter(o).most_common(1), {k: 1 for k in o}

o = []
for r in torch.stack([x, x * f, x - 1]):
    if r.sum() > 0: o.append(("a" if r[0] > 0 else "b", r))
return dict(o), {k for k, _ in o}

a, b = x[x > 0].tolist(), x[x < 1].tolist()
return [u - v for u in a for v in b], sum(u * v for u in a for v in b if u > v), any(u == v for u in a for v in b)

rows = x[x > 0]
return [(i, j) for i in range(2) for j, v in enumerate(rows) if v > 0.5], [float(u + v) for u in rows for v in rows]

a = x[x > 0].tolist()
return {(i, j): u for i, u in enumerate(a) for j in range(i)}, {int(u) for u in a for k in range(2)}

m = x[x > 0]
cost = (m[:, None] - m[None]).abs()
flat = [(c, i, j) for i, row in enumerate(cost.tolist()) for j, c in enumerate(row) if c < 1.5]
return len(flat), sorted(flat)

a = [[i] * 2 for i in range(3)]
return [v for row in a for v in row], [(p, q) for p in a for q in p if q > 0], next((p for p in a for q in p if q > x[0]), None)

a, b = x[x > 0].tolist(), x[x < 1].tolist()
return " ".join(f"{u:.1f}{v:.1f}" for u in a for v in b), max((u * v for u in a for v in b), default=-1)

a = x[x > 0].tolist()
out = []
for w in a:
    out.extend(u + v for u in a if u > w for v in a if v > w)
return out, [k for u in a if u > 0.5 for v in a if v > u for k in (u, v)]

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
if x.sum() > 0: s = x * 2
else: s = x * 3
k = max([0, 1], key=lambda a: s[a].item())
if x.sum() > 1: k = 1 - k
else: s = x * 4
return bent(x * k)

if x.sum() > 0:
    s = x * 2
    k = max([0, 1], key=lambda a: s[a].item())
else:
    s = x * 3
    k = max([0, 1], key=lambda a: s[a].item())
return " ".join("AB"[k] if v > 0 else "C" for v in x[x > -1]), k

class Ring:
    def __init__(self): self.data, self.n = torch.zeros(3), 0
    def push(self, v): self.data[self.n % 3], self.n = v, min(self.n + 1, 3)
    def __len__(self): return self.n
    def __iter__(self): return (self.data[i] for i in range(len(self)))
ring = Ring()
for v in x:
    if v > 0: ring.push(v)
out = [v * 2 for v in ring]
return len(out), sum(ring), list(ring), max(map(float, ring), default=0.0)

y = ATEN.relu.default(x)
return y * 2 if y.sum() > 1 else ATEN.neg(y)

rows = x[x > -1]
t = [(a, b) for a in rows for b in rows if a < b]
return torch.stack([a * b for a, b in t]).sum() if t else x, len(t)

pairs = {(a, b) for a in range(i) for b in range(j)}
return len(pairs), (1, 1) in pairs, sorted(pairs)

xs = [v for v in x.tolist() if v > 0]
most = max((a * b for a in xs for b in xs), default=0)
return next(((a, b) for a in xs for b in xs if a > b), None), all(a <= b for a in xs for b in xs), most

class Bag:
    def __init__(self, items): self.items = items
    def __iter__(self): return iter(self.items)
bag = Bag([v for v in x.tolist() if v > 0])
return sorted(bag), sum(bag), [v for v in bag], dict(enumerate(bag)), list(zip(bag, bag)), list(map(abs, bag)), tuple(bag), 0.5 in bag

class Chain:
    def __init__(self, head, rest=None): self.head, self.rest = head, rest
    def __iter__(self):
        yield self.head
        if self.rest is not None: yield from self.rest
c = Chain(x, Chain(x * 2, Chain(x.sum())))
return [v for v in c], [p for v in c for p in v.flatten()]

out = [k * v for k in range(3) if k != i for v in x.tolist() if v > 0 for _ in range(2)]
return out, len(out)

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
if x.sum() > 0: s = x * 2
else: s = x * 3
try:
    return bent(x)
finally:
    self.cache = s

def bent(v):
    if v.max() > 1: v = v + 1
    elif v.min() < -1: raise ValueError("low")
    return v * 2
if x.sum() > 0: s = x * 2
else: s = x * 3
for k in range(2):
    try:
        return bent(x * (k + 1))
    except ValueError:
        x = x + s

out = []
for k in range(3):
    s = x * k
    for v in x:
        if v > k:
            out.append((lambda: s * v)())
            break
    else:
        continue
    if len(out) > 1: break
return out

if x.sum() > 0: s = x * 2
else: s = x * 3
f2 = lambda v: v + s if v.sum() > 1 else v - s
with torch.no_grad():
    return f2(x)

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
if x.sum() > 0: s = x * 2
else: s = x * 3
f2 = lambda: s
try:
    raise ValueError("no")
except ValueError:
    if x.max() > 0.5: s = s + 1
    return bent(x)
finally:
    self.cache = s

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
s = x
try:
    y = x * 2
except ValueError:
    y = x
else:
    if x.max() > 0.5: s = s + 1
    else: s = s - 1
    return bent(y)
finally:
    self.cache = s

s = x
for k in range(2):
    try:
        raise ValueError("no")
    except ValueError:
        if x.max() > 0.5: s = s + 1
        else: s = s - 1
        continue
    finally:
        self.cache = s
return x

class Ctx:
    def __init__(self, m): self.m, self.v = m, None
    def __enter__(self): return self
    def __exit__(self, *a): self.m.cache = self.v
ctx = Ctx(self)
with ctx:
    if x.sum() > 0: ctx.v = x * 2
    else: ctx.v = x * 3
    return x + 1

class Ctx:
    def __init__(self, m): self.m, self.v = m, None
    def __enter__(self): return self
    def __exit__(self, *a): self.m.cache = self.v
with Ctx(self) as c:
    if x.sum() > 0: c.v = x * 2
    else: c.v = x * 3
    return x + 1

class Ctx:
    def __init__(self, m): self.m, self.v = m, None
    def __enter__(self): self.m.count = self; return 3
    def __exit__(self, *a): self.m.cache = self.v
with Ctx(self):
    if x.sum() > 0: self.count.v = x * 2
    else: self.count.v = x * 3
self.count = 0
return x

@contextlib.contextmanager
def kept(m, box):
    yield box
    m.cache = box[0]
box = [x]
with kept(self, box) as b2:
    if x.sum() > 0: box[0] = x * 2
    else: box[0] = x * 3
    return x + 1

s, out = x, []
for k in range(3):
    try:
        if x[k] > 0: s = s + 1
        else: s = s - 1
        if k == 1: break
    finally:
        out.append(s)
return out

class Ctx:
    def __init__(self, m): self.m, self.v = m, None
    def __enter__(self): return self
    def __exit__(self, *a): self.m.cache = self.v
with Ctx(self) as c:
    if x.sum() > 0: c.v = 1
    else: c.v = 2
    return x + 1

@contextlib.contextmanager
def timed(log):
    log.append("begin")
    try: yield log
    finally: log.append(len(log))
log = []
with timed(log), torch.no_grad():
    for v in x:
        if v > 1:
            log.append("big")
            break
        log.append("small")
    else:
        return x, log
return x * 2, log

try:
    if x.sum() > 0: raise ValueError("no")
    raise KeyError("k")
except (ValueError, KeyError) as e:
    if x.max() > 0.5: e.extra = 1
    else: e.extra = 2
    try: raise
    except Exception as f2: return f2.extra, str(f2)

class Down:
    def __init__(self, n): self.n, self.step = n, 1
    def __iter__(self): return self
    def __next__(self):
        if self.n <= 0: raise StopIteration
        self.n -= self.step
        return self.n
d, out = Down(6), []
for v in d:
    if x.sum() > v: d.step = 2
    else: d.step = 1
    out.append(v)
return out

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
def pick(v):
    if v.sum() > 0: return 1
    return 2
return pick(x), bent(x), (pick(-x), bent(-x))

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
def pick(v):
    if v.sum() > 0: return [1, v]
    return [2, v * 2]
def two(a, b): return a[0], a[1] + b
return two(pick(x), bent(x)), [pick(x)[0], bent(x)], {"a": pick(x), "b": bent(x)}, f"{pick(x)[0]}-{bent(x).shape}"

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
class Acc:
    def __init__(self): self.k = 0
    def add(self, v):
        if v.sum() > 0: self.k += 1
        else: self.k += 2
        return self
    def with_(self, v):
        y = bent(v)
        return self.k, y
return Acc().add(x).with_(x), Acc().add(-x).add(x).with_(x)

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
class Acc:
    def __init__(self): self.items = []
    def put(self, v):
        self.items.append("p" if v.sum() > 0 else "n")
        return self
    def __add__(self, other): return self.items, other
return Acc().put(x) + bent(x)

def gen(v):
    k = 1 if v.sum() > 0 else 2
    yield k
    if v.max() > 1: k += 10
    else: k += 20
    yield k
out = []
for a, b in zip(gen(x), gen(-x)):
    if a > 5: out.append(a)
    else: out.append(-b)
return out

g2 = (v * 2 for v in x)
first = next(g2)
if first > 0: second = next(g2)
else: second = first
return first, second, list(g2)

k = {"n": 1}
def bump():
    nonlocal k
    if x.sum() > 0: k = {"n": 2}
    else: k = {"n": 3}
    return k["n"]
return k["n"] + bump() * 10 + k["n"] * 100

class Stack:
    def __init__(self): self.v = []
    def push(self, t):
        if t.sum() > 0: self.v.append(1)
        else: self.v.append(2)
    def __enter__(self): return self
    def __exit__(self, *a): self.v.append(9)
with Stack() as s1, Stack() as s2:
    s1.push(x); s2.push(-x)
    if x.max() > 1: s1.v.append(5)
return s1.v, s2.v

def risky(v):
    if v.sum() > 0: raise ValueError("no")
    raise KeyError("k")
try:
    risky(x)
except Exception as e:
    if x.max() > 0.5: e.args = ("big",)
    else: e.args = ("small",)
    raise

def bent(v):
    if v.max() > 1: v = v + 1
    else: v = v - 1
    return v * 2
try:
    try:
        y = bent(x)
        if y.sum() > 0: raise ValueError("a", 1)
    except ValueError as e:
        e.add_note("n1" if x.max() > 0.5 else "n2")
        bent(x)
        raise
    finally:
        self.count += 1
except ValueError as e:
    return e.__notes__, e.args
return y

class Retry:
    def __init__(self): self.tries = 0
    def __call__(self, fn, v):
        while True:
            try:
                return fn(v * (self.tries + 1))
            except ValueError:
                self.tries += 1
                if self.tries > 2: raise
            finally:
                self.last = self.tries
def fn(v):
    if v.sum().abs() < 3: raise ValueError("small")
    return v
r = Retry()
try: return r(fn, x), r.tries, r.last
except ValueError: return r.tries, r.last

s, log = x, []
def inner():
    nonlocal s
    try:
        if s.sum() > 0: s = s + 1; return "up"
        s = s - 1
        return "down"
    finally:
        log.append(float(s.sum()))
        s = s * 2
return inner(), s, log

for k in range(3):
    try:
        if x[k] > 0.5:
            t = "big"
            continue
        t = "small"
        if k == 2: break
    except IndexError:
        t = "none"
    else:
        t = t + "!"
    finally:
        self.count += len(t)
return self.count, t

class Guard:
    def __init__(self, box): self.box = box
    def __enter__(self): return self
    def __exit__(self, kind, error, tb):
        self.box.append(None if kind is None else kind.__name__)
        return kind is ValueError
box = []
with Guard(box):
    if x.sum() > 0: box.append(1); raise ValueError("x")
    else: box.append(2)
    if x.max() > 0: return box
return box + ["end"]

try:
    try:
        raise KeyError("a" if x.sum() > 0 else "b")
    except KeyError as e:
        raise ValueError("v") from e
except ValueError as v:
    if x.max() > 0.5: y = x
    else: y = -x
    return y, str(v.__cause__), v.__cause__.args, str(v.__context__)

ba = bytearray(b"z")
if x.sum() > 0: ba.append(65)
else: ba.append(66)
y = x * 2
return y, bytes(ba), len(ba)

def fn(v): return v * fn.k
if x.sum() > 0: fn.k = 1
else: fn.k = 2
return fn(x), fn.k

class Ctx:
    def __enter__(self):
        if x.sum() > 0: self.k = 1
        else: self.k = 2
    def __exit__(self, *a): out.append(self.k)
out = []
with Ctx(): pass
return out

class Obj:
    def __init__(self, v):
        if v.sum() > 0: self.k = 1
        else: self.k = 2
    def __enter__(self): pass
    def __exit__(self, *a): out.append(self.k)
    def __call__(self): return self.k
out = []
with Obj(x): y = x * 2
return Obj(-x)(), out, [Obj(x), Obj(-x)][0].k

from functools import partial
def pick(v, k=0): return v * k
p = partial(pick, k=1)
if x.sum() > 0: p = partial(pick, k=3)
else: p.keywords["k"] = 5
return p(x)

it = iter([1, 2, 3, 4])
if x.sum() > 0: next(it)
else: next(it); next(it)
y = x + 1
return y, list(it)

import io
s = io.StringIO()
s.write("a")
return s.getvalue()

class Meta(type):
    count = 0
    def __call__(cls, *a):
        if x.sum() > 0: cls.count += 1
        else: cls.count += 2
        return super().__call__(*a)
class Thing(metaclass=Meta):
    def __init__(self, v): self.v = v
t = Thing(x)
y = bool(t.v.max() > 1)
return Thing.count, y, Thing(x).count

class D:
    def __set_name__(self, owner, name): self.name = "_" + name
    def __get__(self, o, c): return getattr(o, self.name, 0)
    def __set__(self, o, v): setattr(o, self.name, v)
class H:
    k = D()
h = H()
if x.sum() > 0: h.k = 1
else: h.k = 2
return h.k, h._k

a, b = [1], [1]
c = a
if x.sum() > 0: a = b
a.append(2)
return a, b, c, a is b, a is c

k = int(i) + 2
if x.sum() > 0: fn = lambda v: v * k
else: fn = lambda v: v + k
return fn(x)

from functools import partial
if x.sum() > 0: p = partial(torch.mul, other=2)
else: p = partial(torch.add, other=2)
return p(x)

from functools import partial
def pick(v, k=0): return v * k
p = partial(pick, k=1 if x.sum() > 0 else 4)
q = partial(pick, x.sum().item()) if b else partial(pick, x, 2)
return p(x), len(q.args)

import operator
if x.sum() > 0: g2 = operator.itemgetter(1)
else: g2 = operator.itemgetter(0)
return g2(x), operator.methodcaller("sum")(x)

import datetime, decimal, fractions
d = datetime.date(2020, 1, 1) if x.sum() > 0 else datetime.date(2021, 1, 1)
e = decimal.Decimal("1.5") if x.sum() > 0 else decimal.Decimal("2.5")
q = fractions.Fraction(1, 2) if x.sum() > 0 else fractions.Fraction(1, 3)
return x * d.year, float(e), float(q)

r = range(2) if x.sum() > 0 else range(3)
s = slice(0, 1) if x.sum() > 0 else slice(0, 2)
z = 1j if x.sum() > 0 else 2j
y = x + 1
return len(r), y[s], z.imag, (b"a" if x.sum() > 0 else b"bc")

class P:
    __slots__ = ("v", "w")
pt = P()
pt.v = 1
if x.sum() > 0: pt.v = 2
else: pt.w = 3
return pt.v, hasattr(pt, "w")

def outer(m):
    def inner(v): return v * m
    inner.scale = m
    return inner
fn = outer(2) if x.sum() > 0 else outer(3)
return fn(x), fn.scale, fn.__name__

if x.sum() > 0: m = x.mul
else: m = x.add
return m(2)

import re
pat = re.compile("a+") if x.sum() > 0 else re.compile("b+")
hit = pat.match("aab")
return hit is not None, pat.pattern

d = {"a": x, "b": x * 2}
ks, vs = d.keys(), d.values()
if x.sum() > 0: d["c"] = x + 1
y = x * 2 if x.max() > 1 else x
return list(ks), [v.sum() for v in vs], y

f3 = torch.finfo(torch.float32) if x.sum() > 0 else torch.finfo(torch.float16)
y = x * 2 if x.max() > 1 else x
return f3.max, y

import array
a = array.array("d", [1.0])
if x.sum() > 0: a.append(2.0)
y = x * 2 if x.max() > 1 else x
return list(a), y

import io
buf = io.StringIO()
buf.write("up" if x.sum() > 0 else "dn")
y = x * 2 if x.max() > 1 else x
return buf.getvalue(), y

fns = {"mul": lambda v, k=2: v * k, "add": lambda v, k=3: v + k}
fn = fns["mul"] if x.sum() > 0 else fns["add"]
fns["last"] = fn
y = x * 2 if x.max() > 1 else x
return fns["last"](y), fn is fns["mul"]

def make(kind):
    scale = 2 if kind == "a" else 3
    def mul(v): return v * scale
    def add(v): return v + scale
    return mul if kind == "a" else add
fn = make("a") if x.sum() > 0 else make("b")
y = x * 2 if x.max() > 1 else x
return fn(y)

steps = []
if x.sum() > 0: steps.append(lambda v: v * j)
else: steps.append(lambda v: v - j)
if x.max() > 1: steps.append(lambda v: v + i)
for s in steps: x = s(x)
return x

import types
ns = types.SimpleNamespace(f=torch.relu)
if x.sum() > 0: ns.f = torch.sigmoid
else: ns.f = lambda v: v * f
y = x * 2 if x.max() > 1 else x
return ns.f(y)

import operator, functools
ops = {"gt": operator.gt, "lt": operator.lt}
op = ops["gt"] if x.sum() > 0 else ops["lt"]
comp = functools.reduce(lambda a, c: (lambda v: c(a(v))), [torch.relu, torch.neg] if x.max() > 1 else [torch.neg])
return op(x, 0), comp(x)

class Node2:
    def __init__(self, fn, nxt=None): self.fn, self.nxt = fn, nxt
    def run(self, v):
        v = self.fn(v)
        return v if self.nxt is None else self.nxt.run(v)
tail = Node2(lambda v: v * 2)
head = Node2(lambda v: v + 1, tail) if x.sum() > 0 else Node2(lambda v: v - 1)
if x.max() > 1: head = Node2(torch.abs, head)
return head.run(x)

def deco(fn):
    @functools.wraps(fn)
    def wrapped(v):
        wrapped.calls = getattr(wrapped, "calls", 0) + (1 if v.sum() > 0 else 2)
        return fn(v)
    return wrapped
@deco
def act(v): return v * 2
y = act(x) + act(-x)
return y, act.calls

class E(Exception):
    def __init__(self, code, v): super().__init__(code); self.code, self.v = code, v
def risky(v):
    if v.sum() > 0: raise E("pos", v)
    if v.max() > 0: raise E("mixed", v * 2)
    return v
try: out = risky(x)
except E as e:
    err = e
    if e.code == "pos": err.code = "P"
    out = err.v
else: err = None
z = out * 2 if out.sum() > 1 else out
return z, None if err is None else (err.code, err.args)

q = collections.deque([x], maxlen=2)
it2 = itertools.cycle([1, 2, 3])
a = next(it2)
if x.sum() > 0: a = next(it2); q.append(x * a)
b2 = next(it2)
return a, b2, list(q)

from types import MappingProxyType
d = {"k": 1}
view = MappingProxyType(d)
if x.sum() > 0: d["k"] = 2
else: d["j"] = 3
y = x + 1 if x.max() > 1 else x
return dict(view), y

"""
# A code and a body.
REFUSED = """
DY313
d = {}
for k in range(abs(i) + 5): d[(Named.U, "v", "w", "x")[(k * j + i) % 4]] = k
return d.get("u")

DY313
a = [Named.U if k % 2 else Named.V for k in range(abs(i))]
return "u" in a

DY313
a = [k * 2 for k in range(abs(i))]
g = (v + 1 for v in a)
return any(v > 2 for v in a), any(v > 2 for v in g), 5 in g, list(g)

DY403
made = Result(x)
made.parts.append(made)
return made

DY403
class Local: pass
made = Local()
made.x = x
return made

DY320
def deep(k): return 0 if k <= 0 else 1 + deep(k - 1)
return deep(i)

DY206
return x[x > 0].unbind()[::-1]

DY316
s = {i, j}
s.discard(3)
for v in s: x = x + v
return x

DY316
s = set(range(abs(i))) & {j}
return list(s)

DY316
s = set((x * 2).int().tolist())
return s.pop()

DY315
d = {}
d[i] = self.lin
return d[i](x)

DY315
d = {}
d[f] = 1
return d

DY315
d = {i: 1}
d[j] = 0.5
return d

DY314
d = {}
d[i] = x
x += 1
return d[i]

DY313
return sorted([k if k % 2 else None for k in n[n > 0].tolist()], key=lambda v: v)

DY313
d = {}
for k in range(j): d[(x * k).sum().long().item()] = [k]
e = copy.deepcopy(d)
for k in e: e[k].append(7)
return d, e

DY401
if b: self.log.append(self.log[-1] if self.log and i > 1 else x[:i])
elif len(self.log) % 2: self.log.append(i)
return len(self.log)

DY405
self.log.append(x)
if self.cache is not None: x = x + len(self.cache)
self.cache = self.log
return x

DY315
self.table[f] = x
return len(self.table)

DY315
d, kept = {}, n[n > 0].tolist()
d[tuple(kept)] = x
return len(d)

DY313
match n[n > 0].tolist():
    case []: return "none"
    case [a]: return a
return x

DY313
match Counter(n[n > 0].tolist()):
    case {2: k}: return k
return x

DY313
return first_of(n[n > 0].tolist())

DY208
xs = [0, 1]
ys = xs
k = max(0, i)
xs *= k
return xs, ys, xs is ys

DY208
pad = [0, 1]
return pad * max(0, i)

DY202
y = x * 2
y.data = y.data * 3
if y.sum() > 0:
    y.data = x + 1
return y

DY202
y = torch.outer(x, x + 1)
v = y[0]
y.t_()
y[0] = 0
for i in range(3):
    if y[i].sum() > 0:
        y.transpose_(0, 1)
return y, v

DY202
y = x.clone()
for i in range(3):
    if x[i] > 0:
        y.unsqueeze_(0)
return y.sum(), y.dim()

DY202
x.data = x * 2
return x + 1

DY202
w = self.lin.weight.data
self.lin.weight.data = w * 0.5
return w + 1

DY202
n = x.sum() + self.lin.bias
self.lin.bias.data = n
return n * 2

DY207
out = ""
for v in x: out += "%.2f " % v.item()
return out.split()

DY208
k = abs(i) % 3 + 1
try: return F.avg_pool1d(x[None, None], k * 2)
except RuntimeError: return x

DY314
y = torch.zeros(3)
out = []
for i in range(int(x[0].abs().item() * 3) % 5 + 2):
    y.add_(x)
    out.append(y)
return torch.stack(out)

DY314
y = torch.zeros(3)
out = []
for i in range(int(x[0].abs().item() * 3) % 5 + 2):
    out.append(y)
    y += x
return torch.stack(out)

DY314
y = torch.zeros(3)
out = []
z = y
for i in range(int(x[0].abs().item() * 3) % 5 + 2):
    z = y if x[i % 3] > 0 else x * 2
    out.append(z)
    y.mul_(2).add_(1)
return torch.stack(out)

DY208
t = f"{i}"
try: return ord(t)
except TypeError: return "no"

DY208
import re
t = f"a{i}"
with contextlib.suppress(TypeError): return re.sub("a", "c", t)
return "no"

DY202
old = self.lin.bias.data
self.lin.bias.data = x * 2
self.lin.bias.data = old
return self.lin(x)

DY202
self.lin.bias.data = self.buf.data
self.buf += 1
return self.lin.bias + 0

DY202
self.lin.bias.data = x * 2
return self.lin.bias.data

DY202
y = x * 2
z = y if b else x + 1
z.data = x * 7
return y, z

DY314
out = []
for k in range(abs(i)):
    z = x + k
    out.append(z)
    z.data = x * 2
return out

DY202
self.cache = getattr(self, "cache", None)
if self.cache is None: self.cache = self.lin.bias.data
else: self.lin.bias.data = x * 2
return self.lin(x), self.cache + 0

DY208
return torch.rot90(torch.outer(x, x), abs(i) + 1)

DY208
try: return random.randint(0, i)
except ValueError as e: return str(e)

DY201
import numpy as np
a = np.arange(6.0).reshape(3, 2)
k = abs(i) % 3
row = a[k]
row[0] = 7
return a, row

DY201
import numpy as np
a = np.linspace(0, 1, 6).reshape(3, 2)
k = abs(i) % 3
row = a[k]
a[:, 0] = 5
return row

DY201
import numpy as np
a = np.linspace(0, 1, 6).reshape(3, 2)
k = abs(i) % 3
row = a[k]
row[0] = 7
return a

DY209
seen = set()
out = []
for t in (x, x, x + 1):
    if id(t) not in seen:
        seen.add(id(t))
        out.append(t)
return out

DY204
y = x + 1
y.apply_(lambda v: 0 if v < 0.5 else 1)
return y

DY204
t = x.to_sparse()
return (t * 2).to_dense()

DY202
import copy
p = [x * 1]
p.append(p[0][:2])
q = copy.deepcopy(p)
q[0] += 1
return q[1], p[1]

DY314
a = x.numpy().copy()
c = a[::-1]
c[0] = 9
return torch.from_numpy(a)

DY403
return slice(i, j), x

DY314
y, out = torch.zeros(3), []
for k in range(abs(i)):
    y += x
    y = y * 2
    out.append(y)
return out

DY314
a, c, out = torch.zeros(3), torch.zeros(3), []
for k in range(abs(i)):
    a.add_(x)
    out.append(c)
    a, c = c, a
return out

DY314
y, z, out = torch.zeros(3), torch.ones(3), []
for k in range(abs(i)):
    y, z = z, y * 2 + x
    out.append(z)
    y += 1
return out, y

DY314
out = []
for k in range(abs(i)):
    z = x * k
    for m in range(abs(i)):
        z.add_(m)
        out.append(z)
return out

"""
GROUPS = 12
RUNS = 6


def build(body: str, folder: Path) -> type:
    """The model class with this body of forward, in a module of its own."""
    path = folder / "model.py"
    path.write_text(HEAD + "\n".join("        " + line for line in body.splitlines()) + "\n")
    spec = importlib.util.spec_from_file_location(f"statements_{abs(hash(body))}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model


def wrong(body: str, folder: Path) -> str | None:
    """What is wrong with a program; None where dync and eager agree in every call."""
    cls = build(body, folder)
    try:
        model = load(cls)
        program = capture(cls, model)
        verify(program)
        compare(cls, program, model, RUNS)
    except (AssertionError, CaptureError) as error:
        return f"{body}\n{error}\n"
    finally:
        del sys.modules[cls.__module__]
    return None


def programs(text: str) -> list[str]:
    return text.strip().split("\n\n")


def parts(folder: Path, group: int) -> list[tuple[str, Path]]:
    chosen = programs(PROGRAMS)[group::GROUPS]
    folders = [folder / str(n) for n in range(len(chosen))]
    for f in folders:
        f.mkdir()
    return list(zip(chosen, folders))


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", [pytest.param(g, marks=pytest.mark.slow if g else ()) for g in range(GROUPS)])
def test_statements(group, tmp_path):
    found = [wrong(body, folder) for body, folder in parts(tmp_path, group)]
    assert not any(found), "\n".join(f for f in found if f)


def test_no_body_stands_in_a_text_that_nothing_reads():
    stray = [e.lineno for e in ast.parse(Path(__file__).read_text()).body[1:] if isinstance(e, ast.Expr)]
    assert not stray


@pytest.mark.parametrize("program", programs(REFUSED))
def test_refusals(program, tmp_path):
    code, _, body = program.partition("\n")
    cls = build(body, tmp_path)
    with pytest.raises(CaptureError) as caught:
        capture(cls, load(cls))
    assert caught.value.diagnostics[0].code == code
