"""A hint for a run that neither sees its state nor remembers, where the environment is known to hide something."""

from purejaxrl_gae.program.memories import has_memory
from purejaxrl_gae.program.types import Setup

SHOWN_ONCE = {
    "MemoryChain-bsuite": "at an episode's begin",
    "purejaxrl_gae.environments.probes:t_maze": "at an episode's begin",
    "purejaxrl_gae.environments.probes:repeat_previous": "two steps before",
}
VELOCITIES = {  # places in the observation
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "Acrobot-v1": (4, 5),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
}


def with_hint(setup: Setup) -> Setup:
    """Returns the setup with a note where what matters is known to be hidden and the network has no memory."""
    config = setup.config
    if has_memory(setup.network) or not isinstance(config.env, str):
        return setup
    if config.env in SHOWN_ONCE:
        when = SHOWN_ONCE[config.env]
        hint = f"env is {config.env}, which shows {when} what is asked for; without --memory scores stay at chance"
        return setup._replace(notes=(*setup.notes, hint))
    velocities = VELOCITIES.get(config.env.removeprefix("gymnasium:"), ())
    hidden = [place for place in velocities if config.observe and place not in config.observe]
    if not hidden or config.frame_stack > 1:
        return setup
    hint = (
        f"observe leaves out {', '.join(map(str, hidden))} of {config.env}, which is velocity; "
        "--memory gru or --frame-stack 4 can make up for it"
    )
    return setup._replace(notes=(*setup.notes, hint))
