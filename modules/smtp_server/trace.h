/*
 * trace.h - our Received field (RFC 5321 4.4).  Pure.
 */
#ifndef SMTPD_TRACE_H
#define SMTPD_TRACE_H

#include <greenarrow/ga_mem.h>

struct smtpd_trace {
	struct ga_str helo;		/* as given; valid, so free of control characters */
	struct ga_str client;		/* "192.0.2.1", "2001:db8::1" */
	bool client_is_ipv6;
	bool hides;			/* not who the client is: no `from` clause */
	struct ga_str hostname;
	struct ga_str with;		/* "ESMTP", "ESMTPS", "SMTP", "UTF8SMTP" ... */
	uint32_t id;
	struct ga_str only_rcpt;	/* the recipient when there is exactly one, else empty */
	struct ga_str date;
};

/* The field with its CRLF, in the pool; lines folded at its clauses. */
struct ga_str smtpd_trace_field(struct ga_pool *, const struct smtpd_trace *);

#endif
