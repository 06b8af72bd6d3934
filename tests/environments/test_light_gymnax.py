"""Modules that are imported only when something of them is asked for."""

import importlib
import sys

import pytest

from purejaxrl_gae.environments.light_gymnax import Deferred, deferred


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `drawing_kit` with a module `paint`, where none was imported yet."""
    (tmp_path / "drawing_kit").mkdir()
    (tmp_path / "drawing_kit" / "__init__.py").write_text("width = 3\n")
    (tmp_path / "drawing_kit" / "paint.py").write_text("from drawing_kit import width\nred = 2 * width\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    for name in ("drawing_kit", "drawing_kit.paint"):
        sys.modules.pop(name, None)


NAMES = ("drawing_kit", "drawing_kit.paint")


@pytest.mark.usefixtures("package")
def test_a_module_is_imported_when_something_of_it_is_asked_for():
    with deferred(*NAMES):
        import drawing_kit.paint as paint
        from drawing_kit import paint as same
    assert isinstance(paint, Deferred) and same is paint
    assert not any(name in sys.modules for name in NAMES)
    assert paint.red == 6
    assert sys.modules["drawing_kit.paint"].red == 6


@pytest.mark.usefixtures("package")
def test_what_is_asked_for_at_once_is_imported_at_once():
    with deferred(*NAMES):
        from drawing_kit.paint import red
    assert red == 6


@pytest.mark.usefixtures("package")
def test_a_module_that_is_there_already_stays():
    import drawing_kit

    with deferred(*NAMES):
        import drawing_kit as same
        import drawing_kit.paint as paint
    assert same is drawing_kit
    assert paint.red == 6


@pytest.mark.usefixtures("package")
def test_a_module_that_is_missing_is_named_when_it_is_asked_for():
    with deferred("drawing_kit", "drawing_kit.oil"):
        import drawing_kit.oil as oil
    with pytest.raises(ModuleNotFoundError, match=r"drawing_kit\.oil"):
        oil.red  # noqa: B018
