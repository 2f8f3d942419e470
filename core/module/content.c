/*
 * content.c - a message being edited: header fields and body, parsed once.
 *
 * Made only when somebody is subscribed to a hook that may read or change the
 * message (header, body, eom, outgoing).  The header is flattened and cut into
 * fields; the one parser here decides where the header ends and where a field
 * does, for every module and for what is sent.  A field that nobody touched goes
 * out octet for octet as it came in; the body is copied only when replaced.
 *
 * A header that has a line that is no field (no colon, begins with a blank at
 * the top) keeps it as a field without a name: never lost, never editable.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "module/call.h"
#include "module/content.h"

struct field {
	struct ga_str raw;		/* with its CRLF; of the original or of an edit */
	struct ga_str name;		/* empty: not a field */
	struct ga_str value;		/* between "name:" + blank and the last CRLF */
};

struct ga_content {
	struct ga_pool *pool;
	struct ga_body *original;
	uint32_t header_size;		/* of the original */
	struct field *fields;
	size_t n, room;
	size_t current;			/* in the header hook: the field it is about */
	bool dropped;			/* ... it was dropped by the last call */
	bool changed;
	struct ga_body *body;		/* replaced body, without header; NULL: the original's */
	struct ga_body *rendered;	/* cache of ga_content_body() */
};

/* The end of the field that begins at p: behind a CRLF that no blank follows. */
static size_t
field_end(const char *p, size_t n)
{
	const char *lf;
	size_t at = 0;

	while ((lf = memchr(p + at, '\n', n - at)) != NULL) {
		at = (size_t)(lf - p) + 1;
		if (at == n || (p[at] != ' ' && p[at] != '\t'))
			return at;
	}
	return n;
}

static struct ga_str
without_crlf(struct ga_str s)
{
	if (s.n > 0 && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n > 0 && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

static struct field
parse_field(struct ga_str raw)
{
	struct field f = { raw, { NULL, 0 }, { NULL, 0 } };
	const char *colon = memchr(raw.p, ':', raw.n);
	size_t n;

	if (colon == NULL || colon == raw.p)
		return f;
	n = (size_t)(colon - raw.p);
	while (n > 0 && (raw.p[n - 1] == ' ' || raw.p[n - 1] == '\t'))
		n--;			/* RFC 5322 4.5.8 */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)raw.p[i] <= 0x20 || (unsigned char)raw.p[i] >= 0x7f)
			return f;
	if (n == 0)
		return f;
	f.name = (struct ga_str){ raw.p, n };
	f.value = without_crlf((struct ga_str){ colon + 1, raw.n - (size_t)(colon + 1 - raw.p) });
	if (f.value.n > 0 && (f.value.p[0] == ' ' || f.value.p[0] == '\t')) {
		f.value.p++;
		f.value.n--;
	}
	return f;
}

static void
insert_field(struct ga_content *c, size_t at, struct field f)
{
	if (c->n == c->room) {
		c->room = c->room > 0 ? c->room * 2 : 32;
		c->fields = ga_xrealloc(c->fields, c->room * sizeof *c->fields);
	}
	memmove(&c->fields[at + 1], &c->fields[at], (c->n - at) * sizeof *c->fields);
	c->fields[at] = f;
	c->n++;
}

static void
remove_field(struct ga_content *c, size_t at)
{
	c->n--;
	memmove(&c->fields[at], &c->fields[at + 1], (c->n - at) * sizeof *c->fields);
}

/* The first n octets of a body in one piece. */
static struct ga_str
head_of(const struct ga_body *body, size_t n, struct ga_pool *pool)
{
	char *p = ga_alloc(pool, n + 1);
	size_t at = 0;

	for (const struct ga_body_chunk *k = body->chunks; k != NULL && at < n; k = k->next) {
		size_t take = k->n < n - at ? k->n : n - at;

		memcpy(p + at, k->data, take);
		at += take;
	}
	return (struct ga_str){ p, at };
}

static bool
empty_line(struct ga_str s)
{
	return without_crlf(s).n == 0;
}

struct ga_content *
ga_content_new(struct ga_body *body, uint32_t header_size)
{
	struct ga_content *c = ga_xcalloc(1, sizeof *c);
	struct ga_str head;
	size_t at = 0;

	c->pool = ga_pool_new(header_size + 1024);
	c->original = ga_body_ref(body);
	c->header_size = header_size;
	head = head_of(body, header_size, c->pool);
	while (at < head.n) {
		struct ga_str raw = { head.p + at, field_end(head.p + at, head.n - at) };

		if (raw.n == 0 || empty_line(raw))
			break;
		insert_field(c, c->n, parse_field(raw));
		at += raw.n;
	}
	return c;
}

void
ga_content_free(struct ga_content *c)
{
	if (c == NULL)
		return;
	ga_body_unref(c->original);
	if (c->body != NULL)
		ga_body_unref(c->body);
	if (c->rendered != NULL)
		ga_body_unref(c->rendered);
	free(c->fields);
	ga_pool_free(c->pool);
	free(c);
}

bool
ga_content_changed(const struct ga_content *c)
{
	return c->changed;
}

static void
touched(struct ga_content *c)
{
	c->changed = true;
	if (c->rendered != NULL)
		ga_body_unref(c->rendered);
	c->rendered = NULL;
}

static void
append_from(struct ga_body *to, const struct ga_body *from, uint64_t skip)
{
	for (const struct ga_body_chunk *k = from->chunks; k != NULL; k = k->next) {
		if (skip >= k->n) {
			skip -= k->n;
			continue;
		}
		ga_body_append(to, k->data + skip, k->n - (size_t)skip);
		skip = 0;
	}
}

static uint32_t
render_header(const struct ga_content *c, struct ga_body *to)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		ga_body_append(to, c->fields[i].raw.p, c->fields[i].raw.n);
		n += c->fields[i].raw.n;
	}
	ga_body_append(to, "\r\n", 2);
	return (uint32_t)(n + 2);
}

struct ga_body *
ga_content_body(struct ga_content *c, uint32_t *header_size)
{
	uint32_t size = c->header_size;

	if (!c->changed) {
		*header_size = size;
		return ga_body_ref(c->original);
	}
	if (c->rendered == NULL) {
		c->rendered = ga_body_new();
		size = render_header(c, c->rendered);
		if (c->body != NULL)
			append_from(c->rendered, c->body, 0);
		else
			append_from(c->rendered, c->original, c->header_size);
	} else {
		size = 2;
		for (size_t i = 0; i < c->n; i++)
			size += (uint32_t)c->fields[i].raw.n;
	}
	*header_size = size;
	return ga_body_ref(c->rendered);
}

/* --- for content_run.c and injection.c --- */

/* RFC 5322 2.2.3: without the CRLF of each fold, with the blank behind it. */
static struct ga_str
unfolded(struct ga_pool *pool, struct ga_str v)
{
	char *p;
	size_t n = 0;

	if (v.n == 0 || memchr(v.p, '\n', v.n) == NULL)
		return v;
	p = ga_alloc(pool, v.n);
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] != '\r' && v.p[i] != '\n')
			p[n++] = v.p[i];
	return (struct ga_str){ p, n };
}

bool
gac_content_field(struct ga_content *c, size_t i, struct ga_str *name, struct ga_str *value)
{
	if (i >= c->n)
		return false;
	c->current = i;
	c->dropped = false;
	*name = c->fields[i].name;
	*value = unfolded(c->pool, c->fields[i].value);
	return true;
}

bool
ga_content_field(struct ga_content *c, size_t i, struct ga_str *name, struct ga_str *value)
{
	return gac_content_field(c, i, name, value);
}

struct ga_str
gac_content_raw(const struct ga_content *c, size_t i)
{
	return i < c->n ? c->fields[i].raw : (struct ga_str){ NULL, 0 };
}

bool
gac_content_field_dropped(const struct ga_content *c)
{
	return c->dropped;
}

/* The body as the body hooks left it. */
void
gac_content_replace(struct ga_content *c, struct ga_body *body)
{
	if (c->body != NULL)
		ga_body_unref(c->body);
	c->body = body;
	touched(c);
}

/* --- the public functions --- */

static struct ga_content *
editable(struct ga_call *call)
{
	if (call->hook != GA_HOOK_eom && call->hook != GA_HOOK_outgoing)
		return NULL;
	return call->run->content;
}

static bool
valid_name(struct ga_str name)
{
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] <= 0x20 || (unsigned char)name.p[i] >= 0x7f ||
		    name.p[i] == ':')
			return false;
	return name.n > 0;
}

/* No NUL, CR only before LF, LF only after CR and before a blank. */
static bool
valid_value(struct ga_str v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\0')
			return false;
		if (v.p[i] == '\r' && (i + 1 >= v.n || v.p[i + 1] != '\n'))
			return false;
		if (v.p[i] == '\n' && (i == 0 || v.p[i - 1] != '\r' || i + 1 >= v.n ||
		    (v.p[i + 1] != ' ' && v.p[i + 1] != '\t')))
			return false;
	}
	return true;
}

static struct field
made_field(struct ga_content *c, struct ga_str name, struct ga_str value)
{
	struct ga_str raw = ga_fmt(c->pool, "%.*s: %.*s\r\n", (int)name.n, name.p,
	    (int)value.n, value.p);

	return parse_field(raw);
}

static bool
set_field(struct ga_content *c, size_t i, struct ga_str value)
{
	if (i >= c->n || c->fields[i].name.n == 0 || !valid_value(value))
		return false;
	c->fields[i] = made_field(c, c->fields[i].name, value);
	touched(c);
	return true;
}

bool
ga_header_set(struct ga_call *call, struct ga_str value)
{
	struct ga_content *c = call->run->content;

	return call->hook == GA_HOOK_header && c != NULL && !c->dropped &&
	    set_field(c, c->current, value);
}

bool
ga_header_drop(struct ga_call *call)
{
	struct ga_content *c = call->run->content;

	if (call->hook != GA_HOOK_header || c == NULL || c->dropped)
		return false;
	remove_field(c, c->current);
	c->dropped = true;
	touched(c);
	return true;
}

size_t
ga_header_count(struct ga_call *call)
{
	struct ga_content *c = editable(call);

	return c != NULL ? c->n : 0;
}

bool
ga_header_get(struct ga_call *call, size_t i, struct ga_str *name, struct ga_str *value)
{
	struct ga_content *c = editable(call);

	if (c == NULL || i >= c->n)
		return false;
	*name = c->fields[i].name;
	*value = c->fields[i].value;
	return true;
}

long
ga_header_find(struct ga_call *call, struct ga_str name, size_t from)
{
	struct ga_content *c = editable(call);

	for (size_t i = from; c != NULL && i < c->n; i++)
		if (ga_str_caseeq(c->fields[i].name, name))
			return (long)i;
	return -1;
}

bool
ga_header_set_at(struct ga_call *call, size_t i, struct ga_str value)
{
	struct ga_content *c = editable(call);

	return c != NULL && set_field(c, i, value);
}

bool
ga_header_drop_at(struct ga_call *call, size_t i)
{
	struct ga_content *c = editable(call);

	if (c == NULL || i >= c->n)
		return false;
	remove_field(c, i);
	touched(c);
	return true;
}

bool
ga_header_add(struct ga_call *call, struct ga_str name, struct ga_str value, long at)
{
	struct ga_content *c = editable(call);

	if (c == NULL || !valid_name(name) || !valid_value(value))
		return false;
	insert_field(c, at < 0 || (size_t)at > c->n ? c->n : (size_t)at, made_field(c, name, value));
	touched(c);
	return true;
}

bool
ga_body_replace_all(struct ga_call *call, struct ga_str text)
{
	struct ga_content *c = editable(call);
	struct ga_body *body;

	if (c == NULL || !gac_wire_text(text))
		return false;
	body = ga_body_new();
	ga_body_append(body, text.p, text.n);
	gac_content_replace(c, body);
	return true;
}

/* CRLF line ends only, no NUL. */
bool
gac_wire_text(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r')) ||
		    (s.p[i] == '\r' && (i + 1 >= s.n || s.p[i + 1] != '\n')))
			return false;
	return true;
}

size_t
ga_msg_read(struct ga_call *call, uint64_t offset, void *buf, size_t n)
{
	struct ga_content *c = editable(call);
	struct ga_body *body;
	uint32_t header_size;
	size_t got = 0;

	if (c == NULL)
		return 0;
	body = ga_content_body(c, &header_size);
	for (const struct ga_body_chunk *k = body->chunks; k != NULL && got < n; k = k->next) {
		size_t take;

		if (offset >= k->n) {
			offset -= k->n;
			continue;
		}
		take = k->n - (size_t)offset < n - got ? k->n - (size_t)offset : n - got;
		memcpy((char *)buf + got, k->data + offset, take);
		got += take;
		offset = 0;
	}
	ga_body_unref(body);
	return got;
}
