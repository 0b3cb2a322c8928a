"""Python's smtplib, imaplib and poplib over TLS: from the start and by STARTTLS, with every way to log in that they have.

Before TLS no login is offered and none is taken; what was told before TLS is asked again after it. With another
certificate to trust they refuse to talk.
"""
import imaplib
import poplib
import smtplib
import ssl

from desk import ALICE, BOB, HOST, Eye, letter, password, port, tls

SECRET = password(ALICE)


def refused(error, words, call, *arguments):
    """`call` must raise `error`, and say one of `words`."""
    try:
        call(*arguments)
    except error as said:
        assert any(word in str(said) for word in words), said
        return
    raise AssertionError(f"{call} was taken")


# smtplib chooses among the mechanisms offered; asked for one, it does that one.
sent = set()
for name in ("submission", "submissions"):
    for mechanism in ("auth_plain", "auth_login"):
        if name == "submissions":
            smtp = smtplib.SMTP_SSL(HOST, port(name), context=tls())
        else:
            smtp = smtplib.SMTP(HOST, port(name))
            refused(smtplib.SMTPException, ["530", "538", "not supported"], smtp.login, ALICE, SECRET)
            refused(smtplib.SMTPException, ["530"], smtp.sendmail, ALICE, [BOB], letter("never", author=ALICE))
            smtp.starttls(context=tls())
        with smtp:
            smtp.ehlo("desk.test")
            assert not smtp.has_extn("starttls"), smtp.esmtp_features
            smtp.user, smtp.password = ALICE, "wrong"
            refused(smtplib.SMTPAuthenticationError, ["535"], smtp.auth, mechanism[5:], getattr(smtp, mechanism))
            smtp.password = SECRET
            assert smtp.auth(mechanism[5:], getattr(smtp, mechanism))[0] == 235
            subject = f"{name}-{mechanism}"
            assert smtp.sendmail(ALICE, [BOB, ALICE], letter(subject, author=ALICE)) == {}
            sent.add(subject)
assert Eye(BOB).letters().keys() == Eye(ALICE).letters().keys() == sent

# poplib.
for name in ("pop3", "pop3s"):
    if name == "pop3s":
        pop = poplib.POP3_SSL(HOST, port(name), context=tls())
    else:
        pop = poplib.POP3(HOST, port(name))
        assert "USER" not in pop.capa() and "STLS" in pop.capa(), pop.capa()
        refused(poplib.error_proto, ["TLS", "private", "-ERR"], pop.user, ALICE)
        pop.stls(context=tls())
    assert "USER" in pop.capa() and "STLS" not in pop.capa(), pop.capa()
    pop.user(ALICE)
    pop.pass_(SECRET)
    assert pop.stat()[0] == len(sent)
    assert {line[9:] for n in range(len(sent)) for line in pop.top(n + 1, 0)[1] if line.startswith(b"Subject: ")} == {
        subject.encode() for subject in sent
    }
    pop.quit()

# imaplib.
for name in ("imap", "imaps"):
    if name == "imaps":
        box = imaplib.IMAP4_SSL(HOST, port(name), ssl_context=tls())
    else:
        box = imaplib.IMAP4(HOST, port(name))
        assert "LOGINDISABLED" in box.capabilities and "AUTH=PLAIN" not in box.capabilities, box.capabilities
        refused(imaplib.IMAP4.error, ["PRIVACYREQUIRED"], box.login, ALICE, SECRET)
        box.starttls(ssl_context=tls())
    assert "LOGINDISABLED" not in box.capabilities and "AUTH=PLAIN" in box.capabilities, box.capabilities
    assert "STARTTLS" not in box.capabilities
    box.login(ALICE, SECRET)
    assert box.select("INBOX")[1] == [str(len(sent)).encode()]
    assert box.logout()[0] == "BYE"

strange = ssl.create_default_context()
for call in (
    lambda: smtplib.SMTP_SSL(HOST, port("submissions"), context=strange),
    lambda: smtplib.SMTP(HOST, port("submission")).starttls(context=strange),
    lambda: poplib.POP3_SSL(HOST, port("pop3s"), context=strange),
    lambda: poplib.POP3(HOST, port("pop3")).stls(context=strange),
    lambda: imaplib.IMAP4_SSL(HOST, port("imaps"), ssl_context=strange),
    lambda: imaplib.IMAP4(HOST, port("imap")).starttls(ssl_context=strange),
):
    refused(ssl.SSLCertVerificationError, ["self-signed"], call)
print("all done")
