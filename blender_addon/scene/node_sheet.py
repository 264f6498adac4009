"""Formulas as nodes: a sheet lays the nodes of one tree out in rows as the formula is written down."""

from __future__ import annotations

from typing import Any

Operand = Any  # an output socket, a number, or three numbers

COLUMN = 180.0
ROW = 170.0
PER_ROW = 12


class Sheet:
    """Nodes added one after the other to ``tree``; every method returns the new node or its output."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self._count = 0

    def node(self, kind: str, **settings: Any) -> Any:
        """A node of type ``kind`` with attributes set."""
        node = self.tree.nodes.new(kind)
        node.location = (COLUMN * (self._count % PER_ROW), -ROW * (self._count // PER_ROW))
        self._count += 1
        for name, value in settings.items():
            setattr(node, name, value)
        return node

    def feed(self, socket: Any, operand: Operand) -> None:
        """Link a socket, or set its value."""
        if hasattr(operand, "is_linked"):
            self.tree.links.new(operand, socket)
        else:
            socket.default_value = operand

    def math(self, operation: str, *operands: Operand) -> Any:
        """A scalar operation."""
        node = self.node("ShaderNodeMath", operation=operation)
        for socket, operand in zip(node.inputs, operands, strict=False):
            self.feed(socket, operand)
        return node.outputs[0]

    def vector(self, operation: str, *operands: Operand) -> Any:
        """A vector operation; its scalar output where that is what it computes."""
        node = self.node("ShaderNodeVectorMath", operation=operation)
        sockets = [socket for socket in node.inputs if socket.enabled]
        for socket, operand in zip(sockets, operands, strict=True):
            self.feed(socket, operand)
        return next(socket for socket in node.outputs if socket.enabled)

    def split(self, vector: Any) -> tuple[Any, Any, Any]:
        """The components of a vector."""
        node = self.node("ShaderNodeSeparateXYZ")
        self.feed(node.inputs[0], vector)
        return node.outputs[0], node.outputs[1], node.outputs[2]

    def join(self, x: Operand, y: Operand, z: Operand) -> Any:
        """A vector of three components."""
        node = self.node("ShaderNodeCombineXYZ")
        for socket, operand in zip(node.inputs, (x, y, z), strict=True):
            self.feed(socket, operand)
        return node.outputs[0]

    def total(self, terms: list[Any]) -> Any:
        """The sum of scalars."""
        result = terms[0]
        for term in terms[1:]:
            result = self.math("ADD", result, term)
        return result
