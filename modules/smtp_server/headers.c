/*
 * headers.c - see headers.h.
 *
 * Called by commit.c on services with add_missing_headers, once a message.  A field
 * is found by its name alone; a blank before the colon, as old programs write it, counts.
 */
#include <inttypes.h>
#include <string.h>

#include <greenarrow/loop.h>

#include "headers.h"

#define NAME_MAX 10u			/* "message-id" */

struct look {
	struct smtpd_header_found found;
	char name[NAME_MAX];
	size_t n;			/* octets of it, without case; > NAME_MAX: something else */
	bool in_name, blank;		/* ... and a blank behind it */
};

static void
name_over(struct look *l)
{
	struct ga_str name = { l->name, l->n <= NAME_MAX ? l->n : 0 };

	l->in_name = false;
	l->found.date = l->found.date || ga_str_eq(name, GA_STR("date"));
	l->found.message_id = l->found.message_id || ga_str_eq(name, GA_STR("message-id"));
}

static void
take(struct look *l, char c)
{
	if (c == '\n') {
		l->in_name = true;
		l->blank = false;
		l->n = 0;
	} else if (!l->in_name) {
		return;
	} else if (c == ':') {
		name_over(l);
	} else if (c == ' ' || c == '\t') {
		l->blank = true;
		l->in_name = l->n > 0;		/* a line that goes on */
	} else if (l->blank) {
		l->in_name = false;
	} else {
		if (l->n < NAME_MAX)
			l->name[l->n] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		l->n++;
	}
}

struct smtpd_header_found
smtpd_header_look(const struct ga_body *body, uint64_t header_size)
{
	struct look l = { .in_name = true };

	for (const struct ga_body_chunk *c = body->chunks; c != NULL && header_size > 0; c = c->next) {
		size_t n = c->n < header_size ? c->n : (size_t)header_size;

		for (size_t i = 0; i < n; i++)
			take(&l, c->data[i]);
		header_size -= n;
	}
	return l.found;
}

struct ga_str
smtpd_header_missing(struct ga_pool *pool, struct smtpd_header_found found, struct ga_str date,
    const char *hostname, uint32_t id, uint64_t now_ms)
{
	struct ga_str date_field = { "", 0 }, id_field = { "", 0 };

	if (!found.date)
		date_field = ga_fmt(pool, "Date: %.*s\r\n", (int)date.n, date.p);
	if (!found.message_id)
		id_field = ga_fmt(pool, "Message-ID: <%" PRIx64 ".%08x.%08x@%s>\r\n", now_ms, id,
		    ga_random32(), hostname);
	return ga_fmt(pool, "%.*s%.*s", (int)date_field.n, date_field.p, (int)id_field.n, id_field.p);
}
