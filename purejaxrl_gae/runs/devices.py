"""The devices a run computes on, and the processes that take part."""

import contextlib
import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from purejaxrl_gae.runs.run_options import SharedOptions
from purejaxrl_gae.settings.errors import UserError


def claim(options: SharedOptions, num_agents: int) -> list[jax.Device]:
    """Claims the devices of all processes; to be called before anything is computed.

    On a CPU every core can be a device. By default as many are made as there are cores where there are agents for
    them, and one for one agent, whose operations use all cores anyway. Other devices are all used by default.

    Raises:
      UserError: there are not as many devices as asked for, or the processes did not find each other.
    """
    _join_processes(options)
    wanted = options.devices or min(os.cpu_count() or 1, num_agents)
    _make_cpu_devices(wanted)
    local = jax.local_devices()
    if options.devices > len(local):
        raise UserError(
            f"devices is {options.devices}; this process has {len(local)} ({local[0].platform}). CPU cores become "
            "devices only before the first JAX operation"
        )
    used = wanted if options.devices or local[0].platform == "cpu" else len(local)
    of_process = [[device for device in jax.devices() if device.process_index == index] for index in _processes()]
    return [device for devices in of_process for device in devices[:used]]


def is_writer() -> bool:
    """Says whether this process writes files and messages; the others only compute."""
    return jax.process_index() == 0


def agree(wish: bool) -> bool:
    """Says, in every process, whether it is true in any: processes that compute together must decide together."""
    if jax.process_count() == 1:
        return wish
    return bool(np.any(multihost_utils.process_allgather(np.array(wish))))


def _processes() -> range:
    return range(jax.process_count())


def _make_cpu_devices(number: int) -> None:
    with contextlib.suppress(RuntimeError):  # JAX has computed something already: its devices are what they are
        jax.config.update("jax_num_cpu_devices", number)


def _join_processes(options: SharedOptions) -> None:
    if options.coordinator is None or jax.distributed.is_initialized():
        return
    try:
        jax.distributed.initialize(options.coordinator, options.num_processes, options.process_id)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"coordinator is {options.coordinator!r}, where the processes did not meet: {reason}") from None
