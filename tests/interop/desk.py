"""The desk every scripted client works at: where the server is, an empty HOME, and an eye of our own on the server.

Each client's script imports this, lets the client do its job, and then asks `Eye` (Python's imaplib, over TLS with the
server's certificate as the only authority) what the server holds now. Nothing here is special to one client.

The environment says the rest: HOME is empty and temporary; DESK is a JSON object of the ports by service, `cert` (the
certificate's path), `passwords` by address, the server's `pid`, and `serve`, the command that starts it again.
"""
import atexit
import imaplib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time

DESK = json.loads(os.environ["DESK"])
HOME = pathlib.Path(os.environ["HOME"])
CERT = DESK["cert"]
HOST = "localhost"
ALICE, BOB = "alice@ringpost.test", "bob@ringpost.test"
# How long a client may take, and how long we wait for anything to happen.
PATIENCE_S = 90


def password(address):
    return DESK["passwords"][address]


def port(service):
    return DESK[service]


def tls():
    return ssl.create_default_context(cafile=CERT)


def write(name, text, mode=0o600):
    """Writes a file below HOME and returns its path."""
    path = HOME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def run(*command, ok=(0,), stdin=None, cwd=None, env=None):
    """Runs a client to its end and returns what it said, both streams; any other exit code ends the test."""
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        cwd=cwd or HOME,
        env={**os.environ, **(env or {})},
    )
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode in ok, f"{command} ended with {done.returncode}:\n{said}"
    return said


def letter(subject, body=b"text\r\n", to=ALICE, author=BOB):
    """A small letter with canonical line ends."""
    head = f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@desk.test>\r\n"
    return head.encode() + b"Date: Sun, 01 Feb 2026 10:11:12 +0100\r\n\r\n" + body


def bodies(count):
    """Bodies of many kinds, `count` of them: empty, dots, long lines, eight bits, no last line end, and one large."""
    kinds = [
        b"text\r\n",
        b"",
        b".\r\n..\r\n.dot\r\n",
        b"x" * 990 + b"\r\n",
        "Grüße, 你好\r\n".encode(),
        b"no end",
        b"From here on\r\n>From there\r\n",
        b"a line\r\n" * 500,
    ]
    for n in range(count):
        yield b"0123456789abcde\r\n" * 20_000 if n == 17 else kinds[n % len(kinds)]


def deliverer(first=""):
    """Writes a delivery program, for clients that hand letters to one, and returns its path: see `delivered`. `first`: shell
    commands that it begins with."""
    (HOME / "delivered").mkdir()
    return write("deliver", f'#!/bin/sh\n{first}\nfile=$(mktemp "{HOME}/delivered/XXXXXXXX") && cat > "$file"\n', mode=0o700)


def delivered():
    """Subject → letter that came to the delivery program since the last call."""
    found = {}
    for path in (HOME / "delivered").iterdir():
        text = path.read_bytes()
        path.unlink()
        subject = re.search(rb"^Subject: (.*?)\r?$", text, re.M)[1].decode()
        assert subject not in found, f"{subject} came twice"
        found[subject] = text
    return found


def unix(message):
    """The letter as programs of this machine keep it: its own line ends, and one at the end."""
    return message.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"


class Maildir:
    """A Maildir of a client, by our own eyes. (Python's own waits for the disk at each letter.)"""

    FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen"}

    def __init__(self, path):
        self.path = path
        for name in ("cur", "new", "tmp"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self.made = 0

    def add(self, message, flags=""):
        self.made += 1
        (self.path / "cur" / f"{time.time_ns()}.{self.made}.desk:2,{flags}").write_bytes(message.replace(b"\r\n", b"\n"))

    def paths(self):
        """Subject → path."""
        found = {}
        for path in [*(self.path / "cur").iterdir(), *(self.path / "new").iterdir()]:
            subject = re.search(rb"^Subject: (.*)$", path.read_bytes(), re.M)[1].decode()
            assert subject not in found, f"{subject} is there twice"
            found[subject] = path
        return found

    def flags(self):
        """Subject → flags as IMAP names them."""
        return {subject: {self.FLAGS[f] for f in letters_of(path)} for subject, path in self.paths().items()}

    def mark(self, change):
        """Gives each letter the flags, in letters, that `change(subject, flags)` makes of those it has."""
        for subject, path in self.paths().items():
            flags = "".join(sorted(change(subject, letters_of(path))))
            path.rename(self.path / "cur" / f"{path.name.partition(':2,')[0]}:2,{flags}")

    def source(self, subject):
        return self.paths()[subject].read_bytes().replace(b"\n", b"\r\n")


def letters_of(path):
    return path.name.partition(":2,")[2]


class Eye(imaplib.IMAP4_SSL):
    """What the server holds, seen by another reader of the same account."""

    def __init__(self, who=ALICE):
        super().__init__(HOST, port("imaps"), ssl_context=tls(), timeout=PATIENCE_S)
        # imaplib sends a literal and its line end apart, and would wait for an acknowledgement between them.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ok(self.login(who, password(who)))

    @staticmethod
    def ok(answer):
        """The data of an answer that must be OK."""
        assert answer[0] == "OK", answer
        return answer[1]

    def put(self, folder, message, flags=None):
        self.ok(self.append(folder, flags and f"({flags})", None, message))

    def folders(self):
        """Names of all mailboxes that can be selected, as the wire has them."""
        lines = [line for line in self.ok(self.list()) if line and not re.search(rb"(?i)\\no(select|nexistent)", line)]
        return {re.search(rb' "?([^" ]+)"?$', line)[1].decode() for line in lines}

    def tally(self, folder):
        """What a change of any kind in `folder` changes."""
        return self.ok(self.status(f'"{folder}"', "(MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"))

    def count(self, folder):
        """Letters in `folder`."""
        return int(re.search(rb"MESSAGES (\d+)", self.tally(folder)[0])[1])

    def letters(self, folder="INBOX"):
        """Subject → (uid, its flags but for Recent) of every letter in `folder`."""
        self.ok(self.select(f'"{folder}"', readonly=True))
        data = self.ok(self.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        found = {}
        for item in data:
            if not isinstance(item, tuple):
                continue
            uid = int(re.search(rb"UID (\d+)", item[0])[1])
            flags = re.search(rb"FLAGS \(([^)]*)\)", item[0])[1].decode().split()
            subject = item[1].decode().split(":", 1)[1].strip()
            assert subject not in found, f"{subject} is there twice"
            found[subject] = (uid, set(flags) - {"\\Recent"})
        self.ok(self.unselect())
        return found

    def flags(self, folder="INBOX"):
        """Subject → flags."""
        return {subject: flags for subject, (_, flags) in self.letters(folder).items()}

    def source(self, folder, uid):
        """The whole letter."""
        self.ok(self.select(f'"{folder}"', readonly=True))
        data = self.ok(self.uid("FETCH", str(uid), "(BODY.PEEK[])"))
        self.ok(self.unselect())
        return data[0][1]

    def mark(self, folder, uids, what, flags):
        """STORE `what` (+FLAGS, -FLAGS) on the letters with these UIDs."""
        self.ok(self.select(f'"{folder}"'))
        self.ok(self.uid("STORE", ",".join(map(str, uids)), what, f"({flags})"))
        self.ok(self.unselect())

    def remove(self, folder, uids):
        """Marks them deleted and expunges."""
        self.ok(self.select(f'"{folder}"'))
        self.ok(self.uid("STORE", ",".join(map(str, uids)), "+FLAGS", "(\\Deleted)"))
        self.ok(self.expunge())
        self.ok(self.unselect())


def crash():
    """Kills the server as a power switch would, and starts it again on the same data."""
    os.kill(DESK["pid"], signal.SIGKILL)
    log = (HOME / "second.log").open("wb")
    again = subprocess.Popen(DESK["serve"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    atexit.register(again.kill)
    DESK["pid"] = again.pid
    for line in again.stdout:
        if line.startswith(b"Stop it with"):
            return
    raise AssertionError(f"it does not start again: {(HOME / 'second.log').read_text()}")


def until(what, test):
    """Asks `test` again and again until it says something true, which is returned."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = test()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
