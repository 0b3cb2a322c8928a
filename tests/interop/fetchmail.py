"""fetchmail fetches over POP3S, IMAPS, POP3 with STLS and IMAP with STARTTLS, the certificate checked each time.

What it hands to its delivery program is the letter, byte for byte below its header; with `keep` a second run takes nothing twice, without it the
mailbox ends empty; and with another authority to trust it refuses to talk.
"""
from desk import ALICE, CERT, HOME, HOST, Eye, bodies, deliverer, delivered, letter, password, port, run, unix, write

COUNT = 12
DELIVER = deliverer()
# Exit codes of fetchmail: 0 fetched, 1 no mail, 2 socket or TLS trouble.
FETCHED, NOTHING, TROUBLE = 0, 1, 2


def fetch(protocol, service, options, ok, keep, cert=CERT):
    write(
        ".fetchmailrc",
        f"""
set no bouncemail
poll {HOST} protocol {protocol} port {port(service)} {"uidl" if protocol == "POP3" and keep else ""}
  user "{ALICE}" password "{password(ALICE)}" {"keep" if keep else "nokeep"} {options}
  sslcertck sslcertfile "{cert}" sslcertpath "{HOME}/none"
  mda "{DELIVER}"
""",
    )
    return run("fetchmail", "--nosyslog", "--nodetach", "-v", "-v", ok=ok)


(HOME / "none").mkdir()
run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost", "-keyout", "other.key", "-out", "other.pem")


def body(message):
    return message.partition(b"\n\n")[2]


eye = Eye()
letters = {f"letter-{n}": letter(f"letter-{n}", body) for n, body in enumerate(bodies(COUNT))}
for protocol, service, options in (
    ("IMAP", "imaps", "ssl"),
    ("POP3", "pop3s", "ssl"),
    ("IMAP", "imap", "sslproto tls1.2+"),
    ("POP3", "pop3", "sslproto tls1.2+"),
):
    for message in letters.values():
        eye.put("INBOX", message)
    said = fetch(protocol, service, options, (TROUBLE,), True, cert=HOME / "other.pem")
    assert "certificate" in said, said
    fetch(protocol, service, options, (FETCHED,), True)
    got = delivered()
    assert got.keys() == letters.keys(), f"{protocol} {service}: {got.keys()}"
    for subject, message in letters.items():
        assert body(unix(got[subject])) == body(unix(message)), (protocol, service, subject, got[subject], message)
    fetch(protocol, service, options, (NOTHING,), True)
    assert delivered() == {}, f"{protocol} {service}: fetched again"
    eye.put("INBOX", letter("later"))
    fetch(protocol, service, options + " fetchall", (FETCHED,), False)
    assert delivered().keys() == letters.keys() | {"later"}
    assert eye.letters() == {}, "what was fetched is still there"
print("all done")
