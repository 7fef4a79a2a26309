"""What compiled strategies are made of, as LLVM functions: Python's arithmetic, and the loop's operations.

Python's rules where a machine has others: division and remainder towards minus infinity, comparing whole
numbers with floats exactly, turning one into the other. Everything here is inlined or dropped.
"""

from __future__ import annotations

from functools import cache

from engine.execution.state import STATE
from engine.strategy.compiled.operations import OPERATIONS

PREDICATES = {"lt": ("olt", "slt"), "le": ("ole", "sle"), "gt": ("ogt", "sgt"), "ge": ("oge", "sge")}
EQUALITIES = {"eq": ("oeq", "eq"), "ne": ("une", "ne")}


def offset_of(name: str) -> int:
    """Where a field of the state record stands."""
    fields = STATE.fields
    assert fields is not None
    return int(fields[name][1])


@cache
def prelude() -> str:
    """The text that every module begins with."""
    powers = ", ".join(f"double 1.0e{n}" for n in range(19))
    whole = ", ".join(f"i64 {10**n}" for n in range(19))
    return "\n".join(
        (
            "!0 = !{}",
            f"@powers = internal constant [19 x double] [{powers}]",
            f"@whole_powers = internal constant [19 x i64] [{whole}]",
            _FUNCTIONS,
            *(_comparison(name, *words) for name, words in {**PREDICATES, **EQUALITIES}.items()),
            *(_operation(name, place) for place, name in enumerate(OPERATIONS)),
        )
    )


def _operation(name: str, place: int) -> str:
    """Calls the operation that stands at a place of the table."""
    result, arguments, pure = OPERATIONS[name]
    given = [f"{kind} %a{i}" for i, kind in enumerate(arguments)]
    if pure:
        head, values = ", ".join(["ptr %state", *given]), given
    else:
        head, values = ", ".join(["ptr %state", *given[1:]]), ["i64 %address", *given[1:]]
    attributes = "#1" if pure else ""
    return f"""
define internal {result} @op_{name}({head}) alwaysinline nounwind {{
  %address = ptrtoint ptr %state to i64
  %p = getelementptr i8, ptr %state, i64 {offset_of("operations")}
  %t = load ptr, ptr %p
  %q = getelementptr i8, ptr %t, i64 {8 * place}
  %f = load ptr, ptr %q
  %r = call {result} %f({", ".join(values)}) {attributes}
  ret {result} %r
}}"""


def _comparison(name: str, of_floats: str, of_whole: str) -> str:
    """Compares a whole number with a float, exactly, as Python does."""
    return f"""
define internal i1 @mixed_{name}(i64 %i, double %x) alwaysinline nounwind {{
  %f = sitofp i64 %i to double
  %same = fcmp oeq double %f, %x
  %rough = fcmp {of_floats} double %f, %x
  %top = fcmp oge double %x, 9223372036854775808.0
  %safe = select i1 %top, double 0.0, double %x
  %whole = select i1 %same, double %safe, double 0.0
  %j = fptosi double %whole to i64
  %exact = icmp {of_whole} i64 %i, %j
  %beyond = icmp {of_whole} i64 0, 1
  %fine = select i1 %top, i1 %beyond, i1 %exact
  %r = select i1 %same, i1 %fine, i1 %rough
  ret i1 %r
}}"""


_FUNCTIONS = """
declare { i64, i1 } @llvm.sadd.with.overflow.i64(i64, i64)
declare { i64, i1 } @llvm.ssub.with.overflow.i64(i64, i64)
declare { i64, i1 } @llvm.smul.with.overflow.i64(i64, i64)
declare i64 @llvm.abs.i64(i64, i1)
declare double @llvm.fabs.f64(double)
declare double @llvm.floor.f64(double)
declare double @llvm.ceil.f64(double)
declare double @llvm.trunc.f64(double)
declare double @llvm.roundeven.f64(double)
declare double @llvm.sqrt.f64(double)
declare double @llvm.copysign.f64(double, double)

attributes #1 = { nounwind willreturn memory(none) }

define internal double @slow_decimal(ptr %state, i64 %m, i64 %d) noinline nounwind willreturn memory(read) {
  %p = getelementptr [19 x i64], ptr @whole_powers, i64 0, i64 %d
  %w = load i64, ptr %p
  %r = call double @op_divide(ptr %state, i64 %m, i64 %w)
  ret double %r
}

; The float64 nearest to a decimal: one division of two exact numbers, unless the mantissa is not exact.
define internal double @decimal(ptr %state, i64 %m, i64 %d) alwaysinline nounwind {
entry:
  ; Divided before it is known whether that is exact: so a second reading of the same price costs nothing.
  %p = getelementptr [19 x double], ptr @powers, i64 0, i64 %d
  %s = load double, ptr %p, !invariant.load !0
  %x = sitofp i64 %m to double
  %r = fdiv double %x, %s
  %a = call i64 @llvm.abs.i64(i64 %m, i1 false)
  %big = icmp ugt i64 %a, 9007199254740992
  br i1 %big, label %slow, label %fast
fast:
  ret double %r
slow:
  %q = call double @slow_decimal(ptr %state, i64 %m, i64 %d) nounwind willreturn memory(read)
  ret double %q
}

; a / b of whole numbers, b not zero, neither the least one.
define internal double @int_divide(ptr %state, i64 %a, i64 %b) alwaysinline nounwind {
entry:
  %x = call i64 @llvm.abs.i64(i64 %a, i1 false)
  %y = call i64 @llvm.abs.i64(i64 %b, i1 false)
  %z = or i64 %x, %y
  %big = icmp ugt i64 %z, 9007199254740991
  br i1 %big, label %slow, label %fast
fast:
  %f = sitofp i64 %a to double
  %g = sitofp i64 %b to double
  %r = fdiv double %f, %g
  ret double %r
slow:
  %q = call double @op_divide(ptr %state, i64 %a, i64 %b)
  ret double %q
}

define internal i64 @int_floor(i64 %a, i64 %b) alwaysinline nounwind {
  %q = sdiv i64 %a, %b
  %r = srem i64 %a, %b
  %mixed = xor i64 %r, %b
  %apart = icmp slt i64 %mixed, 0
  %left = icmp ne i64 %r, 0
  %down = and i1 %apart, %left
  %lower = sub i64 %q, 1
  %result = select i1 %down, i64 %lower, i64 %q
  ret i64 %result
}

define internal i64 @int_rest(i64 %a, i64 %b) alwaysinline nounwind {
  %one = icmp eq i64 %b, -1
  %c = select i1 %one, i64 1, i64 %b
  %r = srem i64 %a, %c
  %mixed = xor i64 %r, %c
  %apart = icmp slt i64 %mixed, 0
  %left = icmp ne i64 %r, 0
  %up = and i1 %apart, %left
  %higher = add i64 %r, %c
  %result = select i1 %up, i64 %higher, i64 %r
  ret i64 %result
}

define internal double @float_rest(double %a, double %b) nounwind {
  %m = frem double %a, %b
  %zero = fcmp oeq double %m, 0.0
  %x = fcmp olt double %b, 0.0
  %y = fcmp olt double %m, 0.0
  %apart = xor i1 %x, %y
  %moved = fadd double %m, %b
  %signed = call double @llvm.copysign.f64(double 0.0, double %b)
  %part = select i1 %apart, double %moved, double %m
  %r = select i1 %zero, double %signed, double %part
  ret double %r
}

define internal double @float_floor(double %a, double %b) nounwind {
  %m = frem double %a, %b
  %zero = fcmp oeq double %m, 0.0
  %x = fcmp olt double %b, 0.0
  %y = fcmp olt double %m, 0.0
  %differ = xor i1 %x, %y
  %some = xor i1 %zero, true
  %apart = and i1 %differ, %some
  %less = fsub double %a, %m
  %ratio = fdiv double %less, %b
  %lower = fsub double %ratio, 1.0
  %d = select i1 %apart, double %lower, double %ratio
  %nought = fcmp oeq double %d, 0.0
  %whole = call double @llvm.floor.f64(double %d)
  %over = fsub double %d, %whole
  %far = fcmp ogt double %over, 0.5
  %higher = fadd double %whole, 1.0
  %near = select i1 %far, double %higher, double %whole
  %straight = fdiv double %a, %b
  %signed = call double @llvm.copysign.f64(double 0.0, double %straight)
  %r = select i1 %nought, double %signed, double %near
  ret double %r
}
"""
