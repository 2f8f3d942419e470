/*
 * auth.h - one AUTH exchange, and what the rest of a session asks about it.
 */
#ifndef SMTPD_AUTH_H
#define SMTPD_AUTH_H

#include "session.h"

/* RFC 4954 4: a line of the exchange, CRLF included. */
#define SMTPD_AUTH_LINE 12288u
#define SMTPD_SHOWN 64u

enum smtpd_mech { SMTPD_PLAIN, SMTPD_LOGIN, SMTPD_SCRAM_SHA_256, SMTPD_MECHS };

/* A line of the client in S_AUTH, without its line end. */
void smtpd_auth_line(struct smtpd_session *, struct ga_str line);
/* The exchange ends without an answer of ours: an error was said, or will be. */
void smtpd_auth_stop(struct smtpd_session *);
/* S_VERIFY, and its deadline has come. */
void smtpd_auth_tick(struct smtpd_session *);
/* A helper thread works on it: the session must live until that has ended. */
bool smtpd_auth_busy(const struct smtpd_session *);
/* Who the client is is not known any more (STARTTLS), or nobody needs to know (end). */
void smtpd_auth_forget(struct smtpd_session *);

/* May MAIL be said?  If not, that has been answered. */
bool smtpd_auth_lets_mail(struct smtpd_session *);
/* The transaction's attributes of an authenticated client. */
void smtpd_auth_mark(const struct smtpd_session *, struct ga_txn *);
/* "PLAIN LOGIN SCRAM-SHA-256", what this connection may use now; empty: no AUTH. */
struct ga_str smtpd_auth_mechs(const struct smtpd_session *, char room[SMTPD_SHOWN]);

/* Does this line hold a secret?  What is shown of it, perhaps in room.  known: its verb is
 * a command; one that is not, behind AUTH, may be a password that was sent too late. */
bool smtpd_line_secret(const struct smtpd_session *, struct ga_str line, bool known);
struct ga_str smtpd_line_shown(const struct smtpd_session *, struct ga_str line, bool known,
    char room[SMTPD_SHOWN]);

#endif
