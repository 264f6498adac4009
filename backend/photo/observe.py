"""From a decoded photograph to the observation of one face: the first stage of the pipeline."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from backend.artifacts import FaceBox, Observation, Photo, Run
from backend.errors import BadInput
from backend.photo.detect import FoundFace, find_faces
from backend.photo.focal import initial_focal_px
from backend.photo.hidden import Hidden, find_hidden
from backend.photo.landmarks import Landmarks
from backend.photo.make_up import made_up_parts
from backend.photo.mediapipe_graphs import FaceNetworks
from backend.photo.rendition import made_usable
from backend.photo.segment import segment

MIN_FACE_PX = 64
SMALL_FACE_PX = 80  # below it a warning says so
CUT_SHARE = 0.05  # of the face's points outside the picture that is worth a warning


def observe(photo: Photo, run: Run, face: int | None = None) -> Observation:
    """Observe face ``face`` of ``detect_faces``' order, the largest and most central one when None.

    Raises: BadInput (no face, face under 64 px, no such face), Missing (mediapipe), Cancelled.
    """
    with FaceNetworks() as networks:
        faces = _find(photo, run, networks)
        if face is None and len(faces) > 1:
            run.warn(
                f"{len(faces)} faces found; face 0, the largest and most central, was taken "
                f"(--face 0 to {len(faces) - 1} chooses another)"
            )
        index = face or 0
        if not 0 <= index < len(faces):
            raise BadInput(f"there is no face {index} in {photo.name}; it has {len(faces)}, numbered from 0")
        _check_size(photo, faces[index].box)
        return _observe(photo, run, faces, index, networks)


def observe_all(photo: Photo, run: Run) -> tuple[Observation, ...]:
    """Observe every face of at least 64 px, best first; a warning counts the smaller ones.

    Raises as ``observe``.
    """
    with FaceNetworks() as networks:
        faces = _find(photo, run, networks)
        large = [i for i, face in enumerate(faces) if max(face.box.size) >= MIN_FACE_PX]
        if not large:
            _check_size(photo, faces[0].box)
        if len(large) < len(faces):
            run.warn(f"{len(faces) - len(large)} faces under {MIN_FACE_PX} px were left out")
        return tuple(_observe(photo, run, faces, index, networks) for index in large)


def _find(photo: Photo, run: Run, networks: FaceNetworks) -> tuple[FoundFace, ...]:
    run.progress("observation", 0.0)
    faces = find_faces(photo, run, networks)
    if not faces:
        raise BadInput(
            f"no human face found in {photo.name}; "
            "give a photograph that shows one from the front or half side"
        )
    return faces


def _check_size(photo: Photo, face: FaceBox) -> None:
    if max(face.size) < MIN_FACE_PX:
        raise BadInput(
            f"the face in {photo.name} is {face.size[0]:.0f}×{face.size[1]:.0f} pixels; "
            f"at least {MIN_FACE_PX} are needed, give a larger picture"
        )


def _observe(
    photo: Photo, run: Run, faces: tuple[FoundFace, ...], index: int, networks: FaceNetworks
) -> Observation:
    box, landmarks = faces[index].box, faces[index].landmarks
    if abs(landmarks.roll) > math.radians(60):
        run.warn(f"the face lies at {math.degrees(landmarks.roll):.0f}°; turn the photograph upright")
    run.progress("observation", 0.6)
    _warn_of_frame(photo, landmarks, run)
    hidden = find_hidden(photo, landmarks)
    _warn_of_hidden(photo, hidden, run)
    landmarks = replace(landmarks, visible=np.where(hidden.points, 0, landmarks.visible).astype(np.float32))
    _warn_of_make_up(photo, landmarks, run)
    skin, person = segment(photo, landmarks, networks)
    photo, skin = made_usable(photo, (skin * (1 - hidden.mask)).astype(np.float32), run)
    focal_px, source = initial_focal_px(photo, box)
    run.progress("observation", 1.0)
    return Observation(
        photo=photo,
        faces=tuple(face.box for face in faces),
        face_index=index,
        landmarks_px=landmarks.points_px,
        landmarks_depth=landmarks.depth_px,
        landmarks_visible=landmarks.visible,
        skin_mask=skin,
        person_mask=person,
        focal_px=focal_px,
        focal_source=source,
    )


def _warn_of_frame(photo: Photo, landmarks: Landmarks, run: Run) -> None:
    """Say that the face is small or leaves the picture."""
    x0, y0, x1, y1 = landmarks.box
    if max(x1 - x0, y1 - y0) < SMALL_FACE_PX:
        run.warn(
            f"The face in {photo.name} is only {x1 - x0:.0f}×{y1 - y0:.0f} pixels; "
            "a larger picture would show its skin."
        )
    points = landmarks.points_px[:468]
    outside = ((points < 0) | (points > (photo.width, photo.height))).any(1)
    if outside.mean() > CUT_SHARE:
        run.warn(f"Part of the face lies outside {photo.name}; it is the model's guess.")


def _warn_of_hidden(photo: Photo, hidden: Hidden, run: Run) -> None:
    """Name what is covered, in one line each."""
    if hidden.mouth:
        run.warn(
            f"Something covers the mouth in {photo.name} (a mask, a hand); "
            "mouth, chin and their skin are the model's guess."
        )
    if hidden.right_eye or hidden.left_eye:
        both = hidden.right_eye and hidden.left_eye
        which = "both eyes" if both else f"the {'right' if hidden.right_eye else 'left'} eye"
        run.warn(
            f"Something dark covers {which} in {photo.name} (sunglasses, hair, heavy make-up); "
            "what lies below is the model's guess."
        )


def _warn_of_make_up(photo: Photo, landmarks: Landmarks, run: Run) -> None:
    """Name what is painted, in one line."""
    parts = made_up_parts(photo, landmarks)
    if "face" in parts:
        run.warn(
            f"The face in {photo.name} looks painted or powdered, as its skin has no skin's hue beside the "
            "lips; paint stays in the maps, and the bare skin below is not known."
        )
    elif parts:
        run.warn(
            f"The {' and '.join(parts)} in {photo.name} wear strong make-up; some of it stays in the maps, "
            "some is taken for coloured light, and the bare skin below is not known."
        )
