"""Runs the JavaScript of the documentation's pages in headless Chromium; without a page Node will do too."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NODE = shutil.which("node")
LONGEST = 300  # seconds; on a busy machine a browser takes its time to start

CATCH_ERRORS = "<script>window.onerror = (message) => { window.failure = message; };</script>"
REPORT = """<script>
const report = document.createElement("pre");
try {
  report.textContent = JSON.stringify(window.failure ? { failure: window.failure } : { value: (() => %s)() });
} catch (error) {
  report.textContent = JSON.stringify({ failure: String(error) });
}
report.id = "report";
document.body.append(report);
</script>"""

needs_an_engine = pytest.mark.skipif(not (CHROMIUM or NODE), reason="neither Chromium nor Node is installed")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


def evaluate(scripts: Sequence[Path], expression: str) -> Any:
    """Returns the value of an expression behind classic scripts, in Chromium or else in Node."""
    if CHROMIUM:
        tags = "".join(f'<script src="{script.as_uri()}"></script>' for script in scripts)
        return _in_chromium(f"<!DOCTYPE html><head></head><body>{tags}</body>", expression)
    sources = "\n".join(script.read_text() for script in scripts)
    program = f"{sources}\nprocess.stdout.write(JSON.stringify((() => {expression})()));"
    ran = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, timeout=LONGEST)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def evaluate_in_page(page: Path, expression: str) -> Any:
    """Returns the value of an expression once a page has loaded, in Chromium."""
    text = page.read_text().replace("<head>", f'<head><base href="{page.as_uri()}">', 1)
    return _in_chromium(text, expression)


def _in_chromium(text: str, expression: str) -> Any:
    text = text.replace("<head>", f"<head>{CATCH_ERRORS}", 1)
    before, after = text.rsplit("</body>", 1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "page.html"
        page.write_text(before + REPORT % expression + "</body>" + after)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1000,1400"]
        command = [CHROMIUM, *flags, f"--user-data-dir={folder}/profile", "--dump-dom", page.as_uri()]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    found = re.search(r'<pre id="report">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found, f"{ran.stdout[-1000:]}\n{ran.stderr[-1000:]}"
    report = json.loads(html.unescape(found[1]))
    assert "failure" not in report, report["failure"]
    return report.get("value")
