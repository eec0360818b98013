"""Mistakes that people make and mutmut's operators don't: a step or a check left out, or steps in another order."""

from collections.abc import Iterable
from itertools import pairwise

import libcst as cst
import libcst.matchers as m
from mutmut.mutation.mutators import mutation_operators

#: A statement that is only there for its effect; words for the operator have none that counts.
STEP = m.SimpleStatementLine(body=[m.Expr(value=m.Call() | m.Await())])
WORDS = m.SimpleStatementLine(body=[m.Expr(value=m.Call(func=m.Attribute(value=m.Name("log"))))])
#: Conditions that mutmut leaves as they are.
PLAIN = m.Name() | m.Attribute() | m.Call() | m.Await() | m.Subscript()
OTHER_EXTREME = {"max": "min", "min": "max", "any": "all", "all": "any"}


def leave_out_a_step(node: cst.SimpleStatementLine) -> Iterable[cst.SimpleStatementLine]:
    """``write(x)`` to ``pass``."""
    if _is_step(node):
        yield node.with_changes(body=[cst.Pass()])


def swap_steps(node: cst.IndentedBlock) -> Iterable[cst.IndentedBlock]:
    """``a(); b()`` to ``b(); a()``."""
    for at, (first, second) in enumerate(pairwise(node.body)):
        if _is_step(first) and _is_step(second):
            yield node.with_changes(body=[*node.body[:at], second, first, *node.body[at + 2 :]])


def leave_out_a_check(node: cst.If) -> Iterable[cst.If]:
    """``if x: …`` to ``if x and False: …``, where there is no else."""
    if node.orelse is None:
        yield node.with_changes(test=_and_false(node.test))


def turn_a_check(node: cst.If | cst.While) -> Iterable[cst.BaseCompoundStatement]:
    """``if x`` to ``if not x``."""
    if m.matches(node.test, PLAIN):
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), node.test))


def leave_out_a_condition(node: cst.BooleanOperation) -> Iterable[cst.BaseExpression]:
    """``x and y`` to ``x``, and to ``y``."""
    for side in (node.left, node.right):
        yield _in_brackets(side)


def take_the_other_extreme(node: cst.Call) -> Iterable[cst.Call]:
    """``max(x, y)`` to ``min(x, y)``."""
    if isinstance(node.func, cst.Name) and node.func.value in OTHER_EXTREME:
        yield node.with_changes(func=cst.Name(OTHER_EXTREME[node.func.value]))


def take_one_side(node: cst.IfExp) -> Iterable[cst.IfExp]:
    """``x if y else z`` always to ``z``, and always to ``x``."""
    yield node.with_changes(test=_and_false(node.test))
    yield node.with_changes(test=cst.BooleanOperation(_in_brackets(node.test), cst.Or(), cst.Name("True")))


def _is_step(node: cst.CSTNode) -> bool:
    return m.matches(node, STEP) and not m.matches(node, WORDS)


def _and_false(test: cst.BaseExpression) -> cst.BooleanOperation:
    return cst.BooleanOperation(_in_brackets(test), cst.And(), cst.Name("False"))


def _in_brackets(expression: cst.BaseExpression) -> cst.BaseExpression:
    return expression.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def add_operators() -> None:
    """Let mutmut make these, too."""
    mutation_operators.extend(  # type: ignore[attr-defined]
        [
            (cst.SimpleStatementLine, leave_out_a_step),
            (cst.IndentedBlock, swap_steps),
            (cst.If, leave_out_a_check),
            (cst.If, turn_a_check),
            (cst.While, turn_a_check),
            (cst.BooleanOperation, leave_out_a_condition),
            (cst.IfExp, take_one_side),
            (cst.Call, take_the_other_extreme),
        ]
    )
