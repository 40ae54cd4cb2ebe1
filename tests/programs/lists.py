# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Lists whose length depends on the data: grown in rolled loops and under gates, popped, walked, stacked, returned."""

import collections
import types

import torch
import torch.nn as nn
from programs.data import rand, whole


class ListInWhile(nn.Module):
    """Hidden states appended until a norm is reached, then stacked."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(3, 4)

    def forward(self, x, limit):
        h = torch.zeros(2, 4)
        total = torch.zeros(())
        hidden, norms = [], []
        while total < limit:
            h = self.cell(x, h)
            hidden.append(h)
            norms.append(h.norm())
            total = total + h.abs().sum()
        if not hidden:
            return h, total
        return torch.stack(hidden, dim=1), torch.cat(hidden), torch.stack(norms).mean()

    inputs = staticmethod(lambda seed: (rand(seed, 2, 3), torch.tensor([0.0, 3.0, 12.0, 40.0, 80.0, 1.0][seed % 6])))


class ListUnderGates(nn.Module):
    """Twelve gates, each of which may append."""

    PATHS = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(12))

    def forward(self, x):
        outputs = [x]
        for layer in self.layers:
            y = torch.tanh(layer(x))
            if y.sum() > 0:
                outputs.append(y)
                x = x + y
            else:
                x = x - y
        return torch.stack(outputs).mean(0), outputs[-1], len(outputs)

    inputs = staticmethod(lambda seed: (rand(seed, 2, 4),))


class NumbersInList(nn.Module):
    """Numbers read from tensors, collected and made a tensor; the list itself is returned too."""

    PATHS = 3

    def forward(self, x, limit):
        losses, rounds, flags = [], [], []
        total = 0.0
        n = 0
        while total < limit.item():
            loss = (x * (n + 1)).abs().mean().item()
            losses.append(loss)
            rounds.append(n)
            flags.append(loss > 1.0)
            total += loss
            n += 1
        return losses, torch.tensor(losses), rounds, torch.tensor(rounds), flags, sum(losses), max(losses, default=-1.0)

    inputs = staticmethod(lambda seed: (rand(seed, 3), torch.tensor([0.0, 0.5, 3.0, 30.0, 60.0][seed % 5])))


def keep(store, value):
    if value.mean() > -10:
        store.append(value)


class ListInHelper(nn.Module):
    """Appended in a helper; a second name for the same list sees it."""

    PATHS = 2

    def forward(self, x, n):
        store = []
        alias = store
        for _ in range(n.item()):
            x = torch.sin(x) + 0.1
            keep(store, x)
        alias.append(x * 2)
        return store, alias[-1], len(store)

    inputs = staticmethod(lambda seed: (rand(seed, 3), torch.tensor(seed % 5)))


class Buffer:
    def __init__(self):
        self.items = []
        self.by_name = {"a": [], "b": []}

    def add(self, x):
        self.items.append(x)
        self.by_name["a" if len(self.items) % 2 else "b"].append(x)


class ListInObject(nn.Module):
    """Lists in an object of the model's own and in its dict."""

    PATHS = 2

    def forward(self, x, n):
        store = {"all": [], "big": []}
        state = types.SimpleNamespace(kept=[])
        for _ in range(n.item()):
            x = torch.cos(x)
            store["all"].append(x)
            if x.sum() > 2.2:
                store["big"].append(x)
            state.kept.append(x[0])
        return store["all"], len(store["big"]), sum(state.kept)

    inputs = staticmethod(lambda seed: (rand(seed, 3), torch.tensor(seed % 4)))


class ShiftReduceInLoop(nn.Module):
    """A stack in a loop whose length the data decides."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.reduce = nn.Linear(6, 3)

    def forward(self, x, moves):
        stack = []
        shifted = 0
        for i in range(moves.shape[0]):
            if moves[i] > 0 and len(stack) >= 2:
                right = stack.pop()
                left = stack.pop()
                stack.append(torch.tanh(self.reduce(torch.cat([left, right]))))
            else:
                stack.append(x[shifted % 4])
                shifted += 1
        while len(stack) > 1:
            b = stack.pop()
            a = stack.pop()
            stack.append(torch.tanh(self.reduce(torch.cat([a, b]))))
        return stack[0], shifted

    DYNAMIC = {"moves": {0: "n"}}
    inputs = staticmethod(lambda seed: (rand(seed, 4, 3), whole(seed, 0, 2, 5 + seed % 4)))


class PopOfEmpty(nn.Module):
    """More is popped than pushed: the model's own IndexError."""

    PATHS = 2

    def forward(self, x, n, m):
        stack = []
        for _ in range(n.item()):
            x = x + 1
            stack.append(x)
        for _ in range(m.item()):
            x = x * stack.pop()
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 2), torch.tensor(2 + seed % 2), torch.tensor(seed % 4)))


class Fifo(nn.Module):
    """A deque as a queue, and a list that is a queue."""

    PATHS = 2

    def forward(self, x, n):
        queue = collections.deque([x * 1])
        line = [x.sum()]
        out = x
        for _ in range(n.item()):
            front = queue.popleft()
            queue.append(front * 0.5)
            if front.sum() > 0:
                queue.append(front - 1)
            line.append(line.pop(0) + 1)
            out = out + front
        return out, len(queue), list(queue), line

    inputs = staticmethod(lambda seed: (rand(seed, 2) + 2, torch.tensor(seed % 6)))


class ListOfTuples(nn.Module):
    """(tensor, number) pairs, unpacked in loops and comprehensions."""

    PATHS = 2

    def forward(self, x, n):
        steps = []
        for i in range(n.item()):
            x = torch.sin(x)
            steps.append((x, x.sum().item(), i))
        total = torch.zeros(3)
        for value, weight, index in steps:
            total = total + value * weight * index
        scores = [w for _, w, _ in steps]
        return total, steps, scores

    inputs = staticmethod(lambda seed: (rand(seed, 3), torch.tensor(seed % 4)))


class Comprehension(nn.Module):
    """Comprehensions, enumerate, zip and reversed over a grown list."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x, n):
        hidden = []
        for _ in range(n.item()):
            x = torch.tanh(x) * 1.1
            hidden.append(x)
        heads = [self.head(h) for h in hidden]
        big = [h for h in hidden if h.sum() > 0.3]
        acc = torch.zeros(2)
        for i, (h, y) in enumerate(zip(hidden, heads)):
            acc = acc + y * (i + 1) + h.sum()
        for h in reversed(hidden):
            acc = acc * 0.5 + h[:2]
        return heads, big, acc

    inputs = staticmethod(lambda seed: (rand(seed, 3), torch.tensor(seed % 4)))


class Detections(nn.Module):
    """Dicts with names as keys in a list that grows; a key that may be None, and one that holds a list."""

    PATHS = 2

    def forward(self, x, n):
        found = []
        for k in range(n.item()):
            x = torch.tanh(x + 0.3)
            found.append({"box": x * k, "score": x.sum().item(), "near": None if x[0] > 0.5 else x.max(), "of": [k]})
            if len(found) > 1 and found[-2]["near"] is None:
                found[-2]["of"].append(k)
        best = max(found, key=lambda d: d["score"]) if found else {"of": []}
        return found, [d["score"] for d in found if d["near"] is not None], len(best["of"])

    inputs = staticmethod(lambda seed: (rand(seed, 3), torch.tensor(seed % 4)))


class Segments(nn.Module):
    """Pieces of several lengths, concatenated."""

    PATHS = 2

    def forward(self, x, n):
        pieces = []
        lengths = []
        start = 0
        for i in range(n.item()):
            size = int(x[start].abs().item() * 3) % 3 + 1
            pieces.append(x[start : start + size] * (i + 1))
            lengths.append(size)
            start += size
        pieces.append(x[:1])
        return torch.cat(pieces), pieces, lengths

    inputs = staticmethod(lambda seed: (rand(seed, 16), torch.tensor(seed % 5)))


class SlicedList(nn.Module):
    """Slices, membership, index by a number of the data, assignment, insert, extend, +."""

    PATHS = 2

    def forward(self, x, n, k):
        ids = [7]
        kept = []
        for i in range(n.item()):
            ids.append(i * i)
            kept.append(x + i)
        kept[0] = x * 5
        kept.insert(1, x * 2)
        more = kept + [x - 1]
        more.extend(kept[:2])
        del more[0]
        return ids[1:], ids[-2:], 4 in ids, kept[k.item()], kept[:-1], more, ids + [1, 2]

    inputs = staticmethod(lambda seed: (rand(seed, 2), torch.tensor(1 + seed % 4), torch.tensor(seed % 2)))


class GrownInTwoPlaces(nn.Module):
    """Two lists in lockstep, one emptied on the way."""

    PATHS = 2

    def forward(self, x, n):
        recent, every = [], []
        for i in range(n.item()):
            x = torch.sin(x) + 0.2
            recent.append(x)
            every.append(i)
            if x.sum() > 1.0:
                recent = []
        return (torch.stack(recent).sum() if recent else x.sum()), len(every), every

    inputs = staticmethod(lambda seed: (rand(seed, 2), torch.tensor(seed % 6)))


class LocalHelper(nn.Module):
    """A function made anew at each call, without closure, lives across joins."""

    PATHS = 2

    def forward(self, x):
        def shift(v, by=0.5):
            return v + by

        for _ in range(2):
            if x.sum() > 0:
                x = shift(x) * 0.5
            else:
                x = shift(x, 2.0)
        return x

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class RangeComprehension(nn.Module):
    """Comprehensions over a range, and over rows, whose number the data decides."""

    PATHS = 1

    def forward(self, x):
        n = int((x > 0).sum())
        rows = x[x < 0.5]
        return torch.stack([x[i] * i for i in range(n)] + [x.sum()]), sum(r * r for r in rows), n

    @staticmethod
    def inputs(seed):
        return (rand(seed, 4),)


class NumbersOfAFullTensor(nn.Module):
    """`tolist` of tensors that have at least one number, and as many as the data says."""

    def forward(self, x):
        rows = [x[0]]
        for row in x[1:]:
            rows.append(rows[-1] + row)
            if row.sum() < 0:
                break
        return torch.stack(rows).argmax(-1).tolist(), torch.unique((x > 0).sum(1)).tolist()

    inputs = staticmethod(lambda seed: (rand(seed, 5, 3),))


class IndexOfNumber(nn.Module):
    """Where a number known only at run time is in a list."""

    def forward(self, x):
        numbers = [v.item() for v in x]
        best = numbers.index(max(numbers))
        return best, [2, 0, 3].index(int(x[0] * 2), 1)

    inputs = staticmethod(lambda seed: (rand(seed, 3) * 2,))


class TupleOfTurns(nn.Module):
    """Tuples that a loop makes longer, one of them of tuples, one only on some turns, and one that may be absent."""

    PATHS = 1

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 3)

    def forward(self, x, keep=True):
        scores, hidden, signs, n = (() if keep else None), (), (), 0
        while x.abs().sum() > 1 and n < 40:
            x = self.lin(x)
            if keep:
                scores += (x.sum(-1),)
            hidden = hidden + ((x, n),)
            if x[0, 0] > 0:
                signs = (*signs, float(x[0, 0]))
            n += 1
        return scores, hidden, signs, len(hidden), hidden[-1][0] if hidden else x, torch.stack(scores, 1) if scores else None

    inputs = staticmethod(lambda seed: (rand(seed, 2, 3) * (1 + seed % 4),))


class GenerateWithCriteria(nn.Module):
    """A decoder's loop as model libraries have it: a tuple of scores, criteria that are a list, an end that a tensor tells."""

    class Criteria(list):
        def __call__(self, tokens, scores):
            done = torch.zeros(tokens.shape[0], dtype=torch.bool)
            for criterion in self:
                done = done | criterion(tokens, scores)
            return done

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(8, 6), nn.Linear(6, 8)

    def is_long(self, tokens, scores):
        return torch.full((tokens.shape[0],), tokens.shape[-1] >= 12 or len(scores) > 20, dtype=torch.bool)

    def forward(self, tokens):
        criteria = self.Criteria([self.is_long, lambda t, s: torch.isin(t[:, -1], torch.tensor([1]))])
        scores, going, finished = (), torch.ones(tokens.shape[0], dtype=torch.long), False
        while not finished:
            scores += (self.head(self.embed(tokens).mean(1)),)
            token = torch.multinomial(scores[-1].softmax(-1), 1).squeeze(1) * going
            tokens = torch.cat([tokens, token[:, None]], -1)
            going = going & ~criteria(tokens, scores)
            finished = going.max() == 0
        return {"tokens": tokens, "scores": scores}

    inputs = staticmethod(lambda seed: (whole(seed, 2, 8, 2, 3),))


class TupleResetInALoop(nn.Module):
    """A tuple that each turn begins anew and an inner loop makes longer; the outer one holds numbers of it."""

    def forward(self, x):
        outs, n = (), int(x[0].abs().sum() * 40) % 60 + 50
        for i in range(n):
            inner = ()
            while x.abs().sum() > 2 and len(inner) < 20:
                x = x * 0.7
                inner += (x[0] + i,)
            outs += (len(inner),)
            if inner:
                outs = outs + (int(inner[-1].argmax()),)
            x = x + 0.3
        return outs, sum(outs), max(outs), x

    inputs = staticmethod(lambda seed: (rand(seed, 2, 3) * (1 + seed % 4),))


class TupleThatIsSpread(nn.Module):
    """A tuple that a loop makes longer, given to a function as its arguments: there is one path for each length."""

    def total(self, *parts):
        return sum(parts)

    def forward(self, x):
        parts, n = (), 0
        while n < 6 and x.abs().sum() > 1:
            x = x * 0.6 + 0.1
            parts += (x.sum(),)
            n += 1
        return self.total(*parts) if parts else x.sum(), parts

    inputs = staticmethod(lambda seed: (rand(seed, 2, 3) * (1 + seed % 4),))


class MethodOfAList(nn.Module):
    """A decoder tells each token to the `append` of a list of the caller's, in a loop that is rolled."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def generate(self, x, most, callback):
        for _ in range(most):
            x = self.lin(x)
            callback(x.argmax())
            if x.max() < 0.2:
                break
        return x

    def forward(self, x):
        said = []
        x = self.generate(x, 60, said.append)
        return x, said, len(said)

    inputs = staticmethod(lambda seed: (rand(seed, 4) * (1 + seed % 4),))


class IndexedByAList(nn.Module):
    """A tensor indexed by lists of unknown length: of many items, and of comprehensions."""

    def forward(self, x):
        chosen = []
        for i, v in enumerate(x.tolist()):
            if v > 0:
                chosen.append(i)
        kept = x[chosen] if chosen else x
        out = torch.zeros_like(x)
        for part in range(2):
            rows = [i for i, v in enumerate(x.abs().long().tolist()) if v == part]
            if rows:
                out[rows] = x[rows] * (part + 1)
        return kept, out

    inputs = staticmethod(lambda seed: (rand(seed, 9),))
