/*
 * message.c - a message and its envelopes (message.h), in one allocation.
 *
 * Made by intake when DATA ended and by the spool when it reads one back; shared
 * by reference count between loops and the committer.
 *
 * Layout: struct ga_message, the envelopes, the packed attributes of message and
 * envelopes, the normalised domains.  Everything else points into it.
 */
#include <stdlib.h>
#include <string.h>

#include <greenarrow/loop.h>
#include <greenarrow/mail.h>
#include <greenarrow/message.h>

enum { DOMAIN_ROOM = 253 };

static struct ga_str recipient_domain(struct ga_str recipient)
{
	struct ga_str local, domain;

	if (ga_mail_address(recipient, true, &local, &domain) != GA_MAIL_OK)
		return (struct ga_str){ "", 0 };
	return domain;
}

/* What the normalised form of a domain takes: A-labels may be longer. */
static size_t domain_room(struct ga_str domain)
{
	for (size_t i = 0; i < domain.n; i++)
		if ((unsigned char)domain.p[i] >= 0x80)
			return DOMAIN_ROOM;
	return domain.n;
}

static size_t octets_needed(struct ga_str attrs, const struct ga_str *envelope_attrs, size_t n)
{
	size_t total = sizeof(struct ga_message) + n * sizeof(struct ga_envelope) + attrs.n;

	for (size_t i = 0; i < n; i++) {
		struct ga_str recipient;

		ga_attr_get(envelope_attrs[i], GA_ATTR_RECIPIENT, &recipient);
		total += envelope_attrs[i].n + domain_room(recipient_domain(recipient));
	}
	return total;
}

static struct ga_str put(char **to, struct ga_str s)
{
	struct ga_str copy = { *to, s.n };

	if (s.n > 0)
		memcpy(*to, s.p, s.n);
	*to += s.n;
	return copy;
}

static void put_envelope(struct ga_envelope *e, char **to, struct ga_str attrs)
{
	struct ga_str domain;

	e->attrs = put(to, attrs);
	ga_attr_get(e->attrs, GA_ATTR_RECIPIENT, &e->recipient);
	domain = recipient_domain(e->recipient);
	if (!ga_mail_domain(domain, *to, domain_room(domain), &e->domain))
		e->domain = (struct ga_str){ "", 0 };
	*to += e->domain.n;
}

/*
 * One-to-one on 32 bits (the finaliser of MurmurHash3): consecutive numbers
 * give values that look drawn at random and cannot meet.
 */
static uint32_t scatter(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x85ebca6bu;
	x ^= x >> 13;
	x *= 0xc2b2ae35u;
	x ^= x >> 16;
	return x;
}

struct ga_message *ga_message_new(uint32_t id, uint64_t accepted_ms, struct ga_str attrs,
    const struct ga_str *envelope_attrs, const uint32_t *randoms, size_t n, struct ga_body *body)
{
	struct ga_message *m;
	uint32_t start = 0, mask = 0;
	char *to;

	if (n > UINT32_MAX)
		abort();
	m = ga_xmalloc(octets_needed(attrs, envelope_attrs, n));
	*m = (struct ga_message){ .refs = 1, .id = id, .accepted_ms = accepted_ms,
		.nenvelopes = (uint32_t)n, .body = body,
		.body_size = body != NULL ? body->size : 0 };
	m->envelopes = (struct ga_envelope *)(void *)(m + 1);
	to = (char *)(m->envelopes + n);
	m->attrs = put(&to, attrs);
	m->flags = ga_attr_u32(m->attrs, GA_ATTR_FLAGS, 0);
	ga_attr_get(m->attrs, GA_ATTR_SENDER, &m->sender);
	ga_attr_get(m->attrs, GA_ATTR_VIRTUAL_MTA, &m->virtual_mta);
	if (randoms == NULL) {
		start = ga_random32();
		mask = ga_random32();
	}
	for (size_t i = 0; i < n; i++) {
		struct ga_envelope *e = &m->envelopes[i];

		*e = (struct ga_envelope){ .index = (uint32_t)i };
		e->random = randoms != NULL ? randoms[i] : scatter(start + (uint32_t)i) ^ mask;
		put_envelope(e, &to, envelope_attrs[i]);
	}
	return m;
}

struct ga_message *ga_message_ref(struct ga_message *m)
{
	__atomic_fetch_add(&m->refs, 1, __ATOMIC_RELAXED);
	return m;
}

void ga_message_unref(struct ga_message *m)
{
	if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	ga_body_unref(m->body);
	free(m);
}
