#!/usr/bin/env python3
"""wait_for_banner.py HOST PORT SECONDS - end in 0 as soon as an SMTP server greets there"""
import smtplib
import sys
import time


def main():
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with smtplib.SMTP(host, port, timeout=5):
                return 0
        except (OSError, smtplib.SMTPException):
            time.sleep(0.1)
    return 1


if __name__ == "__main__":
    sys.exit(main())
