"""The MLIR host: a whole Program as one MLIR module, its control flow as cf branches between calls of functions, one for each block.

    text.py     types, constants and conversions as MLIR text
    module.py   the flow as such a function, and the same again with calls that tell the way
Inputs and outputs mean what dync.host.onnx.convention says; it is stored as reflection of the function `main`.
"""
