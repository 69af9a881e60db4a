"""A page in headless Chromium, driven through the DevTools protocol over two pipes: no driver and no port is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
PATIENCE = 60  # seconds for an answer


class Browser:
    """One tab. `problems` collects what the console reports and every exception that nobody caught."""

    def __init__(self, ask: int, answer: int) -> None:
        self._ask, self._answer = ask, answer
        self._rest, self._number, self._session = b"", 0, ""
        self._events: list[dict[str, Any]] = []
        self.problems: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Raises RuntimeError where the browser refuses."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._ask, json.dumps(message).encode() + b"\0")
        while (found := self._read()).get("id") != self._number:
            self._note(found)
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']['message']}")
        return found["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not (part := os.read(self._answer, 1 << 20)):
                raise RuntimeError("the browser has ended")
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        facts = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(facts["exceptionDetails"].get("exception", facts["exceptionDetails"])))
        if event.get("method") == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
            self.problems.append(str(facts["args"]))
        if event.get("method") == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.problems.append(facts["entry"]["text"])

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> float:
        """Load a page into a window of that size; returns the seconds until it was laid out."""
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        start = time.perf_counter()
        self.send("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._note(self._read())
        self.send("Runtime.evaluate", expression="1")  # answered when its scripts have run
        return time.perf_counter() - start

    def size(self, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise. Raises RuntimeError where it throws."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']['exception'].get('description')}")
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key on the element that has the focus."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            codes = {"Enter": 13, " ": 32, "ArrowRight": 39, "ArrowLeft": 37}
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **more)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """The page as PNG; the whole of it or what the window shows."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def print(self, path: Path) -> None:
        """The page as PDF, as it would be printed."""
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile folder; skips the test where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    ask_read, ask = os.pipe()
    answer, answer_write = os.pipe()

    def pipes() -> None:
        """Chromium reads from descriptor 3 and writes to 4."""
        read, write = os.dup(ask_read), os.dup(answer_write)
        os.dup2(read, 3)
        os.dup2(write, 4)
        for descriptor in (3, 4):  # dup2 leaves it closed to the child where it was that number already
            os.set_inheritable(descriptor, True)

    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
    flags += ["--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars"]
    process = subprocess.Popen(
        [program, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=pipes,
        close_fds=False,
        pass_fds=(),
    )
    os.close(ask_read)
    os.close(answer_write)
    try:
        yield Browser(ask, answer)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(ask)
        os.close(answer)
