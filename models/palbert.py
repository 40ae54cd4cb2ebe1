"""PALBERT: Teaching ALBERT to Ponder (Balagansky and Gavrilov, NeurIPS 2022).

After every application of the shared layer a small network predicts the probability of stopping there, given that it
has not stopped before. Q-exit: stop at the first layer where the cumulative probability passes q, deterministically.
In training the exits' logits come with their probabilities. Random seeded weights.
"""

import torch
from torch import nn

from dync.models.albert import AlbertModel, sentences
from dync.models.untrained import balance, seeded


class LambdaLayer(nn.Module):
    """Three layers: current and previous hidden state [n, h] each → probability [n, 1]."""

    def __init__(self, hidden_size):
        super().__init__()
        self.dense = nn.Linear(2 * hidden_size, hidden_size)
        self.middle = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, current, previous):
        x = torch.tanh(self.dense(torch.cat((current, previous), dim=-1)))
        return torch.sigmoid(self.output(torch.tanh(self.middle(x))))


class PAlbert(AlbertModel):
    """Token ids int64 [1, s] → {"logits": [1, labels], "layers": int, "cumulative": [1, 1]}; `q` is a run-time threshold."""

    def __init__(self, num_labels=2, q=0.5, **config):
        super().__init__(**config)
        hidden_size = self.pooler.out_features
        self.q = q
        self.lambda_layer = LambdaLayer(hidden_size)
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, input_ids, token_type_ids=None):
        hidden = self.embed(input_ids, token_type_ids)
        if self.training:
            return self.forward_train(hidden)

        previous = hidden[:, 0]
        not_stopped = torch.ones(input_ids.size(0), 1)
        cumulative = torch.zeros(input_ids.size(0), 1)
        n = 0
        for n in range(1, self.num_hidden_layers + 1):
            hidden = self.layer(hidden)
            current = hidden[:, 0]
            lam = self.lambda_layer(current, previous)
            cumulative = cumulative + not_stopped * lam
            not_stopped = not_stopped * (1 - lam)
            previous = current
            if cumulative >= self.q:
                break
        return {"logits": self.classifier(self.pool(hidden)), "layers": n, "cumulative": cumulative}

    def forward_train(self, hidden):
        probabilities, outputs = [], []
        previous, not_stopped = hidden[:, 0], 1.0
        for i in range(self.num_hidden_layers):
            hidden = self.layer(hidden)
            current = hidden[:, 0]
            lam = self.lambda_layer(current, previous) if i < self.num_hidden_layers - 1 else torch.ones(len(hidden), 1)
            probabilities.append(not_stopped * lam)
            not_stopped = not_stopped * (1 - lam)
            previous = current
            outputs.append(self.classifier(self.pool(hidden)))
        return torch.stack(outputs), torch.cat(probabilities, dim=1)


def build(q=0.5):
    """12 layers at most, about six on random sentences."""
    with seeded(18):
        model = PAlbert(q=q).eval()
    balance(model, [model.lambda_layer.output], varied_inputs())
    with torch.no_grad():
        model.lambda_layer.output.bias.sub_(2.0)
    return model


def example_inputs():
    return (sentences(1, seed=18)[0],)


def varied_inputs():
    """Argument tuples that stop after different layers."""
    return [(x,) for x in sentences(32, seed=18)]
