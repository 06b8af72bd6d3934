"""python -m benchmarks.accelerators: training programs as the compilers of GPUs and TPUs make them, on any machine.

    pip install ".[tpu-compile]"                 # TPUs: libtpu holds the compiler
    pip install ".[cuda-compile]"                # GPUs: the plugin does; no CUDA libraries are needed to compile
    python -m benchmarks.accelerators            # every target that this environment can compile for
    python -m benchmarks.accelerators --table    # prints what has been found
    python -m benchmarks.accelerators --run      # on a machine that has one: times it, see benchmarks.device_run

Nothing is run: XLA's own compilers say how many kernels a step of the rollout and a gradient step launch, how many
branches are left (on a GPU each one makes the host wait for the device), which collectives devices need, and how many
bytes they hold. These numbers are exact and do not depend on how busy the machine is. Results are kept in one JSON
file; what it has is not compiled again.
"""

import collections
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from benchmarks.chips import devices_of, missing_for, surroundings

TARGETS = ("h100", "h100:4", "v5e", "v5e:2x2", "v5e:4x4")
PROGRAMS = ("one", "agents", "sharded", "recurrent", "cnn")
ALGORITHMS = ("ppo", "trpo", "a2c", "reinforce", "off_policy")
ORDER = {"program": PROGRAMS, "target": TARGETS, "algorithm": ALGORITHMS}
NUM_STEPS, NUM_MINIBATCHES, NUM_EPOCHS = 32, 8, 3
NUM_AGENTS = 1024
SCOPES = ("rollout_step", "gradient_step")
FREE = {"parameter", "get-tuple-element", "constant", "tuple", "bitcast", "after-all"}
FREE |= {"copy-start", "copy-done"}  # a TPU fetches weights ahead while it computes
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
FREE |= {f"{kind}-done" for kind in COLLECTIVES}


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
    run: bool = False
    """time training and kernels on this machine's device instead, for at most ten minutes; see benchmarks.device_run"""
    quick: bool = False
    """with --run: one update of everything, to see that it works"""
    purejaxrl: Path | None = None
    """with --run: a checkout of PureJaxRL, whose ppo.py is timed too; it needs distrax, brax and navix"""
    here: bool = False
    """compile in this process; otherwise each target has one of its own"""


class Loop(NamedTuple):
    """The body of a loop of a compiled program.

    Attributes:
      scopes: of `jax.named_scope`, and how many of its own instructions come from each.
      kernels: instructions that are launched.
      conditionals: branches among them.
      collectives: what devices wait for each other in, among them.
    """

    scopes: dict[str, int]
    kernels: int
    conditionals: int
    collectives: int


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
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

    from purejaxrl_gae.parallel import sharding
    from purejaxrl_gae.program import algorithms, many_agents, training

    algorithm = algorithms.make_algorithm(config)
    hyperparameters = jax.eval_shape(lambda: algorithm.hyperparameters)
    state = jax.eval_shape(partial(training.init_state, algorithm), jax.eval_shape(jax.random.key, 0), hyperparameters)
    advance, mesh, places = partial(training.advance, algorithm), contextlib.nullcontext(), {}
    number = jax.ShapeDtypeStruct((), jnp.int32)
    if program == "agents":
        layout = many_agents.lay_out(NUM_AGENTS, devices)
        advance = partial(many_agents.advance, layout, algorithm)
        where = many_agents.on_devices(layout)
        of_all = lambda leaf: jax.ShapeDtypeStruct((layout.padded, *leaf.shape), leaf.dtype, sharding=where)  # noqa: E731
        hyperparameters, state = jax.tree.map(of_all, (hyperparameters, state))
        number = jax.ShapeDtypeStruct((), jnp.int32, sharding=NamedSharding(layout.mesh, PartitionSpec()))
    elif program == "sharded":
        environments = sharding.environment_mesh(devices)
        divided = sharding.state_shardings(environments, state, config.num_envs)
        whole = NamedSharding(environments, PartitionSpec())
        mesh = jax.set_mesh(environments)
        places = dict(in_shardings=(whole, divided, whole), out_shardings=(divided, whole))
    else:
        one = SingleDeviceSharding(devices[0])
        places = dict(in_shardings=one, out_shardings=one)
    with mesh:
        return jax.jit(advance, donate_argnums=1, **places).trace(hyperparameters, state, number).lower().compile()


def loops(text: str) -> Iterator[Loop]:
    """Yields every loop of a compiled program's text."""
    bodies: dict[str, collections.Counter] = {}
    scopes: dict[str, collections.Counter] = {}
    name = ""
    for line in text.splitlines():
        header = re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            name = header[1]
            bodies[name], scopes[name] = collections.Counter(), collections.Counter()
        instruction = re.match(r"^\s+(?:ROOT )?%?[\w.\-]+ = .*? ([a-z][a-z\-]*)\(", line)
        if instruction and name:
            bodies[name][instruction[1]] += 1
            if instruction[1] not in FREE:
                scopes[name].update(scope for scope in SCOPES if f"/{scope}/" in line)
    for body in re.findall(r" while\(.*body=%?([\w.\-]+)", text):
        counts = bodies.get(body, collections.Counter())
        kernels = sum(number for kind, number in counts.items() if kind not in FREE)
        collectives = sum(counts[kind] + counts[f"{kind}-start"] for kind in COLLECTIVES)
        yield Loop(dict(scopes.get(body, {})), kernels, counts["conditional"], collectives)


def loop_of(found: list[Loop], scope: str) -> Loop | None:
    """Returns a scope's own loop, the one that has most of it; None where it has none.

    Something of a loop's body may have been moved out, into the loop around it.
    """
    own = [loop for loop in found if scope in loop.scopes]
    return max(own, key=lambda loop: loop.scopes[scope]) if own else None


def measure(algorithm: str, program: str, target: str, devices: list[Any]) -> dict[str, Any]:
    """Compiles one program and reads what it is made of."""
    from purejaxrl_gae.parallel.platform import traced_for

    started = time.perf_counter()
    with traced_for("cuda" if target.startswith("h100") else "tpu"):
        program_of = compiled(config_of(algorithm, program), program, devices)
    text, memory = program_of.as_text(), program_of.memory_analysis()
    found = list(loops(text))
    rollout_step, gradient_step = (loop_of(found, scope) for scope in SCOPES)
    collectives = collections.Counter(re.findall(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(", text))
    return {
        "target": target,
        "program": program,
        "algorithm": algorithm,
        "rollout_step_kernels": rollout_step and rollout_step.kernels,
        "gradient_step_kernels": gradient_step and gradient_step.kernels,
        "gradient_step_collectives": gradient_step and gradient_step.collectives,
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


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yields the table's lines."""
    titles = ("target", "program", "algorithm", "kernels: rollout step", "gradient step", "branches in loops")
    titles += ("collectives", "in a gradient step", "MB held", "MB donated", "compile s")
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in sorted(rows, key=lambda row: [names.index(row[name]) for name, names in ORDER.items()]):
        collectives = ", ".join(f"{number} {kind}" for kind, number in row["collectives"].items()) or "none"
        held = (row["temporary_bytes"] + row["argument_bytes"]) / 1e6
        cells = [row["target"], row["program"], row["algorithm"], row["rollout_step_kernels"]]
        cells += [row["gradient_step_kernels"] or "", row["conditionals_in_loops"], collectives]
        cells += [row["gradient_step_collectives"] or "", f"{held:.1f}", f"{row['donated_bytes'] / 1e6:.1f}"]
        cells += [row["compile_seconds"]]
        yield f"| {' | '.join(map(str, cells))} |"


def main(options: Options) -> None:
    """Compiles for every target, or prints the table, or runs."""
    if options.run:
        from benchmarks import device_run

        output = options.output.with_name("accelerator_run.json")
        device_run.run(output, quick=options.quick, purejaxrl=options.purejaxrl)
        return
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
