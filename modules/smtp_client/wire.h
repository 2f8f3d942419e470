/*
 * wire.h - SMTP as text: what a server offers, what its replies mean, how
 * commands are written.
 */
#ifndef SMTP_CLIENT_WIRE_H
#define SMTP_CLIENT_WIRE_H

#include <greenarrow/mail.h>
#include <greenarrow/message.h>

/* Extensions of an EHLO reply that we use (others are not kept). */
enum smtpc_ext {
	SMTPC_PIPELINING = 1,
	SMTPC_8BITMIME = 2,
	SMTPC_SIZE = 4,
	SMTPC_STARTTLS = 8,
	SMTPC_SMTPUTF8 = 16,
	SMTPC_DSN = 32,
	SMTPC_AUTH_PLAIN = 64,
	SMTPC_AUTH_LOGIN = 128,
	SMTPC_CHUNKING = 256,
	SMTPC_BINARYMIME = 512,
	SMTPC_REQUIRETLS = 1024
};

struct smtpc_offer {
	unsigned ext;		/* enum smtpc_ext bits */
	uint64_t size_limit;	/* of SIZE; 0 = none was named */
	unsigned rcpt_max, mail_max;	/* of LIMITS (RFC 9422); 0 = none was named */
};
/* Lines 2.. of a complete 250 reply to EHLO.  Unknown keywords are skipped. */
void smtpc_offer_parse(struct smtpc_offer *, const struct ga_reply_parser *);
/* Their keywords but AUTH, "PIPELINING,SIZE". */
#define SMTPC_OFFER_TEXT 100
struct ga_str smtpc_offer_text(const struct smtpc_offer *, char to[SMTPC_OFFER_TEXT]);

enum smtpc_kind {
	SMTPC_OK,		/* 2yz */
	SMTPC_GO_ON,		/* 3yz */
	SMTPC_TEMPORARY,	/* 4yz */
	SMTPC_PERMANENT,	/* 5yz */
	SMTPC_CLOSING,		/* 421, whatever it answers */
	SMTPC_ODD		/* no reply of SMTP's */
};
enum smtpc_kind smtpc_kind(unsigned code);
/* A reply to RCPT that says: not more recipients in one transaction (RFC 5321
 * 4.5.3.1.10; 552 is what RFC 821 servers say). */
bool smtpc_too_many(unsigned code, struct ga_str enhanced);
/* A refusal of EHLO after which HELO is worth trying. */
bool smtpc_wants_helo(unsigned code);

/* An address may stand between < and >: no control characters, blanks only
 * quoted, no angle bracket outside quotes.  *utf8: octets over 127 are in it. */
bool smtpc_address_clean(struct ga_str address, bool *utf8);

/* Commands, written one behind the other until they are sent as one. */
struct smtpc_out {
	char *p;
	size_t n, room;
	bool secret;		/* wipe p when all is gone: */
	size_t secret_at, secret_end;	/* there is a secret in it */
	size_t sent;		/* octets of p that are gone, */
	size_t logged;		/* and those that hooks were told of */
};
void smtpc_out_free(struct smtpc_out *);
/* All was sent: begin at the front, and give back what only a big group needed. */
void smtpc_out_reset(struct smtpc_out *);
/* VERB[ argument]CRLF */
void smtpc_out_command(struct smtpc_out *, const char *verb, struct ga_str argument);
/* The same with a line that is wiped once it is sent: before, then the secret. */
void smtpc_out_credentials(struct smtpc_out *, const char *before, struct ga_str secret);
struct smtpc_mail {
	struct ga_str sender;
	uint64_t size;		/* 0 = say nothing of it */
	bool body_8bit, binary, utf8, requiretls;
	struct ga_str ret, envid;	/* RFC 3461, not encoded; empty: say nothing of it */
};
void smtpc_out_mail(struct smtpc_out *, const struct smtpc_mail *);
struct smtpc_rcpt {
	struct ga_str recipient;
	uint32_t notify;		/* enum ga_notify bits; 0: say nothing of it */
	struct ga_str orcpt;		/* "type;address", not encoded; may be empty */
};
void smtpc_out_rcpt(struct smtpc_out *, const struct smtpc_rcpt *);

#endif
