"""python -m benchmarks.accelerators: training programs as the compilers of GPUs and TPUs make them, on any machine.

    pip install ".[tpu-compile]"                 # TPUs: libtpu holds the compiler
    pip install ".[cuda-compile]"                # GPUs: the plugin does; no CUDA libraries are needed to compile
    python -m benchmarks.accelerators            # every target that this environment can compile for
    python -m benchmarks.accelerators --table    # prints what has been found

Nothing is run: XLA's own compilers say how many kernels a step of the rollout and a gradient step launch, how many
branches are left (on a GPU each one makes the host wait for the device), which collectives devices need, and how many
bytes they hold. These numbers are exact and do not depend on how busy the machine is. Results are kept in one JSON
file; what it has is not compiled again.
"""

import collections
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro

TARGETS = ("h100", "h100:4", "v5e", "v5e:2x2", "v5e:4x4")
PROGRAMS = ("one", "agents", "sharded", "recurrent", "cnn")
ALGORITHMS = ("ppo", "trpo", "a2c", "reinforce", "off_policy")
NUM_STEPS, NUM_MINIBATCHES, NUM_EPOCHS = 32, 8, 3
NUM_AGENTS = 1024
SCOPES = ("rollout_step", "gradient_step")
FREE = {"parameter", "get-tuple-element", "constant", "tuple", "bitcast", "after-all"}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
H100 = {
    "gpu_device_info": {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49_152,
        "shared_memory_per_core": 233_472,
        "shared_memory_per_block_optin": 232_448,
        "threads_per_core_limit": 2048,
        "core_count": 132,
        "fpus_per_core": 128,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65_535,
        "block_dim_limit_z": 65_535,
        "registers_per_core_limit": 65_536,
        "registers_per_block_limit": 65_536,
        "memory_bandwidth": 3_352_320_000_000,
        "l2_cache_size": 52_428_800,
        "clock_rate_ghz": 1.98,
        "device_memory_size": 84_978_827_264,
        "cuda_compute_capability": {"major": 9},
    },
    "platform_name": "CUDA",
    "dnn_version_info": {"major": 9, "minor": 10},
    "runtime_version": {"major": 12, "minor": 8},
    "device_description_str": "NVIDIA H100 80GB HBM3",
}


@dataclass(frozen=True)
class Options:
    """Compiles training programs for accelerators."""

    targets: tuple[str, ...] = TARGETS
    """h100, h100:N of them, v5e for one TPU, or a slice of them as v5e:2x2"""
    algorithms: tuple[str, ...] = ALGORITHMS
    """whose programs"""
    programs: tuple[str, ...] = PROGRAMS
    """one agent, 1,024 agents, one agent's environments on all chips, with memory, or with convolutions"""
    output: Path = Path("docs/accelerators.json")
    """results, read and added to"""
    table: bool = False
    """print what has been found, compile nothing"""
    here: bool = False
    """compile in this process; otherwise each target has one of its own"""


class Loop(NamedTuple):
    """The body of a loop of a compiled program.

    Attributes:
      scopes: of `jax.named_scope`, that its own instructions come from.
      kernels: instructions that are launched.
      conditionals: branches among them.
    """

    scopes: frozenset[str]
    kernels: int
    conditionals: int


def as_text_proto(values: dict[str, Any]) -> str:
    """Writes nested values the way protocol buffers are written as text."""
    parts = []
    for name, value in values.items():
        parts.append(
            f"{name} {{ {as_text_proto(value)} }}" if isinstance(value, dict) else f"{name}: {json.dumps(value)}"
        )
    return " ".join(parts)


def devices_of(target: str) -> list[Any]:
    """Returns descriptions of a target's devices, which can be compiled for."""
    from jax.experimental import topologies

    kind, _, shape = target.partition(":")
    if kind == "h100":
        importlib.import_module("jax_plugins.xla_cuda12")  # registers the plugin
        described = topologies.get_topology_desc(
            "h100", platform="cuda", target_config=as_text_proto(H100), topology=f"1x1x{shape or 1}"
        )
    else:
        described = topologies.get_topology_desc(target if shape else f"{kind}:2x2", platform="tpu")
    return list(described.devices)[: None if shape else 1]


def surroundings(target: str) -> dict[str, str]:
    """Returns what a target's compiler wants to find in the environment."""
    kind, _, shape = target.partition(":")
    found = {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if kind != "h100":
        chips = number_of_chips(shape or "2x2")
        names = {"v5e": "v5litepod"}
        found |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}
        found["TPU_ACCELERATOR_TYPE"] = f"{names.get(kind, kind)}-{chips}"
    return found


def number_of_chips(shape: str) -> int:
    """Returns the number of chips of a shape as 2x2."""
    chips = 1
    for size in shape.split("x"):
        chips *= int(size)
    return chips


def missing_for(target: str) -> str | None:
    """Returns what to install to compile for a target, or None where it is there."""
    module, extra = (
        ("jax_plugins.xla_cuda12", "cuda-compile") if target.startswith("h100") else ("libtpu", "tpu-compile")
    )
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    return None if found else f"{target} needs the extra {extra}"


def config_of(algorithm: str, program: str) -> Any:
    """Returns the config of one of PROGRAMS."""
    from purejaxrl_gae.program.algorithms import config_class

    kind = config_class(algorithm)
    shape: dict[str, Any] = dict(env="Pendulum-v1", num_envs=2048, num_steps=NUM_STEPS)
    if program == "agents":
        shape = dict(env="CartPole-v1", num_envs=4, num_steps=NUM_STEPS)
    elif program == "sharded":
        shape |= dict(num_envs=4096)
    elif program == "recurrent":
        shape |= dict(memory="gru", num_envs=256)
    elif program == "cnn":
        shape |= dict(env="Breakout-MinAtar", encoder="minatar_cnn", num_envs=256)
    learning: dict[str, Any] = {
        "ppo": dict(num_minibatches=NUM_MINIBATCHES, update_epochs=NUM_EPOCHS),
        "trpo": dict(batch_size=shape["num_envs"] * NUM_STEPS // NUM_MINIBATCHES, n_critic_updates=NUM_EPOCHS),
        "off_policy": dict(num_minibatches=4, update_epochs=NUM_EPOCHS),
    }.get(algorithm, {})
    return kind(**shape, **learning)


def compiled(config: Any, program: str, devices: list[Any]) -> Any:
    """Compiles one stretch of training as runs do, for devices that are only described."""
    from functools import partial

    import jax
    import jax.numpy as jnp

    from purejaxrl_gae.parallel import sharding
    from purejaxrl_gae.program import algorithms, many_agents, training

    algorithm = algorithms.make_algorithm(config)
    hyperparameters = jax.eval_shape(lambda: algorithm.hyperparameters)
    state = jax.eval_shape(partial(training.init_state, algorithm), jax.eval_shape(jax.random.key, 0), hyperparameters)
    advance, number = partial(training.advance, algorithm), jax.ShapeDtypeStruct((), jnp.int32)
    if program == "agents":
        layout = many_agents.lay_out(NUM_AGENTS, devices)
        where = many_agents.on_devices(layout)
        of_all = lambda leaf: jax.ShapeDtypeStruct((layout.padded, *leaf.shape), leaf.dtype, sharding=where)  # noqa: E731
        several = jax.jit(partial(many_agents.advance, layout, algorithm), donate_argnums=1)
        whole = jax.sharding.NamedSharding(layout.mesh, jax.sharding.PartitionSpec())
        number = jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)
        return several.trace(*jax.tree.map(of_all, (hyperparameters, state)), number).lower().compile()
    if program == "sharded":
        mesh = sharding.environment_mesh(devices)
        where = sharding.state_shardings(mesh, state, config.num_envs)
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        places = dict(in_shardings=(whole, where, whole), out_shardings=(where, whole))
        with jax.sharding.use_mesh(mesh) if hasattr(jax.sharding, "use_mesh") else jax.set_mesh(mesh):
            return jax.jit(advance, donate_argnums=1, **places).trace(hyperparameters, state, number).lower().compile()
    one = jax.sharding.SingleDeviceSharding(devices[0])
    jitted = jax.jit(advance, donate_argnums=1, in_shardings=one, out_shardings=one)
    return jitted.trace(hyperparameters, state, number).lower().compile()


def loops(text: str) -> Iterator[Loop]:
    """Yields every loop of a compiled program's text."""
    bodies: dict[str, collections.Counter] = {}
    scopes: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        header = re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            name = header[1]
            bodies[name], scopes[name] = collections.Counter(), set()
        instruction = re.match(r"^\s+(?:ROOT )?%?[\w.\-]+ = .*? ([a-z][a-z\-]*)\(", line)
        if instruction and name:
            bodies[name][instruction[1]] += 1
            if instruction[1] not in FREE:
                scopes[name] |= {scope for scope in SCOPES if f"/{scope}/" in line}
    for body in re.findall(r" while\(.*body=%?([\w.\-]+)", text):
        counts = bodies.get(body, collections.Counter())
        kernels = sum(number for kind, number in counts.items() if kind not in FREE)
        yield Loop(frozenset(scopes.get(body, ())), kernels, counts["conditional"])


def largest(found: list[Loop], scope: str) -> int | None:
    """Returns the kernels of a scope's largest loop, or None where it has none."""
    return max((loop.kernels for loop in found if scope in loop.scopes), default=None)


def measure(algorithm: str, program: str, target: str, devices: list[Any]) -> dict[str, Any]:
    """Compiles one program and reads what it is made of."""
    from purejaxrl_gae.parallel.platform import traced_for

    started = time.perf_counter()
    with traced_for("cuda" if target.startswith("h100") else "tpu"):
        program_of = compiled(config_of(algorithm, program), program, devices)
    text, memory = program_of.as_text(), program_of.memory_analysis()
    found = list(loops(text))
    collectives = collections.Counter(re.findall(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(", text))
    return {
        "target": target,
        "program": program,
        "algorithm": algorithm,
        "rollout_step_kernels": largest(found, "rollout_step"),
        "gradient_step_kernels": largest(found, "gradient_step"),
        "conditionals_in_loops": sum(loop.conditionals for loop in found),
        "conditionals": len(re.findall(r" conditional\(", text)),
        "callbacks": len(re.findall(r"xla_ffi_python|xla_python_\w*callback", text)),
        "collectives": dict(collectives),
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "donated_bytes": memory.alias_size_in_bytes,
        "compile_seconds": round(time.perf_counter() - started, 1),
    }


def applies(program: str, target: str) -> bool:
    """Says whether a program is compiled for a target: several chips are for many agents or a divided one."""
    is_one = target in ("h100", "v5e")
    return program == "agents" or (program == "sharded") != is_one


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the results so far."""
    return json.loads(path.read_text()) if path.exists() else []


def run_target(target: str, options: Options) -> None:
    """Compiles what is missing of a target, in this process."""
    devices = devices_of(target)
    for program in options.programs:
        for algorithm in options.algorithms if applies(program, target) else ():
            key = (target, program, algorithm)
            if key in {(row["target"], row["program"], row["algorithm"]) for row in read(options.output)}:
                continue
            row = measure(algorithm, program, target, devices)
            options.output.write_text(json.dumps([*read(options.output), row], indent=1) + "\n")
            print(json.dumps(row), flush=True)


def place_of(row: dict[str, Any]) -> tuple[int, int, int]:
    """Returns where a row stands in the table."""
    names = (PROGRAMS, TARGETS, ALGORITHMS)
    return tuple(names[i].index(row[name]) for i, name in enumerate(("program", "target", "algorithm")))


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yields the table's lines."""
    titles = ("target", "program", "algorithm", "kernels: rollout step", "gradient step", "branches in loops")
    titles += ("collectives", "MB held", "MB donated", "compile s")
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in sorted(rows, key=place_of):
        collectives = ", ".join(f"{number} {kind}" for kind, number in row["collectives"].items()) or "none"
        held = (row["temporary_bytes"] + row["argument_bytes"]) / 1e6
        cells = [row["target"], row["program"], row["algorithm"], row["rollout_step_kernels"]]
        cells += [row["gradient_step_kernels"] or "", row["conditionals_in_loops"], collectives, f"{held:.1f}"]
        cells += [f"{row['donated_bytes'] / 1e6:.1f}", row["compile_seconds"]]
        yield f"| {' | '.join(map(str, cells))} |"


def main(options: Options) -> None:
    """Compiles for every target, or prints the table."""
    for target in () if options.table else options.targets:
        missing = missing_for(target)
        if missing:
            print(missing)
        elif options.here:
            run_target(target, options)
        else:
            arguments = ["--targets", target, "--algorithms", *options.algorithms, "--programs", *options.programs]
            command = [sys.executable, "-m", "benchmarks.accelerators", "--here", "--output", str(options.output)]
            subprocess.run([*command, *arguments], env={**os.environ, **surroundings(target)}, check=False)
    if not options.here:
        print("\n".join(table(read(options.output))))


if __name__ == "__main__":
    main(tyro.cli(Options))
