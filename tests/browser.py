"""Chromium without a window, driven over the WebDriver protocol with nothing but the standard library."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Left": "\ue012", "Right": "\ue014", "Escape": "\ue00c", "Home": "\ue011"}


def why_not() -> str:
    """Why there is no browser here, or nothing."""
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"no {' and no '.join(missing)} on this machine (Debian: chromium, chromium-driver)" if missing else ""


class Browser:
    """One Chromium with a profile of its own in `folder`, where its downloads go too. Use as a context manager."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> "Browser":
        command = ["chromedriver", "--port=0"]
        self.driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.root = "http://127.0.0.1:" + line.strip().rstrip(".").split()[-1]
                break
        try:
            self.session = ""
            options = {"args": [*FLAGS, f"--user-data-dir={self.folder / 'profile'}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options}
            wanted["goog:loggingPrefs"] = {"browser": "ALL", "performance": "ALL"}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = f"/session/{made['sessionId']}"
            self.on_progress("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.folder))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.session:
                self._call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.driver.stdout.close()

    def _call(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + self.session + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"].splitlines()[0]) from None

    def on_progress(self, command: str, **parameters):
        """A command of the browser's own protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file from disk and wait until it has drawn itself."""
        self.on_progress("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        self.on_progress("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in wishes.items()])
        self.console(), self.requests()  # what an earlier page left
        self._call("POST", "/url", {"url": page.as_uri()})
        self.wait("return document.documentElement.dataset.ready === 'yes'")
        self.frame()

    def run(self, script: str, *arguments):
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 20) -> None:
        ends = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < ends, f"never became true: {script}; console: {self.console()}"
            time.sleep(0.02)

    def frame(self) -> None:
        """Wait until what was asked for is on the screen."""
        script = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        self._call("POST", "/execute/async", {"script": script, "args": []})

    def find(self, selector: str) -> str:
        return self._call("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]

    def click(self, selector: str) -> None:
        self._call("POST", f"/element/{self.find(selector)}/click", {})
        self.frame()

    def keys(self, *keys: str) -> None:
        """Type on whatever has the focus."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})
        self.frame()

    def point(self, selector: str, path: list[tuple[float, float]], drag: bool = False) -> None:
        """Move the pointer along places inside an element (shares of its width and height), with the button held for a drag."""
        script = "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center', behavior: 'instant'});"
        box = self.run(script + "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]", selector)
        spots = [(round(box[0] + x * box[2]), round(box[1] + y * box[3])) for x, y in path]
        moves = [{"type": "pointerMove", "duration": 0, "x": x, "y": y, "origin": "viewport"} for x, y in spots]
        if drag:
            moves = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})
        self.frame()

    def console(self) -> list[str]:
        """Console messages since the last call."""
        return [f"{entry['level']}: {entry['message']}" for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        log = [json.loads(entry["message"])["message"] for entry in self._call("POST", "/se/log", {"type": "performance"})]
        return [entry["params"]["request"]["url"] for entry in log if entry["method"] == "Network.requestWillBeSent"]

    def pixels(self, selector: str) -> str:
        """A canvas as text: two are equal when they show the same."""
        return self.run("return document.querySelector(arguments[0]).toDataURL()", selector)

    def picture(self, file: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        taken = self.on_progress("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(taken["data"]))
