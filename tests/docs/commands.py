"""The commands of `sendledger`, and the settings that each of them reads, taken from its code."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import typer.main
from pydantic.fields import FieldInfo

from cli.main import app
from schemas import settings

__all__ = ["commands", "readers"]

_READING: Final = ("settings_from_env", "settings_with_dev_env")
"""The functions of `cli.settings` with which commands read settings."""

Fields = dict[str, FieldInfo]


def commands() -> list[tuple[str, Any]]:
    """Return every command that does something, by its full name (`worker ledger`), in the order of the help."""
    return list(_leaves(typer.main.get_command(app), ()))


def readers() -> dict[str, Fields]:
    """Return the settings that each command reads, without commands that read none.

    `up` and `doctor` are not among them: they set and check all settings, of classes that they choose while running.
    """
    found = {name: _fields_read_by(inspect.unwrap(command.callback)) for name, command in commands()}
    return {name: fields for name, fields in found.items() if fields}


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


def _fields_read_by(command: Any) -> Fields:
    """Return the settings that are read by the function of a command, or by a function of its module that it calls."""
    module = inspect.getmodule(command)
    assert module is not None
    fields: Fields = {}
    for function in _reached(module, command.__name__):
        # `settings_with_dev_env(TokenSettings).token_secret` reads one field.
        single = {id(node.value): node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _READING:
                read = _fields_of(node)
                fields |= {single[id(node)]: read[single[id(node)]]} if id(node) in single else read
    return fields


def _reached(module: ModuleType, name: str) -> list[ast.FunctionDef]:
    """Return a function of a module and all functions of the module that it calls, directly or not."""
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found: list[str] = [name]
    for one in found:
        called = (node.id for node in ast.walk(functions[one]) if isinstance(node, ast.Name))
        found += {other for other in called if other in functions and other not in found}
    return [functions[one] for one in found]


def _fields_of(call: ast.Call) -> Fields:
    """Return the fields of the settings classes in the first argument, without those that the call itself sets."""
    given = {keyword.arg for keyword in call.keywords}
    kinds = (
        getattr(settings, node.id)
        for node in ast.walk(call.args[0])
        if isinstance(node, ast.Name) and node.id.endswith("Settings")
    )
    return {name: field for kind in kinds for name, field in kind.model_fields.items() if name not in given}
