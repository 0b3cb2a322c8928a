"""Thunderbird without a screen, driven through Marionette: JSON over TCP, each message after its length and a colon.

`Thunderbird` writes a profile, starts the program with its HOME there, and runs JavaScript inside it with the program's
own rights (`js`), so that a test calls what its buttons call. It talks to loopback only: everything but mail goes to a
proxy that is not there.
"""
import json
import os
import socket
import subprocess
import time

from desk import HOME, PATIENCE_S, port, until


def free_port():
    """A port below those that the kernel gives to clients, unused a moment ago."""
    for candidate in range(port("imaps") + 100, 32_000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", candidate))
                return candidate
            except OSError:
                continue
    raise AssertionError("no free port")


class Refused(Exception):
    """A command of Marionette failed: its kind, and the message."""


class Thunderbird:
    """A running Thunderbird with `prefs` set; use it as a context."""

    def __init__(self, prefs):
        self.at = free_port()
        self.profile = HOME / "profile"
        self.profile.mkdir(exist_ok=True)
        quiet = {
            "marionette.port": self.at,
            "network.proxy.type": 1,
            "network.proxy.http": "127.0.0.1",
            "network.proxy.http_port": 9,
            "network.proxy.ssl": "127.0.0.1",
            "network.proxy.ssl_port": 9,
            "app.update.auto": False,
            "app.donation.eoy.version.viewed": 999,
            "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
            "extensions.update.enabled": False,
            "mail.provider.suppress_dialog_on_startup": True,
            "mail.rights.version": 1,
            "mail.shell.checkDefaultClient": False,
            "mail.spotlight.firstRunDone": True,
            "mailnews.start_page.enabled": False,
            "services.settings.server": "data:,#remote-settings-dummy/v1",
            "toolkit.telemetry.enabled": False,
        }
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in {**quiet, **prefs}.items()]
        (self.profile / "user.js").write_text("\n".join(lines) + "\n")
        self.log = (HOME / "thunderbird.log").open("ab")
        command = ["thunderbird", "--headless", "--no-remote", "--profile", str(self.profile)]
        self.child = subprocess.Popen(
            [*command, "--marionette", "--remote-allow-system-access"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        try:
            self.talk = until("Marionette", self._connect)
            self.talk.settimeout(PATIENCE_S)
            self.last, self.unread = 0, b""
            assert self._hear()["marionetteProtocol"] == 3
            self.ask("WebDriver:NewSession", {})
            self.ask("Marionette:SetContext", {"value": "chrome"})
            self.ask("WebDriver:SetTimeouts", {"script": PATIENCE_S * 1000})
        except BaseException:
            self.stop()
            raise

    def _connect(self):
        assert self.child.poll() is None, f"Thunderbird ended: {(HOME / 'thunderbird.log').read_text()}"
        try:
            return socket.create_connection(("127.0.0.1", self.at), timeout=1)
        except OSError:
            return None

    def _hear(self):
        while True:
            length, colon, rest = self.unread.partition(b":")
            if colon and len(rest) >= int(length):
                self.unread = rest[int(length) :]
                return json.loads(rest[: int(length)])
            chunk = self.talk.recv(65536)
            assert chunk, "Marionette hung up"
            self.unread += chunk

    def ask(self, name, parameters):
        """One command and its result."""
        self.last += 1
        message = json.dumps([0, self.last, name, parameters])
        self.talk.sendall(f"{len(message.encode())}:{message}".encode())
        kind, number, error, result = self._hear()
        assert (kind, number) == (1, self.last), (kind, number)
        if error:
            raise Refused(error["error"], error["message"])
        return result

    def dismiss(self):
        """Waits for a dialogue, reads it and closes it; returns its text."""

        def shown():
            try:
                return self.ask("WebDriver:GetAlertText", {})["value"]
            except Refused as refused:
                assert refused.args[0] == "no such alert", refused
                return None

        text = until("a dialogue", shown)
        self.ask("WebDriver:DismissAlert", {})
        return text

    def js(self, body, *arguments):
        """Runs the body of an async function inside Thunderbird and returns what it returns."""
        script = f"return (async (...given) => {{ {body} }})(...arguments);"
        return self.ask("WebDriver:ExecuteScript", {"script": script, "args": list(arguments), "newSandbox": False})["value"]

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
