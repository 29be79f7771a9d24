"""One change to a program: an operator, a comparison, a constant or a returned value."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And, ast.Pow: ast.Mult,
}  # fmt: skip


def mutants(program: str, entry: str, seed: str) -> Iterator[tuple[str, str]]:
    """(what was changed, the program), in a random order that the seed decides; changes of the last return come last."""
    tree = ast.parse(program)
    places = [i for i, node in enumerate(_nodes(tree, entry)) if _change(copy.deepcopy(node))]
    random.Random(seed).shuffle(places)
    places.sort(key=lambda i: isinstance(_nodes(tree, entry)[i], ast.Return))
    for place in places:
        changed = copy.deepcopy(tree)
        what = _change(_nodes(changed, entry)[place])
        yield what, ast.unparse(ast.fix_missing_locations(changed))


def _nodes(tree: ast.Module, entry: str) -> list[ast.AST]:
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry)
    return [node for statement in function.body for node in ast.walk(statement)]


def _change(node: ast.AST) -> str:
    """Changes the node itself; empty where there is nothing to change."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in _SWAPS:
        before = type(node.op)
        node.op = _SWAPS[before]()  # type: ignore[assignment]
        return f"line {node.lineno}: {before.__name__}"
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        before_op = type(node.ops[0])
        node.ops[0] = _SWAPS[before_op]()  # type: ignore[assignment]
        return f"line {node.lineno}: {before_op.__name__}"
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        return f"line {node.lineno}: constant"
    if isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Tuple([node.value, ast.Constant("changed")], ast.Load())
        return f"line {node.lineno}: return"
    return ""
