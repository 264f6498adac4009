"""Eight pixels of a row at once: the one loop of the rasteriser that LLVM does not vectorise by itself.

A pixel's *key* holds the nearest surface so far in one 64-bit integer: the bits of float32 1/z above, the
complement of the triangle's row below. Positive floats order as their bits do, so the larger key is the
nearer surface, and of two equally near ones the triangle listed first.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

LANES = 8
NOTHING = 0x7FFFFFFF  # key of a pixel that no surface covers: 1/z = 0, and no row lies below it


@intrinsic  # type: ignore[untyped-decorator]
def claim_pixels(
    context: Any, keys: Any, at: Any, count: Any, x: Any, x0: Any, near0: Any, step: Any, triangle: Any
) -> Any:
    """Raise ``keys[at : at + min(count, LANES)]`` to those of a plane of 1/z, from compiled code only.

    Lane i lies at ``x + i``; 1/z there is ``near0 + step·(x + i − x0)`` in float64, rounded to float32.
    ``keys`` is a contiguous int64 array; LANES elements from ``at`` are read and written whatever ``count``.
    """
    whole, real = types.int64, types.float64
    signature = types.void(keys, whole, whole, real, real, real, real, whole)

    def generate(target: Any, builder: Any, called: Any, arguments: Any) -> Any:
        array, at, count, x, x0, near0, step, triangle = arguments
        data = target.make_array(called.args[0])(target, builder, array).data
        i32, i64, f32, f64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()

        def lanes(kind: Any) -> Any:
            return ir.VectorType(kind, LANES)

        def constant(kind: Any, values: list[Any]) -> Any:
            return ir.Constant(lanes(kind), values)

        def spread(value: Any) -> Any:
            undefined = ir.Constant(lanes(value.type), ir.Undefined)
            first = builder.insert_element(undefined, value, ir.Constant(i32, 0))
            return builder.shuffle_vector(first, undefined, constant(i32, [0] * LANES))

        along = builder.fadd(spread(x), constant(f64, [float(i) for i in range(LANES)]))
        rise = builder.fmul(spread(step), builder.fsub(along, spread(x0)))
        near = builder.fptrunc(builder.fadd(spread(near0), rise), lanes(f32))
        bits = builder.zext(builder.bitcast(near, lanes(i32)), lanes(i64))
        row = builder.sub(ir.Constant(i64, NOTHING), triangle)
        key = builder.or_(builder.shl(bits, constant(i64, [32] * LANES)), spread(row))

        place = builder.bitcast(builder.gep(data, [at]), lanes(i64).as_pointer())
        before = builder.load(place, align=8)
        inside = builder.icmp_signed("<", constant(i64, list(range(LANES))), spread(count))
        wins = builder.and_(inside, builder.icmp_signed(">", key, before))
        builder.store(builder.select(wins, key, before), place, align=8)
        return target.get_dummy_value()

    return signature, generate
