"""Accelerators as their compilers know them, on a machine that has none."""

import importlib
import importlib.util
import json
import math
from typing import Any

ACCELERATOR_TYPES = {"v5e": "v5litepod"}  # where they are not named as the topology is
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
        chips = math.prod(map(int, (shape or "2x2").split("x")))
        found |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}
        found["TPU_ACCELERATOR_TYPE"] = f"{ACCELERATOR_TYPES.get(kind, kind)}-{chips}"
    return found


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
