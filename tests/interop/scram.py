"""GNU SASL's client (gsasl) logs in by every mechanism, over SMTP and IMAP, with STARTTLS.

It proves: SCRAM-SHA-256 and SCRAM-SHA-256-PLUS are what another implementation speaks, tls-exporter included, the client
believes the server's own proof, and a wrong password is refused by each of them.
"""
import desk

for option, service in [("--smtp", "submission"), ("--imap", "imap")]:
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]:
        for secret, good in [(desk.password(desk.ALICE), True), ("wrong", False)]:
            command = ["gsasl", option, "--connect", f"localhost:{desk.port(service)}", "--starttls"]
            command += [f"--x509-ca-file={desk.CERT}", "--mechanism", mechanism]
            command += ["--authentication-id", desk.ALICE, "--password", secret, "--quiet"]
            if mechanism == "SCRAM-SHA-256":
                command.append("--no-cb")
            said = desk.run(*command, ok=(0,) if good else (1,), stdin=b"")
            accepted = "Logged in" in said
            assert accepted == good, (mechanism, option, secret, said)
print("all done")
