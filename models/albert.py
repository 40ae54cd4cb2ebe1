"""A small ALBERT: factorised embeddings and one transformer layer that is applied again and again.

ALBERT: A Lite BERT for Self-supervised Learning of Language Representations (Lan et al., ICLR 2020). Used by pabee.py
and palbert.py.
"""

import math

import torch
from torch import nn


class AlbertEmbeddings(nn.Module):
    """Token ids int64 [n, s] → [n, s, embedding]."""

    def __init__(self, vocab_size=200, embedding_size=32, max_position=64):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_size)
        self.position_embeddings = nn.Embedding(max_position, embedding_size)
        self.token_type_embeddings = nn.Embedding(2, embedding_size)
        self.LayerNorm = nn.LayerNorm(embedding_size)
        self.register_buffer("position_ids", torch.arange(max_position).unsqueeze(0), persistent=False)

    def forward(self, input_ids, token_type_ids=None):
        seq_length = input_ids.size(1)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        embeddings = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        embeddings = embeddings + self.position_embeddings(self.position_ids[:, :seq_length])
        return self.LayerNorm(embeddings)


class AlbertLayer(nn.Module):
    """Attention and feed-forward, layer norm after each; mask is additive [n, 1, 1, s] or None."""

    def __init__(self, hidden_size=64, num_heads=4, intermediate_size=256):
        super().__init__()
        self.num_heads = num_heads
        self.head_size = hidden_size // num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.ffn = nn.Linear(hidden_size, intermediate_size)
        self.ffn_output = nn.Linear(intermediate_size, hidden_size)
        self.full_layer_norm = nn.LayerNorm(hidden_size)
        self.activation = nn.GELU(approximate="tanh")

    def split_heads(self, x):
        return x.view(x.size(0), x.size(1), self.num_heads, self.head_size).permute(0, 2, 1, 3)

    def forward(self, hidden_states, attention_mask=None):
        query, key, value = (self.split_heads(m(hidden_states)) for m in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.head_size)
        if attention_mask is not None:
            scores = scores + attention_mask
        context = torch.matmul(scores.softmax(dim=-1), value)
        context = context.permute(0, 2, 1, 3).contiguous().view(hidden_states.shape)
        attended = self.attention_norm(hidden_states + self.dense(context))
        return self.full_layer_norm(attended + self.ffn_output(self.activation(self.ffn(attended))))


class AlbertModel(nn.Module):
    """Embeddings, their projection, and the shared layer. Subclasses decide how often it runs."""

    def __init__(self, vocab_size=200, embedding_size=32, hidden_size=64, num_heads=4, intermediate_size=256, num_hidden_layers=12):
        super().__init__()
        self.num_hidden_layers = num_hidden_layers
        self.embeddings = AlbertEmbeddings(vocab_size, embedding_size)
        self.embedding_hidden_mapping_in = nn.Linear(embedding_size, hidden_size)
        self.layer = AlbertLayer(hidden_size, num_heads, intermediate_size)
        self.pooler = nn.Linear(hidden_size, hidden_size)

    def embed(self, input_ids, token_type_ids=None):
        return self.embedding_hidden_mapping_in(self.embeddings(input_ids, token_type_ids))

    def extended_mask(self, attention_mask, dtype):
        return (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min

    def pool(self, hidden_states):
        return torch.tanh(self.pooler(hidden_states[:, 0]))


def sentences(count, length=16, vocab_size=200, seed=0):
    """Random token ids, int64 [1, length] each; later ones repeat fewer tokens."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        words = torch.randint(1, vocab_size, (1 + i % length,), generator=generator)
        out.append(words[torch.randint(0, len(words), (1, length), generator=generator)])
    return out
