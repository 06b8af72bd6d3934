"""Writing the frames of an episode as a GIF, an MP4, or a film strip in one PNG."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae.environments.drawings import INK, WHITE, import_pillow
from purejaxrl_gae.settings.errors import UserError

STRIP_FRAMES = 8
STRIP_WIDTH = 240
SQUARE_ENOUGH = 0.8  # height over width of frames that stand in one row; wider ones stand larger, in two
CAPTION_HEIGHT = 28
LEAST_WIDTH = 320


def check_output(path: Path, fps: int) -> None:
    """Refuses what could not be written, before anything is played; makes the folder.

    Raises:
      UserError: the suffix is unknown, a package is missing, the folder cannot be made or written to, or fps is out
        of range.
    """
    if path.suffix.lower() not in WRITERS:
        suffixes = ", ".join(WRITERS)
        raise UserError(f"render is {str(path)!r}; it must end in one of {suffixes}")
    if not 1 <= fps <= 100:
        raise UserError(f"fps is {fps}; it must be between 1 and 100")
    import_pillow()
    if path.suffix.lower() == ".mp4":
        _import_ffmpeg()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    if path.is_dir():
        raise UserError(f"render is {str(path)!r}, which is a folder; it must be a file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"render is {str(path)!r}, which cannot be written: no permission for {str(path.parent)!r}")


def write_animation(path: Path, frames: list[np.ndarray], captions: list[str], fps: int) -> None:
    """Writes the whole file or nothing.

    Args:
      path: ends in .gif, .mp4 or .png; a PNG shows eight frames side by side.
      frames: RGB `[H, W, 3]` uint8, all of one size.
      captions: a line under each.
      fps: frames per second.

    Raises:
      UserError: it cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix.lower()}")
    try:
        WRITERS[path.suffix.lower()](temporary, frames, captions, fps)
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_gif(path: Path, frames: list[np.ndarray], captions: list[str], fps: int) -> None:
    captioned = [_captioned(*pair).quantize(128, dither=0) for pair in zip(frames, captions, strict=True)]
    ends = 10 * np.round(np.arange(len(frames) + 1) * 100.0 / fps).astype(int)  # GIF counts hundredths of a second
    captioned[0].save(path, save_all=True, append_images=captioned[1:], duration=np.diff(ends).tolist(), loop=0)


def _write_mp4(path: Path, frames: list[np.ndarray], captions: list[str], fps: int) -> None:
    first = _captioned(frames[0], captions[0])
    size = tuple(2 * (length // 2) for length in first.size)  # the codec wants even numbers
    video = _import_ffmpeg().write_frames(
        str(path), size, fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error"
    )
    with warnings.catch_warnings():  # JAX warns of every fork; this one starts ffmpeg at once
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
        video.send(None)
    try:
        for pair in zip(frames, captions, strict=True):
            video.send(_captioned(*pair).crop((0, 0, *size)).tobytes())
    finally:
        video.close()


def _write_strip(path: Path, frames: list[np.ndarray], captions: list[str], fps: int) -> None:
    pillow = import_pillow()
    chosen = np.unique(np.linspace(0, len(frames) - 1, STRIP_FRAMES).round().astype(int))
    height = round(STRIP_WIDTH * frames[0].shape[0] / frames[0].shape[1])
    in_a_row = STRIP_FRAMES if height > STRIP_WIDTH * SQUARE_ENOUGH else STRIP_FRAMES // 2
    gap, rows = 4, -(-len(chosen) // in_a_row)
    across, down = STRIP_WIDTH + gap, height + CAPTION_HEIGHT
    strip = pillow.Image.new("RGB", (min(len(chosen), in_a_row) * across - gap, rows * down), WHITE)
    for place, index in enumerate(chosen):
        small = pillow.Image.fromarray(frames[index]).resize((STRIP_WIDTH, height), pillow.Image.Resampling.LANCZOS)
        row, column = divmod(place, in_a_row)
        strip.paste(_with_caption(small, captions[index]), (column * across, row * down))
    strip.save(path, optimize=True)


WRITERS: dict[str, Callable[[Path, list[np.ndarray], list[str], int], None]] = {
    ".gif": _write_gif,
    ".mp4": _write_mp4,
    ".png": _write_strip,
}


def _captioned(frame: np.ndarray, caption: str) -> Any:
    """Enlarges a frame so that the caption under it can be read."""
    pillow = import_pillow()
    image = pillow.Image.fromarray(frame)
    factor = -(-LEAST_WIDTH // image.width)
    if factor > 1:
        image = image.resize((factor * image.width, factor * image.height), pillow.Image.Resampling.NEAREST)
    return _with_caption(image, caption)


def _with_caption(image: Any, caption: str) -> Any:
    pillow = import_pillow()
    whole = pillow.Image.new("RGB", (image.width, image.height + CAPTION_HEIGHT), WHITE)
    whole.paste(image, (0, 0))
    font = pillow.ImageFont.load_default(15)
    pillow.ImageDraw.Draw(whole).text((8, image.height + CAPTION_HEIGHT / 2), caption, INK, font, anchor="lm")
    return whole


def _import_ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError("videos need imageio-ffmpeg: pip install 'purejaxrl-gae[video]'") from None
    return imageio_ffmpeg


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or " ".join(str(error).split())
    return UserError(f"render is {str(path)!r}, which cannot be written: {reason}")
