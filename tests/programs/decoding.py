# ruff: noqa: B007, B904, E501, UP045 (written as users write)
"""Decoding: token by token, with caches that grow or are written in place."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from programs.data import rand, whole


class TinyAttention(nn.Module):
    """One head; the cache grows by cat."""

    def __init__(self, dim=6):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x, cache=None):
        q, k, v = self.q(x), self.k(x), self.v(x)
        if cache is not None:
            k = torch.cat([cache[0], k], dim=1)
            v = torch.cat([cache[1], v], dim=1)
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        return scores.softmax(-1) @ v, (k, v)


class TinyDecoder(nn.Module):
    VOCAB = 7
    EOS = 0

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(self.VOCAB, 6)
        self.attention = TinyAttention()
        self.lm_head = nn.Linear(6, self.VOCAB)
        self.lm_head.bias.data[self.EOS] += 0.4

    def step(self, token, cache):
        h, cache = self.attention(self.embed(token), cache)
        return self.lm_head(h[:, -1]) * 4, cache

    @staticmethod
    def inputs(seed):
        return (whole(seed, 1, 7, 1, 2),)


class Greedy(TinyDecoder):
    PATHS = 3

    def forward(self, prompt, max_new_tokens=4):
        tokens, cache = prompt, None
        token = prompt
        for _ in range(max_new_tokens):
            logits, cache = self.step(token, cache)
            token = logits.argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, token], dim=1)
            if token.item() == self.EOS:
                break
        return tokens


class GreedyList(TinyDecoder):
    """Tokens are Python numbers in a list."""

    PATHS = 3

    def forward(self, prompt):
        generated, cache, token = [], None, prompt
        while len(generated) < 4:
            logits, cache = self.step(token, cache)
            next_id = logits.argmax(-1).item()
            if next_id == self.EOS:
                break
            generated.append(next_id)
            token = torch.tensor([[next_id]])
        return generated


class Sampling(TinyDecoder):
    """Temperature, top-k, multinomial; stops at the end token."""

    PATHS = 3

    def forward(self, prompt, temperature=0.8, top_k=3):
        token, cache, out = prompt, None, []
        for _ in range(4):
            logits, cache = self.step(token, cache)
            logits = logits / temperature
            values, _ = torch.topk(logits, top_k)
            logits[logits < values[:, [-1]]] = -float("inf")
            token = torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)
            out.append(token)
            if (token == self.EOS).all():
                break
        return torch.cat(out, dim=1)


class TopP(TinyDecoder):
    def forward(self, prompt, p=0.3):
        logits, _ = self.step(prompt, None)
        probs = logits.softmax(-1)
        ordered, index = probs.sort(descending=True)
        keep = ordered.cumsum(-1) - ordered < p
        n = keep.sum().item()
        candidates = index[:, :n]
        if n == 1:
            return candidates[0, 0], n
        return candidates[0, torch.multinomial(ordered[0, :n], 1)].squeeze(), n


class BatchGreedy(TinyDecoder):
    """Rows that are done are padded; the loop ends when all are."""

    PATHS = 3

    def forward(self, prompt):
        finished = torch.zeros(prompt.shape[0], dtype=torch.bool)
        sequence, cache, token = prompt, None, prompt
        for step in range(4):
            logits, cache = self.step(token, cache)
            token = logits.argmax(-1)
            token = token.masked_fill(finished, -1 % self.VOCAB)
            sequence = torch.cat([sequence, token[:, None]], dim=-1)
            finished = finished | token.eq(self.EOS)
            if finished.all():
                break
            token = token[:, None]
        return sequence, finished

    @staticmethod
    def inputs(seed):
        return (whole(seed, 1, 7, 2, 2),)


class StaticCache(TinyDecoder):
    """The cache has all its room from the start and is written in place at a position."""

    PATHS = 3

    def forward(self, token):
        keys, values = torch.zeros(1, 6, 6), torch.zeros(1, 6, 6)
        out = []
        for position in range(4):
            x = self.embed(token[:, -1:])
            keys[:, position : position + 1] = self.attention.k(x)
            values[:, position : position + 1] = self.attention.v(x)
            scores = self.attention.q(x) @ keys[:, : position + 1].transpose(1, 2)
            h = scores.softmax(-1) @ values[:, : position + 1]
            token = self.lm_head(h[:, -1]).argmax(-1, keepdim=True)
            out.append(token)
            if token.item() == self.EOS:
                break
        return torch.cat(out, 1), keys


class Speculative(TinyDecoder):
    """A draft proposes, the model checks; the accepted prefix's length depends on both."""

    PATHS = 2

    def __init__(self):
        super().__init__()
        self.draft = nn.Embedding(self.VOCAB, self.VOCAB)
        self.draft.weight.data[:, 5] += 2
        self.lm_head.bias.data[5] += 1.5

    def forward(self, prompt, gamma=3):
        proposal = prompt
        for _ in range(gamma):
            proposal = torch.cat([proposal, self.draft(proposal[:, -1:]).argmax(-1)], dim=1)
        h, _ = self.attention(self.embed(proposal))
        target = self.lm_head(h).argmax(-1)
        n = prompt.shape[1]
        accepted = 0
        for i in range(gamma):
            if proposal[0, n + i] == target[0, n + i - 1]:
                accepted += 1
            else:
                break
        result = torch.cat([proposal[:, : n + accepted], target[:, n + accepted - 1 : n + accepted]], dim=1)
        return result, accepted


class SpeculativeItem(TinyDecoder):
    """The same by cumprod: the length is read from a tensor."""

    PATHS = 1

    def forward(self, prompt, draft):
        h, _ = self.attention(self.embed(torch.cat([prompt, draft], 1)))
        target = self.lm_head(h).argmax(-1)
        match = (draft == target[:, prompt.shape[1] - 1 : -1]).int()
        n = match.cumprod(-1).sum().item()
        return torch.cat([prompt, draft[:, :n], target[:, prompt.shape[1] - 1 + n, None]], dim=1), n

    @staticmethod
    def inputs(seed):
        return whole(seed, 1, 7, 1, 2), whole(seed, 0, 7, 1, 3, salt=1)


class BeamStep(TinyDecoder):
    """Beams in Python lists; finished ones are set aside."""

    def forward(self, prompt):
        logits, _ = self.step(prompt, None)
        scores, tokens = logits.log_softmax(-1)[0].topk(3)
        finished, alive = [], []
        for score, token in zip(scores, tokens):
            if token == self.EOS:
                finished.append((score, torch.cat([prompt[0], token[None]])))
            else:
                alive.append((score, torch.cat([prompt[0], token[None]])))
        if finished:
            best = max(range(len(finished)), key=lambda i: len(finished[i][1]))
            return finished[best]
        return alive[0]


class RepetitionPenalty(TinyDecoder):
    def forward(self, prompt):
        logits, _ = self.step(prompt, None)
        for token in prompt[0]:
            if logits[0, token] > 0:
                logits[0, token] = logits[0, token] / 1.5
            else:
                logits[0, token] *= 1.5
        return logits

    PATHS = 3


class DecodeUntil(TinyDecoder):
    """No upper bound but the end token and the sum: the loop must be rolled."""

    PATHS = 3

    def forward(self, token):
        count = 0
        state = self.embed(token[0, 0])
        while True:
            logits = self.lm_head(state)
            nxt = logits.argmax()
            count += 1
            if nxt == self.EOS or count >= 12:
                return nxt, count
            state = torch.tanh(state * 1.3 + self.embed(nxt))


class CacheInDict(TinyDecoder):
    """past_key_values by layer name, returned to the caller when it grew."""

    def forward(self, token, past=None):
        past = {} if past is None else past
        logits, past["layer0"] = self.step(token, past.get("layer0"))
        if logits.max() > 1:
            logits, past["layer0"] = self.step(logits.argmax(-1, keepdim=True), past["layer0"])
        return logits, past


class ConditionalField(nn.Module):
    """Viterbi with a mask: a list is cut where the length of a row says."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.step = nn.Parameter(torch.randn(3, 3))

    def forward(self, scores, lengths):
        score, history = scores[0], []
        for row in scores[1:]:
            best, back = (score.unsqueeze(2) + self.step + row.unsqueeze(1)).max(1)
            score = best
            history.append(back)
        paths = []
        for b in range(2):
            tags = [score[b].argmax().item()]
            for back in reversed(history[: lengths[b] - 1]):
                tags.append(back[b][tags[-1]].item())
            paths.append(tags[::-1])
        return paths

    @staticmethod
    def inputs(seed):
        return (rand(seed, 3, 2, 3), whole(seed, 1, 4, 2))


class BeamsThatEnd(nn.Module):
    """Sets of Python numbers that paths leave different."""

    PATHS = 3

    def __init__(self):
        super().__init__()
        self.next = nn.Linear(4, 4)

    def forward(self, h):
        k, kept = 3, []
        for _ in range(2):
            words = self.next(h).sum(0).topk(k)[1]
            going = [i for i, w in enumerate(words) if w != 1]
            ended = sorted(set(range(len(words))) - set(going))
            kept.extend(words[ended])
            k -= len(ended)
            h = torch.tanh(self.next(h))
        return torch.stack(kept) if kept else None, k

    @staticmethod
    def inputs(seed):
        return (rand(seed, 2, 4),)


class CaptionBeams(nn.Module):
    """Captions by beam search as in Show, Attend and Tell (Xu et al. 2015): beams that end leave as lists, with the maps that they looked at."""

    PATHS = 2
    START, EOS = 1, 0

    def __init__(self, words=5, beams=2):
        super().__init__()
        self.beams, self.words = beams, words
        self.embed, self.cell = nn.Embedding(words, 4), nn.GRUCell(8, 4)
        self.look, self.out = nn.Linear(4, 4), nn.Linear(4, words)
        self.out.bias.data[self.EOS] += 0.6

    @staticmethod
    def inputs(seed):
        return (rand(seed, 4, 4),)

    def forward(self, pixels):
        k = self.beams
        previous = torch.LongTensor([[self.START]] * k)
        sequences, maps = previous, torch.ones(k, 1, 2, 2)
        scores, h = torch.zeros(k, 1), pixels.mean(0, keepdim=True).expand(k, 4)
        ended, ended_maps, ended_scores = list(), list(), list()
        step = 1
        while True:
            alpha = (self.look(h) @ pixels.t()).softmax(1)
            h = self.cell(torch.cat([self.embed(previous).squeeze(1), alpha @ pixels], dim=1), h)
            found = scores.expand(k, self.words) + self.out(h * 3).log_softmax(1)
            best, places = (found[0] if step == 1 else found.reshape(-1)).topk(k)
            beam, word = places // self.words, places % self.words
            sequences = torch.cat([sequences[beam], word.unsqueeze(1)], dim=1)
            maps = torch.cat([maps[beam], alpha.view(-1, 2, 2)[beam].unsqueeze(1)], dim=1)
            open_ = [n for n, w in enumerate(word) if w != self.EOS]
            done = list(set(range(len(word))) - set(open_))
            if len(done) > 0:
                ended.extend(sequences[done].tolist())
                ended_maps.extend(maps[done].tolist())
                ended_scores.extend(best[done])
            k -= len(done)
            if k == 0 or step > 3:
                break
            sequences, maps, h = sequences[open_], maps[open_], h[beam[open_]]
            scores, previous = best[open_].unsqueeze(1), word[open_].unsqueeze(1)
            step += 1
        if not ended_scores:
            return [], None
        i = ended_scores.index(max(ended_scores))
        return ended[i], torch.FloatTensor(ended_maps[i])


class BeamsOfLists(nn.Module):
    """Beam search over candidates that are lists `[tokens, score, hidden state]`, as it is often written by hand; it ends when all have."""

    START, EOS = 1, 0

    def __init__(self, words=5, beams=2):
        super().__init__()
        self.beams, self.words = beams, words
        self.embed, self.cell, self.out = nn.Embedding(words, 4), nn.GRUCell(4, 4), nn.Linear(4, words)
        self.out.bias.data[self.EOS] += 0.4

    @staticmethod
    def inputs(seed):
        return (rand(seed, 1, 4),)

    def forward(self, h):
        beams = [[[self.START], 0.0, h]]
        for _ in range(4):
            candidates = []
            for tokens, score, hidden in beams:
                if tokens[-1] == self.EOS:
                    candidates.append([tokens, score, hidden])
                    continue
                hidden = self.cell(self.embed(torch.tensor([tokens[-1]])), hidden)
                best, words = self.out(hidden * 3).log_softmax(-1)[0].topk(self.beams)
                for s, w in zip(best.tolist(), words.tolist()):
                    candidates.append([tokens + [w], score + s, hidden])
            beams = sorted(candidates, key=lambda c: c[1], reverse=True)[:self.beams]
            if all(c[0][-1] == self.EOS for c in beams):
                break
        beams[0][1] -= beams[-1][1]
        return beams[0][0], beams[0][1], [c[0][1:] for c in beams]
