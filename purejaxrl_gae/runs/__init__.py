"""Everything outside the compiled program: run folder, progress, checkpoints, evaluation, stopping."""
