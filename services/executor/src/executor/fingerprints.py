"""Cheap fingerprints for dask, in a process that runs one project and ends.

dask names every step of a graph after a fingerprint of its function and arguments. For what earthmover hands
it (closures, nodes, Jinja templates) that is the hash of a pickle, made three times over: the closures reach
the whole project, and for each function that Jinja compiled cloudpickle searches every attribute of every
imported module for its home, in vain. Names only have to differ where steps differ, so two things are cut
short:

- a function of a Jinja template (`<template>`) has no home: say so without the search. This is the answer the
  search ends with, because Jinja executes templates in a dictionary of its own;
- earthmover's projects, nodes, operations, error contexts and closures, and Jinja templates, are
  fingerprinted
  by identity. Each is counted and kept alive, so that no two ever share a number. At worst, two equal steps
  are no longer recognised as one and are computed twice.

Outputs are the same bytes (the tests compare). The README has the measurements.
"""

import types
from typing import Any

TEMPLATE = "<template>"


def install() -> None:
    """Put both shortcuts in place; call it after earthmover is imported."""
    _know_templates_have_no_home()
    _tell_objects_apart_by_identity()


def _know_templates_have_no_home() -> None:
    from cloudpickle import cloudpickle  # type: ignore[import-untyped]

    search = cloudpickle._whichmodule

    def home(thing: Any, name: str) -> Any:
        code = getattr(thing, "__code__", None)
        if code is not None and code.co_filename == TEMPLATE and getattr(thing, "__module__", None) is None:
            return None
        return search(thing, name)

    cloudpickle._whichmodule = home


def _tell_objects_apart_by_identity() -> None:
    from dask.base import normalize_token
    from earthmover.earthmover import Earthmover
    from earthmover.error_handler import ErrorHandler
    from earthmover.nodes.node import Node
    from earthmover.operations.operation import Operation
    from jinja2 import Template

    tokens: Any = normalize_token
    seen: dict[int, tuple[int, object]] = {}
    by_value = tokens.dispatch(object)

    def identity(thing: object) -> tuple[str, int]:
        return "identity", seen.setdefault(id(thing), (len(seen), thing))[0]

    def function(thing: types.FunctionType) -> Any:
        is_closure = "<" in thing.__qualname__ and str(thing.__module__).startswith("earthmover.")
        return identity(thing) if is_closure else by_value(thing)

    for kind in (Earthmover, ErrorHandler, Node, Operation, Template):
        tokens.register(kind, identity)
    tokens.register(types.FunctionType, function)
