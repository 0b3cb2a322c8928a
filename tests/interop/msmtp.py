"""msmtp hands in a letter by each mechanism that it has, over STARTTLS and over TLS from the first octet.

It proves: what GNU SASL makes of SCRAM-SHA-256 is believed, and believes us; and where msmtp may choose, it comes in with what we
offer.
"""
import desk

WAYS = ["on", "plain", "login", "scram-sha-256"]
sent = set()
for service, starttls in [("submission", "on"), ("submissions", "off")]:
    for auth in WAYS:
        subject = f"{service}-{auth}"
        config = desk.write(
            f"msmtprc-{subject}",
            f"""account default
host localhost
port {desk.port(service)}
tls on
tls_starttls {starttls}
tls_trust_file {desk.CERT}
auth {auth}
user {desk.ALICE}
password {desk.password(desk.ALICE)}
from {desk.ALICE}
""",
        )
        desk.run("msmtp", "-C", config, desk.BOB, stdin=desk.letter(subject, author=desk.ALICE))
        sent.add(subject)
assert set(desk.Eye(desk.BOB).letters()) == sent
print("all done")
