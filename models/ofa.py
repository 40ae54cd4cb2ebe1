"""Once-for-all: Train One Network and Specialize it for Efficient Deployment (Cai et al., ICLR 2020).

A supernet of inverted residual blocks in which depth, expansion and kernel size of each stage are a configuration: a
sub-network slices the shared weights; a smaller kernel is the centre of the larger one through a learned
transformation. Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import images, seeded, settle_batchnorm


class DynamicPointConv(nn.Module):
    """1x1 convolution that uses the first channels of its weight."""

    def __init__(self, max_in, max_out):
        super().__init__()
        self.conv = nn.Conv2d(max_in, max_out, 1, bias=False)
        self.active_out_channel = max_out

    def forward(self, x, out_channel=None):
        if out_channel is None:
            out_channel = self.active_out_channel
        return F.conv2d(x, self.conv.weight[:out_channel, : x.size(1)])


class DynamicDepthwiseConv(nn.Module):
    """Depthwise convolution of kernel 3, 5 or 7 out of one weight of 7."""

    def __init__(self, max_channels, stride):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(max_channels, 1, 7, 7) * 0.2)
        self.to_5 = nn.Parameter(torch.eye(25))
        self.to_3 = nn.Parameter(torch.eye(9))
        self.active_kernel_size = 7

    def filters(self, channels, kernel_size):
        weight = self.weight[:channels]
        if kernel_size < 7:
            weight = (weight[:, :, 1:6, 1:6].reshape(-1, 25) @ self.to_5).view(channels, 1, 5, 5)
        if kernel_size < 5:
            weight = (weight[:, :, 1:4, 1:4].reshape(-1, 9) @ self.to_3).view(channels, 1, 3, 3)
        return weight

    def forward(self, x):
        channels, k = x.size(1), self.active_kernel_size
        return F.conv2d(x, self.filters(channels, k), None, self.stride, k // 2, 1, channels)


class DynamicBatchNorm2d(nn.Module):
    """Batch norm of the first channels."""

    def __init__(self, max_channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(max_channels)

    def forward(self, x):
        bn, c = self.bn, x.size(1)
        if bn.num_features == c:
            return bn(x)
        return F.batch_norm(x, bn.running_mean[:c], bn.running_var[:c], bn.weight[:c], bn.bias[:c], False, 0.1, bn.eps)


class DynamicMBConv(nn.Module):
    """Expand, depthwise, project; the expansion and the kernel are active values."""

    def __init__(self, inp, out, stride, max_expand):
        super().__init__()
        self.inp = inp
        self.expand_conv = DynamicPointConv(inp, inp * max_expand)
        self.expand_bn = DynamicBatchNorm2d(inp * max_expand)
        self.depth_conv = DynamicDepthwiseConv(inp * max_expand, stride)
        self.depth_bn = DynamicBatchNorm2d(inp * max_expand)
        self.point_conv = DynamicPointConv(inp * max_expand, out)
        self.point_bn = DynamicBatchNorm2d(out)
        self.active_expand = max_expand
        self.residual = stride == 1 and inp == out

    def forward(self, x):
        self.expand_conv.active_out_channel = self.inp * self.active_expand
        y = F.hardswish(self.expand_bn(self.expand_conv(x)))
        y = F.hardswish(self.depth_bn(self.depth_conv(y)))
        y = self.point_bn(self.point_conv(y))
        return x + y if self.residual else y


class OFANet(nn.Module):
    """Input float32 [n, 3, r, r], r any multiple of 8 → logits [n, classes]; `set_active` picks the sub-network."""

    def __init__(self, widths=(16, 24, 32, 48), max_depth=4, max_expand=6, num_classes=10):
        super().__init__()
        self.max_depth = max_depth
        self.first_conv = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.Hardswish())
        self.blocks = nn.ModuleList()
        self.block_group_info = []
        channels = widths[0]
        for out in widths[1:]:
            self.block_group_info.append(list(range(len(self.blocks), len(self.blocks) + max_depth)))
            for i in range(max_depth):
                self.blocks.append(DynamicMBConv(channels, out, 2 if i == 0 else 1, max_expand))
                channels = out
        self.runtime_depth = [max_depth] * len(self.block_group_info)
        self.classifier = nn.Linear(channels, num_classes)

    def set_active(self, kernel_size=7, expand=6, depth=4):
        """Each value for all, or a list: kernel and expansion by block, depth by stage."""
        n = len(self.blocks)
        kernels = [kernel_size] * n if isinstance(kernel_size, int) else kernel_size
        expands = [expand] * n if isinstance(expand, int) else expand
        for block, k, e in zip(self.blocks, kernels, expands):
            block.depth_conv.active_kernel_size = k
            block.active_expand = e
        self.runtime_depth = [depth] * len(self.runtime_depth) if isinstance(depth, int) else list(depth)

    def forward(self, x):
        x = self.first_conv(x)
        for stage_id, block_idx in enumerate(self.block_group_info):
            depth = self.runtime_depth[stage_id]
            for idx in block_idx[:depth]:
                x = self.blocks[idx](x)
        return self.classifier(x.mean(dim=(2, 3)))


CONFIGURATIONS = (
    {"kernel_size": 7, "expand": 6, "depth": 4},
    {"kernel_size": 3, "expand": 3, "depth": 2},
    {"kernel_size": [3, 5, 7, 5] * 3, "expand": [3, 4, 6, 4] * 3, "depth": [2, 3, 4]},
)


def build(configuration=2):
    """The supernet with one of CONFIGURATIONS active."""
    with seeded(77):
        model = OFANet().eval()
    settle_batchnorm(model, varied_inputs())
    model.set_active(**CONFIGURATIONS[configuration])
    return model


def example_inputs():
    return (images(1, size=48, seed=77)[0],)


def varied_inputs():
    """Argument tuples; the path is the configuration's alone, not the data's."""
    return [(x,) for x in images(4, size=48, seed=77)]
