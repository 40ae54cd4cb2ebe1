"""dync: a compiler for dynamic neural networks."""
