"""Timing sides in turns, so that a machine whose speed drifts does not decide the comparison.

A side is a function without arguments that gets ready and returns a Prepared: something to run once a turn. All sides
get ready first, then each runs in every turn; the first turn does not count. What is compared is seconds for one item
(an environment step, an array element), so a slow peer may make shorter runs.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.worker import ROOT, Prepared, Unavailable, start
from purejaxrl_gae.runs.reports import versions

Side = Callable[[], Prepared]
REST = 0.3  # seconds between turns: threads of the side that has run last still spin for a while
BLOCK = 0.02  # seconds that a kernel is repeated for, at least
LARGE = (
    1_000_000  # items from which on a kernel is called from Python: a dispatch is nothing beside one pass over memory
)


@dataclass(frozen=True)
class Timing:
    """One side of a comparison.

    Attributes:
      name: of the side.
      compile_seconds: tracing and compiling.
      seconds: median of the runs.
      per_second: items over that median.
      ratio: median over the turns of the first side's speed over this one's.
      runs: seconds of every run that counts.
      notes: what the side says of itself.
    """

    name: str
    compile_seconds: float
    seconds: float
    per_second: float
    ratio: float
    runs: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


def interleave(sides: dict[str, Side], repeats: int, *, rest: float = REST) -> list[Timing]:
    """Times sides in turns.

    Args:
      sides: name -> side; the first is the one the others are compared with. One that turns out not to be available
        is left out, which is said.
      repeats: turns that count.
      rest: seconds to wait before each run.
    """
    ready: dict[str, Prepared] = {}
    for name, side in sides.items():
        try:
            ready[name] = side()
        except Unavailable as reason:
            print(f"  {name} left out: {reason}", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    try:
        for turn in range(repeats + 1):
            for name, prepared in list(ready.items()):
                time.sleep(rest)
                try:
                    elapsed = prepared.run(turn)
                except Unavailable as reason:
                    print(f"  {name} left out: {reason}", flush=True)
                    del ready[name], seconds[name]
                    continue
                if turn > 0:
                    seconds[name].append(elapsed)
    finally:
        for prepared in ready.values():
            prepared.close()
    return timings(ready, seconds)


def timings(ready: dict[str, Prepared], seconds: dict[str, list[float]]) -> list[Timing]:
    """Medians and ratios to the first side, turn by turn and for one item."""
    first = next(iter(ready))
    first_each = [elapsed / ready[first].items for elapsed in seconds[first]]
    results = []
    for name, prepared in ready.items():
        ratios = [elapsed / prepared.items / own for elapsed, own in zip(seconds[name], first_each, strict=True)]
        median = statistics.median(seconds[name])
        results.append(
            Timing(
                name=name,
                compile_seconds=round(prepared.compile_seconds, 2),
                seconds=median,
                per_second=prepared.items / median,
                ratio=statistics.median(ratios),
                runs=seconds[name],
                notes=prepared.notes,
            )
        )
    return results


def jax_side(
    function: Callable[..., Any],
    arguments: Callable[[int], tuple],
    items: float,
    *,
    multi_thread: bool = True,
) -> Side:
    """A jittable function.

    Args:
      function: whose outputs are awaited.
      arguments: of the call, by turn.
      items: of one call.
      multi_thread: a CPU device may use several threads for one operation; False where each core is a device.
    """

    def prepare() -> Prepared:
        options = {} if multi_thread or jax.default_backend() != "cpu" else {"xla_cpu_multi_thread_eigen": False}
        started = time.perf_counter()
        program = jax.jit(function).lower(*arguments(0)).compile(options)
        compile_seconds = time.perf_counter() - started

        def run(turn: int) -> float:
            inputs = jax.block_until_ready(arguments(turn))
            started = time.perf_counter()
            jax.block_until_ready(program(*inputs))
            return time.perf_counter() - started

        return Prepared(compile_seconds, run, items)

    return prepare


def kernel_side(function: Callable[..., Any], arguments: tuple, items: float) -> Side:
    """A jittable kernel, repeated inside one program as it would stand in a training program: no dispatch counts.

    Every repetition's inputs depend on the outputs of the one before by one element of each, which never really
    changes, so the compiler can neither leave one out nor compute a part ahead of the loop. Such a loop copies what it
    carries, which would be most of the time of arrays larger than the caches: those are called from Python, and their
    outputs are fresh memory, as NumPy's are.
    """
    if items >= LARGE:
        return called_side(function, arguments, items)

    def repeated(count, *arguments):
        def once(_, carry):
            inputs, outputs = carry
            token = jax.tree.leaves(outputs)[0].reshape(-1)[0].astype(jnp.float32)
            inputs = jax.tree.map(lambda leaf: _touched(leaf, token), inputs)
            return inputs, function(*inputs)

        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, *arguments))
        return jax.lax.fori_loop(0, count, once, (arguments, zeros))[1]

    def prepare() -> Prepared:
        started = time.perf_counter()
        program = jax.jit(repeated).lower(jnp.int32(1), *arguments).compile()
        compile_seconds = time.perf_counter() - started
        inputs = jax.block_until_ready(jax.tree.map(jnp.asarray, arguments))
        return repeating(
            lambda count: jax.block_until_ready(program(jnp.int32(count), *inputs)), compile_seconds, items
        )

    return prepare


def called_side(function: Callable[..., Any], arguments: tuple, items: float) -> Side:
    """A jittable kernel, called again and again, its outputs awaited."""

    def prepare() -> Prepared:
        inputs = jax.block_until_ready(jax.tree.map(jnp.asarray, arguments))
        program = jax.jit(function).lower(*inputs).compile()
        return python_side(lambda: jax.block_until_ready(program(*inputs)), items)()

    return prepare


def repeating(call: Callable[[int], Any], compile_seconds: float, items: float) -> Prepared:
    """A call of so many repetitions, with as many as fill `BLOCK` seconds; `run` gives seconds of one."""
    call(1)
    count = 1
    while True:
        started = time.perf_counter()
        call(count)
        elapsed = time.perf_counter() - started
        if elapsed >= BLOCK / 2 or count >= 1_000_000:
            break
        count *= 2
    count = max(1, round(count * BLOCK / elapsed))

    def run(_: int) -> float:
        started = time.perf_counter()
        call(count)
        return (time.perf_counter() - started) / count

    return Prepared(compile_seconds, run, items, notes={"repetitions": count})


def python_side(function: Callable[[], Any], items: float) -> Side:
    """A call that is repeated from Python."""

    def call(count: int) -> None:
        for _ in range(count):
            function()

    return lambda: repeating(call, 0.0, items)


def peer_side(target: str, spec: dict[str, Any], pythons: dict[str, str], name: str) -> Side:
    """A peer in a process of its own, with the Python that `--peer` names for it, or this one."""
    return lambda: start(target, spec, pythons.get(name, sys.executable))


def _touched(leaf: jax.Array, token: jax.Array) -> jax.Array:
    """The array, one element of it written anew: for all the compiler knows, with another value."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_touched(jax.random.key_data(leaf), token))
    leaf = jnp.asarray(leaf)
    first = (0,) * leaf.ndim
    return leaf.at[first].set(jnp.where(token > 1e30, jnp.zeros((), leaf.dtype), leaf[first]))


def print_table(setting: str, results: Iterable[Timing], unit: str = "steps/s") -> None:
    """One line for each side; `ratio` says how many times faster the first side is."""
    for timing in results:
        print(
            f"{setting:<28} {timing.name:<30} {timing.per_second:>14,.0f} {unit}   "
            f"compile {timing.compile_seconds:>5.1f} s   first is {timing.ratio:>6.2f}x",
            flush=True,
        )


def bar(what: str, value: float, limit: float, *, at_least: bool) -> dict[str, Any]:
    """Says whether a figure keeps to its bar, and returns it for the JSON file."""
    met = value >= limit if at_least else value <= limit
    sign = ">=" if at_least else "<="
    print(f"bar: {what} {value:.3g}, {sign} {limit:g}: {'met' if met else 'MISSED'}", flush=True)
    return {"what": what, "value": value, "limit": limit, "at_least": at_least, "met": met}


def machine() -> dict[str, Any]:
    """CPU model, cores and device."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "count": jax.device_count(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """Returns the commit of the checkout; marked where files have been changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT).stdout.strip()

    return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def write_json(path: Path | None, results: Any) -> None:
    """The results with what they depend on: machine, versions, commit; nothing where no path is given."""
    if path is None:
        return
    document = {"machine": machine(), "versions": versions(), "commit": commit(), "results": results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, default=_plain) + "\n")
    print(f"wrote {path}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return asdict(value)
    return value.item() if hasattr(value, "item") else str(value)
