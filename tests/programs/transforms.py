# ruff: noqa: B007 (written as users write)
"""torch.func inside forward: vmap, gradients, Jacobian products and functional calls between decisions."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand
from torch.func import functional_call, grad, grad_and_value, hessian, jvp, stack_module_state, vmap


class Ensemble(nn.Module):
    """Members with stacked weights, one call for all."""

    def __init__(self):
        super().__init__()
        self.members = nn.ModuleList(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(3))

    def forward(self, x):
        params, buffers = stack_module_state(list(self.members))
        y = vmap(lambda p, b, x: functional_call(self.members[0], (p, b), (x,)), in_dims=(0, 0, None))(params, buffers, x)
        if y.std(0).max() > 0.3:
            return y.mean(0), True
        return y[0], False

    inputs = staticmethod(lambda seed: (rand(seed, 4, 3) * (1 + seed % 3),))


class AdaptSteps(nn.Module):
    """Gradient steps on the weights until the loss is small."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x):
        weights = dict(self.net.named_parameters())
        for step in range(3):
            gradients, loss = grad_and_value(lambda w: F.mse_loss(functional_call(self.net, w, (x,)), x[:, :1]))(weights)
            if loss < 0.6:
                break
            weights = {k: v - 0.1 * gradients[k] for k, v in weights.items()}
        return functional_call(self.net, weights, (x,)), loss, step

    inputs = staticmethod(lambda seed: (rand(seed, 4, 3),))


class PerSample(nn.Module):
    """A gradient for each row that a mask keeps, and random numbers of their own."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.arange(9.0).view(3, 3) / 9)

    def forward(self, x):
        kept = x[x.sum(1) > 0]
        if len(kept) == 0:
            return x
        slopes = vmap(grad(lambda r: torch.softmax(self.w @ r, 0).max()))(kept)
        return slopes, vmap(lambda r: r + torch.rand(3), randomness="different")(x)

    inputs = staticmethod(lambda seed: (rand(seed, 3, 3) - seed % 2,))


class Curvature(nn.Module):
    """A Newton step where the curvature allows it, along a direction otherwise."""

    def forward(self, x):
        def f(v):
            return (v**4).sum() - (v**2).sum()

        h = hessian(f)(x)
        if torch.linalg.det(h) > 1:
            return x - torch.linalg.solve(h, grad(f)(x))
        value, slope = jvp(f, (x,), (torch.ones(3),))
        return x - slope * 0.1, value

    inputs = staticmethod(lambda seed: (rand(seed, 3),))
