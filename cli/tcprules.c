/*
 * tcprules.c - see tcprules.h.  Called by hvmail_update_tcprules.c, and by the fuzzer.
 *
 * Where the language is odd we are odd in the same way, for files that have served for
 * years: leading blanks belong to an address, a line without a colon is nothing, a number that
 * is missing is 0.  A bracket, a colon and then neither allow nor deny is an error for tcprules, so
 * that no such file can mean another thing by an IPv6 address.
 */
#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcprules.h"

#define NUMBER_ROOM 24
#define RANGE_MAX 255u

struct compiler {
	tcprules_add_fn *add;
	void *arg;
	char *key, *data;		/* room for the longest */
	const char *why;
};

struct rule {
	struct ga_str address, instructions;
	bool literal;			/* not to be expanded */
	char room[INET6_ADDRSTRLEN + 5];
};

static struct ga_str
between(const char *p, const char *end)
{
	return (struct ga_str){ p, (size_t)(end - p) };
}

static bool
add(struct compiler *c, struct ga_str key, size_t ndata)
{
	return c->add(c->arg, key, (struct ga_str){ c->data, ndata });
}

static bool
wrong(struct compiler *c, const char *why)
{
	c->why = why;
	return false;
}

/* --- IPv6 --- */

static void
clear_host(struct in6_addr *a, unsigned bits)
{
	for (unsigned i = 0; i < 16; i++)
		if (bits < 8 * (i + 1))
			a->s6_addr[i] &= bits <= 8 * i ? 0 : (uint8_t)(0xff << (8 * (i + 1) - bits));
}

/* "/BITS" or nothing; true: *bits is 0 to 128. */
static bool
take_bits(struct ga_str *s, unsigned *bits)
{
	unsigned digits = 0;

	*bits = 128;
	if (s->n == 0 || s->p[0] != '/')
		return true;
	*bits = 0;
	for (*s = between(s->p + 1, s->p + s->n); s->n > 0 && *s->p >= '0' && *s->p <= '9' && digits < 3; digits++) {
		*bits = *bits * 10 + (unsigned)(*s->p - '0');
		*s = between(s->p + 1, s->p + s->n);
	}
	return digits > 0 && *bits <= 128;
}

/* An address in brackets at the beginning of the line: rest is what follows it. */
static bool
is_ipv6(struct ga_str line, struct in6_addr *a, struct ga_str *rest)
{
	const char *end = line.n > 0 && line.p[0] == '[' ? memchr(line.p, ']', line.n) : NULL;
	char text[INET6_ADDRSTRLEN];
	int n;

	if (end == NULL || (size_t)(end - line.p) > sizeof text)
		return false;
	n = snprintf(text, sizeof text, "%.*s", (int)(end - line.p - 1), line.p + 1);
	*rest = between(end + 1, line.p + line.n);
	return n == end - line.p - 1 && inet_pton(AF_INET6, text, a) == 1;
}

static bool
split_ipv6(struct compiler *c, struct in6_addr *a, struct ga_str rest, struct rule *r)
{
	unsigned bits;

	if (!take_bits(&rest, &bits))
		return wrong(c, "behind an IPv6 address stands /0 to /128, or nothing");
	if (rest.n == 0 || rest.p[0] != ':')
		return wrong(c, "a colon is missing behind the IPv6 address");
	if (IN6_IS_ADDR_V4MAPPED(a))
		return wrong(c, "an IPv4 address is written as such: 192.0.2.1, 192.0.2.");
	clear_host(a, bits);
	if (inet_ntop(AF_INET6, a, r->room, sizeof r->room) == NULL)
		return wrong(c, "an address that cannot be written");
	r->address = ga_str_c(r->room);
	if (bits < 128)
		r->address.n += (size_t)snprintf(r->room + r->address.n, sizeof r->room - r->address.n, "/%u", bits);
	r->instructions = between(rest.p + 1, rest.p + rest.n);
	r->literal = true;
	return true;
}

/* --- instructions --- */

/* ,NAME="VALUE" with any octet for the quotes. */
static bool
take_variable(struct compiler *c, struct ga_str *s, size_t *ndata)
{
	const char *end = s->p + s->n, *equals, *quote;
	struct ga_str name, value;

	if (s->p[0] != ',')
		return wrong(c, "only ,NAME=\"VALUE\" may follow");
	equals = memchr(s->p, '=', s->n);
	if (equals == NULL || equals + 1 == end)
		return wrong(c, "a variable is ,NAME=\"VALUE\"");
	quote = memchr(equals + 2, equals[1], (size_t)(end - equals - 2));
	if (quote == NULL)
		return wrong(c, "a value without its second quote");
	name = between(s->p + 1, equals + 1);
	value = between(equals + 2, quote);
	c->data[(*ndata)++] = '+';
	memcpy(c->data + *ndata, name.p, name.n);
	memcpy(c->data + *ndata + name.n, value.p, value.n);
	*ndata += name.n + value.n;
	c->data[(*ndata)++] = '\0';
	*s = between(quote + 1, end);
	return true;
}

static bool
take_instructions(struct compiler *c, struct ga_str s, size_t *ndata)
{
	*ndata = 0;
	if (ga_str_starts(s, GA_STR("deny"))) {
		memcpy(c->data, "D", *ndata = 2);
		s = between(s.p + 4, s.p + s.n);
	} else if (ga_str_starts(s, GA_STR("allow"))) {
		s = between(s.p + 5, s.p + s.n);
	} else {
		return wrong(c, "behind the colon stands allow or deny (an IPv6 address is written in [brackets])");
	}
	while (s.n > 0)
		if (!take_variable(c, &s, ndata))
			return false;
	return true;
}

/* --- ranges --- */

/* Up to the first NUL, digits alone; none are 0. */
static bool
take_number(struct ga_str s, unsigned long *n)
{
	const char *nul = s.n > 0 ? memchr(s.p, '\0', s.n) : NULL;
	const char *end = nul != NULL ? nul : s.p + s.n, *p = s.p;

	for (*n = 0; p < end && *p >= '0' && *p <= '9'; p++)
		*n = *n * 10 + (unsigned long)(*p - '0');
	return p == end;
}

static bool
add_range(struct compiler *c, struct ga_str address, const char *dash, size_t ndata)
{
	const char *end = address.p + address.n;
	const char *left = dash, *right = memchr(dash + 1, '.', (size_t)(end - dash - 1));
	unsigned long low, high;

	while (left > address.p && left[-1] != '.')
		left--;
	if (right == NULL)
		right = end;
	if (!take_number(between(left, dash), &low) || !take_number(between(dash + 1, right), &high))
		return wrong(c, "a range is two numbers: 1.2.3.4-7, 1.2-3.");
	for (; low <= high && low <= RANGE_MAX; low++) {
		size_t n = (size_t)(left - address.p);

		memcpy(c->key, address.p, n);
		n += (size_t)snprintf(c->key + n, NUMBER_ROOM, "%lu", low);
		memcpy(c->key + n, right, (size_t)(end - right));
		if (!add(c, (struct ga_str){ c->key, n + (size_t)(end - right) }, ndata))
			return false;
	}
	return true;
}

static bool
add_rule(struct compiler *c, const struct rule *r, size_t ndata)
{
	struct ga_str a = r->address;
	const char *dash = a.n > 0 && !r->literal ? memchr(a.p, '-', a.n) : NULL;

	if (dash == NULL || memchr(a.p, '=', a.n) != NULL || memchr(a.p, '@', a.n) != NULL)
		return add(c, a, ndata);
	return add_range(c, a, dash, ndata);
}

/* --- lines --- */

static struct ga_str
without_end(struct ga_str line)
{
	while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	return line;
}

static bool
take_line(struct compiler *c, struct ga_str line)
{
	struct rule r = { .literal = false };
	struct in6_addr a;
	struct ga_str rest;
	const char *colon;
	size_t ndata;

	if (line.n == 0 || line.p[0] == '#')
		return true;
	line = without_end(line);
	colon = memchr(line.p, ':', line.n);
	if (colon == NULL)
		return true;
	r.address = between(line.p, colon);
	r.instructions = between(colon + 1, line.p + line.n);
	if (is_ipv6(line, &a, &rest) && !split_ipv6(c, &a, rest, &r))
		return false;
	return take_instructions(c, r.instructions, &ndata) && add_rule(c, &r, ndata);
}

bool
tcprules_compile(struct ga_str text, tcprules_add_fn *add_fn, void *arg, struct tcprules_fault *fault)
{
	struct compiler c = { .add = add_fn, .arg = arg };
	const char *end = text.p + text.n, *lf;
	bool good = true;

	c.key = ga_xmalloc(text.n + NUMBER_ROOM);
	c.data = ga_xmalloc(text.n + 2);
	fault->line = 0;
	for (const char *p = text.p; good && p < end; p = lf + 1) {
		lf = memchr(p, '\n', (size_t)(end - p));
		if (lf == NULL)
			lf = end;
		fault->line++;
		good = take_line(&c, between(p, lf));
	}
	fault->why = c.why;
	free(c.key);
	free(c.data);
	return good;
}
