"""BlockDrop on FlatResNet-32: BlockDrop: Dynamic Inference Paths in Residual Networks (Wu et al., CVPR 2018).

A small policy network looks at the image once and says for every residual block whether it runs.
Random seeded weights.
"""

import torch
import torch.nn.functional as F
from torch import nn

from dync.models.untrained import images, seeded, settle_batchnorm


class BasicBlock(nn.Module):
    """The residual branch alone; the sum and the ReLU are the network's."""

    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x):
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class DownsampleB(nn.Module):
    """Halve the image by pooling, double the channels with zeros."""

    def forward(self, x):
        x = F.avg_pool2d(x, 2)
        return torch.cat((x, torch.zeros_like(x)), 1)


class FlatResNet(nn.Module):
    """A CIFAR ResNet whose blocks stand in a nested list, so that each can be dropped."""

    def __init__(self, layer_config, num_classes=10, width=16):
        super().__init__()
        self.layer_config = layer_config
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList()
        self.ds = nn.ModuleList()
        inplanes = width
        for idx, num_blocks in enumerate(layer_config):
            planes, stride = width * 2**idx, 1 if idx == 0 else 2
            self.ds.append(nn.Identity() if idx == 0 else DownsampleB())
            blocks = [BasicBlock(inplanes, planes, stride)] + [BasicBlock(planes, planes) for _ in range(1, num_blocks)]
            self.blocks.append(nn.ModuleList(blocks))
            inplanes = planes
        self.fc = nn.Linear(inplanes, num_classes)

    def seed(self, x):
        return F.relu(self.bn1(self.conv1(x)))

    def head(self, x):
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))

    def forward(self, x):
        x = self.seed(x)
        for segment, blocks in enumerate(self.blocks):
            for b, block in enumerate(blocks):
                residual = self.ds[segment](x) if b == 0 else x
                x = F.relu(residual + block(x))
        return self.head(x)

    def forward_policy(self, x, policy):
        """Run only the blocks whose entry in `policy` [blocks] is one."""
        x = self.seed(x)
        t = 0
        for segment, num_blocks in enumerate(self.layer_config):
            for b in range(num_blocks):
                residual = self.ds[segment](x) if b == 0 else x
                if policy[t] == 1:
                    x = F.relu(residual + self.blocks[segment][b](x))
                else:
                    x = residual
                t += 1
        return self.head(x)


class BlockDrop(nn.Module):
    """Input float32 [1, 3, 32, 32] → (logits [1, classes], policy float32 [1, blocks])."""

    def __init__(self, layer_config=(5, 5, 5), num_classes=10):
        super().__init__()
        self.rnet = FlatResNet(layer_config, num_classes)
        self.agent = FlatResNet((1, 1, 1), num_classes=sum(layer_config))

    def forward(self, x):
        probs = torch.sigmoid(self.agent(x))
        policy = torch.zeros_like(probs)
        policy[probs >= 0.5] = 1.0
        policy[probs < 0.5] = 0.0
        return self.rnet.forward_policy(x, policy.squeeze(0)), policy


def build():
    """BlockDrop with 15 blocks and a policy network of 3."""
    with seeded(32):
        model = BlockDrop().eval()
    settle_batchnorm(model.agent, varied_inputs())
    settle_batchnorm(model.rnet, varied_inputs())
    with torch.no_grad():
        outputs = torch.cat([model.agent(x) for (x,) in varied_inputs()])
        model.agent.fc.weight.div_(outputs.std(0)[:, None])
        model.agent.fc.bias.copy_((model.agent.fc.bias - outputs.quantile(0.5, dim=0)) / outputs.std(0))
    return model


def example_inputs():
    return (images(1, seed=32)[0],)


def varied_inputs():
    """Argument tuples that take different paths."""
    return [(x,) for x in images(16, seed=32)]
