"""Recurrent networks over packed sequences, whose lengths are data."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence, unpack_sequence


class Packed(nn.Module):
    PATHS = 1

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(5, 3, batch_first=True)

    @staticmethod
    def inputs(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(4, 6, 5, generator=generator), torch.randint(1, 7, (4,), generator=generator)


class PackedLstm(Packed):
    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, (h, c) = self.rnn(packed)
        out, lengths = pad_packed_sequence(out, batch_first=True)
        return out, h, c, lengths


class PackedDynamic(PackedLstm):
    PATHS = 1
    DYNAMIC = ({0: torch.export.Dim("B", min=2, max=9), 1: torch.export.Dim("T", min=2, max=9)}, {0: torch.export.Dim("B", min=2, max=9)})

    @staticmethod
    def inputs(seed):
        generator = torch.Generator().manual_seed(seed)
        batch, steps = 2 + seed % 5, 2 + seed % 7
        return torch.randn(batch, steps, 5, generator=generator), torch.randint(1, steps + 1, (batch,), generator=generator)


class PackedGruSorted(Packed):
    PATHS = 2

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(5, 3, num_layers=2, bidirectional=True)

    def forward(self, x, lengths):
        lengths, order = lengths.sort(descending=True)
        packed = pack_padded_sequence(x[order].transpose(0, 1), lengths.tolist())
        out, h = self.rnn(packed)
        out, lengths = pad_packed_sequence(out, total_length=6, padding_value=-1.0)
        if x.sum() > 0:
            return out[lengths - 1, torch.arange(4)]
        return h[-1]


class PackedDataTouched(Packed):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.RNN(5, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x, lengths):
        out, h = self.rnn(pack_padded_sequence(x, lengths, True, False))
        scored = PackedSequence(self.head(out.data).relu(), out.batch_sizes, out.sorted_indices, out.unsorted_indices)
        y, lengths = pad_packed_sequence(scored, batch_first=True)
        mask = torch.arange(y.size(1))[None] < lengths[:, None]
        return (y * mask[..., None]).sum(1), scored


class PackedStaticLengths(Packed):
    def forward(self, x, lengths):
        out, (h, c) = self.rnn(pack_sequence([x[0, :3], x[1, :2], x[2, :2]]))
        out, lengths = pad_packed_sequence(out, batch_first=True)
        return out, h, lengths


class PackedTwice(Packed):
    PATHS = 2

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, state = self.rnn(packed, (torch.ones(1, 4, 3), torch.zeros(1, 4, 3)))
        if state[0].sum() > 0:
            out, state = self.rnn(packed, state)
        return [rows.sum(0) for rows in unpack_sequence(out)], state[0]


class PackedRows(Packed):
    PATHS = 2

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(5, 3, bidirectional=True, proj_size=2, num_layers=2)

    def forward(self, x, lengths):
        rows = [x[k, :n] for k, n in enumerate(lengths.tolist())]
        out, (h, c) = self.rnn(pack_sequence(rows, enforce_sorted=False))
        return pad_packed_sequence(out)[0].sum(), h


class PackedGruRows(Packed):
    """As many sequences as data decide."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(5, 3, batch_first=True)

    def forward(self, x, lengths):
        long = (lengths > 4).nonzero().squeeze(1)
        if len(long) == 0:
            return x.mean()
        return self.rnn(pack_padded_sequence(x[long], lengths[long], batch_first=True, enforce_sorted=False))[1]


class PackedUnsorted(Packed):
    """torch itself refuses lengths that are not sorted."""

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        return packed.data, packed.batch_sizes


class PackedEmptyCaught(Packed):
    PATHS = 2

    def forward(self, x, lengths):
        try:
            return self.rnn(pack_padded_sequence(x, lengths - 1, batch_first=True, enforce_sorted=False))[1][0]
        except RuntimeError:
            return x.sum()
