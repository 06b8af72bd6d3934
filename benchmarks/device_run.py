"""python -m benchmarks.accelerators --run: what one accelerator does, in one call of less than ten minutes.

    training    PPO on Pendulum and CartPole beside the reference, and beside itself traced for the other kind of
                device: selects and stacked layers where a CPU branches and keeps two networks
    agents      environment steps per second against the number of agents in one program, up to the device's memory
    trpo        one agent and many
    gae         by scan, in blocks, by an associative scan and as one Pallas kernel; the share of memory bandwidth
    precision   the residual conjugate gradients reach with products in fewer bits

Everything runs in this process, so that the device's memory is whole. Results are written after every row; rows that
would begin after nine minutes are left out, which is said.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import kernels as kernel_sides
from benchmarks import ours, pallas_gae, training, trpo
from benchmarks.measure import Side, bar, interleave, kernel_side, peer_side, print_table, write_json
from benchmarks.worker import Prepared, Unavailable
from purejaxrl_gae import PPOConfig, kernels
from purejaxrl_gae.parallel.platform import takes_branches, traced_for

SECONDS = 540.0
BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12}  # bytes a second, by what the device's name holds
BYTES_OF_GAE = 3 * 4 + 2 * 1 + 2 * 4  # of one element: read and written once
AGENTS = (1, 16, 256, 1024, 4096, 16384)
GAE_SIZES = ((128, 2048), (1000, 4096), (128, 65536))
TRAINING = {
    "PPO Pendulum 2048x32": replace(training.ROWS["wide"], updates=32),
    "PPO Pendulum 16x128": training.ROWS["pendulum"],
    "PPO CartPole 2048x32": replace(training.ROWS["wide"], env="CartPole-v1", updates=32),
}


def for_the_other_kind(side: Side) -> Side:
    """The same program as it is traced for a CPU, or on a CPU as for a GPU."""

    def prepare() -> Prepared:
        with traced_for("cuda" if takes_branches() else "cpu"):
            return side()

    return prepare


def purejaxrl_side(folder: Path | None, config: PPOConfig) -> dict[str, Side]:
    """PureJaxRL's own file, where there is a checkout of it and it can train in this environment."""
    if folder is None or config.env != "CartPole-v1":  # ppo.py has discrete actions; its sibling is for Brax alone
        return {}
    spec = {"folder": str(folder.resolve() / "purejaxrl"), "config": training.reference_config(config)}
    return {"PureJaxRL": peer_side("benchmarks.peers:purejaxrl_ppo", spec, {}, "purejaxrl")}


def training_rows(quick: bool, purejaxrl: Path | None = None) -> Iterator[tuple[str, Any]]:
    """PPO beside the reference and PureJaxRL: at least twice their speed with 2048 environments."""
    other = "selects" if takes_branches() else "branches"
    for name, full in TRAINING.items():
        config = training.ppo_config(replace(full, updates=1) if quick else full)
        sides = {"purejaxrl_gae": ours.one_agent(config), f"with {other}": for_the_other_kind(ours.one_agent(config))}
        others = training.reference_sides(config, 1) | purejaxrl_side(purejaxrl, config)
        timings = interleave(sides | others, 1 if quick else 5)
        print_table(name, timings)
        beside = [timing for timing in timings if timing.name in others and config.num_envs == 2048]
        bars = [bar(f"{name} over {each.name}", each.ratio, 2.0, at_least=True) for each in beside]
        yield name, {"timings": timings, "bars": bars}


def agents_rows(quick: bool) -> Iterator[tuple[str, Any]]:
    """Many agents in one program: at least 10M steps a second at some number of them."""
    for env in ("Pendulum-v1", "CartPole-v1"):
        fastest = 0.0
        for number in AGENTS[:2] if quick else AGENTS:
            config = training.ppo_config(replace(training.ROWS["pendulum"], env=env, updates=1 if quick else 8))
            try:
                (timing,) = interleave({f"{number} agents": ours.agents(config, number)}, 1 if quick else 5)
            except (Unavailable, jax.errors.JaxRuntimeError) as error:  # its memory is full
                print(f"{env}: {number} agents left out: {str(error).splitlines()[0]}", flush=True)
                break
            print_table(f"PPO {env} 16x128", [timing])
            fastest = max(fastest, timing.per_second)
            yield f"{env} {number}", timing
        yield f"{env} fastest", bar(f"{env}, steps/s of many agents", fastest, 1e7, at_least=True)


def trpo_rows(quick: bool) -> Iterator[tuple[str, Any]]:
    """TRPO at sb3-contrib's settings."""
    for number in (1, 2) if quick else (1, 16, 256):
        config = trpo.config(1 if quick else 10)
        side = ours.one_agent(config) if number == 1 else ours.agents(config, number)
        timings = interleave({"purejaxrl_gae": side}, 1 if quick else 5)
        print_table(f"TRPO, {number} agents", timings)
        yield str(number), timings


def bandwidth() -> float | None:
    """Returns the bytes a second of this device's memory, where they are known."""
    kind = jax.devices()[0].device_kind
    return next((figure for name, figure in BANDWIDTH.items() if name in kind), None)


def gae_rows(quick: bool) -> Iterator[tuple[str, Any]]:
    """Advantages four ways: at least 70% of the memory's bandwidth at the largest size."""
    for num_steps, num_envs in ((8, 128),) if quick else GAE_SIZES:
        sides = kernel_sides.gae_sides(num_steps, num_envs, {})
        sides = {name: side for name, side in sides.items() if name == "purejaxrl_gae" or name.startswith("ours")}
        settings = dict(gamma=kernel_sides.GAMMA, gae_lambda=kernel_sides.GAE_LAMBDA)
        hand_written = partial(pallas_gae.gae, interpret=takes_branches(), **settings)
        if quick or not takes_branches():
            sides["pallas"] = kernel_side(hand_written, kernel_sides.rollout(num_steps, num_envs), num_steps * num_envs)
        timings = interleave(sides, 1 if quick else 15, rest=kernel_sides.REST)
        name = f"GAE {num_steps}x{num_envs}"
        print_table(name, timings, unit="elements/s")
        most = max(timing.per_second for timing in timings) * BYTES_OF_GAE
        known = bandwidth()
        bars = [bar(f"{name}, share of bandwidth", most / known, 0.7, at_least=True)] if known else []
        yield name, {"timings": timings, "bytes_per_second": most, "bars": bars}


def precision_rows(quick: bool) -> Iterator[tuple[str, Any]]:
    """The relative residual |A x - b| / |b| after 1 to 20 products in each precision, by a product in float32."""
    generator = np.random.default_rng(0)
    params = [generator.normal(size=shape).astype(np.float32) / 8.0 for shape in ((8, 64), (64, 64), (64, 1))]
    observations = generator.normal(size=(64 if quick else 16384, 8)).astype(np.float32)
    b = [generator.normal(size=leaf.shape).astype(np.float32) for leaf in params]
    exact = kernels.make_fisher_vector_product(kernel_sides.network, params, observations, damping=kernel_sides.DAMPING)

    def product(precision, vector):  # the derivative of the KL's gradient; what is set innermost counts
        with jax.default_matmul_precision(precision):
            old = jax.lax.stop_gradient(kernel_sides.network(params, observations))
            kl = lambda params: jnp.mean(old.kl_divergence(kernel_sides.network(params, observations)))  # noqa: E731
            curved = jax.jvp(jax.grad(kl), (params,), (vector,))[1]
        return jax.tree.map(lambda hv, v: hv + kernel_sides.DAMPING * v, curved, vector)

    @partial(jax.jit, static_argnums=(0, 1))
    def residual(precision, steps):
        solved = kernels.conjugate_gradient(partial(product, precision), b, max_iters=steps, tol=0.0)
        return norm(jax.tree.map(jnp.subtract, exact(solved.x), b)) / norm(b)

    for precision in ("default", "tensorfloat32", "float32"):
        found = {steps: float(residual(precision, steps)) for steps in (1, 5, 10, 20)}
        print(f"CG residual, {precision}: " + ", ".join(f"{k}: {v:.1e}" for k, v in found.items()), flush=True)
        yield precision, found


def norm(tree: Any) -> jax.Array:
    """Returns the Euclidean norm of all leaves together."""
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)))


SECTIONS: dict[str, Callable[..., Iterator[tuple[str, Any]]]] = {
    "training": training_rows,
    "agents": agents_rows,
    "trpo": trpo_rows,
    "gae": gae_rows,
    "precision": precision_rows,
}


def run(
    json: Path, *, quick: bool = False, sections: tuple[str, ...] = tuple(SECTIONS), purejaxrl: Path | None = None
) -> None:
    """Runs the sections in their order, for as long as there is time.

    Args:
      json: file to write, anew after every row.
      quick: one update of everything, to see that it works; the figures mean nothing.
      sections: which.
      purejaxrl: a checkout of PureJaxRL, whose `ppo.py` then stands beside training.
    """
    started, results = time.perf_counter(), {}
    for section in sections:
        results[section] = {}
        more = {"purejaxrl": purejaxrl} if section == "training" else {}
        for name, row in SECTIONS[section](quick, **more):
            results[section][name] = row
            write_json(json, results)
            if time.perf_counter() - started > SECONDS:
                print(f"{SECONDS:.0f} s are over: left out is what follows {section}, {name}", flush=True)
                return
