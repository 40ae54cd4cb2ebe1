# ruff: noqa: E501 (written as users write)
"""Texts that data decide: transcripts that grow in loops, what was found in words, and routing by names."""

import torch
import torch.nn as nn
from programs.data import rand

CHARS = "-abcdefgh "


class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Linear(4, 10)

    @staticmethod
    def inputs(seed):
        return (rand(seed, 12, 4) * 2,)


class GreedyTranscript(Texts):
    """CTC, best path: Graves et al. 2006, as many repositories write it."""

    PATHS = 6

    def forward(self, x):
        text, last = "", 0
        for k in self.enc(x).argmax(-1).tolist():
            if k != last and k != 0:
                text += CHARS[k]
            last = k
        return text


class SaysWhatItFound(Texts):
    """A line of text on the classes in a picture, as detectors print it."""

    PATHS = 3
    NAMES = ["cat", "dog", "bird", "car", "bus", "man", "sign", "tree", "cup", "pen"]

    def forward(self, x):
        classes = self.enc(x).argmax(-1)
        said = f"{len(x)} rows: "
        for c in classes[x.sum(1) > 0].unique():
            n = (classes == c).sum()
            said += f"{n} {self.NAMES[int(c)]}{'s' * (n > 1)}, "
        print(said.rstrip(", "))
        return said, classes


class RoutedByName(Texts):
    """Layers in a dict, by a name that was decided several turns before."""

    PATHS = 6

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"low": nn.Linear(4, 4), "mid": nn.Linear(4, 4), "high": nn.Linear(4, 4)})

    def forward(self, x):
        name, used = "mid", []
        for row in x:
            if row.sum() > 1.5:
                name = "high"
            elif row.sum() < -1.5:
                name = "low"
            used.append(torch.tanh(self.layers[name](row)))
        return torch.stack(used), name, name in ("low", "high")


class WordsOfALoop(Texts):
    """Words of a vocabulary until the last one comes, joined."""

    PATHS = 4
    WORDS = ["<s>", "the", "cat", "sat", "on", "a", "mat", "and", "ran", "</s>"]

    def forward(self, x):
        h, words = x.mean(0), []
        while len(words) < 30:
            k = self.enc(h).argmax().item()
            if self.WORDS[k] == "</s>":
                break
            words.append(self.WORDS[k])
            h = torch.sin(h * 1.7 + k)
        return " ".join(words), len(words)


class UntilTheTextSaysSo(Texts):
    """A loop whose end the text decides, and what is asked of it behind the loop."""

    PATHS = 3

    def forward(self, x):
        text, i = "", 0
        while not text.endswith("bb") and i < 12:
            text += "a" if x[i, 0] > 0 else "b"
            i += 1
        if text == "bb":
            return x[:i], text
        if "ba" in text:
            return x[:i] * 2, text.upper()
        return x[:i] * 3, text.replace("a", "_")


class NamedByAFunction(Texts):
    """A function that answers in words, and a table of them."""

    PATHS = 3

    @staticmethod
    def size(v):
        if v > 1:
            return "big"
        return "small" if v > 0 else "negative"

    def forward(self, x):
        gains = {"big": 0.5, "small": 2.0}
        y, said = x.sum(1), ""
        for v in y:
            said = f"{said}{self.size(v)[0] if self.size(v) != 'big' else '!'}"
        return y * gains.get(self.size(y.sum()), 1.0), said


class MostFrequentName(nn.Module):
    """The key of the greatest value: a text that a loop carries, looked up in the dict that it is of."""

    def forward(self, x):
        counts = {}
        for n, bound in enumerate((0.4, 0.2, 0.0)):
            met = x.abs() >= bound
            if met.any():
                counts[f"above{n}"] = int(met.sum())
            x = x[~met]
        return counts.get("above0", 0), max(counts, key=counts.get), counts

    inputs = staticmethod(lambda seed: (rand(seed, 4) * 0.4,))


class NothingYet(nn.Module):
    """A comparison with what is None on paths that no input takes: there is code for the others."""

    def forward(self, x):
        best = None
        for v in (x * x).tolist():
            if best is None and v >= 0 or best is not None and v > best:
                best = v
        return best if best < 1 else best * 2

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class PathsOfATree(nn.Module):
    """Walks down a tree whose ways are texts in a list: the texts differ from path to path."""

    TREE = ((0, (1, 2)), ((3, 4), 5))

    def walk(self, x):
        node, way, depth = self.TREE, [], 0
        while isinstance(node, tuple):
            left = bool(x[depth] > 0)
            way.append("L" if left else "R")
            node, depth = node[0] if left else node[1], depth + 1
        return "".join(way), node

    def forward(self, x):
        found = []
        for row in x:
            way, word = self.walk(row)
            found.append((way, word, row.sum()))
        return found, [way for way, _, _ in found].count("LL")

    inputs = staticmethod(lambda seed: (rand(seed, 3, 3),))


class LabelsOfDetections(nn.Module):
    """A text made of numbers for each row that passes, as detectors write beside their boxes."""

    NAMES = {0: "person", 1: "bus", 2: "tie"}

    def forward(self, x):
        found, best = [], "nothing"
        rows = x[x[:, 0] > 0.4]
        for *box, score, kind in rows:
            name = self.NAMES[int(kind)]
            if score > 0.9:
                best = f"{name}!"
                found.append((best, torch.stack(box).sum()))
            else:
                found.append((f"{name} {score:.2f}, {bool(box[0] > 0.7)}", torch.stack(box).sum()))
        print(f"{len(found)} found, {found[-1][0] if found else best}")
        return found, best, "; ".join(f"{n}: {label}" for n, (label, _) in enumerate(found))

    @staticmethod
    def inputs(seed):
        return (torch.cat([rand(seed, 9, 4).abs(), torch.arange(9)[:, None] % 3], 1),)


class WordsOfCharacters(nn.Module):
    """Words that grow by a character a turn, in a list: what a decoder of characters does."""

    VOCABULARY = ("_", "|", "a", "b", "c")

    def forward(self, x):
        word, words, last = "", [], "SPACE"
        for i in (x * 3).abs().long().clamp(0, 4).flatten().tolist():
            char = self.VOCABULARY[i]
            state = "SPACE" if char == "|" else "WORD"
            if char == "_":
                continue
            if state == last:
                word += char
            elif state == "SPACE":
                words.append((word, len(words)))
            else:
                word = char
            last = state
        return words, word, " ".join(w for w, _ in words)

    inputs = staticmethod(lambda seed: (rand(seed, 9),))


class RecordsWithNames(nn.Module):
    """Objects with a text each, in a list that a loop makes longer."""

    class Record:
        def __init__(self, name, value):
            self.name, self.value, self.seen = name, value, 0

    def forward(self, x):
        records, n = [], 0
        while n < 12 and x.sum() < 9:
            x = x + x.abs() + 0.2
            records.append(self.Record(f"step {n}", x.mean()))
            if x[0] > 1:
                records[-1].name = f"{records[-1].name} of {int(x[0])}"
            n += 1
        for record in records:
            if record.name.endswith("1"):
                record.seen += 1
        return [(r.name, r.value, r.seen) for r in records], n

    inputs = staticmethod(lambda seed: (rand(seed, 3),))


class AskedOfEachWording(nn.Module):
    """A text that is one of a few, asked for what only a text that is known can do: its parts, its characters, its place in another."""

    TAGS = ("O", "B-PER", "I-PER", "I-LOC")

    def forward(self, x):
        name = self.TAGS[int(x.argmax())]
        total = x.sum()
        if total > 2:
            name = "B-%d-OR-%d"
        first, *rest = name.split("-")
        filled = name % (1, 2) if "%" in name else name
        return total * len(rest), first, filled, f"{name:>9}|", [c for c in name if c.isalpha()], name.partition("-")

    inputs = staticmethod(lambda seed: (rand(seed, 4),))


class TextsOfLists(nn.Module):
    """What `print`, `str`, and f-strings make of lists and tuples of unknown length, of ranges, and of lists in them."""

    def forward(self, x):
        kept = (x > 0).nonzero().flatten().tolist()
        print("kept", kept, tuple(kept[:1]))
        marks = [x[i].item() > 1 for i in kept]
        nested = str([[j for j in range(i % 3)] for i in kept])
        return f"{kept} of {len(x)}", str(x[x > 0].tolist()), f"{marks}!", nested, str(range(len(kept))), f"{kept!s:>20}|"

    inputs = staticmethod(lambda seed: (rand(seed, 10),))
