"""A loader as another package would bring it."""

FORM = "torch"


def load(entry, members, weights, settings, threads):
    return lambda x: (x + x,)
