/*
 * pattern.c - names of domains and the patterns that `domain` blocks are made of
 *
 * Called while a configuration is checked.  Results live in the pool given.
 * The order in which patterns are tried is the resolver's (resolve.c).
 */
#include <ctype.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>

#include "conf/pattern.h"

#define MAX_DOMAIN 253
#define MAX_LABEL 63

static const char *check_labels(struct ga_str d)
{
	size_t label = 0;

	if (d.n == 0)
		return "is not the name of a domain: it is empty";
	if (d.n > MAX_DOMAIN)
		return "is longer than 253 characters";
	for (size_t i = 0; i <= d.n; i++) {
		unsigned char c = i < d.n ? (unsigned char)d.p[i] : '.';

		if (c != '.') {
			if (!isalnum(c) && c != '-' && c != '_')
				return "is not the name of a domain";
			label++;
			continue;
		}
		if (label == 0)
			return "is not the name of a domain: there is nothing between two dots";
		if (label > MAX_LABEL)
			return "has a part of more than 63 characters between two dots";
		if (d.p[i - 1] == '-' || d.p[i - label] == '-')
			return "is not the name of a domain: a part begins or ends with `-`";
		label = 0;
	}
	return NULL;
}

static bool is_ascii(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 128)
			return false;
	return true;
}

static const char *to_ascii(struct ga_pool *pool, struct ga_str *s)
{
	const char *u = ga_cstr(pool, *s);
	char *a = NULL;

	if (u == NULL || idn2_to_ascii_8z(u, &a, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return "is not a valid international domain name";
	*s = ga_dup(pool, ga_str_c(a));
	idn2_free(a);
	return NULL;
}

const char *gac_domain_normalize(struct ga_pool *pool, struct ga_str in, struct ga_str *out)
{
	struct ga_str s = in;
	char *p;

	if (!is_ascii(s)) {
		const char *why = to_ascii(pool, &s);

		if (why != NULL)
			return why;
	}
	if (s.n > 1 && s.p[s.n - 1] == '.')
		s.n--;
	if (s.n > MAX_DOMAIN)
		return "is longer than 253 characters";
	p = ga_alloc(pool, s.n + 1);
	for (size_t i = 0; i < s.n; i++)
		p[i] = (char)tolower((unsigned char)s.p[i]);
	*out = (struct ga_str){ p, s.n };
	return check_labels(*out);
}

static bool eat(struct ga_str *s, const char *prefix)
{
	size_t n = strlen(prefix);

	if (s->n < n || strncasecmp(s->p, prefix, n) != 0)
		return false;
	s->p += n;
	s->n -= n;
	return true;
}

const char *gac_pattern_parse(struct ga_pool *pool, struct ga_str s, struct gac_pattern *out)
{
	static const char *const marks[] = { "", "[*.]", "*.", "*" };
	const char *why = NULL;

	*out = (struct gac_pattern){ .kind = GAC_PAT_EXACT };
	out->mx = eat(&s, "mx:");
	if (ga_str_eq(s, GA_STR("*"))) {
		out->kind = GAC_PAT_ANY;
	} else {
		if (eat(&s, "[*.]"))
			out->kind = GAC_PAT_BOTH;
		else if (eat(&s, "*."))
			out->kind = GAC_PAT_SUB;
		why = gac_domain_normalize(pool, s, &out->domain);
	}
	if (why == NULL)
		out->text = ga_fmt(pool, "%s%s%.*s", out->mx ? "mx:" : "", marks[out->kind],
		    (int)out->domain.n, out->domain.p);
	return why;
}
