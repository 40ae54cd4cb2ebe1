"""Views, in-place writes, shared tensors and shared modules."""

import torch
import torch.nn as nn
from programs.data import rand, whole


class OneInput(nn.Module):
    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 4),)


class ViewWritten(OneInput):
    """A view is written in one branch; the base is read after."""

    def forward(self, x):
        y = x * 1
        row = y[1]
        if x.sum() > 0:
            row.mul_(10)
        return y, row


class ViewChosen(OneInput):
    """Which view is written depends on data, and so does what is read later."""

    PATHS = 3

    def forward(self, x):
        y = x.clone()
        view = y[0] if x.sum() > 0 else y[:, 1]
        if x.max() > 1:
            view += 5
        return y, view.sum()


class InputWritten(OneInput):
    """Writes to the caller's tensor on one path."""

    def forward(self, x):
        if x.mean() > 0:
            x.mul_(2)
            x[0, 0] = 0
        return x.sum()


class InputViewWritten(OneInput):
    def forward(self, x):
        last = x[:, -1]
        if (last > 0).any():
            last.clamp_(max=0)
        return x.flatten()[:5]


class ReluInplace(OneInput):
    """relu_ on a value that both arms share."""

    def forward(self, x):
        h = x + 1
        keep = h
        if h.sum() > 10:
            h = h.relu_()
        else:
            h = h.relu()
        return h, keep


class MaskedWrites(OneInput):
    PATHS = 3

    def forward(self, x):
        y = x.clone()
        low = y < -0.5
        if low.any():
            y[low] = -0.5
        high = y > 0.5
        if high.sum() > 2:
            y[high] *= 0.1
        return y


class SetItem(OneInput):
    PATHS = 3

    def forward(self, x):
        out = torch.zeros(3, 4)
        for i in range(3):
            if x[i].sum() > 0:
                out[i] = x[i]
            else:
                out[i, :2] = x[i, 2:]
        return out


class SwapRows(OneInput):
    def forward(self, x):
        y = x.clone()
        if y[0, 0] > y[2, 0]:
            y[[0, 2]] = y[[2, 0]]
        return y


class TwoNames(OneInput):
    """Two names for one tensor: a write through either shows in both."""

    def forward(self, x):
        a = x + 0
        b = a
        if x.sum() > 0:
            b = b.clone()
        b += 1
        return a, b


class ListAlias(OneInput):
    """Two names for one list, and a copy of it."""

    PATHS = 3

    def forward(self, x):
        rows = [x[0], x[1]]
        same, copy = rows, list(rows)
        if x.sum() > 0:
            same[0] = x[2]
        else:
            same[1] = x[2]
        if x.max() > 1:
            copy.reverse()
        return torch.stack(rows), torch.stack(copy), rows is same


class InOut(OneInput):
    """out= and copy_ into a buffer made before the branch."""

    def forward(self, x):
        buffer = torch.empty(3, 4)
        if x.mean() > 0:
            torch.mul(x, 3, out=buffer)
        else:
            buffer.copy_(x.t().reshape(3, 4))
        return buffer


class Chunks(OneInput):
    def forward(self, x):
        y = x.clone()
        left, right = y.chunk(2, dim=1)
        if left.sum() > right.sum():
            left.sub_(right)
        else:
            right.zero_()
        return y


class Expanded(OneInput):
    def forward(self, x):
        bias = torch.zeros(4)
        rows = bias.expand(3, 4)
        if x[:, 0].sum() > 0:
            bias.add_(1)
        return x + rows, rows


class Accumulate(OneInput):
    """index_put with accumulate and scatter_add_ on one base."""

    def forward(self, x, index):
        total = torch.zeros(5)
        if (index == index[0]).all():
            total[index[0]] += x.sum()
        else:
            total.index_put_((index,), x[:, 0], accumulate=True)
        total.scatter_add_(0, index, x[:, 1])
        return total

    @staticmethod
    def inputs(seed):
        return rand(seed, 3, 4), whole(seed, 0, 2 + seed % 3, 3)


class TiedWeights(nn.Module):
    """Embedding and head are one parameter."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, token):
        h = self.embed(token)
        if h.sum() > 0:
            h = torch.tanh(h)
        return self.head(h)

    @staticmethod
    def inputs(seed):
        return (whole(seed, 0, 6, 2),)


class SharedLayer(nn.Module):
    """One module at two places in a list (ALBERT), and two names."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        layer = nn.Linear(4, 4)
        self.first = layer
        self.layers = nn.ModuleList([layer, nn.Linear(4, 4), layer])

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            if layer is self.first and x.sum() < 0:
                continue
            x = torch.relu(layer(x))
        return x

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class BufferView(nn.Module):
    """A view of a buffer is written; the buffer keeps it for the next call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(3, 4))

    def forward(self, x):
        slot = self.memory[1]
        if x.mean() > 0:
            slot.copy_(x[0])
        return self.memory.sum() + x

    inputs = staticmethod(OneInput.inputs)


class PassedBack(OneInput):
    """A helper writes its argument and also returns it."""

    def scale_(self, t, factor):
        t.mul_(factor)
        return t

    def forward(self, x):
        y = x.clone()
        z = self.scale_(y, 2) if x.sum() > 0 else self.scale_(y.clone(), 3)
        return y, z


class SameInputTwice(nn.Module):
    """The result may be one argument or the other."""

    def forward(self, a, b):
        winner = a if a.sum() > b.sum() else b
        winner[0] = 0
        return winner

    @staticmethod
    def inputs(seed):
        return rand(seed, 3), rand(seed, 3, salt=1)


class Transposed(OneInput):
    """The branches give equal shapes and different strides."""

    def forward(self, x):
        square = x[:, :3]
        y = square.t() if x.sum() > 0 else square.contiguous()
        return y * 2, y.reshape(-1)


class ViewThroughTwoJoins(OneInput):
    """What a variable may be a view of is written after a second join, which would have to copy it."""

    def forward(self, x):
        k = x * 2
        if x.sum() > 0:
            f = k[:, :3].t()
        else:
            f = (x + 1)[:, :3].t()
        g = f if x[0, 0] > 0 else (x * 3).reshape(4, 3)[:3]
        k.add_(10)
        return g, f


class ReadTwice(OneInput):
    """A number is read, written under another name, and read again."""

    def forward(self, x):
        total = x.sum() * 2
        seen = total if x[0, 0] > 0 else x.mean()
        before = seen.item()
        total.add_(1)
        return x * (seen.item() - before), before

    inputs = staticmethod(OneInput.inputs)


class OutArgument(OneInput):
    """`out=` writes through a view."""

    def forward(self, x):
        y = x.clone()
        total = y[0, 0].item()
        torch.add(x[0], x[1], out=y[0])
        if y[0, 0] > total:
            y = y * 2
        return y, y[0, 0].item() - total

    inputs = staticmethod(OneInput.inputs)


class WeightSeenWhole(OneInput):
    """Views of weights that are the whole weight, or one view in two spellings, where the weights are read too."""

    def __init__(self):
        super().__init__()
        self.pos, self.mean = nn.Parameter(torch.randn(1, 6, 4)), nn.Parameter(torch.randn(4))

    def forward(self, x):
        h = x + self.pos[0, : x.size(0)] + self.mean[None]
        if h.sum() > 0:
            return h - self.pos[:, :6].sum(1) + self.mean.view(1, -1)
        return h * self.pos.view(6, 4)[:3] - self.mean.expand(1, 4) @ self.pos[0].T.T.t()[:, :1]


class OneTensorOrTwo(OneInput):
    """`is` between tensors of which one is what paths have joined to: in a helper, in a list, and where a loop chose."""

    @staticmethod
    def rectified(y):
        return y if y.sum() > 0 else y.abs()

    def forward(self, x):
        u, v = x * 1, x * 2
        chosen = u if x[0, 0] > 0 else v
        for row in x:
            if row.sum() > 1:
                chosen = v
            elif chosen is v:
                chosen = u
        z = self.rectified(x)
        if z is not x:
            z = z * 2
        return chosen is u, [n for n, each in enumerate((u, v)) if each is chosen], z
