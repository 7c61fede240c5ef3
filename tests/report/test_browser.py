"""The page in a real browser: no script fails, nothing is asked for, and the list sorts itself."""

import json
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sample_checks import DIVERGED, INCONCLUSIVE, PARITY, SUSPECT
from test_html import Page, hostile
from test_pictures import long_check

from rnn_parity.report.report import Report

pytest.importorskip("jinja2")
pytest.importorskip("markdown_it")

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

SORTED = """
<script>
const rows = () =>
  [...document.querySelectorAll(".list tbody tr")].map((row) => row.cells[0].innerText);
const found = [rows()];
for (const name of ["ratio", "ratio", "layer", "#"]) {
  [...document.querySelectorAll(".list th button")].find((one) => one.innerText === name).click();
  found.push(rows());
}
location.hash = "#check-1";
dispatchEvent(new Event("hashchange"));
found.push(document.getElementById("check-1").open);
document.body.dataset.found = JSON.stringify(found);
</script>
"""


PLACES = """
<script>
const [picture, said] = [".pictures", ".said"].map(
  (name) => document.querySelector(`.pictured ${name}`).getBoundingClientRect());
const root = document.documentElement;
document.body.dataset.found = JSON.stringify(
  [said.left >= picture.right, said.top >= picture.bottom, said.width,
   root.scrollWidth <= root.clientWidth]);
</script>
"""


class Served:
    """Pages by their paths, and what was asked for."""

    def __init__(self, pages):
        self.asked = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                served.asked.append(self.path)
                body = pages.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"


def seen_by_browser(pages, path, folder, width=1200):
    """The document after its scripts have run, what they complained of, and what was asked for."""
    with Served(pages) as served:
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--enable-logging=stderr", "--disable-background-networking", "--no-first-run"]
        command += [f"--window-size={width},900", f"--user-data-dir={folder}", served.url(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, said, served.asked


@pytest.mark.parametrize("kind", ["checks", "hostile"])
def test_no_script_fails_and_nothing_is_asked_for(kind, tmp_path):
    report = hostile() if kind == "hostile" else Report((PARITY, DIVERGED, long_check()))
    document, said, asked = seen_by_browser({"/a.html": report.render("html")}, "/a.html", tmp_path)
    assert said == []
    assert asked == ["/a.html"]
    assert len(Page(document).all("details", "check")) == len(report.checks)


def test_scripts_of_others_do_not_run(tmp_path):
    """Were there one, the policy of the page would stop it."""
    text = Report((PARITY, DIVERGED)).render("html")
    text = text.replace(
        "</body>", "<img src='/x.png'><script>document.title = 'mine'</script></body>"
    )
    document, said, asked = seen_by_browser({"/a.html": text}, "/a.html", tmp_path)
    assert "mine</title>" not in document
    assert asked == ["/a.html"]
    assert len(said) == 2
    assert all("Content Security Policy" in line for line in said)


def test_the_list_sorts_itself_and_links_open(tmp_path):
    checks = (PARITY, replace(DIVERGED, max_ratio=9.0), SUSPECT, INCONCLUSIVE)
    text = Report(checks).render("html")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"{SORTED}</body>")
    document, said, _ = seen_by_browser({"/a.html": text}, "/a.html", tmp_path)
    assert said == []
    found = re.search(r'data-found="([^"]*)"', document)[1].replace("&quot;", '"')
    # As it comes: failures first. Ratios: 0.296, 9, 0.1 and infinity, up and down. Layers: encoder,
    # s, simple_rnn, SimpleRNN.
    first, up, down, layers, numbers = (
        ["2", "3", "4", "1"],
        ["3", "1", "2", "4"],
        ["4", "2", "1", "3"],
        ["2", "3", "1", "4"],
        ["1", "2", "3", "4"],
    )
    quoted = [
        str(one).replace("'", '"').replace(" ", "") for one in (first, up, down, layers, numbers)
    ]
    assert found == f"[{','.join(quoted)},true]"


@pytest.mark.parametrize(("width", "beside"), [(500, False), (1000, False), (1600, True)])
def test_text_stands_beside_a_picture_only_where_it_has_room(width, beside, tmp_path):
    text = Report((DIVERGED, SUSPECT)).render("html")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"{PLACES}</body>")
    document, said, _ = seen_by_browser({"/a.html": text}, "/a.html", tmp_path, width)
    assert said == []
    found = json.loads(re.search(r'data-found="([^"]*)"', document)[1])
    assert found[:2] == [beside, not beside]
    assert found[2] > 350  # some 45 letters
    assert found[3]
