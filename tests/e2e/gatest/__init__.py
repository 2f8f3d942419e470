"""What the end-to-end tests are made of: one module a subject.

ports     free loopback ports and addresses
daemon    a real greenarrowd with a generated configuration
dns       a real DNS server (Knot) with the zones that a test wants
badsink   our own receiving server that misbehaves as scripted
smtp      a raw SMTP client that shows every octet
corpus    the sample messages, and what each must look like on the wire
arrivals  comparing what arrived with what was sent
clients   swaks, msmtp, smtplib, nodemailer, smtp-source
need      what a missing tool means: skip on a laptop, fail in CI
"""
