/*
 * proxy_header.h - the PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt
 * has them.  Pure.
 */
#ifndef SMTPD_PROXY_HEADER_H
#define SMTPD_PROXY_HEADER_H

#include <greenarrow/net.h>

/* Version 1 has 107 octets at most.  Of version 2 we read so much: addresses, and TLVs,
 * which we skip; a certificate among them may be long. */
#define SMTPD_PROXY_MAX 4096u

enum smtpd_proxy {
	SMTPD_PROXY_MORE,		/* not all of it is there */
	SMTPD_PROXY_BAD,		/* not a header: *why says what is wrong */
	SMTPD_PROXY_NAMED,		/* peer and local are the client's connection */
	SMTPD_PROXY_UNNAMED		/* LOCAL, UNKNOWN, a family that is not IP: the proxy itself */
};

struct smtpd_proxy_header {
	struct ga_sockaddr peer, local;
	size_t used;			/* octets, of NAMED and UNNAMED */
	size_t need;			/* of MORE: so many further octets are surely the header's */
	const char *why;
};

/* Reading no more than need, nobody takes what belongs to TLS behind the header. */
enum smtpd_proxy smtpd_proxy_parse(const char *, size_t n, struct smtpd_proxy_header *);

#endif
