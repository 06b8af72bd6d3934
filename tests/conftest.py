"""What all tests share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def config_folder(tmp_path_factory):
    """A folder for the user's key that is not the user's."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        yield folder
