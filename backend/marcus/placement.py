"""Where the networks compute and what of them is in the device's memory at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from backend.errors import BadInput, Missing, OutOfResources

GIB = 2**30
# Counted from the weights (bf16: Qwen2.5-VL 15.4 GiB, transformer 11.7, VAE 0.2) and the joint stage's
# activations (27,090 tokens, 5 GiB with room for the allocator); no GPU was at hand to measure them.
RESIDENT_GIB, STAGED_GIB, EIGHT_BIT_GIB = 36.0, 21.0, 14.0
BATCHED_GUIDANCE_GIB = 8.0  # beyond what a placement needs, for both passes of guidance in one batch
FP8_GIB = 5.0  # likewise, for FP8 copies of the blocks' matrices (4.5 billion) beside the bf16 ones
FP8_CAPABILITY = (8, 9)  # of CUDA devices that multiply in FP8: Ada, Hopper and later
MOST_CPU_FLOP = 1e15  # hours; the released model at 1K takes some forty times as much


@dataclass(frozen=True)
class Placement:
    """The device, the number type, and how memory is saved."""

    device: torch.device
    dtype: torch.dtype
    staged: bool  # only the network that works is on the device
    eight_bit: bool = False  # weights are kept in 8 bits (FP8 E4M3) and widened where they are used
    batched_guidance: bool = False  # both passes of guidance in one batch
    fp8: bool = False  # the blocks multiply in FP8


def place(device: str | None, cpu_flop: float, fp8: bool = False) -> Placement:
    """The placement for this machine. ``cpu_flop`` is what a job would cost on the CPU.

    Raises: Missing (no GPU, too much work for a CPU, or a GPU without FP8 where that is asked for),
    OutOfResources (GPU too small), BadInput.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.split(":")[0]
    if kind == "cpu":
        if cpu_flop > MOST_CPU_FLOP:
            raise Missing(
                f"the marcus engine needs a CUDA GPU: {cpu_flop / 1e15:.0f} PFLOP would take this CPU days; "
                "use --engine embedded here"
            )
        return Placement(torch.device("cpu"), torch.float32, staged=False, fp8=fp8)
    if kind != "cuda":
        raise BadInput(f"device '{name}' is unknown to the marcus engine; take cuda, cuda:N or cpu")
    if not torch.cuda.is_available():
        raise Missing("no CUDA GPU that PyTorch can use; use --engine embedded, or see likeness doctor")
    where = torch.device(name)
    if fp8 and torch.cuda.get_device_capability(where) < FP8_CAPABILITY:
        raise Missing(
            f"{torch.cuda.get_device_name(where)} does not multiply in FP8 (Ada, Hopper and later do); "
            "leave out --fp8"
        )
    free, total = torch.cuda.mem_get_info(where)
    return place_on_gpu(where, free / GIB, total / GIB, fp8)


def place_on_gpu(device: torch.device, free_gib: float, total_gib: float, fp8: bool = False) -> Placement:
    """The fastest placement that fits into ``free_gib``. Raises: OutOfResources, saying what would fit."""
    extra = FP8_GIB if fp8 else 0.0
    if fp8 and EIGHT_BIT_GIB <= free_gib < STAGED_GIB + extra:
        raise OutOfResources(
            f"{free_gib:.0f} GiB of the GPU are free and --fp8 needs {STAGED_GIB + extra:.0f} (the bf16 "
            "weights stay beside it); leave out --fp8"
        )
    for needed, staged, eight_bit in (
        (RESIDENT_GIB + extra, False, False),
        (STAGED_GIB + extra, True, False),
        (EIGHT_BIT_GIB, True, True),
    ):
        if free_gib >= needed:
            batched = free_gib >= needed + BATCHED_GUIDANCE_GIB
            return Placement(device, torch.bfloat16, staged, eight_bit, batched, fp8)
    if total_gib >= EIGHT_BIT_GIB:
        raise OutOfResources(
            f"{free_gib:.0f} of the GPU's {total_gib:.0f} GiB are free and the marcus engine needs "
            f"{EIGHT_BIT_GIB:.0f} with 8-bit weights; close what else uses the GPU"
        )
    raise OutOfResources(
        f"the GPU has {total_gib:.0f} GiB and the marcus engine needs {EIGHT_BIT_GIB:.0f} with 8-bit weights "
        f"({STAGED_GIB:.0f} in bf16); use --engine embedded here"
    )
