"""A tracker: objects in lists that grow from call to call."""

from programs.state import OneInput


class Track:
    def __init__(self, place, number):
        self.place, self.number, self.hits, self.path = place, number, 0, [place.sum()]

    def update(self, x):
        self.place = 0.5 * (self.place + x)
        self.hits += 1
        self.path.append(x.sum())


class Tracks(OneInput):
    """Each row goes to the track that is near, or begins one; tracks that are met often stand in a second list too."""

    def __init__(self):
        super().__init__()
        self.tracks, self.often, self.begun = [], [], 0

    def forward(self, x):
        for row in x:
            hit = None
            for track in self.tracks:
                if (track.place - row).norm() < 1.5:
                    hit = track
            if hit is None:
                hit = Track(row, self.begun)
                self.begun += 1
                self.tracks.append(hit)
            hit.update(row)
            if hit.hits == 2:
                self.often.append(hit)
        self.tracks = [t for t in self.tracks if t.hits > 1 or t.number > self.begun - 4]
        return [(t.number, t.place, len(t.path)) for t in self.tracks], sum([t.hits for t in self.often])

    RUNS = 6


class Journal(OneInput):
    """Notes, dicts of which one key may be None, in a list that grows; some stand in a second list too."""

    def __init__(self):
        super().__init__()
        self.notes, self.marked = [], []

    def forward(self, x):
        total = x.sum()
        self.notes.append({"step": len(self.notes), "mean": x.mean().item(), "best": x if total > 1 else None, "tags": []})
        if total > 0:
            self.marked.append(self.notes[-1])
            self.marked[0]["tags"].append(len(self.notes))
        return len(self.notes), [n["step"] if n["best"] is None else -1 for n in self.notes], sum([len(n["tags"]) for n in self.marked])

    RUNS = 6
