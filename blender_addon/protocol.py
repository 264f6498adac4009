"""The wire: messages between a client (the add-on, a script) and ``likeness serve``. No Blender, no backend.

Two CURVE-encrypted sockets per client (docs/protocol.md):

- **commands**: client DEALER to server ROUTER. Every request gets exactly one reply with its ``id``.
- **events**: client DEALER to server ROUTER. The client sends ``Listen`` with the session that
  ``Welcome`` gave it; from then on the server sends the events of this client's jobs.

A message is the frames ``[MAGIC, header, bulk…]``: the header is a msgpack map of one of the structs
below, tagged by ``type``; bulk frames carry bytes or arrays that the header names by their place.
Head space, camera space, units and colours are those of ``blender_addon.bundle``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec

PROTOCOL = 1  # raised when either side would misread the other
MAGIC = b"LKN1"  # first frame of every message, so that strangers are told apart before decoding

MAX_HEADER_BYTES = 1 << 20
MAX_FRAME_BYTES = 64 << 20
MAX_FRAMES = 16
MAX_MESSAGE_BYTES = 256 << 20
CHUNK_BYTES = 8 << 20  # largest bulk frame of a reply to Fetch

JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
FINAL_STATES: tuple[JobState, ...] = ("done", "failed", "cancelled", "interrupted")


T = TypeVar("T")


class ProtocolError(ValueError):
    """A message that breaks the rules of this page; the text says which."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    pass


# ---------------------------------------------------------------------------------------- values


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to reconstruct; the names and values of ``likeness reconstruct``."""

    engine: str = "auto"
    head: str = "open"
    maps: int = 1024  # side of the material maps, texels: 512, 1024, 2048 or 4096
    face: int | None = None  # which face, 0 the largest and most central; None: that one
    seed: int = 0
    splats: bool = False  # also the head with its hair as 3D Gaussians
    # Of the engine "marcus" alone:
    caption: str | None = None  # of the face; None lets the engine look
    turbo: bool = False  # few steps, another result
    guidance_interval: tuple[float, float] = (0.0, 1.0)  # noise levels between which guidance works
    fp8: bool = False  # multiply in 8 bits where the GPU can
    compile: bool = False  # compile the networks first


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A landmark that the artist put in its place."""

    landmark: int  # MediaPipe Face Mesh index, 0…477
    x_px: float  # in the camera's picture (CameraRecord), pixel centres at .5, y down
    y_px: float


class Corrections(msgspec.Struct, frozen=True, kw_only=True):
    """What the artist corrected on the photo."""

    pins: tuple[Pin, ...] = ()
    exclude_frame: int | None = None  # bulk frame: 8-bit grey PNG of the picture's size, white = not skin


class FileRef(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a job's result."""

    name: str  # relative to the job's folder, forward slashes: "maps/albedo.png"
    size_bytes: int
    path: str | None = None  # absolute, given to clients on the server's machine only


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why something failed: one sentence for the artist, with its remedy."""

    code: Literal[
        "bad_input",  # the exit codes of the command line: 2
        "missing",  # 3
        "out_of_resources",  # 4
        "cancelled",  # 130
        "bug",  # 1; ``report`` names the file
        "worker_died",
        "protocol",  # this client is too old or too new; ``message`` says which side to update
        "unknown_job",
        "refused",
    ]
    message: str
    report: str | None = None


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal."""

    job: str  # UUID
    state: JobState
    photo_name: str
    photo_sha256: str
    options: Options
    submitted_s: float  # Unix time
    finished_s: float | None = None
    stage: str | None = None  # the stage at work, or the one that it ended in
    fraction: float = 0.0  # of the whole job, in [0, 1]
    position: int = 0  # in the queue; 0 when it is not queued
    parent: str | None = None  # the job that this one corrects or varies
    avatar: str | None = None  # the avatar that a video drives (Submit.avatar); None: a reconstruction
    problem: Problem | None = None
    directory: str | None = None  # the avatar folder, to clients on the server's machine only
    files: tuple[FileRef, ...] = ()  # of a job that is done
    warnings: tuple[str, ...] = ()


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process."""

    device: str  # "cpu", "cuda:0"
    state: Literal["starting", "idle", "busy", "stopped"]
    pid: int | None
    rss_mb: float | None
    job: str | None = None
    last_exit: str | None = None  # why the previous one ended, in words


# -------------------------------------------------------------------------------------- requests


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First request of a connection. Reply: Welcome, or Failure (protocol)."""

    id: int
    protocol: int
    client: str  # "likeness-blender 0.1.0, Blender 4.5.3"


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    """Reply: Ok. Clients send one every few seconds and take silence for a dead server."""

    id: int


class Submit(_Message, frozen=True, kw_only=True, tag="submit"):
    """Queue a reconstruction. Exactly one of ``path`` and ``photo_frame``, or neither where ``parent`` is
    given: then the parent's photo, as the server keeps it, is taken. Reply: Accepted.

    With ``avatar`` the file is a video that drives this avatar: the UUID of a finished job or, from the
    server's machine, an avatar folder's absolute path. The result is ``take.json`` and ``take.csv``
    (docs/drive.md); of the options ``face`` and ``head`` count."""

    id: int
    name: str  # of the photo, without folder and suffix
    path: str | None = None  # on the server's machine
    photo_frame: int | None = None  # bulk frame with the file's bytes
    options: Options = Options()
    corrections: Corrections | None = None
    parent: str | None = None
    avatar: str | None = None


class Cancel(_Message, frozen=True, kw_only=True, tag="cancel"):
    """Stop a job, queued or running. Reply: Ok; the event Cancelled follows within a second."""

    id: int
    job: str


class Rerun(_Message, frozen=True, kw_only=True, tag="rerun"):
    """Queue an interrupted, failed or cancelled job again, under its own UUID. Reply: Accepted."""

    id: int
    job: str


class List(_Message, frozen=True, kw_only=True, tag="list"):
    """Reply: State."""

    id: int


class Attach(_Message, frozen=True, kw_only=True, tag="attach"):
    """Ask for the events of a job again from ``after`` on (its events are numbered from 1).

    Reply: Job; the kept events (all but progress) follow on the events socket.
    """

    id: int
    job: str
    after: int = 0


class Fetch(_Message, frozen=True, kw_only=True, tag="fetch"):
    """A piece of a result's file. Reply: Chunk with one bulk frame of at most CHUNK_BYTES."""

    id: int
    job: str
    name: str  # FileRef.name
    offset: int = 0


class Drive(_Message, frozen=True, kw_only=True, tag="drive"):
    """Pose a finished avatar. Bulk frame 0: float32 ``(F, E)`` expression weights in [0, 1], in the order
    of its mesh's expression names. Reply: Driven."""

    id: int
    job: str
    frames: int


class Decode(_Message, frozen=True, kw_only=True, tag="decode"):
    """One frame of an avatar's splats by the whole decoder. ``avatar`` as in Submit; bulk frame 0: float32
    ``(V, 3)``, the posed mesh's vertices in head space, metres. Reply: Decoded."""

    id: int
    avatar: str


class Refine(_Message, frozen=True, kw_only=True, tag="refine"):
    """Solve a finished job's head again with pins, at once and without its maps. Reply: Refined."""

    id: int
    job: str
    pins: tuple[Pin, ...]


class FreeMemory(_Message, frozen=True, kw_only=True, tag="free_memory"):
    """Let idle workers drop their models. Reply: Freed."""

    id: int


class Forget(_Message, frozen=True, kw_only=True, tag="forget"):
    """Delete everything kept of a photo: its bytes, cached stages, results, journal. Reply: Freed."""

    id: int
    photo_sha256: str


class Shutdown(_Message, frozen=True, kw_only=True, tag="shutdown"):
    """Stop the server; running jobs are marked interrupted. Reply: Ok. Local clients only."""

    id: int


class Listen(_Message, frozen=True, kw_only=True, tag="listen"):
    """The only message that a client sends on the events socket. The first event is Listening."""

    session: str


Request = (
    Hello
    | Ping
    | Submit
    | Cancel
    | Rerun
    | List
    | Attach
    | Fetch
    | Drive
    | Decode
    | Refine
    | FreeMemory
    | Forget
    | Shutdown
    | Listen
)

# --------------------------------------------------------------------------------------- replies


class Welcome(_Message, frozen=True, kw_only=True, tag="welcome"):
    id: int
    protocol: int
    server: str  # "likeness 0.1.0"
    session: str  # for Listen
    same_machine: bool  # paths in replies can be opened by this client


class Failure(_Message, frozen=True, kw_only=True, tag="failure"):
    """The request was not carried out."""

    id: int  # 0 when the request could not be read
    problem: Problem


class Ok(_Message, frozen=True, kw_only=True, tag="ok"):
    id: int


class Accepted(_Message, frozen=True, kw_only=True, tag="accepted"):
    id: int
    job: str  # UUID
    photo_sha256: str


class State(_Message, frozen=True, kw_only=True, tag="state"):
    id: int
    server: str
    uptime_s: float
    rss_mb: float | None
    cache_bytes: int  # stages and results kept
    cache_cap_bytes: int
    workers: tuple[WorkerInfo, ...]
    jobs: tuple[JobInfo, ...]  # this client's, the newest first
    networked: bool  # True when the server can be reached from other machines


class Job(_Message, frozen=True, kw_only=True, tag="job"):
    id: int
    info: JobInfo


class Chunk(_Message, frozen=True, kw_only=True, tag="chunk"):
    id: int
    offset: int
    total_bytes: int  # of the file


class Driven(_Message, frozen=True, kw_only=True, tag="driven"):
    """Bulk frame 0: float32 ``(F, V, 3)`` head-space vertices, metres."""

    id: int
    vertices: int


class Decoded(_Message, frozen=True, kw_only=True, tag="decoded"):
    """Bulk frame 0: the splats as a 16-bit PNG (``blender_addon.splat_frames``)."""

    id: int
    splats: int


class Refined(_Message, frozen=True, kw_only=True, tag="refined"):
    """Bulk frames: 0 neutral and 1 photographed vertices, float32 ``(V, 3)`` head space, metres; 2 solved
    landmarks, float32 ``(478, 2)`` pixels."""

    id: int
    vertices: int
    seconds: float
    landmark_error_px: float


class Freed(_Message, frozen=True, kw_only=True, tag="freed"):
    id: int
    freed_bytes: int


Reply = Welcome | Failure | Ok | Accepted | State | Job | Chunk | Driven | Decoded | Refined | Freed

# ---------------------------------------------------------------------------------------- events


class _Event(_Message, frozen=True, kw_only=True):
    job: str
    number: int  # counts a job's kept events from 1; progress repeats the last one's


class Listening(_Message, frozen=True, kw_only=True, tag="listening"):
    """Events of this session arrive from here on."""


class Queued(_Event, frozen=True, kw_only=True, tag="queued"):
    info: JobInfo


class StageStarted(_Event, frozen=True, kw_only=True, tag="stage_started"):
    stage: str
    implementation: str
    index: int  # of ``count`` stages
    count: int


class StageProgress(_Event, frozen=True, kw_only=True, tag="stage_progress"):
    """At most ten a second; may be dropped."""

    stage: str
    fraction: float  # of this stage
    job_fraction: float  # of the whole job
    preview_frame: int | None = None  # bulk frame: PNG or JPEG of what is half made, where there is one


class StageFinished(_Event, frozen=True, kw_only=True, tag="stage_finished"):
    stage: str
    seconds: float
    cached: bool  # taken from the cache
    preview_frame: int | None = None  # bulk frame: PNG or JPEG of at most 512 pixels a side


class Partial(_Event, frozen=True, kw_only=True, tag="partial"):
    """Something of the result can be shown already.

    ``mesh``: the job's folder holds ``avatar.json`` and ``mesh.npz`` as they stand after the fit (maps
    missing, ``displacement_scale_m`` 0). ``map``: ``files[0]`` is one map, preliminary or final.
    """

    kind: Literal["mesh", "map"]
    map_name: str | None = None  # one of bundle.MAP_NAMES
    final: bool = False
    files: tuple[FileRef, ...] = ()


class Done(_Event, frozen=True, kw_only=True, tag="done"):
    info: JobInfo


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    info: JobInfo  # with its problem


class Cancelled(_Event, frozen=True, kw_only=True, tag="cancelled"):
    info: JobInfo


class Forgotten(_Event, frozen=True, kw_only=True, tag="forgotten"):
    """The job and all of its files are gone."""


JobEvent = (
    Queued | StageStarted | StageProgress | StageFinished | Partial | Done | Failed | Cancelled | Forgotten
)


class Goodbye(_Message, frozen=True, kw_only=True, tag="goodbye"):
    """The server stops; ``reason`` in words."""

    reason: str


Event = Listening | JobEvent | Goodbye

# ---------------------------------------------------------------------------------------- frames

_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(Request)
_reply_decoder = msgspec.msgpack.Decoder(Reply)
_event_decoder = msgspec.msgpack.Decoder(Event)

Buffer = bytes | bytearray | memoryview


def encode(message: _Message, bulk: Sequence[Buffer] = ()) -> list[Buffer]:
    """The frames of ``message``. Raises: ProtocolError when it is over the limits."""
    frames: list[Buffer] = [MAGIC, _encoder.encode(message), *bulk]
    _check_limits(frames)
    return frames


def decode_request(frames: Sequence[Buffer]) -> tuple[Request, list[Buffer]]:
    """A request and its bulk frames. Raises: ProtocolError for anything that is not one."""
    return _decode(frames, _request_decoder)


def decode_reply(frames: Sequence[Buffer]) -> tuple[Reply, list[Buffer]]:
    """A reply and its bulk frames. Raises: ProtocolError."""
    return _decode(frames, _reply_decoder)


def decode_event(frames: Sequence[Buffer]) -> tuple[Event, list[Buffer]]:
    """An event and its bulk frames. Raises: ProtocolError."""
    return _decode(frames, _event_decoder)


def _decode(frames: Sequence[Buffer], decoder: msgspec.msgpack.Decoder[T]) -> tuple[T, list[Buffer]]:
    _check_limits(frames)
    try:
        return decoder.decode(frames[1]), list(frames[2:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"the header cannot be read: {error}") from error


def _check_limits(frames: Sequence[Buffer]) -> None:
    if len(frames) < 2 or bytes(frames[0]) != MAGIC:
        raise ProtocolError("not a message of this protocol")
    if len(frames) > MAX_FRAMES:
        raise ProtocolError(f"{len(frames)} frames; at most {MAX_FRAMES} are allowed")
    if len(frames[1]) > MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {len(frames[1])} bytes; at most {MAX_HEADER_BYTES} are allowed")
    sizes = [memoryview(frame).nbytes for frame in frames]
    if max(sizes) > MAX_FRAME_BYTES or sum(sizes) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message of {sum(sizes)} bytes is over the limits")
