"""NeoMutt, fed its keys ahead, reads, flags, saves elsewhere, copies, deletes and sends.

It wants a terminal, so it gets one of ours; nobody types. IMAP over TLS and submission with STARTTLS and with TLS at
once, each with only the server's certificate to trust: an unknown one would make it ask, and it would never end.
"""
import fcntl
import os
import pty
import select
import struct
import termios
import time

from desk import ALICE, BOB, CERT, HOME, HOST, PATIENCE_S, Eye, bodies, deliverer, delivered, letter, password, port, run, unix, write

COUNT = 20

write(
    ".neomuttrc",
    f"""
set charset = utf-8
set send_charset = us-ascii:utf-8
set realname = "Alice"
set from = {ALICE}
set use_envelope_from = yes
set hostname = ringpost.test
set ssl_starttls = yes
set ssl_force_tls = yes
set ssl_verify_dates = yes
set ssl_verify_host = yes
set ssl_ca_certificates_file = {CERT}
set certificate_file = {HOME}/accepted
set imap_user = {ALICE}
set imap_pass = "{password(ALICE)}"
set folder = imaps://{HOST}:{port("imaps")}/
set imap_condstore = yes
set spool_file = +INBOX
set record = +Sent
set header_cache = {HOME}/cache/
set sort = mailbox-order
set smtp_user = {ALICE}
set smtp_pass = "{password(ALICE)}"
set confirm_append = no
set confirm_create = no
set delete = yes
set move = no
set quit = yes
set sleep_time = 0
set wait_key = no
set pipe_split = yes
set pipe_decode = no
set mark_old = no
set beep = no
""",
)
(HOME / "cache").mkdir()


def press(keys, *more):
    """Starts NeoMutt with `keys` waiting and returns when it has ended by itself."""
    command = ["neomutt", "-n", "-F", str(HOME / ".neomuttrc"), "-d", "2", "-l", str(HOME / "debug"), *more]
    command += ["-e", f'push "{keys}<quit>"']
    child, screen = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    shown, deadline = b"", time.monotonic() + PATIENCE_S
    while True:
        ready = select.select([screen], [], [], 1)[0]
        try:
            if ready and not (chunk := os.read(screen, 65536)):
                break
        except OSError:
            break
        shown += chunk if ready else b""
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise AssertionError(f"it did not end: {shown[-4000:].decode('utf-8', 'replace')}")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, (status, shown[-4000:])


def tag(pattern):
    return f"<untag-pattern>~A<enter><tag-pattern>{pattern}<enter><tag-prefix-cond>"


eye = Eye()
letters = {f"letter-{n}": letter(f"letter-{n}", body) for n, body in enumerate(bodies(COUNT))}
for message in letters.values():
    eye.put("INBOX", message)
eye.ok(eye.create("Kept"))

# It lists and fetches everything.
program = deliverer()
press(f"{tag('~A')}<pipe-message>{program}<enter>")
got = delivered()
assert got.keys() == letters.keys(), got.keys()
for subject, message in letters.items():
    assert unix(got[subject]).partition(b"\n\n")[2] == unix(message).partition(b"\n\n")[2], (got[subject], message)

# Flags set and taken back, one letter saved elsewhere (copied and deleted), one copied, one deleted, in one visit.
def only(n):
    return tag(f"~i letter-{n}@desk")


press(
    f"{only(1)}<flag-message>{only(2)}<clear-flag>N{only(3)}<set-flag>r"
    f"{only(4)}<save-message>=Kept<enter>{only(5)}<copy-message>=Kept<enter>{only(6)}<delete-message><sync-mailbox>"
    f"{only(7)}<save-message>=Made<enter>"
)
flags = eye.flags()
assert "\\Flagged" in flags["letter-1"] and "\\Seen" in flags["letter-2"] and "\\Answered" in flags["letter-3"], flags
assert not {"letter-4", "letter-6", "letter-7"} & flags.keys() and "letter-5" in flags and len(flags) == COUNT - 3
assert eye.letters("Kept").keys() == {"letter-4", "letter-5"}
assert eye.letters("Made").keys() == {"letter-7"}
press(f"{only(1)}<clear-flag>!<sync-mailbox>")
assert "\\Flagged" not in eye.flags()["letter-1"]

# Sending: without a screen through STARTTLS, with an attachment; at the screen through TLS from the start, and there it
# keeps what it sent (in batch mode it says that it cannot).
SAID = "Grüße\n.\n..\n"
attachment = write("attached.txt", "attached\n" * 100)
editor = write("editor", f"#!/bin/sh\nprintf '{SAID}' > \"$1\"\n", mode=0o700)
run(
    *("neomutt", "-n", "-F", HOME / ".neomuttrc", "-e", f"set smtp_url = smtp://{HOST}:{port('submission')}/"),
    *("-s", "by-batch", "-a", attachment, "--", BOB),
    stdin=SAID.encode(),
)
press(
    f"<mail>{BOB}<enter>by-screen<enter><send-message>",
    *("-e", f"set smtp_url = smtps://{HOST}:{port('submissions')}/ editor = {editor} abort_unmodified = no"),
)
bob = Eye(BOB)
uids = {subject: uid for subject, (uid, _) in bob.letters().items()}
assert uids.keys() == {"by-batch", "by-screen"}, uids
for subject, uid in uids.items():
    text = bob.source("INBOX", uid)
    assert SAID.replace("\n", "\r\n").encode() in text, text
    assert (b"attached.txt" in text) == (subject == "by-batch"), text
assert eye.flags("Sent") == {"by-screen": {"\\Seen"}}, eye.flags("Sent")
print("all done")
