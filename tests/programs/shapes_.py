"""Shapes that data decides, and dimensions that the caller may change."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand, whole
from torch.export import Dim


class NonzeroPick(nn.Module):
    def forward(self, x):
        index = (x > 0.5).nonzero()
        if index.shape[0] == 0:
            return x.new_zeros(1, 2)
        return index.float() * 2

    inputs = staticmethod(lambda seed: (rand(seed, 2, 3),))


class MaskedSelect(nn.Module):
    PATHS = 3

    def forward(self, x):
        big = x[x > 0]
        if big.numel() > 3:
            return big.mean(), big
        if len(big) > 0:
            return big.sum(), big
        return x.min(), big

    inputs = staticmethod(lambda seed: (rand(seed, 5),))


class Unique(nn.Module):
    def forward(self, ids, table):
        unique, inverse, counts = torch.unique(ids, return_inverse=True, return_counts=True)
        if unique.numel() == 1:
            return table[ids]
        return table[unique][inverse] * counts[inverse].unsqueeze(-1)

    inputs = staticmethod(lambda seed: (whole(seed, 0, 1 + seed % 3, 4), rand(seed, 4, 2)))


class NmsLike(nn.Module):
    """Boxes are kept greedily; how many is up to the data."""

    PATHS = 3

    def forward(self, boxes, scores):
        order = scores.argsort(descending=True)
        keep = []
        suppressed = torch.zeros(len(scores), dtype=torch.bool)
        for i in range(len(scores)):
            k = order[i]
            if suppressed[k]:
                continue
            keep.append(k)
            suppressed = suppressed | ((boxes - boxes[k]).abs() < 0.7)
        return torch.stack(keep)

    inputs = staticmethod(lambda seed: (rand(seed, 4), rand(seed, 4, salt=1)))


class ScoreFilter(nn.Module):
    def forward(self, boxes, scores):
        keep = scores > 0.2
        boxes, scores = boxes[keep], scores[keep]
        if scores.numel() == 0:
            return boxes, scores, 0
        best = scores.argmax()
        boxes = torch.cat([boxes[best : best + 1], boxes])
        return boxes, scores.sort(descending=True).values, boxes.shape[0]

    inputs = staticmethod(lambda seed: (rand(seed, 4, 4), rand(seed, 4, salt=1)))


class TopKItem(nn.Module):
    """k comes from the data."""

    def forward(self, x):
        k = int((x > 0).sum().clamp(1, 3))
        values, index = x.topk(k)
        if k > 1:
            return values, index
        return values, None

    inputs = staticmethod(lambda seed: (rand(seed, 5),))


class ArangeItem(nn.Module):
    def forward(self, lengths):
        longest = lengths.max().item()
        mask = torch.arange(longest)[None] < lengths[:, None]
        if mask.all():
            return mask.float().sum()
        return mask

    inputs = staticmethod(lambda seed: (whole(seed, 1, 3 if seed % 2 else 6, 3),))


class PadToLongest(nn.Module):
    """Rows of different lengths, read as Python numbers."""

    def forward(self, x, lengths):
        longest = int(lengths.max())
        rows = []
        for row, n in zip(x, lengths.tolist()):
            rows.append(F.pad(row[:n], (0, longest - n)))
        return torch.stack(rows)

    PATHS = 1
    inputs = staticmethod(lambda seed: (rand(seed, 2, 5), whole(seed, 1, 6, 2)))


class InterpolateItem(nn.Module):
    """The size to scale to is read from the data."""

    def forward(self, x):
        size = int(x.abs().mean().clamp(0.5, 2.0) * 4)
        y = F.interpolate(x, size=(size, size), mode="nearest")
        if y.shape[-1] > 4:
            return y.mean((2, 3))
        return y.sum((2, 3))

    inputs = staticmethod(lambda seed: (rand(seed, 1, 2, 4, 4),))


class InterpolateScale(nn.Module):
    """The factor is read from the data: big objects are seen smaller."""

    def forward(self, x):
        scale = 0.5 if x.std() > 1 else 2.0
        y = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        return y, y.shape[-1]

    inputs = staticmethod(lambda seed: (rand(seed, 1, 2, 4, 4),))


class DynamicBatch(nn.Module):
    """Any number of rows."""

    DYNAMIC = {"x": {0: Dim("N", min=1, max=16)}}

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.relu(self.a(x))
        if h.mean() > 0.3:
            h = h * 2
        return self.b(h), x.shape[0]

    inputs = staticmethod(lambda seed: (rand(seed, 1 + seed % 5, 4),))


class DynamicLength(nn.Module):
    """A sequence of any length; the length itself decides."""

    PATHS = 3
    DYNAMIC = {"x": {1: Dim("T", min=1, max=32)}}

    def forward(self, x):
        n = x.shape[1]
        if n > 4:
            x = x[:, -4:]
        if x.sum() > 0:
            return x.cumsum(1), n
        return x.mean(1), n // 2

    inputs = staticmethod(lambda seed: (rand(seed, 2, 2 + seed % 6, 3),))


class DynamicTwo(nn.Module):
    """A dimension in each of two inputs."""

    DYNAMIC = ({0: Dim("N", min=1, max=8)}, {1: Dim("M", min=1, max=8)})

    def forward(self, x, table):
        scores = x @ table
        if scores.max() > 2:
            return scores.argmax(-1)
        return scores

    @staticmethod
    def inputs(seed):
        n, m = 2 + seed % 3, 3 + seed % 2
        return rand(seed, n, 4), rand(seed, 4, m)


class DynamicMask(nn.Module):
    """Boolean indexing in a batch of any size."""

    PATHS = 2
    DYNAMIC = {"x": {0: Dim("N", min=1, max=16)}}

    def __init__(self):
        super().__init__()
        self.expert = nn.Linear(3, 3)

    def forward(self, x):
        out = x.clone()
        hard = x.sum(-1) > 0
        if hard.any():
            out[hard] = self.expert(x[hard])
        return out

    inputs = staticmethod(lambda seed: (rand(seed, 1 + seed % 6, 3),))


class RepeatInterleave(nn.Module):
    """A length regulator (FastSpeech): each frame is repeated as often as predicted."""

    def forward(self, x, durations):
        out = torch.repeat_interleave(x, durations, dim=0)
        if out.shape[0] > 6:
            out = out[:6]
        return out

    inputs = staticmethod(lambda seed: (rand(seed, 3, 2), whole(seed, 0, 5, 3)))


class TrimPadding(nn.Module):
    """Columns that are padding in all rows are dropped."""

    def forward(self, ids, table):
        used = (ids != 0).any(0)
        n = used.nonzero().max() + 1 if used.any() else torch.tensor(1)
        ids = ids[:, : n.item()]
        return table[ids].sum(1)

    inputs = staticmethod(lambda seed: (whole(seed, 0, 4, 2, 5) * (torch.arange(5) < 1 + seed % 5) * (seed % 4 > 0), rand(seed, 4, 3)))


class EmptyBatch(nn.Module):
    """Works on what is left, which may be nothing."""

    def forward(self, x):
        kept = x[x.sum(-1) > 1]
        pooled = kept.mean(0) if len(kept) else x.new_zeros(x.shape[-1])
        return pooled, kept.shape[0]

    inputs = staticmethod(lambda seed: (rand(seed, 3, 2),))


class CropByBox(nn.Module):
    """A box of tensors as slice ends; torch asks for the layout of a crop on every path anew."""

    PATHS = 1

    def forward(self, x, box):
        x1, y1, x2, y2 = [int(v) for v in box]
        crop = x[:, :, y1 : y2 + 1, x1 : x2 + 1]
        return nn.functional.adaptive_avg_pool2d(crop, 1).flatten(1), crop.shape[-1]

    @staticmethod
    def inputs(seed):
        corner = whole(seed, 0, 3, 2)
        return (rand(seed, 1, 2, 6, 6), torch.cat([corner, corner + whole(seed, 0, 3, 2, salt=1)]))


class SelectBack(nn.Module):
    """roll, narrow and select at a number from a tensor, which may count from the end."""

    PATHS = 1

    def forward(self, x, n):
        k = n.item()
        return torch.roll(x, k, 0).flip(0), torch.narrow(x, 0, k, 2), x.select(0, k), torch.zeros(n, 2), x.new_ones((n, n))

    @staticmethod
    def inputs(seed):
        return (rand(seed, 6, 2), torch.tensor(seed % 4))


def some(seed, n):
    """float32 [n], of which seed % (n + 1) are positive."""
    signs = torch.where(torch.arange(n) < seed % (n + 1), 1.0, -1.0)
    return (rand(seed, n).abs() + 0.1) * signs.roll(seed)


class SqueezedIndices(nn.Module):
    """`nonzero().squeeze()`: one index alone is a number, not a list of one."""

    def forward(self, x):
        i = (x > 0).nonzero().squeeze()
        if i.numel() == 0:
            return x.sum(), i.dim()
        return x.index_select(0, i), i.dim()

    inputs = staticmethod(lambda seed: (some(seed, 4),))


class OneBroadcasts(nn.Module):
    """What a mask leaves is combined with a fixed size: right for one element, an error for other numbers of them."""

    def forward(self, x, y):
        return torch.where(y > 0, x[x > 0] * y, y)

    inputs = staticmethod(lambda seed: (some(seed, 3), rand(seed, 3)))


class TwoMasks(nn.Module):
    """Two sizes that data decide, each of which broadcasts where it is 1."""

    def forward(self, x, y):
        a, b = x[x > 0], y[y > 0]
        both = a + b
        both = both - a
        return both, (b[:, None] * both).sum()

    inputs = staticmethod(lambda seed: (some(seed, 3), some(seed // 4, 3)))


class OntoAFixedSize(nn.Module):
    """expand, a write through a slice and matmul's leading dimensions, onto sizes that stay."""

    def forward(self, x):
        a = x[x > 0]
        y = torch.zeros(3)
        y[:] = a
        return y, a.expand(2, 3), torch.matmul(a[:, None, None].expand(-1, 2, 2), torch.ones(3, 2, 2))

    inputs = staticmethod(lambda seed: (some(seed, 3),))


class EmptyMaximum(nn.Module):
    """The largest of nothing is an error, as is the first of nothing."""

    def forward(self, x, which):
        a = x[x > 0]
        if which.item() > 0:
            return a.max(), a[:, None].min(0)
        return a[0], a.argmax()

    inputs = staticmethod(lambda seed: (some(seed, 3), rand(seed, 1)))


class WrittenByIndex(nn.Module):
    """`x[i] = v`: v has as many elements as i, or one."""

    def forward(self, x, y):
        z = torch.zeros(4)
        z[(x > 0).nonzero()[:, 0]] = y[y > 0]
        return z

    inputs = staticmethod(lambda seed: (some(seed, 3), some(seed // 4, 3)))


class Padded(nn.Module):
    """Padding, pad_sequence and interpolation of sizes that data decide."""

    def forward(self, x):
        a = torch.cat([x[x > 0], x[:1]])
        rows = nn.utils.rnn.pad_sequence([a, x, a[:1]], batch_first=True)
        return nn.functional.pad(a, (1, 2)), rows, nn.functional.interpolate(a[None, None], scale_factor=2.0)

    inputs = staticmethod(lambda seed: (some(seed, 3),))


class SizesReturned(nn.Module):
    """torch.Size and torch's own named tuples are what they are in eager."""

    PATHS = 1

    def forward(self, x):
        a = x[x > 0]
        return a.shape, x.shape, torch.max(x, 0), a[:, None].size()

    inputs = staticmethod(lambda seed: (some(seed, 3),))


class OneMaskTwice(nn.Module):
    """One mask chooses as many of each; a write to it between is another mask."""

    def forward(self, x, y, again):
        m = x > 0
        a, b = x[m], y[m]
        if again.item() > 0:
            m[0] = True
            return a - b, y[m], m.nonzero()
        return (a - b).sum(), a.shape[0] == b.shape[0]

    inputs = staticmethod(lambda seed: (some(seed, 3), rand(seed, 3), rand(seed, 1)))


class RecurrentOverKept(nn.Module):
    """Layers and cells on as many rows as a mask keeps, as a batch and as a sequence."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(4, 3, 2, bidirectional=True), nn.GRU(4, 3, batch_first=True)
        self.rnn = nn.RNN(4, 3, nonlinearity="relu")
        self.cells = nn.ModuleList([nn.LSTMCell(4, 4), nn.GRUCell(4, 4), nn.RNNCell(4, 4)])

    def forward(self, x):
        kept, other = x[x.sum(1) > 0], x[x[:, 0] > 0]
        if len(kept) < 2:
            return self.cells[1](kept, kept * 0.5), self.rnn(kept[None])[0]
        h, _ = self.cells[0](kept, (kept, kept * 2))
        return self.lstm(kept), self.gru(kept[:, None]), self.gru(kept[None])[0], self.cells[2](h), self.cells[1](kept, other)

    inputs = staticmethod(lambda seed: (rand(seed, 5, 4) + (seed % 3 - 1) / 2,))


class RecurrentDynamic(nn.Module):
    """A batch and a length that the caller may change."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        y, (h, _) = self.lstm(x)
        return y[:, -1] if y.sum() > 0 else h

    inputs = staticmethod(lambda seed: (rand(seed, 2 + seed % 3, 1 + seed % 4, 4),))
    DYNAMIC = ({0: Dim("batch", min=1, max=8), 1: Dim("length", min=1, max=8)},)


class PlacedByData(nn.Module):
    """Tensors of fixed sizes whose place or strides in memory data decide, into an operator that torch makes of others."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Bilinear(4, 4, 3)

    def forward(self, x):
        kept = x.t()[:, x[:, 0] > 0]
        row = x[int((x[:, 1] > 0).sum()) % 5]
        return self.mix(row, kept[:, -1] if kept.shape[1] > 0 else row)

    inputs = staticmethod(lambda seed: (rand(seed, 5, 4) + (seed % 3 - 1),))


class PooledToASize(nn.Module):
    """A retina's patches of growing size, each pooled to one size by a factor that depends on the data: Mnih et al. 2014."""

    PATHS = 3

    def forward(self, x):
        patches, size = [], 2
        at = int(x.abs().sum().item()) % 3
        for _ in range(at + 1):
            patch = x[..., at : at + size, at : at + size].contiguous()
            patches.append(F.avg_pool2d(patch, max(patch.shape[-1] // 2, 1)).flatten(1))
            size = min(size * 2, 8 - at)
        return torch.cat(patches, 1), F.avg_pool2d(x, at + 1), torch.hann_window(at + 2)

    inputs = staticmethod(lambda seed: (rand(seed, 1, 2, 8, 8),))


class PlacesKeepTheirDimension(nn.Module):
    """`x[i : i + 1]` of a place that `argmax`, `sort` or `nonzero` gave has one row: contrastive search picks its hidden state so."""

    DYNAMIC = {"x": {0: torch.export.Dim("T", min=3, max=16)}}

    def forward(self, x):
        i = int(x.sum(1).argmax())
        best = torch.cat([x[i : i + 1], x])
        order = x[:, 0].sort()[1]
        rows = [best[k : k + 1] for k in order[:2].tolist()]
        column = (x[-1] > 0).nonzero()[:, 0]
        for c in column.tolist():
            if x[:, c : c + 1].sum() > 1:
                rows.append(x[:1] * c)
        return best, rows, x[i + 1 : i + 2].shape[0]

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3 + seed % 4, 3),)


class PlacesMoved(nn.Module):
    """Places that are written before they are read, or between two turns, may lie anywhere."""

    def forward(self, x, n):
        place = x.argmax(0)
        found = []
        for _ in range(int(n)):
            i = place[0].item()
            found.append(x[i : i + 1].sum())
            place.add_(2)
        best = x.flatten().topk(2)[1]
        second = best[1:]
        best.mul_(3)
        k = second.item()
        inside = torch.where(x[:, 0] > 0, x.max(1)[1] % 2, 7)[1].item()
        try:
            row = x[inside]
        except IndexError:
            row = x[0]
        return found, x.flatten()[k : k + 1], row, inside

    @staticmethod
    def inputs(seed):
        return rand(seed, 6, 3), torch.tensor(seed % 7)
