"""smtplib, imaplib and poplib against a running Ringpost: python_clients.py SMTP IMAP POP3 ADDRESS PASSWORD"""
import email
import imaplib
import poplib
import smtplib
import sys
from email.message import EmailMessage

smtp_port, imap_port, pop3_port = map(int, sys.argv[1:4])
me, password = sys.argv[4:6]
HOST = "127.0.0.1"


def letters():
    plain = EmailMessage()
    plain["From"], plain["To"], plain["Subject"] = "bob@ringpost.test", me, "plain"
    plain.set_content("one\n.two\n..three\n")
    yield plain
    rich = EmailMessage()
    rich["From"], rich["To"], rich["Subject"] = "Bøb <bob@ringpost.test>", me, "Grüße aus Köln"
    rich.set_content("text part")
    rich.add_alternative("<p>html part</p>", subtype="html")
    rich.add_attachment(bytes(range(256)) * 20, maintype="application", subtype="octet-stream", filename="bytes.bin")
    yield rich


with smtplib.SMTP(HOST, smtp_port) as smtp:
    smtp.ehlo("client.test")
    assert smtp.has_extn("size") and smtp.has_extn("pipelining") and smtp.has_extn("8bitmime"), smtp.esmtp_features
    for letter in letters():
        smtp.send_message(letter)
    try:
        smtp.sendmail("bob@ringpost.test", ["nobody@ringpost.test"], "Subject: x\r\n\r\n")
        raise SystemExit("an unknown recipient was accepted")
    except smtplib.SMTPRecipientsRefused as refused:
        assert refused.recipients["nobody@ringpost.test"][0] == 550, refused

pop = poplib.POP3(HOST, pop3_port)
assert "UIDL" in pop.capa() and "TOP" in pop.capa(), pop.capa()
pop.user(me)
pop.pass_(password)
assert pop.stat()[0] == 2, pop.stat()
ids = [line.split()[1] for line in pop.uidl()[1]]
assert len(set(ids)) == 2
raw = b"\r\n".join(pop.retr(2)[1])
attached = [p for p in email.message_from_bytes(raw).walk() if p.get_filename() == "bytes.bin"]
assert attached[0].get_payload(decode=True) == bytes(range(256)) * 20
assert b"Subject: plain" in b"\r\n".join(pop.top(1, 0)[1])
assert int(pop.list(1).split()[2]) == len(b"\r\n".join(pop.retr(1)[1])) + 2
pop.quit()

box = imaplib.IMAP4(HOST, imap_port)
assert "IMAP4REV1" in box.capabilities, box.capabilities
box.authenticate("PLAIN", lambda _: b"\0" + me.encode() + b"\0" + password.encode())
typ, listed = box.list()
assert typ == "OK" and any(b"INBOX" in line for line in listed), listed
assert box.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[0] == "OK"
typ, count = box.select("INBOX")
assert typ == "OK" and count == [b"2"], count
typ, found = box.search(None, "SUBJECT", "plain")
assert found == [b"1"], found
typ, found = box.search("UTF-8", "SUBJECT", '"Köln"'.encode())
assert found == [b"2"], found
typ, found = box.search(None, "UNSEEN", "TEXT", '"text part"')
assert found == [b"2"], found
typ, data = box.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
assert typ == "OK" and len([d for d in data if d]) >= 2, data
assert "attachment" in str(data).lower() and "alternative" in str(data).lower(), data
typ, data = box.uid("FETCH", "1", "(BODY.PEEK[TEXT]<0.5>)")
assert data[0][1] == b"one\r\n", data
typ, data = box.fetch("2", "(BODY[2])")
assert email.message_from_bytes(b"Content-Transfer-Encoding: base64\r\n\r\n" + data[0][1]).get_payload(decode=True) == bytes(range(256)) * 20
typ, data = box.fetch("2", "(FLAGS)")
assert b"\\Seen" in data[0], data
assert box.append("INBOX", "(\\Flagged)", '"01-Feb-2026 10:11:12 +0100"', b"Subject: appended\r\n\r\nx\r\n")[0] == "OK"
assert box.noop()[0] == "OK"
typ, data = box.fetch("3", "(INTERNALDATE FLAGS)")
assert b"\\Flagged" in data[0] and b"2026" in data[0], data
assert box.search(None, "SINCE", "01-Feb-2026", "BEFORE", "02-Feb-2026", "FLAGGED")[1] == [b"3"]
assert box.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
typ, gone = box.expunge()
assert gone == [b"1"], gone
assert box.select("INBOX", readonly=True)[1] == [b"2"]
box.close()
box.logout()
print("all done")
