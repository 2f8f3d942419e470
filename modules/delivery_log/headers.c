/*
 * headers.c - chosen header fields of a message as a JSON object: name → [values].
 *
 * Called where delivery_log_headers names fields, for each attempt.  The header is read from the
 * message while it is in memory; what lies in the spool alone (over 256 KiB) shows nothing.
 */
#include "delivery_log.h"

#define VALUE_MAX 500u
#define VALUES_MAX 5u		/* of one name */

/* The values of one name; nothing when it has none. */
static void
put_name(struct dl_line *l, struct ga_content *c, struct ga_str name)
{
	struct ga_str field, value;
	unsigned n = 0;

	for (size_t i = 0; n < VALUES_MAX && ga_content_field(c, i, &field, &value); i++) {
		if (!ga_str_caseeq(field, name))
			continue;
		if (n == 0) {
			dl_char(l, l->n == 0 ? '{' : ',');
			dl_text(l, name, DL_TEXT_MAX, DL_JSON_STRING);
			dl_char(l, ':');
		}
		dl_char(l, n++ == 0 ? '[' : ',');
		dl_text(l, value, VALUE_MAX, DL_JSON_STRING);
	}
	if (n > 0)
		dl_char(l, ']');
}

/* Room for a name with all its values, whatever is in them. */
static bool
has_room(const struct dl_line *l)
{
	return l->room - l->n > VALUES_MAX * (2 * VALUE_MAX + 3) + 2 * DL_TEXT_MAX;
}

void
dl_headers(struct dl_line *l, const struct ga_message *m, struct ga_strlist names)
{
	struct ga_content *c;

	if (m->body == NULL || m->body->chunks == NULL)
		return;
	c = ga_content_new(m->body, ga_attr_u32(m->attrs, GA_ATTR_HEADER_SIZE, 0));
	for (size_t i = 0; i < names.n && has_room(l); i++)
		put_name(l, c, names.v[i]);
	if (l->n > 0)
		dl_char(l, '}');
	ga_content_free(c);
}
