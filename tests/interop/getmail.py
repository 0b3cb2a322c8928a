"""getmail fetches over IMAPS and over POP3S and deletes what it fetched.

Per protocol: the first run with `delete = false` leaves the letters on the server and a second run fetches none of them
again (its memory rests on UIDVALIDITY and UIDs, or UIDL); then `delete = true` empties the mailbox.
"""
import re

from desk import ALICE, CERT, HOST, Eye, bodies, deliverer, delivered, letter, password, port, run, unix, write

COUNT = 30
# A delivery program that ends before getmail waits for its end is waited for in vain for a minute, and then taken for failed. So
# it begins when getmail sleeps.
DELIVER = deliverer("until grep -q '^State:.S' /proc/$PPID/status; do :; done")


def account(name, kind, service, delete):
    write(
        f".getmail/{name}",
        f"""
[retriever]
type = {kind}
server = {HOST}
port = {port(service)}
username = {ALICE}
password = {password(ALICE)}
ca_certs = {CERT}
[destination]
type = MDA_external
path = {DELIVER}
unixfrom = false
allow_root_commands = true
[options]
delete = {delete}
read_all = false
delivered_to = false
received = false
""",
    )


def fetch(name):
    said = run("getmail", "--rcfile", name)
    assert "rror" not in said, said
    return delivered()


eye = Eye()
letters = {f"letter-{n}": letter(f"letter-{n}", body) for n, body in enumerate(bodies(COUNT))}
for kind, service in (("SimpleIMAPSSLRetriever", "imaps"), ("SimplePOP3SSLRetriever", "pop3s")):
    for message in letters.values():
        eye.put("INBOX", message)
    account(service, kind, service, "false")
    got = fetch(service)
    assert got.keys() == letters.keys(), got.keys()
    for subject, message in letters.items():
        # getmail writes a line before the header and one after it.
        bare = re.sub(rb"(?m)^(Return-Path|X-getmail-retrieved-from-mailbox): .*\n", b"", got[subject])
        assert unix(bare) == unix(message), (service, got[subject], message)
    assert fetch(service) == {}, "the second run fetched again"
    eye.put("INBOX", letter("later"))
    account(service, kind, service, "true")
    assert fetch(service).keys() == {"later"}
    assert eye.letters() == {}, "what was fetched is still there"
print("all done")
