/*
 * guard.h - who has failed to authenticate, and how often.
 *
 * Any loop.  Counted for an IPv4 address or an IPv6 /64, forgotten after ten minutes.
 */
#ifndef SMTPD_GUARD_H
#define SMTPD_GUARD_H

#include <greenarrow/net.h>

struct smtpd_guard;
struct smtpd_guard *smtpd_guard_new(void) GA_NODISCARD;
void smtpd_guard_free(struct smtpd_guard *);
/* May this client try?  It has fewer than max failures; max 0: always. */
bool smtpd_guard_allows(struct smtpd_guard *, const struct ga_sockaddr *, unsigned max,
    uint64_t now_ms);
void smtpd_guard_failed(struct smtpd_guard *, const struct ga_sockaddr *, uint64_t now_ms);

#endif
