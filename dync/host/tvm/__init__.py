"""The TVM host: a whole Program as code of TVM's virtual machine, whose calls are the compiled blocks.

    code.py      that code as data, without TVM: registers, labels, calls
    module.py    the flow as such code, and the same again with calls that tell the way
    assemble.py  that code as the machine's instructions, with the compiled blocks in line
Inputs and outputs mean what dync.host.onnx.convention says; the function `dync` of the library gives it as text.
"""
