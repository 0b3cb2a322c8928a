"""curl over TLS: sends by submissions and by submission with STARTTLS, AUTH PLAIN and LOGIN; lists, flags, searches,
appends, reads and deletes by IMAPS and POP3S and by STARTTLS of both.

It is refused where the certificate is from nowhere it trusts, or names another host, where the password is wrong, and
where it would log in without TLS.
"""
from desk import ALICE, BOB, CERT, Eye, letter, password, port, run, write

# Exit codes of curl: the login was refused; the certificate is not trusted, or names somebody else.
REFUSED, UNTRUSTED = 67, 60
TEXT = b"by curl\r\n.\r\n..two\r\n"


def curl(url, *arguments, who=ALICE, secret=None, cert=CERT, ok=(0,), secret_road=True):
    trust = ["--cacert", cert] if cert else []
    login = f"{who}:{secret or password(who)}"
    return run("curl", "-sS", "--max-time", "30", *(["--ssl-reqd"] if secret_road else []), *trust, "-u", login, url, *arguments, ok=ok)


def send(url, subject, *arguments, **how):
    message = write(subject, letter(subject, TEXT.replace(b"\r\n", b"\n"), to=BOB, author=ALICE).decode().replace("\r\n", "\n"))
    return curl(url, "--crlf", "--mail-from", ALICE, "--mail-rcpt", BOB, "-T", message, *arguments, **how)


# Every name in the certificate is one to connect to.
sent = set()
for n, host in enumerate(("localhost", "127.0.0.1", "[::1]")):
    for way, url in (("tls", f"smtps://{host}:{port('submissions')}"), ("start", f"smtp://{host}:{port('submission')}")):
        for mechanism in ("PLAIN", "LOGIN"):
            subject = f"{way}-{mechanism}-{n}"
            send(url, subject, "--login-options", f"AUTH={mechanism}")
            sent.add(subject)
eye = Eye(BOB)
letters = eye.letters()
assert letters.keys() == sent, letters
for uid, _ in letters.values():
    assert eye.source("INBOX", uid).endswith(b"\r\n\r\n" + TEXT), eye.source("INBOX", uid)

submissions, imaps, pop3s = (f"{p}://localhost:{port(s)}" for p, s in (("smtps", "submissions"), ("imaps", "imaps"), ("pop3s", "pop3s")))
send(submissions, "never", secret="wrong", ok=(REFUSED,))
for url in (submissions, imaps, pop3s, f"imap://localhost:{port('imap')}", f"pop3://localhost:{port('pop3')}"):
    curl(url, cert=None, ok=(UNTRUSTED,))
    if not url.startswith("smtp"):
        curl(url, secret="wrong", ok=(REFUSED,))
for url in (f"imap://localhost:{port('imap')}", f"pop3://localhost:{port('pop3')}"):
    curl(url, ok=(REFUSED,), secret_road=False)
curl(f"imaps://elsewhere.test:{port('imaps')}", "--resolve", f"elsewhere.test:{port('imaps')}:127.0.0.1", ok=(UNTRUSTED,))

for way, imap, pop3 in (("tls", imaps, pop3s), ("start", f"imap://localhost:{port('imap')}", f"pop3://localhost:{port('pop3')}")):
    assert "INBOX" in curl(imap, who=BOB)
    box = f"Box-{way}"
    curl(imap, "-X", f"CREATE {box}", who=BOB)
    curl(f"{imap}/{box}", "-T", write("appended", letter("appended", TEXT).decode()), who=BOB)
    assert "* SEARCH 1\r\n" in curl(f"{imap}/{box}?SUBJECT%20appended", who=BOB)
    curl(f"{imap}/{box}", "-X", "UID STORE 1 +FLAGS (\\Flagged)", who=BOB)
    uid, flags = eye.letters(box)["appended"]
    assert uid == 1 and "\\Flagged" in flags, (uid, flags)
    assert curl(f"{imap}/{box};UID=1;SECTION=TEXT", who=BOB).encode() == TEXT
    curl(f"{imap}/{box}", "-X", "UID MOVE 1 INBOX", who=BOB)
    assert eye.letters(box) == {}

    count = len(curl(pop3, who=BOB).splitlines())
    assert count == len(eye.letters()), count
    assert curl(f"{pop3}/{count}", who=BOB).encode().endswith(b"\r\n\r\n" + TEXT)
    curl(f"{pop3}/{count}", "-X", "DELE", "-l", who=BOB)
    assert len(eye.letters()) == count - 1
print("all done")
