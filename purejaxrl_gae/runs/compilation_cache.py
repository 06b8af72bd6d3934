"""Compiled programs that the next process finds on the disk."""

import logging
import os
import warnings
from pathlib import Path

import jax


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX was already told of another.

    Commands do so by themselves; a program of one's own calls it once, before it compiles. The folder is
    `purejaxrl_gae/xla` in `XDG_CACHE_HOME`, or in `~/.cache`.

    Example:
      >>> import purejaxrl_gae
      >>> purejaxrl_gae.use_compilation_cache()
      >>> train = purejaxrl_gae.make_train(purejaxrl_gae.PPOConfig(env="CartPole-v1"))
    """
    warnings.filterwarnings("ignore", "Error .* persistent compilation cache", UserWarning)  # as on a full disk
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        directory = base / "purejaxrl_gae" / "xla"
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # nowhere to keep them: compile every time
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    logging.getLogger("jax._src.compilation_cache").setLevel(logging.ERROR)
