"""The ONNX host: a whole Program as one ONNX model, its control flow as nested If and Loop.

    plan.py        where each block's code stands: joins behind their branch, loop exits behind their loop; what is alive where
    graph.py       writing nested ONNX graphs: scopes, constants, weights once for all of them
    walk.py        the flow, block after block, into that
    model.py       the finished model with its convention in metadata_props
    convention.py  what the model's inputs and outputs mean, as data: all that a loader needs
"""
