"""Stands in for Blender's UILayout: checks every call against Blender's own tables and keeps the texts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class FakeLayout:
    """Records what is drawn; raises for an unknown icon, operator or property."""

    def __init__(self, bpy: Any, drawn: list[tuple[str, ...]] | None = None, enabled: bool = True) -> None:
        self._bpy = bpy
        self.drawn: list[tuple[str, ...]] = [] if drawn is None else drawn
        self.enabled = enabled
        self.active = self.alert = True
        self.use_property_split = self.use_property_decorate = False
        self.scale_x = self.scale_y = 1.0
        self.alignment = "EXPAND"
        self.operator_context = "INVOKE_DEFAULT"

    # containers
    def row(self, **options: Any) -> FakeLayout:
        return self._inner("row", options)

    def column(self, **options: Any) -> FakeLayout:
        return self._inner("column", options)

    def box(self) -> FakeLayout:
        return self._inner("box", {})

    def split(self, **options: Any) -> FakeLayout:
        return self._inner("split", options)

    def grid_flow(self, **options: Any) -> FakeLayout:
        return self._inner("grid_flow", options)

    # contents
    def label(self, *, text: str = "", icon: str = "NONE", icon_value: int = 0) -> None:
        self._check("label", {"text": text, "icon": icon, "icon_value": icon_value})
        self.drawn.append(("label", text))

    def separator(self, **options: Any) -> None:
        self._check("separator", options)

    def progress(self, **options: Any) -> None:
        self._check("progress", options)
        assert 0.0 <= options["factor"] <= 1.0
        self.drawn.append(("progress", options.get("text", "")))

    def template_icon(self, **options: Any) -> None:
        self._check("template_icon", options)
        assert options["icon_value"] > 0
        self.drawn.append(("icon", ""))

    def template_icon_view(self, data: Any, name: str, **options: Any) -> None:
        self._property(data, name)
        self._check("template_icon_view", options)

    def prop(self, data: Any, name: str, **options: Any) -> None:
        self._property(data, name)
        self._check("prop", options)
        self.drawn.append(("prop", name))

    def operator(self, name: str, **options: Any) -> Any:
        self._check("operator", options)
        module, _, function = name.partition(".")
        rna = getattr(getattr(self._bpy.ops, module), function).get_rna_type()  # raises when unknown
        self.drawn.append(("operator" if self.enabled else "disabled", name, options.get("text", rna.name)))
        return _Properties(rna)

    def texts(self) -> str:
        """All labels, in the order drawn."""
        return " ".join(entry[1] for entry in self.drawn if entry[0] in ("label", "progress"))

    def buttons(self, *, enabled: bool) -> set[str]:
        """Operators that can be pressed, or cannot."""
        return {entry[1] for entry in self.drawn if entry[0] == ("operator" if enabled else "disabled")}

    def _inner(self, name: str, options: dict[str, Any]) -> FakeLayout:
        self._check(name, options)
        return FakeLayout(self._bpy, self.drawn, self.enabled)

    def __setattr__(self, name: str, value: Any) -> None:
        known = (
            self._bpy.types.UILayout.bl_rna.properties if name[0] != "_" and "_bpy" in vars(self) else None
        )
        assert known is None or name in known or name in ("drawn",), f"a layout has no '{name}'"
        super().__setattr__(name, value)

    def _check(self, function: str, options: dict[str, Any]) -> None:
        parameters = self._bpy.types.UILayout.bl_rna.functions[function].parameters
        for key, value in options.items():
            assert key in parameters, f"layout.{function} has no '{key}'"
            if key == "icon":
                assert value in parameters["icon"].enum_items, f"Blender has no icon '{value}'"
            if key == "text":
                assert isinstance(value, str)

    @staticmethod
    def _property(data: Any, name: str) -> None:
        assert name in data.bl_rna.properties, f"{data} has no property '{name}'"


class _Properties(SimpleNamespace):
    def __init__(self, rna: Any) -> None:
        super().__init__()
        object.__setattr__(self, "_rna", rna)

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self._rna.properties, f"{self._rna.identifier} has no property '{name}'"
        super().__setattr__(name, value)
