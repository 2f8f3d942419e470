/*
 * injection.c - see injection.h.
 *
 * Called by whoever takes a message in, on the transaction's loop.  Most messages of
 * strangers have none of these fields: for them one look at the beginning of each header
 * line is all that is done (look_at_lines), and the body is not touched.  Else the
 * parser of content.c says where the fields are, and they are cut out of the body in
 * place, so that nothing else is copied.  The same look finds the From field.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <greenarrow/injection.h>

#include <greenarrow/mail.h>

#include "conf/core_schema.h"
#include "module/content.h"

/* Both names begin so; shorter than any of them. */
#define LINE_BEGIN "x-"
#define LINE_BEGIN_N (sizeof LINE_BEGIN - 1)
#define NAME_MAX 200u
#define ID_MAX 300u
#define LIST_MAX 20u
#define INSTANCE_MAX 27u
/* RFC 5322 2.1.1 */
#define LINE_MAX 998u
/* Of a From field: longer than any address with its name; the rest is not looked at. */
#define FROM_MAX 2048u

/* --- values --- */

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A tab, as folds have it, will be a blank. */
static bool
printable(struct ga_str s, size_t max)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] < ' ' || s.p[i] > '~') && s.p[i] != '\t')
			return false;
	return s.n <= max;
}

static bool
alphanumeric(struct ga_str s, size_t max, const char *also)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_letter(s.p[i]) && !is_digit(s.p[i]) &&
		    (s.p[i] == '\0' || strchr(also, s.p[i]) == NULL))
			return false;
	return s.n <= max;
}

static bool
mta_valid(struct ga_str s)
{
	return printable(s, NAME_MAX);
}

static bool
id_valid(struct ga_str s)
{
	return printable(s, ID_MAX);
}

static bool
list_valid(struct ga_str s)
{
	return alphanumeric(s, LIST_MAX, "_+");
}

static bool
instance_valid(struct ga_str s)
{
	return is_digit(s.p[0]) ? alphanumeric(s, INSTANCE_MAX, "") : printable(s, ID_MAX);
}

bool
ga_mail_class_valid(struct ga_str s)
{
	if (s.n < 2 || s.n > 64)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_letter(s.p[i]) && (s.p[i] != '_' || (i > 0 && s.p[i - 1] == '_')))
			return false;
	return true;
}

/* In the order in which they are believed. */
static const struct kind {
	struct ga_str name;
	unsigned attr;
	bool (*valid)(struct ga_str);	/* of a value that is not empty */
} kinds[] = {
#define FIELD(text) { text, sizeof text - 1 }
	{ FIELD("X-GreenArrow-MtaID"), GA_ATTR_VIRTUAL_MTA, mta_valid },
	{ FIELD("X-GreenArrow-MailClass"), GA_ATTR_MAIL_CLASS, ga_mail_class_valid },
	{ FIELD("X-GreenArrow-SendID"), GA_ATTR_SEND_ID, id_valid },
	{ FIELD("X-GreenArrow-ListID"), GA_ATTR_LIST_ID, list_valid },
	{ FIELD("X-GreenArrow-InstanceID"), GA_ATTR_INSTANCE_ID, instance_valid },
	{ FIELD("X-GreenArrow-Click-Tracking-ID"), GA_ATTR_CLICK_TRACKING_ID, id_valid },
	{ FIELD("x-virtual-mta"), GA_ATTR_VIRTUAL_MTA, mta_valid },
#undef FIELD
};
#define KINDS (sizeof kinds / sizeof kinds[0])
#define KIND_FOREIGN (KINDS - 1)	/* the last: PowerMTA's */

/* --- is there anything to do? --- */

/* Does the line that begins at p begin as our names do?  Yes when that is not to be seen. */
static bool
line_may_be_one(const char *p, size_t n)
{
	size_t known = n < LINE_BEGIN_N ? n : LINE_BEGIN_N;

	if (!ga_str_caseeq((struct ga_str){ p, known }, (struct ga_str){ LINE_BEGIN, known }))
		return false;
	if (n <= LINE_BEGIN_N)
		return true;
	return strchr("gGvV", p[LINE_BEGIN_N]) != NULL;
}

/* Octets from p in c on, over the ends of chunks. */
static size_t
copy_octets(const struct ga_body_chunk *c, const char *p, char *to, size_t n)
{
	size_t had = 0;

	while (c != NULL && had < n) {
		size_t here = (size_t)(c->data + c->n - p);

		here = here < n - had ? here : n - had;
		memcpy(to + had, p, here);
		had += here;
		c = c->next;
		p = c != NULL ? c->data : NULL;
	}
	return had;
}

struct look {
	bool ours;			/* there may be fields of ours */
	size_t n;			/* 0: no From field yet */
	char from[FROM_MAX];		/* its beginning, and what follows it */
};

static bool
is_from(const char *p, size_t n)
{
	size_t i = sizeof "from" - 1;

	if (n < i || !ga_str_caseeq((struct ga_str){ p, i }, GA_STR("from")))
		return false;
	while (i < n && (p[i] == ' ' || p[i] == '\t'))
		i++;
	return i < n && p[i] == ':';
}

static void
look_at_line(struct look *look, const struct ga_body_chunk *c, const char *p, uint64_t header_left)
{
	size_t n = header_left < FROM_MAX ? (size_t)header_left : FROM_MAX;

	look->ours = look->ours || line_may_be_one(p, (size_t)(c->data + c->n - p));
	if (look->n > 0 || (*p != 'F' && *p != 'f'))
		return;
	n = copy_octets(c, p, look->from, n);
	look->n = is_from(look->from, n) ? n : 0;
}

static void
look_at_lines(const struct ga_body *body, uint64_t header_size, struct look *look)
{
	bool line_begins = true;

	for (const struct ga_body_chunk *c = body->chunks; c != NULL && header_size > 0; c = c->next) {
		size_t n = c->n < header_size ? c->n : (size_t)header_size;
		const char *p = c->data, *end = c->data + n;

		header_size -= n;
		while (p < end && !(look->ours && look->n > 0)) {
			if (line_begins)
				look_at_line(look, c, p, header_size + (uint64_t)(end - p));
			p = memchr(p, '\n', (size_t)(end - p));
			line_begins = p != NULL;
			p = line_begins ? p + 1 : end;
		}
	}
}

/* --- the From field --- */

/* The lines of the field that are whole; none when not even its first is. */
static struct ga_str
whole_lines(const struct look *look)
{
	size_t n = 0;

	for (const char *lf; (lf = memchr(look->from + n, '\n', look->n - n)) != NULL;) {
		n = (size_t)(lf + 1 - look->from);
		if (n == look->n || (look->from[n] != ' ' && look->from[n] != '\t'))
			break;
	}
	return (struct ga_str){ look->from, n };
}

static void
put_from(struct ga_txn *t, const struct look *look)
{
	struct ga_str field = whole_lines(look), address, domain, had;
	const char *colon = field.n > 0 ? memchr(field.p, ':', field.n) : NULL;
	char of_address[GA_MAIL_ADDRESS], buf[256];

	if (colon == NULL || ga_attr_get((struct ga_str){ t->attrs.p, t->attrs.n }, GA_ATTR_FROM_DOMAIN, &had))
		return;
	field.n -= (size_t)(colon + 1 - field.p);
	field.p = colon + 1;
	if (!ga_mail_list_address(field, of_address, &address))
		return;
	ga_attrs_put(&t->attrs, GA_ATTR_FROM_ADDRESS, address);
	if (ga_mail_list_domain(address, buf, sizeof buf, &domain))
		ga_attrs_put(&t->attrs, GA_ATTR_FROM_DOMAIN, domain);
}

/* --- what was found --- */

struct found {
	struct ga_body_range *cuts;
	size_t ncuts, room;
	bool seen[KINDS];
	struct ga_str value[KINDS];	/* of the first of each kind; unfolded */
	bool odd;			/* octets above 127, or a long line, were taken out */
};

static const struct kind *
kind_of(struct ga_str name, size_t nkinds)
{
	for (size_t i = 0; i < nkinds; i++)
		if (ga_str_caseeq(name, kinds[i].name))
			return &kinds[i];
	return NULL;
}

static bool
is_odd(struct ga_str raw)
{
	for (size_t i = 0; i < raw.n; i++)
		if ((unsigned char)raw.p[i] >= 0x80)
			return true;
	return raw.n > LINE_MAX;
}

static void
add_cut(struct found *found, uint64_t at, size_t n)
{
	if (found->ncuts == found->room) {
		found->room = found->room > 0 ? found->room * 2 : 16;
		found->cuts = ga_xrealloc(found->cuts, found->room * sizeof *found->cuts);
	}
	found->cuts[found->ncuts++] = (struct ga_body_range){ at, n };
}

/* Cuts the fields out of the body, and says what the first of each kind said. */
static void
cut_fields(struct ga_txn *t, struct ga_content *c, size_t nkinds, struct found *found)
{
	struct ga_str name, value;
	struct ga_str raw;
	uint32_t at = 0;

	for (size_t i = 0; gac_content_field(c, i, &name, &value); i++, at += (uint32_t)raw.n) {
		const struct kind *kind = kind_of(name, nkinds);

		raw = gac_content_raw(c, i);
		if (kind == NULL)
			continue;
		if (!found->seen[kind - kinds]) {
			found->seen[kind - kinds] = true;
			found->value[kind - kinds] = ga_str_trim(value);
		}
		found->odd = found->odd || is_odd(raw);
		add_cut(found, at, raw.n);
		t->header_size -= (uint32_t)raw.n;
	}
	ga_body_cut(t->body, found->cuts, found->ncuts);
	free(found->cuts);
}

/* Of the flags that come from octets, those that the octets still give. */
static uint32_t
flags_of(const struct ga_body *body, uint64_t header_size)
{
	uint64_t at = 0, line = 0;
	uint32_t flags = 0;

	for (const struct ga_body_chunk *c = body->chunks; c != NULL; c = c->next)
		for (size_t i = 0; i < c->n; i++, at++) {
			if ((unsigned char)c->data[i] >= 0x80)
				flags |= at < header_size ? GA_MSG_8BIT | GA_MSG_8BIT_HEADER : GA_MSG_8BIT;
			if (c->data[i] == '\n')
				line = 0;
			else if (++line > LINE_MAX && c->data[i] != '\r')
				flags |= GA_MSG_LONG_LINES;
		}
	return flags;
}

static void
flags_again(struct ga_txn *t)
{
	const uint32_t ours = GA_MSG_8BIT | GA_MSG_8BIT_HEADER | GA_MSG_LONG_LINES;

	t->flags &= flags_of(t->body, t->header_size) | ~ours;
}

static const struct kind *
first_wrong(const struct found *found)
{
	for (size_t i = 0; i < KINDS; i++)
		if (found->value[i].n > 0 && !kinds[i].valid(found->value[i]))
			return &kinds[i];
	return NULL;
}

static void
put_value(struct ga_attrs *attrs, unsigned key, struct ga_str value)
{
	ga_attrs_put(attrs, key, value);
	for (char *p = attrs->p + attrs->n - value.n; p < attrs->p + attrs->n; p++)
		if (*p == '\t')
			*p = ' ';
}

static bool
obey_fields(struct ga_txn *t, const struct found *found, struct ga_str *field)
{
	const struct kind *wrong = first_wrong(found);
	struct ga_str had;

	if (wrong != NULL) {
		*field = wrong->name;
		return false;
	}
	for (size_t i = 0; i < KINDS; i++)
		if (found->value[i].n > 0 &&
		    !ga_attr_get((struct ga_str){ t->attrs.p, t->attrs.n }, kinds[i].attr, &had))
			put_value(&t->attrs, kinds[i].attr, found->value[i]);
	return true;
}

static size_t
kinds_read(const struct ga_txn *t)
{
	const struct gac_core_conf *conf = ga_settings_conf(t->settings, GAC_CORE_MODULE);

	return conf->process_x_virtual_mta_header ? KINDS : KIND_FOREIGN;
}

static bool
take_fields(struct ga_txn *t, bool obey, struct ga_str *field)
{
	struct found found = { .odd = false };
	struct ga_content *c;
	bool good;

	c = ga_content_new(t->body, t->header_size);
	cut_fields(t, c, kinds_read(t), &found);
	if (found.odd)
		flags_again(t);
	good = !obey || obey_fields(t, &found, field);
	ga_content_free(c);
	return good;
}

bool
ga_injection_take(struct ga_txn *t, bool obey, struct ga_str *field)
{
	struct look look;

	look.ours = false;
	look.n = 0;
	look_at_lines(t->body, t->header_size, &look);
	if (look.ours && !take_fields(t, obey, field))
		return false;
	put_from(t, &look);
	return true;
}
