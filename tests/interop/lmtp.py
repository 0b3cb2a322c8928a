"""smtplib.LMTP against a running Ringpost: lmtp.py PORT SOCKET ALICE BOB. Bob may keep 4,000 octets.

smtplib reads one answer to a message, as if all recipients had one; so letters for several are said line by line here."""
import smtplib
import sys

port, socket, alice, bob = int(sys.argv[1]), *sys.argv[2:5]


def each(lmtp, recipients, text):
    """Says a letter for several and returns an answer for each."""
    assert lmtp.docmd("MAIL", "FROM:<x@client.test>")[0] == 250
    for recipient in recipients:
        assert lmtp.docmd("RCPT", f"TO:<{recipient}>")[0] == 250
    assert lmtp.docmd("DATA")[0] == 354
    lmtp.send(text.replace("\n", "\r\n") + "\r\n.\r\n")
    return [lmtp.getreply() for _ in recipients]


for lmtp in smtplib.LMTP("127.0.0.1", port, local_hostname="relay.test"), smtplib.LMTP(socket, local_hostname="relay.test"):
    with lmtp:
        code, offered = lmtp.lhlo() if hasattr(lmtp, "lhlo") else lmtp.ehlo()
        assert code == 250 and b"PIPELINING" in offered, (code, offered)
        assert not lmtp.sendmail("x@client.test", [alice], "Subject: by smtplib\n\none recipient\n")
        codes = [code for code, _ in each(lmtp, [alice, bob], "Subject: both\n\nsmall\n")]
        assert codes == [250, 250], codes
        large = "Subject: large\n\n" + "0123456789\n" * 1000
        answers = each(lmtp, [bob], large)
        assert answers[0][0] == 452 and answers[0][1].startswith(b"4.2.2"), answers
        try:
            lmtp.sendmail("x@client.test", ["nobody@ringpost.test"], "Subject: x\n\n")
            raise SystemExit("an unknown recipient was accepted")
        except smtplib.SMTPRecipientsRefused as refused:
            assert refused.recipients["nobody@ringpost.test"][0] == 550, refused
print("all done")
