/*
 * headers.h - header fields that a message should have and does not (RFC 6409 8).  Pure.
 */
#ifndef SMTPD_HEADERS_H
#define SMTPD_HEADERS_H

#include <greenarrow/message.h>

struct smtpd_header_found {
	bool date, message_id;
};

/* Looks through the first header_size octets of a body in memory. */
struct smtpd_header_found smtpd_header_look(const struct ga_body *, uint64_t header_size);
/* The fields that are missing, with their CRLF; in the pool, perhaps empty.  id: of the message,
 * now_ms: wall clock; together with a random number they make a Message-ID. */
struct ga_str smtpd_header_missing(struct ga_pool *, struct smtpd_header_found, struct ga_str date,
    const char *hostname, uint32_t id, uint64_t now_ms);

#endif
