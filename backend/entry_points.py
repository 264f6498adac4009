"""Commands of other packages: they join a group of the command line through entry points.

Each entry point names a function whose annotations are typer's, and its own name is the command's. They are
loaded when they are asked for, so that ``--help`` stays quick.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from backend.errors import BadInput


class JoinedGroup(TyperGroup):
    """A group's own commands, and those of the entry points in ``joined_from``."""

    joined_from: ClassVar[str]

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *sorted(set(self._entry_points()) - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        point = self._entry_points().get(cmd_name)
        if point is None:
            return None
        try:
            function = point.load()
        except ImportError as error:
            raise BadInput(f"`{ctx.command_path} {cmd_name}` cannot be loaded here ({error})") from error
        joined = typer.Typer(add_completion=False, rich_markup_mode=None)
        joined.command(cmd_name)(function)
        return typer.main.get_command(joined)

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.joined_from)}
