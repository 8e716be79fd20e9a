"""Sends the message on standard input by Python's smtplib and prints the dialogue.

python3 smtplib.py HOST PORT none|starttls|implicit CA FROM TO [USER PASSWORD METHOD]
"""

import sys

del sys.path[0]  # where this file would hide the module it is named after
import smtplib
import ssl

host, port, mode, ca, sender, recipient, *login = sys.argv[1:]
if mode == "implicit":
    client = smtplib.SMTP_SSL(host, int(port), "client.example.net", timeout=30, context=ssl.create_default_context(cafile=ca))
else:
    client = smtplib.SMTP(host, int(port), "client.example.net", timeout=30)
client.set_debuglevel(1)
if mode == "starttls":
    client.starttls(context=ssl.create_default_context(cafile=ca))
if login:
    client.ehlo()
    client.user, client.password = login[:2]
    client.auth(login[2], getattr(client, "auth_" + login[2].lower().replace("-", "_")))
client.sendmail(sender, recipient, sys.stdin.buffer.read(), mail_options=["BODY=8BITMIME"])
client.quit()
