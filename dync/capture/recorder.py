"""Records what torch is asked to do: function calls as events to replay, ATen calls as operations of the current block."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import sympy
import torch
from torch._C._functorch import peek_interpreter_stack  # pyright: ignore[reportMissingModuleSource]
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    UnsupportedFakeTensorException,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from dync.capture import packed
from dync.capture.algebra import check_linear_algebra
from dync.capture.arrays import array_of, given, stand_in
from dync.capture.bounds import CHECKED, check_numbers
from dync.capture.broadcast import BROADCASTING, SQUEEZES, settled, squeeze
from dync.capture.extremes import ANY, extremes_of
from dync.capture.image import SYMBOLIC, is_dense
from dync.capture.lists import Grown
from dync.capture.memory import Shared, storage_of
from dync.capture.places import OURS, is_user
from dync.capture.plain import PlainNumbers, wants_plain
from dync.capture.scalars import scalar_of
from dync.capture.shapes import weight
from dync.capture.special import SPECIAL, TAKE_LISTS, function_name, is_number_tensor
from dync.capture.tape import Changed, Event, Op, Rec, Val, Weight, of_model
from dync.capture.text import formatted, mark_for
from dync.capture.walks import Parts
from dync.ir.effects import HIDDEN_WRITES
from dync.ir.flow import MISFIT

aten = torch.ops.aten

QUIET = frozenset({"size", "dim", "ndimension", "stride", "storage_offset", "numel", "nelement", "is_contiguous", "element_size",
                   "is_floating_point", "is_complex", "get_device", "is_signed", "is_inference", "__hash__", "has_names", "is_shared",
                   "is_pinned", "result_type", "can_cast", "promote_types", "is_tensor", "get_default_dtype", "is_same_size",
                   "broadcast_shapes"})
"""Questions about a tensor's form: they compute nothing."""
COMPUTING_GETTERS = frozenset({"data", "T", "mT", "H", "mH", "real", "imag"})
RESHAPING = frozenset({"unsqueeze_", "squeeze_", "t_", "transpose_", "resize_", "resize_as_", "set_", "swapaxes_", "swapdims_",
                       "swap_tensors", "rename_"})
ARRAYS = ("numpy", "__array__")
OUTSIDE = {"data_ptr": "an address", "__reduce_ex__": "a pickle",
           "untyped_storage": "its storage", "storage": "its storage", "__cuda_array_interface__": "an address", "__dlpack__": "an address"}

WRITTEN_TWICE = ("unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() "
                 "the tensor before performing the operation.")
"""What torch says of a write into an expanded tensor."""
SPARSE = ("sparse_", "to_sparse")
"""How the names of functions begin that make sparse tensors."""
ELEMENTWISE_PYTHON = frozenset({"apply_", "map_", "map2_"})
"""Methods whose C code calls a Python function for each element."""


class Use:
    """A symbolic scalar as an argument of an operation."""

    __slots__ = ("scalar",)

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar


class FunctionMode(TorchFunctionMode):
    """Sees every call of the torch API that the user's code makes."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.engine = engine

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.engine.call(func, args, kwargs or {})


class DispatchMode(TorchDispatchMode):
    """Sees every ATen operation below autograd."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.engine = engine

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        recorder = self.engine.recorder
        if recorder.in_event is None:  # a torch function that no function mode sees, as torch.from_numpy and torch.Tensor(2, 3)
            with torch._C.DisableTorchFunction():
                return recorder.event(func.name(), lambda *a, **k: recorder.dispatch(func, a, k), args, kwargs or {})
        return recorder.dispatch(func, args, kwargs or {})


class Recorder:
    """Turns ATen calls into Ops of the engine's current record."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.in_event: list[tuple[int, Any, Rec]] | None = None
        """What the operations gave of the call that runs now, those inside of one that has ended left out: (nested, result, record)."""
        self.nested = 0
        """How many operations are being dispatched, each inside another."""
        self.running = ""
        """The function, or the ATen operation in it, that torch is asked for now."""
        self.literals: set[Val] = set()
        """Values that the code makes of literals alone, such as torch.tensor([0., 1.])[0]."""
        self.constants: dict[Val, Any] = {}
        """What `constant` found for some of them."""

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One torch API call by the user: given from the log on replay, done and logged when live."""
        engine = self.engine
        name = function_name(func)
        if name in QUIET or (name.startswith("get:") and name[4:] not in COMPUTING_GETTERS):
            return func(*args, **kwargs)
        engine.check_alive()
        if kwargs.get("generator") is not None:
            if kwargs["generator"] is not torch.default_generator:
                engine.refuse("DY209", f"`{name}` draws from a generator of its own", "what it has drawn is not part of the program",
                              "draw from torch's own generator: leave `generator` out")
            kwargs = kwargs | {"generator": None}
        if name in ("__repr__", "__str__", "__format__"):
            if engine.texts is not None:
                return mark_for(engine, formatted(engine, args[0], ord("r"), ""))
            return engine.text_of(None) if is_user(outside_torch_tensor().f_code) else "a tensor"  # a message of torch's own
        if name == "numpy" and not kwargs and not args[1:]:
            return array_of(engine, args[0])
        if name in ARRAYS:
            return stand_in(engine, f"`{name}`", args[0])
        if name.startswith(SPARSE):
            engine.refuse("DY204", f"`{name}` makes a sparse tensor", "blocks hold dense tensors",
                          "compute it dense, as with index_put or scatter into torch.zeros")
        if name in ELEMENTWISE_PYTHON:
            engine.refuse("DY204", f"`{name}` calls a Python function for each number of a tensor", "they exist only at run time",
                          "write it with torch's own operations, as torch.where, or as a loop")
        if name in OUTSIDE:
            engine.refuse("DY201", f"{OUTSIDE[name]} is made of a tensor by `{name}`", "its contents exist only at run time",
                          "stay in torch, or do this outside the model")
        if name in RESHAPING or name.startswith("set:"):
            if name == "set:data" and id(engine.weights.fake(args[1])) in engine.stale:
                engine.value(args[1])  # refuses
            if name in ("set:requires_grad", "set:grad") or name == "set:data" and self.is_same_memory(*args):
                return None
            val = engine.vals.get(id(args[0]))
            own = val is not None and val.label not in ("input", "state")  # which others hold, and see what it becomes
            if own and name == "set:data" and self.is_alike(*args):
                return self.become(*args)
            if name == "set:data" and self.is_assignable(*args):
                return self.assign(*args)
            if own and name in REFORMING:
                self.become(args[0], self.call(getattr(torch.Tensor, name.rstrip("_")), args, kwargs))
                return args[0]
            if own and name in ("resize_", "resize_as_") and not kwargs and (resized := self.resized(name, *args)) is not None:
                self.become(args[0], resized)
                return args[0]
            written = name.removeprefix("set:")
            remedy = "write its numbers with `.copy_(...)`, or bind the name anew" if written != name or name not in REFORMING else (
                f"write `{name.rstrip('_')}` and use its result")
            engine.problem("DY202", f"`{written}` changes a tensor's form in place", "blocks hold tensors of one form", remedy)
            return args[0]
        if name in ("backward", "requires_grad_"):
            if name == "requires_grad_":
                return args[0]
            engine.problem("DY203", "a backward pass inside forward", "programs are compiled for inference",
                           "compute it outside the compiled model")
            return None
        if func is torch.autograd.grad:
            engine.refuse("DY203", "a gradient inside forward", "programs are compiled for inference, and autograd's tape is not kept",
                          "write it with torch.func.grad, or compute it outside the compiled model")
        if peek_interpreter_stack() is not None and self.in_event is None:
            engine.refuse("DY203", "a function of torch.func that keeps what it ran for later, as vjp and jacrev do",
                          "what it keeps is not part of the program", "write it with torch.func.grad, jvp, jacfwd, hessian or vmap")
        if engine.arrays:
            args, kwargs = given(name, args, kwargs)
        if name in SIZED and any(map(is_number_tensor, sizes_in((*args, *kwargs.values())))):
            args = (*args[:1], *(tree_map(self.size, a) for a in args[1:])) if name in SIZED_METHODS else tree_map(self.size, args)
            kwargs = {k: v if k in ("input", "self") else tree_map(self.size, v) for k, v in kwargs.items()}
        if name in INFERRING:
            args = tree_map(engine.inferred, args)
        if name in BROADCASTING:
            args = BROADCASTING[name](engine, lambda f, *a: self.call(f, a, {}), args)
        special = SPECIAL.get(name)
        if special not in TAKE_LISTS and any(isinstance(a, (Grown, Parts)) for a in args):
            next(a for a in args if isinstance(a, (Grown, Parts))).refuse(f"`torch.{name}`")
        if special is not None:
            done = special(self, func, args, kwargs)
            if done is not NotImplemented:
                return done
        return self.event(name, func, args, kwargs)

    def resized(self, name: str, x: Any, *sizes: Any) -> Any:
        """What `resize_` makes of x: what had no elements has new ones, of any value; as many in another shape. None for all else."""
        engine = self.engine
        shape = tuple(sizes[0].shape) if name == "resize_as_" else tuple(sizes_in(sizes))
        with torch._C.DisableTorchFunction():
            holds = x.untyped_storage().nbytes()
        if engine.known_int(holds) == 0 and not engine.memory.of(x).held:
            return self.call(torch.Tensor.new_empty, (x, shape), {})
        same = engine.known_int(math.prod(shape)) == engine.known_int(x.numel()) is not None
        return self.call(torch.Tensor.view, (x, shape), {}) if same and is_dense(x) else None

    def is_same_memory(self, x: Any, y: Any) -> bool:
        """Whether x is all of y and nothing else, as after `x.data += 1`."""
        a, b = self.engine.weights.fake(x), self.engine.weights.fake(y)
        return storage_of(a) == storage_of(b) and (
            a.dtype, a.shape, a.stride(), a.storage_offset()) == (b.dtype, b.shape, b.stride(), b.storage_offset())

    def is_alike(self, x: Any, y: Any) -> bool:
        """Whether `x.data = y` leaves x in its form."""
        return id(y) in self.engine.vals and (x.dtype, x.shape, x.stride(), x.device) == (y.dtype, y.shape, y.stride(), y.device)

    def become(self, x: Any, y: Any) -> None:
        """Until the run ends x stands for the value of y, in its memory; what was made of x before stays what it is."""
        engine = self.engine
        memory = engine.memory.of(x)
        if memory.held:  # by a list, as a value
            engine.written_item()
        last = engine.assigned.setdefault((engine.rec, engine.cursor), engine.uids)
        if len(engine.memory.members[memory]) > 1:  # paths joined, or a loop turned: what may be x, or not, may not be used any more
            self.cut_off(last, {memory}, storage_of(x))
        before = engine.changed.get(id(x))
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            if before is None:
                with engine.fake_mode:
                    before = Changed(x, aten.alias.default(x), engine.vals[id(x)], engine.rec, engine.span())
            engine.changed[id(x)] = before._replace(rec=engine.rec, span=engine.span())
            x.data = y
        engine.vals[id(x)] = engine.vals[id(y)]

    def is_assignable(self, x: Any, y: Any) -> bool:
        """Whether `x.data = y` gives a weight other numbers, in memory that no other weight shows."""
        weights, vals = self.engine.weights, self.engine.vals
        fake = weights.fake(x)
        if id(fake) not in weights.by_fake or not self.is_alike(x, y) or any(v.label == "state" for v in vals.values()):
            return False  # the state may show the weight's memory since another call
        memories = [storage_of(f) for f in weights.fakes.values()]
        return weights.is_alone(x) and storage_of(y) not in memories and not self.engine.memory.of(y).outside

    def assign(self, x: Any, y: Any) -> None:
        """`x.data = y` of a weight, as a write of its numbers. In eager what shows its memory by now stays as it is, and y becomes a view
        of x: neither may be used any more."""
        engine = self.engine
        last = engine.assigned.setdefault((engine.rec, engine.cursor), engine.uids)
        self.call(torch.Tensor.copy_, (self.call(torch.Tensor.detach, (x,), {}), y), {})
        engine.assigned_weights.add(engine.weights.by_fake[id(engine.weights.fake(x))].name)
        self.cut_off(last, {engine.memory.of(engine.weights.fake(x)), engine.memory.of(y)})

    def cut_off(self, last: int, memories: set[Shared], own: int | None = None) -> None:
        """Tensors made before in these memories, but for one storage, may not be used any more in this run; last: the last one's number."""
        engine = self.engine
        tensors = (v.fake for v in engine.vals.values() if v.kind == "tensor" and v.uid <= last)
        engine.stale.update({id(t): engine.span() for t in tensors if engine.memory.of(t) in memories and storage_of(t) != own})

    def event(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        engine = self.engine
        key = (name, *(event_key(engine, a) for a in args), *((k, event_key(engine, v)) for k, v in kwargs.items()))
        event = engine.next_event(name, key)
        if event is None:
            event = self.live(name, key, func, args, kwargs)
        if event.error is not None:
            raise event.error
        return event.result[:] if type(event.result) is list else event.result

    def live(self, name: str, key: tuple[Any, ...], func: Any, args: Any, kwargs: Any) -> Event:
        engine = self.engine
        given = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
        args, kwargs = tree_map(engine.weights.fake, args), tree_map(engine.weights.fake, kwargs)
        self.in_event, self.running = [], name
        began = engine.rec
        error: Exception | None = None
        result: Any = None
        try:
            result = self.attempt(func, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException) as e:
            engine.refuse("DY204", f"`{name}` cannot be traced: {str(e).splitlines()[0][:120]}",
                          "its result's form depends on data in a way torch does not describe",
                          "write it with nonzero, boolean masks or where")
        except Exception as e:  # the user's own error on this path: it is logged and raised again on replay
            if wants_plain(e):  # torch's C++ wants the number itself
                for number in tree_flatten((args, kwargs))[0]:
                    if isinstance(number, SYMBOLIC):
                        engine.split_constants(scalar_of(number))
                engine.refuse("DY208", f"`{name}` needs a number that is known only at run time", "torch takes it as a plain number",
                              "use a tensor operation that takes it as a tensor, or make it a fixed argument")
            if NO_SYMBOLS in str(e):
                engine.refuse("DY208", f"`{name}` needs a size that is known only at run time", "torch takes it as a plain number",
                              "use an operation that takes run-time sizes")
            error = of_torch(e) if not engine.doubtful else e
        finally:
            made, self.in_event, self.running = self.in_event, None, ""
        asked = (args, kwargs) if engine.rec is began else (args, kwargs, made)
        for t in tree_flatten(asked)[0]:
            if isinstance(t, FakeTensor) and engine.has_symbols(t) and (engine.rec is not began or not self.is_new(t)):
                engine.forget_layout(t)
        if isinstance(result, torch.Tensor):  # `weight.to(its own dtype)` is the weight itself
            result = next((g for g in given if engine.weights.fake(g) is result), result)
        event = Event(name, key, result, error)
        engine.rec.log.append(event)
        engine.cursor += 1
        return event

    def attempt(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Calls torch. Where C++ code takes no symbolic sizes, torch's own Python twins of it are tried; where it takes no symbolic
        numbers, the operation is recorded as it is asked for."""
        rec, before, given = self.engine.rec, len(self.engine.rec.ops), list(self.engine.partial)
        with torch._C._ExcludeDispatchKeyGuard(NO_VIEWS):
            try:
                return func(*args, **kwargs)
            except (RuntimeError, TypeError) as e:
                plain = wants_plain(e)
                if self.engine.rec is not rec or not plain and (NO_SYMBOLS not in str(e) or isinstance(e, TypeError)):
                    raise
            del rec.ops[before:]
            self.in_event, self.engine.partial = [], given
            with PlainNumbers(self) if plain else enable_python_dispatcher():
                return func(*args, **kwargs)

    def is_new(self, fake: Any) -> bool:
        """Whether a tensor was made on this very stretch of the path."""
        val = self.engine.vals.get(id(fake))
        return val is not None and val.rec is self.engine.rec

    def size(self, x: Any) -> Any:
        """A size that is given as a one-number tensor, as a number; anything else unchanged."""
        return self.item(x) if is_number_tensor(x) else x

    def item(self, x: torch.Tensor, error: type[Exception] = RuntimeError) -> Any:
        """The number in a one-element tensor, as an event; for another, an error of the class that eager raises."""
        return self.event("item", lambda t: self.local_scalar(t, error), (x,), {})

    def plain(self, func: Any, args: Any, kwargs: Any, form: Callable[[], torch.Tensor]) -> torch.Tensor:
        """An operation that torch's twins take plain numbers for: recorded as it stands; `form` makes a tensor like its result."""
        return self.event(func.name(), lambda *args, **kwargs: self.plainly(func, args, kwargs, form), args, kwargs)

    def plainly(self, func: Any, args: Any, kwargs: Any, form: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The same inside of a call."""
        if self.resumes():
            return self.resume()
        with _disable_current_modes(), self.engine.fake_mode:
            out = form()
        self.record(func, args, kwargs, out)
        return self.done(out)

    def local_scalar(self, x: Any, error: type[Exception] = RuntimeError) -> Any:
        engine = self.engine
        x = engine.weights.fake(x)
        if x.numel() != 1:
            raise of_model(error(f"{MISFIT}: a tensor that is read as a number has one element, this one has another number"))
        if self.resumes():
            return self.resume()
        source = engine.value(x)
        constant = self.constant(source)
        if constant is not None and constant.numel() == 1 and not x.dtype.is_complex:
            return self.done(constant.item())
        known = self.remembered("items", source, x)
        known = packed.first_batch(self, source) if known is None else known
        if known is not None:
            return self.done(known)
        kind = "bool" if x.dtype == torch.bool else "float" if x.dtype.is_floating_point else "int"
        if x.dtype.is_complex:
            engine.refuse("DY205", "a complex number is read from a tensor", "", "read its real and imaginary parts")
        val = engine.new_scalar(kind)
        self.append(aten._local_scalar_dense.default, (x,), {}, [val], True, False)
        result = engine.symbolic(val, x.dtype)
        if kind == "int" and (within := extremes_of(engine, source)) != ANY:
            engine.shape_env.bound(result.node.expr, within.low, within.high)
            if within.below is not None:
                engine.rec.facts.append((sympy.Lt(result.node.expr, within.below), True))
        engine.rec.items[source] = result
        return self.done(result)

    def constant(self, source: Any) -> Any:
        """The tensor behind a value that the code makes of literals alone; None for any other."""
        engine = self.engine
        if isinstance(source, Weight):
            return engine.weights.tensors[source.name] if source.name.startswith("constant_") else None
        if source not in self.literals:
            return None
        if source not in self.constants:
            self.constants[source] = self._constant(source, engine.made_by[source])
        return self.constants[source]

    def _constant(self, source: Val, op: Op) -> Any:
        engine = self.engine
        if op.span in engine.unfoldable or engine.has_symbols(source.fake) or source.fake.numel() > 4096:
            return None
        if engine.memory.of(source.fake).written:
            return None
        found: list[Any] = []

        def real(x: Any) -> Any:
            if isinstance(x, (Val, Weight)):
                found.append(self.constant(x))
                return found[-1]
            return x

        args, kwargs = tree_map(real, op.args, is_leaf=is_operand), tree_map(real, op.kwargs, is_leaf=is_operand)
        if any(f is None for f in found):
            return None
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            out = op.target(*args, **kwargs)
        engine.memory.fold(source.fake, op.span)
        return out if op.single else tree_flatten(out)[0][op.outs.index(source)]

    def remembered(self, kept: str, source: Any, x: Any) -> Any:
        """What a record keeps of a tensor since it was asked before, where no write can lie between."""
        memory, span = self.engine.memory.of(x), self.engine.span()
        if memory.written or span in self.engine.unfoldable:
            return None
        for rec in self.engine.rec.chain():
            found = getattr(rec, kept)
            if source in found:
                memory.read = span
                return found[source]
            if rec.header:
                return None
        return None

    def resumes(self) -> bool:
        """Whether what is asked for now was done before the call that asks forked, in another run."""
        partial = self.engine.partial
        return self.in_event is not None and bool(partial) and partial[0][0] == self.nested

    def resume(self) -> Any:
        """What it gave then."""
        assert self.in_event is not None
        self.in_event.append(self.engine.partial.pop(0))
        _, out, rec = self.in_event[-1]
        self.engine.skip_to(rec)
        return out

    def done(self, out: Any) -> Any:
        """Notes what an operation gave, in place of what was done on the way."""
        if self.in_event is not None:
            while self.in_event and self.in_event[-1][0] > self.nested:
                self.in_event.pop()
            self.in_event.append((self.nested, out, self.engine.rec))
        return out

    def dispatch(self, func: Any, args: Any, kwargs: Any) -> Any:
        engine = self.engine
        engine.check_alive()
        if func.name() in FORMS:
            raise RuntimeError(NO_SYMBOLS)
        if func.namespace == "prim":
            with engine.fake_mode:
                return func(*tree_map(engine.weights.fake, args), **kwargs)
        if func in (aten._local_scalar_dense.default,):
            return self.local_scalar(args[0])
        if func is aten._linalg_check_errors.default and engine.caught():
            return check_linear_algebra(engine, self.ask, self.local_scalar, *args, **kwargs)
        if func is aten._pack_padded_sequence.default and engine.caught():
            packed.check_lengths(self.ask, self.local_scalar, *args)
        if func.overloadpacket in CHECKED and engine.caught(cleaning=False):
            check_numbers(engine, self.ask, self.local_scalar, func, args, kwargs)
        if func in (aten.lift_fresh.default, aten.lift.default, aten.lift_fresh_copy.default):
            if not isinstance(args[0], FakeTensor):
                return self.dispatch(aten.clone.default, (args[0],), {})
            return args[0]
        if func is aten._to_copy.default and isinstance(args[0], (bool, int, float, *SYMBOLIC)):  # vmap makes tensors of numbers so
            func, args, kwargs = aten.full.default, ([], args[0]), {k: v for k, v in kwargs.items() if k in ("dtype", "layout", "device")}
        if self.resumes():
            return self.resume()
        self.nested += 1
        try:
            out = self.perform(func, args, kwargs)
        finally:
            self.nested -= 1
        if func.is_view and func is not aten.detach.default and isinstance(args[0], torch.Tensor) and args[0].requires_grad:
            for view in tree_flatten(out)[0]:  # torch picks a matrix product by it
                view.requires_grad_()
        return self.done(out)

    def perform(self, func: Any, args: Any, kwargs: Any) -> Any:
        engine = self.engine
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd") and func not in KEEP:
            with self.engine.modes_on():
                done = func.decompose(*args, **kwargs)
            if done is not NotImplemented:
                return done
        args, kwargs = tree_map(engine.weights.fake, args), tree_map(engine.weights.fake, kwargs)
        flat, _ = tree_flatten((args, kwargs))
        symbolic = any(isinstance(a, SYMBOLIC) or (isinstance(a, torch.Tensor) and engine.has_symbols(a)) for a in flat)
        if symbolic and func in SQUEEZES:
            return squeeze(engine, self.ask, args[0], args[1:])
        outer, self.running = self.running, func.name()
        if symbolic:
            args, kwargs = settled(engine, self.ask, func, args, kwargs)
        if func.overloadpacket is aten.set_:  # torch's modes are not told of Tensor.set_
            engine.refuse("DY202", "`set_` changes a tensor's memory in place", "what showed it before would have to go on showing that",
                          "write its numbers with `.copy_(...)`, or bind the name anew")
        if func.overloadpacket.__name__ in REFORMING and id(args[0]) in engine.vals:
            return self.reformed(func, args, kwargs)
        counted = [t for t in tree_flatten(args[:2])[0] if isinstance(t, FakeTensor)] if func in COUNTING else []
        for t in counted:
            t.nonzero_memo = self.remembered("counts", engine.loose_value(t), t)
        if func in packed.PACKED:
            out = packed.form(self, func, args)
        else:
            engine.fake_mode.cache_enabled = not symbolic  # the cache asks about sizes, once: another run would not be asked
            try:
                with engine.fake_mode, enable_python_dispatcher() if symbolic else nullcontext():
                    out = func(*args, **kwargs)
            finally:
                engine.fake_mode.cache_enabled = False
        for t in counted:
            if isinstance(t.nonzero_memo, torch.SymInt):
                engine.rec.counts[engine.loose_value(t)] = t.nonzero_memo
        for t in flat:
            if isinstance(t, FakeTensor):
                t.nonzero_memo = t.item_memo = t.unique_memo = t.unique_consecutive_memo = None
        if func is aten._unsafe_view.default and outer in PRODUCTS and (whole := self.copied(args[0])) is not None:
            func, args = aten.reshape.default, (whole, *args[1:])
        self.record(func, args, kwargs, out)
        self.running = outer
        return out

    def copied(self, x: Any) -> Any:
        """The tensor of which x, with sizes known only at run time, is a contiguous copy; None where it is another thing."""
        made = self.engine.made_by.get(self.engine.vals.get(id(x)))
        if made is None or made.target is not aten.clone.default or not isinstance(made.args[0], Val) or not self.engine.has_symbols(x):
            return None
        return made.args[0].fake if made.kwargs.get("memory_format") is torch.contiguous_format else None

    def ask(self, func: Any, *args: Any) -> Any:
        return self.dispatch(func, args, {})

    def reformed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`x.squeeze_()` inside one of torch's own functions, recorded as the view that it is: x goes on as a new value."""
        engine = self.engine
        x = args[0]
        packet = getattr(aten, func.overloadpacket.__name__.removesuffix("_"))
        view = next(o for o in (getattr(packet, n) for n in packet.overloads()) if argument_types(o) == argument_types(func))
        with engine.fake_mode:
            before = aten.alias.default(x)
            func(*args, **kwargs)
        val = engine.vals[id(x)]
        val.fake, engine.vals[id(before)] = before, val
        new = engine.new_tensor(x, packet.__name__)
        self.append(view, (before, *args[1:]), kwargs, [new], True, False)
        return x

    def record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        engine = self.engine
        outs, _ = tree_flatten(out)
        single = not isinstance(out, (tuple, list))
        known = {id(a) for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)}
        vals: list[Val | None] = []
        for o in outs:
            if not isinstance(o, torch.Tensor) or id(o) in known:
                vals.append(None)
                continue
            vals.append(engine.new_tensor(o, label=func.overloadpacket.__name__))
            engine.rec.weight = max(engine.rec.weight, *(weight(s.node.expr) for s in o.shape if isinstance(s, torch.SymInt)), 0)
        hidden = func._schema.name in HIDDEN_WRITES
        if func._schema.is_mutable or hidden:
            given = {a.name: kwargs.get(a.name, args[n] if n < len(args) else None) for n, a in enumerate(func._schema.arguments)}
            changed = [given[a.name] for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
            changed += [given["running_mean"], given["running_var"]] if hidden and given["training"] else []
            hidden = any(isinstance(t, torch.Tensor) for t in changed)
            for written in tree_flatten(changed)[0]:
                if isinstance(written, torch.Tensor):
                    if func._schema.name.endswith("_") and any(
                            step == 0 and engine.known_int(n) not in (0, 1, None) for n, step in zip(written.shape, written.stride())):
                        raise RuntimeError(WRITTEN_TWICE)
                    self.tie(written)
                    engine.memory.write(written, engine.rec)
        if engine.caching and torch.Tag.nondeterministic_seeded in func.tags:
            engine.once("draws random numbers")
        effect = func._schema.is_mutable or hidden or torch.Tag.nondeterministic_seeded in func.tags or not func._schema.returns
        self.append(func, args, kwargs, vals, single, effect)
        for val in vals:
            if val is not None:
                engine.bind_sizes(val)

    def tie(self, written: Any) -> None:
        """Before a weight is written: other weights in its memory are to show that."""
        engine = self.engine
        for name in engine.weights.in_memory_of(written):
            if (array := engine.weights.arrays.get(name)) is not None:
                shown = engine.heap.names[engine.heap.index[id(array)]]
                engine.refuse("DY405", f"forward writes memory that an array of the model's shows too: {shown}",
                              "a write through one of them would have to show in the other", "make the array in forward, by `.numpy()`")
            try:
                if engine.weights.tie(name):
                    engine.start_again()
            except ValueError as error:
                engine.refuse("DY405", f"forward writes memory that tensors of several dtypes show: {error}",
                              "a write through one of them would have to show in the others", "make the others views in forward")

    def append(self, func: Any, args: Any, kwargs: Any, vals: list[Val | None], single: bool, effect: bool) -> None:
        engine = self.engine
        span = engine.span()
        for v in vals:
            if v is not None:
                v.span = span
        op = Op(func, tree_map(self.operand, tuple(args)), tree_map(self.operand, dict(kwargs)), tuple(vals), single, span, effect)
        engine.rec.ops.append(op)
        made = [v for v in vals if v is not None]
        engine.made_by.update(dict.fromkeys(made, op))
        if not effect and func not in EMPTY and all(map(self.is_literal, tree_flatten((op.args, op.kwargs), is_leaf=is_operand)[0])):
            self.literals.update(made)

    def is_literal(self, x: Any) -> bool:
        if isinstance(x, Val):
            return x in self.literals
        return x.name.startswith("constant_") if isinstance(x, Weight) else not isinstance(x, Use)

    def operand(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return self.engine.value(x)
        if isinstance(x, SYMBOLIC):
            scalar = scalar_of(x)
            if isinstance(scalar, (bool, int, float)):
                return scalar
            self.engine.check_visible(scalar)
            return Use(scalar)
        return x


SIZED_METHODS = frozenset({
    "view", "reshape", "expand", "repeat", "new_zeros", "new_ones", "new_empty", "narrow", "topk", "kthvalue", "roll", "chunk", "split",
    "tensor_split", "select", "pad", "multinomial", "tril", "triu", "diagonal", "unfold", "one_hot", "interpolate", "flip", "unsqueeze"})
SIZED = SIZED_METHODS | {"zeros", "ones", "empty", "rand", "randn", "randperm", "eye"}
"""Functions that take sizes, and others whose numbers are integers: one-number tensors stand for numbers there."""
INFERRING = frozenset({"view", "reshape", "expand"})
"""Functions that compute a size given as -1."""
REFORMING = frozenset({"squeeze_", "unsqueeze_", "t_", "transpose_", "swapaxes_", "swapdims_"})
"""Operations that make their argument a view of itself."""
EMPTY = frozenset({aten.empty.memory_format, aten.empty_strided.default, aten.empty_like.default, aten.new_empty.default,
                   aten.new_empty_strided.default})
PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "linear", "einsum", "tensordot", "inner", "bilinear", "chain_matmul",
                      "multi_dot", "scaled_dot_product_attention", "multi_head_attention_forward"})
"""Functions that reshape what they multiply: with sizes of 1 that is a view where it is a copy with others, and the kernel asks for which
bits that gives."""
COUNTING = frozenset({aten.nonzero.default, aten.index.Tensor})
"""Operations whose result has as many rows as a mask has elements that are not 0: the same number each time."""
KEEP = frozenset({aten.unique_consecutive.default, *packed.PACKED})
NO_VIEWS = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)
"""Autograd's books of views: a call that goes on after a fork gives torch the same view twice, which they do not take."""
FAKES_OWN = ("Sym", "fake", "Fake", "meta", "Meta", "not implemented", "Internal", "INTERNAL")
"""Words in what only torch's tracing says."""
FORMS = frozenset({"aten::size", "aten::stride"})
"""What C++ code asks that takes plain numbers alone."""
NO_SYMBOLS = "SymIntArrayRef expected to contain only concrete integers"


def of_torch(error: Exception) -> Exception:
    """The error, marked as torch's own where eager has it too: what its fakes assert is a RuntimeError of its kernels."""
    text = str(error)
    kernels_own = isinstance(error, (RuntimeError, IndexError, ValueError, AssertionError)) and not isinstance(error, NotImplementedError)
    if kernels_own and "dync_of_model" not in error.__dict__ and not any(word in text for word in FAKES_OWN):
        error.__dict__["dync_of_torch"] = (RuntimeError if isinstance(error, AssertionError) else type(error)), text
    return error


def is_operand(x: Any) -> bool:
    return isinstance(x, (Val, Use, Weight))


def sizes_in(args: Any) -> Iterator[Any]:
    for a in args:
        yield from sizes_in(a) if isinstance(a, (tuple, list)) else (a,)


def outside_torch_tensor() -> Any:
    """The frame that asked for a tensor's text."""
    frame: Any = sys._getframe(1)
    while not is_user(frame.f_code) and (
            frame.f_code.co_filename.startswith(OURS) or frame.f_code.co_filename.endswith(("_tensor.py", "overrides.py"))):
        frame = frame.f_back
    return frame


def argument_types(op: Any) -> list[str]:
    return [str(a.type) for a in op._schema.arguments]


def event_key(engine: Any, x: Any) -> Any:
    """Something that is equal exactly when a replay passes the same argument."""
    if isinstance(x, torch.Tensor):
        return id(x)
    if isinstance(x, SYMBOLIC):
        return str(x.node.expr) if isinstance(x.node.expr, sympy.Basic) else x.node.expr
    if isinstance(x, (list, tuple)):
        return tuple(event_key(engine, v) for v in x)
    if isinstance(x, (int, float, str, bool, type(None), torch.dtype)):
        return (type(x), repr(x))
    return type(x)


__all__ = ["DispatchMode", "FunctionMode", "Recorder", "Use", "Weight"]
