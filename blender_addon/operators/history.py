"""What was made before: import, reproduce, vary, forget; avatar folders opened by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import bpy
from bpy.props import IntProperty, StringProperty

from .. import heads, obstacles, runtime, waiting
from ..bundle import MANIFEST_NAME, BundleError, is_bundle
from ..view import JobView, preset_label
from .base import LikenessOperator, Refusal


class LIKENESS_OT_import_avatar(LikenessOperator):
    """Import an avatar folder (one with avatar.json); needs no backend"""

    bl_idname = "likeness.import_avatar"
    bl_label = "Import Avatar Folder…"
    bl_options = {"REGISTER"}

    directory: StringProperty(name="Avatar folder", subtype="DIR_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=MANIFEST_NAME, options={"HIDDEN"})

    def invoke(self, context: Any, _event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        if not self.directory:
            raise Refusal("Choose the avatar's folder (directory=…)")
        directory = Path(bpy.path.abspath(self.directory))
        if not is_bundle(directory):
            raise BundleError(f"'{directory}' is not an avatar: it has no {MANIFEST_NAME}")
        current = runtime.get()
        current.import_folder(directory)
        if bpy.app.background:
            waiting.import_all(current)


class LIKENESS_OT_reimport(LikenessOperator):
    """Import this head into the open file, again if need be"""

    bl_idname = "likeness.reimport"
    bl_label = "Import Head"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def run(self, context: Any) -> None:
        known = known_job(self.job)
        current = runtime.get()
        if known.is_take and heads.active(context) is None:
            raise Refusal(heads.obstacle(context) or "Select a head first")
        current.import_job(self.job, heads.active(context) if known.is_take else None)
        if bpy.app.background:
            waiting.import_all(current)


class LIKENESS_OT_reproduce(LikenessOperator):
    """Make this head again with the same photo, settings and seed"""

    bl_idname = "likeness.reproduce"
    bl_label = "Reproduce"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def run(self, context: Any) -> None:
        known_job(self.job)
        runtime.get().vary(self.job)


class LIKENESS_OT_variant(LikenessOperator):
    """Make another version of this head: same photo, another seed"""

    bl_idname = "likeness.variant"
    bl_label = "Variant"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})
    seed: IntProperty(
        name="Seed",
        description="Seed of the variant; -1 draws one",
        default=-1,
        min=-1,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def run(self, context: Any) -> None:
        known_job(self.job)
        seed = self.seed if self.seed >= 0 else random.randrange(1, 10_000)
        runtime.get().vary(self.job, seed=seed)


class LIKENESS_OT_forget_photo(LikenessOperator):
    """Delete everything that the backend keeps of this photo. Heads in .blend files stay"""

    bl_idname = "likeness.forget_photo"
    bl_label = "Forget Photo"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def invoke(self, context: Any, event: Any) -> set[str]:
        confirmed: set[str] = context.window_manager.invoke_confirm(
            self,
            event,
            title="Forget this photo?",
            message="Picture, stages and avatars of it are deleted. This cannot be undone.",
            confirm_text="Forget",
            icon="WARNING",
        )
        return confirmed

    def run(self, context: Any) -> None:
        runtime.get().forget(known_job(self.job).photo_sha256)


class LIKENESS_OT_job_menu(LikenessOperator):
    """What can be done with this reconstruction"""

    bl_idname = "likeness.job_menu"
    bl_label = "Reconstruction"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> None:
        job = known_job(self.job)

        def draw(menu: Any, _context: Any) -> None:
            draw_job_menu(menu.layout, job)

        title = f"{job.name} · {preset_label(job.options.maps)} · seed {job.options.seed}"
        context.window_manager.popup_menu(draw, title=title)


class LIKENESS_OT_more_history(LikenessOperator):
    """Show more of the history"""

    bl_idname = "likeness.more_history"
    bl_label = "Show More"

    def run(self, context: Any) -> None:
        context.window_manager.likeness.history_rows += 8


CLASSES = (
    LIKENESS_OT_import_avatar,
    LIKENESS_OT_reimport,
    LIKENESS_OT_reproduce,
    LIKENESS_OT_variant,
    LIKENESS_OT_forget_photo,
    LIKENESS_OT_job_menu,
    LIKENESS_OT_more_history,
)


def known_job(job: str) -> JobView:
    """The job in the view. Raises: Refusal."""
    known = runtime.get().view.jobs.get(job)
    if known is None:
        raise Refusal("The backend no longer knows this reconstruction")
    return known


def draw_job_menu(layout: Any, job: JobView) -> None:
    """Entries for one finished job."""
    if job.state == "done":
        layout.operator("likeness.reimport", icon="IMPORT").job = job.job
    else:
        layout.operator("likeness.rerun", icon="FILE_REFRESH").job = job.job
    layout.separator()
    if not job.is_take:
        _draw_again(layout, job)
        layout.separator()
    layout.operator_context = "INVOKE_DEFAULT"
    layout.operator("likeness.forget_photo", text="Forget Photo…", icon="TRASH").job = job.job


def _draw_again(layout: Any, job: JobView) -> None:
    layout.operator("likeness.reproduce", text="Reproduce (same seed)", icon="DUPLICATE").job = job.job
    layout.operator("likeness.variant", text="Variant (new seed)", icon="MOD_ARRAY").job = job.job
