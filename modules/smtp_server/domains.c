/*
 * domains.c - see domains.h.
 *
 * Made by access.c with a configuration, asked by cmd_rcpt.c on any loop.  A look-up for
 * each label of the domain, however many patterns there are.  `*` alone is no pattern
 * here: it would make an open relay of a slip of the pen.
 */
#include <uthash.h>

#include <greenarrow/mail.h>

#include "domains.h"

struct domain {
	struct ga_str name;
	bool itself, below;
	UT_hash_handle hh;
};

struct smtpd_domains {
	struct domain *by_name;
};

static struct domain *
find(const struct smtpd_domains *d, struct ga_str name)
{
	struct domain *found;

	HASH_FIND(hh, d->by_name, name.p, name.n, found);
	return found;
}

static bool
eat(struct ga_str *s, struct ga_str prefix)
{
	if (!ga_str_starts(*s, prefix))
		return false;
	s->p += prefix.n;
	s->n -= prefix.n;
	return true;
}

static bool
add(struct smtpd_domains *d, struct ga_pool *pool, struct ga_str pattern)
{
	bool both = eat(&pattern, GA_STR("[*.]"));
	bool below = !both && eat(&pattern, GA_STR("*."));
	char room[256];
	struct ga_str name;
	struct domain *e;

	if (!ga_mail_domain(pattern, room, sizeof room, &name))
		return false;
	e = find(d, name);
	if (e == NULL) {
		e = ga_alloc(pool, sizeof *e);
		e->name = ga_dup(pool, name);
		HASH_ADD_KEYPTR(hh, d->by_name, e->name.p, e->name.n, e);
	}
	e->itself = e->itself || !below;
	e->below = e->below || both || below;
	return true;
}

struct smtpd_domains *
smtpd_domains_new(struct ga_pool *pool, const struct ga_strlist *list, struct ga_str *bad)
{
	struct smtpd_domains *d = ga_alloc(pool, sizeof *d);

	for (size_t i = 0; i < list->n; i++)
		if (!add(d, pool, list->v[i])) {
			*bad = list->v[i];
			smtpd_domains_free(d);
			return NULL;
		}
	return d;
}

void
smtpd_domains_free(struct smtpd_domains *d)
{
	if (d != NULL)
		HASH_CLEAR(hh, d->by_name);
}

bool
smtpd_domains_match(const struct smtpd_domains *d, struct ga_str domain)
{
	const struct domain *e = find(d, domain);
	const char *dot;

	if (e != NULL && e->itself)
		return true;
	while ((dot = memchr(domain.p, '.', domain.n)) != NULL) {
		domain.n -= (size_t)(dot + 1 - domain.p);
		domain.p = dot + 1;
		e = find(d, domain);
		if (e != NULL && e->below)
			return true;
	}
	return false;
}
