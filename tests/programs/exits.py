# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Early exits, with every structure that a model may return."""

import collections
import dataclasses
from typing import NamedTuple, Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand


class Backbone(nn.Module):
    """Four layers with a head behind each."""

    def __init__(self, dim=8, classes=3, depth=4):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
        self.heads = nn.ModuleList(nn.Linear(dim, classes) for _ in range(depth))

    @staticmethod
    def inputs(seed):
        return (rand(seed, 1, 8) * 2,)


class ExitTensor(Backbone):
    PATHS = 3

    def forward(self, x):
        for layer, head in zip(self.layers, self.heads):
            x = torch.relu(layer(x))
            logits = head(x)
            if logits.softmax(dim=-1).max() > 0.5:
                return logits
        return logits


class ExitTuple(Backbone):
    PATHS = 3

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = torch.tanh(layer(x))
            probs = F.softmax(self.heads[i](x), dim=-1)
            confidence = probs.max().item()
            if confidence > 0.45:
                return probs, i, confidence
        return probs, -1, None


class ExitList(Backbone):
    """One more element for every layer that ran."""

    PATHS = 3

    def forward(self, x):
        outputs = []
        for layer, head in zip(self.layers, self.heads):
            x = torch.relu(layer(x))
            outputs.append(head(x))
            if outputs[-1].max() > 0.5:
                break
        return outputs


class ExitDict(Backbone):
    PATHS = 2

    def forward(self, x):
        result = {}
        for i, (layer, head) in enumerate(zip(self.layers, self.heads)):
            x = torch.relu(layer(x))
            result[f"exit_{i}"] = head(x)
            if x.mean() > 0.25:
                result["stopped"] = True
                return result
        result["stopped"] = False
        result["features"] = x
        return result


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    layer: int
    hidden: Optional[torch.Tensor] = None


class ExitDataclass(Backbone):
    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            logits = self.heads[i](x)
            if logits.std() > 0.6:
                return Output(logits=logits, layer=i)
        return Output(logits, len(self.layers), hidden=x)


class Decision(NamedTuple):
    logits: torch.Tensor
    depth: int
    path: list


class ExitNamedTuple(Backbone):
    def forward(self, x):
        path = []
        for i, layer in enumerate(self.layers):
            x = layer(x).relu()
            path.append("wide" if x.sum() > 3 else "narrow")
            if (logits := self.heads[i](x)).argmax(-1).item() == 2:
                return Decision(logits, i, path)
        return Decision(logits, i + 1, path)


class ExitNone(Backbone):
    def forward(self, x):
        h = self.layers[0](x)
        if h.sum() < 0:
            return None
        if h.max() > 2.0:
            return
        return self.heads[0](h)


class ExitNumbers(Backbone):
    """Another Python type on every path."""

    PATHS = 5

    def forward(self, x):
        s = x.sum()
        if s > 4:
            return True
        if s > 1:
            return s.item()
        if s > 0:
            return "small"
        if s > -3:
            return int(x.argmax())
        return 2.5


class ExitNested(Backbone):
    def forward(self, x):
        h = self.layers[0](x)
        if h.mean() > 0:
            return [(h, {"a": [h * 2, 1]}), "first"]
        h = self.layers[1](h)
        if h.mean() > 0:
            return [(h, {"a": [h * 2], "b": ()}), None]
        return [(h,), {}]


class ExitOrderedDict(Backbone):
    def forward(self, x):
        result = collections.OrderedDict()
        result["x"] = x
        if x.mean() > 0:
            result["y"] = self.layers[0](x)
        result["z"] = x - 1
        if x.max() > 2:
            result.move_to_end("x")
        return result


class ExitDefaultDict(Backbone):
    def forward(self, x):
        groups = collections.defaultdict(list)
        for layer in self.layers[:3]:
            x = layer(x)
            groups["high" if x.sum() > 0 else "low"].append(x)
        return groups


class ExitShapes(Backbone):
    """Results of different rank and size."""

    def forward(self, x):
        h = self.layers[0](x)
        if h.sum() > 1:
            return h
        elif h.sum() > -1:
            return h.squeeze(0)[:3]
        return h.sum()


class ExitDtypes(Backbone):
    def forward(self, x):
        h = self.layers[0](x)
        if h.sum() > 1:
            return h.argmax(-1)
        if h.sum() > -1:
            return h > 0
        return h.double()


class Confident(Exception):
    def __init__(self, message, exit_layer):
        super().__init__(message, exit_layer)
        self.message = message
        self.exit_layer = exit_layer


class HighwayEncoder(nn.Module):
    """DeeBERT: the encoder leaves by an exception that the model catches two levels up."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.highways = nn.ModuleList(nn.Linear(8, 3) for _ in range(4))
        self.threshold = [1.0, 1.03, 1.06, 1.07]

    def forward(self, hidden):
        all_highway = ()
        for i, layer in enumerate(self.layers):
            hidden = torch.tanh(layer(hidden))
            logits = self.highways[i](hidden)
            probs = logits.softmax(-1)
            entropy = -(probs * probs.log()).sum()
            all_highway = all_highway + (logits,)
            if entropy < self.threshold[i]:
                raise Confident((logits,) + all_highway, i + 1)
        return hidden, all_highway


class EncoderModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 8)
        self.encoder = HighwayEncoder()

    def forward(self, x):
        return self.encoder(self.embed(x))


class ExitByException(nn.Module):
    PATHS = 2

    def __init__(self):
        super().__init__()
        self.bert = EncoderModel()
        self.classifier = nn.Linear(8, 3)

    def forward(self, x):
        exit_layer = 4
        try:
            hidden, highways = self.bert(x)
            outputs = (self.classifier(hidden),) + highways
        except Confident as e:
            outputs = e.message
            exit_layer = e.exit_layer
        return outputs[0], len(outputs), exit_layer

    @staticmethod
    def inputs(seed):
        return (rand(seed, 1, 8) * 2,)


class Patience(Backbone):
    """Stops when consecutive heads agree often enough (PABEE)."""

    PATHS = 3

    def __init__(self, patience=2):
        super().__init__(depth=6)
        self.patience = patience

    def forward(self, x):
        counter = 0
        previous = None
        used = 0
        for layer, head in zip(self.layers, self.heads):
            used += 1
            x = torch.tanh(layer(x))
            logits = head(x)
            labels = logits.detach().argmax(dim=1)
            if previous is not None:
                patient_labels = previous.detach().argmax(dim=1)
            if (previous is not None) and torch.all(labels.eq(patient_labels)):
                counter += 1
            else:
                counter = 0
            previous = logits
            if counter == self.patience:
                break
        return logits, used


class PatienceRegression(Backbone):
    """The counter is a float and the tolerance an argument."""

    def forward(self, x, tolerance=0.1):
        streak, last = 0.0, None
        for layer, head in zip(self.layers, self.heads):
            x = torch.tanh(layer(x))
            value = head(x)[0, 0].item()
            if last is not None and abs(value - last) < tolerance:
                streak += 1
            else:
                streak = 0.0
            last = value
            if streak >= 2:
                break
        return value, streak


class ExitInHelper(Backbone):
    """The exit is in a method that says so by its return value."""

    def _try_exit(self, x, head, layer):
        logits = head(x)
        if logits.max() - logits.min() > 0.8:
            return logits, True
        return None, False

    def forward(self, x):
        for i, (layer, head) in enumerate(zip(self.layers, self.heads)):
            x = F.gelu(layer(x))
            logits, done = self._try_exit(x, head, i)
            if done:
                return {"logits": logits, "depth": i}
        return {"logits": self.heads[-1](x), "depth": len(self.layers)}


class ExitWithInput(Backbone):
    """One path gives the very tensor back that came in."""

    def forward(self, x):
        if x.abs().max() < 1.5:
            return x
        return torch.clamp(x, -1.5, 1.5)


class ExitPerSample(Backbone):
    """Leaves when all rows of the batch are sure; which were is part of the result."""

    PATHS = 2

    def forward(self, x):
        for layer, head in zip(self.layers, self.heads):
            x = torch.relu(layer(x))
            probs = head(x).softmax(-1)
            sure = probs.amax(-1) > 0.4
            if sure.all():
                break
        return probs, sure

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 8) * 2,)


class ExitThresholdParam(Backbone):
    """The threshold is a run-time parameter."""

    PARAMS = {"threshold": (0.5, 0.0, 1.0)}

    def __init__(self):
        super().__init__()
        self.threshold = 0.5

    def forward(self, x):
        for i, (layer, head) in enumerate(zip(self.layers, self.heads)):
            x = torch.relu(layer(x))
            logits = head(x)
            if logits.softmax(-1).max().item() >= self.threshold:
                return {"logits": logits, "exit": i}
        return {"logits": logits, "exit": None}


class ExitModelOutput(Backbone):
    """Hidden states are collected, then handed out as a tuple, or left out."""

    def forward(self, x, output_hidden_states=True):
        all_hidden = () if output_hidden_states else None
        for layer in self.layers:
            if output_hidden_states:
                all_hidden = all_hidden + (x,)
            x = torch.relu(layer(x))
            if not x.any():
                break
            if x.norm() < 0.7:
                return {"last": x, "hidden": all_hidden}
        if output_hidden_states:
            all_hidden += (x,)
        return {"last": self.heads[-1](x), "hidden": all_hidden}
