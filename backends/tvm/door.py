"""TVM's modules, through one door and without static types: its own annotations do not say what its operators take."""

from __future__ import annotations

from typing import Any

import tvm as _tvm
import tvm_ffi as _ffi
from tvm import relax as _relax
from tvm import te as _te
from tvm import tirx as _tirx
from tvm.script.ir_builder import IRBuilder as _IRBuilder
from tvm.script.ir_builder import tirx as _T

tvm: Any = _tvm
relax: Any = _relax
te: Any = _te
tirx: Any = _tirx
IRBuilder: Any = _IRBuilder
T: Any = _T
tvm_ffi: Any = _ffi
structural_equal: Any = _ffi.structural_equal
