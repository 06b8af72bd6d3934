"""The check of the built site's links says which lead nowhere."""

import subprocess
import sys

from tests.pages import ROOT


def check(folder):
    return subprocess.run([sys.executable, ROOT / "docs" / "check_links.py", folder], capture_output=True, text=True)


def test_dead_links_and_anchors_are_named_and_no_others(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.html").write_text('<p id="an-anchor"></p><a href="../page.html?x=1#here">up</a>')
    good = (
        '<p id="here"></p><a href="#here">a</a><a href="sub/other.html#an-anchor">b</a><a href="https://x.org/#c">c</a>'
    )
    (tmp_path / "page.html").write_text(good)
    assert check(tmp_path).returncode == 0
    (tmp_path / "page.html").write_text(good + '<a href="sub/other.html#none">d</a><img src="no%20file.png">')
    done = check(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["page.html: sub/other.html#none", "page.html: no file.png"]
