"""Pickles, read by a closed machine.

A pickle is a program for a stack machine, and Python's own lets it call whatever can be imported. This one has the
instructions that trees of plain values are written with. Names that a program asks for are looked up in a table of the
caller's, and what is not in it is refused; nothing is ever imported. Time and memory are bounded by the length of the
program: its machine has no loops, does not recurse, and copies nothing but references.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any

from ._bounded import Refused, shown

LONGEST = 2**26  # bytes of a program, and
MOST = 2 * 10**6  # instructions; PyTorch takes 40 for a tensor, in 200 bytes

_PUSH_ARGUMENT = frozenset(
    "BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING BININT BININT1 BININT2 LONG1 BINFLOAT".split()
)
_PUSH = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


def run(stream: IO[bytes], names: Mapping[str, Any], persistent: Callable[[Any], Any]) -> Any:
    """Run the pickle that begins here, to its end, and return what it leaves.

    Parameters
    ----------
    stream : binary file
        Of at most `LONGEST` bytes; afterwards it stands behind the pickle.
    names : mapping of str to object
        What ``"module.name"`` stands for. A program may call those that are functions, and only those.
    persistent : function
        What a reference out of the pickle stands for.

    Raises
    ------
    Refused
        If the program asks for a name that is not in the table, or has an instruction that is not known here.
    Exception
        Whatever comes of a program that is none.
    """
    machine = _Machine(names, persistent)
    for _ in range(MOST):
        opcode = _CODES.get(stream.read(1))
        if opcode is None:
            raise ValueError("a pickle ends too early, or has an instruction that is none")
        if opcode.name not in _KNOWN:  # before its argument is looked at
            raise Refused(f"has a pickle with the instruction {opcode.name}, which weights do without")
        machine.step(opcode.name, None if opcode.arg is None else opcode.arg.reader(stream))
        if opcode.name == "STOP":
            (result,) = machine.stack
            return result
    raise Refused(f"has a pickle of more than {MOST} instructions")


class _Machine:
    def __init__(self, names: Mapping[str, Any], persistent: Callable[[Any], Any]):
        self.names, self.persistent = names, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stack's parts below each mark
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Take one instruction."""
        if name in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif name in _PUSH:
            self.stack.append(_PUSH[name])
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self.taken(_TUPLES[name]))]
        else:
            _INSTRUCTIONS[name](self, argument)

    def taken(self, count: int) -> list[Any]:
        """The topmost values."""
        if len(self.stack) < count:
            raise ValueError("a pickle takes more from its stack than is there")
        return self.stack[-count:]

    def to_mark(self) -> list[Any]:
        """Remove the latest mark, and return the values above it."""
        above, self.stack = self.stack, self.below.pop()
        return above

    def protocol(self, version: int) -> None:
        if version > 5:
            raise ValueError(f"a pickle is of protocol {version}")

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def tuple(self, _: Any) -> None:
        items = tuple(self.to_mark())
        self.stack.append(items)

    def remember(self, key: Any) -> None:
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def recall(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("a pickle sets items of what is no dict")
        for key in items[::2]:
            if type(key) is not str and (type(key) is not int or key.bit_length() > 64):
                raise Refused(f"has a key that is neither text nor a small integer, but {type(key).__name__}")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("a pickle appends to what is no list")
        self.stack[-1].extend(items)

    def look_up(self, module: Any, name: Any) -> None:
        if f"{module}.{name}" not in self.names:
            text = shown([f"{module}.{name}"])
            raise Refused(
                f"asks for {text}, which a file of weights has no need of; nothing was run. "
                "Save the state_dict() of the model, of tensors alone, or save it as safetensors"
            )
        self.stack.append(self.names[f"{module}.{name}"])

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise ValueError("a pickle asks for a name that is no text")
        self.look_up(module, name)

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple or not callable(function):
            raise ValueError("a pickle calls what is no function")
        self.stack.append(function(*arguments))

    def attributes(self, _: Any) -> None:
        self.stack.pop()  # such as an OrderedDict's _metadata
        if type(self.stack[-1]) is not dict:
            raise ValueError("a pickle sets attributes of what is no dict")


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": _Machine.mark,
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "TUPLE": _Machine.tuple,
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.to_mark()),
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, argument: machine.look_up(*argument.rsplit(" ", 1)),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.attributes,
    "BINPERSID": lambda machine, _: machine.stack.append(machine.persistent(machine.stack.pop())),
}
_KNOWN = frozenset({*_PUSH_ARGUMENT, *_PUSH, *_TUPLES, *_INSTRUCTIONS})
