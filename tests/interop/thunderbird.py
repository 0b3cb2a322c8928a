"""Thunderbird, without a screen, does the day's work of a mail program: it finds the folders, lists and reads letters,
marks, tags, moves, copies, deletes and searches them, makes and renames folders, is told of new mail while it waits,
and sends through both submission ports, keeping a copy in Sent.

What its buttons call is called inside it through Marionette (marionette.py). The certificate is accepted as its
"Confirm Security Exception" button does it, for this certificate and these ports; before that it must refuse to connect.
"""
import pathlib

from desk import ALICE, BOB, CERT, HOST, Eye, letter, password, port, until
from marionette import Thunderbird

COUNT = 12
SUBMISSION = {"starttls": (port("submission"), 2), "tls": (port("submissions"), 3)}

prefs = {
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.account.account1.server": "server1",
    "mail.account.account1.identities": "id1",
    "mail.identity.id1.fullName": "Alice",
    "mail.identity.id1.useremail": ALICE,
    "mail.identity.id1.valid": True,
    "mail.identity.id1.smtpServer": "starttls",
    "mail.server.server1.type": "imap",
    "mail.server.server1.hostname": HOST,
    "mail.server.server1.port": port("imaps"),
    "mail.server.server1.userName": ALICE,
    "mail.server.server1.socketType": 3,
    "mail.server.server1.authMethod": 3,
    "mail.server.server1.login_at_startup": False,
    "mail.server.server1.check_new_mail": False,
    "mail.server.server1.offline_download": False,
    "mail.smtpservers": ",".join(SUBMISSION),
    "mail.smtp.defaultserver": "starttls",
    "mailnews.tags.later.tag": "Later",
    "mailnews.tags.later.color": "#0000FF",
}
for name, (at, kind) in SUBMISSION.items():
    prefs |= {
        f"mail.smtpserver.{name}.hostname": HOST,
        f"mail.smtpserver.{name}.port": at,
        f"mail.smtpserver.{name}.username": ALICE,
        f"mail.smtpserver.{name}.authMethod": 3,
        f"mail.smtpserver.{name}.try_ssl": kind,
    }

SCRIPTS = (pathlib.Path(__file__).parent / "thunderbird.js").read_text()


def do(call, *arguments):
    """Runs `call` of thunderbird.js inside Thunderbird."""
    return bird.js(f"{SCRIPTS}\nreturn await {call}(...given);", *arguments)


eye = Eye()
for n in range(COUNT):
    eye.put("INBOX", letter(f"letter-{n}", f"body {n}: Grüße\r\n".encode()), "\\Seen" if n % 2 else None)

with Thunderbird(prefs) as bird:
    do("remember_password", f"imap://{HOST}", ALICE, password(ALICE))
    do("remember_password", f"smtp://{HOST}", ALICE, password(ALICE))
    refused = do("try_inbox")
    assert "805a" in refused, f"without a reason to trust the certificate: {refused!r}"
    assert "does not come from a trusted source" in bird.dismiss()
    pem = "".join(line for line in pathlib.Path(CERT).read_text().splitlines() if "-----" not in line)
    for service in ("imaps", "submission", "submissions"):
        do("confirm_exception", HOST, port(service), pem)

    # It finds the folders and what they are for.
    folders = do("discover")
    names = {folder["name"]: folder for folder in folders}
    assert {"Inbox", "Drafts", "Sent", "Trash", "Junk", "Archive"} <= {f["use"] for f in folders}, folders

    # It lists and reads.
    listed = do("listing", "INBOX", COUNT)
    assert {m["subject"]: m["read"] for m in listed} == {f"letter-{n}": n % 2 == 1 for n in range(COUNT)}, listed
    assert "body 3: Grüße" in do("text_of", "INBOX", "letter-3")

    # It marks and tags; and it is told what another reader marks.
    do("mark", "INBOX", "letter-0", {"flagged": True, "read": True, "tag": "later"})
    until("its marks", lambda: eye.flags()["letter-0"] >= {"\\Flagged", "\\Seen", "later"})
    do("mark", "INBOX", "letter-1", {"read": False})
    until("its mark taken back", lambda: "\\Seen" not in eye.flags()["letter-1"])
    eye.mark("INBOX", [eye.letters()["letter-2"][0]], "+FLAGS", "\\Flagged \\Seen")
    until("a mark of another", lambda: do("state_of", "INBOX", "letter-2") == {"flagged": True, "read": True})

    # New mail is told while it waits, by IDLE.
    eye.put("INBOX", letter("while-idle"))
    until("new mail", lambda: "while-idle" in [m["subject"] for m in do("listing_now", "INBOX")])

    # Folders made and renamed; letters moved, copied, deleted.
    do("create_folder", "Projekte")
    do("create_folder", "Grüße")
    do("rename_folder", "Grüße", "Erledigt")
    until("its folders", lambda: {"Projekte", "Erledigt"} <= eye.folders())
    do("carry", "INBOX", "Projekte", ["letter-3", "letter-4"], True)
    do("carry", "INBOX", "Erledigt", ["letter-5"], False)
    do("remove", "INBOX", ["letter-6"])
    until("what it moved", lambda: eye.flags("Projekte") == {"letter-3": {"\\Seen"}, "letter-4": set()})
    assert eye.flags("Erledigt") == {"letter-5": {"\\Seen"}}
    until("what it deleted", lambda: eye.letters("Trash").keys() == {"letter-6"})
    assert not {"letter-3", "letter-4", "letter-6"} & eye.letters().keys() and "letter-5" in eye.letters()

    # Search on the server.
    assert do("search_subject", "INBOX", "letter-1") == ["letter-1", "letter-10", "letter-11"]

    # It sends, and keeps what it sent.
    for name in SUBMISSION:
        do("send", name, f"Bob <{BOB}>, {ALICE}", f"by-{name}", "Grüße\n.\n..\n")
    there = Eye(BOB)
    sent = there.letters()
    assert sent.keys() == {f"by-{name}" for name in SUBMISSION}, sent
    for uid, _ in sent.values():
        assert b"\r\n.\r\n..\r\n" in there.source("INBOX", uid)
    assert sent.keys() <= eye.letters().keys()
    until("its copies in Sent", lambda: eye.letters("Sent").keys() == sent.keys())
print("all done")
