"""A module of the user's that `outside` imports."""

STATE = {"n": 0}
count = 0


class Tracker:
    total = 0
    seen = []


class Called:
    def __init__(self):
        self.n = 0

    def __call__(self, x):
        self.n += 1
        return x * self.n


SHARED, CALLED = Tracker(), Called()


def bump():
    global count
    count += 1
    return count
