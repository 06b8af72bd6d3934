"""Programs of one's own find in the cache what an earlier process compiled."""

import os
import subprocess
import sys

SCRIPT = """
import jax, purejaxrl_gae
purejaxrl_gae.use_compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
jax.jit(lambda x: 2.0 * x + 1.0)(jax.numpy.ones(3)).block_until_ready()
print("/jax/compilation_cache/cache_hits" in hits)
"""


def test_a_second_process_compiles_nothing_again(tmp_path):
    environment = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}

    def found() -> str:
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert (found(), found()) == ("False", "True")
    assert any((tmp_path / "purejaxrl_gae" / "xla").iterdir())
