/*
 * bounce.h - what the files of this module share.
 *
 *	bounce.c	the module: the service, one job a report, who is told what
 *	compose.c	pure: the report as a message (RFC 3462, 3464, 6522, 6533)
 */
#ifndef BOUNCE_BOUNCE_H
#define BOUNCE_BOUNCE_H

#include <greenarrow/greenarrow.h>
#include <greenarrow/mail.h>
#include <greenarrow/message.h>
#include <greenarrow/service/bounce.h>

/* What is reported, to whom. */
struct bnc_letter {
	enum ga_report_kind kind;
	struct ga_str to;		/* address */
	bool double_bounce;		/* not to the sender: there is none */
	const char *hostname;
	uint32_t message_id;		/* of the report */
	uint64_t now_ms, expires_ms;	/* wall clock */
	const struct ga_message *message;	/* what it is about */
	const struct ga_envelope *const *envelopes;
	unsigned n;
	/* The original, or the head of it, to be returned: the first octets of original. */
	const struct ga_body *original;	/* NULL: nothing */
	uint64_t octets;
	bool whole;
};
/* The octets of the report, one reference for the caller; header_size: of its header.
 * flags: enum ga_msg_flag bits that it must have. */
struct ga_body *bnc_compose(const struct bnc_letter *, uint32_t *header_size, uint32_t *flags);

#endif
