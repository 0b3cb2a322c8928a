"""OfflineIMAP keeps a Maildir and a Ringpost account the same: letters, flags, deletions and folders, both ways.

The first run brings everything down and up; the second, with nothing new, changes nothing; the third carries what changed
on both sides. Two connections at once, as its users have it.
"""
from desk import ALICE, CERT, HOME, HOST, Eye, Maildir, bodies, letter, password, port, run, write

MAIL = HOME / "mail"

write(
    ".offlineimaprc",
    f"""
[general]
accounts = ringpost
metadata = {HOME}/meta
maxsyncaccounts = 1

[Account ringpost]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {MAIL}
sync_deletes = yes

[Repository far]
type = IMAP
remotehost = {HOST}
remoteport = {port("imaps")}
remoteuser = {ALICE}
remotepass = {password(ALICE)}
ssl = yes
sslcacertfile = {CERT}
starttls = no
maxconnections = 2
usecompression = no
expunge = yes
""",
)


def sync():
    said = run("offlineimap", "-o", "-c", HOME / ".offlineimaprc", "-u", "basic")
    assert "ERROR" not in said and "Traceback" not in said, said


def near(folder="INBOX"):
    return Maildir(MAIL / folder).flags()


def everything():
    names = sorted(path.name for path in MAIL.rglob("*") if path.parent.name in ("cur", "new"))
    return names, [(folder, eye.tally(folder)) for folder in sorted(eye.folders())]


eye = Eye()
for n, body in enumerate(bodies(40)):
    eye.put("INBOX", letter(f"letter-{n}", body), "\\Seen" if n % 2 else None)
eye.ok(eye.create("Work"))
eye.put("Work", letter("at-work"), "\\Flagged")
sync()
assert near() == eye.flags() and len(near()) == 40, near()
assert near("Work") == {"at-work": {"\\Flagged"}}

before = everything()
sync()
assert everything() == before

uids = {subject: uid for subject, (uid, _) in eye.letters().items()}
eye.mark("INBOX", [uids["letter-2"]], "+FLAGS", "\\Seen \\Flagged")
eye.remove("INBOX", [uids["letter-4"]])
eye.put("INBOX", letter("new-there"))
inbox = Maildir(MAIL / "INBOX")
inbox.mark(lambda subject, flags: "FRS" if subject == "letter-6" else flags)
inbox.paths()["letter-8"].unlink()
inbox.add(letter("new-here"))
Maildir(MAIL / "Plans").add(letter("planned"))
sync()
there = eye.flags()
assert near() == there, (near(), there)
assert there["letter-2"] == {"\\Seen", "\\Flagged"} and there["letter-6"] == {"\\Seen", "\\Flagged", "\\Answered"}
assert not {"letter-4", "letter-8"} & there.keys() and {"new-here", "new-there"} <= there.keys()
assert near("Plans") == eye.flags("Plans") == {"planned": set()}
print("all done")
