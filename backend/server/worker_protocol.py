"""What server and worker process say to each other: msgpack messages, length-prefixed, over two pipes.

The server starts ``python -m backend.server.worker --device cpu --data DIR`` and writes to the worker's
standard input, reads from its standard output; the worker moves both away at once, so nothing printed
by a library gets between messages. Its standard error is its log. When the worker's input ends, the
server is gone and the worker ends itself.

A message is a 4-byte big-endian length and as many bytes of msgpack, tagged by ``type``. Arrays travel
as the raw little-endian bytes that the outer wire carries, so the server hands them on as they are.
No numpy here: the server process imports this module.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO, Generic, Literal, TypeVar

import msgspec

from blender_addon.protocol import Options, Pin, Problem

MAX_MESSAGE_BYTES = 256 << 20
PARTIAL_SUFFIX = ".partial"  # a job's folder while it runs: <directory>.partial
HEARTBEAT_SECONDS = 1.0

_LENGTH_BYTES = 4


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    pass


# ------------------------------------------------------------------------------- server to worker


class RunJob(_Message, frozen=True, kw_only=True, tag="run_job"):
    """Reconstruct a photo into ``directory``; while it runs, into ``partial_directory(directory)``.

    Answered by stage and partial events, then JobDone or JobFailed. A partial folder of an earlier
    attempt is removed first; a finished one at ``directory`` is replaced when the new one is whole.
    """

    job: str  # UUID
    photo_path: str
    photo_name: str  # what the artist calls it; goes into avatar.json
    options: Options
    pins: tuple[Pin, ...] = ()
    exclude_path: str | None = None  # 8-bit grey PNG of the picture's size, white = not skin
    directory: str  # absolute; its parent exists
    avatar: str | None = None  # absolute: ``photo_path`` is a video that drives this avatar


class CancelJob(_Message, frozen=True, kw_only=True, tag="cancel_job"):
    """Stop ``job``, at work or waiting; it ends with JobFailed (cancelled). Unknown jobs are ignored."""

    job: str


class RunRefine(_Message, frozen=True, kw_only=True, tag="run_refine"):
    """Solve the head of a finished job again with pins. Answered by RefineDone or RequestFailed, also
    while a job runs."""

    request: int
    directory: str
    head: str = "open"  # Options.head of the job
    pins: tuple[Pin, ...]


class RunDrive(_Message, frozen=True, kw_only=True, tag="run_drive"):
    """Pose a finished avatar. Answered by DriveDone or RequestFailed, also while a job runs."""

    request: int
    directory: str
    frames: int
    weights: bytes  # float32 (frames, E)


class RunDecode(_Message, frozen=True, kw_only=True, tag="run_decode"):
    """Decode one frame of an avatar's splats. Answered by DecodeDone or RequestFailed, also while a job
    runs."""

    request: int
    directory: str
    vertices: bytes  # float32 (V, 3), head space, metres


class FreeMemory(_Message, frozen=True, kw_only=True, tag="free_memory"):
    """Drop models and caches; answered by Freed once the job at work, if any, is over."""


class ForgetPhotos(_Message, frozen=True, kw_only=True, tag="forget_photos"):
    """Drop all that is kept in memory of any photo: avatars being refined or driven at once (after the
    request at work), the rest once the job at work is over. No answer."""


class Stop(_Message, frozen=True, kw_only=True, tag="stop"):
    """Cancel the job at work and end with exit status 0."""


ToWorker = RunJob | CancelJob | RunRefine | RunDrive | RunDecode | FreeMemory | ForgetPhotos | Stop

# ------------------------------------------------------------------------------- worker to server


class Ready(_Message, frozen=True, kw_only=True, tag="ready"):
    """First message: the worker has begun to read. Models are loaded when first needed."""

    pid: int
    device: str


class StageStarted(_Message, frozen=True, kw_only=True, tag="stage_started"):
    job: str
    stage: str
    implementation: str
    index: int  # of ``count`` stages, from 0
    count: int


class StageProgress(_Message, frozen=True, kw_only=True, tag="stage_progress"):
    """At most ten a second."""

    job: str
    stage: str
    fraction: float
    job_fraction: float
    preview: bytes | None = None  # PNG or JPEG of what is half made


class StageFinished(_Message, frozen=True, kw_only=True, tag="stage_finished"):
    job: str
    stage: str
    seconds: float
    cached: bool
    preview: bytes | None = None  # PNG or JPEG, at most 512 pixels a side


class PartialReady(_Message, frozen=True, kw_only=True, tag="partial_ready"):
    """Files of ``partial_directory(directory)`` that are whole and can be shown (see protocol.Partial)."""

    job: str
    kind: Literal["mesh", "map"]
    map_name: str | None = None
    final: bool = False
    files: tuple[str, ...]  # names relative to the folder, forward slashes


class JobDone(_Message, frozen=True, kw_only=True, tag="job_done"):
    """``directory`` is in its place, whole."""

    job: str
    warnings: tuple[str, ...]
    files: tuple[tuple[str, int], ...]  # name relative to the folder, bytes


class JobFailed(_Message, frozen=True, kw_only=True, tag="job_failed"):
    """The job ended without a result (also when cancelled); its partial folder is gone."""

    job: str
    problem: Problem


class RefineDone(_Message, frozen=True, kw_only=True, tag="refine_done"):
    request: int
    vertices: int
    seconds: float
    landmark_error_px: float
    neutral: bytes  # float32 (vertices, 3) head space, metres
    expressed: bytes  # float32 (vertices, 3)
    landmarks: bytes  # float32 (478, 2) solved landmarks, pixels of the camera's picture


class DriveDone(_Message, frozen=True, kw_only=True, tag="drive_done"):
    request: int
    vertices: int
    data: bytes  # float32 (frames, vertices, 3) head space, metres


class DecodeDone(_Message, frozen=True, kw_only=True, tag="decode_done"):
    request: int
    splats: int
    data: bytes  # PNG, blender_addon.splat_frames


class RequestFailed(_Message, frozen=True, kw_only=True, tag="request_failed"):
    request: int
    problem: Problem


class Freed(_Message, frozen=True, kw_only=True, tag="freed"):
    bytes: int  # of resident memory, 0 where none was given back


class Heartbeat(_Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Every HEARTBEAT_SECONDS, also while a job runs (native code that holds the interpreter delays it)."""

    rss_bytes: int | None  # None where the system does not tell
    job: str | None


FromWorker = (
    Ready
    | StageStarted
    | StageProgress
    | StageFinished
    | PartialReady
    | JobDone
    | JobFailed
    | RefineDone
    | DriveDone
    | DecodeDone
    | RequestFailed
    | Freed
    | Heartbeat
)

# ---------------------------------------------------------------------------------------- framing

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()


class ChannelError(ValueError):
    """Bytes that are no message of this page: the other side is broken and must be ended."""


def partial_directory(directory: Path) -> Path:
    """Where the files of a job lie while it runs."""
    return directory.with_name(directory.name + PARTIAL_SUFFIX)


def pack(message: ToWorker | FromWorker) -> bytes:
    """The framed bytes of ``message``. Raises: ChannelError when it is over the limit."""
    body = _encoder.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ChannelError(f"a message of {len(body)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class Writer:
    """Writes whole messages to a pipe, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: ToWorker | FromWorker) -> None:
        """Write ``message``. Raises: OSError (BrokenPipeError) when the other side is gone."""
        data = pack(message)
        with self._lock:
            self._stream.write(data)
            self._stream.flush()


class Unpacker(Generic[M]):
    """Takes bytes as they arrive, in pieces of any size, and gives whole messages."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self._decoder = decoder
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[M]:
        """The messages that ``data`` completes. Raises: ChannelError."""
        self._pending += data
        messages: list[M] = []
        while len(self._pending) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + _checked_length(self._pending[:_LENGTH_BYTES])
            if len(self._pending) < end:
                break
            messages.append(_decoded(self._decoder, bytes(self._pending[_LENGTH_BYTES:end])))
            del self._pending[:end]
        return messages


def messages_to_worker() -> Unpacker[ToWorker]:
    """For the worker's side."""
    return Unpacker(msgspec.msgpack.Decoder(ToWorker))


def messages_from_worker() -> Unpacker[FromWorker]:
    """For the server's side."""
    return Unpacker(msgspec.msgpack.Decoder(FromWorker))


class Reader(Generic[M]):
    """Reads whole messages from a blocking pipe."""

    def __init__(self, stream: BinaryIO, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self._stream = stream
        self._decoder = decoder

    def receive(self) -> M | None:
        """The next message; None when the pipe ended, also in the middle of one. Raises: ChannelError."""
        head = self._read(_LENGTH_BYTES)
        if head is None:
            return None
        body = self._read(_checked_length(head))
        return None if body is None else _decoded(self._decoder, body)

    def _read(self, count: int) -> bytes | None:
        pieces: list[bytes] = []
        while count > 0:
            try:
                piece = self._stream.read(count)
            except (OSError, ValueError):  # the pipe broke, or was closed under the reader
                return None
            if not piece:
                return None
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)


def reader_to_worker(stream: BinaryIO) -> Reader[ToWorker]:
    """The worker's end."""
    return Reader(stream, msgspec.msgpack.Decoder(ToWorker))


def reader_from_worker(stream: BinaryIO) -> Reader[FromWorker]:
    """The server's end."""
    return Reader(stream, msgspec.msgpack.Decoder(FromWorker))


def _checked_length(head: bytes | bytearray) -> int:
    length = int.from_bytes(head, "big")
    if length > MAX_MESSAGE_BYTES:
        raise ChannelError(
            f"a message of {length} bytes is announced; at most {MAX_MESSAGE_BYTES} are allowed"
        )
    return length


def _decoded(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"a message cannot be read: {error}") from error
