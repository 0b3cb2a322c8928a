"""mbsync (isync) keeps a Maildir and a Ringpost account the same, in both directions.

2,000 letters with flags, half of them born on either side, meet in the middle, although the server is killed while they
do: the next run finishes the work, and no letter is lost or there twice. Then both sides change: flags are set and
taken back, letters are removed, folders are made, and one run brings each side's changes to the other. A run after that
changes nothing.
"""
import subprocess

from desk import ALICE, CERT, HOME, HOST, PATIENCE_S, Eye, Maildir, bodies, crash, letter, password, port, run, until, write

COUNT = 2000
MAIL = HOME / "mail"

write(
    ".mbsyncrc",
    f"""
FSync no

IMAPAccount ringpost
Host {HOST}
Port {port("imaps")}
User {ALICE}
Pass {password(ALICE)}
SSLType IMAPS
SystemCertificates no
CertificateFile {CERT}

IMAPStore far
Account ringpost

MaildirStore near
Path {MAIL}/
Inbox {MAIL}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
""",
)


COMMAND = ["mbsync", "-c", HOME / ".mbsyncrc", "-V", "all"]


def sync():
    run(*COMMAND)


def same(folder="INBOX"):
    here, there = Maildir(MAIL / folder).flags(), eye.flags(folder)
    wrong = [(k, here.get(k), there.get(k)) for k in here.keys() | there.keys() if here.get(k) != there.get(k)]
    assert not wrong, f"{folder}: {len(wrong)} differ: {wrong[:5]}"
    return here


def flags_of(n):
    """Four bits of the number, so that every combination of flags occurs."""
    return "".join(f for bit, f in enumerate("DFRS") if n >> bit & 1)


MAIL.mkdir()
eye = Eye()
inbox = Maildir(MAIL / "INBOX")
expected = {}
for n, body in enumerate(bodies(COUNT)):
    subject, flags = f"letter-{n}", flags_of(n)
    expected[subject] = {Maildir.FLAGS[f] for f in flags}
    if n % 2:
        eye.put("INBOX", letter(subject, body), " ".join(sorted(expected[subject])))
    else:
        inbox.add(letter(subject, body), flags)

# In the middle of the first run the server dies, with some letters here, some there, and some answers never heard.
dying = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
until("a tenth of what it has to carry up", lambda: eye.count("INBOX") > COUNT // 2 + COUNT // 20)
crash()
said, _ = dying.communicate(timeout=PATIENCE_S)
assert dying.returncode != 0, f"it was done before the server died: {said.decode()}"
eye = Eye()
assert COUNT // 2 < len(eye.letters()) < COUNT, "nothing was under way"
sync()
assert same() == expected
# The bytes too, both ways; mbsync adds a header of its own to what it carries.
uids = {subject: uid for subject, (uid, _) in eye.letters().items()}
for n, body in enumerate(bodies(20)):
    want = letter(f"letter-{n}", body)
    there = eye.source("INBOX", uids[f"letter-{n}"])
    for got in (inbox.source(f"letter-{n}"), there):
        got = b"".join(line for line in got.splitlines(True) if not line.startswith(b"X-TUID:"))
        assert got == want, (n, got[:400], want[:400])

# There: flags set on 100, taken from 100, 50 removed, a folder made with a letter in it.
for n in range(0, 200):
    expected[f"letter-{n}"] = expected[f"letter-{n}"] | {"\\Flagged"} if n < 100 else set()
eye.mark("INBOX", [uids[f"letter-{n}"] for n in range(100)], "+FLAGS", "\\Flagged")
eye.mark("INBOX", [uids[f"letter-{n}"] for n in range(100, 200)], "-FLAGS", "\\Flagged \\Seen \\Answered \\Draft")
eye.remove("INBOX", [uids[f"letter-{n}"] for n in range(200, 250)])
eye.ok(eye.create("Projekte/Gr&APwA3w-e"))
eye.put("Projekte/Gr&APwA3w-e", letter("made-there"), "\\Seen")
# Here: the same to others, and a folder.
def change(subject, flags):
    n = int(subject.split("-")[1])
    if 1000 <= n < 1100:
        expected[subject] |= {"\\Seen"}
        return {*flags, "S"}
    if 1100 <= n < 1200:
        expected[subject] = set()
        return ""
    return {*flags, "T"} if 1200 <= n < 1250 else flags


inbox.mark(change)
for n in [*range(200, 250), *range(1200, 1250)]:
    del expected[f"letter-{n}"]
Maildir(MAIL / "Notes").add(letter("made-here"))

sync()
assert same() == expected and len(expected) == COUNT - 100
assert same("Projekte/Gr&APwA3w-e") == {"made-there": {"\\Seen"}}
assert same("Notes") == {"made-here": set()}

# Nothing is left to do, and nothing is done.
def everything():
    names = sorted(path.name for path in MAIL.rglob("*") if path.parent.name in ("cur", "new"))
    return names, [(folder, eye.tally(folder)) for folder in sorted(eye.folders())]


before = everything()
sync()
assert everything() == before
print("all done")
