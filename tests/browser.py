"""Headless Chromium by its DevTools protocol over a pipe: no driver, no package, no port. What it saw is kept."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; Debian's package is `chromium`")


class Browser:
    """One page. `requests` are the addresses it asked for, `complaints` what it wrote to the console or threw."""

    def __init__(self, profile: Path, width: int = 1200, height: int = 900) -> None:
        ours, theirs = os.pipe(), os.pipe()
        # The protocol wants to be read from 3 and written to 4: first out of the way, then there.
        read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in (ours[0], theirs[1]))

        def arrange() -> None:
            os.dup2(read, 3)
            os.dup2(write, 4)

        flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --hide-scrollbars"
        self._process = subprocess.Popen(
            [CHROMIUM or "", *flags.split(), f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=arrange, pass_fds=(3, 4),
        )  # fmt: skip
        for fd in (ours[0], theirs[1], read, write):
            os.close(fd)
        self._out, self._in = os.fdopen(ours[1], "wb", buffering=0), os.fdopen(theirs[0], "rb")
        self._count, self._rest, self._session = 0, b"", ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self.size(width, height)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._in.close()

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends one command and returns its result; events that come meanwhile are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._count:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._in.fileno(), 1 << 20)
            if not read:
                raise RuntimeError("Chromium went away")
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        details, method = message.get("params", {}), message.get("method")
        self._loaded |= method == "Page.loadEventFired"
        if method == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(details["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(details["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(details["entry"]["text"])
        return message

    def open(self, path: Path, hash: str = "") -> None:
        """Opens a file and waits until it is loaded."""
        self._loaded = False
        self("Page.navigate", url=path.resolve().as_uri() + hash)
        while not self._loaded:
            self._receive()

    def __getitem__(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key, down and up, as the keyboard sends it."""
        known = {"Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13}
        code = {"windowsVirtualKeyCode": known[key]} if key in known else {"text": key}
        self("Input.dispatchKeyEvent", type="keyDown", key=key, **code)
        self("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def size(self, width: int, height: int) -> None:
        """The window's."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path) -> None:
        """What is to be seen now, as PNG."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))
