/*
 * proxy.h - a client that comes through somebody else, who tells us who it is.
 */
#ifndef SMTPD_PROXY_H
#define SMTPD_PROXY_H

#include "session.h"

/* The PROXY header is awaited (S_PROXY). */
void smtpd_proxy_await(struct smtpd_session *);
/* S_PROXY: something can be read. */
void smtpd_proxy_read(struct smtpd_session *);
void smtpd_proxy_timeout(struct smtpd_session *);
void smtpd_proxy_free(struct smtpd_session *);

/*
 * The client is that one: for relay_from, limits, trace, hooks.  NULL: nobody knows who, so
 * it may not relay because of an address.
 */
void smtpd_client_is(struct smtpd_session *, const struct ga_sockaddr *peer);

#endif
