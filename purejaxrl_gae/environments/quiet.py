"""Other packages and the user's screen: what they print on it, and drawing where there is none."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from purejaxrl_gae.settings.errors import UserError, first_line


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silences deprecation notes of Brax, Gymnasium and MuJoCo, about their own models and missing options."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import mujoco
        except ImportError:
            yield
            return
        before = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(lambda message: None)
        try:
            yield
        finally:
            mujoco.set_mju_user_warning(before)


@contextlib.contextmanager
def importing(env: str, library: str, extra: str) -> Iterator[None]:
    """Words the failure of an import that an environment needs.

    Raises:
      UserError: the library is not installed; names the extra that it comes with.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f"env is {env!r}, which needs {library}: pip install 'purejaxrl-gae[{extra}]'") from error


def construct(env: str, make: Callable[[], Any]) -> Any:
    """Calls `make`, without what the libraries print meanwhile.

    Raises:
      UserError: it raised something.
    """
    try:
        with quietly():
            return make()
    except Exception as error:
        raise UserError(f"env is {env!r}, which cannot be built: {first_line(error)}") from error


def draw_without_screen() -> None:
    """Has MuJoCo draw by EGL where there is no screen, unless MUJOCO_GL says otherwise; before MuJoCo is imported."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")


def not_drawn(name: str, error: Exception) -> UserError:
    """Words the failure of an environment's own renderer."""
    return UserError(
        f"env is {name!r}, which cannot be rendered here: {first_line(error)}; without a screen, MuJoCo needs "
        "MUJOCO_GL=egl or MUJOCO_GL=osmesa"
    )
