"""PABEE on ALBERT: BERT Loses Patience: Fast and Robust Inference with Early Exit (Zhou et al., NeurIPS 2020).

A classifier after every layer; inference stops once `patience` classifiers in a row agree (classification), or differ
by less than a threshold (regression). Random seeded weights.
"""

import torch
from torch import nn

from dync.models.albert import AlbertModel, sentences
from dync.models.untrained import seeded


class AlbertWithPabee(AlbertModel):
    """The encoder that yields logits and the number of layers that it ran. `patience` 0 runs all of them."""

    def __init__(self, num_labels=3, patience=3, regression_threshold=0.1, **config):
        super().__init__(**config)
        self.num_labels = num_labels
        self.patience = patience
        self.regression_threshold = regression_threshold
        self.output_layers = nn.ModuleList(nn.Linear(self.pooler.out_features, num_labels) for _ in range(self.num_hidden_layers))

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        hidden = self.embed(input_ids, token_type_ids)
        if attention_mask is not None:
            attention_mask = self.extended_mask(attention_mask, hidden.dtype)

        if self.training:
            res = []
            for i in range(self.num_hidden_layers):
                hidden = self.layer(hidden, attention_mask)
                res.append(self.output_layers[i](self.pool(hidden)))
            return res

        if self.patience == 0:
            for _ in range(self.num_hidden_layers):
                hidden = self.layer(hidden, attention_mask)
            return self.output_layers[-1](self.pool(hidden)), self.num_hidden_layers

        patient_counter = 0
        patient_result = None
        calculated_layer_num = 0
        for i in range(self.num_hidden_layers):
            calculated_layer_num += 1
            hidden = self.layer(hidden, attention_mask)
            logits = self.output_layers[i](self.pool(hidden))
            if self.num_labels == 1:
                if patient_result is not None and torch.all(torch.abs(patient_result - logits) < self.regression_threshold):
                    patient_counter += 1
                else:
                    patient_counter = 0
            else:
                labels = logits.detach().argmax(dim=1)
                if patient_result is not None:
                    patient_labels = patient_result.detach().argmax(dim=1)
                if (patient_result is not None) and torch.all(labels.eq(patient_labels)):
                    patient_counter += 1
                else:
                    patient_counter = 0
            patient_result = logits
            if patient_counter == self.patience:
                break
        return patient_result, calculated_layer_num


class PabeeForSequenceClassification(nn.Module):
    """Token ids int64 [n, s] → (logits [n, labels], layers run)."""

    def __init__(self, **config):
        super().__init__()
        self.albert = AlbertWithPabee(**config)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        return self.albert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)


def build(num_labels=3, patience=3, **config):
    """12 applications of one layer; the classifiers differ enough to disagree."""
    with seeded(17):
        model = PabeeForSequenceClassification(num_labels=num_labels, patience=patience, **config).eval()
        with torch.no_grad():
            shared = model.albert.output_layers[0]
            for layer in model.albert.output_layers[1:]:
                layer.weight.mul_(1.5).add_(shared.weight)
                layer.bias.mul_(0.1)
    return model


def example_inputs():
    return (sentences(1, seed=17)[0],)


def varied_inputs():
    """Argument tuples that stop after different layers."""
    return [(x,) for x in sentences(32, seed=17)]
