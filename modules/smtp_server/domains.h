/*
 * domains.h - a set of domains, by patterns: example.com *.example.com [*.]example.com.
 */
#ifndef SMTPD_DOMAINS_H
#define SMTPD_DOMAINS_H

#include <greenarrow/ga_conf.h>

struct smtpd_domains;
/* NULL: *bad is no pattern.  Memory of the pool, but for smtpd_domains_free(). */
struct smtpd_domains *smtpd_domains_new(struct ga_pool *, const struct ga_strlist *,
    struct ga_str *bad) GA_NODISCARD;
void smtpd_domains_free(struct smtpd_domains *);	/* NULL does nothing */
/* domain: lower case, A-labels. */
bool smtpd_domains_match(const struct smtpd_domains *, struct ga_str domain);

#endif
